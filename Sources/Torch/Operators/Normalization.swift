extension Operator {
  fileprivate static let batchNorm = Operator("aten::batch_norm")
  fileprivate static let layerNorm = Operator("aten::layer_norm")
  fileprivate static let groupNorm = Operator("aten::group_norm")
}

/// (x − mean) / √(variance + ε) · weight + bias per channel. While training, mean and variance are the batch's, and the
/// running ones move towards them by `momentum`; otherwise the running ones are used.
public func batchNorm(
  _ input: Tensor, weight: Tensor?, bias: Tensor?, runningMean: Tensor?, runningVariance: Tensor?, isTraining: Bool,
  momentum: Double, epsilon: Double
) throws -> Tensor {
  try Dispatcher.call(
    .batchNorm, input, weight, bias, runningMean, runningVariance, isTraining, momentum, epsilon, true)
}

/// Normalizes over the last dimensions, whose sizes are `shape`.
public func layerNorm(
  _ input: Tensor, shape: [Int], weight: Tensor?, bias: Tensor?, epsilon: Double
) throws -> Tensor {
  try Dispatcher.call(.layerNorm, input, shape, weight, bias, epsilon)
}

/// Normalizes each of `groups` groups of channels of a `[N, C, ...]` tensor.
public func groupNorm(
  _ input: Tensor, groups: Int, weight: Tensor?, bias: Tensor?, epsilon: Double
) throws -> Tensor {
  try Dispatcher.call(.groupNorm, input, groups, weight, bias, epsilon)
}
