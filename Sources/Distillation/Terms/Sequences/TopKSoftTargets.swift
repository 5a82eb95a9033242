import DistillData
import Torch
import TorchNN

/// Soft targets of the teacher's k likeliest classes, with all others as one: what a teacher with a large vocabulary can
/// be kept in.
///
/// For each example (for sequences, each token that counts), with p = softmax(v / T) of the teacher, q = softmax(z / T) of
/// the student and K the teacher's k likeliest classes,
///
///     T² · (Σ over K of pᵢ (log pᵢ − log qᵢ) + p_rest (log p_rest − log q_rest)),   p_rest = 1 − Σ over K of pᵢ
///
/// and q_rest alike, over the same K. It is the divergence of the two distributions after the other classes are made one;
/// so it is at most that of soft targets, which it is for k = C, and is zero only where the student gives the k classes
/// their probabilities and the rest its mass. Without the rest, k probabilities scaled up to 1 would teach a student that
/// is too sure.
///
/// ## Reference
/// Hinton, Vinyals, Dean 2015, arXiv:1503.02531, for the divergence. Keeping the mass of the rest as one more class:
/// Anshumann et al.: Sparse Logit Sampling. ACL 2025. arXiv:2503.16870 ("ghost token"), which finds sampling better still.
public final class TopKSoftTargets: Term {
  public static let kind = TermKind(
    "top_k_soft_targets", "the teacher's likeliest classes, with all others as one",
    paper: "Anshumann et al. 2025, arXiv:2503.16870 (ghost token)",
    options: [
      .integer("k", 32, .from(1, to: 1_000_000), "how many classes of the teacher are kept"),
      .ramp("temperature", 1, .positive, "a number, or {from: 8, to: 2, over: linear or cosine}"),
    ]
  ) { try TopKSoftTargets(k: $0.integer("k"), temperature: $0.ramp("temperature")) }

  public let name = "top_k_soft_targets"
  private let k: Int
  private let temperature: Ramp

  /// - Parameter k: how many classes are kept; all, where the teacher has no more
  /// - Throws: `DistillationError` when k or the temperature is not positive.
  public init(k: Int = 32, temperature: Ramp = 1) throws {
    guard k > 0 else { throw DistillationError("top_k_soft_targets keeps at least one class, not \(k)") }
    try requirePositive(temperature)
    self.k = k
    self.temperature = temperature
  }

  public func sum(_ input: TermInput) throws -> Tensor {
    let temperature = temperature.value(at: input.progress)
    let kept = try input.requireTeacher(for: name).topKTargets(k: k, temperature: temperature)
    return try topKSoftTargetLoss(
      studentLogits: input.student.output, targets: kept, temperature: temperature
    ).sum
  }
}

/// What is kept of a teacher's distribution: its k likeliest classes, and the mass of all others.
public struct TopKTargets {
  /// The classes, `[..., k]`, int64.
  public var indices: Tensor
  /// log p of each, `[..., k]`.
  public var logProbabilities: Tensor
  /// The logarithm of the mass of all other classes, `[...]`; nil where there are none.
  public var logRest: Tensor?

  public init(indices: Tensor, logProbabilities: Tensor, logRest: Tensor?) {
    self.indices = indices
    self.logProbabilities = logProbabilities
    self.logRest = logRest
  }

  /// - Parameters:
  ///   - logSoftTargets: log p, `[..., C]`
  ///   - k: from 1 to C
  public init(logSoftTargets: Tensor, k: Int) throws {
    let shape = logSoftTargets.shape
    guard let classCount = shape.last, (1...max(1, classCount)).contains(k) else {
      throw TorchError(
        operation: "TopKTargets", shapes: [shape], message: "the \(k) likeliest of these classes cannot be kept")
    }
    let logTargets = try withoutGradient { try logSoftTargets.detached().precise() }
    (logProbabilities, indices) = try logTargets.topK(k)
    logRest = k == classCount ? nil : try logTargets.logSumExp(without: indices)
  }
}

/// T² · KL between the distributions in which all classes that were not kept are one, summed over rows.
///
/// Computed in float32 and log space.
///
/// - Parameters:
///   - studentLogits: `[..., C]`
///   - targets: the teacher's, at the very temperature `temperature`
///   - temperature: T, positive; on both sides
public func topKSoftTargetLoss(
  studentLogits: Tensor, targets: TopKTargets, temperature: Double = 1
) throws -> LossSum {
  let shape = studentLogits.shape
  let kept = targets.indices.shape
  guard let classCount = shape.last, let k = kept.last, kept.dropLast() == shape.dropLast(),
    targets.logProbabilities.shape == kept, (1...max(1, classCount)).contains(k),
    targets.logRest.map({ $0.shape == Array(shape.dropLast()) }) ?? true, (targets.logRest == nil) == (k == classCount)
  else {
    throw TorchError(
      operation: "topKSoftTargetLoss", shapes: [shape, kept, targets.logProbabilities.shape],
      message: "logits must be [..., C], kept classes and their log probabilities [..., k], and the rest [...] if k < C"
    )
  }
  try requirePositive(temperature)
  let sum = try studentLogits.asLoss { logits in
    let scaled = temperature == 1 ? logits : try logits / temperature
    let indices = try targets.indices.to(.int64)
    let logKept = try targets.logProbabilities.detached().precise()
    let student = try scaled.logSoftmax()
    var divergence = try logKept.divergence(to: student.picked(indices, along: -1)).sum()
    if let rest = try targets.logRest?.detached().precise() {
      let studentRest = try scaled.logSumExp(without: indices) - scaled.logSumExp(along: -1)
      divergence = try divergence + rest.divergence(to: studentRest).sum()
    }
    return try divergence * (temperature * temperature)
  }
  return LossSum(sum: sum, count: studentLogits.rowCount)
}

extension Tensor {
  /// log Σ exp over the last dimension without the elements at `indices` `[..., k]`, of which there must be fewer than all.
  fileprivate func logSumExp(without indices: Tensor) throws -> Tensor {
    try overwritten(at: indices, along: -1, with: -.infinity).logSumExp(along: -1)
  }

  /// p (log p − log q) for each element, where this tensor is log p; 0 where p is.
  fileprivate func divergence(to logStudent: Tensor) throws -> Tensor {
    let finite = try clamped(from: -1e4)
    return try finite.exponential() * (finite - logStudent)
  }
}

/// - Throws: `DistillationError` unless the temperature is positive all the way.
func requirePositive(_ temperature: Ramp) throws {
  for value in temperature.values { try requirePositive(value) }
}

/// - Throws: `DistillationError` unless the temperature is positive.
func requirePositive(_ temperature: Double) throws {
  guard temperature > 0, temperature.isFinite else {
    throw DistillationError("a temperature must be positive; \(temperature) is not")
  }
}
