import DistillData
import DistillRuntime
import DistillSearch
import Distillation
import Foundation
import Synchronization
import Torch

/// A search being made: trials are trained, one after the other, until as many as were asked for are done, or the time is
/// over; by several processes, if they are given the same folder.
///
/// What was asked for, what was tried and what it scored is in `study.sqlite`, and each training in a run folder below
/// `trainings`. A process that is killed loses no more than what it trained since the last checkpoint.
public struct Tuning: Sendable {
  public let definition: StudyDefinition
  public let folder: String
  /// So many trials are begun in all.
  public let limit: Int
  private let recipe: Configuration
  /// Nil: as many as the study was begun with.
  private let wantedTrials: Int?
  private let timeout: Double?
  private let observer: RunObserver

  public var database: String { Self.database(in: folder) }
  public var best: String { "\(folder)/best.yaml" }
  public var metrics: String { "\(folder)/metrics.json" }
  public var report: String { "\(folder)/report.html" }

  /// What the recipe warns of, to be shown before anything is done.
  public var warnings: [RecipeError.Problem] { recipe.warnings }

  private static func database(in folder: String) -> String { "\(folder)/study.sqlite" }

  /// - Throws: `RunError`, `RecipeError`, `SearchError`: what of the request cannot be understood.
  public init(_ request: TuneRequest, observer: @escaping RunObserver = { _ in }) throws {
    if let trials = request.trials, trials < 1 { throw RunError("--trials wants one at least, not \(trials)") }
    if request.resumes, request.recipe == nil, request.space.isEmpty {
      guard let folder = request.folder else {
        throw RunError("--resume needs to know which study: name its folder with --study, or the recipe and its space")
      }
      self.folder = folder
      definition = try Self.kept(in: folder)
      recipe = try Configuration.parse(text: definition.recipe, fileName: "\(definition.name).yaml")
    } else {
      (definition, recipe) = try StudyDefinition.of(request)
      folder = try request.folder ?? "studies/\(ComparisonSource.folderName(recipe.name))"
      if request.resumes { _ = try Self.kept(in: folder) }
    }
    guard folder.contains(where: { !$0.isWhitespace }) else {
      throw RunError("the folder of the study has an empty name: give one with --study")
    }
    try Self.checkPlace(folder)
    let count = definition.sampler.count(in: definition.space)
    wantedTrials = request.trials
    let path = Self.database(in: folder)
    let kept = FileManager.default.fileExists(atPath: path) ? try StudyStore(path: path).wantedTrials() : nil
    limit = min(request.trials ?? kept ?? count ?? TuneRequest.usualTrials, count ?? .max)
    timeout = request.timeout
    self.observer = observer
  }

  /// The study in a folder.
  private static func kept(in folder: String) throws -> StudyDefinition {
    let path = database(in: folder)
    guard FileManager.default.fileExists(atPath: path), let kept = try StudyStore(path: path).definition() else {
      throw RunError("there is no study in \(folder): name another folder with --study, or begin one without --resume")
    }
    return kept
  }

  private static func checkPlace(_ folder: String) throws {
    try Folder.checkPlace(folder, of: "study", option: "--study") { names in
      // Where only the database is missing, the study begins anew, and takes over what was trained.
      FileManager.default.fileExists(atPath: database(in: folder))
        || Set(["recipe.yaml", "trainings"]).isSubset(of: names)
    }
    try Folder.tryMaking(folder)
  }

  /// Does what is left to do, and writes `best.yaml`, `metrics.json` and `report.html`.
  ///
  /// - Throws: `RunError`, with `.interrupted` when somebody asked to stop, `.failure` when no trial can be done; errors of
  ///   data, models and files.
  public func run() throws -> TuneData {
    let sharing = try SharedTrainings(folder: folder, runs: runFolders())
    let store = try StudyStore(path: database)
    try store.begin(definition)
    if let wantedTrials { try store.want(trials: wantedTrials) }
    try AtomicFile.write(Data(definition.recipe.utf8), to: "\(folder)/recipe.yaml")
    let deadline = timeout.map { Date().addingTimeInterval($0) }
    let runner = TrialRunner(
      definition, folder: folder, sharing: sharing, deadline: deadline, observer: observer)
    let isTimeUp = try work(store, runner, until: deadline)
    let turn = try sharing.turn("report", observer)
    defer { withExtendedLifetime(turn) {} }
    return try conclude(store, runner, isTimeUp: isTimeUp)
  }

  /// Where a training may be done already: those of this study, and the recipe's own run.
  private func runFolders() throws -> [RunFolder] {
    let trainings = (try? FileManager.default.contentsOfDirectory(atPath: "\(folder)/trainings")) ?? []
    let written = try Configuration.parse(text: definition.recipe, fileName: "\(definition.name).yaml")
    return trainings.sorted().map { RunFolder("\(folder)/trainings/\($0)") } + [RunFolder(written.outputFolder)]
  }

  // MARK: Trials

  /// - Returns: whether the time was over before the work was
  private func work(_ store: StudyStore, _ runner: TrialRunner, until deadline: Date?) throws -> Bool {
    let worker = Worker()
    let heartbeat = Heartbeat(store, worker)
    defer { heartbeat.stop() }
    var isWaiting = false
    func isTimeUp() -> Bool { deadline.map { Date() >= $0 } ?? false }
    while !isTimeUp() {
      if Interruption.isRequested { throw RunError("interrupted", kind: .interrupted) }
      switch try store.claim(worker, limit: limit) {
      case .finished: return false
      case .wait:
        if !isWaiting { observer(.stage("Waiting for trials of other processes")) }
        isWaiting = true
        try SharedTrainings.pause()
      case .trial(let trial):
        isWaiting = false
        do {
          try train(trial, runner, store, worker)
        } catch let error as RunError where error.kind == .interrupted {
          try store.giveBack(trial, by: worker)
          if Interruption.isRequested { throw error }
        } catch let error where Self.isOfTheTrial(error) {
          try store.fail(trial, "\(error)", by: worker)
          observer(.notice("warning: \(words(trial)) failed: \(error)"))
          try requireSomeSuccess(store.trials())
        } catch {
          _ = try? store.giveBack(trial, by: worker)
          throw error
        }
      }
    }
    return true
  }

  private func train(_ trial: Trial, _ runner: TrialRunner, _ store: StudyStore, _ worker: Worker) throws {
    let label = RunEvent.TrainingLabel(
      name: "trial \(trial.number)", number: trial.number, count: max(2, trainingCount))
    let result = try runner.train(trial, label: label)
    let isKept = try store.report(
      trial, scores: result.scores, epoch: result.epoch, seconds: result.seconds, isWhole: result.isWhole, by: worker)
    guard isKept else {
      observer(.notice("warning: \(words(trial)) was taken up by another process in the meantime, and does not count"))
      return
    }
    var name = words(trial)
    if !result.isWhole { name += ", after \(TuneData.epochs(result.epoch))" }
    if definition.goal == .loss { name += ", loss \(Quantity.number(result.score.loss, decimals: 4))" }
    observer(
      .trained(
        RunEvent.TrainingLabel(name: name, number: label.number, count: label.count),
        .validation(result.score.accuracy), wasDoneBefore: false))
  }

  /// About how many times something is trained: with halving a trial comes to several rungs.
  private var trainingCount: Int {
    guard let halving = definition.halving else { return limit }
    return (0..<halving.rungCount).reduce((sum: 0, at: limit)) { count, _ in
      (count.sum + max(1, count.at), count.at / halving.factor)
    }.sum
  }

  private func words(_ trial: Trial) -> String { "trial \(trial.number): \(definition.space.words(trial.values))" }

  /// Whether an error is that of a trial's values, or of its training; others, such as a full disk, all trials would have.
  private static func isOfTheTrial(_ error: any Error) -> Bool {
    error is RecipeError || error is RunError || error is ModelFolderError || error is DistillationError
      || error is TorchError
  }

  /// So many trials may fail before one has scored something.
  private static let mostFailures = 3

  private func requireSomeSuccess(_ trials: [Trial]) throws {
    let failed = trials.filter { $0.state == .failed }
    guard failed.count >= min(Self.mostFailures, limit), trials.allSatisfy({ $0.score == nil }) else { return }
    throw RunError(
      "the first \(counted(failed.count, "trial")) failed, and none has scored anything. The last one (\(words(failed[failed.count - 1]))): "
        + (failed.last?.message ?? "no reason is known"), kind: .failure)
  }

  // MARK: The result

  private func conclude(_ store: StudyStore, _ runner: TrialRunner, isTimeUp: Bool) throws -> TuneData {
    let data = TuneData(
      definition, trials: try store.trials(), limit: limit, validationExamples: try runner.validationCount(),
      isTimeUp: isTimeUp)
    if let found = data.best, let trial = data.trials.first(where: { $0.number == found }) {
      try AtomicFile.write(
        Data(try definition.bestRecipe(trial.values, comments: data.comments(on: trial, study: folder)).utf8), to: best)
    }
    try AtomicFile.write(
      Data(TuneReport.html(data, best: try? String(contentsOfFile: best, encoding: .utf8)).utf8), to: report)
    try AtomicFile.write(try data.encoded(), to: metrics)
    return data
  }
}

/// Says every few seconds that a process lives, from a thread of its own.
private final class Heartbeat: Sendable {
  private let isStopped = Mutex(false)

  init(_ store: StudyStore, _ worker: Worker) {
    let thread = Thread { [self] in
      var next = Date().addingTimeInterval(Worker.beat)
      while !isStopped.withLock({ $0 }) {
        Thread.sleep(forTimeInterval: 0.2)
        guard Date() >= next else { continue }
        // A beat that is missed does no harm; the next one may come through.
        try? store.beat(worker)
        next = Date().addingTimeInterval(Worker.beat)
      }
    }
    thread.start()
  }

  func stop() { isStopped.withLock { $0 = true } }
}
