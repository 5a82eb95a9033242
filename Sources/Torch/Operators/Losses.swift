extension Operator {
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
