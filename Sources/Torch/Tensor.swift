import CTorch

/// A multi-dimensional array of numbers on a device, with the history that gradients need.
///
/// A tensor is a reference: copies of the reference share the numbers. Operators give new tensors, except those
/// whose names are plain verbs (`copy(from:)`, `fill(_:)`, `add(_:scale:)`), which change the tensor in place.
///
/// Tensors are not `Sendable`: libtorch's in-place operators and autograd are not safe to use from two threads at once.
public final class Tensor {
  let reference: ct_tensor_ref

  /// Takes over a reference that the bridge gave.
  init(owning reference: ct_tensor_ref) { self.reference = reference }

  deinit { Bridge.opened.tensor_release(reference) }

  // This does not fail: the bridge gives away only tensors that it can describe, and throws instead of others.
  var info: ct_tensor_info {
    var info = ct_tensor_info()
    var message: UnsafeMutablePointer<CChar>?
    if Bridge.opened.tensor_info(reference, &info, &message) != 0 { Bridge.opened.free(message) }
    return info
  }

  /// The size of each dimension.
  public var shape: [Int] {
    let info = info
    return withUnsafeBytes(of: info.sizes) { bytes in
      bytes.bindMemory(to: Int64.self).prefix(Int(info.dimensions)).map { Int($0) }
    }
  }

  /// The distance, in elements, between neighbours along each dimension.
  public var strides: [Int] {
    let info = info
    return withUnsafeBytes(of: info.strides) { bytes in
      bytes.bindMemory(to: Int64.self).prefix(Int(info.dimensions)).map { Int($0) }
    }
  }

  /// What tells libtorch's tensors apart while they live: two references to one have the same.
  package var identity: Int { Int(bitPattern: reference) }

  /// Where this tensor begins in the memory of another, in elements, if it lies there as a whole and has the same type; nil
  /// otherwise.
  package func offset(in other: Tensor) throws -> Int? {
    guard dtype == other.dtype, device == other.device, count > 0, other.count > 0, other.isContiguous else {
      return nil
    }
    func address(_ tensor: Tensor) throws -> Int {
      var memory: UnsafeMutableRawPointer?
      try Bridge.call("data", tensors: [tensor]) { $0.tensor_data(tensor.reference, &memory, $1) }
      return Int(bitPattern: memory)
    }
    let distance = try address(self) - address(other)
    let last = zip(shape, strides).reduce(0) { $0 + ($1.0 - 1) * $1.1 }
    let offset = distance / dtype.byteCount
    guard distance >= 0, distance % dtype.byteCount == 0, offset + last < other.count else { return nil }
    return offset
  }

  /// The number of dimensions.
  public var rank: Int { Int(info.dimensions) }

  /// The number of elements.
  public var count: Int { Int(info.count) }

  /// The type of the elements.
  public var dtype: DType {
    guard let dtype = DType(rawValue: info.dtype) else { preconditionFailure("the bridge lets no other type in") }
    return dtype
  }

  /// Where the elements are.
  public var device: Device {
    let info = info
    return Device(Device.Kind(rawValue: info.device) ?? .cpu, index: Int(info.device_index))
  }

  /// Whether the elements lie in memory in row-major order without gaps.
  public var isContiguous: Bool { info.contiguous }

  /// The size of one dimension; a negative number counts from the end.
  ///
  /// - Throws: `TorchError` when there is no such dimension.
  public func size(_ dimension: Int) throws -> Int {
    let shape = shape
    guard (-shape.count..<shape.count).contains(dimension) else {
      throw TorchError(
        operation: "size", shapes: [shape], dtypes: [dtype],
        message: "there is no dimension \(dimension) among the \(shape.count) of this tensor")
    }
    return shape[dimension < 0 ? shape.count + dimension : dimension]
  }

  /// Whether this tensor's elements have the shape, type and device of another's and lie in memory in the same order.
  public func hasLayout(of other: Tensor) -> Bool {
    let first = info
    let second = other.info
    guard first.dimensions == second.dimensions, first.dtype == second.dtype, first.device == second.device,
      first.device_index == second.device_index
    else { return false }
    return withUnsafeBytes(of: (first.sizes, first.strides)) { left in
      withUnsafeBytes(of: (second.sizes, second.strides)) { right in
        let left = left.bindMemory(to: Int64.self)
        let right = right.bindMemory(to: Int64.self)
        let strides = left.count / 2
        return (0..<Int(first.dimensions)).allSatisfy { dimension in
          // The stride along a dimension with one element is never used.
          left[dimension] == right[dimension]
            && (left[dimension] == 1 || left[strides + dimension] == right[strides + dimension])
        }
      }
    }
  }
}

/// How the elements of a `[N, C, H, W]` tensor lie in memory. The raw value is libtorch's number (`c10::MemoryFormat`).
public enum MemoryFormat: Int32, Sendable {
  /// Row-major order: the pixels of one channel lie side by side.
  case contiguous = 0
  /// The channels of one pixel lie side by side, which suits convolutions on most processors.
  case channelsLast = 2
}

extension Tensor: CustomStringConvertible {
  /// The shape, the element type, and the first elements.
  public var description: String {
    let head = "Tensor(\(shape), \(dtype)\(device == .cpu ? "" : ", \(device)"))"
    guard let shown = try? firstElements(8) else { return head }
    return "\(head) [\(shown.joined(separator: ", "))\(count > 8 ? ", …" : "")]"
  }

  private func firstElements(_ limit: Int) throws -> [String] {
    let first = try detached().flattened().sliced(0, from: 0, to: min(count, limit))
    if dtype.isFloatingPoint { return try first.floats().map { "\($0)" } }
    return try first.to(.int64).array(of: Int.self).map { "\($0)" }
  }
}
