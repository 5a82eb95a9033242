import Torch
import TorchNN

/// Adam with decoupled weight decay: weights shrink by learningRate · weightDecay · p directly, before the step of
/// `Adam`, and the decay is not adapted with the gradient. All else is as in `Adam`, but for the usual weight decay.
///
/// ## Reference
/// Loshchilov, Hutter: Decoupled weight decay regularization. ICLR 2019.
public final class AdamW: Adam {
  public override init(
    groups: [ParameterGroup], learningRate: Double = 1e-3, beta1: Double = 0.9, beta2: Double = 0.999,
    epsilon: Double = 1e-8, weightDecay: Double = 1e-2, amsgrad: Bool = false, fused: Bool = true
  ) throws {
    try super.init(
      groups: groups, learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon,
      weightDecay: weightDecay, amsgrad: amsgrad, fused: fused)
  }

  public convenience init(
    _ parameters: [NamedTensor], learningRate: Double = 1e-3, beta1: Double = 0.9, beta2: Double = 0.999,
    epsilon: Double = 1e-8, weightDecay: Double = 1e-2, amsgrad: Bool = false, fused: Bool = true
  ) throws {
    try self.init(
      groups: [ParameterGroup("all", parameters)], learningRate: learningRate, beta1: beta1, beta2: beta2,
      epsilon: epsilon, weightDecay: weightDecay, amsgrad: amsgrad, fused: fused)
  }

  override var isDecoupled: Bool { true }
}
