import DistillData
import DistillModels
import DistillRuntime
import Distillation
import Foundation
import Synchronization
import Torch
import TorchNN

/// A recipe being done: the teacher (trained, if the recipe says how and its weights are not there), the student alone
/// and distilled for every setting and seed, the comparison, and the report.
///
/// Everything that is done is in the run folder. A run that was interrupted goes on where it was; a training that is done
/// is not done again.
public final class Experiment: Sendable {
  public let configuration: Configuration
  public let folder: RunFolder
  private let observer: RunObserver
  /// What it shares with other runs, and with other processes that do it; nil: nothing.
  private let sharing: SharedTrainings?

  /// What is to become of a run that is in the folder already.
  public enum Start: Sendable {
    /// There must be none.
    case new
    /// It is gone on with; where there is none, it begins.
    case resuming
    /// It is set aside, and deleted once the new one is done.
    case overwriting
  }

  public init(_ configuration: Configuration, folder: RunFolder, observer: @escaping RunObserver = { _ in }) {
    self.configuration = configuration
    self.folder = folder
    self.observer = observer
    sharing = nil
  }

  /// A run that other processes do as well, and that may have trainings in common with other runs.
  init(_ configuration: Configuration, folder: RunFolder, sharing: SharedTrainings, observer: @escaping RunObserver) {
    self.configuration = configuration
    self.folder = folder
    self.observer = observer
    self.sharing = sharing
  }

  /// Does whatever is left to do and writes `metrics.json` and `report.html`.
  ///
  /// Everything that can be wrong with the recipe, its data and its models is found out before the folder is touched.
  ///
  /// - Throws: `RunError`, with `.interrupted` when somebody asked to stop; errors of data, models and files.
  @discardableResult
  public func run(_ start: Start = .resuming) throws -> ReportData {
    if start == .new, folder.exists {
      throw RunError(
        "\(folder.path) holds a run already. Go on with it: distill resume \(folder.path); start anew: --overwrite; "
          + "or name another folder: --output runs/...")
    }
    try folder.checkPlace()
    // Of a folder that is there nothing may change while its run is looked at.
    var lock = folder.exists ? try folder.lock() : nil
    defer { withExtendedLifetime(lock) {} }
    if start == .overwriting { try checkInputsOutside() }
    let (materials, device) = try loadAndCheck()
    if lock == nil { lock = try folder.lock() }
    guard start == .overwriting, folder.exists else {
      let data = try doAll(materials, device)
      folder.forgetAside()
      return data
    }
    try folder.setAside()
    do {
      let data = try doAll(materials, device)
      folder.forgetAside()
      return data
    } catch  where error is FileError || (error as? RunError)?.kind == .interrupted {
      // The new run can be gone on with, once there is room again.
      observer(.notice("the run that was in \(folder.path) before waits in \(folder.aside) until the new one is done"))
      throw error
    } catch {
      try folder.putBack()
      observer(.notice("the run that was in \(folder.path) before is there again"))
      throw error
    }
  }

  /// Begins the run, or goes on with it, beside other processes that do so too. Each training is done by one of them, and
  /// all return when the last one is.
  ///
  /// - Parameter known: the data, where it is loaded
  /// - Throws: as `run`
  func runShared(_ known: Materials? = nil) throws {
    // One process makes the folder and the teacher.
    var turn = try sharing?.turn("prepare \(FilePath.name(of: folder.path))", observer)
    try folder.checkPlace()
    var lock = folder.exists ? try folder.lock(isShared: true) : nil
    let (materials, device) = try loadAndCheck(known, checksCaches: true)
    if lock == nil { lock = try folder.lock(isShared: true) }
    defer { withExtendedLifetime(lock) {} }
    let configuration = try prepare(materials, device)
    withExtendedLifetime(turn) {}
    turn = nil
    try doAll(materials, device, configuration)
  }

  /// What trainings that are chosen among need: the teacher is there when it returns, and what the recipe leaves open is
  /// decided. Nothing is scored on the test split, and nothing is trained alone.
  ///
  /// Trials with the same data and the same teacher share the folder.
  ///
  /// - Parameter known: the data, where it is loaded
  /// - Throws: as `run`
  func prepareTrial(_ known: Materials?) throws -> (
    plan: RunPlan, runner: TrainingRunner, materials: Materials, lock: RunLock
  ) {
    var turn = try sharing?.turn("prepare \(FilePath.name(of: folder.path))", observer)
    try folder.checkPlace()
    let lock = try folder.lock(isShared: true)
    let (materials, device) = try loadAndCheck(known)
    let configuration = try prepare(materials, device, isForChoosing: true)
    withExtendedLifetime(turn) {}
    turn = nil
    let teacher = try teacherMaker(configuration, materials, device)
    let plan = try RunPlan(configuration, materials: materials, teacherHashes: teacher?.hashes() ?? [])
    var runner = TrainingRunner(
      materials: materials, teacherTestLogits: nil, device: device, folder: folder, observer: observer,
      sharing: sharing)
    runner.caches = caches
    return (plan, runner, materials, lock)
  }

  /// - Throws: `RunError` when something that the recipe reads would be taken away with the old run.
  private func checkInputsOutside() throws {
    for (_, setting) in try configuration.resolvedSettings() {
      for (key, path) in setting.files where FileManager.default.fileExists(atPath: path) && folder.contains(path) {
        throw RunError(
          "\(key): \(path) lies in the run folder \(folder.path), whose run would be replaced: copy it to another place "
            + "first, or name another run folder")
      }
    }
  }

  private func doAll(_ materials: Materials, _ device: Device) throws -> ReportData {
    let start = ContinuousClock.now
    return try doAll(materials, device, prepare(materials, device), since: start)
  }

  /// Writes down what is to be done, and makes the teacher. It gives the recipe with what it leaves open decided.
  ///
  /// - Parameter isForChoosing: whether the teacher is not to be scored on the test split
  private func prepare(
    _ materials: Materials, _ device: Device, isForChoosing: Bool = false
  ) throws -> Configuration {
    try begin()
    let configuration = try choosePrecision(materials, device)
    if configuration.teacher?.isToBeTrained ?? false {
      try trainTeacher(configuration, materials, device, isForChoosing: isForChoosing)
    }
    if configuration.teacher?.specialists != nil { try trainSpecialists(configuration, materials, device) }
    return try chooseTeacherPrecision(configuration, materials, device)
  }

  /// Who makes the teacher of the trainings; nil where there is none.
  private func teacherMaker(
    _ configuration: Configuration, _ materials: Materials, _ device: Device
  ) throws -> TeacherMaker? {
    guard let teacher = configuration.teacher, !teacher.members.isEmpty else { return nil }
    return try TeacherMaker(
      teacher, folder: folder, materials: materials, device: device, precision: configuration.training.precision,
      channelsLast: configuration.training.channelsLast, requiresSpecialists: true)
  }

  @discardableResult
  private func doAll(
    _ materials: Materials, _ device: Device, _ configuration: Configuration,
    since start: ContinuousClock.Instant = .now
  ) throws -> ReportData {
    let teacher = try teacherMaker(configuration, materials, device)
    var teacherTest: Tensor?
    var teacherMetrics: Metrics?
    if let teacher {
      observer(.stage("Testing the teacher"))
      let test = try materials.evaluationSet(
        materials.test, device: device, channelsLast: configuration.training.channelsLast)
      if materials.test.predictsTokens {
        teacherMetrics = try test.tokenMetrics(of: teacher.makeTeacher())
      } else {
        teacherTest = try test.logits(of: teacher.makeTeacher()).finiteOutputs(of: teacher.name)
      }
    }
    var runner = TrainingRunner(
      materials: materials, teacherTestLogits: teacherTest, device: device, folder: folder,
      observer: observer, testTeacher: teacher, sharing: sharing)
    runner.caches = caches
    runner.scoring = try TeacherScoring(
      teacher, materials: materials, device: device, channelsLast: configuration.training.channelsLast,
      logits: teacherTest)
    let plan = try RunPlan(configuration, materials: materials, teacherHashes: teacher?.hashes() ?? [])
    tellOutdated(plan)
    if let teacher, configuration.teacher?.isToBeTrained ?? false { try tellDifferences(teacher, materials, device) }
    do {
      try runner.label(for: plan.jobs, threads: configuration.threads.map { $0 * configuration.parallel })
    } catch {
      throw Self.asInterruption(error)
    }
    let results = try runAll(plan.jobs, with: runner)
    // Of several processes one after the other.
    let turn = try sharing?.turn("conclude \(FilePath.name(of: folder.path))", observer)
    defer { withExtendedLifetime(turn) {} }
    observer(.stage("Comparing"))
    let comparison = ReportMaker(
      configuration: self.configuration, precisions: configuration.precisions, folder: folder,
      materials: materials, teacher: teacher, teacherTestLogits: teacherTest, teacherMetrics: teacherMetrics,
      plan: plan, results: results, device: device)
    let data = try comparison.make(seconds: (ContinuousClock.now - start) / .seconds(1))
    try AtomicFile.write(try Manifest.encode(data.manifest), to: folder.manifest)
    try AtomicFile.write(Data(Report.html(data).utf8), to: folder.report)
    try keepStudent(plan)
    // Written last: where it is, the run is done.
    try AtomicFile.write(try MetricsFile(data).encoded(), to: folder.metrics)
    // Nobody asks for what the teacher said any more.
    try? FileManager.default.removeItem(atPath: folder.labels)
    return data
  }

  /// A trained teacher, where it is and what it scored.
  public struct TeacherScore: Codable, Sendable {
    public var path: String
    /// On the test split.
    public var accuracy: Double
  }

  /// Trains only the teacher.
  ///
  /// - Parameters:
  ///   - target: a folder that is to have the model too, with a manifest of how it was made
  ///   - dtype: what the weights are stored as there; the score is then that of the stored weights
  ///   - replacing: whether a model that is in `target` already may be replaced
  /// - Throws: `RunError` when the folder holds a run that is done, or another one's; otherwise as `run`.
  public func trainTeacher(
    saveTo target: ModelFolder? = nil, dtype: DType? = nil, replacing: Bool = false
  ) throws -> TeacherScore {
    if folder.isComplete {
      throw RunError(
        "\(folder.path) holds a run that is done, and stays as it is. Name another folder: --output runs/...")
    }
    if let marker = RunMarker(of: folder), folder.exists, marker.parts != (try RunMarker(configuration)).parts {
      let changed = try marker.difference(from: RunMarker(configuration)).joined(separator: ", ")
      throw RunError(
        "\(folder.path) holds a run of another recipe (\(changed)). Name another folder: --output runs/...")
    }
    if let target, !replacing {
      try Self.checkFree(target)
    }
    try folder.checkPlace()
    let (materials, device) = try loadAndCheck()
    let lock = try folder.lock()
    defer { withExtendedLifetime(lock) {} }
    try begin()
    if configuration.teacher?.isToBeTrained ?? false {
      try trainTeacher(try choosePrecision(materials, device, isTeacherOnly: true), materials, device)
    }
    let source = ModelFolder(folder.teacher)
    let saved = target ?? source
    if let target {
      let (model, description) = try source.load()
      let card = try String(contentsOfFile: source.card, encoding: .utf8)
      try target.save(model, description, dtype: dtype, card: card)
      try target.copyTokenizer(from: source)
    }
    let model = try saved.load().model
    try model.move(to: device)
    let test = try materials.evaluationSet(materials.test, device: device, channelsLast: false)
    let accuracy =
      materials.test.predictsTokens
      ? try test.tokenMetrics(of: model).accuracy
      : try Metrics(logits: test.logits(of: model).finiteOutputs(of: saved.path), labels: test.labels).accuracy
    if target != nil {
      var entries = try Manifest.entries(
        configuration, precisions: configuration.applying(try ChosenPrecisions.read(folder)).precisions,
        materials: materials, teacherHashes: [], seconds: nil)
      entries.append(ReportData.ManifestEntry("weights hash", try SHA256.hex(ofWeights: saved.weights)))
      entries.append(ReportData.ManifestEntry("accuracy of these weights on the test split", "\(accuracy)"))
      try AtomicFile.write(try Manifest.encode(entries), to: "\(saved.path)/manifest.json")
    }
    return TeacherScore(path: saved.path, accuracy: accuracy)
  }

  private static func checkFree(_ target: ModelFolder) throws {
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: target.path, isDirectory: &isFolder), !isFolder.boolValue {
      throw RunError("--save-to: \(target.path) is a file; name a folder")
    }
    guard let occupied = target.occupiedFiles.first else { return }
    throw RunError(
      "--save-to: \(target.path)/\(occupied) is there already: name another folder, or replace it with --force")
  }

  /// Loads the data, and finds out whether the recipe can be done, before anything is written.
  ///
  /// - Parameters:
  ///   - known: the data, where it is loaded
  ///   - checksCaches: whether caches of teachers are read as a whole; nil: where the data is not known
  private func loadAndCheck(
    _ known: Materials? = nil, checksCaches: Bool? = nil
  ) throws -> (materials: Materials, device: Device) {
    try configuration.checkSettings()
    let device = try configuration.availableDevice()
    if let threads = configuration.threads { try TorchRuntime.setThreadCount(threads) }
    let materials: Materials
    if let known {
      materials = known
    } else {
      observer(.stage("Loading \(configuration.data.dataset)"))
      materials = try Materials(configuration, observer: observer)
      for notice in materials.train.notices + materials.test.notices { observer(.notice("warning: \(notice)")) }
    }
    for (name, setting) in try configuration.resolvedSettings() {
      for (index, stage) in setting.sequence.enumerated() {
        let learners = try setting.learners(ofStage: index, setting: name ?? "", materials: materials)
        let place = setting.place(ofStage: index, setting: name ?? "")
        if let warning = stage.configuration.plainViewWarning { observer(.notice("warning: \(place)\(warning)")) }
        try located(place) {
          for seed in setting.seeds { _ = try materials.examples(stage.configuration.data, seed: seed) }
          for learner in learners {
            try learner.objective().requireFit(
              student: learner.student, teachers: learner.teachers, materials: materials, device: device)
          }
          if stage.configuration.teacher?.precompute == .always {
            let runner = TrainingRunner(
              materials: materials, teacherTestLogits: nil, device: device, folder: folder, observer: observer,
              isTrial: true)
            _ = try runner.precomputes(try TrainingJob(trialOf: stage.configuration, materials: materials))
          }
          if stage.configuration.teacher?.cache != nil, let own = learners.first {
            // Trials that follow have the data of the first one, whose cache was read as a whole.
            try checkCache(of: stage.configuration, own, materials, device, asWhole: checksCaches ?? (known == nil))
          }
        }
      }
    }
    return (materials, device)
  }

  /// Whether the cache of a recipe is whole, is of what the training shows, and has what the terms want.
  private func checkCache(
    of recipe: Configuration, _ learner: Learner, _ materials: Materials, _ device: Device, asWhole: Bool
  ) throws {
    var runner = TrainingRunner(
      materials: materials, teacherTestLogits: nil, device: device, folder: folder, observer: observer)
    runner.caches = caches
    let job = try TrainingJob(trialOf: recipe, materials: materials)
    guard let teacher = try runner.cachedTeacher(job), let cache = try runner.cache(job) else { return }
    let loader = try runner.makeLoader(job)
    do {
      try learner.objective().requireFit(student: learner.student, cached: teacher, loader: loader)
    } catch let error as DistillationError {
      throw RunError("teacher.cache: \(cache.folder): \(error)")
    }
    guard asWhole else { return }
    observer(.stage("Checking the teacher cache \(cache.folder)"))
    do {
      try cache.verify { done in
        observer(.fraction(done))
        return Interruption.isRequested ? .stop : .continue
      }
    } catch { throw Self.asInterruption(error) }
  }

  private let caches = TeacherCaches()

  /// Writes down what is to be done. The recipe works from any folder: what it reads is named in full.
  private func begin() throws {
    let marker = try RunMarker(configuration)
    if let before = RunMarker(of: folder) {
      changedParts.withLock { $0 = marker.difference(from: before) }
    }
    try AtomicFile.write(Data(configuration.yamlWithAbsoluteFiles.utf8), to: folder.recipe)
    try marker.write(to: folder)
  }

  /// The parts of the recipe that were changed since the run began.
  private let changedParts = Mutex<[String]>([])

  /// The recipe with what it leaves open decided: as before where the run is gone on with.
  private func choosePrecision(
    _ materials: Materials, _ device: Device, isTeacherOnly: Bool = false
  ) throws -> Configuration {
    let kept = try ChosenPrecisions.read(folder)
    let (all, new) = try PrecisionChooser(configuration: configuration, materials: materials, device: device)
      .choose(kept, isTeacherOnly: isTeacherOnly)
    for choice in new where choice.reason == .measured {
      observer(.notice("precision of the \(choice.role): \(choice.words)"))
    }
    var chosen = all
    chosen.teachers = kept.teachers
    // What is not asked for now may be later.
    chosen.choices += kept.choices.filter { old in !all.choices.contains { $0.key == old.key } }
    if chosen != kept { try chosen.write(to: folder) }
    return configuration.applying(all)
  }

  /// The recipe with what its teachers compute in decided, whose weights are there now: as before where the run is gone on
  /// with.
  private func chooseTeacherPrecision(
    _ configuration: Configuration, _ materials: Materials, _ device: Device
  ) throws -> Configuration {
    var chosen = try ChosenPrecisions.read(folder)
    let (all, new) = try TeacherPrecisionChooser(
      configuration: configuration, materials: materials, device: device, folder: folder
    ).choose(chosen.teachers)
    let measured = new.filter { $0.reason == .measured }
    for choice in measured { observer(.notice("precision in which \(choice.whose) teaches: \(choice.words)")) }
    if !measured.isEmpty {
      chosen.teachers = measured + chosen.teachers.filter { old in !measured.contains { $0.weights == old.weights } }
      try chosen.write(to: folder)
    }
    var settled = configuration.chosen ?? ChosenPrecisions()
    settled.teachers = all
    return configuration.applying(settled)
  }

  /// Says which trainings of an earlier recipe count no longer.
  private func tellOutdated(_ plan: RunPlan) {
    let folders = (try? FileManager.default.contentsOfDirectory(atPath: "\(folder.path)/jobs")) ?? []
    let outdated = plan.jobs(outdatedIn: folders)
    guard !outdated.isEmpty else { return }
    let parts = changedParts.withLock { $0 }
    let why =
      parts.isEmpty
      ? "the data or the teacher's weights are not those that the run began with"
      : "the recipe is not the one that the run began with (\(parts.joined(separator: ", ")) changed)"
    observer(
      .notice(
        "warning: \(why), so \(outdated.count) of \(counted(plan.jobs.count, "training")) are done anew: "
          + "\(outdated.map(\.name).joined(separator: "; ")). What was trained before stays in \(folder.path)/jobs, and "
          + "counts again when \(folder.recipe) is as it was"))
  }

  /// Says how transfer sets differ from what the teacher was trained on, which nobody could know before it was.
  private func tellDifferences(_ teacher: TeacherMaker, _ materials: Materials, _ device: Device) throws {
    let settings = try configuration.resolvedSettings().map { (name: $0.name ?? "", configuration: $0.configuration) }
    let found = try configuration.transferSetDifferences(
      of: settings, teacher: teacher.makeTeacher(), maker: teacher, materials: materials, device: device)
    for (place, difference) in found {
      for finding in difference.findings { observer(.notice("warning: \(place)\(finding)")) }
    }
  }

  private func trainTeacher(
    _ configuration: Configuration, _ materials: Materials, _ device: Device, isForChoosing: Bool = false
  ) throws {
    var runner = TrainingRunner(
      materials: materials, teacherTestLogits: nil, device: device, folder: folder, observer: observer,
      sharing: sharing)
    runner.stage = "Training the teacher"
    var job = try TrainingJob(teacherOf: configuration, materials: materials)
    job.isForChoosing = isForChoosing
    _ = try runner.run(job, label: RunEvent.TrainingLabel(name: "teacher", number: 1, count: 1))
    try Self.copy(ModelFolder(folder.job(job.folderName).model), to: ModelFolder(folder.teacher))
  }

  /// Makes specialists of the teacher, whose weights are there.
  private func trainSpecialists(_ configuration: Configuration, _ materials: Materials, _ device: Device) throws {
    guard let teacher = configuration.teacher, let specialists = teacher.specialists else { return }
    observer(.stage("Finding what the specialists are to know"))
    var generalist = teacher
    generalist.specialists = nil
    let maker = try TeacherMaker(generalist, folder: folder, materials: materials, device: device)
    let plan = try SpecialistPlan(
      configuration, specialists, generalist: maker, materials: materials, device: device)
    for job in plan.jobs {
      let names = job.specialist?.classes.subset.classes.map { materials.train.classNames[$0] } ?? []
      observer(.notice("\(job.name): \(names.joined(separator: ", "))"))
    }
    _ = try runAll(
      plan.jobs,
      with: TrainingRunner(
        materials: materials, teacherTestLogits: nil, device: device, folder: folder, observer: observer,
        sharing: sharing))
    try plan.write(to: folder, classNames: materials.train.classNames)
  }

  /// Does the trainings, as many at a time as the recipe says, and gives their results by identity.
  private func runAll(_ jobs: [TrainingJob], with runner: TrainingRunner) throws -> [String: TrainingResult] {
    let queue = TrainingQueue(jobs)
    let runner = UncheckedRunner(runner: runner)
    let threads = configuration.threads
    let work: @Sendable () -> Void = {
      if let threads { try? TorchRuntime.setThreadCount(threads) }
      while let (index, job) = queue.next() {
        let label = RunEvent.TrainingLabel(name: job.name, number: index + 1, count: jobs.count)
        do {
          if let result = try runner.runner.runUnlessTaken(job, label: label) {
            queue.finish(job, .success(result))
          } else {
            // Another process is at it: first what is left besides.
            queue.postpone(index)
            try SharedTrainings.pause()
          }
        } catch { queue.finish(job, .failure(error)) }
      }
    }
    let group = DispatchGroup()
    for _ in 0..<max(1, min(configuration.parallel, jobs.count)) {
      group.enter()
      // A thread of its own: libtorch's modes and thread counts belong to threads.
      let thread = Thread {
        work()
        group.leave()
      }
      thread.stackSize = 16 << 20
      thread.start()
    }
    group.wait()
    do { return try queue.results() } catch { throw Self.asInterruption(error) }
  }

  private static func asInterruption(_ error: any Error) -> any Error {
    error is Interrupted ? RunError("interrupted", kind: .interrupted) : error
  }

  /// The student that the run is about: distilled, first setting, first seed.
  private func keepStudent(_ plan: RunPlan) throws {
    // After its last stage.
    let first = configuration.seeds.first.flatMap { plan.settings.first?.job(.distilled, seed: $0) }
    guard let job = first ?? plan.jobs.first else { return }
    try Self.copy(ModelFolder(folder.job(job.folderName).model), to: ModelFolder(folder.student))
  }

  /// Copies the model of a training that was found whole.
  private static func copy(_ source: ModelFolder, to target: ModelFolder) throws {
    try Folder.make(target.path)
    for name in ModelFolder.files {
      let file = "\(source.path)/\(name)"
      guard let data = FileManager.default.contents(atPath: file) else { throw RunError("\(file) cannot be read") }
      try AtomicFile.write(data, to: "\(target.path)/\(name)")
    }
    try target.copyTokenizer(from: source)
  }
}

/// The teacher's logits in it are only read.
private struct UncheckedRunner: @unchecked Sendable {
  let runner: TrainingRunner
}

extension Configuration {
  /// Where the run goes: `output`, or `runs/` and the name.
  public var outputFolder: String { output ?? "runs/\(name)" }
}
