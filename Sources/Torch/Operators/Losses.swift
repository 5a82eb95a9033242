extension Operator {
  fileprivate static let crossEntropy = Operator("aten::cross_entropy_loss")
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
}
