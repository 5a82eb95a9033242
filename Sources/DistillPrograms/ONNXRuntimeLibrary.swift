import CONNXRuntime
import Foundation

/// ONNX Runtime on this machine: a library that is opened when the first ONNX model is loaded.
public enum ONNXRuntimeLibrary {
  /// The variable that names the library, or a folder that has it.
  public static let variable = "DISTILL_ONNXRUNTIME"

  /// The version of the library that was opened; nil as long as none is.
  public static var version: String? {
    let version = String(cString: onnx_runtime_version())
    return version.isEmpty ? nil : version
  }

  /// Opens it, once.
  ///
  /// - Throws: `ProgramError` that says where it was looked for, and how it is fetched
  static func open(for path: String) throws {
    let folders = folders
    guard let library = folders.lazy.compactMap(library).first else {
      throw ProgramError(
        path: path,
        problem: "an ONNX model needs ONNX Runtime, which is not in \(folders.joined(separator: ", ")): run "
          + "'scripts/bootstrap --onnx', or name its library or the folder that holds it in \(variable)")
    }
    var message: UnsafeMutablePointer<CChar>?
    guard onnx_open_runtime(library, &message) == 0 else {
      throw ProgramError(path: library, problem: "ONNX Runtime cannot be used: \(text(of: message))")
    }
  }

  /// Where it may be, first things first. What somebody names is the only place then.
  private static var folders: [String] {
    if let named = ProcessInfo.processInfo.environment[variable], !named.isEmpty { return [named] }
    let program = Bundle.main.executableURL?.resolvingSymlinksInPath().deletingLastPathComponent().path
    return (program.map { ["\($0)/onnxruntime", "\($0)/../lib/distill/onnxruntime"] } ?? [])
      + ["\(String(cString: onnx_package_directory()))/onnxruntime"]
  }

  /// The library in a folder, or the file itself.
  private static func library(in path: String) -> String? {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { return nil }
    guard isFolder.boolValue else { return path }
    // With its version in the name, in wheels; the provider libraries beside it are of other machines.
    let names = ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
    return names.first { $0.hasPrefix("libonnxruntime.") }.map { "\(path)/\($0)" }
  }

  /// A message of the library, which is freed.
  static func text(of message: UnsafeMutablePointer<CChar>?) -> String {
    defer { free(message) }
    return message.map { plain(String(cString: $0).split(separator: "\n").joined(separator: " ")) }
      ?? "without a reason"
  }

  /// A message without what the library says of itself before it: `Load model from FILE failed:`, the place in its source
  /// that found the fault, and that function's name and parameters.
  static func plain(_ message: String) -> String {
    var text = message[...]
    if text.hasPrefix("Load model from "), let known = text.range(of: " failed:") { text = text[known.upperBound...] }
    if let place = text.prefixMatch(of: #//\S+\.(cc|cpp|h):\d+ /#)?.range.upperBound,
      let parameters = text[place...].firstIndex(of: "(")
    {
      var depth = 0
      let end = text[parameters...].firstIndex { character in
        depth += character == "(" ? 1 : character == ")" ? -1 : 0
        return depth == 0
      }
      if let end { text = text[text.index(after: end)...] }
    }
    return text.trimmingCharacters(in: .whitespaces)
  }
}
