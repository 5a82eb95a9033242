import DistillData
import Foundation
import Torch
import TorchNN

/// Soft targets of a few classes that are drawn from the teacher's distribution: an estimate of soft targets that is right
/// on average, in value and in gradient, however few they are.
///
/// For each example (for sequences, each token that counts), with p = softmax(v / T) of the teacher and q = softmax(z / T)
/// of the student, S classes x are drawn with replacement from r ∝ pᵅ, and
///
///     T² / S · Σ over the draws of p(x) / r(x) · (log p(x) − log q(x))
///
/// whose expectation is T² · KL(p ‖ q). With α = 1 each draw weighs the same. The weights are not scaled to sum to 1, which
/// would make the estimate biased where α ≠ 1.
///
/// The draws depend on `seed`, on where the training stands and on the examples, and on nothing else: a training that was
/// interrupted draws the same. Draws that a teacher cache kept take their place, the first S of them in every epoch.
///
/// ## Reference
/// Anshumann et al.: Sparse Logit Sampling: Accelerating Knowledge Distillation in LLMs. ACL 2025. arXiv:2503.16870. About
/// 12 different classes for each token were enough there. There the draws were cached (see `LogitEncoding.sampled`); from
/// a teacher whose logits are there in full, the draws are new at every step.
public final class SampledSoftTargets: Term {
  public static let kind = TermKind(
    "sampled_soft_targets", "classes drawn from the teacher's distribution",
    paper: "Anshumann et al. 2025, arXiv:2503.16870",
    options: [
      .integer("samples", 50, .from(1, to: 100_000), "how many classes are drawn for each example or token"),
      .number(
        "proposal_power", 1, .notNegative.upTo(16), "α: draw from pᵅ; 1: the teacher's distribution, 0: all alike"),
      .ramp("temperature", 1, .positive, "a number, or {from: 8, to: 2, over: linear or cosine}"),
      .integer("seed", 0, .from(0, to: 1 << 53), "another number draws other classes"),
    ]
  ) {
    try SampledSoftTargets(
      samples: $0.integer("samples"), proposalPower: $0.number("proposal_power"), temperature: $0.ramp("temperature"),
      seed: UInt64($0.integer("seed")))
  }

  public let name = "sampled_soft_targets"
  private let samples: Int
  private let proposalPower: Double
  private let temperature: Ramp
  private let seed: UInt64

  /// - Throws: `DistillationError` when there is nothing to draw, α is negative, or the temperature is not positive.
  public init(samples: Int = 50, proposalPower: Double = 1, temperature: Ramp = 1, seed: UInt64 = 0) throws {
    guard samples > 0 else { throw DistillationError("sampled_soft_targets draws at least one class, not \(samples)") }
    guard proposalPower >= 0, proposalPower.isFinite else {
      throw DistillationError("the power of the proposal must not be negative; \(proposalPower) is")
    }
    try requirePositive(temperature)
    self.samples = samples
    self.proposalPower = proposalPower
    self.temperature = temperature
    self.seed = seed
  }

  public func sum(_ input: TermInput) throws -> Tensor {
    let temperature = temperature.value(at: input.progress)
    let teacher = try input.requireTeacher(for: name)
    if let drawn = try teacher.drawnTargets(samples, proposalPower: proposalPower, temperature: temperature) {
      return try sampledSoftTargetLoss(
        studentLogits: input.student.output, targets: drawn, temperature: temperature
      ).sum
    }
    let targets = try teacher.logSoftTargets(temperature: temperature)
    let stream = try RandomStream(seed: drawSeed(input), name: name, device: targets.device)
    let drawn = try withRandomStream(stream) {
      try SampledTargets(drawing: samples, from: targets, proposalPower: proposalPower)
    }
    return try sampledSoftTargetLoss(
      studentLogits: input.student.output, targets: drawn, temperature: temperature
    ).sum
  }

  /// Another number for each place in the training and each batch.
  private func drawSeed(_ input: TermInput) -> UInt64 {
    var source = RandomSource(seed: seed, name, input.progress.bitPattern, UInt64(bitPattern: Int64(input.batch.view)))
    for id in input.batch.ids {
      source = RandomSource(seed: source.seed, name, UInt64(bitPattern: Int64(id)))
    }
    return source.seed
  }
}

/// Classes that were drawn from a teacher's distribution.
public struct SampledTargets {
  /// The classes, `[..., S]`, int64.
  public var indices: Tensor
  /// log p of each, `[..., S]`.
  public var logProbabilities: Tensor
  /// p / r of each, where r is what it was drawn from, `[..., S]`; nil: all 1.
  public var weights: Tensor?

  public init(indices: Tensor, logProbabilities: Tensor, weights: Tensor? = nil) {
    self.indices = indices
    self.logProbabilities = logProbabilities
    self.weights = weights
  }

  /// Draws from pᵅ, from the random stream in force.
  ///
  /// - Parameters:
  ///   - count: S, how many for each row
  ///   - logSoftTargets: log p, `[R, C]`
  ///   - proposalPower: α
  public init(drawing count: Int, from logSoftTargets: Tensor, proposalPower: Double = 1) throws {
    guard count > 0, logSoftTargets.rank == 2, proposalPower >= 0 else {
      throw TorchError(
        operation: "SampledTargets", shapes: [logSoftTargets.shape],
        message: "log probabilities must be [rows, classes], and at least one class must be drawn, not \(count)")
    }
    let drawn = try withoutGradient {
      try (logSoftTargets.precise() * proposalPower).softmax().sampledClasses(count)
    }
    try self.init(indices: drawn, logSoftTargets: logSoftTargets, proposalPower: proposalPower)
  }

  /// Those that were drawn from pᵅ before.
  ///
  /// - Parameters:
  ///   - indices: `[R, S]`
  ///   - logSoftTargets: log p, `[R, C]`
  public init(indices: Tensor, logSoftTargets: Tensor, proposalPower: Double = 1) throws {
    let logTargets = try logSoftTargets.detached().precise()
    self.indices = indices
    logProbabilities = try logTargets.picked(indices, along: -1)
    guard proposalPower != 1 else { return }
    let logProposal = try (logTargets * proposalPower).logSoftmax().picked(indices, along: -1)
    weights = try (logProbabilities - logProposal).exponential()
  }
}

/// T² / S · Σ over the draws of weight · (log p − log q), summed over rows: right on average for T² · KL(p ‖ q).
///
/// It can be negative. Computed in float32 and log space.
///
/// - Parameters:
///   - studentLogits: `[..., C]`
///   - targets: drawn from the teacher's distribution at the very temperature `temperature`
///   - temperature: T, positive; on both sides
public func sampledSoftTargetLoss(
  studentLogits: Tensor, targets: SampledTargets, temperature: Double = 1
) throws -> LossSum {
  let shape = studentLogits.shape
  let drawn = targets.indices.shape
  guard !shape.isEmpty, let samples = drawn.last, samples > 0, drawn.dropLast() == shape.dropLast(),
    targets.logProbabilities.shape == drawn, targets.weights.map({ $0.shape == drawn }) ?? true
  else {
    throw TorchError(
      operation: "sampledSoftTargetLoss", shapes: [shape, drawn, targets.logProbabilities.shape],
      message: "logits must be [..., C], and drawn classes, their log probabilities and weights [..., S]")
  }
  try requirePositive(temperature)
  let sum = try studentLogits.asLoss { logits in
    let student = try (temperature == 1 ? logits : logits / temperature).logSoftmax()
    var terms =
      try targets.logProbabilities.detached().precise()
      - student.picked(targets.indices.to(.int64), along: -1)
    if let weights = try targets.weights?.detached().precise() { terms = try terms * weights }
    return try terms.sum() * (temperature * temperature / Double(samples))
  }
  return LossSum(sum: sum, count: studentLogits.rowCount)
}
