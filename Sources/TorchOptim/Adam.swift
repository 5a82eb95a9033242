import Foundation
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
public class Adam: Optimizer {
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

  private var memory: OptimizerState
  private static let steps = "step"
  private static let average = "exp_avg"
  private static let squareAverage = "exp_avg_sq"
  private static let maximumSquareAverage = "max_exp_avg_sq"

  public init(
    groups: [ParameterGroup], learningRate: Double = 1e-3, beta1: Double = 0.9, beta2: Double = 0.999,
    epsilon: Double = 1e-8, weightDecay: Double = 0, amsgrad: Bool = false, fused: Bool = true
  ) throws {
    var problems = problem("learning rate", learningRate, in: 0...)
    problems += problem("β₁", rate: beta1) + problem("β₂", rate: beta2)
    for group in groups { problems += group.momentum.map { problem("momentum of '\(group.name)'", rate: $0) } ?? [] }
    problems += problem("epsilon", epsilon, in: 0...) + problem("weight decay", weightDecay, in: 0...)
    memory = try OptimizerState(groups, problems: problems)
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
      epsilon: epsilon, weightDecay: weightDecay, amsgrad: amsgrad, fused: fused)
  }

  /// Whether weights shrink directly, or by way of the gradient: all in which `AdamW` differs.
  var isDecoupled: Bool { false }

  /// β₁.
  public var momentum: Double {
    get { beta1 }
    set { beta1 = newValue }
  }

  public func state() -> [String: Tensor] { memory.saved() }

  public func load(state: [String: Tensor]) throws {
    let keys = [Self.steps, Self.average, Self.squareAverage] + (isAMSGrad ? [Self.maximumSquareAverage] : [])
    try memory.load(state, keys: keys, counts: [Self.steps])
  }

  public func step() throws {
    try withoutGradient {
      for batch in memory.batches { try move(batch, try memory.group(of: batch, in: parameterGroups)) }
    }
  }

  /// Moves every parameter of a batch that has a gradient.
  private func move(_ batch: OptimizerState.Batch, _ group: ParameterGroup) throws {
    let ready = try memory.ready(batch)
    guard !ready.indices.isEmpty else { return }
    let learningRate = (group.learningRate ?? learningRate) * learningRateFactor
    let beta1 = group.momentum ?? beta1
    let weightDecay = group.weightDecay ?? weightDecay
    let steps = try counters(ready)
    let averages = try memory.remembered(Self.average, ready)
    let squareAverages = try memory.remembered(Self.squareAverage, ready)
    let maxima = isAMSGrad ? try memory.remembered(Self.maximumSquareAverage, ready) : []
    try increment(steps)
    if usesFusedKernels, batch.canBeFused {
      return try FusedStep.adam(
        isDecoupled: isDecoupled, parameters: ready.parameters, gradients: ready.gradients, averages: averages,
        squareAverages: squareAverages, maximumSquareAverages: maxima, steps: steps, learningRate: learningRate,
        beta1: beta1, beta2: beta2, weightDecay: weightDecay, epsilon: epsilon, isAMSGrad: isAMSGrad)
    }
    for (index, parameter) in ready.parameters.enumerated() {
      var gradient = ready.gradients[index]
      if weightDecay != 0 {
        if isDecoupled {
          try parameter.multiply(by: 1 - learningRate * weightDecay)
        } else {
          gradient = try gradient + parameter * weightDecay
        }
      }
      try averages[index].multiply(by: beta1)
      try averages[index].add(gradient, scale: 1 - beta1)
      try squareAverages[index].multiply(by: beta2)
      try squareAverages[index].add(gradient.squared(), scale: 1 - beta2)
      var scale = squareAverages[index]
      if isAMSGrad {
        try maxima[index].copy(from: maxima[index].maximum(scale))
        scale = maxima[index]
      }
      let step = try steps[index].item()
      let bias1 = 1 - pow(beta1, step)
      let bias2 = 1 - pow(beta2, step)
      let denominator = try scale.squareRoot() / bias2.squareRoot() + epsilon
      try parameter.add(averages[index] / denominator, scale: -learningRate / bias1)
    }
  }

  /// For each parameter the number of steps that it has taken, as a tensor, which is what the kernels want.
  private func counters(_ ready: OptimizerState.Ready) throws -> [Tensor] {
    var counters: [Tensor] = []
    counters.reserveCapacity(ready.indices.count)
    for (index, parameter) in zip(ready.indices, ready.parameters) {
      let counter = try memory.memory[index][Self.steps] ?? Tensor.zeros([], device: parameter.device)
      memory.memory[index][Self.steps] = counter
      counters.append(counter)
    }
    return counters
  }
}
