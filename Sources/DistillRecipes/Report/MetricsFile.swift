import Distillation
import Foundation

/// The file `metrics.json`: the numbers of a run for machines to read.
///
/// ```json
/// {
///   "schema": 1,
///   "title": "…", "date": "2026-01-31T12:00:00Z",
///   "setting": "few labels",
///   "teacher":   { "accuracy": 0.936, "nll": …, "ece": …, "parameters": …, "bytes": …, "multiply_adds": …, … },
///   "alone":     { "accuracy": 0.816, "accuracy_spread": 0.003, … },
///   "distilled": { "accuracy": 0.899, "accuracy_spread": 0.002, "agreement": …, … },
///   "gain":      { "mean": 0.083, "low": 0.079, "high": 0.087 },
///   "settings": [
///     { "name": "few labels", "description": "…", "conclusion": "…", "student": { "parameters": …, … },
///       "arms": [ { "name": "alone", "accuracy": …, "accuracy_spread": …, "gain": null,
///                   "seeds": [ { "seed": 1, "accuracy": …, "validation_accuracy": …, "seconds_per_step": …, … } ] } ],
///       "stages": [ { "name": "hints", "description": "…", "steps": 270, "validation_accuracy": … } ] }
///   ],
///   "figures": { "classes": [ … ], "settings": [ { "name": "few labels", "arms": [ { "curves": …, … } ] } ], … }
/// }
/// ```
///
/// Of texts, `token` is `byte` or `character`, accuracies are those of tokens, and scores have `bits_per_token` and
/// `perplexity` too. Stages are there where the recipe has some. All shares are fractions, times are seconds, `nll` and `kl` are in nats. `alone`, `distilled` and `gain` are those of
/// the first setting, whose name is in `setting`; `alone` and `gain` are absent where nothing was compared. A value that was not measured, or is not finite, is absent or null.
public struct MetricsFile: Codable, Sendable, Hashable {
  /// One model's results; means over the seeds where there are several.
  public struct Scores: Codable, Sendable, Hashable {
    public var accuracy: Double?
    /// The sample standard deviation of the accuracy over the seeds.
    public var accuracySpread: Double?
    public var topK: Int?
    public var topKAccuracy: Double?
    public var nll: Double?
    public var ece: Double?
    /// The share of examples on which the model predicts what the teacher predicts.
    public var agreement: Double?
    /// KL(teacher ‖ student) at temperature 1.
    public var kl: Double?
    /// Of texts: the negative log-likelihood of a token in bits.
    public var bitsPerToken: Double?
    /// Of texts: exp(nll).
    public var perplexity: Double?

    enum CodingKeys: String, CodingKey {
      case accuracy
      case accuracySpread = "accuracy_spread"
      case topK = "top_k"
      case topKAccuracy = "top_k_accuracy"
      case bitsPerToken = "bits_per_token"
      case nll, ece, agreement, kl, perplexity
    }
  }

  /// What a model weighs and costs.
  public struct Figures: Codable, Sendable, Hashable {
    public var architecture: String
    public var parameters: Int?
    public var bytes: Int?
    public var multiplyAdds: Int?
    public var latencySeconds: Double?
    public var imagesPerSecond: Double?

    enum CodingKeys: String, CodingKey {
      case architecture, parameters, bytes
      case multiplyAdds = "multiply_adds"
      case latencySeconds = "latency_seconds"
      case imagesPerSecond = "images_per_second"
    }
  }

  /// Scores and figures side by side in one object.
  public struct Model: Codable, Sendable, Hashable {
    public var scores: Scores
    public var figures: Figures
    /// Of an ensemble.
    public var disagreement: Disagreement?
    /// The classes of each specialist that teaches beside it.
    public var specialists: [[String]]?

    private enum CodingKeys: CodingKey { case disagreement, specialists }

    public init(from decoder: any Decoder) throws {
      scores = try Scores(from: decoder)
      figures = try Figures(from: decoder)
      disagreement = try decoder.container(keyedBy: CodingKeys.self).decodeIfPresent(
        Disagreement.self, forKey: .disagreement)
      specialists = try decoder.container(keyedBy: CodingKeys.self).decodeIfPresent(
        [[String]].self, forKey: .specialists)
    }

    init(
      scores: Scores, figures: Figures, disagreement: Disagreement? = nil, specialists: [[String]]? = nil
    ) {
      self.specialists = specialists
      self.scores = scores
      self.figures = figures
      self.disagreement = disagreement
    }

    public func encode(to encoder: any Encoder) throws {
      try scores.encode(to: encoder)
      try figures.encode(to: encoder)
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encodeIfPresent(disagreement, forKey: .disagreement)
      try container.encodeIfPresent(specialists, forKey: .specialists)
    }
  }

  /// How far the members of an ensemble differ.
  public struct Disagreement: Codable, Sendable, Hashable {
    public var jensenShannon: Double?
    /// The share of examples for which not all of them name the same class first.
    public var topOne: Double?
    public var examples: Int

    enum CodingKeys: String, CodingKey {
      case jensenShannon = "jensen_shannon"
      case topOne = "top_one"
      case examples
    }
  }

  /// A mean with its 95 % interval.
  public struct Gain: Codable, Sendable, Hashable {
    public var mean: Double?
    public var low: Double?
    public var high: Double?
  }

  /// The results of one training run; its scores are in the same object as its seed.
  public struct Seed: Codable, Sendable, Hashable {
    public var seed: UInt64
    /// On the test split.
    public var scores: Scores
    /// On the validation split, of the weights that were kept: what to choose by.
    public var validationAccuracy: Double?
    /// Of the training examples whose labels it was shown, at most 10,000 of them.
    public var trainingAccuracy: Double?
    public var secondsPerStep: Double?

    enum CodingKeys: String, CodingKey {
      case seed
      case validationAccuracy = "validation_accuracy"
      case trainingAccuracy = "training_accuracy"
      case secondsPerStep = "seconds_per_step"
    }

    public init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      seed = try container.decode(UInt64.self, forKey: .seed)
      validationAccuracy = try container.decodeIfPresent(Double.self, forKey: .validationAccuracy)
      trainingAccuracy = try container.decodeIfPresent(Double.self, forKey: .trainingAccuracy)
      secondsPerStep = try container.decodeIfPresent(Double.self, forKey: .secondsPerStep)
      scores = try Scores(from: decoder)
    }

    init(_ result: ReportData.SeedResult) {
      seed = result.seed
      scores = Scores(result.scores)
      validationAccuracy = result.validationAccuracy
      trainingAccuracy = result.trainingAccuracy
      secondsPerStep = result.secondsPerStep
    }

    public func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(seed, forKey: .seed)
      try container.encodeIfPresent(validationAccuracy, forKey: .validationAccuracy)
      try container.encodeIfPresent(trainingAccuracy, forKey: .trainingAccuracy)
      try container.encodeIfPresent(secondsPerStep, forKey: .secondsPerStep)
      try scores.encode(to: encoder)
    }
  }

  /// One way of training; the means of its scores are in the same object as its name.
  public struct Arm: Codable, Sendable, Hashable {
    public var name: String
    public var gain: Gain?
    public var seeds: [Seed]
    public var scores: Scores

    enum CodingKeys: CodingKey { case name, gain, seeds }

    public init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      name = try container.decode(String.self, forKey: .name)
      gain = try container.decodeIfPresent(Gain.self, forKey: .gain)
      seeds = try container.decode([Seed].self, forKey: .seeds)
      scores = try Scores(from: decoder)
    }

    init(name: String, gain: Gain?, seeds: [Seed], scores: Scores) {
      self.name = name
      self.gain = gain
      self.seeds = seeds
      self.scores = scores
    }

    public func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(name, forKey: .name)
      try container.encodeIfPresent(gain, forKey: .gain)
      try container.encode(seeds, forKey: .seeds)
      try scores.encode(to: encoder)
    }
  }

  public struct Setting: Codable, Sendable, Hashable {
    public var name: String
    public var description: String
    public var conclusion: String
    public var student: Figures
    public var arms: [Arm]
    /// Where there are any.
    public var stages: [Stage]?
  }

  /// A part of a distillation.
  public struct Stage: Codable, Sendable, Hashable {
    public var name: String
    public var description: String
    public var steps: Int
    public var validationAccuracy: Double?

    enum CodingKeys: String, CodingKey {
      case name, description, steps
      case validationAccuracy = "validation_accuracy"
    }
  }

  /// The version of this layout.
  public var schema = 1
  public var title: String
  public var date: Date
  /// The name of the setting that `alone`, `distilled` and `gain` belong to.
  public var setting: String?
  /// What was predicted where that is the tokens of a text: `byte` or `character`.
  public var token: String?
  public var teacher: Model?
  public var alone: Model?
  public var distilled: Model?
  public var gain: Gain?
  public var settings: [Setting]
  /// The numbers of the report's figures.
  public var figures: ReportFigures?
}

// MARK: - From a report's data

extension MetricsFile {
  public init(_ data: ReportData) {
    title = data.title
    date = data.date
    token = data.token
    teacher = data.teacher.map {
      Model(
        scores: Scores($0.scores), figures: Figures($0.figures),
        disagreement: $0.disagreement.map {
          Disagreement(jensenShannon: $0.jensenShannon.ifFinite, topOne: $0.topOne.ifFinite, examples: $0.count)
        }, specialists: $0.specialists.isEmpty ? nil : $0.specialists)
    }
    settings = data.settings.map(Setting.init)
    figures = ReportFigures(data)
    guard let first = data.settings.first else { return }
    setting = first.name
    let student = Figures(first.student)
    alone = first.baseline.map { Model(scores: Scores(mean: $0), figures: student) }
    distilled = first.primary.map { Model(scores: Scores(mean: $0), figures: student) }
    gain = first.gain.map(Gain.init)
  }

  /// The file's contents: indented, keys sorted.
  public func encoded() throws -> Data { try ResultJSON.pretty(self) }

  public init(decoding data: Data) throws { self = try ResultJSON.decode(data) }
}

extension MetricsFile.Scores {
  init(_ scores: ReportData.Scores) {
    accuracy = scores.accuracy.ifFinite
    topK = scores.topK
    topKAccuracy = scores.topKAccuracy?.ifFinite
    nll = scores.negativeLogLikelihood?.ifFinite
    ece = scores.calibrationError?.ifFinite
    agreement = scores.agreement?.ifFinite
    kl = scores.divergence?.ifFinite
    bitsPerToken = scores.bitsPerToken?.ifFinite
    perplexity = scores.perplexity?.ifFinite
  }

  /// The means over an arm's seeds.
  init(mean arm: ReportData.Arm) {
    let accuracies = arm.spread(\.accuracy)
    accuracy = accuracies?.mean.ifFinite
    accuracySpread = accuracies?.deviation?.ifFinite
    topK = arm.seeds.first?.scores.topK
    topKAccuracy = arm.spread(\.topKAccuracy)?.mean.ifFinite
    nll = arm.spread(\.negativeLogLikelihood)?.mean.ifFinite
    ece = arm.spread(\.calibrationError)?.mean.ifFinite
    agreement = arm.spread(\.agreement)?.mean.ifFinite
    kl = arm.spread(\.divergence)?.mean.ifFinite
    bitsPerToken = arm.spread(\.bitsPerToken)?.mean.ifFinite
    perplexity = arm.spread(\.perplexity)?.mean.ifFinite
  }
}

extension MetricsFile.Figures {
  init(_ figures: ReportData.Figures) {
    architecture = figures.architecture
    parameters = figures.parameters
    bytes = figures.bytes
    multiplyAdds = figures.multiplyAdds
    latencySeconds = figures.latencySeconds?.ifFinite
    imagesPerSecond = figures.imagesPerSecond?.ifFinite
  }
}

extension MetricsFile.Gain {
  init(_ interval: ReportData.Interval) {
    mean = interval.mean.ifFinite
    low = interval.low.ifFinite
    high = interval.high.ifFinite
  }
}

extension MetricsFile.Setting {
  init(_ setting: ReportData.Setting) {
    name = setting.name
    description = setting.description
    conclusion = setting.conclusion
    student = MetricsFile.Figures(setting.student)
    arms = setting.arms.map { arm in
      MetricsFile.Arm(
        name: arm.name, gain: arm.gain.map(MetricsFile.Gain.init),
        seeds: arm.seeds.map(MetricsFile.Seed.init),
        scores: MetricsFile.Scores(mean: arm))
    }
    stages =
      setting.stages.isEmpty
      ? nil
      : setting.stages.map {
        MetricsFile.Stage(
          name: $0.name, description: $0.description, steps: $0.steps,
          validationAccuracy: $0.validationAccuracy?.ifFinite)
      }
  }
}

extension ReportData.Arm {
  /// Mean and spread of a score over the seeds; `nil` where no seed has it.
  public func spread(_ score: (ReportData.Scores) -> Double?) -> ReportData.Spread? {
    ReportData.Spread(seeds.compactMap { score($0.scores) })
  }

  /// Mean and spread of the accuracy over the seeds.
  public var accuracy: ReportData.Spread? { spread(\.accuracy) }
}

extension Double {
  /// The number, or nothing where it is NaN or infinite.
  var ifFinite: Double? { isFinite ? self : nil }
}
