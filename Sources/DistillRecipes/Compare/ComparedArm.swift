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

    /// A hash of its weights.
    var weights: String? { result.files["model/model.safetensors"] }
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

  /// The identities of the teachers that its settings have.
  private(set) var teachers: Set<String?>
  /// What else it may be called.
  var aliases: [String]

  /// Those of all runs: first students alone, each different one once, then the distilled ones, each different one once.
  ///
  /// - Parameters:
  ///   - seeds: those that count; nil: all
  ///   - metric: where it is that of a student and a teacher, a student alone is another arm beside another teacher
  /// - Returns: the arms, and what was named more than once
  static func all(
    _ runs: [(source: ComparisonSource, run: FinishedRun)], seeds: [Int]?, metric: ComparisonMetric
  ) throws -> (arms: [Self], repeated: [String]) {
    var alone: [(arm: Self, labels: [ArmLabel])] = []
    var distilled: [(arm: Self, label: ArmLabel)] = []
    for (number, (source, run)) in runs.enumerated() {
      for (place, setting) in run.plan.settings.enumerated() {
        let label = ArmLabel(
          source, setting: run.plan.settings.count > 1 ? setting.name : nil, isOnly: runs.count == 1)
        let belonging = Belonging(run: number, setting: place)
        func arm(_ kind: TrainingJob.Arm) throws -> Self? {
          try Self(kind, name: label.full, run, setting, belonging, seeds: seeds)
        }
        if var taught = try arm(.distilled) {
          taught.aliases = label.aliases
          distilled.append((taught, label))
        }
        guard let own = try arm(.alone) else { continue }
        let known = alone.firstIndex {
          $0.arm.identities == own.identities && (!metric.isBesideTeacher || $0.arm.teachers == own.teachers)
        }
        if let known {
          alone[known].arm.belongings.append(belonging)
          alone[known].arm.teachers.formUnion(own.teachers)
          alone[known].labels.append(label)
        } else {
          alone.append((own, [label]))
        }
      }
    }
    let names = ArmNames(alone: alone.map { $0.labels }, distilled: distilled.map { $0.label })
    for (index, name) in names.alone.enumerated() { alone[index].arm.name = name }
    for (index, name) in names.distilled.enumerated() { distilled[index].arm.name = name }
    let (different, repeated) = merged(distilled.map { $0.arm })
    return (alone.map { $0.arm } + different, repeated)
  }

  /// Those whose students are the same, bit for bit, are one: counted twice, it would be held against itself.
  private static func merged(_ arms: [Self]) -> (arms: [Self], repeated: [String]) {
    var different: [Self] = []
    var repeated: [String] = []
    for arm in arms {
      guard let same = different.firstIndex(where: { $0.isSameTraining(as: arm) }) else {
        different.append(arm)
        continue
      }
      let known = different[same]
      var kept = known.students.count >= arm.students.count ? known : arm
      kept.belongings = known.belongings + arm.belongings
      kept.aliases = known.aliases + arm.aliases + [known.name, arm.name]
      kept.teachers = known.teachers.union(arm.teachers)
      different[same] = kept
      repeated.append(
        "'\(known.name)' and '\(arm.name)' are the same training: their students are the same, bit for bit. They count "
          + "once, as '\(kept.name)'.")
    }
    return (different, repeated)
  }

  /// Whether all students of common seeds are the same.
  private func isSameTraining(as other: Self) -> Bool {
    let twins = students.compactMap { own in other.student(own.seed).map { (own, $0) } }
    return !twins.isEmpty && twins.allSatisfy { $0.weights == $1.weights }
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
    teachers = [run.scoring.identity]
    aliases = []
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

  /// What a student of this arm scored, where it is held against one of another arm: a student alone beside the teacher of
  /// the other.
  func metrics(_ student: Student, against other: Self) throws -> Metrics {
    guard isAlone, !other.isAlone else { return student.metrics }
    let place = run.folder.job(student.job.folderName)
    return try other.run.scoring.scored(student.result, of: student.job, in: place)?.test ?? student.metrics
  }

  func student(_ seed: Int) -> Student? { students.first { $0.seed == seed } }
}
