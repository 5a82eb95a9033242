import Foundation

/// ONNX Runtime's library for the tests: that of the Python which checks what is exported.
public enum ONNXRuntimeForTests {
  /// The folder that holds it.
  public static let folder: String? = {
    guard let python = PythonEnvironment.onnx.path else { return nil }
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [python, "-c", "import onnxruntime; print(onnxruntime.__path__[0])"]
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil, let text = try? pipe.fileHandleForReading.readToEnd() else { return nil }
    process.waitUntilExit()
    let folder = String(decoding: text, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines) + "/capi"
    return FileManager.default.fileExists(atPath: folder) ? folder : nil
  }()

  /// Whether there is one; then this process finds it from now on.
  public static let isThere: Bool = {
    guard let folder else { return false }
    setenv("DISTILL_ONNXRUNTIME", folder, 1)
    return true
  }()
}
