import Torch
import TorchNN

/// Stochastic gradient descent with momentum.
///
///     g ← gradient + weightDecay · p
///     v ← momentum · v + (1 − dampening) · g          (at a parameter's first step: v ← g)
///     p ← p − learningRate · v                        (Nesterov: g + momentum · v in place of v)
///
/// ## Reference
/// Sutskever et al.: On the importance of initialization and momentum in deep learning. ICML 2013; in the variant of
/// PyTorch, whose learning rate stands outside the momentum.
public final class SGD: Optimizer {
  public var parameterGroups: [ParameterGroup]
  public var learningRate: Double
  public var learningRateFactor = 1.0
  public var momentum: Double
  public var dampening: Double
  public var isNesterov: Bool
  public var weightDecay: Double
  /// Whether libtorch's fused kernels are used where they can be.
  public var usesFusedKernels: Bool

  private var memory: OptimizerState
  private static let velocity = "momentum_buffer"

  public init(
    groups: [ParameterGroup], learningRate: Double = 1e-3, momentum: Double = 0, dampening: Double = 0,
    nesterov: Bool = false, weightDecay: Double = 0, fused: Bool = true
  ) throws {
    var problems = problem("learning rate", learningRate, in: 0...)
    problems += problem("momentum", momentum, in: 0...)
    problems += problem("weight decay", weightDecay, in: 0...)
    if nesterov, momentum <= 0 || dampening != 0 {
      problems.append("Nesterov's momentum needs a momentum above 0 and a dampening of 0")
    }
    if !dampening.isFinite { problems.append("dampening is \(dampening)") }
    memory = try OptimizerState(groups, problems: problems)
    parameterGroups = groups
    self.learningRate = learningRate
    self.momentum = momentum
    self.dampening = dampening
    self.isNesterov = nesterov
    self.weightDecay = weightDecay
    self.usesFusedKernels = fused
  }

  public convenience init(
    _ parameters: [NamedTensor], learningRate: Double = 1e-3, momentum: Double = 0, dampening: Double = 0,
    nesterov: Bool = false, weightDecay: Double = 0, fused: Bool = true
  ) throws {
    try self.init(
      groups: [ParameterGroup("all", parameters)], learningRate: learningRate, momentum: momentum, dampening: dampening,
      nesterov: nesterov, weightDecay: weightDecay, fused: fused)
  }

  public func state() -> [String: Tensor] { memory.saved() }

  public func load(state: [String: Tensor]) throws { try memory.load(state, keys: [Self.velocity]) }

  public func step() throws {
    try withoutGradient {
      for batch in memory.batches {
        let ready = try memory.ready(batch)
        guard !ready.indices.isEmpty else { continue }
        let settings = Settings(self, group: try memory.group(of: batch, in: parameterGroups))
        guard settings.momentum != 0 else {
          try move(ready, momentumBuffers: [], isFirstStep: false, settings, fused: batch.canBeFused)
          continue
        }
        // A parameter's first momentum is its gradient, undampened; parameters may start at different times.
        let isFirst = { [memory] (index: Int) in memory.memory[index][Self.velocity] == nil }
        for (part, isFirstStep) in [(ready.filtered(isFirst), true), (ready.filtered { !isFirst($0) }, false)] {
          guard !part.indices.isEmpty else { continue }
          let buffers = try memory.remembered(Self.velocity, part)
          try move(part, momentumBuffers: buffers, isFirstStep: isFirstStep, settings, fused: batch.canBeFused)
        }
      }
    }
  }

  private struct Settings {
    var learningRate: Double
    var momentum: Double
    var weightDecay: Double

    init(_ optimizer: SGD, group: ParameterGroup) {
      learningRate = (group.learningRate ?? optimizer.learningRate) * optimizer.learningRateFactor
      momentum = group.momentum ?? optimizer.momentum
      weightDecay = group.weightDecay ?? optimizer.weightDecay
    }
  }

  private func move(
    _ ready: OptimizerState.Ready, momentumBuffers: [Tensor], isFirstStep: Bool, _ settings: Settings, fused: Bool
  ) throws {
    if fused, usesFusedKernels {
      return try FusedStep.sgd(
        parameters: ready.parameters, gradients: ready.gradients, momentumBuffers: momentumBuffers,
        weightDecay: settings.weightDecay, momentum: settings.momentum, learningRate: settings.learningRate,
        dampening: dampening, isNesterov: isNesterov, isFirstStep: isFirstStep)
    }
    for (index, parameter) in ready.parameters.enumerated() {
      var change = ready.gradients[index]
      if settings.weightDecay != 0 { change = try change + parameter * settings.weightDecay }
      if settings.momentum != 0 {
        let buffer = momentumBuffers[index]
        if isFirstStep {
          try buffer.copy(from: change)
        } else {
          try buffer.multiply(by: settings.momentum)
          try buffer.add(change, scale: 1 - dampening)
        }
        change = isNesterov ? try change + buffer * settings.momentum : buffer
      }
      try parameter.add(change, scale: -settings.learningRate)
    }
  }
}

extension OptimizerState.Ready {
  /// Those of the parameters whose index satisfies `isWanted`.
  fileprivate func filtered(_ isWanted: (Int) -> Bool) -> OptimizerState.Ready {
    let wanted = indices.indices.filter { isWanted(indices[$0]) }
    if wanted.count == indices.count { return self }
    return OptimizerState.Ready(
      indices: wanted.map { indices[$0] }, parameters: wanted.map { parameters[$0] },
      gradients: wanted.map { gradients[$0] })
  }
}
