import Distillation

/// What a setting says, in words: the headline of the report, and the sentence below each comparison.
public struct Verdict: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    /// The interval lies above zero.
    case helped
    /// The interval lies below zero.
    case hurt
    /// The interval holds zero.
    case unclear
    /// There is one seed.
    case tooFewSeeds
    /// All seeds gain exactly the same, and nothing else tells whether that is luck.
    case notMeasured
    /// There is no student alone beside a distilled one.
    case notCompared
  }

  public let kind: Kind
  /// With ends that are NaN where there are too few seeds; nil where nothing was compared.
  public let gain: ReportData.Interval?
  public let seedCount: Int
  /// Whether all seeds gain exactly the same, and what the test examples tell then.
  private let isWithoutSpread: Bool
  private let evidence: ExampleEvidence?

  /// "Distillation helped".
  public var statement: String {
    switch kind {
    case .helped: "Distillation helped"
    case .hurt: "Distillation hurt"
    case .unclear: "No clear difference"
    case .tooFewSeeds: "Too few seeds for a verdict"
    case .notMeasured: "No verdict"
    case .notCompared: "Nothing was compared"
    }
  }

  /// "Distillation helped: +8.31 points, 95 % interval +7.92 to +8.70, 3 seeds."
  public var sentence: String {
    func points(_ difference: Double) -> String { Quantity.points(difference, decimals: 2) }
    guard let gain else { return "\(statement), so nothing can be said of what distillation brought." }
    guard kind != .tooFewSeeds else {
      return "\(statement): the difference was \(points(gain.mean)) points. Use three seeds or more."
    }
    if isWithoutSpread {
      let seen = "\(points(gain.mean)) points with each of \(counted(seedCount, "seed"))"
      guard let evidence else { return "\(statement): \(seen); \(ExampleEvidence.reason). Use more seeds." }
      return "\(statement): \(seen); \(ExampleEvidence.reason); \(evidence.words(.accuracy)). "
        + "That is about these models; use more seeds."
    }
    return "\(statement): \(points(gain.mean)) points, 95 % interval \(points(gain.low)) to \(points(gain.high)), "
      + "\(counted(seedCount, "seed"))."
  }

  public init(_ setting: ReportData.Setting?) {
    let primary = setting?.primary
    seedCount = primary?.seeds.count ?? 0
    let interval = primary.flatMap { setting?.gain(of: $0) }
    gain = interval.flatMap { $0.mean.isFinite ? $0 : nil }
    evidence = primary?.evidence
    let differences = zip(primary?.seeds ?? [], setting?.baseline?.seeds ?? []).map {
      $0.scores.accuracy - $1.scores.accuracy
    }
    isWithoutSpread = gain?.low.isFinite == false && PairedDifference(differences).isWithoutSpread
    kind =
      if let gain {
        if isWithoutSpread {
          if let evidence {
            evidence.p >= Resolution.level ? .unclear : gain.mean > 0 ? .helped : .hurt
          } else {
            abs(gain.mean) < 1e-12 ? .unclear : .notMeasured
          }
        } else if !gain.low.isFinite || !gain.high.isFinite {
          .tooFewSeeds
        } else if gain.low > 0 {
          .helped
        } else if gain.high < 0 {
          .hurt
        } else {
          .unclear
        }
      } else {
        .notCompared
      }
  }
}
