extension Operator {
  fileprivate static let uniform = Operator("aten::uniform_")
  fileprivate static let normal = Operator("aten::normal_")
  fileprivate static let bernoulli = Operator("aten::bernoulli_", overload: "float")
  fileprivate static let random = Operator("aten::random_", overload: "from")
  fileprivate static let viewAsType = Operator("aten::view", overload: "dtype")
  fileprivate static let multinomial = Operator("aten::multinomial")
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

  /// Numbers of classes, drawn with replacement, where this tensor holds the probabilities: `[R, C]` → `[R, count]`, int64.
  public func sampledClasses(_ count: Int) throws -> Tensor {
    try withoutGradient { try Dispatcher.call(.multinomial, self, count, true, RandomStream.current) }
  }

  /// Zeroes each element with the given probability and scales the others so that the mean stays.
  ///
  /// On the CPU the probability is rounded to a multiple of 2⁻¹⁶ (and the scale goes by the rounded one): sixteen random
  /// bits for each element are drawn several times as fast as numbers are.
  ///
  /// ## Reference
  /// Srivastava et al.: Dropout. JMLR 2014.
  public func dropout(_ probability: Double) throws -> Tensor {
    try checkProbability(probability, of: "dropout")
    guard probability > 0 else { return self }
    guard probability < 1 else { return try self * 0 }
    return try self * dropoutMask(probability)
  }

  /// 0 where an element is dropped, elsewhere the scale; of this tensor's shape, type and layout.
  private func dropoutMask(_ probability: Double) throws -> Tensor {
    guard device == .cpu else {
      let mask = try emptyLike().drawBernoulli(1 - probability)
      try mask.multiply(by: 1 / (1 - probability))
      return mask
    }
    let dropped = min(Int((probability * 65536).rounded()), 65535)
    let count = count
    let drawn = try Tensor.empty([(count + 3) / 4], dtype: .int64)
    _ = try Dispatcher.call(.random, drawn, Int.min, Int?.none, RandomStream.current)
    let bits = try Dispatcher.call(.viewAsType, drawn, DType.int16).sliced(0, from: 0, to: count)
    let isKept = try bits.isAtLeast(whole: Int(Int16.min) + dropped)
    let mask = try isKept.to(dtype)
    try mask.multiply(by: 65536 / Double(65536 - dropped))
    let shape = shape
    if shape.count == 4 && !isContiguous && strides[1] == 1 {
      return try mask.reshaped([shape[0], shape[2], shape[3], shape[1]]).permuted([0, 3, 1, 2])
    }
    return try mask.reshaped(shape)
  }
}

/// Throws unless a probability is one.
package func checkProbability(_ probability: Double, of operation: String) throws {
  guard (0...1).contains(probability) else {
    throw TorchError(operation: operation, message: "a probability lies between 0 and 1; \(probability) does not")
  }
}
