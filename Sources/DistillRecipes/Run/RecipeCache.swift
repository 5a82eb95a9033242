import DistillData
import Distillation
import Foundation
import Synchronization
import Torch
import TorchNN

// The teacher cache that a recipe names: whether it fits, and the teacher that it is.

extension TeacherMaker {
  /// Who it is, where what it says is kept.
  func cacheKey() throws -> TeacherCache.Key.Teacher {
    let own = try zip(members + specialistMembers, hashes()).map { member, hash in
      TeacherCache.Key.Member(name: member.name, weights: hash)
    }
    return TeacherCache.Key.Teacher(
      members: own, precision: try precisionWords(), classCount: materials.train.classCount, settings: cacheSettings)
  }
}

extension TrainingJob {
  /// The distilled training of a recipe with its first seed, to look at what it will do.
  init(trialOf configuration: Configuration, materials: Materials) throws {
    let seed = configuration.seeds.first ?? 0
    let (labelled, transfer) = try materials.examples(configuration.data, seed: seed)
    try self.init(
      setting: "", arm: .distilled, seed: seed, configuration: configuration, examples: transfer, labelled: labelled,
      budget: Budget(configuration.training, exampleCount: transfer.count), dependencies: ["check"])
  }
}

extension TrainingRunner {
  /// All examples that any seed may show, as the teacher sees them, in large batches.
  ///
  /// - Parameter keepsLayers: whether layers are kept, which are of texts of the whole length, so that all have one shape
  func labelLoader(_ job: TrainingJob, keepsLayers: Bool = false) throws -> DataLoader {
    var options = loaderOptions(job)
    if keepsLayers { options.trimsTexts = false }
    options.batchSize = materials.scoringBatch
    options.shuffle = false
    return try DataLoader(dataset: materials.joined, examples: labelledExamples(job), options: options)
  }

  /// All examples that any seed may show.
  func labelledExamples(_ job: TrainingJob) throws -> [Int] {
    let others = try materials.shownParts(job.configuration.data, seed: job.seed).flatMap(\.range)
    return (materials.split.train + others).sorted()
  }

  /// The teacher whose outputs the recipe's cache holds; nil where it names none.
  ///
  /// - Throws: `TeacherCacheError`, `RunError`, `DistillationError` that say what does not fit.
  func cachedTeacher(_ job: TrainingJob) throws -> PrecomputedTeacher? {
    try cache(job).map { cache in
      let teacher = cache.makeTeacher()
      do { try teacher.requireFit(makeLoader(job)) } catch let error as DistillationError {
        guard let division = try divisionProblem(cache, job) else { throw error }
        throw RunError("teacher.cache: \(cache.folder): \(error); \(division)")
      }
      let features = teacher.features.map(\.tap)
      for tap in try makeObjective(job).teacherTaps where !features.contains(tap) {
        throw RunError(
          "teacher.cache: \(cache.folder) does not hold the layer '\(tap)' of the teacher, which a term looks at: label "
            + "with it, into another folder")
      }
      return teacher
    }
  }

  /// The recipe's cache, held against what the training shows and against the teacher's weights, where there are any.
  func cache(_ job: TrainingJob) throws -> TeacherCache? {
    guard job.arm == .distilled, let teacher = job.configuration.teacher, let folder = teacher.cache else { return nil }
    guard loaderOptions(job).teacherViews != nil else {
      throw RunError(
        "teacher.cache needs inputs that come again: give data.views: K, or data.teacher_view: plain, or take out the "
          + "augmentation")
    }
    guard TeacherCache.exists(in: folder) else {
      throw RunError(
        "teacher.cache: \(folder) holds no teacher cache: make it with distill label RECIPE --output \(folder)")
    }
    let cache = try caches.cache(folder)
    var wanted = cache.key.teacher
    wanted.classCount = materials.train.classCount
    if let maker = try teacherMaker(job) {
      let own = try maker.cacheKey()
      (wanted.members, wanted.mode) = (own.members, own.mode)
      if teacher.precision != nil { wanted.precision = own.precision }
    }
    do {
      try cache.requireKey(TeacherCache.Key(labelLoader(job), teacher: wanted))
    } catch var error as TeacherCacheError {
      if let division = try divisionProblem(cache, job) { error.problems.append("it does not fit: \(division)") }
      throw error
    }
    return cache
  }

  /// That a cache is of another division of the same data than the recipe's; nil where it is not.
  private func divisionProblem(_ cache: TeacherCache, _ job: TrainingJob) throws -> String? {
    let own = cache.key.data
    let wanted = try TeacherCache.Key.Data(
      name: own.name, contentHash: materials.joined.contentHash, examples: labelledExamples(job))
    guard own.contentHash == wanted.contentHash, own.exampleCount == wanted.exampleCount,
      own.examplesHash != wanted.examplesHash
    else { return nil }
    let seed = job.configuration.seeds.first.map { " (here \($0))" } ?? ""
    return
      "its examples are others of the same data, as many: which ones train and which validate follows from the first of "
      + "the seeds\(seed), so let the same seed be the first as when it was labelled"
  }
}

/// The teacher caches of a run, each opened once, so that each of its checksums is computed once.
final class TeacherCaches: Sendable {
  private let known = Mutex<[String: TeacherCache]>([:])

  func cache(_ folder: String) throws -> TeacherCache {
    try known.withLock { known in
      if let found = known[folder] { return found }
      let cache = try TeacherCache(folder)
      known[folder] = cache
      return cache
    }
  }
}

extension Objective {
  /// Makes sure that the terms can learn from what was kept, when the training begins and when it ends, before any time is
  /// spent on it.
  ///
  /// - Throws: `DistillationError` that says what was not kept.
  func requireFit(student: any Layer, cached teacher: PrecomputedTeacher, loader: DataLoader) throws {
    guard needsTeacher else { return }
    let batch = try loader.batch(ids: Array(loader.examples.prefix(8)))
    try student.move(to: loader.options.device)
    try prepare(student: student, teacher: teacher, batch: batch, seed: 0)
    try withRandomStream(try RandomStream(seed: 0, name: "check", device: loader.options.device)) {
      try withoutGradient {
        let said = try trace(teacher, batch)
        let answer = try student.trace(batch.inputs, taps: studentTaps)
        for progress in [0.0, 1] {
          _ = try evaluate(
            student: answer, teacher: said, batch: batch, position: TrainingPosition(epoch: 0, progress: progress))
        }
      }
    }
  }
}

extension Configuration.Teacher {
  /// A hash of what the cache is of, which tells trainings with different ones apart.
  func cacheHash() throws -> [String] {
    try cache.map { ["cache \(try SHA256.hex(ofFile: "\($0)/cache.json"))"] } ?? []
  }
}
