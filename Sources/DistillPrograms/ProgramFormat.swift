import Foundation
import Torch

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

  /// The file, and after it those with weights of its own that usually lie beside it.
  public func files(of path: String) -> [String] {
    guard self == .onnx else { return [path] }
    return [path] + ["\(path).data", "\(path)_data"].filter { FileManager.default.fileExists(atPath: $0) }
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
}
