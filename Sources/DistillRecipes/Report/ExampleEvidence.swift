import Distillation

/// What the test examples tell of two ways of training where the seeds tell nothing, since all of them differ by exactly the
/// same. It is about the models at hand: what another training would have given, only seeds can show.
public struct ExampleEvidence: Codable, Sendable, Hashable {
  /// The p of McNemar's test; of several seeds the largest.
  public var p: Double
  /// 95 %, seeds and test examples drawn anew.
  public var low: Double?
  public var high: Double?

  /// - Parameters:
  ///   - first: for each seed and each test example, whether the one was right
  ///   - second: the same of the other, in the same order
  init?(_ first: [[Bool]], _ second: [[Bool]]) {
    let tests = zip(first, second).map { McNemarTest($0, $1) }
    guard let p = tests.map(\.p).max() else { return nil }
    self.p = p
    let interval = BootstrapInterval(
      seedsAndExamples: zip(first, second).map { zip($0, $1).map { ($0 ? 1 : 0) - ($1 ? 1 : 0) } })
    (low, high) = (interval?.low, interval?.high)
  }

  /// Why a conclusion cannot rest on the seeds.
  static let reason = "all seeds differ by exactly the same, so that their spread tells nothing"

  /// What it rests on instead: `by the test examples p = 0.012 (McNemar), 95 % interval +1.2 to +3.4`.
  func words(_ metric: ComparisonMetric) -> String {
    let interval = low.flatMap { low in
      high.map { ", 95 % interval over seeds and examples \(metric.signed(low)) to \(metric.signed($0))" }
    }
    return "by the test examples \(Quantity.p(p)) (McNemar)\(interval ?? "")"
  }
}
