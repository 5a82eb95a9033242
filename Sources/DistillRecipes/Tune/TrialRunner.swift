import DistillData
import DistillSearch
import Distillation
import Foundation
import Torch

/// Trains the students of trials, with the machinery of runs: each training is one of a run folder of the study, so that it
/// goes on from its checkpoint, and what is the same in two trials, such as the teacher and what it says, is made once.
///
/// Nothing is scored on the test split.
final class TrialRunner {
  /// What came out of a trial at its rung.
  struct Result {
    /// Of each seed.
    var scores: [SearchScore]
    /// Their mean.
    var score: SearchScore
    var epoch: Double
    var seconds: Double
    /// Whether it was trained in full.
    var isWhole: Bool
  }

  private let definition: StudyDefinition
  private let folder: String
  private let sharing: SharedTrainings
  private let deadline: Date?
  private let observer: RunObserver
  private let outputs = TeacherOutputs()
  /// The data of the last trial, and what it is the data of.
  private var known: (key: String, materials: Materials)?
  /// The run folders in which this process has done a trial.
  private var prepared: Set<String> = []

  init(
    _ definition: StudyDefinition, folder: String, sharing: SharedTrainings, deadline: Date?,
    observer: @escaping RunObserver
  ) {
    self.definition = definition
    self.folder = folder
    self.sharing = sharing
    self.deadline = deadline
    self.observer = observer
  }

  /// Trains up to the trial's rung.
  ///
  /// - Throws: `RunError.interrupted` when somebody asked to stop, or the time is over; the trainings are then in their
  ///   folders. Whatever a training throws.
  func train(_ trial: Trial, label: RunEvent.TrainingLabel) throws -> Result {
    let recipe = try definition.configuration(with: trial.values)
    let place = try runFolder(of: recipe)
    let observer = self.observer
    let key = try dataKey(of: recipe)
    let isPrepared = !prepared.insert(place.path).inserted
    let experiment = Experiment(recipe, folder: place, sharing: sharing) { event in
      switch event {
      // What a trial scored is told once, for all its trainings.
      case .trained(let trained, _, _) where trained == label: break
      // That the teacher is there was told before.
      case .stage where isPrepared, .trained(_, _, wasDoneBefore: true) where isPrepared: break
      default: observer(event)
      }
    }
    let (plan, made, materials, lock) = try experiment.prepareTrial(
      known.flatMap { $0.key == key ? $0.materials : nil })
    defer { withExtendedLifetime(lock) {} }
    known = recipe.stages.isEmpty ? (key: key, materials: materials) : nil
    var runner = made
    runner.pause = definition.pause(at: trial.rung)
    runner.deadline = deadline
    runner.teacherOutputs = outputs
    let jobs = (plan.settings.first?.jobs ?? []).map { job in
      var job = job
      job.isForChoosing = true
      return job
    }
    do { try runner.label(for: jobs, threads: recipe.threads) } catch is Interrupted {
      throw RunError("interrupted", kind: .interrupted)
    }
    let start = ContinuousClock.now
    var scores: [SearchScore] = []
    var epoch = 0.0
    var isWhole = true
    for seed in recipe.seeds {
      // Of several stages the last one is what the student is.
      var last: (score: ValidationScore?, epoch: Double)?
      for job in jobs where job.seed == seed {
        do {
          let result = try runner.run(job, label: label)
          if let early = scoreBeforeTheEnd(of: job, in: place, at: runner.pause) {
            // It was done before, for another trial with the same values, or in a run: here it is judged by its rung.
            isWhole = false
            last = early
          } else {
            last = (result.outcome.validation, Double(result.outcome.steps) / Double(job.budget.stepsPerEpoch))
          }
        } catch is TrainingPaused {
          isWhole = false
          last = self.score(of: job, in: place, at: runner.pause ?? 0)
        }
      }
      guard let last, let score = last.score else {
        throw RunError("the training of trial \(trial.number) was not validated", kind: .failure)
      }
      scores.append(SearchScore(accuracy: score.accuracy, loss: score.loss))
      epoch = max(epoch, last.epoch)
    }
    guard let score = SearchScore(meanOf: scores), definition.goal.value(score).isFinite else {
      throw RunError("trial \(trial.number) scored nothing that is a number", kind: .failure)
    }
    return Result(
      scores: scores, score: score, epoch: epoch, seconds: (ContinuousClock.now - start) / .seconds(1),
      isWhole: isWhole)
  }

  /// The examples by which trials are chosen.
  func validationCount() throws -> Int {
    let recipe = try definition.configuration(with: [:])
    let key = try dataKey(of: recipe)
    if let known, known.key == key { return known.materials.split.validation.count }
    observer(.stage("Loading \(recipe.data.dataset)"))
    let materials = try Materials(recipe, observer: observer)
    if recipe.stages.isEmpty { known = (key: key, materials: materials) }
    return materials.split.validation.count
  }

  /// What a training had scored when it came to a pause, from its log: the same whether it has gone further since or not.
  private func score(
    of job: TrainingJob, in place: RunFolder, at pause: Double
  ) -> (score: ValidationScore?, epoch: Double)? {
    let rounds = self.rounds(of: job, in: place)
    guard let end = rounds.firstIndex(where: { $0.epoch >= pause }) else { return nil }
    let kept = job.training.keep == .best ? rounds[...end].last { $0.isBest } : nil
    return ((kept ?? rounds[end]).validation, rounds[end].epoch)
  }

  /// The same of a training that is over; nil where it ended at the pause, or before it.
  private func scoreBeforeTheEnd(
    of job: TrainingJob, in place: RunFolder, at pause: Double?
  ) -> (score: ValidationScore?, epoch: Double)? {
    guard let pause, let found = score(of: job, in: place, at: pause),
      let end = rounds(of: job, in: place).last?.epoch, found.epoch < end
    else { return nil }
    return found
  }

  private func rounds(of job: TrainingJob, in place: RunFolder) -> [Event.Round] {
    EventLog(path: place.job(job.folderName).events).rounds()
  }

  /// Trials with the same data and the same teacher share one.
  private func runFolder(of recipe: Configuration) throws -> RunFolder {
    let identity = try SHA256.hex(of: "\(recipe.identity(of: [.data, .teacher])) \(recipe.dataSeed)")
    return RunFolder("\(folder)/trainings/\(identity.prefix(10))")
  }

  private func dataKey(of recipe: Configuration) throws -> String {
    "\(try recipe.identity(of: [.data])) \(recipe.seeds)"
  }
}
