import Foundation
import Torch
import TorchNN

/// What a member's logits are a part of, where a teacher cache kept some for each example (or token): the likeliest
/// classes, or classes that were drawn.
public struct KeptLogits {
  /// What is known of the classes that were not kept.
  public enum Others {
    /// There are none.
    case none
    /// log Σ exp(v / T) over them for each of some temperatures, `[..., number of temperatures]`, float32.
    case rest(temperatures: [Double], logSums: Tensor)
    /// The classes were drawn from pᵅ at this temperature; instead of logits there is log p of each. The weights p / r
    /// of each draw, `[..., S]`; nil for α = 1, where all are 1.
    case drawn(temperature: Double, proposalPower: Double, weights: Tensor?)
  }

  /// The classes that the numbers stand for, `[..., k]`, int64.
  public var classes: Tensor
  public var classCount: Int
  public var others: Others

  /// Whether nothing was left out.
  var isComplete: Bool { if case .none = others { true } else { false } }

  func refusal(of wish: String) -> DistillationError {
    let kept = (try? classes.size(-1)) ?? 0
    let what =
      switch others {
      case .drawn: "\(kept) classes drawn for each"
      default: "the \(kept) likeliest of \(classCount) classes"
      }
    return DistillationError(
      "\(wish), and of the teacher's outputs \(what) were kept: label again with all logits, or let the teacher run live"
    )
  }

  func mappingRows(_ select: (Tensor) throws -> Tensor) throws -> KeptLogits {
    var kept = self
    kept.classes = try select(classes)
    switch others {
    case .none: break
    case .rest(let temperatures, let logSums):
      kept.others = .rest(temperatures: temperatures, logSums: try select(logSums))
    case .drawn(let temperature, let power, let weights):
      kept.others = .drawn(temperature: temperature, proposalPower: power, weights: try weights.map(select))
    }
    return kept
  }

  /// The place of a temperature among those that something was kept for.
  private func place(of temperature: Double, in known: [Double]) throws -> Int {
    if let place = known.firstIndex(where: { abs($0 - temperature) <= 1e-9 * temperature }) { return place }
    throw DistillationError(
      "the mass of the classes that were not kept is known at temperature \(known.asList), and \(temperature.short) is "
        + "asked for: label again with it among the temperatures, or with all logits")
  }

  /// Logits of all classes, `[..., C]`, float32, whose softmax at this temperature is what was kept: each other class has
  /// an equal share of the mass of all others.
  func dense(_ values: Tensor, temperature: Double) throws -> Tensor {
    let values = try values.to(.float32)
    let shape = Array(classes.shape.dropLast()) + [classCount]
    switch others {
    case .none:
      return try Tensor.empty(shape, device: values.device).overwritten(at: classes, along: -1, from: values)
    case .rest(let temperatures, let logSums):
      let place = try place(of: temperature, in: temperatures)
      let count = try classCount - classes.size(-1)
      let each = try (logSums.sliced(-1, from: place, to: place + 1) - Foundation.log(Double(count))) * temperature
      return try each.broadcast(to: shape).overwritten(at: classes, along: -1, from: values)
    case .drawn:
      throw refusal(of: "only sampled_soft_targets can learn from drawn classes, other terms need the distribution")
    }
  }

  /// The k likeliest classes and the mass of all others, as if all logits had been there.
  fileprivate func topKTargets(_ values: Tensor, k: Int, temperature: Double) throws -> TopKTargets {
    let stored = try classes.size(-1)
    guard k <= stored || isComplete else {
      throw refusal(of: "top_k_soft_targets asks for \(k) classes")
    }
    let scaled = try values.to(.float32) * (1 / temperature)
    var rest: Tensor?
    switch others {
    case .none: break
    case .rest(let temperatures, let logSums):
      rest = try logSums.sliced(
        -1, from: place(of: temperature, in: temperatures), to: 1 + place(of: temperature, in: temperatures))
    case .drawn: throw refusal(of: "top_k_soft_targets needs the likeliest classes")
    }
    let total = try scaled.logSumExp(along: -1, keepDimensions: true)
    let logTotal = try rest.map { try total.logAddExp($0) } ?? total
    let count = min(k, stored)
    let logKept = try scaled - logTotal
    var others = try rest.map { try $0 - logTotal }
    if count < stored {
      let dropped = try logKept.sliced(-1, from: count, to: stored).logSumExp(along: -1, keepDimensions: true)
      others = try others.map { try $0.logAddExp(dropped) } ?? dropped
    }
    return TopKTargets(
      indices: try classes.sliced(-1, from: 0, to: count), logProbabilities: try logKept.sliced(-1, from: 0, to: count),
      logRest: try others?.squeezed(-1))
  }
}

extension TeacherTrace {
  /// What `top_k_soft_targets` learns: straight from what was kept where that is enough, without logits of all classes.
  ///
  /// - Throws: `DistillationError` when fewer classes were kept, or nothing for this temperature.
  func topKTargets(k: Int, temperature: Double) throws -> TopKTargets {
    if memberLogits.count == 1, memberClasses[0] == nil, let kept = memberKept[0] {
      return try withoutGradient { try kept.topKTargets(memberLogits[0], k: k, temperature: temperature) }
    }
    let targets = try logSoftTargets(temperature: temperature)
    return try TopKTargets(logSoftTargets: targets, k: min(k, targets.size(-1)))
  }

  /// What `sampled_soft_targets` learns where a cache kept drawn classes: the first of them; nil where it did not.
  ///
  /// - Throws: `DistillationError` when fewer were drawn, or in another way.
  func drawnTargets(_ count: Int, proposalPower: Double, temperature: Double) throws -> SampledTargets? {
    guard memberLogits.count == 1, let kept = memberKept[0],
      case .drawn(let drawnAt, let power, let weights) = kept.others
    else { return nil }
    guard abs(drawnAt - temperature) <= 1e-9 * temperature, power == proposalPower else {
      throw DistillationError(
        "the teacher's classes were drawn at temperature \(drawnAt.short) with proposal_power \(power.short), and "
          + "sampled_soft_targets asks for \(temperature.short) and \(proposalPower.short): label again, or change the term"
      )
    }
    let stored = try kept.classes.size(-1)
    guard count <= stored else {
      throw kept.refusal(of: "sampled_soft_targets asks for \(count) draws")
    }
    return SampledTargets(
      indices: try kept.classes.sliced(-1, from: 0, to: count),
      logProbabilities: try memberLogits[0].sliced(-1, from: 0, to: count),
      weights: try weights?.sliced(-1, from: 0, to: count))
  }
}

extension Double {
  /// Without a fraction of zero: `4`, `0.5`.
  var short: String { self == rounded() && abs(self) < 1e15 ? "\(Int(self))" : "\(self)" }
}

extension [Double] {
  /// `1`, `1 and 4`, `1, 2 and 4`.
  var asList: String {
    let words = map(\.short)
    guard let last = words.last, words.count > 1 else { return words.first ?? "none" }
    return "\(words.dropLast().joined(separator: ", ")) and \(last)"
  }
}
