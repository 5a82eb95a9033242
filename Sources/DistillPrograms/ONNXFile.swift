import Torch

/// What an ONNX file says of itself, looked through before ONNX Runtime sees it, which trusts more than it should: every
/// length lies in the file, every weight has as many bytes as its shape says, weights in other files lie beside the model
/// and have as many bytes too, and there are no more parts than models have.
///
/// What the operators compute is not looked at: a model may still ask for more memory or time than there is.
///
/// ## Reference
/// `onnx.proto` of ONNX 1.23
package struct ONNXFile {
  /// The files with weights that it names, sorted.
  package let externalFiles: [String]

  /// - Throws: `ProgramError` with what is wrong with the file
  package init(_ path: String) throws {
    let buffer: HostBuffer
    do {
      buffer = try HostBuffer(mapping: path)
    } catch let error as TorchError {
      throw ProgramError(path: path, problem: "it cannot be read: \(error.message.replacing("\(path): ", with: ""))")
    }
    self = try withExtendedLifetime(buffer) { try ONNXFile(UnsafeRawBufferPointer(buffer.bytes), path: path) }
  }

  /// - Parameters:
  ///   - bytes: the whole file
  ///   - path: where it is from; weights in other files are looked for beside it
  /// - Throws: `ProgramError`
  package init(_ bytes: UnsafeRawBufferPointer, path: String) throws {
    var reader = ONNXFileReader(bytes, path: path)
    do {
      externalFiles = try reader.externalFiles()
    } catch let failure as ProtobufReader.Failure {
      throw ProgramError(
        path: path,
        problem: "it is no ONNX model, or is cut off or damaged: \(failure.problem); fetch or write it again")
    }
  }
}
