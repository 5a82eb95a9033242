import DistillData
import Foundation
import Torch
import TorchNN

/// Teacher-free distillation, the form with a virtual teacher: soft targets from a teacher that is always right, and holds
/// all other classes equally likely.
///
/// For each labelled example with label t, C classes and the probability a of the right class
///
///     T² · KL(p ‖ q),   p = softmax(log u / T),  q = softmax(z / T),   uₜ = a,  uᵢ = (1 − a) / (C − 1) for i ≠ t
///
/// At T = 1 it is label smoothing, up to a constant, with ε = (1 − a) C / (C − 1). The sum is over classes and over the labelled
/// examples; of a mixture of two examples, the mixture of the two labels' losses.
///
/// The paper's other form, self-training, is `SoftTargets` with a teacher that is a copy of the student, trained before.
///
/// ## Reference
/// Yuan, Tay, Li, Wang, Feng: Revisiting Knowledge Distillation via Label Smoothing Regularization. CVPR 2020,
/// arXiv:1909.11723 (Tf-KD_reg).
public final class TeacherFree: Term {
  public static let kind = TermKind(
    "teacher_free", "the softened probabilities of a made-up teacher that is always right",
    paper: "Yuan et al. 2020, arXiv:1909.11723", needsTeacher: false,
    options: [
      .ramp("temperature", 20, .positive, "softens both distributions"),
      .number(
        "correct_probability", 0.99, NumberRange(lower: 0, isLowerOpen: true, upper: 1, isUpperOpen: true),
        "the made-up teacher's probability of the true class"),
    ]
  ) {
    try TeacherFree(
      temperature: $0.ramp("temperature"), correctProbability: $0.number("correct_probability"))
  }

  public let name = "teacher_free"
  private let temperature: Ramp
  private let correctProbability: Double

  /// - Throws: `DistillationError` when the temperature is not positive, or the probability not between 0 and 1.
  public init(temperature: Ramp = 20, correctProbability: Double = 0.99) throws {
    guard correctProbability > 0, correctProbability < 1 else {
      throw DistillationError(
        "correct_probability of the term teacher_free must be above 0 and below 1, not \(correctProbability)")
    }
    self.temperature = try temperature.asTemperature()
    self.correctProbability = correctProbability
  }

  public var needsTeacher: Bool { false }

  public func count(_ batch: Batch) -> Int { batch.labelledCount }

  public func sum(_ input: TermInput) throws -> Tensor {
    let temperature = temperature.value(at: input.progress)
    return try input.batch.sumOverLabels {
      try teacherFreeLoss(
        studentLogits: input.student.output, labels: $0, temperature: temperature,
        correctProbability: correctProbability)
    }
  }
}

/// The loss of `TeacherFree` for each row, `[...]`; 0 where there is no label. Computed in float32 and log space.
///
/// - Parameters:
///   - studentLogits: z, `[..., C]`
///   - labels: `[...]`; −1 where there is none
///   - temperature: T, positive
///   - correctProbability: a, above 1 / C and below 1
public func teacherFreeLoss(
  studentLogits: Tensor, labels: Tensor, temperature: Double, correctProbability: Double
) throws -> Tensor {
  try requireLabels("teacherFreeLoss", logits: studentLogits, labels: labels)
  try requireTemperature("teacherFreeLoss", temperature)
  let classes = try studentLogits.size(-1)
  guard correctProbability > 1 / Double(classes), correctProbability < 1 else {
    throw TorchError(
      operation: "teacherFreeLoss",
      message: "with \(classes) classes the probability of the right one must lie between 1/\(classes) and 1, "
        + "not \(correctProbability)")
  }
  let right = log(correctProbability) / temperature
  let wrong = log((1 - correctProbability) / Double(classes - 1)) / temperature
  let normalizer = log(exp(right) + Double(classes - 1) * exp(wrong))
  let truth = try Truth(labels: labels, classCount: classes)
  let logits = try studentLogits.precise()
  let targets = try Tensor.full(studentLogits.shape, wrong - normalizer, dtype: logits.dtype, device: logits.device)
    .masked(where: truth.mask, with: right - normalizer)
  return try softTargetRows(studentLogits: logits, logSoftTargets: targets, temperature: temperature) * truth.isKnown
}
