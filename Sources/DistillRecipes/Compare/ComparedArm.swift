import DistillData
import DistillModels
import Distillation
import Foundation
import Torch

/// One way of training a student, with the students of its seeds, as a comparison has it.
struct ComparedArm {
  struct Student {
    var seed: Int
    var job: TrainingJob
    var result: TrainingResult
    var metrics: Metrics
    /// Nil of texts.
    var predictions: TestPredictions?
    /// Validation accuracy over epochs, those of several stages counted on.
    var curve: [(epoch: Double, accuracy: Double)]
  }

  /// A setting of a run.
  struct Belonging: Hashable {
    var run: Int
    var setting: Int
  }

  var name: String
  let isAlone: Bool
  let run: FinishedRun
  let setting: RunPlan.Setting
  let conditions: ComparedConditions
  let specification: ModelSpecification
  /// The settings whose students these are; several where the student alone is the same in them.
  var belongings: [Belonging]
  let students: [Student]
  /// Steps, and examples shown, of one student.
  let shown: (steps: Int, examples: Int)

  /// Those of all runs: first students alone, each different one once, then the distilled ones.
  ///
  /// - Parameter seeds: those that count; nil: all
  static func all(_ runs: [(name: String, run: FinishedRun)], seeds: [Int]?) throws -> [Self] {
    var alone: [Self] = []
    var distilled: [Self] = []
    for (number, (name, run)) in runs.enumerated() {
      for (place, setting) in run.plan.settings.enumerated() {
        let several = run.plan.settings.count > 1
        let full = !several ? name : runs.count == 1 ? setting.name : "\(name): \(setting.name)"
        let belonging = Belonging(run: number, setting: place)
        func arm(_ kind: TrainingJob.Arm) throws -> Self? {
          try Self(kind, name: full, run, setting, belonging, seeds: seeds)
        }
        if let taught = try arm(.distilled) { distilled.append(taught) }
        guard let own = try arm(.alone) else { continue }
        if let known = alone.firstIndex(where: { $0.identities == own.identities }) {
          alone[known].belongings.append(belonging)
        } else {
          alone.append(own)
        }
      }
    }
    if alone.count == 1 {
      alone[0].name = "alone"
    } else {
      for index in alone.indices { alone[index].name = "alone, \(alone[index].name)" }
    }
    if distilled.count == 1, alone.count == 1 { distilled[0].name = "distilled" }
    for index in distilled.indices where alone.contains(where: { $0.name == distilled[index].name }) {
      distilled[index].name += ", distilled"
    }
    return alone + distilled
  }

  private init?(
    _ arm: TrainingJob.Arm, name: String, _ run: FinishedRun, _ setting: RunPlan.Setting, _ belonging: Belonging,
    seeds: [Int]?
  ) throws {
    var students: [Student] = []
    for seed in setting.configuration.seeds where seeds?.contains(seed) ?? true {
      guard let job = setting.job(arm, seed: seed), let result = run.results[job.identity], let test = result.test
      else { continue }
      let stages = arm == .distilled ? setting.lineage(seed: seed) : [job]
      students.append(
        Student(
          seed: seed, job: job, result: result, metrics: test, predictions: try run.predictions(job),
          curve: Self.curve(stages, in: run.folder)))
    }
    guard let first = students.first else { return nil }
    let isAlone = arm == .alone
    self.name = name
    self.isAlone = isAlone
    self.run = run
    self.setting = setting
    self.students = students
    conditions = ComparedConditions(name, setting, run.materials)
    belongings = [belonging]
    specification = try setting.configuration.studentSpecification(
      inputShape: run.materials.train.exampleShape, classCount: run.materials.train.classCount, isAlone: isAlone)
    shown = isAlone ? first.job.shown : setting.shown
  }

  private static func curve(_ stages: [TrainingJob], in folder: RunFolder) -> [(epoch: Double, accuracy: Double)] {
    var before = 0.0
    var points: [(epoch: Double, accuracy: Double)] = []
    for job in stages {
      let rounds = EventLog(path: folder.job(job.folderName).events).rounds()
      points += rounds.compactMap { round in round.validation.map { (before + round.epoch, $0.accuracy) } }
      before += rounds.last?.epoch ?? 0
    }
    return points
  }

  private var identities: [String] { students.map(\.job.identity) }

  func student(_ seed: Int) -> Student? { students.first { $0.seed == seed } }
}
