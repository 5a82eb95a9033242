import CTorch
import Foundation

/// A block of plain memory, made once and handed over: loader threads fill it, a tensor then lies over it without a
/// copy. It is freed when neither holds it any more.
public final class HostBuffer: @unchecked Sendable {
  public let bytes: UnsafeMutableRawBufferPointer
  private let release: @Sendable (UnsafeMutableRawBufferPointer) -> Void

  /// Uninitialized memory of `byteCount` bytes, aligned for any element and for vector instructions.
  public init(byteCount: Int) {
    // With room to begin on a boundary: asked for aligned memory, the C library does not find again what was freed of the
    // very size, and its heap grows.
    let alignment = 64
    let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount + alignment, alignment: 16)
    bytes = UnsafeMutableRawBufferPointer(start: memory.alignedUp(toMultipleOf: alignment), count: byteCount)
    let address = Int(bitPattern: memory)
    release = { _ in UnsafeMutableRawPointer(bitPattern: address)?.deallocate() }
  }

  fileprivate init(
    bytes: UnsafeMutableRawBufferPointer, release: @escaping @Sendable (UnsafeMutableRawBufferPointer) -> Void
  ) {
    self.bytes = bytes
    self.release = release
  }

  /// A copy of the elements.
  public convenience init<Scalar: TensorScalar>(_ elements: [Scalar]) {
    self.init(byteCount: elements.count * MemoryLayout<Scalar>.stride)
    elements.withUnsafeBytes { bytes.copyMemory(from: $0) }
  }

  /// A whole file, mapped and not read: pages come in when they are touched, so a file larger than memory is fine.
  /// Changes to the memory stay private to this process.
  ///
  /// - Throws: `TorchError` when the file cannot be opened or mapped.
  public convenience init(mapping path: String) throws {
    // Opening a pipe would otherwise wait for somebody to write to it.
    let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw TorchError(operation: "map", message: "\(path): \(String(cString: strerror(errno)))")
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw TorchError(operation: "map", message: "\(path): \(RegularFile.refusal)")
    }
    let size = Int(status.st_size)
    guard size > 0 else {
      self.init(byteCount: 0)
      return
    }
    guard let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor, 0), memory != MAP_FAILED else {
      throw TorchError(operation: "map", message: "\(path): \(String(cString: strerror(errno)))")
    }
    self.init(bytes: UnsafeMutableRawBufferPointer(start: memory, count: size)) { munmap($0.baseAddress, $0.count) }
  }

  deinit { release(bytes) }
}

/// Looks up every byte in a table of 256 numbers: `output[i] = table[bytes[i]]`. Many at once where the processor can,
/// and without libtorch, so that threads which load data can use it.
package func lookUp(
  _ bytes: UnsafePointer<UInt8>, count: Int, in table: UnsafePointer<Float>, to output: UnsafeMutablePointer<Float>
) {
  ct_look_up(bytes, count, table, output)
}

/// Asks the processor to bring bytes near that are soon to be read. Needs no libtorch.
package func fetch(_ bytes: UnsafeRawBufferPointer) { ct_fetch(bytes.baseAddress, bytes.count) }

extension Tensor {
  /// A tensor over part of a buffer, without a copy. The buffer lives as long as the tensor needs it.
  ///
  /// - Throws: `TorchError` when the part does not lie in the buffer or is not aligned for its elements.
  public convenience init(_ buffer: HostBuffer, byteOffset: Int = 0, shape: [Int], dtype: DType) throws {
    let count = try Self.elementCount(of: shape)
    guard let byteCount = product([count, dtype.byteCount]), byteOffset >= 0, byteCount <= buffer.bytes.count,
      byteOffset <= buffer.bytes.count - byteCount,
      let base = buffer.bytes.baseAddress
    else {
      throw TorchError(
        operation: "tensor over memory",
        message: "\(shape) of \(dtype) at byte \(byteOffset) does not fit in \(buffer.bytes.count) bytes")
    }
    guard (Int(bitPattern: base) + byteOffset) % dtype.byteCount == 0 else {
      throw TorchError(operation: "tensor over memory", message: "byte \(byteOffset) is not aligned for \(dtype)")
    }
    let context = Unmanaged.passRetained(buffer)
    let sizes = shape.map { Int64($0) }
    var made: ct_tensor_ref?
    do {
      try Bridge.call("from_blob") {
        $0.tensor_from_memory(
          base + byteOffset, sizes, Int32(sizes.count), dtype.rawValue,
          { context in context.map { Unmanaged<HostBuffer>.fromOpaque($0).release() } },
          context.toOpaque(), &made, $1)
      }
    } catch {
      context.release()
      throw error
    }
    self.init(owning: try Bridge.given(made, by: "from_blob"))
  }

  /// A tensor with a copy of `elements`, in row-major order.
  ///
  /// - Throws: `TorchError` when `shape` does not have as many elements as were given.
  public convenience init<Scalar: TensorScalar>(_ elements: [Scalar], shape: [Int]) throws {
    let count = try Self.elementCount(of: shape)
    guard count == elements.count else {
      throw TorchError(operation: "tensor", message: "\(elements.count) elements do not fill the shape \(shape)")
    }
    try self.init(HostBuffer(elements), shape: shape, dtype: Scalar.dtype)
  }

  /// A vector with a copy of `elements`.
  public convenience init<Scalar: TensorScalar>(_ elements: [Scalar]) throws {
    try self.init(elements, shape: [elements.count])
  }

  private static func elementCount(of shape: [Int]) throws -> Int {
    guard shape.allSatisfy({ $0 >= 0 }), let count = product(shape) else {
      throw TorchError(operation: "tensor", message: "impossible shape \(shape)")
    }
    return count
  }

  /// The elements in row-major order. Copies from the device; the element type must be the tensor's own.
  ///
  /// - Throws: `TorchError` when `Scalar` is not the Swift type of the tensor's elements.
  public func array<Scalar: TensorScalar>(of type: Scalar.Type = Scalar.self) throws -> [Scalar] {
    guard Scalar.dtype == dtype else {
      throw TorchError(
        operation: "array", shapes: [shape], dtypes: [dtype], message: "elements are not \(Scalar.dtype)")
    }
    return try withBytes { Array($0.bindMemory(to: Scalar.self)) }
  }

  /// The elements in row-major order as numbers, whatever their type.
  public func doubles() throws -> [Double] { try detached().to(.float64).array() }

  /// The elements in row-major order as floats, whatever their type.
  public func floats() throws -> [Float] { try detached().to(.float32).array() }

  /// The only element of a tensor with one element. Waits for the device.
  public func item() throws -> Double {
    guard count == 1 else {
      throw TorchError(operation: "item", shapes: [shape], dtypes: [dtype], message: "not exactly one element")
    }
    return try doubles()[0]
  }

  /// Reads the elements as bytes, in row-major order.
  public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
    let tensor = try detached().to(Device.cpu).contiguous()
    var memory: UnsafeMutableRawPointer?
    try Bridge.call("data", tensors: [tensor]) { $0.tensor_data(tensor.reference, &memory, $1) }
    return try withExtendedLifetime(tensor) {
      try body(UnsafeRawBufferPointer(start: memory, count: tensor.count * tensor.dtype.byteCount))
    }
  }
}
