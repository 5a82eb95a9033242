extension Operator {
  fileprivate static let linearSoftTargets = Operator("distill::linear_soft_targets")
}

/// soft · T² KL + hard · cross-entropy of logits x Wᵀ + b that are never held as a whole, nor are the teacher's.
///
/// The gradients by features, weight and bias are computed at once, and held until `backward`, which can be called once.
/// What is multiplied is rounded to the type of the features first, as under mixed precision; all else is float32
/// (float64 for features in float64).
///
/// - Parameters:
///   - features: x, `[R, H]`
///   - weight: W, `[V, H]`
///   - bias: b, `[V]`
///   - teacher: the teacher's features `[R, H′]`, or its logits `[R, V]` where there is no `teacherWeight`
///   - teacherWeight: `[V, H′]`
///   - teacherBias: `[V]`
///   - labels: `[R]`, int64; −1 where there is none
///   - temperature: T
///   - isReverse: whether KL is that from the student to the teacher
/// - Returns: the sum with its history, and both losses without weights or history, each summed over rows
public func linearSoftTargets(
  features: Tensor, weight: Tensor, bias: Tensor?, teacher: Tensor?, teacherWeight: Tensor?, teacherBias: Tensor?,
  labels: Tensor?, temperature: Double, isReverse: Bool, soft: Double, hard: Double
) throws -> (total: Tensor, soft: Tensor, hard: Tensor) {
  let results = try Dispatcher.callTuple(
    .linearSoftTargets, features, weight, bias, teacher, teacherWeight, teacherBias, labels, temperature, isReverse,
    soft, hard)
  guard results.count == 3, let total = results[0], let softLoss = results[1], let hardLoss = results[2] else {
    throw TorchError(operation: "distill::linear_soft_targets", message: "gave no result of the expected kind")
  }
  return (total, softLoss, hardLoss)
}
