import DistillSearch
import Foundation

/// What a search found: the file `metrics.json` of its folder, and all that its report shows.
///
/// All scores are those of the validation split. Shares are fractions, times are seconds.
public struct TuneData: Codable, Sendable {
  /// The version of this layout.
  public var schema = 1
  public var title: String
  public var date: Date
  public var goal: SearchGoal
  /// What was found, in one sentence.
  public var conclusion: String
  /// What has to be known of it.
  public var notes: [String]
  /// How values were chosen.
  public var sampler: String
  public var halving: Halving?
  /// Of each trial's trainings.
  public var seeds: [Int]
  public var validationExamples: Int
  public var keys: [Key]
  public var trials: [Trial]
  /// The number of the best trial of those that were trained in full.
  public var best: Int?
  /// The best score so far, after each trial.
  public var progress: [Progress]
  public var curves: [Curve]

  public struct Key: Codable, Sendable {
    public var key: String
    /// Short, and another one for each key.
    public var name: String
    public var domain: Domain
    /// In words.
    public var values: String
  }

  public struct Progress: Codable, Sendable {
    public var trial: Int
    public var score: SearchScore
  }

  /// Scores against the values of one key, a line for each value of another one: such as accuracy against temperature for
  /// students of several sizes.
  public struct Curve: Codable, Sendable {
    /// Of what is on the horizontal axis.
    public var key: String
    /// Of what tells the lines apart; nil: there is one line.
    public var by: String?
    public var lines: [Line]

    public struct Line: Codable, Sendable {
      public var value: String
      public var points: [Point]
    }

    /// The trials with one value, those that were trained in full.
    public struct Point: Codable, Sendable {
      public var value: Double
      public var trials: Int
      /// Of the trials, each the mean over its seeds.
      public var best: Double
      public var mean: Double
      /// Of the trainings: each trial has one for each seed.
      public var low: Double
      public var high: Double
    }
  }

  init(_ definition: StudyDefinition, trials: [Trial], limit: Int, validationExamples: Int, isTimeUp: Bool) {
    title = definition.name
    date = Date()
    goal = definition.goal
    sampler = definition.sampler.words
    halving = definition.halving
    seeds = definition.trainingSeeds
    self.validationExamples = validationExamples
    let names = definition.space.names
    keys = definition.space.parameters.map {
      Key(key: $0.key, name: names[$0.key] ?? $0.key, domain: $0.domain, values: $0.domain.words)
    }
    // Who was at it is nobody's business any more.
    self.trials = trials.map { trial in
      var trial = trial
      trial.owner = nil
      trial.heartbeat = nil
      return trial
    }
    let winner = trials.winner(definition.goal)
    best = winner?.number
    conclusion = ""
    notes = []
    progress = []
    curves = []
    progress = bestSoFar()
    curves = allCurves()
    conclusion = sentence(winner)
    notes = allNotes(winner, limit: limit, isTimeUp: isTimeUp)
  }

  /// As `metrics.json` has it.
  public func encoded() throws -> Data { try ResultJSON.encode(self) }

  // MARK: Words

  /// A score as it is looked at.
  public func text(_ score: SearchScore?) -> String {
    switch goal {
    case .accuracy: Quantity.percent(score?.accuracy)
    case .loss: Quantity.number(score?.loss, decimals: 4)
    }
  }

  static func epochs(_ count: Double?) -> String {
    count == 1 ? "1 epoch" : "\(Quantity.plain(count ?? .nan)) epochs"
  }

  func words(_ trial: Trial) -> String {
    keys.compactMap { key in trial.values[key.key].map { "\(key.name) = \($0)" } }.joined(separator: ", ")
  }

  private func sentence(_ winner: Trial?) -> String {
    guard let winner else { return "No trial has been trained in full, so that there is nothing to choose yet." }
    let what =
      goal == .accuracy
      ? "right on \(text(winner.score)) of the validation split"
      : "a loss of \(text(winner.score)) on the validation split"
    return "Of \(counted(trials.count, "trial")), trial \(winner.number) is best: \(what), with \(words(winner))."
  }

  private func allNotes(_ winner: Trial?, limit: Int, isTimeUp: Bool) -> [String] {
    var notes: [String] = []
    if isTimeUp {
      notes.append(
        "The time was over after \(trials.count) of \(counted(limit, "trial")). The same command goes on with them.")
    }
    let failed = trials.count { $0.state == .failed }
    if failed > 0 { notes.append("\(counted(failed, "trial")) failed, and the table says why.") }
    let stopped = trials.count { $0.state == .paused }
    if stopped > 0 {
      notes.append(
        "\(counted(stopped, "trial")) \(stopped == 1 ? "was" : "were") stopped early: others were better at the same rung."
      )
    }
    guard let winner, let score = winner.score else { return notes }
    if let own = trials.first(where: { $0.origin == .recipe }), own.state == .done, own.number != winner.number {
      let what = goal == .accuracy ? "are right on" : "have a loss of"
      notes.append("The recipe's own values, trial \(own.number), \(what) \(text(own.score)).")
    }
    notes.append(
      "The score is the one that the trial was chosen by, so it is too good: the more trials, the more so. No trial was "
        + "scored on the test split. Whether the recipe is better than another one, distill compare can say.")
    if goal == .accuracy, validationExamples > 0 {
      let count = Double(validationExamples)
      // Agresti and Coull's: near 0 and 1, too, it is not smaller than an example or so.
      let share = (score.accuracy * count + 2) / (count + 4)
      let error = (share * (1 - share) / (count + 4)).squareRoot()
      let near = trials.count { trial in
        trial.number != winner.number && trial.state == .done && (trial.score?.accuracy ?? 0) >= score.accuracy - error
      }
      if error > 0 {
        notes.append(
          "With \(counted(validationExamples, "validation example")) a share has a standard error of "
            + "\(Quantity.number(error * 100, decimals: 2)) points: \(counted(near, "other trial")) "
            + "\(near == 1 ? "lies" : "lie") within it of the best.")
      }
    }
    if seeds.count == 1 {
      notes.append("Each trial was trained with one seed; with --seeds 1,2,3 its score is the mean over several.")
    }
    for key in keys where key.domain.isRange {
      guard let place = winner.values[key.key].flatMap({ key.domain.place(of: $0) }), place < 0.05 || place > 0.95
      else {
        continue
      }
      notes.append(
        "The best \(key.name) is near the \(place < 0.5 ? "lower" : "upper") end of what was looked at (\(key.values)): a "
          + "better one may lie beyond.")
    }
    return notes
  }

  /// What stands above the best recipe.
  func comments(on trial: Trial, study: String) -> [String] {
    let formatter = ISO8601DateFormatter()
    formatter.formatOptions = [.withFullDate]
    var lines = [
      "Found by distill tune on \(formatter.string(from: date)): trial \(trial.number) of \(trials.count) in \(study)."
    ]
    for key in keys { lines.append("  \(key.key) = \(trial.values[key.key] ?? "?") (looked at: \(key.values))") }
    let numbers = seeds.map(String.init).joined(separator: ", ")
    lines.append(
      "On the validation split: accuracy \(Quantity.percent(trial.score?.accuracy)), loss "
        + "\(Quantity.number(trial.score?.loss, decimals: 4)), after \(Self.epochs(trial.epoch)) with "
        + "\(seeds.count == 1 ? "seed" : "seeds") \(numbers).")
    lines.append("How: \(sampler); best by \(goal.rawValue).")
    if let halving {
      let stopped = counted(trials.count { $0.state == .paused }, "trial")
      lines.append("\(stopped) stopped early, by successive halving: \(halving.words).")
    }
    lines.append(
      "It was chosen by this score, which is therefore too good. Whether it is better than the recipe it was made of: "
        + "distill compare \(study)/recipe.yaml \(study)/best.yaml")
    return lines
  }

  // MARK: Figures

  private func bestSoFar() -> [Progress] {
    var best: SearchScore?
    return trials.filter { $0.state == .done }.compactMap { trial in
      guard let score = trial.score, goal.value(score).isFinite else { return nil }
      if let known = best, !goal.isBetter(score, than: known) { return Progress(trial: trial.number, score: known) }
      best = score
      return Progress(trial: trial.number, score: score)
    }
  }

  /// Whether a key has numbers for values, of which there are not too many for a curve.
  private func numbers(_ key: Key) -> [Double]? {
    let values = Set(trials.filter { $0.state == .done }.compactMap { $0.values[key.key] })
    let numbers = values.compactMap { Double($0) }
    guard numbers.count == values.count, numbers.count >= 2 else { return nil }
    return numbers.sorted()
  }

  /// So many lines can be told apart.
  private static let mostLines = 6

  /// For each key of numbers one without lines, and one for each other key with few values, where values come again.
  private func allCurves() -> [Curve] {
    let done = trials.filter { $0.state == .done }
    return keys.flatMap { key -> [Curve] in
      guard let values = numbers(key), done.count > values.count || keys.count == 1 else { return [] }
      var curves = [curve(of: done, key, by: nil)]
      for other in keys where other.key != key.key {
        let lines = Set(done.compactMap { $0.values[other.key] })
        if lines.count >= 2, lines.count <= Self.mostLines { curves.append(curve(of: done, key, by: other)) }
      }
      return curves.filter { $0.lines.contains { $0.points.count >= 2 } }
    }
  }

  private func curve(of trials: [Trial], _ key: Key, by other: Key?) -> Curve {
    let groups = Dictionary(grouping: trials) { trial in other.flatMap { trial.values[$0.key] } ?? "" }
    func isBefore(_ first: String, _ second: String) -> Bool {
      if case .choices(let texts)? = other?.domain {
        return (texts.firstIndex(of: first) ?? 0) < (texts.firstIndex(of: second) ?? 0)
      }
      return (Double(first) ?? 0) < (Double(second) ?? 0)
    }
    let lines = groups.keys.sorted(by: isBefore).map { value in
      let byNumber = Dictionary(grouping: groups[value] ?? []) { trial in
        trial.values[key.key].flatMap { Double($0) } ?? 0
      }
      let points = byNumber.keys.sorted().compactMap { number -> Curve.Point? in
        let reports = (byNumber[number] ?? []).compactMap(\.reports.last)
        let means = reports.map { goal.value($0.score) }
        let ofSeeds = reports.flatMap { $0.scores.map(goal.value) }
        guard let best = goal == .accuracy ? means.max() : means.min(), let low = ofSeeds.min(),
          let high = ofSeeds.max()
        else { return nil }
        return Curve.Point(
          value: number, trials: means.count, best: best, mean: means.reduce(0, +) / Double(means.count), low: low,
          high: high)
      }
      return Curve.Line(value: value, points: points)
    }
    return Curve(key: key.key, by: other?.key, lines: lines)
  }
}

extension Halving {
  var words: String {
    let epochs = pauses.map { Quantity.plain($0) }.joined(separator: ", ")
    return "at epoch \(epochs) the better one in \(factor) of those that had come so far went on"
  }
}

extension Sampler {
  var words: String {
    switch self {
    case .grid: "all combinations"
    case .random: "values drawn at random"
    case .bayesian(let startup):
      "\(startup) trials at random, then a Bayesian search (tree-structured Parzen estimator)"
    }
  }
}
