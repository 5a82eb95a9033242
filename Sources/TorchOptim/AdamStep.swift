import Torch
import TorchNN

/// What `Adam` and `AdamW` have in common: they differ only in where the weight decay goes.
struct AdamStep {
  /// The settings of one group.
  struct Settings {
    var learningRate: Double
    var beta1: Double
    var beta2: Double
    var epsilon: Double
    var weightDecay: Double
    var isAMSGrad: Bool
    /// Whether weights shrink directly, or by way of the gradient.
    var isDecoupled: Bool
  }

  var memory: OptimizerState
  private static let steps = "step"
  private static let average = "exp_avg"
  private static let squareAverage = "exp_avg_sq"
  private static let maximumSquareAverage = "max_exp_avg_sq"

  init(
    _ groups: [ParameterGroup], learningRate: Double, beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double
  ) throws {
    var problems = problem("learning rate", learningRate, in: 0...)
    problems += problem("β₁", rate: beta1) + problem("β₂", rate: beta2)
    for group in groups { problems += group.momentum.map { problem("momentum of '\(group.name)'", rate: $0) } ?? [] }
    problems += problem("epsilon", epsilon, in: 0...) + problem("weight decay", weightDecay, in: 0...)
    memory = try OptimizerState(groups, problems: problems)
  }

  mutating func load(_ state: [String: Tensor], isAMSGrad: Bool) throws {
    let keys = [Self.steps, Self.average, Self.squareAverage] + (isAMSGrad ? [Self.maximumSquareAverage] : [])
    try memory.load(state, keys: keys, scalars: [Self.steps])
  }

  /// Moves every parameter of a batch that has a gradient.
  mutating func move(_ batch: OptimizerState.Batch, _ settings: Settings, fused: Bool) throws {
    let ready = try memory.ready(batch)
    guard !ready.indices.isEmpty else { return }
    let steps = try counters(ready)
    let averages = try memory.remembered(Self.average, ready)
    let squareAverages = try memory.remembered(Self.squareAverage, ready)
    let maxima = settings.isAMSGrad ? try memory.remembered(Self.maximumSquareAverage, ready) : []
    try increment(steps)
    if fused, batch.canBeFused {
      return try FusedStep.adam(
        isDecoupled: settings.isDecoupled, parameters: ready.parameters, gradients: ready.gradients,
        averages: averages, squareAverages: squareAverages, maximumSquareAverages: maxima, steps: steps,
        learningRate: settings.learningRate, beta1: settings.beta1, beta2: settings.beta2,
        weightDecay: settings.weightDecay, epsilon: settings.epsilon, isAMSGrad: settings.isAMSGrad)
    }
    for (index, parameter) in ready.parameters.enumerated() {
      var gradient = ready.gradients[index]
      if settings.weightDecay != 0 {
        if settings.isDecoupled {
          try parameter.multiply(by: 1 - settings.learningRate * settings.weightDecay)
        } else {
          gradient = try gradient + parameter * settings.weightDecay
        }
      }
      try averages[index].multiply(by: settings.beta1)
      try averages[index].add(gradient, scale: 1 - settings.beta1)
      try squareAverages[index].multiply(by: settings.beta2)
      try squareAverages[index].add(gradient.squared(), scale: 1 - settings.beta2)
      var scale = squareAverages[index]
      if settings.isAMSGrad {
        try maxima[index].copy(from: maxima[index].maximum(scale))
        scale = maxima[index]
      }
      let step = try steps[index].item()
      let bias1 = 1 - power(settings.beta1, step)
      let bias2 = 1 - power(settings.beta2, step)
      let denominator = try scale.squareRoot() / bias2.squareRoot() + settings.epsilon
      try parameter.add(averages[index] / denominator, scale: -settings.learningRate / bias1)
    }
  }

  /// For each parameter the number of steps that it has taken, as a tensor, which is what the kernels want.
  private mutating func counters(_ ready: OptimizerState.Ready) throws -> [Tensor] {
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

/// base^exponent for a whole exponent of at least 0.
private func power(_ base: Double, _ exponent: Double) -> Double {
  var result = 1.0
  var factor = base
  var rest = Int(exponent)
  while rest > 0 {
    if rest & 1 == 1 { result *= factor }
    factor *= factor
    rest >>= 1
  }
  return result
}
