import Distillation
import Foundation

/// What a comparison found: the file `metrics.json` of its folder, and all that its report shows.
///
/// Shares and their differences are fractions (0.003 is 0.3 points), times are seconds. A difference is the score of the
/// arm minus that of its baseline with the same seed.
public struct ComparisonData: Codable, Sendable {
  /// The version of this layout.
  public var schema = 1
  public var title: String
  public var date: Date
  /// What the conclusion is about.
  public var metric: ComparisonMetric
  /// What may be concluded, in one sentence.
  public var conclusion: String
  /// What may not.
  public var caveats: [String]
  /// What has to be known before any number is read, such as that the budgets differ.
  public var warnings: [String]
  public var data: DataFigures
  public var teachers: [Teacher]
  public var arms: [Arm]
  /// Every model's score against what it costs, by cost: the figures with the frontier.
  public var costs: [String: [CostPoint]]
  public var pairs: [Pair]
  /// The arm that the validation split would choose: by the loss where the metric is the negative log-likelihood, otherwise
  /// by the accuracy.
  public var chosen: Choice?
  public var testLooks: TestLooks

  /// The data that all arms share.
  public struct DataFigures: Codable, Sendable {
    public var name: String
    public var classNames: [String]
    public var trainingExamples: Int
    public var validationExamples: Int
    public var testExamples: Int
    public var trainingHash: String
    public var testHash: String
  }

  public struct Teacher: Codable, Sendable {
    public var name: String
    public var accuracy: Double?
    public var figures: MetricsFile.Figures
  }

  /// One way of training, with its seeds.
  public struct Arm: Codable, Sendable {
    public var name: String
    /// Trained on the labels alone, or taught.
    public var isAlone: Bool
    /// The folder of the run that it is from.
    public var run: String
    /// Steps, and examples shown, in all of a training.
    public var steps: Int
    public var examplesShown: Int
    public var figures: MetricsFile.Figures
    public var seeds: [Seed]
    /// Mean and standard deviation over the seeds, by metric.
    public var scores: [String: ReportData.Spread]
    /// On the validation split.
    public var validationAccuracy: ReportData.Spread?
    /// The part of each class that is recognized; the mean over the seeds.
    public var recalls: [Double]
    public var reliability: [Metrics.ReliabilityBin]
    /// Validation accuracy over epochs: mean, lowest and highest seed.
    public var curve: [CurvePoint]

    public func score(_ metric: ComparisonMetric) -> ReportData.Spread? { scores[metric.rawValue] }
  }

  public struct Seed: Codable, Sendable {
    public var seed: Int
    /// On the test split, by metric.
    public var scores: [String: Double]
    public var validationAccuracy: Double?
    /// Of the training examples whose labels it was shown.
    public var trainingAccuracy: Double?
    /// A hash of all that the training depended on.
    public var identity: String
  }

  public struct CurvePoint: Codable, Sendable {
    public var epoch: Double
    public var mean: Double
    public var low: Double
    public var high: Double
  }

  /// An arm against its baseline.
  public struct Pair: Codable, Sendable {
    public var arm: String
    public var baseline: String
    /// The seeds that both have.
    public var seeds: [Int]
    public var verdict: Verdict
    /// What may be concluded of this pair.
    public var sentence: String
    /// By metric.
    public var differences: [String: Difference]
    /// The p of the paired t-test of the metric that was asked for, corrected for all pairs by Holm's method.
    public var correctedP: Double?
    /// Where all seeds differ by exactly the same: what the test examples tell instead. Of the accuracy only.
    public var evidence: ExampleEvidence?
    /// What the seeds resolve, of the metric that was asked for.
    public var smallestDifference: Double?
    /// How many seeds would resolve a difference of the size that was seen; nil: more than a thousand.
    public var seedsNeeded: Int?
    /// For each seed, over the test examples; whatever the metric is, it is about being right.
    public var mcnemar: [SeedTest]
    /// Over the examples of all seeds together. The seeds share the examples, so it takes them for more than they are.
    public var pooledMcnemar: McNemarTest?
    /// The share of test examples for which both name the same class; the mean over the seeds.
    public var agreement: Double?
    public var classes: [ClassDifference]

    public func difference(_ metric: ComparisonMetric) -> Difference? { differences[metric.rawValue] }
  }

  public enum Verdict: String, Codable, Sendable {
    case better, worse, unclear
    /// There is one seed.
    case tooFewSeeds = "too_few_seeds"
    /// All seeds differ by exactly the same, and nothing else tells whether that is luck.
    case notMeasured = "not_measured"
  }

  public struct Difference: Codable, Sendable {
    /// In the order of the pair's seeds.
    public var bySeed: [Double]
    public var mean: Double
    /// 95 %, by Student's t.
    public var low: Double?
    public var high: Double?
    /// 95 %, seeds drawn anew.
    public var overSeeds: BootstrapInterval?
    /// 95 %, seeds and test examples drawn anew; nil where the metric is no mean over examples.
    public var overSeedsAndExamples: BootstrapInterval?
    /// Of the paired t-test.
    public var p: Double?
    public var permutation: PermutationTest?

    init(_ differences: [Double], byExample: [[Double]]? = nil) {
      let interval = PairedDifference(differences)
      bySeed = differences
      (mean, low, high) = (interval.mean, interval.low, interval.high)
      overSeeds = interval.isWithoutSpread ? nil : BootstrapInterval(differences)
      overSeedsAndExamples = byExample.flatMap { BootstrapInterval(seedsAndExamples: $0) }
      p = pairedTTest(differences)
      permutation = differences.count < 2 ? nil : PermutationTest(differences)
    }

    /// Whether there are several seeds, and all differ by exactly the same.
    var isWithoutSpread: Bool { PairedDifference(bySeed).isWithoutSpread }

    var interval: ReportData.Interval { ReportData.Interval(mean: mean, low: low ?? .nan, high: high ?? .nan) }
  }

  public struct SeedTest: Codable, Sendable {
    public var seed: Int
    public var test: McNemarTest
  }

  /// How much better a class is recognized.
  public struct ClassDifference: Codable, Sendable {
    public var name: String
    public var arm: Double
    public var baseline: Double
    public var mean: Double
    public var low: Double?
    public var high: Double?
  }

  public struct Choice: Codable, Sendable {
    public var arm: String
    public var validationAccuracy: Double
    /// The mean negative log-likelihood there, where it is chosen by that.
    public var validationLoss: Double?

    /// What it was chosen by: `its accuracy on the validation split (93.52 %)`.
    public var reason: String {
      if let validationLoss {
        return "its negative log-likelihood on the validation split (\(Quantity.number(validationLoss, decimals: 4)))"
      }
      return "its accuracy on the validation split (\(Quantity.percent(validationAccuracy)))"
    }
  }

  /// How often the test split has been used in this comparison.
  public struct TestLooks: Codable, Sendable, Equatable {
    /// The trained students that were scored on it.
    public var students: Int
    /// The times that its scores were shown.
    public var reports: Int
  }

  /// The file's contents: indented, keys sorted.
  public func encoded() throws -> Data { try ResultJSON.encode(self) }

  func costs(_ cost: ComparisonCost) -> [CostPoint] { costs[cost.rawValue] ?? [] }

  func arm(_ name: String) -> Arm? { arms.first { $0.name == name } }
}
