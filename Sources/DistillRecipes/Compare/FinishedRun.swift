import DistillData
import DistillModels
import Distillation
import Foundation
import Torch
import TorchNN

/// A run that is done, read from its folder, each training held against its hashes.
struct FinishedRun {
  let folder: RunFolder
  /// With the precision that the run chose.
  let configuration: Configuration
  let materials: Materials
  let plan: RunPlan
  let teacher: TeacherMaker?
  /// By identity.
  let results: [String: TrainingResult]
  let metrics: MetricsFile
  /// What students score beside its teacher.
  let scoring: TeacherScoring

  /// Data that is loaded, and of which recipe it is.
  typealias KnownData = (recipe: Configuration, materials: Materials)

  /// - Parameters:
  ///   - own: its data, where it is loaded
  ///   - known: the data of other runs, which need not be loaded again where they are the same
  /// - Throws: `RunError` when there is no run, when it is not done, or not what it was.
  init(_ folder: RunFolder, _ own: Materials? = nil, known: [KnownData] = [], observer: RunObserver = { _ in }) throws {
    guard folder.exists else {
      throw RunError("there is no run in \(folder.path): name a recipe, or the folder of a run")
    }
    guard folder.isComplete, let file = FileManager.default.contents(atPath: folder.metrics) else {
      throw RunError("the run in \(folder.path) is not done. Go on with it first: distill resume \(folder.path)")
    }
    do { metrics = try MetricsFile(decoding: file) } catch {
      throw RunError("\(folder.metrics) is damaged. Let the run write it again: distill resume \(folder.path)")
    }
    let recipe = try Configuration.load(path: folder.recipe)
    let configuration = try recipe.applying(ChosenPrecisions.read(folder))
    let device = try configuration.availableDevice()
    let materials =
      try own ?? known.first { $0.recipe.hasSameData(as: configuration) }?.materials
      ?? Materials(configuration, observer: observer)
    teacher = try configuration.teacher.flatMap { teacher in
      teacher.members.isEmpty
        ? nil
        : try TeacherMaker(
          teacher, folder: folder, materials: materials, device: device, precision: configuration.training.precision,
          channelsLast: configuration.training.channelsLast, requiresSpecialists: true)
    }
    plan = try RunPlan(configuration, materials: materials, teacherHashes: teacher?.hashes() ?? [])
    scoring = try TeacherScoring(
      teacher, materials: materials, device: device, channelsLast: configuration.training.channelsLast)
    var results: [String: TrainingResult] = [:]
    for job in plan.jobs {
      let place = folder.job(job.folderName)
      switch Remains(of: job, in: place) {
      case .whole(let result): results[job.identity] = try scoring.scored(result, of: job, in: place) ?? result
      case .damaged(let what):
        throw RunError("\(what). Do it again: distill resume \(folder.path)")
      case .unfinished:
        throw RunError(
          "the run in \(folder.path) is not that of its recipe.yaml: the training '\(job.name)' is missing. The data or "
            + "the teacher's weights may be others now; do it again: distill resume \(folder.path)")
      }
    }
    self.results = results
    self.folder = folder
    self.configuration = configuration
    self.materials = materials
  }

  /// What a student said of each test example; nil of texts, of which nothing is kept.
  func predictions(_ job: TrainingJob) throws -> TestPredictions? {
    guard !materials.test.predictsTokens else { return nil }
    let path = folder.job(job.folderName).testLogits
    guard let logits = try Checkpoint.read(path).tensors.first?.tensor else {
      throw RunError("\(path) is empty", kind: .failure)
    }
    return try TestPredictions(logits: logits, labels: (0..<materials.test.count).map { materials.test.label(at: $0) })
  }

  /// The models of the teacher.
  var teachingMembers: [TeacherMember] { teacher.map { $0.members + $0.specialistMembers } ?? [] }
}

extension Configuration {
  /// Whether all that is made of its data is what another recipe would make of it.
  func hasSameData(as other: Self) -> Bool {
    // What settings and stages show besides is in the materials too.
    guard settings.isEmpty, other.settings.isEmpty, stages.isEmpty, other.stages.isEmpty, seeds == other.seeds,
      dataSeed == other.dataSeed, let own = try? identity(of: [.data]), let others = try? other.identity(of: [.data])
    else { return false }
    return own == others
  }
}
