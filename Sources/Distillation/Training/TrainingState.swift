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

  /// A term's share of the loss, summed over the steps since the round began: on the device, so that no step has to
  /// wait.
  struct RunningLoss {
    var name: String
    var sum: Tensor
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
  var lossScale = LossScale()
  var running: [RunningLoss] = []
  /// The sums of `running` in one tensor, of which each of them is an element: as long as every step has the same terms,
  /// they are added to at once.
  private var runningSums: Tensor?
  /// The step at which the present round began.
  var roundStart = 0

  mutating func note(_ value: Objective.Value, exampleCount: Int) throws {
    examples += exampleCount
    try withoutGradient {
      let names = value.parts.map(\.name)
      if let runningSums, running.elementsEqual(names, by: { $0.name == $1 }) {
        return try runningSums.add(value.shares)
      }
      let isFirst = running.isEmpty && Set(names).count == names.count
      let sums = try isFirst ? value.shares.to(.float64).copied() : value.shares
      runningSums = isFirst ? sums : nil
      for (index, name) in names.enumerated() {
        let share = try sums.selected(0, index)
        if let known = running.firstIndex(where: { $0.name == name }) {
          try running[known].sum.add(share)
        } else {
          running.append(RunningLoss(name: name, sum: isFirst ? share : try share.to(.float64).copied()))
        }
      }
    }
  }

  /// The mean over the round's steps of each term's share; they sum to the mean of the loss.
  func roundLosses() throws -> (total: Double, parts: [String: Double]) {
    var parts: [String: Double] = [:]
    for loss in running { parts[loss.name] = try loss.sum.item() / Double(max(1, step - roundStart)) }
    return (running.reduce(0) { $0 + (parts[$1.name] ?? 0) }, parts)
  }

  mutating func takeRoundLosses() throws -> (total: Double, parts: [String: Double]) {
    let losses = try roundLosses()
    running = []
    runningSums = nil
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

  /// Overwrites parameters and buffers with those of a copy of this very module's state, found by name.
  ///
  /// - Throws: `DistillationError` when the copy is another module's.
  func overwrite(with copy: [NamedTensor]) throws { try state.overwrite(with: copy) }
}

extension [NamedTensor] {
  /// Overwrites each tensor with the one of its name.
  ///
  /// - Throws: `DistillationError` when the names or shapes are not the same.
  func overwrite(with copy: [NamedTensor]) throws {
    let saved = Dictionary(copy.map { ($0.name, $0.tensor) }) { first, _ in first }
    guard copy.count == count else {
      throw DistillationError("\(copy.count) saved tensors cannot take the place of \(count)")
    }
    for own in self {
      guard let tensor = saved[own.name], tensor.shape == own.tensor.shape else {
        throw DistillationError("no saved tensor fits '\(own.name)' \(own.tensor.shape)")
      }
      try withoutGradient { try own.tensor.copy(from: tensor) }
    }
  }
}
