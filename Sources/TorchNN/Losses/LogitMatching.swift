import Torch

/// ½ Σ over classes of (z − v)², summed over examples: the squared distance between the student's logits z and the teacher's
/// v. It is what soft targets become at a high temperature, times C, when the logits have zero mean.
///
/// Computed in float32. No gradient goes to the teacher.
///
/// - Parameters:
///   - studentLogits: z, `[..., C]`
///   - teacherLogits: v, of the same shape
///   - zeroMean: takes the mean over classes from each example's z and v first, so that a constant added to all logits,
///     which changes no probability, does not count either
///
/// ## Reference
/// Buciluǎ, Caruana, Niculescu-Mizil: Model Compression. KDD 2006; the limit: Hinton, Vinyals, Dean 2015, section 2.1.
public func logitMatching(studentLogits: Tensor, teacherLogits: Tensor, zeroMean: Bool = false) throws -> LossSum {
  try requireSameShape("logitMatching", studentLogits, teacherLogits, "logits of student and teacher")
  let sum = try studentLogits.asLoss { logits in
    var difference = try logits - teacherLogits.detached().precise()
    if zeroMean { difference = try difference - difference.mean(along: -1, keepDimensions: true) }
    return try difference.squared().sum() * 0.5
  }
  return LossSum(sum: sum, count: studentLogits.rowCount)
}
