import Torch
import TorchNN

/// Everything about a training that is not in the student, the optimizer or the random streams.
struct TrainingState {
  /// The round with the best validation so far.
  struct Best {
    var round: Int
    var score: ValidationScore
    var weights: [NamedTensor]
  }

  /// A loss summed up since the round began: on the device, so that no step has to wait.
  struct RunningLoss {
    var name: String
    var sum: Tensor
    var count: Int
  }

  /// Optimizer steps taken.
  var step = 0
  /// The pass over the loader's examples, and the next batch in it.
  var epoch = 0
  var batch = 0
  /// Rounds finished.
  var round = 0
  /// Examples seen.
  var examples = 0
  var best: Best?
  var lastScore: ValidationScore?
  var isEarlyStopped = false
  /// The optimized loss first (its count is that of values), then the terms.
  var running: [RunningLoss] = []

  static let totalName = "total"

  mutating func note(_ value: Objective.Value, exampleCount: Int) throws {
    examples += exampleCount
    try withoutGradient {
      try add(Self.totalName, value.total.detached(), count: 0)
      for part in value.parts { try add(part.name, part.sum, count: part.count) }
    }
  }

  private mutating func add(_ name: String, _ sum: Tensor, count: Int) throws {
    if let index = running.firstIndex(where: { $0.name == name }) {
      try running[index].sum.add(sum)
      running[index].count += count
    } else {
      running.append(RunningLoss(name: name, sum: try sum.to(.float64).copied(), count: count))
    }
  }

  /// The step at which the present round began.
  var roundStart = 0

  func roundLosses() throws -> (total: Double, parts: [String: Double]) {
    var total = 0.0
    var parts: [String: Double] = [:]
    for loss in running {
      if loss.name == Self.totalName {
        total = try loss.sum.item() / Double(max(1, step - roundStart))
      } else if loss.count > 0 {
        parts[loss.name] = try loss.sum.item() / Double(loss.count)
      }
    }
    return (total, parts)
  }

  mutating func takeRoundLosses() throws -> (total: Double, parts: [String: Double]) {
    let losses = try roundLosses()
    running = []
    roundStart = step
    return losses
  }
}

extension Module {
  /// A copy of all parameters and buffers.
  func copiedState() throws -> [NamedTensor] {
    try withoutGradient {
      try state.map { NamedTensor(name: $0.name, tensor: try $0.tensor.detached().copied()) }
    }
  }

  /// Overwrites parameters and buffers with those of a copy of this very module's state.
  func overwrite(with copy: [NamedTensor]) throws {
    try withoutGradient {
      for (own, saved) in zip(state, copy) { try own.tensor.copy(from: saved.tensor) }
    }
  }
}
