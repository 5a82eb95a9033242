import Torch

/// How often chance alone would give differences whose mean is as far from zero as that of the pairs at hand.
///
/// Where two ways of training are alike, a pair's difference is as likely to have one sign as the other. So the signs are
/// flipped in all ways, and p is the share of them whose mean is at least as far from zero. Nothing is assumed of how the
/// differences are distributed.
///
/// With n pairs there are 2ⁿ ways, and no p is below 2 / 2ⁿ: five seeds cannot give less than 0.06, however large the
/// difference is. See `smallestP`.
///
/// ## Reference
/// Fisher: The Design of Experiments. 1935, chapter III.
public struct PermutationTest: Codable, Sendable, Equatable {
  /// Two-sided.
  public var p: Double
  /// The ways of flipping signs that were looked at.
  public var arrangements: Int
  /// Whether these are all that there are.
  public var isExact: Bool

  /// Up to so many pairs, all ways are looked at.
  public static let mostPairsEnumerated = 16

  /// - Parameters:
  ///   - differences: one for each pair
  ///   - draws: so many ways are drawn where there are too many pairs for all
  ///   - seed: of these draws
  public init?(_ differences: [Double], draws: Int = 100_000, seed: UInt64 = 0) {
    guard !differences.isEmpty, differences.allSatisfy(\.isFinite) else { return nil }
    let observed = abs(differences.reduce(0, +))
    // Sums in another order differ in their last digits.
    let least = observed - 1e-9 * differences.reduce(0) { $0 + abs($1) }
    func isAsFar(_ signs: UInt64) -> Bool {
      var sum = 0.0
      for (index, difference) in differences.enumerated() {
        sum += signs >> UInt64(index) & 1 == 0 ? difference : -difference
      }
      return abs(sum) >= least
    }
    if differences.count <= Self.mostPairsEnumerated {
      // With all signs turned round the mean is as far from zero: half of the ways tell all.
      let half = UInt64(1) << UInt64(differences.count - 1)
      arrangements = 1 << differences.count
      isExact = true
      p = Double((0..<half).count(where: isAsFar)) / Double(half)
      return
    }
    var source = RandomSource(seed: seed, "permutation")
    var count = 0
    for _ in 0..<draws {
      var sum = 0.0
      var signs: UInt64 = 0
      for (index, difference) in differences.enumerated() {
        if index.isMultiple(of: 64) { signs = source.next() }
        sum += signs & 1 == 0 ? difference : -difference
        signs >>= 1
      }
      if abs(sum) >= least { count += 1 }
    }
    arrangements = draws
    isExact = false
    // The signs as they are count as one of the draws, so that p is never 0.
    p = Double(count + 1) / Double(draws + 1)
  }

  /// The smallest p that so many pairs can give.
  public static func smallestP(pairs: Int) -> Double {
    pairs < 1 ? 1 : 2 / Double(sign: .plus, exponent: pairs, significand: 1)
  }

  /// How many pairs it takes until p can be below a level.
  public static func fewestPairs(below level: Double) -> Int {
    (1...1_000).first { smallestP(pairs: $0) < level } ?? 1_000
  }
}
