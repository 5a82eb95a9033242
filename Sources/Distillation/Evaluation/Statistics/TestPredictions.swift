import Foundation
import Torch

/// What a model said of each example of a test split, as far as comparing it with another one takes it.
public struct TestPredictions: Codable, Sendable, Equatable {
  /// The class that is most probable, for each example.
  public var classes: [Int]
  /// Its probability.
  public var confidences: [Double]
  /// −log probability of the true class; 0 where there is no label.
  public var negativeLogLikelihoods: [Double]
  /// The true classes; −1 where there is none.
  public var labels: [Int]

  /// - Parameter logits: `[N, C]`
  /// - Throws: `DistillationError` when the labels do not fit.
  public init(logits: Tensor, labels: [Int]) throws {
    let classCount = try Metrics.classCount(logits, labels)
    let logProbabilities = try withoutGradient { try logits.to(.float64).logSoftmax() }
    let rows: [Double] = try logProbabilities.array()
    classes = try logProbabilities.argumentOfMaximum(along: 1).array()
    confidences = classes.enumerated().map { Foundation.exp(rows[$0 * classCount + $1]) }
    negativeLogLikelihoods = labels.enumerated().map { $1 < 0 ? 0 : -rows[$0 * classCount + $1] }
    self.labels = labels
  }

  /// The numbers of the examples with a label, to which all that follows is confined.
  public var labelled: [Int] { labels.indices.filter { labels[$0] >= 0 } }

  /// For each example with a label, whether the model is right.
  public var correct: [Bool] { labelled.map { classes[$0] == labels[$0] } }

  /// The part of the examples for which two models name the same class.
  public func agreement(with other: Self) -> Double {
    guard !classes.isEmpty, classes.count == other.classes.count else { return .nan }
    return Double(zip(classes, other.classes).count { $0 == $1 }) / Double(classes.count)
  }

  /// The part of the examples of a class that the model knows; nil where there are none.
  public func recall(of label: Int) -> Double? {
    let all = labels.indices.filter { labels[$0] == label }
    guard !all.isEmpty else { return nil }
    return Double(all.count { classes[$0] == label }) / Double(all.count)
  }

  /// Σ over bins of the part of the examples in it times |accuracy − confidence|, as `Metrics` has it.
  public var expectedCalibrationError: Double {
    var gaps = [Double](repeating: 0, count: Metrics.binCount)
    for index in labelled {
      gaps[Metrics.bin(of: confidences[index])] += (classes[index] == labels[index] ? 1 : 0) - confidences[index]
    }
    return gaps.reduce(0) { $0 + abs($1) } / Double(max(1, labelled.count))
  }
}
