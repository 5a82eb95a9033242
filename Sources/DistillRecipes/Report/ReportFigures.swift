import Distillation
import Foundation

/// The numbers of the report's figures, for whoever wants to draw them otherwise: the part `figures` of `metrics.json`.
///
/// What the report does not draw, such as the confusions of a thousand classes, is absent here too.
public struct ReportFigures: Codable, Sendable, Hashable {
  /// A place on a curve: mean, lowest and highest seed.
  public struct CurvePoint: Codable, Sendable, Hashable {
    public var epoch: Double
    public var mean: Double
    public var low: Double
    public var high: Double
  }

  /// How the students of an arm learned, over epochs.
  public struct Curves: Codable, Sendable, Hashable {
    public var validationAccuracy: [CurvePoint]
    public var validationLoss: [CurvePoint]
    public var trainLoss: [CurvePoint]
    /// The share of each term in the training loss, by its name.
    public var lossParts: [String: [CurvePoint]]

    enum CodingKeys: String, CodingKey {
      case validationAccuracy = "validation_accuracy"
      case validationLoss = "validation_loss"
      case trainLoss = "train_loss"
      case lossParts = "loss_parts"
    }
  }

  /// How well a class is recognized; means over the seeds.
  public struct ClassScore: Codable, Sendable, Hashable {
    public var name: String
    public var precision: Double?
    public var recall: Double?
    public var f1: Double?
    /// Its test examples.
    public var count: Int
  }

  /// Predictions of a confidence from `lower` to `upper`.
  public struct ReliabilityBin: Codable, Sendable, Hashable {
    public var lower: Double
    public var upper: Double
    public var count: Int
    public var confidence: Double?
    public var accuracy: Double?
  }

  /// What one model got right and wrong.
  public struct Model: Codable, Sendable, Hashable {
    public var name: String
    /// Absent for the teacher.
    public var curves: Curves?
    /// Absent for the teacher.
    public var classes: [ClassScore]?
    /// Counts summed over the seeds: a row for each true class, a column for each predicted one.
    public var confusion: [[Int]]?
    public var reliability: [ReliabilityBin]
  }

  public struct Setting: Codable, Sendable, Hashable {
    public var name: String
    public var arms: [Model]
  }

  /// The teacher's mean soft targets at a temperature: a row for each true class.
  public struct Similarity: Codable, Sendable, Hashable {
    public var temperature: Double
    public var matrix: [[Double?]]
  }

  public struct ClassProbability: Codable, Sendable, Hashable {
    public var name: String
    public var probability: Double?
  }

  /// What a model says of an example: the likeliest classes first.
  public struct Opinion: Codable, Sendable, Hashable {
    public var model: String
    public var temperature: Double
    public var top: [ClassProbability]
  }

  public struct Example: Codable, Sendable, Hashable {
    /// Its number in the test split.
    public var number: Int
    public var label: String
    public var opinions: [Opinion]
  }

  /// The names of the classes, in the order of the matrices' rows and columns.
  public var classes: [String]
  public var teacher: Model?
  public var settings: [Setting]
  public var similarities: [Similarity]
  public var examples: [Example]
}

// MARK: - From a report's data

extension ReportFigures {
  /// So many classes are the most of which matrices are drawn.
  private static var mostClasses: Int { HeatMap.largestPictured }

  init(_ data: ReportData) {
    classes = data.classNames
    teacher = data.teacher.map { teacher in
      Model(
        name: teacher.name, confusion: Self.drawn(teacher.confusion),
        reliability: teacher.reliability.map(ReliabilityBin.init))
    }
    settings = data.settings.enumerated().map { index, setting in
      Setting(
        name: setting.name,
        arms: setting.arms.map { arm in
          Model(
            name: arm.name, curves: Curves(arm),
            classes: arm.classScores.enumerated().map { ClassScore(data.className($0), $1) },
            confusion: index < SettingSection.mostDrawn ? Self.drawn(arm.confusion) : nil,
            reliability: arm.reliability.map(ReliabilityBin.init))
        })
    }
    similarities = data.similarities.filter { $0.matrix.count <= Self.mostClasses }.map { similarity in
      Similarity(
        temperature: similarity.temperature, matrix: similarity.matrix.map { row in row.map { $0.ifFinite } })
    }
    examples = data.examples.map { example in
      Example(
        number: example.id, label: data.className(example.label),
        opinions: example.opinions.map { opinion in
          Opinion(
            model: opinion.model, temperature: opinion.temperature,
            top: opinion.top.map {
              ClassProbability(name: data.className($0.classIndex), probability: $0.probability.ifFinite)
            })
        })
    }
  }

  private static func drawn(_ confusion: [[Int]]) -> [[Int]]? {
    confusion.isEmpty || confusion.count > mostClasses ? nil : confusion
  }
}

extension ReportFigures.Curves {
  init(_ arm: ReportData.Arm) {
    func points(_ value: (ReportData.CurvePoint) -> Double?) -> [ReportFigures.CurvePoint] {
      arm.band(value).map { ReportFigures.CurvePoint(epoch: $0.x, mean: $0.mean, low: $0.low, high: $0.high) }
    }
    validationAccuracy = points(\.validationAccuracy)
    validationLoss = points(\.validationLoss)
    trainLoss = points(\.trainLoss)
    lossParts = [:]
    let names = Set(arm.seeds.flatMap { seed in seed.curve.flatMap { point in point.lossParts.map(\.name) } })
    for name in names {
      lossParts[name] = points { point in point.lossParts.first { $0.name == name }?.value }
    }
  }
}

extension ReportFigures.ClassScore {
  init(_ name: String, _ score: Metrics.ClassScore) {
    self.init(
      name: name, precision: score.precision.ifFinite, recall: score.recall.ifFinite, f1: score.f1.ifFinite,
      count: score.count)
  }
}

extension ReportFigures.ReliabilityBin {
  init(_ bin: Metrics.ReliabilityBin) {
    self.init(
      lower: bin.lower, upper: bin.upper, count: bin.count, confidence: bin.confidence.ifFinite,
      accuracy: bin.accuracy.ifFinite)
  }
}

extension ReportData.Arm {
  /// A curve of an arm: at each epoch that any seed reached the mean over those that did, the lowest and the highest.
  func band(_ value: (ReportData.CurvePoint) -> Double?) -> [LineChart.Point] {
    var values: [Double: [Double]] = [:]
    for seed in seeds {
      for point in seed.curve {
        if let number = value(point), number.isFinite { values[point.epoch, default: []].append(number) }
      }
    }
    return values.keys.sorted().compactMap { epoch in
      guard let numbers = values[epoch], let low = numbers.min(), let high = numbers.max() else { return nil }
      return LineChart.Point(x: epoch, mean: numbers.reduce(0, +) / Double(numbers.count), low: low, high: high)
    }
  }
}
