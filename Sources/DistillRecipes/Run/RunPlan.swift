import DistillData
import Distillation

/// The trainings that a recipe asks for.
struct RunPlan: Sendable {
  struct Setting: Sendable {
    var name: String
    var configuration: Configuration
    var jobs: [TrainingJob]

    func job(_ arm: TrainingJob.Arm, seed: Int) -> TrainingJob? {
      jobs.last { $0.arm == arm && $0.seed == seed }
    }

    /// The trainings that the distilled student of a seed goes through, in order.
    func lineage(seed: Int) -> [TrainingJob] {
      let all = jobs.filter { $0.arm == .distilled && $0.seed == seed }
      return configuration.lineage(of: all.count - 1).map { all[$0] }
    }
  }

  let settings: [Setting]
  /// All of them, each once, seed by seed so that the first figures of every setting come early.
  let jobs: [TrainingJob]

  init(_ configuration: Configuration, materials: Materials, teacherHashes: [String]) throws {
    let data = try materials.train.contentHash
    var weights: [String: String] = [:]
    let shared = configuration.teacher?.members ?? []
    let settings = try configuration.resolvedSettings().map { name, configuration in
      /// Of the recipe's own teacher they are known; a setting may have another, whose weights are there.
      func hashes(_ teacher: Configuration.Teacher?, isOwn: Bool) throws -> [String] {
        guard isOwn || (teacher?.members ?? []) != shared else { return teacherHashes }
        return try teacher?.weightHashes(known: &weights) ?? []
      }
      let name = name ?? ""
      var jobs: [TrainingJob] = []
      func common(_ configuration: Configuration, _ budget: Budget, seed: Int) throws -> [String] {
        var common = [
          data, "\(configuration.dataSeed)", try configuration.identity(of: [.student]), budget.identity, "\(seed)",
        ]
        if let path = configuration.student.weights { common.append(try weights.hash(of: path)) }
        return common
      }
      let sequence = configuration.sequence
      for seed in configuration.seeds {
        let stages = try sequence.map { stage in
          let examples = try materials.examples(stage.configuration.data, seed: seed)
          return (examples, Budget(stage.configuration.training, exampleCount: examples.transfer.count))
        }
        if configuration.compare {
          let (labelled, _) = try materials.examples(configuration.data, seed: seed)
          let budget = Budget(
            configuration.lineage(of: sequence.count - 1).map { (sequence[$0].configuration.training, stages[$0].1) })
          // The student alone does not know which other examples there are.
          var own = configuration
          own.data.transfer = .all
          own.data.also = own.data.also.filter { $0.labels == .byName }
          own.data.munge = nil
          own.data.teacherText = nil
          own.data.teacherView = .same
          jobs.append(
            try TrainingJob(
              setting: name, arm: .alone, seed: seed, configuration: configuration, examples: labelled,
              labelled: labelled, budget: budget,
              dependencies: common(configuration, budget, seed: seed) + ["alone", own.identity(of: [.data, .alone])]
                + (configuration.student.startsFromTeacher(isAlone: true)
                  ? hashes(configuration.teacher, isOwn: false) : [])
                + materials.identities(ofPartsWith: labelled)))
        }
        var done: [TrainingJob] = []
        for (index, (stage, (examples, budget))) in zip(sequence, stages).enumerated() {
          let place = Self.place(of: index, in: configuration, after: done)
          var dependencies = try common(stage.configuration, budget, seed: seed)
          // What the teacher is computed in counts, and not whether the recipe says it or a run chose it.
          var own = stage.configuration
          own.teacher?.precision = nil
          dependencies += ["distilled", try own.identity(of: [.data, .teacher, .terms, .training])]
          dependencies += materials.identities(ofPartsWith: examples.transfer)
          let teacher = stage.configuration.teacher
          let teaching = try hashes(teacher, isOwn: stage.hasOwnTeacher)
          dependencies += teaching
          dependencies += teacher?.precisionIdentity(weights: teaching, training: stage.configuration.training) ?? []
          dependencies += try teacher?.cacheHash() ?? []
          dependencies += try (teacher?.peers ?? []).compactMap(\.weights).map { try weights.hash(of: $0) }
          // A stage that is all of a training is that training without stages.
          if let place, place.number > 0 || !place.isLast || place.initialization != Self.firstStart {
            // Its number is in its random streams.
            dependencies += ["stage \(place.number)", place.initialization, "\(place.isLast)"]
            if stage.configuration.training.correctBias != .none { dependencies.append("\(place.isGoneOnWith)") }
            dependencies += [place.before?.identity ?? "fresh"]
            dependencies += place.teachers.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value.identity)" }
          }
          done.append(
            try TrainingJob(
              setting: name, arm: .distilled, seed: seed, configuration: stage.configuration,
              examples: examples.transfer,
              labelled: examples.labelled, budget: budget, stage: place, dependencies: dependencies))
        }
        jobs += done
      }
      return Setting(name: name, configuration: configuration, jobs: jobs)
    }
    self.settings = settings
    var seen: Set<String> = []
    let bySeed = configuration.seeds.flatMap { seed in settings.flatMap { $0.jobs.filter { $0.seed == seed } } }
    jobs = bySeed.filter { seen.insert($0.identity).inserted }
  }

  static let firstStart = "init"

  /// Where a stage stands, after the trainings of those before it; nil in a recipe without stages.
  private static func place(of index: Int, in recipe: Configuration, after done: [TrainingJob]) -> StagePlace? {
    guard !recipe.stages.isEmpty else { return nil }
    let stage = recipe.stages[index]
    var place = StagePlace(
      name: stage.name, number: index, isLast: index == recipe.stages.count - 1,
      teachers: recipe.teachingStages(of: index).mapValues { TrainingReference(done[$0]) },
      initialization: firstStart)
    place.isGoneOnWith = recipe.stages.contains { $0.start == .stage(index) }
    let freshStarts = recipe.freshStarts(before: index)
    if stage.hasOwnStudent {
      place.initialization += ".stage.\(index)"
    } else if stage.start == .fresh, freshStarts > 0 {
      place.initialization += ".\(freshStarts)"
    }
    if case .stage(let before) = stage.start { place.before = TrainingReference(done[before]) }
    return place
  }

  /// The trainings that were done, or begun, for another recipe or other data, of the folders of trainings that there
  /// are: they will be done anew.
  func jobs(outdatedIn folders: [String]) -> [TrainingJob] {
    let planned = Set(jobs.map(\.folderName))
    let old = folders.filter { !planned.contains($0) }
    return jobs.filter { job in
      !folders.contains(job.folderName)
        && old.contains { $0.hasPrefix(job.folderPrefix) && !$0.dropFirst(job.folderPrefix.count).contains("-") }
    }
  }
}

extension Configuration.Teacher {
  /// What tells trainings apart by what each member of their teacher is computed in, whoever said it: nothing where that is
  /// what the student is computed in.
  ///
  /// - Parameter weights: hashes of those members' that are there
  fileprivate func precisionIdentity(weights: [String], training: Configuration.Training) -> [String] {
    // A cache says itself what it is of.
    guard cache == nil else { return [] }
    let usual = TeacherPrecision(training.precision)
    // Nothing is chosen for students of earlier stages.
    let stages = members.filter { $0.stage != nil }.map { _ in precision ?? usual }
    let used = weights.map { precision ?? chosenPrecisions[$0] ?? usual } + stages
    return used.allSatisfy { $0 == usual } ? [] : ["teacher in \(used.map(\.rawValue).joined(separator: ", "))"]
  }

  /// A hash of the weights of each member that has a file.
  fileprivate func weightHashes(known: inout [String: String]) throws -> [String] {
    try members.compactMap(\.weights).map { try known.hash(of: $0) }
  }
}

extension [String: String] {
  /// The hash of a file of weights, computed once.
  fileprivate mutating func hash(of path: String) throws -> String {
    let hash = try self[path] ?? SHA256.hex(ofWeights: ModelSource(path).weights)
    self[path] = hash
    return hash
  }
}
