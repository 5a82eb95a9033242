extension Operator {
  fileprivate static let softTargetSum = Operator("distill::soft_target_sum")
  fileprivate static let hardLabelSum = Operator("distill::hard_label_sum")
  fileprivate static let weightedSum = Operator("distill::weighted_sum")
  fileprivate static let crossEntropy = Operator("aten::cross_entropy_loss")
  fileprivate static let klDivergence = Operator("aten::kl_div")
  fileprivate static let huber = Operator("aten::huber_loss")
}

extension Tensor {
  /// −Σ over examples of log softmax(logits)[label], in one fused operator.
  ///
  /// - Parameters:
  ///   - labels: `[N]` class numbers; rows whose label is `ignoredLabel` do not count
  ///   - labelSmoothing: the part of each target that is spread evenly over all classes
  public func crossEntropySum(labels: Tensor, labelSmoothing: Double = 0, ignoredLabel: Int = -100) throws -> Tensor {
    try Dispatcher.call(.crossEntropy, self, labels, Tensor?.none, 2, ignoredLabel, labelSmoothing)
  }

  /// T² Σ p (log p − log q) over all rows, p and q the softmax of `teacher` and of this tensor at temperature T: value and
  /// gradient in one pass, for float32 on the processor.
  ///
  /// - Parameter teacher: of the same shape; no gradient goes there
  public func softTargetSum(teacher: Tensor, temperature: Double) throws -> Tensor {
    try Dispatcher.call(.softTargetSum, self, teacher, temperature)
  }

  /// −log softmax(logits)[label], summed over the rows whose label is not −1: value and gradient in one pass, for float32
  /// on the processor.
  public func hardLabelSum(labels: Tensor) throws -> Tensor { try Dispatcher.call(.hardLabelSum, self, labels) }

  /// Σ weight · sum of single numbers, and beside it what each of them adds: `[sums]` in float64, without history.
  public static func weightedSum(_ sums: [Tensor], weights: [Double]) throws -> (total: Tensor, shares: Tensor) {
    let found = try Dispatcher.callTuple(.weightedSum, sums, weights)
    guard found.count == 2, let total = found[0], let shares = found[1] else {
      throw TorchError(operation: "weighted_sum", message: "gave no result of the expected kind")
    }
    return (total, shares)
  }

  /// Σ p (log p − log q) over all elements, where this tensor is log q.
  ///
  /// - Parameter logTargets: log p, finite, of the same shape
  public func klDivergenceSum(logTargets: Tensor) throws -> Tensor {
    try Dispatcher.call(.klDivergence, self, logTargets, 2, true)
  }

  /// −log softmax(logits)[label] for each row, `[N]`; 0 for rows whose label is `ignoredLabel`.
  public func crossEntropyOfRows(
    labels: Tensor, labelSmoothing: Double = 0, ignoredLabel: Int = -100
  ) throws -> Tensor {
    try Dispatcher.call(.crossEntropy, self, labels, Tensor?.none, 0, ignoredLabel, labelSmoothing)
  }

  /// The Huber loss, summed over all elements: ½ d² where |d| ≤ δ and δ (|d| − ½ δ) elsewhere, d the difference from
  /// `targets`, which have the same shape.
  public func huberSum(targets: Tensor, delta: Double = 1) throws -> Tensor {
    try Dispatcher.call(.huber, self, targets, 2, delta)
  }
}
