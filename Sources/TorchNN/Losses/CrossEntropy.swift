import Torch

/// The label of an example that has none. Such examples do not count.
public let missingLabel = -1

/// −log softmax(z)[y], summed over the examples that have a label.
///
/// With label smoothing ε the target is (1 − ε) at the label plus ε / C everywhere, and the loss
/// −Σ over classes of target · log softmax(z). Computed in float32 and log space, also under mixed precision.
///
/// - Parameters:
///   - logits: z, `[N, C]`
///   - labels: y, `[N]` class numbers; −1 where an example has no label
///   - labelSmoothing: ε, from 0 up to 1
///   - labelledCount: how many examples have a label. Whoever put the batch together knows it; if it is not given, the
///     labels are read to count them, which on an accelerator waits for them.
/// - Throws: `TorchError` when the shapes do not fit or a label is not among the classes.
public func crossEntropy(
  logits: Tensor, labels: Tensor, labelSmoothing: Double = 0, labelledCount: Int? = nil
) throws -> LossSum {
  let shapes = [logits.shape, labels.shape]
  guard shapes[0].count == 2, shapes[1] == [shapes[0][0]] else {
    throw TorchError(
      operation: "crossEntropy", shapes: shapes, dtypes: [logits.dtype, labels.dtype],
      message: "logits must be [examples, classes] and labels [examples]")
  }
  let labels = try labels.to(.int64)
  let sum = try logits.asLoss {
    if labelSmoothing == 0, $0.hasFusedLosses { return try $0.hardLabelSum(labels: labels) }
    return try $0.crossEntropySum(labels: labels, labelSmoothing: labelSmoothing, ignoredLabel: missingLabel)
  }
  return LossSum(sum: sum, count: try labelledCount ?? countLabelled(labels))
}

/// Cross-entropy of examples that were mixed from two: (1 − w) · −log softmax(z)[y] + w · −log softmax(z)[y′], summed over
/// the examples whose first part has a label.
///
/// - Parameters:
///   - logits: z, `[N, C]`
///   - labels: y, the labels of the first part, `[N]`; −1 where it has none
///   - secondLabels: y′, those of the second part, `[N]`; where it has none (−1), the first label counts alone
///   - secondWeights: w, the share of the second part, `[N]`
///   - labelSmoothing: see `crossEntropy`
///   - labelledCount: how many of `labels` are not −1; they are read if it is not given
public func mixedCrossEntropy(
  logits: Tensor, labels: Tensor, secondLabels: Tensor, secondWeights: Tensor, labelSmoothing: Double = 0,
  labelledCount: Int? = nil
) throws -> LossSum {
  let tensors = [logits, labels, secondLabels, secondWeights]
  let shapes = tensors.map(\.shape)
  guard shapes[0].count == 2, shapes.dropFirst().allSatisfy({ $0 == [shapes[0][0]] }) else {
    throw TorchError(
      operation: "mixedCrossEntropy", shapes: shapes, dtypes: tensors.map(\.dtype),
      message: "logits must be [examples, classes], labels and weights [examples]")
  }
  let labels = try labels.to(.int64)
  let second = try secondLabels.to(.int64)
  let sum = try logits.asLoss { logits in
    // An unlabelled first part leaves no weight to the second, an unlabelled second part none to itself.
    let isMixed = try labels.isAtLeast(0).and(second.isAtLeast(0))
    let weights = try secondWeights.precise() * isMixed
    let first = try logits.crossEntropyOfRows(
      labels: labels, labelSmoothing: labelSmoothing, ignoredLabel: missingLabel)
    let other = try logits.crossEntropyOfRows(
      labels: second, labelSmoothing: labelSmoothing, ignoredLabel: missingLabel)
    return try (first + (other - first) * weights).sum()
  }
  return LossSum(sum: sum, count: try labelledCount ?? countLabelled(labels))
}

/// How many of the labels `[N]` are not −1. Waits for the device.
public func countLabelled(_ labels: Tensor) throws -> Int {
  try labels.to(.int64).withBytes { bytes in
    bytes.bindMemory(to: Int64.self).count { $0 != Int64(missingLabel) }
  }
}
