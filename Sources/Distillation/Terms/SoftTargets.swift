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
/// is T (qᵢ − pᵢ), so that the term keeps its weight against others when T changes.
///
/// ## Reference
/// Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network. arXiv:1503.02531, section 2.
public final class SoftTargets: Term {
  public static let kind = TermKind(
    "soft_targets", "the teacher's softened probabilities", paper: "Hinton et al. 2015, arXiv:1503.02531",
    options: [.ramp("temperature", 4, .positive, "a number, or {from: 8, to: 2, over: linear or cosine}")]
  ) { try SoftTargets(temperature: $0.ramp("temperature")) }

  public let name = "soft_targets"
  private let temperature: Ramp

  /// - Throws: `DistillationError` when the temperature is not positive all the way.
  public init(temperature: Ramp = 4) throws {
    guard temperature.from > 0, temperature.to > 0, temperature.from.isFinite, temperature.to.isFinite else {
      throw DistillationError("a temperature must be positive: \(temperature.from) to \(temperature.to) is not")
    }
    self.temperature = temperature
  }

  public func sum(_ input: TermInput) throws -> Tensor {
    let temperature = temperature.value(at: input.progress)
    let targets = try input.requireTeacher(for: name).logSoftTargets(temperature: temperature)
    return try softTargetLoss(
      studentLogits: input.student.output, logSoftTargets: targets, temperature: temperature
    ).sum
  }
}
