import DistillData
import Distillation
import Foundation
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
  func labelLoader(_ job: TrainingJob) throws -> DataLoader {
    var options = loaderOptions(job)
    options.batchSize = materials.scoringBatch
    options.shuffle = false
    let others = try materials.shownParts(job.configuration.data, seed: job.seed).flatMap(\.range)
    return try DataLoader(dataset: materials.joined, examples: materials.split.train + others, options: options)
  }

  /// The teacher whose outputs the recipe's cache holds; nil where it names none.
  ///
  /// - Throws: `TeacherCacheError`, `RunError`, `DistillationError` that say what does not fit.
  func cachedTeacher(_ job: TrainingJob) throws -> PrecomputedTeacher? {
    try cache(job).map { cache in
      let teacher = cache.makeTeacher()
      try teacher.requireFit(makeLoader(job))
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
    let cache = try TeacherCache(folder)
    var wanted = cache.key.teacher
    wanted.classCount = materials.train.classCount
    if let maker = try teacherMaker(job) {
      let own = try maker.cacheKey()
      (wanted.members, wanted.mode) = (own.members, own.mode)
    }
    try cache.requireKey(TeacherCache.Key(labelLoader(job), teacher: wanted))
    return cache
  }
}

extension Configuration.Teacher {
  /// A hash of what the cache is of, which tells trainings with different ones apart.
  func cacheHash() throws -> [String] {
    try cache.map { ["cache \(try SHA256.hex(ofFile: "\($0)/cache.json"))"] } ?? []
  }
}
      if teacher.precision != nil { wanted.precision = own.precision }
