import DistillData
import Torch
import TorchNN

/// Soft targets: the student's distribution at a temperature is drawn to the teacher's at the same temperature.
///
/// For each example, with student logits z and teacher logits v, both `[C]`,
///
///     T² · Σᵢ pᵢ (log pᵢ − log qᵢ),   p = softmax(v / T),   q = softmax(z / T)
///
/// which is T² times the forward Kullback-Leibler divergence from teacher to student. Its gradient with respect to zᵢ
/// is T (qᵢ − pᵢ), so that the term keeps its weight against others when T changes. Another `Divergence` can take its
/// place; logits can be standardized before the temperature (`standardizedLogits`); and p can be corrected by the label
/// (`LabelCorrection`). The sum is over classes and examples; every example counts, with and without a label.
///
/// Of an ensemble each member's logits are standardized on their own, before the average; labels correct the average.
///
/// ## Reference
/// Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network. arXiv:1503.02531, section 2.
public final class SoftTargets: Term {
  public static let kind = TermKind(
    "soft_targets", "the teacher's softened probabilities", paper: "Hinton et al. 2015, arXiv:1503.02531",
    options: [
      .ramp("temperature", 4, .positive, "a number, or {from: 8, to: 2, over: linear or cosine}"),
      .choice("divergence", Divergence.forward, "how the two distributions are compared"),
      .number(
        "beta", 0.5, NumberRange(lower: 0, isLowerOpen: true, upper: 1, isUpperOpen: true),
        "the teacher's share in the mixture of jensen_shannon"),
      .flag("standardize", false, "compare the z-scores of the logits"),
      .number("label_share", 0, .fractionBelowOne, "the part of each target that goes to the true class"),
      .choice("label_share_where", LabelCorrection.Place.everywhere, "which labelled examples it is for"),
    ]
  ) {
    try SoftTargets(
      temperature: $0.ramp("temperature"), divergence: $0.choice("divergence"), beta: $0.number("beta"),
      standardize: $0.flag("standardize"),
      labelCorrection: LabelCorrection(share: $0.number("label_share"), place: $0.choice("label_share_where")))
  }

  public let name = "soft_targets"
  private let temperature: Ramp
  private let divergence: Divergence
  private let beta: Double
  private let standardize: Bool
  private let labelCorrection: LabelCorrection?

  /// - Parameters:
  ///   - temperature: T
  ///   - divergence: how the two distributions are compared
  ///   - beta: β, for `Divergence.jensenShannon`
  ///   - standardize: whether z-scores take the place of the logits
  ///   - labelCorrection: how labels change the targets; nil: not at all
  /// - Throws: `DistillationError` when the temperature is not positive all the way, or β not between 0 and 1.
  public init(
    temperature: Ramp = 4, divergence: Divergence = .forward, beta: Double = 0.5, standardize: Bool = false,
    labelCorrection: LabelCorrection? = nil
  ) throws {
    guard beta > 0, beta < 1 else {
      throw DistillationError("beta of the term soft_targets must be above 0 and below 1, not \(beta)")
    }
    self.temperature = try temperature.asTemperature()
    self.divergence = divergence
    self.beta = beta
    self.standardize = standardize
    self.labelCorrection = labelCorrection.flatMap { $0.share > 0 ? $0 : nil }
  }

  public func linearTerm(_ batch: Batch, progress: Double) -> LinearTerm? {
    guard !standardize, labelCorrection == nil, divergence == .forward || divergence == .reverse else { return nil }
    return .softTargets(temperature: temperature.value(at: progress), isReverse: divergence == .reverse)
  }

  public func sum(_ input: TermInput) throws -> Tensor {
    let temperature = temperature.value(at: input.progress)
    var teacher = try input.requireTeacher(for: name)
    var logits = input.student.output
    if standardize {
      teacher = try teacher.mappingLogits(standardizedLogits)
      logits = try standardizedLogits(logits)
    }
    if divergence == .forward, labelCorrection == nil, let plain = teacher.plainLogits {
      return try softTargetLoss(studentLogits: logits, teacherLogits: plain, temperature: temperature).sum
    }
    var targets = try teacher.logSoftTargets(temperature: temperature)
    if let labelCorrection {
      targets = try correctedSoftTargets(
        targets, labels: input.batch.labels, secondLabels: input.batch.secondLabels,
        secondShares: input.batch.secondShares(), correction: labelCorrection)
    }
    return try softTargetLoss(
      studentLogits: logits, logSoftTargets: targets, temperature: temperature, divergence: divergence, beta: beta
    ).sum
  }
}
