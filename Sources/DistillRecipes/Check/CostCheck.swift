import DistillData
import DistillModels
import Distillation
import Foundation
import Torch
import TorchNN

/// What a run will cost: takes a few steps of each training, and multiplies.
final class CostCheck {
  private let check: PreflightCheck
  private let materials: Materials
  private let models: ModelCheck
  private let configuration: Configuration

  /// What the steps of one training showed.
  private struct Trial {
    var secondsPerStep: Double
    /// To score one example.
    var secondsPerExample: Double
  }

  init(check: PreflightCheck, materials: Materials, models: ModelCheck) {
    self.check = check
    self.materials = materials
    self.models = models
    configuration = check.configuration
  }

  func run() {
    check.attempt("time") {
      let plan = try RunPlan(configuration, materials: materials, teacherHashes: [])
      let teacherSeconds = try self.teacherSeconds() + stageTeacherSeconds(plan) + writingSeconds(plan)
      var trials: [String: Trial] = [:]
      var studentSeconds = 0.0
      for job in plan.jobs {
        let parts: [Configuration.Part] =
          job.arm == .alone ? [.student, .alone] : [.student, .teacher, .training, .terms]
        let key = "\(job.arm) \(try job.configuration.hash(of: parts))"
        let place = job.stage.map { "in the stage '\($0.name)': " } ?? ""
        let trial = try trials[key] ?? located(place) { try measureWithOwnText(job, in: plan) }
        trials[key] = trial
        let rounds = (job.budget.steps - 1) / job.budget.stepsPerRound + 1
        // Peers are validated too, and only the student is tested.
        let learners = 1 + (job.peers?.count ?? 0)
        let scored = rounds * materials.split.validation.count * learners + materials.test.count
        studentSeconds += Double(job.budget.steps) * trial.secondsPerStep + Double(scored) * trial.secondsPerExample
      }
      let bytes = memory(plan)
      let estimate = Preflight.Estimate(
        trainings: plan.jobs.count, steps: plan.jobs.reduce(0) { $0 + $1.budget.steps },
        seconds: teacherSeconds + studentSeconds * slowness(plan.jobs.count), teacherSeconds: teacherSeconds,
        memoryBytes: bytes)
      check.result.estimate = estimate
      report(estimate)
    }
  }

  private func report(_ estimate: Preflight.Estimate) {
    let available = Self.availableMemory
    let text = "about \(Quantity.bytes(estimate.memoryBytes)) of \(Quantity.bytes(available))"
    let advice = "set parallel=1, a smaller training.batch_size, or teacher.precompute: false"
    if estimate.memoryBytes > available {
      check.problem("memory", "\(text): it does not fit. Try: \(advice)")
    } else if Double(estimate.memoryBytes) > 0.8 * Double(available) {
      check.warn("memory", "\(text): that is tight. If it fails: \(advice)")
    } else {
      check.good("memory", text)
    }
    let teacher =
      estimate.teacherSeconds >= 0.5 ? ", of which the teacher takes \(Quantity.seconds(estimate.teacherSeconds))" : ""
    let each = configuration.parallel > 1 ? ", \(configuration.parallel) at a time" : ""
    check.good(
      "time",
      "about \(Quantity.seconds(max(1, estimate.seconds))) for \(counted(estimate.trainings, "training")) of students"
        + "\(each), \(counted(estimate.steps, "step")) in all\(teacher)")
  }

  // MARK: Time

  /// What the number of trainings at a time makes of a second. Those that want the same processor wait for each other.
  private func slowness(_ jobs: Int) -> Double {
    let parallel = Double(max(1, min(configuration.parallel, jobs)))
    let threads = Double((try? TorchRuntime.threadCount) ?? 1)
    let cores = Double(ProcessInfo.processInfo.activeProcessorCount)
    let crowding = models.device.kind == .cpu ? max(1, parallel * threads / cores) : parallel
    return crowding / parallel
  }

  private func teacherSeconds() throws -> Double {
    guard let teacher = configuration.teacher else { return 0 }
    var seconds = 0.0
    var perExample = models.teacherSecondsPerExample ?? 0
    if teacher.isToBeTrained {
      let job = try TrainingJob(teacherOf: configuration, materials: materials)
      let trial = try measure(job, in: nil)
      let rounds = (job.budget.steps - 1) / job.budget.stepsPerRound + 1
      seconds += Double(job.budget.steps) * trial.secondsPerStep
      seconds += Double(rounds * materials.split.validation.count + materials.test.count) * trial.secondsPerExample
      perExample = trial.secondsPerExample
    }
    if let specialists = teacher.specialists {
      let count = specialists.classes?.count ?? specialists.count ?? 0
      var job = try TrainingJob(teacherOf: configuration, materials: materials)
      // Each class is in one of them, as a rule, and the others' examples are added.
      let examples = Double(materials.split.train.count) / specialists.share / Double(max(1, count))
      job.budget = Budget(specialists.training, exampleCount: Int(examples))
      let trial = try measure(job, in: nil)
      let rounds = (job.budget.steps - 1) / job.budget.stepsPerRound + 1
      seconds += Double(count * job.budget.steps) * trial.secondsPerStep
      seconds += Double(count * rounds * materials.split.validation.count) * trial.secondsPerExample
      perExample *= Double(1 + count)
    }
    // The test split once, and each set of views once where its outputs are kept.
    seconds += Double(materials.test.count) * perExample
    var labelled: Set<String> = []
    for stage in try configuration.resolvedSettings().flatMap(\.configuration.sequence)
    where !stage.hasOwnTeacher && stage.configuration.teacher?.members == teacher.members {
      let job = try models.trialJob(stage.configuration)
      guard try models.runner.precomputes(job) else { continue }
      let options = models.runner.loaderOptions(job)
      let views = options.teacherViews ?? 1
      if labelled.insert(try models.runner.outputKey(job)).inserted {
        seconds += Double(try inputCount(job) * views) * perExample
      }
    }
    return seconds
  }

  /// To label the examples once with each teacher that is the student of an earlier stage, or that a stage or a setting
  /// names itself.
  private func stageTeacherSeconds(_ plan: RunPlan) throws -> Double {
    var perExample: [String: Double] = [:]
    var labelled: Set<String> = []
    var seconds = 0.0
    for setting in plan.settings {
      for job in setting.jobs {
        let number = job.stage?.number ?? 0
        let isOwn =
          setting.configuration.sequence[number].hasOwnTeacher
          || job.configuration.teacher?.members != configuration.teacher?.members
        guard isOwn, try asksTeacher(job), try models.runner.precomputes(job),
          labelled.insert(try models.runner.outputKey(job)).inserted
        else { continue }
        let key = "\(setting.name), \(number)"
        let each = try perExample[key] ?? secondsPerExample(ofTeachersIn: number, setting)
        perExample[key] = each
        seconds += Double(try viewCount(job) * inputCount(job)) * each
      }
    }
    return seconds
  }

  /// To let teachers write what students are distilled on: each text once.
  private func writingSeconds(_ plan: RunPlan) throws -> Double {
    var known: Set<String> = []
    var seconds = 0.0
    for setting in plan.settings {
      for job in setting.jobs {
        guard let text = job.teacherText,
          known.insert("\(text.node.flow) \(job.teacherKey) \(job.examples.hashValue)").inserted,
          // One that is still to be trained takes as long, whatever its weights are.
          let model = try setting.configuration.teachingModels(
            ofStage: job.stage?.number ?? 0, setting: setting.name, materials: materials
          ).models.first
        else { continue }
        try model.move(to: models.device)
        let prompts = try materials.sequences(spread(job.examples, count: materials.scoringBatch))
        let writer = try Generator(model, decoding: text.decoding, stop: prompts.vocabulary.end)
        let time = try ContinuousClock().measure {
          _ = try TeacherText.write(by: writer, after: prompts, promptLength: text.prompt, batchSize: prompts.count)
        }
        seconds += time / .seconds(1) / Double(prompts.count) * Double(job.examples.count)
      }
    }
    return seconds
  }

  /// Of a student that writes in some steps, these are measured alone: they take much longer than the others.
  private func measureWithOwnText(_ job: TrainingJob, in plan: RunPlan?) throws -> Trial {
    guard var own = job.onPolicy else { return try measure(job, in: plan) }
    var plain = job
    plain.configuration.training.onPolicy = nil
    var trial = try measure(plain, in: plan)
    own.start = 0
    let share = own.rate
    own.rate = 1
    var writing = job
    writing.configuration.training.onPolicy = own
    let slow = try measure(writing, in: plan).secondsPerStep
    trial.secondsPerStep += share * max(0, slow - trial.secondsPerStep)
    return trial
  }

  private func secondsPerExample(ofTeachersIn stage: Int, _ setting: RunPlan.Setting) throws -> Double {
    let teachers = try setting.configuration.teachingModels(
      ofStage: stage, setting: setting.name, materials: materials)
    let examples = spread(materials.split.train, count: materials.sampleCount(500))
    let set = try materials.evaluationSet(
      materials.train, examples: examples, device: models.device, channelsLast: false)
    let clock = ContinuousClock()
    return try teachers.models.reduce(0) { sum, model in
      try model.move(to: models.device)
      return try sum + clock.measure { _ = try set.logits(of: model) } / .seconds(1) / Double(examples.count)
    }
  }

  private func asksTeacher(_ job: TrainingJob) throws -> Bool {
    try job.arm == .distilled && models.runner.makeObjective(job).needsTeacher
  }

  private func viewCount(_ job: TrainingJob) throws -> Int { models.runner.loaderOptions(job).teacherViews ?? 1 }

  /// How many examples are labelled beforehand.
  private func inputCount(_ job: TrainingJob) throws -> Int {
    let parts = try materials.shownParts(job.configuration.data, seed: job.seed)
    return parts.reduce(materials.split.train.count) { $0 + $1.range.count }
  }

  /// Takes a few steps of a training, and scores a few examples with its student.
  ///
  /// - Parameter plan: that of the run, where it is a student's
  private func measure(_ planned: TrainingJob, in plan: RunPlan?) throws -> Trial {
    let runner = models.runner
    // It begins with random weights: what it builds on is not there yet.
    var job = planned
    job.stage = nil
    let training = try runner.prepare(
      job, checkpoint: nil,
      adjusting: { options in
        options.stepsPerRound = job.budget.steps
        options.checkpointInterval = nil
        options.progressInterval = 0
      }, teachers: teachingModels(planned, in: plan), makeTeacher: { try makeTeacher(planned, in: plan) })
    let clock = ContinuousClock()
    let start = clock.now
    var times: [Double] = []
    _ = try training.run { event in
      guard case .progress(let progress) = event else { return .continue }
      times.append((clock.now - start) / .seconds(1))
      guard progress.loss.isFinite else {
        throw RunError(
          "the loss of \(job.name) is \(progress.loss) at step \(progress.step): lower the learning rate, or use float32"
        )
      }
      let seconds = times[times.count - 1]
      return (times.count >= 7 && seconds > 0.75) || (times.count >= 2 && seconds > 3) || times.count >= 301
        ? .stop : .continue
    }
    let examples = spread(materials.split.train, count: materials.sampleCount(500))
    let set = try materials.evaluationSet(
      materials.train, examples: examples, device: models.device, channelsLast: job.training.channelsLast)
    var scorings: [Double] = []
    while scorings.count < 3 && scorings.reduce(0, +) < 0.5 {
      scorings.append(try clock.measure { _ = try set.logits(of: training.student) } / .seconds(1))
    }
    return Trial(
      secondsPerStep: Self.bestStep(times), secondsPerExample: (scorings.min() ?? 0) / Double(examples.count))
  }

  /// Seconds per step, from the times at which the steps ended: the mean over the fastest third of the steps in a row, as
  /// whatever else the machine did meanwhile only slows down. The first step also prepares what the others use and does
  /// not count, if there are others.
  static func bestStep(_ times: [Double]) -> Double {
    guard times.count > 1 else { return times.first ?? 0 }
    let parts = max(1, min(3, (times.count - 1) / 2))
    let ends = (0...parts).map { $0 * (times.count - 1) / parts }
    let means = zip(ends, ends.dropFirst()).map { (times[$1] - times[$0]) / Double($1 - $0) }
    return means.min() ?? 0
  }

  /// The models that teach in a training, with or without their weights; nil where none does.
  private func teachingModels(_ job: TrainingJob, in plan: RunPlan?) throws -> TeachingModels? {
    guard job.arm == .distilled, job.peers == nil,
      let recipe = plan?.settings.first(where: { $0.name == job.setting })?.configuration
    else { return nil }
    let found = try recipe.teachingModels(
      ofStage: job.stage?.number ?? 0, setting: job.setting, materials: materials)
    return found.members.isEmpty ? nil : found
  }

  /// The teacher as the training will ask it: the model itself, or something as quick as looking outputs up.
  private func makeTeacher(_ job: TrainingJob, in plan: RunPlan?) throws -> (any Teacher)? {
    if let cached = try models.runner.cachedTeacher(job) { return cached }
    if try models.runner.precomputes(job) {
      let quick = try StandIn(
        classCount: materials.train.classCount, tokens: tokens, largestBatch: job.training.batchSize,
        device: models.device)
      let names = job.configuration.teacher?.names ?? []
      return names.count > 1 ? try EnsembleTeacher(names.map { _ in quick }, names: names) : quick
    }
    let setting = plan?.settings.first { $0.name == job.setting }
    guard let recipe = setting?.configuration else { return nil }
    // One that is still to be trained takes as long for an answer whatever its weights are.
    let teachers = try recipe.teachingModels(
      ofStage: job.stage?.number ?? 0, setting: job.setting, materials: materials)
    for model in teachers.models { try model.move(to: models.device) }
    return try teachers.makeTeacher(precision: job.training.precision)
  }

  /// Gives the same logits to every batch.
  private final class StandIn: Teacher {
    private let logits: Tensor

    /// - Parameter tokens: how many each example has; nil where it has none
    init(classCount: Int, tokens: Int?, largestBatch: Int, device: Device) throws {
      logits = try Tensor.zeros([largestBatch] + [tokens].compactMap(\.self) + [classCount], device: device)
    }

    func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
      TeacherTrace(logits: try logits.sliced(0, from: 0, to: batch.count))
    }
  }

  // MARK: Memory

  /// Data, weights with gradients and what the optimizer keeps, activations, and the teacher's outputs. libtorch itself
  /// takes some too.
  private func memory(_ plan: RunPlan) -> Int {
    func bytes(_ dataset: any Dataset) -> Int {
      let size = (dataset as? ArrayDataset)?.elementType.byteCount ?? 4
      return dataset.count * (dataset.elementCount * size + 4)
    }
    var total = 300_000_000 + bytes(materials.joined) + bytes(materials.test)
    let parallel = max(1, min(configuration.parallel, plan.jobs.count))
    let input = materials.train.elementCount * 4
    var largest = 0
    for stage in plan.settings.flatMap(\.configuration.sequence) {
      guard let summary = models.summary(of: stage.configuration.student) else { continue }
      // With the models that teach in it, where they are the stage's own.
      let names = stage.hasOwnTeacher ? stage.configuration.teacher?.members.count ?? 0 : 0
      let teachers = names * (models.largestSummary.map { answering($0) } ?? 0)
      // Those that are trained in the same steps, and the mean of the student's past.
      let peers = (stage.configuration.teacher?.peers ?? []).map { peer in
        models.summary(of: peer, of: stage.configuration.student) ?? summary
      }
      let mean = stage.configuration.teacher?.mean == nil ? 0 : answering(summary)
      let together = ([summary] + peers).map { training($0, stage.configuration.training, input: input) }
      largest = max(largest, together.reduce(0, +) + mean + teachers)
    }
    total += parallel * largest
    for summary in models.teacherSummaries {
      total += answering(summary) + (models.teacher?.device.kind == .cpu ? 0 : summary.bytes)
    }
    if let teacher = configuration.teacher, teacher.isToBeTrained, let training = teacher.training,
      let summary = models.teacherSummaries.first
    {
      total = max(total, total - parallel * largest + self.training(summary, training, input: input))
    }
    // What a teacher says is kept for the whole run.
    var labelled: Set<String> = []
    var room = TeacherOutputs.Room(mostBytes: TeacherOutputs.fairBytesInMemory)
    for job in plan.jobs {
      guard (try? asksTeacher(job)) == true, (try? models.runner.precomputes(job)) == true,
        let key = try? models.runner.outputKey(job), labelled.insert(key).inserted,
        let bytes = try? models.runner.outputBytes(job)
      else { continue }
      _ = room.take(bytes)
    }
    return total + room.bytes
  }

  /// How many tokens an example of a text has; nil where the data is none.
  private var tokens: Int? { materials.train.predictsTokens ? materials.train.elementCount : nil }

  /// The memory of a model that is only asked, with 500 examples at a time, or fewer texts.
  private func answering(_ summary: ModelSummary) -> Int {
    summary.bytes + materials.scoringBatch * 4 * 2 * (summary.rows.map { $0.outputShape.reduce(1, *) }.max() ?? 0)
  }

  private func training(_ summary: ModelSummary, _ training: Configuration.Training, input: Int) -> Int {
    let kept =
      switch training.optimizer.kind {
      case .sgd: training.optimizer.momentum > 0 ? 1 : 0
      case .adam, .adamw: training.optimizer.amsgrad ? 3 : 2
      }
    // Weights, gradients, the best weights so far, and what the optimizer keeps.
    let weights = summary.bytes * (3 + kept)
    let activations = summary.rows.reduce(0) { $0 + $1.outputShape.reduce(1, *) } * 4 * 2
    return weights + training.batchSize * (activations + 6 * input)
  }

  /// The machine's, or what a container may use.
  static var availableMemory: Int {
    let physical = Int(clamping: ProcessInfo.processInfo.physicalMemory)
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"].compactMap { path in
      (try? String(contentsOfFile: path, encoding: .utf8))
        .flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }
    return limits.reduce(physical) { $1 > 0 ? min($0, $1) : $0 }
  }
}
