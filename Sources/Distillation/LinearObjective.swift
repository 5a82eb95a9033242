import DistillData
import Torch
import TorchNN

/// What a term is where the student's output is a linear layer that is not computed as a whole.
public enum LinearTerm: Equatable, Sendable {
  /// T² times the Kullback-Leibler divergence at temperature T: from the teacher to the student, or the reverse one.
  case softTargets(temperature: Double, isReverse: Bool)
  /// The cross-entropy with the labels.
  case hardLabels
}

/// Whether the student's logits, and its teacher's, are computed some rows at a time, together with the loss and its
/// gradient, so that they are never held as a whole. Loss and gradient are the same, within rounding.
///
/// It is possible where the student's classifier is one linear layer (`FeatureClassifier.outputLayer`), every active term
/// is plain soft targets or hard labels, each at most once, and products are in float32 or bfloat16. Elsewhere logits are
/// computed as ever.
public enum ChunkedOutputs: String, Codable, Sendable, CaseIterable {
  /// Where the batch has at least `largeLogitCount` logits.
  case automatic
  /// Wherever it is possible.
  case always
  case never

  /// Rows times classes from which on logits are large: 64 MB of them in float32.
  public static let largeLogitCount = 1 << 24

  /// Whether a batch of so many examples, or tokens, is computed in chunks.
  public func includes(rows: Int, classes: Int) -> Bool {
    switch self {
    case .automatic: rows * classes >= Self.largeLogitCount
    case .always: true
    case .never: false
    }
  }
}

extension Precision {
  /// What a model's last layer would multiply, in this precision; nil where the model does not end in a linear layer, or
  /// gradients need to be scaled.
  func linearOutput(of model: any Layer, _ input: Tensor) throws -> LinearOutput? {
    guard self != .float16, let model = model as? any FeatureClassifier,
      var output = try compute(on: input.device, { try model.linearOutput(input) })
    else { return nil }
    if self == .bfloat16 { output.features = try output.features.to(.bfloat16) }
    return output
  }
}

/// An objective on outputs that are not computed as a whole: at most one soft and one hard term.
struct LinearObjective {
  private struct Share {
    var entry: Int
    var name: String
    var weight: Double
    var count: Int
    /// How much the sum over this batch counts.
    var factor: Double
  }

  private var soft: Share?
  private var hard: Share?
  private var temperature = 1.0
  private var isReverse = false
  /// With each token that counts as an example, where there are tokens.
  let batch: Batch
  private let tokens: Tokens?

  /// Nil where an active term looks at more, or nothing in the batch counts.
  init?(_ objective: Objective, batch plain: Batch, position: TrainingPosition, counts: [Int]) {
    batch = plain.byToken
    tokens = plain.predictsTokens ? plain.tokens : nil
    guard plain.copies.isEmpty else { return nil }
    for (index, (entry, count)) in zip(objective.entries, counts).enumerated() where entry.isActive(at: position) {
      let weight = entry.weight.value(at: position.progress)
      guard weight != 0 else { continue }
      guard entry.teacher == .all, let term = entry.term.linearTerm(batch, progress: position.progress) else {
        return nil
      }
      let here = entry.term.count(batch)
      guard here > 0 else { continue }
      let share = Share(
        entry: index, name: entry.term.name, weight: weight, count: here, factor: weight / Double(count))
      switch term {
      case .softTargets(let temperature, let isReverse):
        guard soft == nil else { return nil }
        (soft, self.temperature, self.isReverse) = (share, temperature, isReverse)
      case .hardLabels:
        guard hard == nil else { return nil }
        hard = share
      }
    }
    if soft == nil, hard == nil { return nil }
  }

  var rowCount: Int { batch.ids.count }

  /// What the teacher says, as the loss wants it; nil where no soft target is asked for.
  func source(_ teacher: (any Teacher)?, _ plain: Batch) throws -> SoftTargetSource? {
    guard soft != nil else { return nil }
    guard let teacher else { throw DistillationError("soft targets need a teacher") }
    if var output = try teacher.linearOutput(plain) {
      output.features = try rows(output.features)
      return .layer(output)
    }
    let trace = try teacher.trace(plain)
    // log p times T stands for logits: its softmax at T is p.
    let logits = try trace.plainLogits ?? trace.logSoftTargets(temperature: temperature) * temperature
    return .logits(try rows(logits))
  }

  /// The objective's value, as `Objective.evaluate` gives it.
  func evaluate(student: LinearOutput, teacher: SoftTargetSource?) throws -> Objective.Value {
    var student = student
    student.features = try rows(student.features)
    let loss = try withoutAutocast(on: student.features.device) {
      try linearSoftTargetLoss(
        student: student, teacher: teacher, labels: hard == nil ? nil : batch.labels, temperature: temperature,
        isReverse: isReverse, softWeight: soft?.factor ?? 0, hardWeight: hard?.factor ?? 0)
    }
    let parts = [(soft, loss.soft), (hard, loss.hard)]
      .compactMap { share, sum in share.map { (share: $0, sum: sum) } }
      .sorted { $0.share.entry < $1.share.entry }
    let (_, shares) = try Tensor.weightedSum(
      parts.map { try $0.sum.detached() }, weights: parts.map(\.share.factor))
    return Objective.Value(
      total: loss.total,
      parts: parts.map {
        Objective.Part(name: $0.share.name, weight: $0.share.weight, sum: $0.sum, count: $0.share.count)
      }, shares: shares)
  }

  /// The rows of the examples: `[R, ...]`.
  private func rows(_ tensor: Tensor) throws -> Tensor { try tokens?.rows(tensor) ?? tensor }
}
