import Foundation
import Testing

/// Packages of Python that tests ask for what the other side makes of our files: the system's, or in an environment of the
/// package's own that is made the first time, if it is not too large for that.
public struct PythonEnvironment: Sendable {
  /// Where there is such a Python.
  public let path: String?
  /// What to say where there is none.
  public let missing: Comment

  /// ONNX Runtime and the checker of ONNX.
  public static let onnx = PythonEnvironment(
    ".venv-onnx", packages: ["onnx==1.23.2", "onnxruntime==1.31.1"], modules: ["onnx", "onnxruntime"])

  /// Apple's tools for Core ML.
  public static let coreML = PythonEnvironment(
    ".venv-coreml", packages: ["coremltools==9.0"], modules: ["coremltools.libmilstoragepython"])

  /// Hugging Face's transformers and timm, with PyTorch: gigabytes, so people make this one themselves.
  public static let transformers = PythonEnvironment(".venv-transformers", modules: ["transformers", "timm", "torch"])

  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

  /// One that is there, or is not.
  private init(_ name: String, modules: [String]) {
    let own = "\(Self.root)/\(name)/bin/python"
    // Found, not imported: that takes seconds.
    let names = modules.map { "'\($0)'" }.joined(separator: ", ")
    let program = "import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, [\(names)])))"
    path = ["python3", own].first { Self.run($0, ["-c", program]) }
    missing =
      "no Python with \(modules.joined(separator: " and ")) here: python3 -m venv \(name) && \(name)/bin/pip install \(modules.joined(separator: " "))"
  }

  private init(_ name: String, packages: [String], modules: [String]) {
    let environment = "\(Self.root)/\(name)"
    let own = "\(environment)/bin/python"
    func hasModules(_ python: String) -> Bool {
      Self.run(python, ["-c", "import " + modules.joined(separator: ", ")])
    }
    missing = "no Python with \(modules.joined(separator: " and ")) here, and pip cannot install them"
    if let found = ["python3", own].first(where: hasModules) {
      path = found
    } else if Self.run("python3", ["-m", "venv", environment]),
      Self.run(own, ["-m", "pip", "install", "--quiet"] + packages), hasModules(own)
    {
      path = own
    } else {
      path = nil
    }
  }

  /// Whether a program ends well.
  public static func run(_ program: String, _ arguments: [String]) -> Bool { failure(program, arguments) == nil }

  /// What a program that does not end well says; nil for one that does.
  public static func failure(_ program: String, _ arguments: [String]) -> String? {
    let process = Process()
    let errors = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = errors
    do { try process.run() } catch { return "\(error)" }
    let said = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return process.terminationStatus == 0 ? nil : String(decoding: said, as: UTF8.self)
  }
}
