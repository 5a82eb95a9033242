import Distillation

/// What models are compared by.
public enum ComparisonMetric: String, Codable, Sendable, CaseIterable {
  case accuracy
  case topKAccuracy = "top_k_accuracy"
  /// The negative log-likelihood of the labels.
  case nll
  /// The expected calibration error.
  case ece
  /// The share of examples on which the student names the teacher's class.
  case agreement
  /// The Kullback-Leibler divergence from the teacher to the student.
  case kl

  public var title: String {
    switch self {
    case .accuracy: "accuracy"
    case .topKAccuracy: "top-k accuracy"
    case .nll: "negative log-likelihood"
    case .ece: "calibration error"
    case .agreement: "agreement with the teacher"
    case .kl: "divergence from the teacher"
    }
  }

  /// Whether it is that of a student and a teacher, and not of a student alone.
  var isBesideTeacher: Bool { [.agreement, .kl].contains(self) }

  /// Whether more of it is better.
  public var isBetterHigh: Bool {
    switch self {
    case .accuracy, .topKAccuracy, .agreement: true
    case .nll, .ece, .kl: false
    }
  }

  /// Whether it is a share, whose differences are points; otherwise it is in nats.
  var isShare: Bool {
    switch self {
    case .accuracy, .topKAccuracy, .ece, .agreement: true
    case .nll, .kl: false
    }
  }

  func value(_ metrics: Metrics) -> Double? {
    switch self {
    case .accuracy: metrics.accuracy
    case .topKAccuracy: metrics.topKAccuracy
    case .nll: metrics.negativeLogLikelihood
    case .ece: metrics.expectedCalibrationError
    case .agreement: metrics.agreement
    case .kl: metrics.teacherDivergence
    }
  }

  /// What each example with a label adds to the metric's mean; nil where it is no mean over examples, or where the
  /// examples were not kept.
  func values(_ predictions: TestPredictions) -> [Double]? {
    switch self {
    case .accuracy: predictions.correct.map { $0 ? 1 : 0 }
    case .nll: predictions.labelled.map { predictions.negativeLogLikelihoods[$0] }
    case .topKAccuracy, .ece, .agreement, .kl: nil
    }
  }

  // MARK: As text

  /// A value: `93.52 %`, or `0.2134`.
  func text(_ value: Double?) -> String { isShare ? Quantity.percent(value) : Quantity.number(value, decimals: 4) }

  func text(_ spread: ReportData.Spread?) -> String {
    if isShare { return Quantity.percent(spread) }
    guard let spread else { return Quantity.missing }
    let mean = Quantity.number(spread.mean, decimals: 4)
    return spread.deviation.map { "\(mean) ± \(Quantity.number($0, decimals: 4))" } ?? mean
  }

  /// A difference with its sign, without a unit.
  func signed(_ difference: Double?) -> String {
    guard let difference else { return Quantity.missing }
    if isShare { return Quantity.points(difference, decimals: 2) }
    let text = Quantity.number(difference, decimals: 4)
    return difference > 0 ? "+\(text)" : text
  }

  /// The size of a difference: `0.30 points`.
  func size(_ difference: Double) -> String {
    isShare
      ? "\(Quantity.number(abs(difference) * 100, decimals: 2)) points"
      : "\(Quantity.number(abs(difference), decimals: 4)) nats"
  }

  var unit: String { isShare ? "points" : "nats" }
}

extension Quantity {
  /// The p of a test in a sentence: `p = 0.031`, or `p below 0.001`.
  public static func p(_ p: Double?) -> String {
    let text = probability(p)
    return text.hasPrefix("below") ? "p \(text)" : "p = \(text)"
  }

  /// The p of a test: `0.031`, or `below 0.001`.
  public static func probability(_ p: Double?) -> String {
    guard let p, p.isFinite else { return missing }
    return p < 0.001 ? "below 0.001" : number(p, decimals: 3)
  }
}
