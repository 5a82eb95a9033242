extension Operator {
  fileprivate static let relu = Operator("aten::relu")
  fileprivate static let relu6 = Operator("aten::relu6")
  fileprivate static let leakyReLU = Operator("aten::leaky_relu")
  fileprivate static let gelu = Operator("aten::gelu")
  fileprivate static let silu = Operator("aten::silu")
  fileprivate static let sigmoid = Operator("aten::sigmoid")
  fileprivate static let tanh = Operator("aten::tanh")
  fileprivate static let hardSwish = Operator("aten::hardswish")
  fileprivate static let hardSigmoid = Operator("aten::hardsigmoid")
  fileprivate static let elu = Operator("aten::elu")
  fileprivate static let softplus = Operator("aten::softplus")
  fileprivate static let softmax = Operator("aten::softmax", overload: "int")
  fileprivate static let logSoftmax = Operator("aten::log_softmax", overload: "int")
}

extension Tensor {
  /// max(0, x).
  public func relu() throws -> Tensor { try Dispatcher.call(.relu, self) }
  /// min(max(0, x), 6).
  public func relu6() throws -> Tensor { try Dispatcher.call(.relu6, self) }
  /// x where it is positive, `slope` · x elsewhere.
  public func leakyReLU(slope: Double = 0.01) throws -> Tensor { try Dispatcher.call(.leakyReLU, self, slope) }
  /// x Φ(x), Φ the normal distribution; with `approximate` ½ x (1 + tanh(√(2 / π) (x + 0.044715 x³))), which is near it.
  public func gelu(approximate: Bool = false) throws -> Tensor {
    try Dispatcher.call(.gelu, self, approximate ? "tanh" : "none")
  }
  /// x σ(x).
  public func silu() throws -> Tensor { try Dispatcher.call(.silu, self) }
  /// 1 / (1 + exp(−x)).
  public func sigmoid() throws -> Tensor { try Dispatcher.call(.sigmoid, self) }
  /// (exp x − exp(−x)) / (exp x + exp(−x)).
  public func tanh() throws -> Tensor { try Dispatcher.call(.tanh, self) }
  /// x min(max(0, x + 3), 6) / 6.
  public func hardSwish() throws -> Tensor { try Dispatcher.call(.hardSwish, self) }
  /// min(max(0, x + 3), 6) / 6.
  public func hardSigmoid() throws -> Tensor { try Dispatcher.call(.hardSigmoid, self) }
  /// x where it is positive, α (exp x − 1) elsewhere.
  public func elu(alpha: Double = 1) throws -> Tensor { try Dispatcher.call(.elu, self, alpha) }
  /// log(1 + exp x).
  public func softplus() throws -> Tensor { try Dispatcher.call(.softplus, self) }
  /// exp(xᵢ) / Σⱼ exp(xⱼ) along a dimension. Losses use `logSoftmax`.
  public func softmax(along dimension: Int = -1) throws -> Tensor { try Dispatcher.call(.softmax, self, dimension) }
  /// xᵢ − log Σⱼ exp(xⱼ) along a dimension.
  public func logSoftmax(along dimension: Int = -1) throws -> Tensor {
    try Dispatcher.call(.logSoftmax, self, dimension)
  }
}
