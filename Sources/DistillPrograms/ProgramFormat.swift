import Foundation
import Torch
import TorchNN

/// The kinds of files that hold a model as a whole.
public enum ProgramFormat: String, Sendable, CaseIterable {
  /// What `torch.jit.save` writes, usually `.pt`.
  case torchScript = "torchscript"
  /// A package of AOTInductor, usually `.pt2`.
  case package = "aotinductor"
  case onnx

  /// Whether loading such a file executes code of whoever made it.
  ///
  /// A TorchScript program may call any operator of PyTorch, among them those that write files and read memory; a package
  /// is a library of machine code. An ONNX file is a list of operators that the runtime has; libraries with others are
  /// never loaded.
  public var executesCode: Bool { self != .onnx }

  /// For messages, such as "a TorchScript program".
  public var name: String {
    switch self {
    case .torchScript: "a TorchScript program"
    case .package: "a package of AOTInductor"
    case .onnx: "an ONNX model"
    }
  }

  /// The file, and after it those with weights that it names.
  public func files(of path: String) -> [String] {
    // What is wrong with it is said when it is opened.
    self == .onnx ? [path] + ((try? ONNXFile(path).externalFiles) ?? []) : [path]
  }

  /// What kind of file it is, by its content; nil for one that holds no model as a whole, or cannot be read.
  ///
  /// ONNX files have no mark by which they begin: their name ends with `.onnx`.
  public init?(of path: String) {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue,
      !RegularFile.isOtherThanFile(path)
    else { return nil }
    if path.lowercased().hasSuffix(".onnx") {
      self = .onnx
      return
    }
    guard let buffer = try? HostBuffer(mapping: path) else { return nil }
    let found = withExtendedLifetime(buffer) { () -> ProgramFormat? in
      let bytes = UnsafeRawBufferPointer(buffer.bytes)
      guard ZipFile.begins(bytes), let zip = try? ZipFile(bytes) else { return nil }
      if zip.entries.contains(where: { $0.name.contains("/data/aotinductor/") }) { return .package }
      return zip.entries.contains { $0.name.hasSuffix("/constants.pkl") } ? .torchScript : nil
    }
    guard let found else { return nil }
    self = found
  }

  /// What is wrong with a file that holds neither a model as a whole nor weights, in words that go on after the path; nil for
  /// those that hold one of both, and where there is no file.
  public static func problem(of path: String) -> String? {
    guard ProgramFormat(of: path) == nil, !RegularFile.isOtherThanFile(path),
      let buffer = try? HostBuffer(mapping: path)
    else { return nil }
    return withExtendedLifetime(buffer) {
      let bytes = UnsafeRawBufferPointer(buffer.bytes)
      if bytes.isEmpty { return "it is empty; fetch or write it again" }
      guard ZipFile.begins(bytes) else {
        do {
          _ = try Checkpoint.places(in: bytes, path: path)
          return nil
        } catch {
          // What looks like weights is said to be damaged ones.
          let looksLikeWeights = Checkpoint.format(of: path) != .safetensors || bytes.dropFirst(8).first == 0x7b
          if looksLikeWeights, let error = error as? CheckpointError { return error.problem }
        }
        return
          "it is no model: neither a TorchScript program or a package of AOTInductor, which are zip files, nor an ONNX "
          + "model, whose name ends with .onnx, nor weights (safetensors, or a file of torch.save)"
      }
      do {
        let names = try ZipFile(bytes).entries.map(\.name)
        if names.contains(where: { $0 == "data.pkl" || $0.hasSuffix("/data.pkl") }) { return nil }
        return "it is a zip file, but holds neither a TorchScript program, nor a package of AOTInductor, nor weights"
      } catch {
        let reason = (error as? ZipError)?.problem ?? "\(error)"
        return
          "it is a zip file, as programs of TorchScript, packages of AOTInductor and weights of torch.save are, but it is "
          + "cut off or damaged (\(reason.prefix(200))); fetch or write it again"
      }
    }
  }
}
