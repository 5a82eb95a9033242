extension Operator {
  fileprivate static let fusedSGD = Operator("aten::_fused_sgd_")
  fileprivate static let fusedAdam = Operator("aten::_fused_adam_")
  fileprivate static let fusedAdamW = Operator("aten::_fused_adamw_")
  fileprivate static let norms = Operator("aten::_foreach_norm", overload: "Scalar")
  fileprivate static let scale = Operator("aten::_foreach_mul_", overload: "Tensor")
  fileprivate static let zero = Operator("aten::_foreach_zero_")
  fileprivate static let addNumber = Operator("aten::_foreach_add_", overload: "Scalar")
}

/// libtorch's fused optimizer steps: one call for all parameters, in place. On the CPU and CUDA.
public enum FusedStep {
  /// One step of SGD; see `SGD` in TorchOptim.
  public static func sgd(
    parameters: [Tensor], gradients: [Tensor], momentumBuffers: [Tensor], weightDecay: Double, momentum: Double,
    learningRate: Double, dampening: Double, isNesterov: Bool, isFirstStep: Bool
  ) throws {
    try Dispatcher.callForEffect(
      .fusedSGD, parameters, gradients, momentumBuffers, weightDecay, momentum, learningRate, dampening, isNesterov,
      false, isFirstStep)
  }

  /// One step of Adam, or with decoupled weight decay of AdamW; see `Adam` in TorchOptim.
  ///
  /// - Parameter steps: for each parameter a float tensor with the number of this step, counted from 1
  public static func adam(
    isDecoupled: Bool, parameters: [Tensor], gradients: [Tensor], averages: [Tensor], squareAverages: [Tensor],
    maximumSquareAverages: [Tensor], steps: [Tensor], learningRate: Double, beta1: Double, beta2: Double,
    weightDecay: Double, epsilon: Double, isAMSGrad: Bool
  ) throws {
    try Dispatcher.callForEffect(
      isDecoupled ? .fusedAdamW : .fusedAdam, parameters, gradients, averages, squareAverages, maximumSquareAverages,
      steps, learningRate, beta1, beta2, weightDecay, epsilon, isAMSGrad, false)
  }
}

/// The Euclidean norm of each tensor.
package func norms(_ tensors: [Tensor]) throws -> [Tensor] { try Dispatcher.callList(.norms, tensors, 2.0) }

/// Multiplies every tensor by a tensor with one element, in place.
package func scale(_ tensors: [Tensor], by factor: Tensor) throws {
  try Dispatcher.callForEffect(.scale, tensors, factor)
}

/// Overwrites every element of every tensor with zero.
package func zero(_ tensors: [Tensor]) throws {
  if !tensors.isEmpty { try Dispatcher.callForEffect(.zero, tensors) }
}

/// Adds one to every element of every tensor.
package func increment(_ tensors: [Tensor]) throws {
  if !tensors.isEmpty { try Dispatcher.callForEffect(.addNumber, tensors, 1.0) }
}
