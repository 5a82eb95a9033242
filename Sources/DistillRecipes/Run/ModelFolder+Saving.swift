import DistillRuntime
import DistillTokenizers
import Foundation
import Torch
import TorchNN

extension ModelFolder {
  /// The files of a tokenizer that it has.
  var tokenizerFiles: [String] {
    Tokenizer.fileNames.filter { FileManager.default.fileExists(atPath: "\(path)/\($0)") }
  }

  /// Puts the tokenizer of another folder beside the weights.
  ///
  /// - Throws: `RunError` when a file cannot be read.
  func copyTokenizer(from source: ModelFolder) throws {
    for name in source.tokenizerFiles {
      let file = "\(source.path)/\(name)"
      guard let data = FileManager.default.contents(atPath: file) else { throw RunError("\(file) cannot be read") }
      try AtomicFile.write(data, to: "\(path)/\(name)")
    }
  }

  /// The names of the files that it has.
  static let files = ["model.safetensors", "config.json", "README.md"]

  /// Which of the files that a model would be saved in are there already.
  public var occupiedFiles: [String] {
    (Self.files + ["manifest.json"]).filter { FileManager.default.fileExists(atPath: "\(path)/\($0)") }
  }

  /// Writes the folder. Each file is replaced as a whole.
  ///
  /// - Parameters:
  ///   - dtype: what the weights are stored as; their own type if nil
  ///   - card: the text of the model card
  public func save(_ model: any Layer, _ description: Description, dtype: DType? = nil, card text: String) throws {
    try Folder.make(path)
    let stored = try model.state.map { named in
      NamedTensor(
        name: named.name,
        tensor: try named.tensor.dtype.isFloatingPoint
          ? named.tensor.detached().to(dtype ?? named.tensor.dtype) : named.tensor)
    }
    try Checkpoint.write(stored, metadata: ["format": "pt"], to: weights)
    try AtomicFile.write(try ResultJSON.pretty(description), to: configuration)
    try AtomicFile.write(Data(text.utf8), to: card)
  }
}
