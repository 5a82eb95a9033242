import Torch

/// T² · KL(p ‖ q), summed over classes and over examples, with p the teacher's softmax at temperature T and q the
/// student's:
///
///     T² Σ p (log p − log q)
///
/// The factor T² keeps the size of the gradient, about (q − p) · T for each logit, alike when T changes. Computed in
/// float32 and log space, also under mixed precision. No gradient goes to the teacher. Logits must be finite.
///
/// - Parameters:
///   - studentLogits: `[..., C]`
///   - teacherLogits: of the same shape
///   - temperature: T, positive; on both sides
///
/// ## Reference
/// Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network. 2015, section 2.
public func softTargetLoss(studentLogits: Tensor, teacherLogits: Tensor, temperature: Double) throws -> LossSum {
  try requireSameShape("softTargetLoss", studentLogits, teacherLogits, "logits of student and teacher")
  try requireTemperature(temperature)
  if studentLogits.hasFusedLosses, teacherLogits.hasFusedLosses {
    let sum = try studentLogits.asLoss {
      try $0.softTargetSum(teacher: teacherLogits.precise(), temperature: temperature)
    }
    return LossSum(sum: sum, count: studentLogits.rowCount)
  }
  return try softTargetLoss(
    studentLogits: studentLogits, logSoftTargets: try logSoftTargets(teacherLogits, temperature: temperature),
    temperature: temperature)
}

/// T² · KL(p ‖ q), where log p is given: for an ensemble whose probabilities were averaged, or targets computed before.
///
/// - Parameters:
///   - studentLogits: `[..., C]`
///   - logSoftTargets: log p, of the same shape, at the very temperature `temperature`
///   - temperature: T, positive
public func softTargetLoss(studentLogits: Tensor, logSoftTargets: Tensor, temperature: Double) throws -> LossSum {
  try requireSameShape("softTargetLoss", studentLogits, logSoftTargets, "the student's logits and the soft targets")
  try requireTemperature(temperature)
  let sum = try studentLogits.asLoss { logits in
    let student = try softened(logits, temperature).logSoftmax()
    let divergence = try student.klDivergenceSum(logTargets: logSoftTargets.detached().precise())
    return temperature == 1 ? divergence : try divergence * (temperature * temperature)
  }
  return LossSum(sum: sum, count: studentLogits.rowCount)
}

/// log softmax(z / T) of a teacher's logits `[..., C]`, without history, in float32.
public func logSoftTargets(_ teacherLogits: Tensor, temperature: Double) throws -> Tensor {
  try requireTemperature(temperature)
  return try withoutGradient { try teacherLogits.asLoss { try softened($0, temperature).logSoftmax() } }
}

private func softened(_ logits: Tensor, _ temperature: Double) throws -> Tensor {
  temperature == 1 ? logits : try logits / temperature
}

private func requireTemperature(_ temperature: Double) throws {
  guard temperature > 0, temperature.isFinite else {
    throw TorchError(operation: "soft targets", message: "the temperature must be positive, not \(temperature)")
  }
}
