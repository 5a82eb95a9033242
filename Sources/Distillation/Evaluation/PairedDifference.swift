import Foundation

/// The mean of the differences between pairs, with the interval in which the true mean lies with 95 % confidence:
/// mean ± t(0.975, n − 1) · s / √n, by Student's t distribution.
public struct PairedDifference: Codable, Sendable, Equatable {
  public var mean: Double
  /// The ends of the interval; nil with fewer than two pairs, and where all differ by exactly the same, when nothing can be
  /// said of it.
  public var low: Double?
  public var high: Double?
  public var count: Int

  /// Whether there are several differences, all of them the same: their spread, and so the interval, was not measured.
  public var isWithoutSpread: Bool { count >= 2 && low == nil && mean.isFinite }

  /// - Parameter differences: one for each pair, such as the seeds of a comparison
  public init(_ differences: [Double]) {
    count = differences.count
    mean = differences.isEmpty ? .nan : differences.reduce(0, +) / Double(count)
    guard let spread = measuredSpread(differences) else { return }
    let half = studentQuantile(0.975, degreesOfFreedom: count - 1) * spread / Double(count).squareRoot()
    low = mean - half
    high = mean + half
  }
}

/// The sample standard deviation, with n − 1; nil for fewer than two values.
public func standardDeviation(_ values: [Double]) -> Double? {
  guard values.count >= 2 else { return nil }
  let mean = values.reduce(0, +) / Double(values.count)
  let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
  return (squares / Double(values.count - 1)).squareRoot()
}

/// The sample standard deviation of differences; nil for fewer than two, and where all are the same but for rounding. Two
/// seeds that happen to differ by as many of 360 examples do not show that all seeds would: such a spread was not measured.
public func measuredSpread(_ differences: [Double]) -> Double? {
  guard let spread = standardDeviation(differences),
    // Scores are rounded by about 1e-16 of their size.
    spread > 1e-12 * max(1, differences.map(abs).max() ?? 0)
  else { return nil }
  return spread
}

/// The number below which Student's t lies with the given probability, found by bisection.
func studentQuantile(_ probability: Double, degreesOfFreedom: Int) -> Double {
  var low = -1e6
  var high = 1e6
  for _ in 0..<200 {
    let middle = (low + high) / 2
    if studentDistribution(middle, degreesOfFreedom: degreesOfFreedom) < probability {
      low = middle
    } else {
      high = middle
    }
  }
  return (low + high) / 2
}

/// The probability that Student's t is at most `value`, by the closed sums for whole degrees of freedom.
///
/// ## Reference
/// Abramowitz, Stegun: Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
func studentDistribution(_ value: Double, degreesOfFreedom: Int) -> Double {
  let angle = Foundation.atan(value / Double(degreesOfFreedom).squareRoot())
  let sine = Foundation.sin(angle)
  let squaredCosine = Foundation.cos(angle) * Foundation.cos(angle)
  var sum = 0.0
  if degreesOfFreedom % 2 == 1 {
    var term = Foundation.cos(angle)
    for index in stride(from: 1, to: degreesOfFreedom - 1, by: 2) {
      sum += term
      term *= squaredCosine * Double(index + 1) / Double(index + 2)
    }
    return 0.5 + (angle + sine * sum) / .pi
  }
  var term = 1.0
  for index in stride(from: 0, to: degreesOfFreedom - 1, by: 2) {
    sum += term
    term *= squaredCosine * Double(index + 1) / Double(index + 2)
  }
  return 0.5 + sine * sum / 2
}
