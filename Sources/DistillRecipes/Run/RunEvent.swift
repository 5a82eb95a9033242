import Distillation

/// What a run tells while it works.
public enum RunEvent: Sendable {
  /// A stage begins, such as "Loading fashion-mnist".
  case stage(String)
  /// The part of the present stage that is done, from 0 to 1.
  case fraction(Double)
  /// Something worth knowing that is no error.
  case notice(String)
  /// What came of a stage, for whoever follows the run.
  case outcome(String)
  /// A training says something.
  case training(TrainingLabel, Event)
  /// A training is over, now or before this process began.
  case trained(TrainingLabel, Score, wasDoneBefore: Bool)

  /// The accuracy of a student whose training is over.
  public enum Score: Sendable {
    case test(Double)
    /// Of one that another stage goes on with.
    case validation(Double)
    case none
  }

  /// Which training of the run it is.
  public struct TrainingLabel: Sendable, Hashable {
    /// Such as "few labels, distilled, seed 1".
    public var name: String
    /// Counted from 1.
    public var number: Int
    public var count: Int
  }
}

/// Is told what a run does, from whatever thread it happens on.
public typealias RunObserver = @Sendable (RunEvent) -> Void
