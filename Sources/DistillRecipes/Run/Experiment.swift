import DistillData
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

  public init(_ configuration: Configuration, folder: RunFolder, observer: @escaping RunObserver = { _ in }) {
    self.configuration = configuration
    self.folder = folder
    self.observer = observer
  }

  /// Does whatever is left to do and writes `metrics.json` and `report.html`.
  ///
  /// - Throws: `RunError`, with `.interrupted` when somebody asked to stop; errors of data, models and files.
  @discardableResult
  public func run() throws -> ReportData {
    let start = ContinuousClock.now
    try configuration.checkSettings()
    let lock = try folder.lock()
    defer { withExtendedLifetime(lock) {} }
    let (materials, device) = try prepare()
    let training = configuration.training
    let teacher = try configuration.teacher.map {
      try TeacherMaker(
        $0, folder: folder, materials: materials, device: device, precision: training.precision,
        channelsLast: training.channelsLast)
    }
    let teacherTest = try teacher.map { teacher in
      observer(.stage("Testing the teacher"))
      return try materials.evaluationSet(materials.test, device: device, channelsLast: training.channelsLast)
        .logits(of: try teacher.makeTeacher()).finiteOutputs(of: teacher.name)
    }
    let runner = TrainingRunner(
      materials: materials, teacher: teacher, teacherTestLogits: teacherTest, device: device, folder: folder,
      observer: observer)
    let plan = try RunPlan(configuration, materials: materials, teacherHashes: teacher?.hashes() ?? [])
    do {
      try runner.label(for: plan.jobs, threads: configuration.threads.map { $0 * configuration.parallel })
    } catch {
      throw Self.asInterruption(error)
    }
    let results = try runAll(plan.jobs, with: runner)
    observer(.stage("Comparing"))
    let comparison = ReportMaker(
      configuration: configuration, folder: folder, materials: materials, teacher: teacher,
      teacherTestLogits: teacherTest, plan: plan, results: results, device: device)
    let data = try comparison.make(seconds: (ContinuousClock.now - start) / .seconds(1))
    try AtomicFile.write(try Manifest.encode(data.manifest), to: folder.manifest)
    try AtomicFile.write(try MetricsFile(data).encoded(), to: folder.metrics)
    try AtomicFile.write(Data(Report.html(data).utf8), to: folder.report)
    try keepStudent(plan)
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
  public func trainTeacher(saveTo target: ModelFolder? = nil, dtype: DType? = nil) throws -> TeacherScore {
    let lock = try folder.lock()
    defer { withExtendedLifetime(lock) {} }
    let (materials, device) = try prepare()
    let source = ModelFolder(folder.teacher)
    let saved = target ?? source
    if let target {
      let (model, description) = try source.load()
      let card = try String(contentsOfFile: source.card, encoding: .utf8)
      try target.save(model, description, dtype: dtype, card: card)
    }
    let model = try saved.load().model
    try model.move(to: device)
    let test = try materials.evaluationSet(materials.test, device: device, channelsLast: false)
    let accuracy = try Metrics(logits: test.logits(of: model).finiteOutputs(of: saved.path), labels: test.labels)
      .accuracy
    if target != nil {
      var entries = try Manifest.entries(configuration, materials: materials, teacherHashes: [], seconds: nil)
      entries.append(ReportData.ManifestEntry("weights hash", try SHA256.hex(ofFile: saved.weights)))
      entries.append(ReportData.ManifestEntry("accuracy of these weights on the test split", "\(accuracy)"))
      try AtomicFile.write(try Manifest.encode(entries), to: "\(saved.path)/manifest.json")
    }
    return TeacherScore(path: saved.path, accuracy: accuracy)
  }

  /// Writes down what is to be done, loads the data, and sees to it that the teacher is trained.
  private func prepare() throws -> (materials: Materials, device: Device) {
    try AtomicFile.write(Data(configuration.yaml.utf8), to: folder.recipe)
    let device = try configuration.availableDevice()
    if let threads = configuration.threads { try TorchRuntime.setThreadCount(threads) }
    observer(.stage("Loading \(configuration.data.dataset)"))
    let materials = try Materials(configuration.data, seed: configuration.dataSeed)
    if configuration.teacher?.isToBeTrained ?? false { try trainTeacher(materials, device) }
    return (materials, device)
  }

  private func trainTeacher(_ materials: Materials, _ device: Device) throws {
    observer(.stage("Training the teacher"))
    let runner = TrainingRunner(
      materials: materials, teacher: nil, teacherTestLogits: nil, device: device, folder: folder, observer: observer)
    let job = try TrainingJob(teacherOf: configuration, materials: materials)
    _ = try runner.run(job, label: RunEvent.TrainingLabel(name: "teacher", number: 1, count: 1))
    try Self.copy(ModelFolder(folder.job(job.folderName).model), to: ModelFolder(folder.teacher))
  }

  /// Does the trainings, as many at a time as the recipe says, and gives their results by identity.
  private func runAll(_ jobs: [TrainingJob], with runner: TrainingRunner) throws -> [String: TrainingResult] {
    let shared = Mutex<(next: Int, results: [String: TrainingResult], failure: (any Error)?)>((0, [:], nil))
    let runner = UncheckedRunner(runner: runner)
    let threads = configuration.threads
    let work: @Sendable () -> Void = {
      if let threads { try? TorchRuntime.setThreadCount(threads) }
      while true {
        let index: Int? = shared.withLock { state in
          guard state.failure == nil, state.next < jobs.count else { return nil }
          state.next += 1
          return state.next - 1
        }
        guard let index else { return }
        let label = RunEvent.TrainingLabel(name: jobs[index].name, number: index + 1, count: jobs.count)
        do {
          let result = try runner.runner.run(jobs[index], label: label)
          shared.withLock { $0.results[jobs[index].identity] = result }
        } catch {
          shared.withLock { $0.failure = $0.failure ?? error }
        }
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
    return try shared.withLock { state in
      if let failure = state.failure { throw Self.asInterruption(failure) }
      return state.results
    }
  }

  private static func asInterruption(_ error: any Error) -> any Error {
    error is Interrupted ? RunError("interrupted", kind: .interrupted) : error
  }

  /// The student that the run is about: distilled, first setting, first seed.
  private func keepStudent(_ plan: RunPlan) throws {
    guard let job = plan.settings.first?.jobs.first(where: { $0.arm == .distilled }) ?? plan.jobs.first else { return }
    try Self.copy(ModelFolder(folder.job(job.folderName).model), to: ModelFolder(folder.student))
  }

  private static func copy(_ source: ModelFolder, to target: ModelFolder) throws {
    try FileManager.default.createDirectory(atPath: target.path, withIntermediateDirectories: true)
    for (from, to) in [
      (source.weights, target.weights), (source.card, target.card), (source.configuration, target.configuration),
    ] {
      guard let data = FileManager.default.contents(atPath: from) else { throw RunError("\(from) cannot be read") }
      try AtomicFile.write(data, to: to)
    }
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
