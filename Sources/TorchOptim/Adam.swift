import Torch
import TorchNN

/// Adam: steps whose size adapts to each number's own gradients. Step t of a parameter p with gradient g:
///
///     g ← g + weightDecay · p
///     m ← β₁ m + (1 − β₁) g
///     v ← β₂ v + (1 − β₂) g²
///     p ← p − learningRate · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε)
///
/// With `amsgrad` the largest v so far takes the place of v in the last line.
///
/// ## Reference
/// Kingma, Ba: Adam: a method for stochastic optimization. ICLR 2015. Reddi et al.: On the convergence of Adam and
/// beyond. ICLR 2018.
public final class Adam: Optimizer {
  public var parameterGroups: [ParameterGroup]
  public var learningRate: Double
  public var learningRateFactor = 1.0
  public var beta1: Double
  public var beta2: Double
  public var epsilon: Double
  public var weightDecay: Double
  public let isAMSGrad: Bool
  /// Whether libtorch's fused kernels are used where they can be.
  public var usesFusedKernels: Bool

  private var steps: AdamStep

  public init(
    groups: [ParameterGroup], learningRate: Double = 1e-3, beta1: Double = 0.9, beta2: Double = 0.999,
    epsilon: Double = 1e-8, weightDecay: Double = 0, amsgrad: Bool = false, fused: Bool = true
  ) throws {
    steps = try AdamStep(
      groups, learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon, weightDecay: weightDecay)
    parameterGroups = groups
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    isAMSGrad = amsgrad
    usesFusedKernels = fused
  }

  public convenience init(
    _ parameters: [NamedTensor], learningRate: Double = 1e-3, beta1: Double = 0.9, beta2: Double = 0.999,
    epsilon: Double = 1e-8, weightDecay: Double = 0, amsgrad: Bool = false, fused: Bool = true
  ) throws {
    try self.init(
      groups: [ParameterGroup("all", parameters)], learningRate: learningRate, beta1: beta1, beta2: beta2,
      epsilon: epsilon,
      weightDecay: weightDecay, amsgrad: amsgrad, fused: fused)
  }

  /// β₁.
  public var momentum: Double {
    get { beta1 }
    set { beta1 = newValue }
  }

  public func state() -> [String: Tensor] { steps.memory.saved() }

  public func load(state: [String: Tensor]) throws { try steps.load(state, isAMSGrad: isAMSGrad) }

  public func step() throws {
    try withoutGradient {
      for batch in steps.memory.batches {
        let group = try steps.memory.group(of: batch, in: parameterGroups)
        let settings = AdamStep.Settings(
          learningRate: (group.learningRate ?? learningRate) * learningRateFactor, beta1: group.momentum ?? beta1,
          beta2: beta2, epsilon: epsilon, weightDecay: group.weightDecay ?? weightDecay, isAMSGrad: isAMSGrad,
          isDecoupled: false)
        try steps.move(batch, settings, fused: usesFusedKernels)
      }
    }
  }
}
