import DistillData
import Torch
import TorchNN

/// Checks what a loss that looks at labels is given.
///
/// - Throws: `TorchError` unless the logits are `[..., C]` with at least two classes, and the labels `[...]`.
func requireLabels(_ loss: String, logits: Tensor, labels: Tensor) throws {
  let shapes = [logits.shape, labels.shape]
  guard shapes[0].count >= 2, shapes[1] == Array(shapes[0].dropLast()), let classes = shapes[0].last, classes >= 2
  else {
    throw TorchError(
      operation: loss, shapes: shapes, dtypes: [logits.dtype, labels.dtype],
      message: "logits must be [examples, classes], with at least two classes, and labels [examples]")
  }
}

/// Each example's label as something to point with, and whether it has one.
struct Truth {
  /// `[..., 1]`; 0 where there is no label.
  let index: Tensor
  /// `[..., C]`, true at the label; at class 0 where there is none.
  let mask: Tensor
  /// `[...]`, true where there is a label.
  let isKnown: Tensor

  /// - Parameter labels: `[...]`, −1 where an example has none
  init(labels: Tensor, classCount: Int) throws {
    let labels = try labels.to(.int64)
    let present = try labels.maximum(labels.zerosLike())
    isKnown = try labels.isAtLeast(0)
    index = try present.expandedDimension(at: -1)
    mask = try present.oneHot(classCount: classCount).to(.bool)
  }

  /// What a distribution says of the label and of the other classes, each on its own.
  struct Split {
    /// log p of the label, `[...]`
    var target: Tensor
    /// log (1 − p) of the label, `[...]`, from the other classes
    var rest: Tensor
    /// log pᵢ / (1 − p) for the other classes, `[..., C]`; 0 at the label
    var others: Tensor
  }

  /// - Parameter logits: `[..., C]`, or log probabilities, which are logits too
  func split(_ logits: Tensor) throws -> Split {
    let log = try logits.logSoftmax()
    let others = try log.masked(where: mask, with: -.infinity)
    return Split(
      target: try log.picked(index, along: -1).squeezed(-1), rest: try others.logSumExp(along: -1),
      others: try others.logSoftmax().masked(where: mask, with: 0))
  }
}

extension Batch {
  /// The sum over the labelled examples of a loss that depends on the label. For a mixture of two examples (mixup,
  /// cutmix) it is the same mixture of the losses with the one label and with the other.
  ///
  /// - Parameter loss: the loss of each example, `[N]`, for labels `[N]`; 0 where a label is −1
  func sumOverLabels(_ loss: (_ labels: Tensor) throws -> Tensor) throws -> Tensor {
    let first = try loss(labels)
    guard let second = secondLabels, let share = try secondShares() else { return try first.sum() }
    return try (first + (loss(second) - first) * share).sum()
  }

  /// How much of each example is the second one, `[N]`: nothing where one of the two has no label. Nil when nothing was
  /// mixed.
  func secondShares() throws -> Tensor? {
    guard let second = secondLabels, let weights = secondWeights else { return nil }
    return try weights.to(.float32) * labels.isAtLeast(0).and(second.isAtLeast(0))
  }
}
