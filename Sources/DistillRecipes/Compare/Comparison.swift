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
    try Folder.checkPlace(folder, of: "comparison", option: "--output") { names in
      names.contains { ["runs", "test-looks.jsonl"].contains($0) }
    }
  }

  /// Does what is left to do, and writes `metrics.json` and `report.html`.
  ///
  /// - Throws: `RunError` when what is named cannot be compared, with `.interrupted` when somebody asked to stop; errors of
  ///   data, models and files.
  public func run() throws -> ComparisonData {
    var known: [FinishedRun.KnownData] = []
    var read: [(source: ComparisonSource, run: FinishedRun)] = []
    for source in sources {
      guard case .run(let folder) = source.kind else { continue }
      observer(.stage("Reading \(folder.path)"))
      let run = try FinishedRun(folder, known: known, observer: observer)
      known.append((run.configuration, run.materials))
      read.append((source, run))
    }
    let planned = try plan(read, &known)
    var warnings = try requireComparable(planned.compactMap(\.conditions))
    try checkBaseline(planned)
    let sharing = try SharedTrainings(folder: folder, runs: runFolders)
    for item in planned {
      guard let recipe = item.source.recipe else { continue }
      let place = try runFolder(of: item.source)
      guard try !isDone(recipe, item.materials, in: place) else { continue }
      observer(.stage("Running \(item.source.name)"))
      try Experiment(recipe, folder: place, sharing: sharing, observer: observer).runShared(item.materials)
    }
    // Of several processes one after the other.
    let turn = try sharing.turn("compare", observer)
    defer { withExtendedLifetime(turn) {} }
    var runs: [(source: ComparisonSource, run: FinishedRun)] = []
    for item in planned {
      if let known = read.first(where: { $0.source.name == item.source.name })?.run {
        runs.append((item.source, known))
      } else {
        let place = try runFolder(of: item.source)
        runs.append((item.source, try FinishedRun(place, item.materials, observer: observer)))
      }
    }
    observer(.stage("Comparing"))
    let (arms, repeated) = try ComparedArm.all(runs, seeds: request.seeds, metric: request.metric)
    let (pairs, untested) = try choosePairs(of: arms)
    warnings += repeated
    if request.baseline != nil { warnings += try requireComparable(arms.map(\.conditions)) }
    let students = arms.flatMap { arm in
      arm.students.map { (what: "\(arm.name), seed \($0.seed)", identity: $0.job.identity) }
    }
    let looks = try TestLedger(path: "\(folder)/test-looks.jsonl").note(
      students: students, arms: arms.count, since: start)
    let data = try ComparisonMaker(
      title: title, metric: request.metric, arms: arms, pairs: pairs, looks: looks, warnings: warnings,
      untested: untested
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
  private func isDone(_ recipe: Configuration, _ materials: Materials, in place: RunFolder) throws -> Bool {
    guard place.isComplete, let kept = try? Configuration.load(path: place.recipe),
      kept.yamlWithAbsoluteFiles == recipe.yamlWithAbsoluteFiles
    else { return false }
    return (try? FinishedRun(place, materials)) != nil
  }

  // MARK: What may be compared

  /// A source as it is known before any time is spent.
  private struct Planned {
    var source: ComparisonSource
    var settings: [RunPlan.Setting]
    var materials: Materials

    var conditions: ComparedConditions? { settings.first.map { ComparedConditions(source.name, $0, materials) } }
  }

  /// Of what has been run and of what will be.
  ///
  /// - Parameter known: the data that is loaded, with what is loaded for it
  private func plan(
    _ read: [(source: ComparisonSource, run: FinishedRun)], _ known: inout [FinishedRun.KnownData]
  ) throws -> [Planned] {
    var all: [Planned] = []
    for source in sources {
      switch source.kind {
      case .run:
        guard let run = read.first(where: { $0.source.name == source.name })?.run else { continue }
        if let seeds = request.seeds, let missing = seeds.first(where: { !run.configuration.seeds.contains($0) }) {
          throw RunError(
            "the run in \(run.folder.path) has no seed \(missing), only "
              + run.configuration.seeds.map(String.init).joined(separator: ", "))
        }
        all.append(Planned(source: source, settings: run.plan.settings, materials: run.materials))
      case .recipe(let recipe):
        let materials: Materials
        if let loaded = known.first(where: { $0.recipe.hasSameData(as: recipe) })?.materials {
          materials = loaded
        } else {
          observer(.stage("Loading \(recipe.data.dataset)"))
          materials = try Materials(recipe, observer: observer)
          for notice in materials.train.notices + materials.test.notices { observer(.notice("warning: \(notice)")) }
          known.append((recipe, materials))
        }
        let plan = try RunPlan(recipe, materials: materials, teacherHashes: [])
        all.append(Planned(source: source, settings: plan.settings, materials: materials))
      }
    }
    return all
  }

  /// A baseline that there will not be is noticed before anything is trained.
  private func checkBaseline(_ planned: [Planned]) throws {
    guard let baseline = request.baseline else { return }
    // Which students alone are the same beside teachers that are not there yet is only known when they are.
    let isOpen = request.metric.isBesideTeacher || sources.contains { $0.recipe == nil }
    if isOpen, baseline.hasPrefix("alone") { return }
    var alone: [(key: [String], labels: [ArmLabel])] = []
    var distilled: [ArmLabel] = []
    for item in planned {
      for setting in item.settings {
        let label = ArmLabel(
          item.source, setting: item.settings.count > 1 ? setting.name : nil, isOnly: planned.count == 1)
        distilled.append(label)
        guard setting.configuration.compare else { continue }
        let seeds = setting.configuration.seeds.filter { request.seeds?.contains($0) ?? true }
        var key = seeds.compactMap { setting.job(.alone, seed: $0)?.identity }
        if setting.configuration.student.startsFromTeacher(isAlone: true) {
          key.append(try setting.configuration.identity(of: [.data, .teacher]))
        }
        if let place = alone.firstIndex(where: { $0.key == key }) {
          alone[place].labels.append(label)
        } else {
          alone.append((key, [label]))
        }
      }
    }
    let names = ArmNames(alone: alone.map { $0.labels }, distilled: distilled)
    let noAliases = [[String]](repeating: [], count: names.alone.count)
    _ = try ArmNames.place(
      of: baseline, in: names.alone + names.distilled, aliases: noAliases + distilled.map(\.aliases))
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

  /// Up to so many distilled arms, each is held against each other one too.
  private static let mostAmongEachOther = 3

  /// Who is held against whom, and the arms that could be held against each other and are not.
  private func choosePairs(of arms: [ComparedArm]) throws -> (pairs: [(arm: Int, baseline: Int)], untested: [String]) {
    var pairs: [(arm: Int, baseline: Int)] = []
    if let name = request.baseline {
      let baseline = try ArmNames.place(of: name, in: arms.map(\.name), aliases: arms.map(\.aliases))
      pairs = arms.indices.filter { $0 != baseline }.map { ($0, baseline) }
    } else {
      let anyAlone = arms.firstIndex(where: \.isAlone)
      pairs = arms.indices.filter { !arms[$0].isAlone }.compactMap { index in
        let own = arms.firstIndex { $0.isAlone && $0.belongings.contains { arms[index].belongings.contains($0) } }
        guard let baseline = own ?? anyAlone ?? (index == 0 ? nil : 0) else { return nil }
        return (index, baseline)
      }
    }
    let taught = arms.indices.filter { !arms[$0].isAlone }
    var others: [(arm: Int, baseline: Int)] = []
    for (place, second) in taught.enumerated() {
      for first in taught[..<place] where try isComparable(arms[second], arms[first]) {
        if !pairs.contains(where: { Set([$0.arm, $0.baseline]) == [first, second] }) {
          others.append((second, first))
        }
      }
    }
    if request.baseline == nil, taught.count <= Self.mostAmongEachOther {
      pairs += others
      others = []
    }
    guard !pairs.isEmpty else { throw Self.nothingToCompare }
    let untested = Set(others.flatMap { [$0.arm, $0.baseline] }).sorted().map { arms[$0].name }
    return (pairs, untested)
  }

  private func isComparable(_ arm: ComparedArm, _ other: ComparedArm) throws -> Bool {
    guard arm.students.contains(where: { other.student($0.seed) != nil }),
      try arm.conditions.differences(from: other.conditions).isEmpty
    else { return false }
    return request.allowsDifferentBudgets || arm.conditions.budgetDifference(from: other.conditions) == nil
  }

  private static let nothingToCompare = RunError(
    "there is only one way of training, and nothing to hold it against: name another recipe, or let this one compare "
      + "(compare: true)")
}
