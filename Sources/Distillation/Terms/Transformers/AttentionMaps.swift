import DistillData
import Torch
import TorchNN

/// Attention maps: what each token of the student attends to is drawn to what it attends to in the teacher.
///
/// For each pair of layers, with maps a of the student and b of the teacher, `[N, heads, L, S]`, for each example
///
///     squared difference:  1 / (heads L S) · Σ (a − b)²                       of scores or probabilities
///     divergence:          1 / (heads L) · Σ over heads and rows of KL(b ‖ a)   of probabilities
///
/// over the tokens that count, summed over pairs. Both models must have the same number of heads.
///
/// ## Reference
/// Squared difference: Jiao et al.: TinyBERT. 2020. arXiv:1909.10351, equation 7, of the scores before the softmax.
/// Divergence: Wang et al.: MiniLM. NeurIPS 2020. arXiv:2002.10957, equation 5, of the last layer.
public final class AttentionMaps: LayerTerm {
  public static let kind = TermKind(
    "attention_maps", "what the teacher's tokens attend to",
    paper: "TinyBERT: Jiao et al. 2020, arXiv:1909.10351; MiniLM: Wang et al. 2020, arXiv:2002.10957",
    options: [
      .layers("attention.scores or attention.probabilities of the student with those of the teacher"),
      .choice(
        "measure", AttentionMeasure.squaredDifference,
        "of scores or probabilities, as TinyBERT; or the divergence of probabilities, as MiniLM"),
    ]
  ) { try AttentionMaps(layers: $0.layers(), measure: $0.choice("measure")) }

  public let name = "attention_maps"
  public let layers: [LayerPair]
  private let measure: AttentionMeasure

  /// - Throws: `DistillationError` when there is no pair, or when a divergence is asked of scores, which are no
  ///   distribution.
  public init(layers: [LayerPair], measure: AttentionMeasure = .squaredDifference) throws {
    try requireLayers(layers, for: name)
    let taps = layers.flatMap { [$0.student, $0.teacher] }
    if measure == .divergence, let tap = taps.first(where: { $0.path.split(separator: ".").last == "scores" }) {
      throw DistillationError(
        "the divergence is between probabilities, and \(tap) gives scores: tap the probabilities beside them")
    }
    self.layers = layers
    self.measure = measure
  }

  public func sum(_ input: TermInput) throws -> Tensor {
    try layers.map { pair in
      let student = try input.student(at: pair.student)
      let teacher = try input.teacher(at: pair.teacher, for: name)
      for (tap, shape) in [(pair.student, student.shape), (pair.teacher, teacher.shape)] where shape.count != 4 {
        throw DistillationError("attention maps must be [N, heads, L, S]; those at \(tap) are \(shape)")
      }
      guard student.shape == teacher.shape else {
        let hint =
          student.shape[1] == teacher.shape[1]
          ? "" : ": the numbers of heads must be one; value_relations takes models with different ones"
        throw DistillationError(
          "the attention maps at \(pair.student), \(student.shape), do not fit the teacher's at \(pair.teacher), "
            + "\(teacher.shape)\(hint)")
      }
      return try attentionMapLoss(
        studentMaps: student, teacherMaps: teacher, measure: measure, mask: input.batch.tokens?.mask
      ).sum
    }.total()
  }
}

/// How attention maps are compared.
public enum AttentionMeasure: String, Sendable, CaseIterable {
  /// The mean of the squared differences.
  case squaredDifference = "squared_difference"
  /// The Kullback-Leibler divergence from the teacher's rows to the student's.
  case divergence
}

/// The difference of two attention maps `[N, heads, L, S]`, a mean for each example, summed over examples.
///
/// A row of probabilities is compared in log space, with those below 1e-30 taken as that. Computed in float32. No gradient
/// goes to the teacher.
///
/// - Parameters:
///   - studentMaps: a, scores or, for a divergence, probabilities
///   - teacherMaps: b, of the same shape
///   - mask: `[N, L]`, not 0 where a token counts, for attention of a sequence to itself: squared differences count where
///     both row and column do, a divergence where the row does. An example without any counts 0.
public func attentionMapLoss(
  studentMaps: Tensor, teacherMaps: Tensor, measure: AttentionMeasure = .squaredDifference, mask: Tensor? = nil
) throws -> LossSum {
  let shapes = [studentMaps.shape, teacherMaps.shape]
  guard shapes[0].count == 4, shapes[0] == shapes[1] else {
    throw TorchError(
      operation: "attentionMapLoss", shapes: shapes, dtypes: [studentMaps.dtype, teacherMaps.dtype],
      message: "attention maps must be [N, heads, L, S], and of one shape")
  }
  let shape = shapes[0]
  if let mask, mask.shape != [shape[0], shape[2]] || shape[2] != shape[3] {
    throw TorchError(
      operation: "attentionMapLoss", shapes: shapes + [mask.shape], dtypes: [studentMaps.dtype],
      message: "with a mask [N, L] attention maps must be [N, heads, L, L]")
  }
  let sum = try studentMaps.asLoss { student in
    let teacher = try teacherMaps.detached().precise()
    let rows = try mask.map { try $0.differs(from: 0).to(student.dtype) }
    switch measure {
    case .squaredDifference:
      let squares = try (student - teacher).squared()
      guard let rows else { return try squares.mean(along: 1, 2, 3).sum() }
      let perRow = try (squares * rows.reshaped([shape[0], 1, 1, shape[3]])).sum(along: 3)
      let columns = try rows.sum(along: 1, keepDimensions: true).clamped(from: 1)
      return try (perRow.mean(along: 1) / columns).meanOverTokens(rows).sum()
    case .divergence:
      let smallest = 1e-30
      let difference = try teacher.clamped(from: smallest).logarithm() - student.clamped(from: smallest).logarithm()
      return try (teacher * difference).sum(along: 3).mean(along: 1).meanOverTokens(rows).sum()
    }
  }
  return LossSum(sum: sum, count: shape[0])
}

extension Tensor {
  /// The mean of `[N, L]` over the tokens of each example that count, those whose weight is 1: `[N]`; 0 where none does.
  func meanOverTokens(_ weights: Tensor?) throws -> Tensor {
    guard let weights else { return try mean(along: 1) }
    return try (self * weights).sum(along: 1) / weights.sum(along: 1).clamped(from: 1)
  }
}
