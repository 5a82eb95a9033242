import Distillation
import Foundation

/// Everything a report shows, as plain values: no tensors, no files, nothing that needs the engine.
///
/// Accuracies, errors, probabilities and gains are fractions (0.834 is 83.4 %), times are seconds, sizes are bytes.
/// A number that was not measured is `nil`; a number that went wrong may be NaN and is shown as a dash.
public struct ReportData: Codable, Sendable {
  public var title: String
  public var date: Date
  /// The recipe as it was resolved, in YAML.
  public var recipe: String
  /// Seed, versions, hashes, machine: in the order in which they should be read.
  public var manifest: [ManifestEntry]
  public var classNames: [String]
  public var teacher: Teacher?
  /// The comparisons; the first is the one the verdict and `metrics.json` speak of.
  public var settings: [Setting]
  /// What the teacher finds alike, at one temperature each, lowest temperature first.
  public var similarities: [Similarity]
  /// Pictures on which teacher and student differ, or which the distilled student alone got right.
  public var examples: [Example]
  /// What was predicted where that is the tokens of a text: `byte` or `character`.
  public var token: String?

  public init(
    title: String, date: Date = Date(), recipe: String = "", manifest: [ManifestEntry] = [],
    classNames: [String] = [], teacher: Teacher? = nil, settings: [Setting] = [], similarities: [Similarity] = [],
    examples: [Example] = [], token: String? = nil
  ) {
    self.token = token
    self.title = title
    self.date = date
    self.recipe = recipe
    self.manifest = manifest
    self.classNames = classNames
    self.teacher = teacher
    self.settings = settings
    self.similarities = similarities
    self.examples = examples
  }

  /// The name of a class, also of one that has none.
  public func className(_ index: Int) -> String {
    classNames.indices.contains(index) ? classNames[index] : "class \(index)"
  }
}

// MARK: - Who was compared

extension ReportData {
  /// One line of the manifest.
  public struct ManifestEntry: Codable, Sendable, Hashable {
    public var name: String
    public var value: String

    public init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  /// What a model weighs and what it costs to run.
  public struct Figures: Codable, Sendable, Hashable {
    public var architecture: String
    public var parameters: Int?
    /// Bytes of parameters and buffers.
    public var bytes: Int?
    /// Multiplications, each with its addition, for one input.
    public var multiplyAdds: Int?
    /// Seconds for one input alone.
    public var latencySeconds: Double?
    public var imagesPerSecond: Double?

    public init(
      architecture: String, parameters: Int? = nil, bytes: Int? = nil, multiplyAdds: Int? = nil,
      latencySeconds: Double? = nil, imagesPerSecond: Double? = nil
    ) {
      self.architecture = architecture
      self.parameters = parameters
      self.bytes = bytes
      self.multiplyAdds = multiplyAdds
      self.latencySeconds = latencySeconds
      self.imagesPerSecond = imagesPerSecond
    }
  }

  /// The results of one model on the test split.
  public struct Scores: Codable, Sendable, Hashable {
    public var accuracy: Double
    /// The share of examples whose label is among the `topK` most probable classes.
    public var topKAccuracy: Double?
    public var topK: Int?
    /// Mean negative log-likelihood of the labels, in nats.
    public var negativeLogLikelihood: Double?
    /// Expected calibration error.
    public var calibrationError: Double?
    /// The share of examples on which the model predicts what the teacher predicts.
    public var agreement: Double?
    /// KL(teacher ‖ student) at temperature 1, in nats.
    public var divergence: Double?
    /// Of texts: the negative log-likelihood of a token in bits.
    public var bitsPerToken: Double?
    /// Of texts: exp(negative log-likelihood).
    public var perplexity: Double?

    public init(
      accuracy: Double, topKAccuracy: Double? = nil, topK: Int? = nil, negativeLogLikelihood: Double? = nil,
      calibrationError: Double? = nil, agreement: Double? = nil, divergence: Double? = nil
    ) {
      self.accuracy = accuracy
      self.topKAccuracy = topKAccuracy
      self.topK = topK
      self.negativeLogLikelihood = negativeLogLikelihood
      self.calibrationError = calibrationError
      self.agreement = agreement
      self.divergence = divergence
    }
  }

  /// The teacher: what it is, what it costs and what it can do.
  public struct Teacher: Codable, Sendable {
    public var name: String
    public var figures: Figures
    public var scores: Scores
    /// Counts, `confusion[true class][predicted class]`; empty when not known.
    public var confusion: [[Int]]
    public var reliability: [Metrics.ReliabilityBin]
    /// Of an ensemble: how far its members differ about examples to choose by.
    public var disagreement: MemberDisagreement?
    /// The classes of each specialist that teaches beside it.
    public var specialists: [[String]]

    public init(
      name: String, figures: Figures, scores: Scores, confusion: [[Int]] = [],
      reliability: [Metrics.ReliabilityBin] = [], disagreement: MemberDisagreement? = nil, specialists: [[String]] = []
    ) {
      self.specialists = specialists
      self.disagreement = disagreement
      self.name = name
      self.figures = figures
      self.scores = scores
      self.confusion = confusion
      self.reliability = reliability
    }
  }

  /// One comparison: the same student, with the same budget and seeds, trained in two or more ways.
  public struct Setting: Codable, Sendable {
    public var name: String
    /// A sentence or two: who sees which data, and with which objective.
    public var description: String
    /// What may be concluded, in one sentence.
    public var conclusion: String
    public var student: Figures
    /// The student alone, where the run compares, and the students that were taught.
    public var arms: [Arm]
    /// What the distilled student went through, where that is more than one thing.
    public var stages: [Stage]

    public init(
      name: String, description: String = "", conclusion: String = "", student: Figures, arms: [Arm],
      stages: [Stage] = []
    ) {
      self.name = name
      self.description = description
      self.conclusion = conclusion
      self.student = student
      self.arms = arms
      self.stages = stages
    }

    /// The student that the gains are measured against; nil where nothing was compared.
    public var baseline: Arm? { arms.first { $0.kind == .alone } }
    /// The arm that the setting is about: the first of the distilled ones.
    public var primary: Arm? { primaryIndex.map { arms[$0] } }
    /// Its place in `arms`.
    var primaryIndex: Int? { arms.firstIndex { $0.kind == .distilled } }
    public var gain: Interval? { baseline == nil ? nil : primary?.gain }
  }

  /// A part of a distillation. Its student is one that a later stage goes on with or learns from, or the one that the
  /// setting is about.
  public struct Stage: Codable, Sendable, Hashable {
    public var name: String
    /// What was learnt, and from whom.
    public var description: String
    public var steps: Int
    /// On the validation split, of the weights that were kept; the mean over the seeds.
    public var validationAccuracy: Double?

    public init(name: String, description: String, steps: Int, validationAccuracy: Double? = nil) {
      self.name = name
      self.description = description
      self.steps = steps
      self.validationAccuracy = validationAccuracy
    }
  }

  /// One way of training the student, with several seeds.
  public struct Arm: Codable, Sendable {
    /// What the student learned from.
    public enum Kind: String, Codable, Sendable, Hashable {
      /// The labels alone: what the others are compared with.
      case alone
      /// A teacher.
      case distilled
    }

    public var kind: Kind
    /// "alone", "distilled", or the name of a variant.
    public var name: String
    public var seeds: [SeedResult]
    /// The paired gain in accuracy over the student alone, with its 95 % interval; `nil` for the student alone.
    public var gain: Interval?
    /// Where all seeds gain exactly the same, so that there is no interval: what the test examples tell.
    public var evidence: ExampleEvidence?
    /// Scores of each class, averaged over the seeds.
    public var classScores: [Metrics.ClassScore]
    /// Counts summed over the seeds, `confusion[true class][predicted class]`; empty when not known.
    public var confusion: [[Int]]
    /// Over the predictions of all seeds.
    public var reliability: [Metrics.ReliabilityBin]

    public init(
      _ kind: Kind, name: String, seeds: [SeedResult], gain: Interval? = nil, classScores: [Metrics.ClassScore] = [],
      confusion: [[Int]] = [], reliability: [Metrics.ReliabilityBin] = []
    ) {
      self.kind = kind
      self.name = name
      self.seeds = seeds
      self.gain = gain
      self.classScores = classScores
      self.confusion = confusion
      self.reliability = reliability
    }
  }

  /// One training run.
  public struct SeedResult: Codable, Sendable {
    public var seed: UInt64
    /// On the test split.
    public var scores: Scores
    /// On the validation split, of the weights that were kept: what to choose by.
    public var validationAccuracy: Double?
    /// Of the training examples whose labels it was shown.
    public var trainingAccuracy: Double?
    public var secondsPerStep: Double?
    public var curve: [CurvePoint]

    public init(
      seed: UInt64, scores: Scores, validationAccuracy: Double? = nil, trainingAccuracy: Double? = nil,
      secondsPerStep: Double? = nil, curve: [CurvePoint] = []
    ) {
      self.seed = seed
      self.scores = scores
      self.validationAccuracy = validationAccuracy
      self.trainingAccuracy = trainingAccuracy
      self.secondsPerStep = secondsPerStep
      self.curve = curve
    }
  }
}

// MARK: - What was measured

extension ReportData {
  /// A mean with its 95 % interval.
  public struct Interval: Codable, Sendable, Hashable {
    public var mean: Double
    public var low: Double
    public var high: Double

    public init(mean: Double, low: Double, high: Double) {
      self.mean = mean
      self.low = low
      self.high = high
    }
  }

  /// A mean with the standard deviation over seeds.
  public struct Spread: Codable, Sendable, Hashable {
    public var mean: Double
    /// The sample standard deviation; `nil` when there is a single value.
    public var deviation: Double?

    /// The mean of the values and their sample standard deviation (n − 1 in the denominator). No values, no spread.
    public init?(_ values: [Double]) {
      guard !values.isEmpty else { return nil }
      mean = values.reduce(0, +) / Double(values.count)
      deviation = standardDeviation(values)
    }
  }

  /// One epoch of training.
  public struct CurvePoint: Codable, Sendable, Hashable {
    /// Epochs so far: 1 after the first.
    public var epoch: Double
    /// The mean of what was optimized.
    public var trainLoss: Double?
    /// Its parts, already weighted, so that they sum to the loss: "soft targets", "hard labels".
    public var lossParts: [LossPart]
    public var validationAccuracy: Double?
    public var validationLoss: Double?

    public init(
      epoch: Double, trainLoss: Double? = nil, lossParts: [LossPart] = [], validationAccuracy: Double? = nil,
      validationLoss: Double? = nil
    ) {
      self.epoch = epoch
      self.trainLoss = trainLoss
      self.lossParts = lossParts
      self.validationAccuracy = validationAccuracy
      self.validationLoss = validationLoss
    }
  }

  /// One term's share of the training loss.
  public struct LossPart: Codable, Sendable, Hashable {
    public var name: String
    public var value: Double

    public init(_ name: String, _ value: Double) {
      self.name = name
      self.value = value
    }
  }

  /// The mean soft target of each class at one temperature.
  public struct Similarity: Codable, Sendable {
    public var temperature: Double
    /// `matrix[true class][class]`: the teacher's mean probability; each row sums to 1.
    public var matrix: [[Double]]

    public init(temperature: Double, matrix: [[Double]]) {
      self.temperature = temperature
      self.matrix = matrix
    }
  }
}

// MARK: - Examples

extension ReportData {
  /// A picture as bytes: rows from the top, pixels from the left, channels together (grey, or red green blue).
  public struct Picture: Codable, Sendable, Hashable {
    public var width: Int
    public var height: Int
    /// 1 for grey, 3 for red, green and blue.
    public var channels: Int
    /// `height × width × channels` values from 0 (black) to 255.
    public var pixels: Data

    public init(width: Int, height: Int, channels: Int, pixels: Data) {
      self.width = width
      self.height = height
      self.channels = channels
      self.pixels = pixels
    }
  }

  /// A class and how probable a model finds it.
  public struct ClassProbability: Codable, Sendable, Hashable {
    public var classIndex: Int
    public var probability: Double

    public init(classIndex: Int, probability: Double) {
      self.classIndex = classIndex
      self.probability = probability
    }
  }

  /// What one model says of an example: its most probable classes, most probable first.
  public struct Opinion: Codable, Sendable, Hashable {
    /// "teacher", or the name of an arm.
    public var model: String
    public var temperature: Double
    public var top: [ClassProbability]

    public init(model: String, temperature: Double = 1, top: [ClassProbability]) {
      self.model = model
      self.temperature = temperature
      self.top = top
    }
  }

  /// One example of the test split with what the models say of it.
  public struct Example: Codable, Sendable {
    public var id: Int
    public var picture: Picture?
    public var label: Int
    /// The teacher at T = 1 and at a higher temperature, the student alone, the distilled student.
    public var opinions: [Opinion]

    public init(id: Int, picture: Picture?, label: Int, opinions: [Opinion]) {
      self.id = id
      self.picture = picture
      self.label = label
      self.opinions = opinions
    }
  }
}
