import Foundation

/// Whether two models that were asked the same examples are right equally often.
///
/// Only the examples count that one of them got right and the other wrong. Where both are alike, these are as likely to
/// be the one's as the other's: of b + c such examples, b is binomial with probability ½.
///
/// The test is over the examples of one test split, with the models as they are. It says nothing of what another training
/// of the same recipe would have given; for that, train several seeds.
///
/// ## Reference
/// McNemar: Note on the sampling error of the difference between correlated proportions or percentages. Psychometrika,
/// 1947. The mid-p: Fagerland, Lydersen, Laake: The McNemar test for binary matched-pairs data. BMC Medical Research
/// Methodology, 2013.
public struct McNemarTest: Codable, Sendable, Equatable {
  public enum Method: String, Codable, Sendable {
    /// The binomial distribution.
    case exact
    /// (|b − c| − 1)² / (b + c) by χ² with one degree of freedom.
    case chiSquare
  }

  /// Examples that only the first model got right.
  public var onlyFirst: Int
  /// Examples that only the second model got right.
  public var onlySecond: Int
  /// Two-sided.
  public var p: Double
  /// Two-sided; the exact p with half of the probability of what was seen, which makes it less timid. Nil where p is by χ².
  public var midP: Double?
  public var method: Method

  /// Up to so many examples on which the two differ, p is exact.
  public static let mostExact = 1_000

  public init(onlyFirst: Int, onlySecond: Int) {
    self.onlyFirst = onlyFirst
    self.onlySecond = onlySecond
    let count = onlyFirst + onlySecond
    guard count <= Self.mostExact else {
      method = .chiSquare
      let distance = Double(max(0, abs(onlyFirst - onlySecond) - 1))
      p = Foundation.erfc((distance * distance / Double(count) / 2).squareRoot())
      return
    }
    method = .exact
    let (cumulative, last) = Self.fairBinomial(upTo: min(onlyFirst, onlySecond), of: count)
    p = min(1, 2 * cumulative)
    midP = min(1, 2 * cumulative - last)
  }

  /// - Parameters:
  ///   - first: for each example, whether the first model got it right
  ///   - second: the same of the second model, in the same order
  public init(_ first: [Bool], _ second: [Bool]) {
    let pairs = zip(first, second)
    self.init(onlyFirst: pairs.count { $0 && !$1 }, onlySecond: pairs.count { !$0 && $1 })
  }

  /// The probability of at most k, and of k itself, in n throws of a fair coin.
  private static func fairBinomial(upTo successes: Int, of count: Int) -> (cumulative: Double, last: Double) {
    var logarithm = -Double(count) * Foundation.log(2)
    var term = Foundation.exp(logarithm)
    var sum = term
    for index in 0..<max(0, successes) {
      logarithm += Foundation.log(Double(count - index)) - Foundation.log(Double(index + 1))
      term = Foundation.exp(logarithm)
      sum += term
    }
    return (sum, term)
  }
}
