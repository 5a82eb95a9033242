import Torch

/// The interval in which 95 % of the means lie that other draws of the same pairs would have given: pairs are drawn with
/// replacement from those at hand, again and again, and the interval reaches from the 2.5th to the 97.5th percentile of
/// the means.
///
/// It assumes no distribution, but knows nothing beyond the pairs that it draws from: of three seeds it is too narrow. The
/// interval of `PairedDifference`, by Student's t, is the one to conclude by when seeds are few.
///
/// ## Reference
/// Efron, Tibshirani: An Introduction to the Bootstrap. 1993, chapter 13.
public struct BootstrapInterval: Codable, Sendable, Equatable {
  public var low: Double
  public var high: Double
  /// The draws that were looked at.
  public var draws: Int
  /// Whether these are all that there are.
  public var isExact: Bool

  /// Up to so many values, all nⁿ ways to draw n of them are looked at.
  public static let mostValuesEnumerated = 6

  /// Over values, such as the differences of the seeds.
  ///
  /// - Parameters:
  ///   - draws: so many are made where there are too many values for all
  ///   - seed: of these draws
  public init?(_ values: [Double], draws: Int = 10_000, seed: UInt64 = 0) {
    guard values.count >= 2, values.allSatisfy(\.isFinite) else { return nil }
    let count = values.count
    var means: [Double] = []
    if count <= Self.mostValuesEnumerated {
      let all = (0..<count).reduce(1) { product, _ in product * count }
      means.reserveCapacity(all)
      for number in 0..<all {
        var rest = number
        var sum = 0.0
        for _ in 0..<count {
          sum += values[rest % count]
          rest /= count
        }
        means.append(sum / Double(count))
      }
      isExact = true
    } else {
      var source = RandomSource(seed: seed, "bootstrap")
      means.reserveCapacity(draws)
      for _ in 0..<draws {
        var sum = 0.0
        for _ in 0..<count { sum += values[Int(source.next(upperBound: UInt64(count)))] }
        means.append(sum / Double(count))
      }
      isExact = false
    }
    self.draws = means.count
    (low, high) = Self.middle(of: means)
  }

  /// Over seeds and examples at once: both are drawn anew each time, the examples once for all seeds, since every seed's
  /// models were asked the same ones. So it tells how far the mean may lie from that over all seeds and over all examples
  /// of the kind.
  ///
  /// ## Reference
  /// Owen: The pigeonhole bootstrap. Annals of Applied Statistics, 2007.
  ///
  /// - Parameter differences: for each seed, the difference on each example
  public init?(seedsAndExamples differences: [[Double]], draws: Int = 2_000, seed: UInt64 = 0) {
    let seeds = differences.count
    guard let examples = differences.first?.count, examples > 0, seeds >= 2,
      differences.allSatisfy({ $0.count == examples && $0.allSatisfy(\.isFinite) })
    else { return nil }
    var source = RandomSource(seed: seed, "bootstrap over seeds and examples")
    // Example by example, so that a draw looks at one place of memory.
    let byExample = (0..<examples).flatMap { example in differences.map { $0[example] } }
    var means: [Double] = []
    means.reserveCapacity(draws)
    var sums = [Double](repeating: 0, count: seeds)
    for _ in 0..<draws {
      for index in 0..<seeds { sums[index] = 0 }
      byExample.withUnsafeBufferPointer { values in
        for _ in 0..<examples {
          let start = Int(source.next(upperBound: UInt64(examples))) * seeds
          for index in 0..<seeds { sums[index] += values[start + index] }
        }
      }
      var sum = 0.0
      for _ in 0..<seeds { sum += sums[Int(source.next(upperBound: UInt64(seeds)))] }
      means.append(sum / Double(seeds) / Double(examples))
    }
    self.draws = draws
    isExact = false
    (low, high) = Self.middle(of: means)
  }

  private static func middle(of means: [Double]) -> (Double, Double) {
    let sorted = means.sorted()
    return (percentile(0.025, of: sorted), percentile(0.975, of: sorted))
  }

  /// Between two of the sorted values by a straight line.
  private static func percentile(_ share: Double, of sorted: [Double]) -> Double {
    let place = share * Double(sorted.count - 1)
    let below = Int(place)
    let above = min(below + 1, sorted.count - 1)
    return sorted[below] + (sorted[above] - sorted[below]) * (place - Double(below))
  }
}
