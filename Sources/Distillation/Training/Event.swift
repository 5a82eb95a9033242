import Foundation

/// What a trainer tells while it works. Events are values: they can be printed, stored and sent on.
public enum Event: Sendable {
  /// The training starts, or goes on from `step`.
  case started(step: Int, of: Int)
  /// A step was taken. The loss is the mean over the round so far and only computed now and then, when it was asked
  /// for; see `Trainer.Options.progressInterval`.
  case progress(Progress)
  /// A round is over: its losses and, where there is a validation split, what the student scored on it.
  case round(Round)
  /// The state was written to a file, from which the training can go on.
  case checkpointed(path: String)
  /// The training is over.
  case finished(Outcome)

  /// How far a training is.
  public struct Progress: Sendable {
    public var step: Int
    public var steps: Int
    /// The mean of the optimized loss since the round began.
    public var loss: Double
    /// Examples per second since the training started or went on.
    public var examplesPerSecond: Double
  }

  /// A part of the training between two validations; an epoch, unless the options say otherwise.
  public struct Round: Codable, Sendable, Equatable {
    /// Counted from 1.
    public var round: Int
    /// Optimizer steps so far.
    public var step: Int
    /// Passes over the training examples so far, as the epochs of terms are counted.
    public var epoch: Double
    public var learningRate: Double
    /// The mean of the optimized loss over the round.
    public var loss: Double
    /// Each term's share of it, already weighted, by name: they sum to the loss.
    public var parts: [String: Double]
    public var validation: ValidationScore?
    /// Whether this is the best validation so far.
    public var isBest: Bool
  }
}

/// What a student scored on the validation split.
public struct ValidationScore: Codable, Sendable, Equatable {
  public var accuracy: Double
  /// The mean negative log-likelihood of the true classes.
  public var loss: Double

  public init(accuracy: Double, loss: Double) {
    self.accuracy = accuracy
    self.loss = loss
  }
}

/// How a training ended.
public struct Outcome: Codable, Sendable, Equatable {
  public enum Reason: String, Codable, Sendable {
    /// All steps were taken.
    case completed
    /// The validation had not improved for as many rounds as `earlyStop` says.
    case earlyStopped
    /// A listener asked for it; the state is in the checkpoint.
    case interrupted
  }

  public var reason: Reason
  public var steps: Int
  /// The round whose weights the student has now, counted from 1.
  public var keptRound: Int
  /// The validation score of that round.
  public var validation: ValidationScore?
}
