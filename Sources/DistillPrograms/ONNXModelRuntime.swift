import CONNXRuntime
import Foundation
import Torch

/// A model in an ONNX file, computed by ONNX Runtime on the processor.
final class ONNXModelRuntime: ProgramRuntime {
  /// An input or output of the model.
  struct Port {
    var name: String
    /// nil for what no tensor here can be.
    var dtype: DType?
    /// As ONNX numbers it; 0: no tensor.
    var element: Int32
    /// −1 where any size will do.
    var sizes: [Int]
  }

  private let session: OpaquePointer
  private let path: String
  private let input: Port
  private let outputs: [Port]
  private let threads: Int32
  /// Whether a batch was tried in a process of its own.
  private var hasBeenTried = false

  init(path: String) throws {
    _ = try ONNXFile(path)
    try ONNXRuntimeLibrary.open(for: path)
    var made: OpaquePointer?
    let threads = Int32(clamping: try TorchRuntime.threadCount)
    try Self.call(path, "cannot be loaded") { ONNXTrial().run(path, threads: threads, nil, $0) }
    try Self.call(path, "cannot be loaded") { onnx_session_open(path, threads, &made, $0) }
    guard let session = made else { throw ProgramError(path: path, problem: "it cannot be loaded") }
    self.path = path
    self.threads = threads
    self.session = session
    do {
      let inputs = try Self.ports(of: session, areInputs: true, path)
      guard inputs.count == 1 else {
        let names = inputs.prefix(10).map(Self.shown).joined(separator: ", ") + (inputs.count > 10 ? ", …" : "")
        throw ProgramError(
          path: path,
          problem: "it takes \(inputs.count) inputs\(names.isEmpty ? "" : " (\(names))"), and an example is one "
            + "tensor: export it with one")
      }
      if let count = inputs[0].sizes.first, count > BatchLimits.largest {
        throw ProgramError(path: path, problem: "it takes \(count) examples at once, which nothing here gives")
      }
      input = inputs[0]
      outputs = try Self.ports(of: session, areInputs: false, path)
    } catch {
      onnx_session_close(session)
      throw error
    }
  }

  deinit { onnx_session_close(session) }

  var parameterCount: Int? { nil }

  var limits: BatchLimits {
    guard let count = input.sizes.first, count > 0 else { return BatchLimits() }
    return .fixed(count)
  }

  func run(_ tensor: Tensor, output: OutputChoice) throws -> Tensor {
    let wanted = outputs[try output.place(among: outputs.map(\.name), path: path)]
    guard let dtype = input.dtype, dtype.isFloatingPoint || !tensor.dtype.isFloatingPoint else {
      throw ProgramError(
        path: path,
        problem: "its input '\(Self.shown(input))' takes \(Self.name(input)), and examples are \(tensor.dtype)")
    }
    guard input.sizes.count == tensor.rank,
      zip(input.sizes, tensor.shape).dropFirst().allSatisfy({ $0 < 0 || $0 == $1 })
    else {
      let sizes = input.sizes.map { $0 < 0 ? "any" : "\($0)" }.joined(separator: ", ")
      throw ProgramError(
        path: path,
        problem: "its input '\(Self.shown(input))' has the shape [\(sizes)], and examples come as \(tensor.shape)")
    }
    let given = try tensor.to(dtype)
    let sizes = given.shape.map { Int64($0) }
    var result = onnx_result()
    try given.withBytes { bytes in
      try Self.call(path, "fails for a batch of the shape \(tensor.shape)") { error in
        input.name.withCString { input in
          wanted.name.withCString { output in
            sizes.withUnsafeBufferPointer { sizes in
              let batch = onnx_batch(
                input: input, type: self.input.element, data: bytes.baseAddress, bytes: bytes.count,
                sizes: sizes.baseAddress, dimensions: sizes.count, output: output)
              if !hasBeenTried, ONNXTrial().run(path, threads: threads, batch, error) != 0 { return 1 }
              hasBeenTried = true
              return onnx_session_run(
                session, batch.input, batch.type, batch.data, batch.bytes, batch.sizes, batch.dimensions, batch.output,
                &result, error)
            }
          }
        }
      }
    }
    defer { onnx_result_release(&result) }
    let shape = Self.list(result.sizes, count: result.dimensions)
    guard let type = Self.types[result.type], shape.allSatisfy({ $0 >= 0 }),
      let byteCount = product(shape + [type.byteCount]), result.data != nil || byteCount == 0
    else {
      throw ProgramError(
        path: path, problem: "its output '\(Self.shown(wanted))' is \(Self.name(wanted)), and not of numbers")
    }
    let buffer = HostBuffer(byteCount: byteCount)
    if byteCount > 0 { buffer.bytes.copyMemory(from: UnsafeRawBufferPointer(start: result.data, count: byteCount)) }
    return try Tensor(buffer, shape: shape, dtype: type)
  }

  // MARK: What the model says of itself

  private static let types: [Int32: DType] = [
    1: .float32, 2: .uint8, 3: .int8, 5: .int16, 6: .int32, 7: .int64, 9: .bool, 10: .float16, 11: .float64,
    16: .bfloat16,
  ]

  /// A name that is not longer than what is read.
  private static func shown(_ port: Port) -> String { String(port.name.prefix(100)) }

  /// For messages.
  private static func name(_ port: Port) -> String {
    port.dtype.map { "\($0)" } ?? (port.element == 0 ? "no tensor" : "a tensor of ONNX's type \(port.element)")
  }

  private static func ports(of session: OpaquePointer, areInputs: Bool, _ path: String) throws -> [Port] {
    var count = 0
    try call(path, "cannot be read") { onnx_session_count(session, areInputs, &count, $0) }
    return try (0..<count).map { index in
      var port = onnx_port()
      try call(path, "cannot be read") { onnx_session_port(session, areInputs, index, &port, $0) }
      defer { free(port.name) }
      return Port(
        name: port.name.map { String(cString: $0) } ?? "", dtype: types[port.type], element: port.type,
        sizes: list(port.sizes, count: port.dimensions))
    }
  }

  /// The first elements of a list in C.
  private static func list<Memory>(_ memory: Memory, count: Int32) -> [Int] {
    withUnsafeBytes(of: memory) { $0.bindMemory(to: Int64.self).prefix(Int(count)).map { Int($0) } }
  }

  private static func call(
    _ path: String, _ what: String, _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Int32
  ) throws {
    var message: UnsafeMutablePointer<CChar>?
    guard body(&message) != 0 else { return }
    throw ProgramError(path: path, problem: "it \(what): \(shortened(ONNXRuntimeLibrary.text(of: message)))")
  }
}
