import Foundation
import Torch
import TorchNN

/// Writes the weights of a file, whatever form it has, as one safetensors file.
public enum Conversion {
  public struct Options: Sendable {
    /// Of a file of `torch.save` with several dictionaries of tensors: the key of the one that is meant.
    public var part: String?
    /// What the names have at their beginning and are to lose. Tensors without it are left out.
    public var prefix: String?
    /// What numbers with a fraction become; nil: what they are.
    public var type: Labelling.NumberType?
    /// Whether a file that is there is replaced.
    public var force = false

    public init() {}
  }

  public struct Result: Encodable, Sendable {
    public var input: String
    /// What the input was: `safetensors`, `torch` or `index`.
    public var format: String
    public var output: String
    public var tensors: Int
    /// Numbers in all tensors.
    public var elements: Int
    public var bytes: Int
    /// The names of tensors that do not begin with the prefix.
    public var leftOut: [String]
    public var metadata: [String: String]
  }

  /// Where the result goes if nobody says: beside the input, `resnet18.safetensors` for `resnet18.pth`.
  public static func output(for input: String) -> String {
    let path = FilePath.shortened(input)
    let stem = path.hasSuffix(".index.json") ? String(path.dropLast(".index.json".count)) : path
    let name = FilePath.kind(of: stem).isEmpty ? FilePath.name(of: stem) : FilePath.stem(of: stem)
    let folder = FilePath.folder(of: path)
    return folder == "." ? "\(name).safetensors" : FilePath.joined(folder, "\(name).safetensors")
  }

  /// One tensor after the other, so that large files need no memory.
  ///
  /// - Throws: `CheckpointError` for whatever is wrong with the input, `RunError` where the output cannot be, or somebody
  ///   asked to stop, `FileError`.
  public static func convert(
    _ input: String, to output: String, options: Options = Options(), observer: @escaping RunObserver = { _ in }
  ) throws -> Result {
    try NewFile.check(output, force: options.force, example: "model.safetensors")
    let files = try Checkpoint.files(of: input)
    guard !files.contains(where: { isSame($0, output) }) else {
      throw RunError("\(output) is what is read: name another file to write")
    }
    let checkpoint = try Checkpoint.read(input, part: options.part)
    let (tensors, leftOut) = try renamed(checkpoint.tensors, options.prefix, of: files[0])
    let dtype = options.type?.dtype
    if dtype == .float16 { try tensors.forEach { try checkFits($0) } }
    var metadata = checkpoint.metadata
    // What libraries for PyTorch look for.
    if metadata["format"] == nil { metadata["format"] = "pt" }
    observer(.stage("Writing \(output)"))
    try Checkpoint.write(tensors, metadata: metadata, as: dtype, to: output) { done, total in
      guard !Interruption.isRequested else { throw RunError("interrupted; nothing was written", kind: .interrupted) }
      if total > 1 << 26 { observer(.fraction(Double(done) / Double(total))) }
    }
    return Result(
      input: files[0], format: Checkpoint.format(of: input)?.rawValue ?? "", output: output, tensors: tensors.count,
      elements: tensors.reduce(0) { $0 + $1.tensor.count },
      bytes: tensors.reduce(0) { sum, named in
        let own = named.tensor.dtype
        return sum + named.tensor.count * (own.isFloatingPoint ? dtype ?? own : own).byteCount
      }, leftOut: leftOut, metadata: metadata)
  }

  private static func renamed(
    _ tensors: [NamedTensor], _ prefix: String?, of path: String
  ) throws -> (kept: [NamedTensor], leftOut: [String]) {
    guard let prefix, !prefix.isEmpty else { return (tensors, []) }
    let kept = tensors.filter { $0.name.hasPrefix(prefix) && $0.name != prefix }
    guard !kept.isEmpty else {
      let some = tensors.prefix(3).map { "'\($0.name)'" }.joined(separator: ", ")
      throw RunError("no name in \(path) begins with '\(prefix)'; there are \(some.isEmpty ? "none" : some)")
    }
    return (
      kept.map { NamedTensor(name: String($0.name.dropFirst(prefix.count)), tensor: $0.tensor) },
      tensors.filter { !$0.name.hasPrefix(prefix) || $0.name == prefix }.map(\.name)
    )
  }

  /// Numbers that become infinite would ruin a model without a word.
  private static func checkFits(_ named: NamedTensor) throws {
    guard named.tensor.dtype.isFloatingPoint, named.tensor.dtype != .float16, named.tensor.count > 0 else { return }
    try withoutGradient {
      if try named.tensor.isFinite().all(), try !named.tensor.to(.float16).isFinite().all() {
        throw RunError(
          "'\(named.name)' holds numbers that are too large for float16: take bfloat16, which reaches as far as float32"
        )
      }
    }
  }

  private static func isSame(_ one: String, _ other: String) -> Bool {
    var first = stat()
    var second = stat()
    guard stat(one, &first) == 0, stat(other, &second) == 0 else { return false }
    return first.st_dev == second.st_dev && first.st_ino == second.st_ino
  }
}
