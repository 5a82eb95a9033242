import DistillData
import DistillModels
import Distillation
import Foundation
import Torch
import TorchNN

/// A comparison being made: recipes are run in its folder, runs that are done are read, and all that they trained is held
/// against its baselines.
///
/// Everything is kept in the folder. The same command goes on where it was interrupted; given in several processes, they
/// share the trainings.
public struct Comparison: Sendable {
  public let request: ComparisonRequest
  public let folder: String
  private let sources: [ComparisonSource]
  private let observer: RunObserver
  private let start = Date()

  public var metrics: String { "\(folder)/metrics.json" }
  public var report: String { "\(folder)/report.html" }

  /// What recipes warn of, to be shown before anything is done.
  public var warnings: [RecipeError.Problem] {
    sources.compactMap(\.recipe).flatMap(\.warnings)
  }

  /// - Throws: `RunError`, `RecipeError`: what of the request cannot be understood.
  public init(_ request: ComparisonRequest, observer: @escaping RunObserver = { _ in }) throws {
    self.request = request
    self.observer = observer
    sources = try ComparisonSource.all(request)
    folder =
      try request.output
      ?? "comparisons/\(ComparisonSource.folderName(sources.map(\.name).joined(separator: "-")))"
    guard folder.contains(where: { !$0.isWhitespace }) else {
      throw RunError("the folder of the comparison has an empty name: give one with --output")
    }
    if sources.count == 1, let recipe = sources[0].recipe, !recipe.compare, recipe.settings.count < 2 {
      throw Self.nothingToCompare
    }
    if RunFolder(folder).exists {
      throw RunError("\(folder) holds a run: name another folder for the comparison with --output")
    }
  }

  /// Does what is left to do, and writes `metrics.json` and `report.html`.
  ///
  /// - Throws: `RunError` when what is named cannot be compared, with `.interrupted` when somebody asked to stop; errors of
  ///   data, models and files.
  public func run() throws -> ComparisonData {
    var read: [(name: String, run: FinishedRun)] = []
    for source in sources {
      guard case .run(let folder) = source.kind else { continue }
      observer(.stage("Reading \(folder.path)"))
      read.append((source.name, try FinishedRun(folder, known: read.map(\.run), observer: observer)))
    }
    let planned = try conditions(read)
    var warnings = try requireComparable(planned)
    let sharing = try SharedTrainings(folder: folder, runs: runFolders)
    for source in sources {
      guard let recipe = source.recipe else { continue }
      let place = try runFolder(of: source)
      guard try !isDone(recipe, in: place) else { continue }
      observer(.stage("Running \(source.name)"))
      try Experiment(recipe, folder: place, sharing: sharing, observer: observer).runShared()
    }
    // Of several processes one after the other.
    let turn = try sharing.turn("compare", observer)
    defer { withExtendedLifetime(turn) {} }
    var runs: [(name: String, run: FinishedRun)] = []
    for source in sources {
      switch source.kind {
      case .run: runs += read.filter { $0.name == source.name }
      case .recipe:
        runs.append(
          (source.name, try FinishedRun(runFolder(of: source), known: runs.map(\.run), observer: observer)))
      }
    }
    observer(.stage("Comparing"))
    let arms = try ComparedArm.all(runs, seeds: request.seeds)
    let pairs = try pairs(of: arms)
    if request.baseline != nil { warnings += try requireComparable(arms.map(\.conditions)) }
    let students = arms.flatMap { arm in
      arm.students.map { (what: "\(arm.name), seed \($0.seed)", identity: $0.job.identity) }
    }
    let looks = try TestLedger(path: "\(folder)/test-looks.jsonl").note(
      students: students, arms: arms.count, since: start)
    let data = try ComparisonMaker(
      title: title, metric: request.metric, arms: arms, pairs: pairs, looks: looks, warnings: warnings
    ).make()
    try AtomicFile.write(Data(ComparisonReport.html(data).utf8), to: report)
    try AtomicFile.write(try data.encoded(), to: metrics)
    return data
  }

  private var title: String {
    sources.count == 1 ? sources[0].name : sources.map(\.name).joined(separator: ", ")
  }

  // MARK: Folders

  private func runFolder(of source: ComparisonSource) throws -> RunFolder {
    RunFolder("\(folder)/runs/\(try ComparisonSource.folderName(source.name))")
  }

  /// Where a training may be done already: the runs of this comparison, those that are read, and those that recipes have
  /// had by themselves.
  private var runFolders: [RunFolder] {
    get throws {
      try sources.flatMap { source -> [RunFolder] in
        switch source.kind {
        case .run(let folder): [folder]
        case .recipe(let recipe): [try runFolder(of: source), RunFolder(recipe.outputFolder)]
        }
      }
    }
  }

  /// Whether a recipe has been run to its end, and nothing of it has changed.
  private func isDone(_ recipe: Configuration, in place: RunFolder) throws -> Bool {
    guard place.isComplete, let kept = try? Configuration.load(path: place.recipe),
      kept.yamlWithAbsoluteFiles == recipe.yamlWithAbsoluteFiles
    else { return false }
    return (try? FinishedRun(place)) != nil
  }

  // MARK: What may be compared

  /// Of what has been run and of what will be, before any time is spent.
  private func conditions(_ read: [(name: String, run: FinishedRun)]) throws -> [ComparedConditions] {
    try sources.compactMap { source in
      switch source.kind {
      case .run:
        guard let run = read.first(where: { $0.name == source.name })?.run else { return nil }
        if let seeds = request.seeds, let missing = seeds.first(where: { !run.configuration.seeds.contains($0) }) {
          throw RunError(
            "the run in \(run.folder.path) has no seed \(missing), only "
              + run.configuration.seeds.map(String.init).joined(separator: ", "))
        }
        return run.plan.settings.first.map { ComparedConditions(source.name, $0, run.materials) }
      case .recipe(let recipe):
        observer(.stage("Loading \(recipe.data.dataset)"))
        let materials = try Materials(recipe, observer: { _ in })
        let plan = try RunPlan(recipe, materials: materials, teacherHashes: [])
        return plan.settings.first.map { ComparedConditions(source.name, $0, materials) }
      }
    }
  }

  /// - Returns: what of it is different and allowed all the same
  /// - Throws: `RunError` with all that differs.
  private func requireComparable(_ all: [ComparedConditions]) throws -> [String] {
    guard let first = all.first else { return [] }
    let different = try all.dropFirst().flatMap { try $0.differences(from: first) }
    guard different.isEmpty else {
      throw RunError(
        "these cannot be compared, since they do not have the same data:\n"
          + different.map { "  - \($0)" }.joined(separator: "\n"))
    }
    let budgets = all.dropFirst().compactMap { $0.budgetDifference(from: first) }
    guard !budgets.isEmpty, !request.allowsDifferentBudgets else {
      return budgets.map { "The budgets differ, so a difference need not be that of the method: \($0)." }
    }
    throw RunError(
      "these cannot be compared, since they do not have the same budget:\n"
        + budgets.map { "  - \($0)" }.joined(separator: "\n")
        + "\nGive all of them the same training.epochs or training.steps; or let them differ with "
        + "--allow-different-budgets, and the report will say so")
  }

  /// Who is held against whom.
  private func pairs(of arms: [ComparedArm]) throws -> [(arm: Int, baseline: Int)] {
    if let name = request.baseline {
      guard let baseline = arms.firstIndex(where: { $0.name == name }) else {
        let near = closest(to: name, in: arms.map(\.name), limit: 1).first.map { "did you mean '\($0)'? " } ?? ""
        throw RunError(
          "--baseline: there is no arm '\(name)': \(near)There are \(arms.map { "'\($0.name)'" }.joined(separator: ", "))"
        )
      }
      return arms.indices.filter { $0 != baseline }.map { ($0, baseline) }
    }
    let anyAlone = arms.firstIndex(where: \.isAlone)
    let pairs = arms.indices.filter { !arms[$0].isAlone }.compactMap { index -> (arm: Int, baseline: Int)? in
      let own = arms.firstIndex { $0.isAlone && $0.belongings.contains { arms[index].belongings.contains($0) } }
      guard let baseline = own ?? anyAlone ?? (index == 0 ? nil : 0) else { return nil }
      return (index, baseline)
    }
    guard !pairs.isEmpty else { throw Self.nothingToCompare }
    return pairs
  }

  private static let nothingToCompare = RunError(
    "there is only one way of training, and nothing to hold it against: name another recipe, or let this one compare "
      + "(compare: true)")
}
