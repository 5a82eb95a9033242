import Torch

/// The mean over features of (x − y)², summed over examples; so `mean` is the mean over all elements.
///
/// Computed in float32. The gradient goes to both sides: detach the one that is given.
///
/// - Parameters:
///   - prediction: x, `[N, ...]`
///   - target: y, of the same shape
public func meanSquaredError(prediction: Tensor, target: Tensor) throws -> LossSum {
  try requireSameShape("meanSquaredError", prediction, target, "prediction and target")
  let examples = try prediction.size(0)
  let features = max(1, prediction.count / max(1, examples))
  let sum = try prediction.asLoss { try ($0 - target.precise()).squared().sum() / Double(features) }
  return LossSum(sum: sum, count: examples)
}
