extension Operator {
  fileprivate static let add = Operator("aten::add", overload: "Tensor")
  fileprivate static let addScalar = Operator("aten::add", overload: "Scalar")
  fileprivate static let subtract = Operator("aten::sub", overload: "Tensor")
  fileprivate static let subtractScalar = Operator("aten::sub", overload: "Scalar")
  fileprivate static let subtractFrom = Operator("aten::rsub", overload: "Scalar")
  fileprivate static let multiply = Operator("aten::mul", overload: "Tensor")
  fileprivate static let multiplyScalar = Operator("aten::mul", overload: "Scalar")
  fileprivate static let divide = Operator("aten::div", overload: "Tensor")
  fileprivate static let divideScalar = Operator("aten::div", overload: "Scalar")
  fileprivate static let reciprocal = Operator("aten::reciprocal")
  fileprivate static let negate = Operator("aten::neg")
  fileprivate static let exponential = Operator("aten::exp")
  fileprivate static let logarithm = Operator("aten::log")
  fileprivate static let squareRoot = Operator("aten::sqrt")
  fileprivate static let cosine = Operator("aten::cos")
  fileprivate static let sine = Operator("aten::sin")
  fileprivate static let absolute = Operator("aten::abs")
  fileprivate static let round = Operator("aten::round")
  fileprivate static let power = Operator("aten::pow", overload: "Tensor_Scalar")
  fileprivate static let clamp = Operator("aten::clamp")
  fileprivate static let minimum = Operator("aten::minimum")
  fileprivate static let maximum = Operator("aten::maximum")
  fileprivate static let logAddExp = Operator("aten::logaddexp")
  fileprivate static let addInPlace = Operator("aten::add_", overload: "Tensor")
  fileprivate static let addScalarInPlace = Operator("aten::add_", overload: "Scalar")
  fileprivate static let multiplyInPlace = Operator("aten::mul_", overload: "Scalar")
  fileprivate static let multiplyTensorInPlace = Operator("aten::mul_", overload: "Tensor")
  fileprivate static let equal = Operator("aten::eq", overload: "Tensor")
  fileprivate static let equalScalar = Operator("aten::eq", overload: "Scalar")
  fileprivate static let notEqualScalar = Operator("aten::ne", overload: "Scalar")
  fileprivate static let greater = Operator("aten::gt", overload: "Tensor")
  fileprivate static let greaterScalar = Operator("aten::gt", overload: "Scalar")
  fileprivate static let greaterOrEqualScalar = Operator("aten::ge", overload: "Scalar")
  fileprivate static let lessScalar = Operator("aten::lt", overload: "Scalar")
  fileprivate static let and = Operator("aten::logical_and")
  fileprivate static let not = Operator("aten::logical_not")
  fileprivate static let isFinite = Operator("aten::isfinite")
  fileprivate static let choose = Operator("aten::where", overload: "self")
  fileprivate static let maskedFill = Operator("aten::masked_fill", overload: "Scalar")
}

// Element-wise; shapes are broadcast as in NumPy.
extension Tensor {
  /// The sum, element by element; shapes are broadcast.
  public static func + (left: Tensor, right: Tensor) throws -> Tensor { try Dispatcher.call(.add, left, right) }
  /// A number added to every element.
  public static func + (left: Tensor, right: Double) throws -> Tensor { try Dispatcher.call(.addScalar, left, right) }
  /// A number added to every element.
  public static func + (left: Double, right: Tensor) throws -> Tensor { try right + left }
  /// The difference, element by element; shapes are broadcast.
  public static func - (left: Tensor, right: Tensor) throws -> Tensor { try Dispatcher.call(.subtract, left, right) }
  /// A number subtracted from every element.
  public static func - (left: Tensor, right: Double) throws -> Tensor {
    try Dispatcher.call(.subtractScalar, left, right)
  }
  /// Every element subtracted from a number.
  public static func - (left: Double, right: Tensor) throws -> Tensor {
    try Dispatcher.call(.subtractFrom, right, left)
  }
  /// The product, element by element; shapes are broadcast.
  public static func * (left: Tensor, right: Tensor) throws -> Tensor { try Dispatcher.call(.multiply, left, right) }
  /// Every element multiplied by a number.
  public static func * (left: Tensor, right: Double) throws -> Tensor {
    try Dispatcher.call(.multiplyScalar, left, right)
  }
  /// Every element multiplied by a number.
  public static func * (left: Double, right: Tensor) throws -> Tensor { try right * left }
  /// The quotient, element by element; shapes are broadcast.
  public static func / (left: Tensor, right: Tensor) throws -> Tensor { try Dispatcher.call(.divide, left, right) }
  /// Every element divided by a number.
  public static func / (left: Tensor, right: Double) throws -> Tensor {
    try Dispatcher.call(.divideScalar, left, right)
  }
  /// A number divided by every element.
  public static func / (left: Double, right: Tensor) throws -> Tensor {
    try Dispatcher.call(.reciprocal, right) * left
  }
  /// Every element with the other sign.
  public static prefix func - (tensor: Tensor) throws -> Tensor { try Dispatcher.call(.negate, tensor) }

  /// exp x.
  public func exponential() throws -> Tensor { try Dispatcher.call(.exponential, self) }
  /// The natural logarithm.
  public func logarithm() throws -> Tensor { try Dispatcher.call(.logarithm, self) }
  /// √x; NaN where x is negative.
  public func squareRoot() throws -> Tensor { try Dispatcher.call(.squareRoot, self) }
  /// cos x, of an angle in radians.
  public func cosine() throws -> Tensor { try Dispatcher.call(.cosine, self) }
  /// sin x, of an angle in radians.
  public func sine() throws -> Tensor { try Dispatcher.call(.sine, self) }
  /// |x|.
  public func absolute() throws -> Tensor { try Dispatcher.call(.absolute, self) }
  /// The nearest whole number; of two that are as near the even one.
  public func rounded() throws -> Tensor { try Dispatcher.call(.round, self) }
  /// x².
  public func squared() throws -> Tensor { try Dispatcher.call(.multiply, self, self) }
  /// x to the power of `exponent`.
  public func power(_ exponent: Double) throws -> Tensor { try Dispatcher.call(.power, self, exponent) }
  /// min(max(x, lower), upper); a bound that is nil does not hold.
  public func clamped(from lower: Double? = nil, to upper: Double? = nil) throws -> Tensor {
    try Dispatcher.call(.clamp, self, lower, upper)
  }
  /// The smaller of each two elements; shapes are broadcast.
  public func minimum(_ other: Tensor) throws -> Tensor { try Dispatcher.call(.minimum, self, other) }
  /// The larger of each two elements; shapes are broadcast.
  public func maximum(_ other: Tensor) throws -> Tensor { try Dispatcher.call(.maximum, self, other) }
  /// log(exp(self) + exp(other)), without overflow.
  public func logAddExp(_ other: Tensor) throws -> Tensor { try Dispatcher.call(.logAddExp, self, other) }

  /// Adds `scale · other` to this tensor, in place.
  public func add(_ other: Tensor, scale: Double = 1) throws {
    _ = try Dispatcher.call(.addInPlace, self, other, scale)
  }
  /// Adds a whole number to every element of this tensor, in place.
  public func add(_ value: Int) throws { _ = try Dispatcher.call(.addScalarInPlace, self, value) }
  /// Multiplies every element of this tensor, in place.
  public func multiply(by factor: Double) throws { _ = try Dispatcher.call(.multiplyInPlace, self, factor) }
  /// Multiplies this tensor element by element, in place.
  public func multiply(by other: Tensor) throws { _ = try Dispatcher.call(.multiplyTensorInPlace, self, other) }
}

// Comparisons give tensors of `bool`.
extension Tensor {
  /// Where the elements of both are equal.
  public func equals(_ other: Tensor) throws -> Tensor { try Dispatcher.call(.equal, self, other) }
  /// Where an element is `value`.
  public func equals(_ value: Double) throws -> Tensor { try Dispatcher.call(.equalScalar, self, value) }
  /// Where an element is not `value`.
  public func differs(from value: Double) throws -> Tensor { try Dispatcher.call(.notEqualScalar, self, value) }
  /// Where an element is greater than the other's.
  public func isGreater(than other: Tensor) throws -> Tensor { try Dispatcher.call(.greater, self, other) }
  /// Where an element is greater than `value`.
  public func isGreater(than value: Double) throws -> Tensor { try Dispatcher.call(.greaterScalar, self, value) }
  /// Where an element is `value` or greater.
  public func isAtLeast(_ value: Double) throws -> Tensor { try Dispatcher.call(.greaterOrEqualScalar, self, value) }
  /// Where an element of a tensor of whole numbers is `value` or greater.
  func isAtLeast(whole value: Int) throws -> Tensor { try Dispatcher.call(.greaterOrEqualScalar, self, value) }
  /// Where an element is less than `value`.
  public func isLess(than value: Double) throws -> Tensor { try Dispatcher.call(.lessScalar, self, value) }
  /// Where both are true, or not zero.
  public func and(_ other: Tensor) throws -> Tensor { try Dispatcher.call(.and, self, other) }
  /// Where an element is false, or zero.
  public func not() throws -> Tensor { try Dispatcher.call(.not, self) }
  /// Where an element is neither infinite nor NaN.
  public func isFinite() throws -> Tensor { try Dispatcher.call(.isFinite, self) }
  /// Where this tensor of `bool` is true the elements of `first`, elsewhere those of `second`.
  public func choose(_ first: Tensor, _ second: Tensor) throws -> Tensor {
    try Dispatcher.call(.choose, self, first, second)
  }
  /// A copy with `value` where `mask` is true.
  public func masked(where mask: Tensor, with value: Double) throws -> Tensor {
    try Dispatcher.call(.maskedFill, self, mask, value)
  }
}
