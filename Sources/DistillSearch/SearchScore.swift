/// What a student scored on the validation split.
public struct SearchScore: Codable, Sendable, Equatable {
  public var accuracy: Double
  /// The mean negative log-likelihood of the labels.
  public var loss: Double

  public init(accuracy: Double, loss: Double) {
    self.accuracy = accuracy
    self.loss = loss
  }

  /// Over several seeds; nil of none.
  public init?(meanOf scores: [SearchScore]) {
    guard !scores.isEmpty else { return nil }
    accuracy = scores.map(\.accuracy).reduce(0, +) / Double(scores.count)
    loss = scores.map(\.loss).reduce(0, +) / Double(scores.count)
  }
}

/// What makes one score better than another.
public enum SearchGoal: String, Codable, Sendable, CaseIterable {
  /// Of two that are equally accurate, the one with the smaller loss.
  case accuracy
  case loss

  /// A score that is not finite is worse than any that is.
  public func isBetter(_ first: SearchScore, than second: SearchScore) -> Bool {
    switch self {
    case .accuracy:
      guard first.accuracy.isFinite else { return false }
      guard second.accuracy.isFinite, first.accuracy == second.accuracy else {
        return !second.accuracy.isFinite || first.accuracy > second.accuracy
      }
      return isSmaller(first.loss, than: second.loss)
    case .loss: return isSmaller(first.loss, than: second.loss)
    }
  }

  private func isSmaller(_ first: Double, than second: Double) -> Bool {
    first.isFinite && (!second.isFinite || first < second)
  }

  /// The number that is looked at.
  public func value(_ score: SearchScore) -> Double {
    switch self {
    case .accuracy: score.accuracy
    case .loss: score.loss
    }
  }
}
