import DistillData
import DistillModels
import DistillRuntime
import Distillation
import Foundation
import Torch

/// How well a model does on a data set.
public struct ModelEvaluation: Encodable, Sendable {
  public struct ClassRow: Encodable, Sendable {
    public var name: String
    public var precision: Double
    public var recall: Double
    public var f1: Double
    public var count: Int
  }

  /// The model folder.
  public var model: String
  public var dataset: String
  public var split: DataChoice.Split
  public var examples: Int
  /// Against the labels, and where there is a teacher, against what that says.
  public var scores: MetricsFile.Scores
  /// What was predicted where that is the tokens of texts: `byte` or `character`.
  public var token: String?
  public var classes: [ClassRow]
  /// How often an example of the class of the row was called the class of the column.
  public var confusion: [[Int]]
  public var teacher: String?
  public var teacherScores: MetricsFile.Scores?
  public var notices: [String]

  /// - Parameters:
  ///   - model: a model folder, or a run folder for its student
  ///   - teacher: another one, to say how far the model agrees with it
  ///   - topK: for the accuracy among the most probable classes
  ///   - device: `cpu`, `cuda`, `cuda:1` or `mps`
  /// - Throws: `RunError`, `DataError` and others that say what does not fit.
  public init(
    model path: String, on choice: DataChoice, teacher teacherPath: String? = nil, topK: Int = 5,
    device deviceName: String? = nil
  ) throws {
    guard topK >= 1 else { throw RunError("--top is a number of classes from 1 on, not \(topK)") }
    let device = try Device(available: deviceName)
    let named = try NamedModel(path)
    let teacher = try teacherPath.map { try NamedModel($0) }
    let data = try choice.load(for: named)
    if let teacher {
      guard teacher.description.model.inputShape == named.description.model.inputShape,
        teacher.description.model.classCount == named.description.model.classCount
      else {
        throw RunError(
          "the teacher in \(teacher.folder.path) takes \(teacher.description.model.inputShape) and knows "
            + "\(teacher.description.model.classCount) classes, the model \(named.description.model.inputShape) and "
            + "\(named.description.model.classCount): they cannot be compared")
      }
    }
    if data.dataset.predictsTokens {
      self = try Self(ofTokens: named, data, split: choice.split, teacher: teacher, topK: topK, device: device)
      return
    }
    let logits = try named.logits(data.dataset, data.examples, on: device)
    let teacherLogits = try teacher.map { try $0.logits(data.dataset, data.examples, on: device) }
    let labels = data.examples.map { data.dataset.label(at: $0) }
    let metrics = try Metrics(logits: logits, labels: labels, teacherLogits: teacherLogits, topK: topK)
    self.model = named.folder.path
    dataset = data.dataset.name
    split = choice.split
    examples = data.examples.count
    scores = MetricsFile.Scores(metrics.scores)
    classes = zip(named.description.labels, metrics.perClass).map {
      ClassRow(name: $0, precision: $1.precision, recall: $1.recall, f1: $1.f1, count: $1.count)
    }
    confusion = metrics.confusion
    self.teacher = teacher?.folder.path
    teacherScores = try teacherLogits.map {
      MetricsFile.Scores(try Metrics(logits: $0, labels: labels, topK: topK).scores)
    }
    notices = data.notices
    if metrics.count < labels.count {
      notices.append("\(labels.count - metrics.count) of \(labels.count) examples have no label and do not count")
    }
  }

  /// Of a model that predicts the tokens of texts: nothing is said of single tokens.
  private init(
    ofTokens named: NamedModel, _ data: DataChoice.Loaded, split: DataChoice.Split, teacher: NamedModel?, topK: Int,
    device: Device
  ) throws {
    for model in [named, teacher].compactMap(\.self) { try model.model.move(to: device) }
    let batch = max(1, min(500, 16_384 / max(1, data.dataset.elementCount)))
    let set = try EvaluationSet(
      data.dataset, examples: data.examples, normalization: nil, device: device, batchSize: batch)
    let metrics = try set.tokenMetrics(
      of: named.model, teacher: teacher.map { FrozenTeacher($0.model) }, topK: topK)
    model = named.folder.path
    dataset = data.dataset.name
    self.split = split
    examples = data.examples.count
    scores = MetricsFile.Scores(metrics.scores(ofTokens: true))
    token = named.vocabulary.map { $0.unit == .bytes ? "byte" : "character" }
    (classes, confusion) = ([], [])
    self.teacher = teacher?.folder.path
    teacherScores = try teacher.map {
      MetricsFile.Scores(try set.tokenMetrics(of: $0.model, topK: topK).scores(ofTokens: true))
    }
    notices = data.notices
  }
}
