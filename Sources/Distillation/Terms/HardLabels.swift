import DistillData
import Torch
import TorchNN

/// Hard labels: the usual cross-entropy with the true classes, at temperature 1. The "student loss".
///
/// For each labelled example −log softmax(z)[y]; examples without a label do not count. With label smoothing ε the target
/// is 1 − ε for the true class plus ε / C for every class. For a mixture of two examples (mixup, cutmix) the loss is the
/// same mixture of the two labels' losses.
public final class HardLabels: Term {
  public static let kind = TermKind(
    "hard_labels", "the true classes", paper: "label smoothing: Szegedy et al. 2016, arXiv:1512.00567",
    needsTeacher: false,
    options: [
      .number("label_smoothing", 0, .fractionBelowOne, "the part of each label that is spread over all classes")
    ]
  ) { try HardLabels(labelSmoothing: $0.number("label_smoothing")) }

  public let name = "hard_labels"
  private let labelSmoothing: Double

  /// - Throws: `DistillationError` when the smoothing is not in 0 ..< 1.
  public init(labelSmoothing: Double = 0) throws {
    guard (0..<1).contains(labelSmoothing) else {
      throw DistillationError("label smoothing must be at least 0 and less than 1, not \(labelSmoothing)")
    }
    self.labelSmoothing = labelSmoothing
  }

  public var needsTeacher: Bool { false }

  public func count(_ batch: Batch) -> Int { batch.labelledCount }

  public func linearTerm(_ batch: Batch, progress: Double) -> LinearTerm? {
    labelSmoothing == 0 && batch.secondLabels == nil ? .hardLabels : nil
  }

  public func sum(_ input: TermInput) throws -> Tensor {
    let logits = input.student.output
    let batch = input.batch
    guard let second = batch.secondLabels, let weights = batch.secondWeights else {
      return try crossEntropy(
        logits: logits, labels: batch.labels, labelSmoothing: labelSmoothing, labelledCount: batch.labelledCount
      ).sum
    }
    return try mixedCrossEntropy(
      logits: logits, labels: batch.labels, secondLabels: second, secondWeights: weights,
      labelSmoothing: labelSmoothing, labelledCount: batch.labelledCount
    ).sum
  }
}
