/// Successive halving, asynchronous: trainings stop at rungs, and only the best part of those that came to one goes on.
///
/// At rung k, which a training reaches after rₖ epochs, the better ⌊n / η⌋ of the n trainings that came so far are promoted,
/// as soon as that is known of one of them: nobody waits for a rung to fill, so that processes that share a study are never
/// idle. With all trainings of a rung at hand, those that were promoted are the ones that the synchronous form takes too.
/// Once no training is left to begin or to promote, and none has been trained in full, the best one of the highest rung
/// goes on, so that there is a result.
///
/// ## Reference
/// Jamieson, Talwalkar: Non-stochastic best arm identification and hyperparameter optimization. AISTATS 2016.
/// Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar: A system for massively parallel hyperparameter
/// tuning. MLSys 2020, algorithm 2.
public struct Halving: Codable, Sendable, Equatable {
  /// η: one in so many goes on.
  public var factor: Int
  /// The epochs after which a training stops, from the shortest on; the last rung, a whole training, is not among them.
  public var pauses: [Double]

  /// Pauses at `first` epochs, η times as many, and so on, as long as they are fewer than `whole`.
  ///
  /// - Throws: `SearchError` when the numbers make no halving.
  public init(factor: Int, first: Double, whole: Double) throws {
    guard factor >= 2 else { throw SearchError("halving needs a factor of 2 at least, not \(factor)") }
    guard first > 0, first.isFinite else { throw SearchError("the first rung must be longer than nothing") }
    guard first < whole else {
      throw SearchError(
        "the first rung, of \(Domain.text(first)) epochs, is no shorter than the whole training, of "
          + "\(Domain.text(whole)): train longer, or give a shorter first rung")
    }
    self.factor = factor
    pauses = []
    var epochs = first
    while epochs < whole {
      pauses.append(epochs)
      epochs *= Double(factor)
    }
  }

  /// Rungs with the whole training.
  public var rungCount: Int { pauses.count + 1 }

  /// The numbers of the trials that have earned a promotion from a rung.
  ///
  /// - Parameter reported: all that came to the rung, whatever became of them afterwards
  func promoted(_ reported: [(number: Int, score: SearchScore)], goal: SearchGoal) -> [Int] {
    let ranked = reported.filter { goal.value($0.score).isFinite }.sorted { first, second in
      if goal.isBetter(first.score, than: second.score) { return true }
      if goal.isBetter(second.score, than: first.score) { return false }
      return first.number < second.number
    }
    return ranked.prefix(reported.count / factor).map(\.number)
  }

  /// The trial that is to go on, and to which rung: from the highest rung with one that has earned it.
  func promotion(among trials: [Trial], goal: SearchGoal) -> (trial: Trial, rung: Int)? {
    for rung in pauses.indices.reversed() {
      let reported = trials.compactMap { trial in trial.score(at: rung).map { (number: trial.number, score: $0) } }
      for number in promoted(reported, goal: goal) {
        if let trial = trials.first(where: { $0.number == number }), trial.state == .paused, trial.rung == rung {
          return (trial, rung + 1)
        }
      }
    }
    return nil
  }

  /// The best paused trial of the highest rung.
  func leader(among trials: [Trial], goal: SearchGoal) -> Trial? {
    let paused = trials.filter { $0.state == .paused }
    guard let top = paused.map(\.rung).max() else { return nil }
    return paused.filter { $0.rung == top }.best(goal)
  }
}
