extension Operator {
  fileprivate static let zeros = Operator("aten::zeros")
  fileprivate static let ones = Operator("aten::ones")
  fileprivate static let full = Operator("aten::full")
  fileprivate static let empty = Operator("aten::empty", overload: "memory_format")
  fileprivate static let arange = Operator("aten::arange", overload: "start_step")
  fileprivate static let eye = Operator("aten::eye")
  fileprivate static let emptyLike = Operator("aten::empty_like")
  fileprivate static let zerosLike = Operator("aten::zeros_like")
  fileprivate static let onesLike = Operator("aten::ones_like")
  fileprivate static let oneHot = Operator("aten::one_hot")
  fileprivate static let toDType = Operator("aten::to", overload: "dtype")
  fileprivate static let toDevice = Operator("aten::to", overload: "device")
  fileprivate static let contiguous = Operator("aten::contiguous")
  fileprivate static let clone = Operator("aten::clone")
  fileprivate static let copy = Operator("aten::copy_")
  fileprivate static let fill = Operator("aten::fill_", overload: "Scalar")
}

extension Tensor {
  /// Zeros, of a shape.
  public static func zeros(_ shape: [Int], dtype: DType = .float32, device: Device = .cpu) throws -> Tensor {
    try Dispatcher.call(.zeros, shape, dtype, Int?.none, device)
  }

  /// Ones, of a shape.
  public static func ones(_ shape: [Int], dtype: DType = .float32, device: Device = .cpu) throws -> Tensor {
    try Dispatcher.call(.ones, shape, dtype, Int?.none, device)
  }

  /// One number everywhere, in a shape; `[]` is the shape of a single number.
  public static func full(
    _ shape: [Int], _ value: Double, dtype: DType = .float32, device: Device = .cpu
  ) throws -> Tensor {
    try Dispatcher.call(.full, shape, value, dtype, Int?.none, device)
  }

  /// A tensor whose elements are whatever was in memory.
  public static func empty(_ shape: [Int], dtype: DType = .float32, device: Device = .cpu) throws -> Tensor {
    try Dispatcher.call(.empty, shape, dtype, Int?.none, device)
  }

  /// The whole numbers from `start` up to, and without, `end`.
  public static func range(
    _ start: Int = 0, _ end: Int, step: Int = 1, dtype: DType = .int64, device: Device = .cpu
  ) throws -> Tensor {
    try Dispatcher.call(.arange, start, end, step, dtype, Int?.none, device)
  }

  /// The `[size, size]` matrix with ones on its diagonal.
  public static func identity(_ size: Int, dtype: DType = .float32, device: Device = .cpu) throws -> Tensor {
    try Dispatcher.call(.eye, size, dtype, Int?.none, device)
  }

  /// Uninitialized, with this tensor's shape, type and device.
  public func emptyLike() throws -> Tensor { try Dispatcher.call(.emptyLike, self) }

  /// Zeros, with this tensor's shape, type and device.
  public func zerosLike() throws -> Tensor { try Dispatcher.call(.zerosLike, self) }

  /// Ones, with this tensor's shape, type and device.
  public func onesLike() throws -> Tensor { try Dispatcher.call(.onesLike, self) }

  /// Class numbers `[...]` as rows `[..., classCount]` with a one at the class and zeros elsewhere.
  public func oneHot(classCount: Int) throws -> Tensor { try Dispatcher.call(.oneHot, self, classCount) }

  /// The same numbers as another type; this very tensor if it has that type already.
  public func to(_ dtype: DType) throws -> Tensor {
    self.dtype == dtype ? self : try Dispatcher.call(.toDType, self, dtype)
  }

  /// The same numbers on another device; this very tensor if it is there already.
  public func to(_ device: Device, dtype: DType? = nil) throws -> Tensor {
    let wanted = dtype ?? self.dtype
    if self.device == device { return try to(wanted) }
    return try Dispatcher.call(.toDevice, self, device, wanted)
  }

  /// The same numbers laid out in `format`; this very tensor if it is already.
  public func contiguous(_ format: MemoryFormat = .contiguous) throws -> Tensor {
    try Dispatcher.call(.contiguous, self, format)
  }

  /// A copy that shares nothing.
  public func copied() throws -> Tensor { try Dispatcher.call(.clone, self) }

  /// Overwrites this tensor's numbers with another's, which are broadcast and converted as needed.
  public func copy(from other: Tensor) throws { _ = try Dispatcher.call(.copy, self, other) }

  /// Overwrites every element.
  public func fill(_ value: Double) throws { _ = try Dispatcher.call(.fill, self, value) }
}
