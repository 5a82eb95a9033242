import Foundation

/// One training, or one for each of several seeds, with values for all keys.
public struct Trial: Codable, Sendable, Equatable {
  public enum State: String, Codable, Sendable {
    /// A process is at it, or was when it ended.
    case running
    /// Begun, and given back by its process before it was at its rung.
    case waiting
    /// At a rung; it may be promoted.
    case paused
    /// Trained in full.
    case done
    /// The training could not be done.
    case failed
  }

  /// How its values were chosen.
  public enum Origin: String, Codable, Sendable {
    /// They are those that the recipe has.
    case recipe
    case grid
    case random
    /// From what the trials before it scored.
    case model
  }

  /// What it scored at a rung.
  public struct Report: Codable, Sendable, Equatable {
    public var rung: Int
    /// After so many epochs.
    public var epoch: Double
    /// The mean over the seeds.
    public var score: SearchScore
    /// Of each seed.
    public var scores: [SearchScore]
    /// Computing time since the rung before.
    public var seconds: Double

    public init(rung: Int, epoch: Double, scores: [SearchScore], seconds: Double) {
      self.rung = rung
      self.epoch = epoch
      self.score = SearchScore(meanOf: scores) ?? SearchScore(accuracy: .nan, loss: .nan)
      self.scores = scores
      self.seconds = seconds
    }
  }

  /// Counted from 1.
  public var number: Int
  public var state: State
  public var origin: Origin
  public var values: Assignment
  /// The rung that it is at, or on its way to.
  public var rung: Int
  /// In the order of their rungs.
  public var reports: [Report]
  /// Why it failed.
  public var message: String?
  /// The process that is at it.
  public var owner: String?
  /// When that process was last known to live.
  public var heartbeat: Date?

  public init(
    number: Int, state: State, origin: Origin, values: Assignment, rung: Int = 0, reports: [Report] = [],
    message: String? = nil, owner: String? = nil, heartbeat: Date? = nil
  ) {
    self.number = number
    self.state = state
    self.origin = origin
    self.values = values
    self.rung = rung
    self.reports = reports
    self.message = message
    self.owner = owner
    self.heartbeat = heartbeat
  }

  func score(at rung: Int) -> SearchScore? { reports.first { $0.rung == rung }?.score }

  /// At the last rung that it came to.
  public var score: SearchScore? { reports.last?.score }
  public var epoch: Double? { reports.last?.epoch }
  public var seconds: Double { reports.reduce(0) { $0 + $1.seconds } }
}

extension [Trial] {
  /// The one with the best last score; of equals the first.
  func best(_ goal: SearchGoal) -> Trial? {
    reduce(nil as Trial?) { best, trial in
      guard let score = trial.score, goal.value(score).isFinite else { return best }
      guard let known = best?.score else { return trial }
      return goal.isBetter(score, than: known) ? trial : best
    }
  }

  /// The best of those that were trained in full.
  public func winner(_ goal: SearchGoal) -> Trial? { filter { $0.state == .done }.best(goal) }
}
