/// What a study is about. It is decided when the study begins, and all processes that work on it have the same.
public struct StudyDefinition: Codable, Sendable, Equatable {
  public var name: String
  /// The recipe whose keys are changed.
  public var recipe: String
  public var space: SearchSpace
  /// The values that the recipe itself has, with which a search without a grid begins: what it finds is held against them.
  /// Nil where one of them is not in the space.
  public var ownValues: Assignment?
  public var sampler: Sampler
  public var goal: SearchGoal
  /// Nil: every trial is trained in full.
  public var halving: Halving?
  /// Each trial is trained once with each of them.
  public var trainingSeeds: [Int]
  /// Of the choice of values.
  public var seed: Int

  public init(
    name: String, recipe: String, space: SearchSpace, ownValues: Assignment? = nil, sampler: Sampler,
    goal: SearchGoal = .accuracy, halving: Halving? = nil, trainingSeeds: [Int], seed: Int = 0
  ) {
    self.name = name
    self.recipe = recipe
    self.space = space
    self.ownValues = ownValues
    self.sampler = sampler
    self.goal = goal
    self.halving = halving
    self.trainingSeeds = trainingSeeds
    self.seed = seed
  }

  /// The epochs at which trials of a rung stop; nil at the last one, whose trials are trained in full.
  public func pause(at rung: Int) -> Double? {
    guard let halving, halving.pauses.indices.contains(rung) else { return nil }
    return halving.pauses[rung]
  }

  public var lastRung: Int { halving?.pauses.count ?? 0 }

  /// In words, what is another in a second definition.
  func differences(from other: Self) -> [String] {
    var found: [String] = []
    if recipe != other.recipe { found.append("the recipe") }
    if space != other.space { found.append("the space") }
    if sampler != other.sampler { found.append("the sampler") }
    if goal != other.goal { found.append("what is looked for") }
    if halving != other.halving { found.append("the halving") }
    if trainingSeeds != other.trainingSeeds { found.append("the seeds of the trainings") }
    if seed != other.seed { found.append("the seed of the search") }
    return found
  }
}

/// What a process that asks for work is to do.
enum StudyStep: Equatable {
  /// Go on with a trial whose process gave it back, or ended.
  case takeUp(number: Int)
  /// Train a paused trial further, to a rung.
  case promote(number: Int, rung: Int)
  case begin(number: Int, values: Assignment, origin: Trial.Origin)
  /// Others are at work, and what they find may lead to more.
  case wait
  case finished
}

extension StudyDefinition {
  /// The next thing to do. What was begun comes first, then what has earned it, then what is new.
  ///
  /// - Parameters:
  ///   - limit: so many trials are begun in all
  ///   - isAlive: whether a running trial's process is still at it
  func nextStep(_ trials: [Trial], limit: Int, isAlive: (Trial) -> Bool) -> StudyStep {
    let running = trials.filter { $0.state == .running }
    if let left = trials.first(where: { $0.state == .waiting }) ?? running.first(where: { !isAlive($0) }) {
      return .takeUp(number: left.number)
    }
    if let (trial, rung) = halving?.promotion(among: trials, goal: goal) {
      return .promote(number: trial.number, rung: rung)
    }
    if trials.count < limit {
      let number = (trials.map(\.number).max() ?? 0) + 1
      if number == 1, let ownValues { return .begin(number: number, values: ownValues, origin: .recipe) }
      if let (values, origin) = sampler.next(number, space: space, trials: trials, goal: goal, seed: seed) {
        return .begin(number: number, values: values, origin: origin)
      }
    }
    guard running.isEmpty else { return .wait }
    // Nobody came to the end: the best one does.
    if let halving, !trials.contains(where: { $0.state == .done }),
      let leader = halving.leader(among: trials, goal: goal)
    {
      return .promote(number: leader.number, rung: leader.rung + 1)
    }
    return .finished
  }
}
