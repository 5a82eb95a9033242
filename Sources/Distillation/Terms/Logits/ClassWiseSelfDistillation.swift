import DistillData
import Torch
import TorchNN

/// Class-wise self-distillation (CS-KD): the student's predictions for examples of one class should be alike. It needs labels
/// and no teacher.
///
/// For each labelled example i that has others of its class in the batch, Pᵢ of them,
///
///     T² · (1 / |Pᵢ|) Σ over j in Pᵢ of KL(qⱼ ‖ qᵢ),   q = softmax(z / T)
///
/// where no gradient goes through qⱼ, which is the target. The paper draws one partner at random for each example; the mean
/// over all partners is what that gives on average, and has less noise. The sum is over the examples with a partner; the
/// others do not count. Partners are looked for in one batch at a time, so that gradient accumulation and the size of the
/// batch change it. An example that was mixed from two classes is of neither, and does not count.
///
/// ## Reference
/// Yun, Park, Lee, Shin: Regularizing Class-wise Predictions via Self-knowledge Distillation. CVPR 2020,
/// arXiv:2003.13964.
public final class ClassWiseSelfDistillation: Term {
  public static let kind = TermKind(
    "class_wise_self_distillation", "the same predictions for different examples of one class",
    paper: "CS-KD: Yun et al. 2020, arXiv:2003.13964", needsTeacher: false,
    options: [.ramp("temperature", 4, .positive, "softens both distributions")]
  ) { try ClassWiseSelfDistillation(temperature: $0.ramp("temperature")) }

  public let name = "class_wise_self_distillation"
  private let temperature: Ramp

  /// - Throws: `DistillationError` when the temperature is not positive.
  public init(temperature: Ramp = 4) throws { self.temperature = try temperature.asTemperature() }

  public var needsTeacher: Bool { false }

  /// Reads the labels, which on an accelerator waits for them.
  public func count(_ batch: Batch) -> Int {
    // Labels that cannot be read make `sum`, which is then called, throw what is wrong with them.
    guard let labels = try? Self.labels(of: batch).doubles() else { return batch.ids.count }
    var sizes: [Double: Int] = [:]
    for label in labels where label >= 0 { sizes[label, default: 0] += 1 }
    return sizes.values.reduce(0) { $0 + ($1 > 1 ? $1 : 0) }
  }

  public func sum(_ input: TermInput) throws -> Tensor {
    try classWiseSelfDistillationLoss(
      logits: input.student.output, labels: Self.labels(of: input.batch),
      temperature: temperature.value(at: input.progress))
  }

  /// −1 for examples that were mixed from two classes.
  private static func labels(of batch: Batch) throws -> Tensor {
    let labels = try batch.labels.to(.int64)
    guard let second = batch.secondLabels, let share = try batch.secondShares() else { return labels }
    let isMixed = try share.isGreater(than: 0).and(labels.equals(second.to(.int64)).not())
    return try isMixed.choose(labels.onesLike() * -1, labels)
  }
}

/// The loss of `ClassWiseSelfDistillation`, summed over the examples that have a partner: a scalar; 0 where there is none.
///
/// Computed in float32 and log space.
///
/// - Parameters:
///   - logits: z, `[N, C]`
///   - labels: `[N]`; −1 where there is none
///   - temperature: T, positive
public func classWiseSelfDistillationLoss(logits: Tensor, labels: Tensor, temperature: Double) throws -> Tensor {
  let loss = "classWiseSelfDistillationLoss"
  try requireLabels(loss, logits: logits, labels: labels)
  try requireTemperature(loss, temperature)
  guard logits.rank == 2 else {
    throw TorchError(
      operation: loss, shapes: [logits.shape], dtypes: [logits.dtype], message: "logits must be [examples, classes]")
  }
  return try logits.asLoss { logits in
    let student = try (logits / temperature).logSoftmax()
    let targets = try student.detached()
    let shares = try partnerShares(labels.to(.int64)).to(student.dtype)
    let probabilities = try targets.exponential()
    // Σⱼ sharesᵢⱼ Σ_c pⱼ (log pⱼ − log qᵢ), without a tensor of all pairs and classes.
    let information = try (probabilities * targets).sum(along: 1, keepDimensions: true)
    let sum = try shares.matmul(information).sum() - (shares.matmul(probabilities) * student).sum()
    return try sum * (temperature * temperature)
  }
}

/// `[N, N]`: 1 / |Pᵢ| where j is another example of i's class, 0 elsewhere.
private func partnerShares(_ labels: Tensor) throws -> Tensor {
  let count = try labels.size(0)
  let columns = try labels.expandedDimension(at: 0)
  let rows = try labels.expandedDimension(at: 1)
  let others = try Tensor.identity(count, device: labels.device).equals(0)
  let isPartner = try rows.equals(columns).and(rows.isAtLeast(0)).and(others).to(.float32)
  return try isPartner / isPartner.sum(along: 1, keepDimensions: true).clamped(from: 1)
}
