extension Operator {
  fileprivate static let batchNorm = Operator("aten::batch_norm")
  fileprivate static let fusedBatchNorm = Operator("distill::batch_norm")
  fileprivate static let layerNorm = Operator("aten::layer_norm")
  fileprivate static let groupNorm = Operator("aten::group_norm")
}

/// (x − mean) / √(variance + ε) · weight + bias for each channel.
///
/// While training, mean and variance are the batch's (over all dimensions but the channels', the variance divided by
/// their number n), and the running ones move towards them: running ← (1 − momentum) · running + momentum · batch's,
/// with the variance divided by n − 1. Otherwise the running ones are used.
///
/// - Parameters:
///   - input: `[N, C]` or `[N, C, ...]`
///   - weight: `[C]`, as are `bias`, `runningMean` and `runningVariance`; the last two are changed in place
/// - Returns: of the shape of `input`
public func batchNorm(
  _ input: Tensor, weight: Tensor?, bias: Tensor?, runningMean: Tensor?, runningVariance: Tensor?, isTraining: Bool,
  momentum: Double, epsilon: Double
) throws -> Tensor {
  if isTraining, let weight, let bias {
    return try Dispatcher.call(
      .fusedBatchNorm, input, weight, bias, runningMean, runningVariance, Tensor?.none, true, momentum, epsilon, false)
  }
  return try Dispatcher.call(
    .batchNorm, input, weight, bias, runningMean, runningVariance, isTraining, momentum, epsilon, true)
}

/// max(0, y + residual) with y = `batchNorm` while training, as one operator with one node of the graph.
///
/// - Parameters:
///   - input: `[N, C]` or `[N, C, ...]`
///   - residual: of the shape of `input`
///   - weight: `[C]`, as are `bias`, `runningMean` and `runningVariance`; the last two are changed in place
/// - Returns: of the shape of `input`
public func batchNormReLU(
  _ input: Tensor, adding residual: Tensor?, weight: Tensor, bias: Tensor, runningMean: Tensor?,
  runningVariance: Tensor?, momentum: Double, epsilon: Double
) throws -> Tensor {
  try Dispatcher.call(
    .fusedBatchNorm, input, weight, bias, runningMean, runningVariance, residual, true, momentum, epsilon, true)
}

/// (x − mean) / √(variance + ε) · weight + bias, with mean and variance over the last dimensions, whose sizes are `shape`.
///
/// - Parameters:
///   - input: `[..., shape]`
///   - weight: of shape `shape`, as is `bias`
/// - Returns: of the shape of `input`
public func layerNorm(
  _ input: Tensor, shape: [Int], weight: Tensor?, bias: Tensor?, epsilon: Double
) throws -> Tensor {
  try Dispatcher.call(.layerNorm, input, shape, weight, bias, epsilon)
}

/// (x − mean) / √(variance + ε) · weight + bias, with mean and variance over each of `groups` groups of neighbouring
/// channels of an example.
///
/// - Parameters:
///   - input: `[N, C, ...]`, C a multiple of `groups`
///   - weight: `[C]`, one for each channel, as is `bias`
/// - Returns: of the shape of `input`
public func groupNorm(
  _ input: Tensor, groups: Int, weight: Tensor?, bias: Tensor?, epsilon: Double
) throws -> Tensor {
  try Dispatcher.call(.groupNorm, input, groups, weight, bias, epsilon)
}
