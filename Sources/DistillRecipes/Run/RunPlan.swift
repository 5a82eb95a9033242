import DistillData

/// The trainings that a recipe asks for.
struct RunPlan: Sendable {
  struct Setting: Sendable {
    var name: String
    var configuration: Configuration
    var jobs: [TrainingJob]

    func job(_ arm: TrainingJob.Arm, seed: Int) -> TrainingJob? {
      jobs.first { $0.arm == arm && $0.seed == seed }
    }
  }

  let settings: [Setting]
  /// All of them, each once, seed by seed so that the first figures of every setting come early.
  let jobs: [TrainingJob]

  init(_ configuration: Configuration, materials: Materials, teacherHashes: [String]) throws {
    let data = try materials.train.contentHash
    var weights: [String: String] = [:]
    let settings = try configuration.resolvedSettings().map { name, configuration in
      let name = name ?? ""
      var jobs: [TrainingJob] = []
      for seed in configuration.seeds {
        let (labelled, transfer) = try materials.examples(configuration.data, seed: seed)
        let budget = Budget(configuration.training, exampleCount: transfer.count)
        var common = [
          data, "\(configuration.dataSeed)", try configuration.identity(of: [.student]), budget.identity, "\(seed)",
        ]
        if let path = configuration.student.weights {
          let hash = try weights[path] ?? SHA256.hex(ofFile: ModelSource(path).weights)
          weights[path] = hash
          common.append(hash)
        }
        if configuration.compare {
          // The student alone does not know which other examples there are.
          var own = configuration
          own.data.transfer = .all
          jobs.append(
            try TrainingJob(
              setting: name, arm: .alone, seed: seed, configuration: configuration, examples: labelled,
              labelled: labelled, budget: budget,
              dependencies: common + ["alone", own.identity(of: [.data, .alone])]))
        }
        jobs.append(
          try TrainingJob(
            setting: name, arm: .distilled, seed: seed, configuration: configuration, examples: transfer,
            labelled: labelled, budget: budget,
            dependencies: common + ["distilled", configuration.identity(of: [.data, .teacher, .terms, .training])]
              + teacherHashes))
      }
      return Setting(name: name, configuration: configuration, jobs: jobs)
    }
    self.settings = settings
    var seen: Set<String> = []
    let bySeed = configuration.seeds.flatMap { seed in settings.flatMap { $0.jobs.filter { $0.seed == seed } } }
    jobs = bySeed.filter { seen.insert($0.identity).inserted }
  }

  /// The trainings that were done, or begun, for another recipe or other data, of the folders of trainings that there
  /// are: they will be done anew.
  func jobs(outdatedIn folders: [String]) -> [TrainingJob] {
    let planned = Set(jobs.map(\.folderName))
    let old = folders.filter { !planned.contains($0) }
    return jobs.filter { job in
      !folders.contains(job.folderName) && old.contains { $0.hasPrefix("\(job.arm.rawValue)-seed-\(job.seed)-") }
    }
  }
}
