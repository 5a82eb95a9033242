import DistillData
import DistillPrograms
import TorchNN

extension SHA256 {
  /// The SHA-256 of a file of weights, or of a model as a whole, in hexadecimal; of weights in several files one over all
  /// of them.
  ///
  /// - Throws: `DataError`, `CheckpointError` when a file cannot be read, or is none of weights.
  static func hex(ofWeights path: String) throws -> String {
    let files = try ProgramFormat(of: path)?.files(of: path) ?? Checkpoint.files(of: path)
    if files.count == 1 { return try hex(ofFile: files[0]) }
    return try hex(of: try files.map { try hex(ofFile: $0) }.joined(separator: "\n"))
  }
}
