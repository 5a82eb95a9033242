import Foundation
import Torch

/// How well logits fit labels, and how far they agree with a teacher's. All rates are fractions.
public struct Metrics: Codable, Sendable, Equatable {
  /// How well one class is recognized. A rate whose denominator is zero is 0.
  public struct ClassScore: Codable, Sendable, Equatable {
    /// Of the examples called this class, the part that is.
    public var precision: Double
    /// Of the examples of this class, the part that is called so.
    public var recall: Double
    /// The harmonic mean of precision and recall.
    public var f1: Double
    /// The number of examples of this class.
    public var count: Int

    public init(precision: Double, recall: Double, f1: Double, count: Int) {
      self.precision = precision
      self.recall = recall
      self.f1 = f1
      self.count = count
    }
  }

  /// The examples whose confidence lies in one interval.
  public struct ReliabilityBin: Codable, Sendable, Equatable {
    public var lower: Double
    public var upper: Double
    public var count: Int
    /// The mean probability of the predicted class.
    public var confidence: Double
    public var accuracy: Double

    public init(lower: Double, upper: Double, count: Int, confidence: Double, accuracy: Double) {
      self.lower = lower
      self.upper = upper
      self.count = count
      self.confidence = confidence
      self.accuracy = accuracy
    }
  }

  /// The number of labelled examples.
  public var count: Int
  public var accuracy: Double
  /// The part whose true class is among the `topK` most probable ones.
  public var topKAccuracy: Double
  public var topK: Int
  /// The mean of −log probability of the true class.
  public var negativeLogLikelihood: Double
  /// Σ over bins of the part of the examples in it times |accuracy − confidence|, with equally wide bins.
  ///
  /// Guo et al.: On Calibration of Modern Neural Networks. arXiv:1706.04599.
  public var expectedCalibrationError: Double
  public var reliability: [ReliabilityBin]
  public var perClass: [ClassScore]
  /// How often an example of the class of the row was called the class of the column.
  public var confusion: [[Int]]
  /// The part of all examples for which the teacher names the same class.
  public var agreement: Double?
  /// The mean Kullback-Leibler divergence from the teacher's distribution to the student's, at temperature 1, in nats.
  public var teacherDivergence: Double?

  public static let binCount = 15

  /// The classes C of logits `[N, C]` that belong to N labels, of which −1 is none.
  ///
  /// - Throws: `DistillationError` when they do not.
  static func classCount(_ logits: Tensor, _ labels: [Int]) throws -> Int {
    let shape = logits.shape
    guard shape.count == 2, shape[0] == labels.count, shape[1] > 0 else {
      throw DistillationError("logits of shape \(shape) do not fit \(labels.count) labels")
    }
    let classCount = shape[1]
    if let label = labels.first(where: { $0 >= classCount || $0 < -1 }) {
      throw DistillationError("label \(label) is not one of the \(classCount) classes that the model knows")
    }
    return classCount
  }

  /// The bin of a confidence: (0, 1/15] is the first.
  static func bin(of confidence: Double) -> Int {
    min(binCount - 1, max(0, Int((confidence * Double(binCount)).rounded(.up)) - 1))
  }

  /// - Parameters:
  ///   - logits: `[N, C]`
  ///   - labels: true classes; −1 where there is none: such an example counts for agreement only
  ///   - teacherLogits: `[N, C]`
  /// - Throws: `DistillationError` when the shapes do not fit, a label is not a class, or logits are not numbers.
  public init(logits: Tensor, labels: [Int], teacherLogits: Tensor? = nil, topK: Int = 5) throws {
    let classCount = try Self.classCount(logits, labels)
    let topK = min(topK, classCount)
    let logProbabilities = try withoutGradient { try logits.to(.float64).logSoftmax() }
    let rows: [Double] = try logProbabilities.array()
    if let place = rows.firstIndex(where: \.isNaN) {
      throw DistillationError(
        "the logits of example \(place / classCount) are not finite numbers: the model's weights or its inputs are damaged"
      )
    }
    let ranked: [Int] = try logProbabilities.topK(topK).indices.array()
    // Of several equally probable classes the first, as everywhere.
    let predictions: [Int] = try logProbabilities.argumentOfMaximum(along: 1).array()

    var confusion = [[Int]](repeating: [Int](repeating: 0, count: classCount), count: classCount)
    var bins = [(count: Int, confidence: Double, correct: Int)](repeating: (0, 0, 0), count: Self.binCount)
    var topKCorrect = 0
    var logLikelihood = 0.0
    var labelled = 0
    for (index, label) in labels.enumerated() where label >= 0 {
      labelled += 1
      confusion[label][predictions[index]] += 1
      if ranked[(index * topK)..<((index + 1) * topK)].contains(label) { topKCorrect += 1 }
      logLikelihood += rows[index * classCount + label]
      let confidence = Foundation.exp(rows[index * classCount + predictions[index]])
      let bin = Self.bin(of: confidence)
      bins[bin].count += 1
      bins[bin].confidence += confidence
      bins[bin].correct += predictions[index] == label ? 1 : 0
    }
    let total = Double(max(1, labelled))
    let correct = (0..<classCount).reduce(0) { $0 + confusion[$1][$1] }
    count = labelled
    accuracy = Double(correct) / total
    topKAccuracy = Double(topKCorrect) / total
    self.topK = topK
    negativeLogLikelihood = -logLikelihood / total
    reliability = bins.enumerated().map { index, bin in
      ReliabilityBin(
        lower: Double(index) / Double(Self.binCount), upper: Double(index + 1) / Double(Self.binCount),
        count: bin.count,
        confidence: bin.confidence / Double(max(1, bin.count)),
        accuracy: Double(bin.correct) / Double(max(1, bin.count)))
    }
    expectedCalibrationError = reliability.reduce(0) {
      $0 + Double($1.count) / total * abs($1.accuracy - $1.confidence)
    }
    perClass = (0..<classCount).map { Self.score(of: $0, in: confusion) }
    self.confusion = confusion
    if let teacherLogits {
      guard teacherLogits.shape == logits.shape else {
        throw DistillationError("the teacher's logits \(teacherLogits.shape) do not fit the student's \(logits.shape)")
      }
      let teacher = try withoutGradient { try teacherLogits.to(.float64).logSoftmax() }
      let teacherPredictions: [Int] = try teacher.argumentOfMaximum(along: 1).array()
      agreement = Double(zip(predictions, teacherPredictions).count { $0 == $1 }) / Double(max(1, labels.count))
      let divergence = try (teacher.exponential() * (teacher - logProbabilities)).sum().item()
      teacherDivergence = divergence / Double(max(1, labels.count))
    }
  }

  private static func score(of label: Int, in confusion: [[Int]]) -> ClassScore {
    let correct = Double(confusion[label][label])
    let actual = confusion[label].reduce(0, +)
    let predicted = confusion.reduce(0) { $0 + $1[label] }
    let precision = predicted > 0 ? correct / Double(predicted) : 0
    let recall = actual > 0 ? correct / Double(actual) : 0
    let f1 = precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0
    return ClassScore(precision: precision, recall: recall, f1: f1, count: actual)
  }
}
