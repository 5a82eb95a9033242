extension Operator {
  fileprivate static let uniform = Operator("aten::uniform_")
  fileprivate static let normal = Operator("aten::normal_")
  fileprivate static let bernoulli = Operator("aten::bernoulli_", overload: "float")
}

// Each draws from the stream in force, see `withRandomStream`.
extension Tensor {
  /// Overwrites every element with a number from [lower, upper).
  @discardableResult
  public func drawUniform(from lower: Double = 0, to upper: Double = 1) throws -> Tensor {
    try withoutGradient { _ = try Dispatcher.call(.uniform, self, lower, upper, RandomStream.current) }
    return self
  }

  /// Overwrites every element with a number from the normal distribution.
  @discardableResult
  public func drawNormal(mean: Double = 0, standardDeviation: Double = 1) throws -> Tensor {
    try withoutGradient { _ = try Dispatcher.call(.normal, self, mean, standardDeviation, RandomStream.current) }
    return self
  }

  /// Overwrites every element with 1, with the given probability, or 0.
  @discardableResult
  public func drawBernoulli(_ probability: Double) throws -> Tensor {
    try withoutGradient { _ = try Dispatcher.call(.bernoulli, self, probability, RandomStream.current) }
    return self
  }

  /// While training, zeroes each element with the given probability and scales the others so that the mean stays.
  ///
  /// ## Reference
  /// Srivastava et al.: Dropout. JMLR 2014.
  public func dropout(_ probability: Double) throws -> Tensor {
    guard probability > 0 else { return self }
    guard probability < 1 else { return try self * 0 }
    let mask = try emptyLike().drawBernoulli(1 - probability)
    try mask.multiply(by: 1 / (1 - probability))
    return try self * mask
  }
}
