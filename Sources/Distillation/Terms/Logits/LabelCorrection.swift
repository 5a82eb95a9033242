import DistillData
import Foundation
import Torch
import TorchNN

/// Soft targets that are corrected by the label: a share λ of the target goes to the true class.
///
///     p′ = (1 − λ) p + λ · onehot(y)
///
/// The teacher's p is softened first; the label is not. An example without a label keeps the teacher's p. A mixture of two
/// examples has the same mixture of the two labels in place of the one-hot vector. The paper names this way (to modify
/// the soft targets where the correct label is known) without a formula, and prefers the weighted average of two terms;
/// the rule is ours.
///
/// ## Reference
/// Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network. arXiv:1503.02531, section 2.
public struct LabelCorrection: Sendable, Equatable {
  /// Which of the labelled examples are corrected.
  public enum Place: String, Sendable, Codable, CaseIterable {
    case everywhere
    /// Where the teacher's likeliest class is not the label; of a mixture, neither of its two labels.
    case teacherWrong = "teacher_wrong"
  }

  /// λ
  public let share: Double
  public let place: Place

  /// - Throws: `DistillationError` when the share is not in 0 ..< 1.
  public init(share: Double, place: Place = .everywhere) throws {
    guard (0..<1).contains(share) else {
      throw DistillationError("the label's share must be at least 0 and less than 1, not \(share)")
    }
    self.share = share
    self.place = place
  }
}

/// log p′, the soft targets corrected by labels: see `LabelCorrection`. In float32, without history.
///
/// - Parameters:
///   - logSoftTargets: log p, `[..., C]`
///   - labels: y, `[...]`; −1 where there is none
///   - secondLabels: y′ of the example that was mixed in, `[...]`
///   - secondShares: its share, `[...]`; 0 where one of the two labels is missing
public func correctedSoftTargets(
  _ logSoftTargets: Tensor, labels: Tensor, secondLabels: Tensor? = nil, secondShares: Tensor? = nil,
  correction: LabelCorrection
) throws -> Tensor {
  try requireLabels("correctedSoftTargets", logits: logSoftTargets, labels: labels)
  guard correction.share > 0 else { return try logSoftTargets.detached() }
  return try withoutGradient {
    try logSoftTargets.asLoss { targets in
      let classes = try targets.size(-1)
      let first = try Truth(labels: labels, classCount: classes)
      var truth = try first.mask.to(targets.dtype)
      if let secondLabels, let secondShares {
        let second = try Truth(labels: secondLabels, classCount: classes).mask.to(targets.dtype)
        truth = try truth + (second - truth) * secondShares.to(targets.dtype).expandedDimension(at: -1)
      }
      var isCorrected = try first.isKnown.expandedDimension(at: -1)
      if correction.place == .teacherWrong {
        let guess = try targets.argumentOfMaximum(along: -1).expandedDimension(at: -1)
        isCorrected = try isCorrected.and(truth.picked(guess, along: -1).equals(0))
      }
      let mixed = try (targets + log(1 - correction.share)).logAddExp((truth * correction.share).logarithm())
      return try isCorrected.choose(mixed, targets)
    }
  }
}
