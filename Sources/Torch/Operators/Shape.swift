extension Operator {
  fileprivate static let reshape = Operator("aten::reshape")
  fileprivate static let flatten = Operator("aten::flatten", overload: "using_ints")
  fileprivate static let transpose = Operator("aten::transpose", overload: "int")
  fileprivate static let permute = Operator("aten::permute")
  fileprivate static let unsqueeze = Operator("aten::unsqueeze")
  fileprivate static let squeeze = Operator("aten::squeeze", overload: "dim")
  fileprivate static let expand = Operator("aten::expand")
  fileprivate static let asStrided = Operator("aten::as_strided")
  fileprivate static let slice = Operator("aten::slice", overload: "Tensor")
  fileprivate static let select = Operator("aten::select", overload: "int")
  fileprivate static let indexSelect = Operator("aten::index_select")
  fileprivate static let gather = Operator("aten::gather")
  fileprivate static let concatenate = Operator("aten::cat")
  fileprivate static let stack = Operator("aten::stack")
  fileprivate static let split = Operator("aten::split", overload: "Tensor")
  fileprivate static let flip = Operator("aten::flip")
  fileprivate static let pad = Operator("aten::constant_pad_nd")
  fileprivate static let nonzero = Operator("aten::nonzero")
  fileprivate static let scatterSource = Operator("aten::scatter", overload: "src")
  fileprivate static let scatterValue = Operator("aten::scatter", overload: "value")
  fileprivate static let indexCopy = Operator("aten::index_copy_")
}

extension Tensor {
  /// The same elements in another shape; one size may be −1 and is then what is left.
  public func reshaped(_ shape: [Int]) throws -> Tensor { try Dispatcher.call(.reshape, self, shape) }
  /// The dimensions from `start` to `end` made one.
  public func flattened(from start: Int = 0, to end: Int = -1) throws -> Tensor {
    try Dispatcher.call(.flatten, self, start, end)
  }
  /// Two dimensions exchanged, without a copy: `[N, C]`, 0 and 1 → `[C, N]`.
  public func transposed(_ first: Int, _ second: Int) throws -> Tensor {
    try Dispatcher.call(.transpose, self, first, second)
  }
  /// The dimensions in another order, without a copy: `[N, C, H, W]` in the order `[0, 2, 3, 1]` → `[N, H, W, C]`.
  public func permuted(_ order: [Int]) throws -> Tensor { try Dispatcher.call(.permute, self, order) }
  /// With a new dimension of size 1.
  public func expandedDimension(at dimension: Int) throws -> Tensor { try Dispatcher.call(.unsqueeze, self, dimension) }
  /// Without a dimension of size 1.
  public func squeezed(_ dimension: Int) throws -> Tensor { try Dispatcher.call(.squeeze, self, dimension) }
  /// Dimensions of size 1 repeated without a copy; −1 keeps a size.
  public func broadcast(to shape: [Int]) throws -> Tensor { try Dispatcher.call(.expand, self, shape) }
  /// A view of this tensor's memory with other distances, in elements, between neighbours along each dimension. The caller
  /// has checked that no element lies beyond the memory.
  package func strided(_ shape: [Int], strides: [Int]) throws -> Tensor {
    try Dispatcher.call(.asStrided, self, shape, strides)
  }
  /// The part from `start` up to, and without, `end` along a dimension, without a copy.
  public func sliced(_ dimension: Int, from start: Int, to end: Int) throws -> Tensor {
    try Dispatcher.call(.slice, self, dimension, start, end)
  }
  /// One index along a dimension, which disappears.
  public func selected(_ dimension: Int, _ index: Int) throws -> Tensor {
    try Dispatcher.call(.select, self, dimension, index)
  }
  /// The rows (or whatever `dimension` counts) whose numbers are in the vector `indices`.
  public func gathered(_ indices: Tensor, along dimension: Int = 0) throws -> Tensor {
    try Dispatcher.call(.indexSelect, self, dimension, indices)
  }
  /// For each element of `indices` the element of this tensor that it points to along a dimension.
  public func picked(_ indices: Tensor, along dimension: Int) throws -> Tensor {
    try Dispatcher.call(.gather, self, dimension, indices)
  }
  /// The numbers of the elements that are not zero (or not false), in order, where the elements are counted row after
  /// row: `[K]`, int64. Waits for the device.
  public func indicesOfNonzero() throws -> Tensor {
    try Dispatcher.call(.nonzero, try flattened()).flattened()
  }
  /// A copy with `value` where `indices` point along a dimension; the reverse of `picked`.
  public func overwritten(at indices: Tensor, along dimension: Int, with value: Double) throws -> Tensor {
    try Dispatcher.call(.scatterValue, self, dimension, indices, value)
  }
  /// A copy with the elements of `values` where `indices`, of its shape, point along a dimension; a place must not be
  /// named twice.
  public func overwritten(at indices: Tensor, along dimension: Int, from values: Tensor) throws -> Tensor {
    try Dispatcher.call(.scatterSource, self, dimension, indices, values)
  }
  /// Tensors one after the other along a dimension: `[2, C]` and `[3, C]` along 0 → `[5, C]`.
  public static func concatenated(_ tensors: [Tensor], along dimension: Int = 0) throws -> Tensor {
    try Dispatcher.call(.concatenate, tensors, dimension)
  }
  /// Tensors of one shape along a new dimension: K times `[N, C]` along 0 → `[K, N, C]`.
  public static func stacked(_ tensors: [Tensor], along dimension: Int = 0) throws -> Tensor {
    try Dispatcher.call(.stack, tensors, dimension)
  }
  /// Parts of `size` along a dimension; the last one may be smaller.
  public func split(_ size: Int, along dimension: Int = 0) throws -> [Tensor] {
    try Dispatcher.callList(.split, self, size, dimension)
  }
  /// In reverse order along dimensions.
  public func flipped(_ dimensions: Int...) throws -> Tensor { try Dispatcher.call(.flip, self, dimensions) }
  /// Padded with a constant: `[before, after]` of the last dimension first, then of the one before it, and so on.
  public func padded(_ amounts: [Int], with value: Double = 0) throws -> Tensor {
    try Dispatcher.call(.pad, self, amounts, value)
  }
  /// Overwrites the rows numbered by `indices` with those of `source`, in place.
  public func copyRows(_ indices: Tensor, from source: Tensor) throws {
    _ = try Dispatcher.call(.indexCopy, self, 0, indices, source)
  }
}
