import Foundation
import Torch
import TorchNN

/// How near what a teacher says in a cheaper precision is to what it says in float32, for some examples.
public struct TeacherFidelity: Codable, Sendable, Equatable {
  /// KL(p ‖ q) over the examples, in nats, p being the exact soft targets at a temperature.
  public struct Divergence: Codable, Sendable, Equatable {
    public var temperature: Double
    public var mean: Double
    public var maximum: Double
  }

  /// Examples, or tokens of sequences.
  public var count: Int
  public var divergences: [Divergence]
  /// The share of them whose likeliest class is the same.
  public var topOneAgreement: Double

  /// - Parameters:
  ///   - exact: logits `[..., C]` in float32
  ///   - other: of the same shape
  ///   - temperatures: those of the terms that use them
  /// - Throws: `DistillationError` when the shapes differ, or there is nothing to compare.
  public init(exact: Tensor, other: Tensor, temperatures: [Double]) throws {
    guard exact.shape == other.shape, exact.rank > 1, exact.count > 0, !temperatures.isEmpty else {
      throw DistillationError("logits of shape \(exact.shape) cannot be compared with those of shape \(other.shape)")
    }
    let pair = try [exact, other].map { try $0.to(.cpu, dtype: .float64).reshaped([-1, $0.shape[$0.rank - 1]]) }
    count = pair[0].shape[0]
    divergences = try withoutGradient {
      try temperatures.map { temperature in
        let own = try (pair[0] * (1 / temperature)).logSoftmax()
        let others = try (pair[1] * (1 / temperature)).logSoftmax()
        // Rounding can leave a divergence of zero a little below. Numbers that are none count as infinitely far.
        let rows: [Double] = try (own.exponential() * (own - others)).sum(along: -1).array()
        let values = rows.map { $0.isNaN ? Double.greatestFiniteMagnitude : max(0, $0) }
        return Divergence(
          temperature: temperature, mean: values.reduce(0) { $0 + $1 / Double(values.count) },
          maximum: values.max() ?? 0)
      }
    }
    let winners: [[Int64]] = try pair.map { try $0.argumentOfMaximum(along: 1).array() }
    topOneAgreement = Double(zip(winners[0], winners[1]).count { $0 == $1 }) / Double(count)
  }

  /// Whether it says the same: see `TeacherPrecisionChoice`.
  public var isFaithful: Bool {
    worstMean <= TeacherPrecisionChoice.mostDivergence && topOneAgreement >= TeacherPrecisionChoice.leastAgreement
  }

  /// The largest mean over the temperatures.
  public var worstMean: Double { divergences.map(\.mean).max() ?? .infinity }
}
