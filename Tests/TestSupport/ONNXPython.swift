import Foundation
import Testing

/// A Python that has ONNX Runtime and the checker: the system's, or one in an environment of the package's that is made the
/// first time.
public enum ONNXPython {
  private static let packages = ["onnx==1.23.2", "onnxruntime==1.31.1"]
  public static let missing: Comment = "no Python with onnx and onnxruntime here, and pip cannot install them"

  public static let path: String? = {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().path
    let environment = "\(root)/.venv-onnx"
    let own = "\(environment)/bin/python"
    if let found = ["python3", own].first(where: hasPackages) { return found }
    guard run("python3", ["-m", "venv", environment]),
      run(own, ["-m", "pip", "install", "--quiet"] + packages)
    else { return nil }
    return hasPackages(own) ? own : nil
  }()

  private static func hasPackages(_ python: String) -> Bool { run(python, ["-c", "import onnx, onnxruntime"]) }

  /// Whether a program ends well.
  public static func run(_ program: String, _ arguments: [String]) -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }
}
