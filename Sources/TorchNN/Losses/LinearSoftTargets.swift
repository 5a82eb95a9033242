import Torch

/// What soft targets are made of: a teacher's output that is not yet multiplied, or its logits.
public enum SoftTargetSource {
  case layer(LinearOutput)
  /// `[R, V]`
  case logits(Tensor)
}

/// The losses of `linearSoftTargetLoss`.
public struct LinearSoftTargetLoss {
  /// softWeight · soft + hardWeight · hard, a scalar with its history.
  public var total: Tensor
  /// T² KL, summed over the rows, without history.
  public var soft: Tensor
  /// The cross-entropy, summed over the rows with a label, without history.
  public var hard: Tensor
}

/// `softTargetLoss` and `crossEntropy` of logits that are never held as a whole: those of the student and of the teacher
/// are computed some rows at a time, with the gradient in the same pass.
///
/// With z = x Wᵀ + b and v the teacher's,
///
///     α T² Σ KL(p ‖ q) + β Σ −log softmax(z)[y],   p = softmax(v / T),   q = softmax(z / T)
///
/// and the gradient by z is α T (q − p) + β (softmax(z) − 1 at y). On the processor, in float32 and bfloat16, there are never
/// more of these numbers than 64 MB at once, or those of 128 rows, and as many logits; elsewhere a few times that. A class
/// whose logits are −∞ for student and teacher is as if it were not there. Gradients by x, W and b are computed here and kept until `backward`, which can
/// be called once and not be differentiated.
///
/// - Parameters:
///   - student: with features `[R, H]`
///   - teacher: with features `[R, H′]`, or logits `[R, V]`; nil: hard labels only. No gradient goes there.
///   - labels: y, `[R]`; −1 where a row has none; nil: soft targets only
///   - temperature: T, positive
///   - isReverse: KL(q ‖ p) in the place of KL(p ‖ q)
///   - softWeight: α
///   - hardWeight: β
/// - Throws: `TorchError` when the shapes do not fit or a label is not among the classes.
public func linearSoftTargetLoss(
  student: LinearOutput, teacher: SoftTargetSource? = nil, labels: Tensor? = nil, temperature: Double = 1,
  isReverse: Bool = false, softWeight: Double = 1, hardWeight: Double = 1
) throws -> LinearSoftTargetLoss {
  var given: Tensor?
  var layer: LinearOutput?
  switch teacher {
  case .layer(let output): (given, layer) = (output.features, output)
  case .logits(let logits): given = logits
  case nil: break
  }
  let (total, soft, hard) = try linearSoftTargets(
    features: student.features, weight: student.weight, bias: student.bias, teacher: given,
    teacherWeight: layer?.weight, teacherBias: layer?.bias, labels: labels?.to(.int64), temperature: temperature,
    isReverse: isReverse, soft: softWeight, hard: hardWeight)
  return LinearSoftTargetLoss(total: total, soft: soft, hard: hard)
}
