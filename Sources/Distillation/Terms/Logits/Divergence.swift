import Foundation
import Torch
import TorchNN

/// How far a student's distribution q is from its target p.
///
/// - `forward`: KL(p ‖ q) = Σ p (log p − log q). It asks for probability wherever the target has some.
/// - `reverse`: KL(q ‖ p) = Σ q (log q − log p). It asks for none where the target has none, and lets a small student
///   keep to the likeliest classes.
/// - `jensenShannon`: β KL(p ‖ m) + (1 − β) KL(q ‖ m) with m = β p + (1 − β) q, for β between 0 and 1. Divided by β it
///   becomes the forward divergence as β goes to 0, and divided by 1 − β the reverse one as β goes to 1.
/// - `totalVariation`: ½ Σ |p − q|.
///
/// ## Reference
/// Agarwal, Vieillard, Zhou, Stanczyk, Ramos, Geist, Bachem: On-Policy Distillation of Language Models: Learning from
/// Self-Generated Mistakes (GKD). 2023, arXiv:2306.13649.
public enum Divergence: String, Sendable, Codable, CaseIterable {
  case forward
  case reverse
  case jensenShannon = "jensen_shannon"
  case totalVariation = "total_variation"

  /// The divergence of each row, `[...]`.
  ///
  /// - Parameters:
  ///   - logTargets: log p, `[..., C]`, finite
  ///   - logStudent: log q, of the same shape
  ///   - beta: β of the Jensen-Shannon divergence, the share of the target in m
  func ofRows(logTargets: Tensor, logStudent: Tensor, beta: Double) throws -> Tensor {
    switch self {
    case .forward:
      return try (logTargets.exponential() * (logTargets - logStudent)).sum(along: -1)
    case .reverse:
      return try (logStudent.exponential() * (logStudent - logTargets)).sum(along: -1)
    case .jensenShannon:
      let mixture = try (logTargets + log(beta)).logAddExp(logStudent + log(1 - beta))
      let ofTarget = try (logTargets.exponential() * (logTargets - mixture)).sum(along: -1)
      let ofStudent = try (logStudent.exponential() * (logStudent - mixture)).sum(along: -1)
      return try ofTarget * beta + ofStudent * (1 - beta)
    case .totalVariation:
      return try (logTargets.exponential() - logStudent.exponential()).absolute().sum(along: -1) * 0.5
    }
  }
}

/// T² times a divergence of the student's softened distribution from its targets, for each row: `[...]`.
///
/// With q = softmax(z / T), and p given. T² keeps the size of the gradient alike at all temperatures for `forward` (exact
/// in the sense of the paper: T (q − p)), `reverse` and `jensenShannon`: all three are of second order in p − q, which
/// shrinks as 1 / T, so that T² D goes to a fixed limit as T grows, Σ (z − v)² / 2C with zero-mean logits, and β (1 − β)
/// times that for `jensenShannon`. `totalVariation` is of first order: with T² it grows as T, and its weight should be
/// divided by T to compare it with others.
///
/// Computed in float32 and log space, also under mixed precision. No gradient goes to the targets.
///
/// - Parameters:
///   - studentLogits: z, `[..., C]`
///   - logSoftTargets: log p, of the same shape, finite, at the very temperature `temperature`
///   - temperature: T, positive
///   - divergence: which one
///   - beta: β of `jensenShannon`, between 0 and 1; the others have none
public func softTargetRows(
  studentLogits: Tensor, logSoftTargets: Tensor, temperature: Double, divergence: Divergence = .forward,
  beta: Double = 0.5
) throws -> Tensor {
  try requireSameShape("softTargetRows", studentLogits, logSoftTargets, "the student's logits and the soft targets")
  try requireTemperature("softTargetRows", temperature)
  try requireBeta("softTargetRows", beta, of: divergence)
  return try studentLogits.asLoss { logits in
    try divergence.ofRows(
      logTargets: logSoftTargets.detached().precise(), logStudent: (logits / temperature).logSoftmax(), beta: beta)
      * (temperature * temperature)
  }
}

/// The sum of `softTargetRows` over the rows: soft targets with another divergence than the usual one.
public func softTargetLoss(
  studentLogits: Tensor, logSoftTargets: Tensor, temperature: Double, divergence: Divergence, beta: Double = 0.5
) throws -> LossSum {
  if divergence == .forward {
    return try softTargetLoss(studentLogits: studentLogits, logSoftTargets: logSoftTargets, temperature: temperature)
  }
  let rows = try softTargetRows(
    studentLogits: studentLogits, logSoftTargets: logSoftTargets, temperature: temperature, divergence: divergence,
    beta: beta)
  return LossSum(sum: try rows.sum(), count: studentLogits.rowCount)
}

private func requireBeta(_ loss: String, _ beta: Double, of divergence: Divergence) throws {
  guard divergence != .jensenShannon || (beta > 0 && beta < 1) else {
    throw TorchError(operation: loss, message: "beta must be above 0 and below 1, not \(beta)")
  }
}
