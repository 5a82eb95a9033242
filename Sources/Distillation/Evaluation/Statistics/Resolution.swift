import Foundation

/// What so many pairs can show, given how much their differences vary.
///
/// A difference is said to be resolved by n pairs when the paired t-test at the 5 % level finds it in four of five
/// comparisons like this one. That takes about
///
///     (t(0.975, n − 1) + t(0.8, n − 1)) · s / √n
///
/// with the standard deviation s of the differences. Among m comparisons the level is 0.05 / m, which is the strictest
/// that Holm's correction may want of one: 0.975 becomes 1 − 0.025 / m. It is an estimate, and with few pairs a rough one,
/// since s itself is known only roughly then.
public struct Resolution: Codable, Sendable, Equatable {
  /// The standard deviation of the differences.
  public var deviation: Double
  /// The pairs that it was found from.
  public var pairs: Int
  /// How many comparisons are made, this one among them.
  public var comparisons: Int

  /// The part of the comparisons in which the difference is to be found.
  public static let power = 0.8
  /// The part of the comparisons of like things in which one is found all the same.
  public static let level = 0.05
  /// More pairs than this are not thought of.
  public static let mostPairs = 1_000

  /// Nil for fewer than two differences, and where all are the same.
  public init?(_ differences: [Double], among comparisons: Int = 1) {
    guard let deviation = measuredSpread(differences), deviation.isFinite else { return nil }
    self.deviation = deviation
    pairs = differences.count
    self.comparisons = max(1, comparisons)
  }

  public init(deviation: Double, pairs: Int, among comparisons: Int = 1) {
    self.deviation = deviation
    self.pairs = pairs
    self.comparisons = max(1, comparisons)
  }

  /// The smallest difference that the pairs at hand resolve.
  public var smallestDifference: Double { factor(pairs) * deviation }

  /// The smallest difference that so many pairs would resolve; nil for fewer than two.
  public func smallestDifference(pairs: Int) -> Double? { pairs < 2 ? nil : factor(pairs) * deviation }

  /// How many pairs would resolve a difference; nil where it takes more than `mostPairs`.
  public func pairs(toResolve difference: Double) -> Int? {
    let size = abs(difference)
    guard size.isFinite, size > 0 else { return nil }
    guard factor(Self.mostPairs) * deviation <= size else { return nil }
    // More pairs always resolve less.
    var (low, high) = (2, Self.mostPairs)
    while low < high {
      let middle = (low + high) / 2
      if factor(middle) * deviation <= size { high = middle } else { low = middle + 1 }
    }
    return low
  }

  /// The difference that is resolved, in standard deviations.
  private func factor(_ pairs: Int) -> Double {
    let freedom = pairs - 1
    let level = Self.level / Double(comparisons)
    return
      (studentQuantile(1 - level / 2, degreesOfFreedom: freedom)
      + studentQuantile(Self.power, degreesOfFreedom: freedom)) / Double(pairs).squareRoot()
  }
}

/// The two-sided p of the paired t-test: how often the mean of as many differences, drawn from a normal distribution
/// around zero, is as far from it. Nil for fewer than two differences, and where all are the same: a spread that was not
/// measured tells nothing of how likely a difference is.
///
/// It is below 0.05 exactly where the interval of `PairedDifference` does not hold zero.
public func pairedTTest(_ differences: [Double]) -> Double? {
  guard let spread = measuredSpread(differences), spread.isFinite else { return nil }
  let mean = differences.reduce(0, +) / Double(differences.count)
  let value = mean / (spread / Double(differences.count).squareRoot())
  return min(1, 2 * studentDistribution(-abs(value), degreesOfFreedom: differences.count - 1))
}

/// The p of several tests, made larger so that the chance of one or more false findings among all of them stays below the
/// level that each is held against. In the order in which they came.
///
/// ## Reference
/// Holm: A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics, 1979.
public func holmCorrected(_ values: [Double]) -> [Double] {
  var corrected = values
  var largest = 0.0
  for (rank, index) in values.indices.sorted(by: { values[$0] < values[$1] }).enumerated() {
    largest = max(largest, min(1, Double(values.count - rank) * values[index]))
    corrected[index] = largest
  }
  return corrected
}
