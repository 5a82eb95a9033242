import DistillData
import DistillModels
import DistillRuntime
import Distillation
import Foundation
import Torch
import TorchNN

/// Does one training, or goes on with it, or finds that it is done.
struct TrainingRunner {
  let materials: Materials
  let teacherTestLogits: Tensor?
  let device: Device
  let folder: RunFolder
  let observer: RunObserver
  /// Who is compared with on the test split where that is a text, whose outputs are too many to be kept.
  var testTeacher: TeacherMaker?
  /// What is shared with other runs and other processes; nil: nothing.
  var sharing: SharedTrainings?
  /// The epochs after which trainings pause, to be gone on with or not; nil: they are done in full.
  var pause: Double?
  /// When trainings stop as if somebody had asked for it.
  var deadline: Date?
  /// Whether trainings are only tried out, so that nothing is to be written for them.
  var isTrial = false
  let texts = WrittenTexts()
  var teacherOutputs = TeacherOutputs()
  var caches = TeacherCaches()
  let teacherScores = TeacherScores()
  /// What students score beside the run's teacher; nil where none is scored beside one.
  var scoring: TeacherScoring?
  /// What is said before a training, where it is not done yet.
  var stage: String?

  /// As `run`; nil where another process is at the training.
  func runUnlessTaken(_ job: TrainingJob, label: RunEvent.TrainingLabel) throws -> TrainingResult? {
    guard let sharing else { return try run(job, label: label) }
    guard let claim = try sharing.claim(job) else { return nil }
    defer { withExtendedLifetime(claim) {} }
    return try runOnItsOwn(job, label: label)
  }

  /// - Throws: `RunError.interrupted` when somebody asked to stop, `TrainingPaused` where it came to the runner's pause; the
  ///   state is then in the training's folder.
  func run(_ job: TrainingJob, label: RunEvent.TrainingLabel) throws -> TrainingResult {
    let claim = try sharing?.claimInTurn(job, observer)
    defer { withExtendedLifetime(claim) {} }
    return try runOnItsOwn(job, label: label)
  }

  private func runOnItsOwn(_ job: TrainingJob, label: RunEvent.TrainingLabel) throws -> TrainingResult {
    guard let specialist = job.specialist else { return try runAsItIs(job, label: label) }
    let runner = TrainingRunner(
      materials: try Materials(materials, for: specialist.classes), teacherTestLogits: nil, device: device,
      folder: folder, observer: observer)
    return try runner.runAsItIs(job, label: label)
  }

  private func runAsItIs(_ job: TrainingJob, label: RunEvent.TrainingLabel) throws -> TrainingResult {
    let place = folder.job(job.folderName)
    try sharing?.bring(job, to: place, notIn: folder)
    switch Remains(of: job, in: place) {
    case .whole(let found):
      let done = try besideOwnTeacher(found, of: job, in: place)
      try restoreCard(of: job, done, in: place)
      observer(.trained(label, done.score, wasDoneBefore: true))
      return done
    case .damaged(let what):
      observer(.notice("warning: \(what): the training '\(job.name)' is done again"))
      for file in [place.result, place.checkpoint] { unlink(file) }
    case .unfinished: break
    }
    try place.make()
    if let stage { observer(.stage(stage)) }
    return try train(job, label: label, in: place)
  }

  /// A training that is done, which may have been scored beside another teacher.
  private func besideOwnTeacher(
    _ result: TrainingResult, of job: TrainingJob, in place: JobFolder
  ) throws -> TrainingResult {
    guard let scored = try scoring?.scored(result, of: job, in: place) else { return result }
    try AtomicFile.write(try ResultJSON.line(scored), to: place.result)
    try writeCard(of: job, scored, in: place)
    return scored
  }

  /// Goes on from the checkpoint, where there is a good one, or begins.
  private func train(
    _ job: TrainingJob, label: RunEvent.TrainingLabel, in place: JobFolder
  ) throws -> TrainingResult {
    let start = ContinuousClock.now
    let checkpoint = TrainingCheckpoint(path: place.checkpoint, identity: job.identity)
    let log = EventLog(path: place.events)
    var board = TensorBoardLog(job, student: try specification(of: job).architecture, in: place)
    let training = try prepare(job, checkpoint: checkpoint) { try makeTeacher(job) }
    let student = training.student
    var firstStep: Int?
    var stepping = ContinuousClock.now
    var isAtPause = false
    let outcome: Outcome
    do {
      outcome = try training.run { event in
        switch event {
        case .started(let step, _):
          firstStep = step
          stepping = .now
          try log.cut(after: step)
          try board.begin(after: step, rounds: log.rounds())
          // An earlier process came as far.
          if let pause, step < job.budget.steps, log.rounds().contains(where: { $0.epoch >= pause }) {
            throw TrainingPaused()
          }
        case .round(let round):
          try log.append(round)
          try board.append(round)
          isAtPause = pause.map { round.epoch >= $0 } ?? false
        default: break
        }
        observer(.training(label, event))
        return isAtPause || isToStop ? .stop : .continue
      }
    } catch let error where firstStep == nil && checkpoint.exists {
      // Student and optimizer may hold a part of the damaged state: all of it is made anew.
      guard unlink(checkpoint.path) == 0 else { throw error }
      observer(
        .notice("warning: \(checkpoint.path) is damaged: the training '\(job.name)' begins from the start again"))
      return try train(job, label: label, in: place)
    }
    guard outcome.reason != .interrupted else {
      if isAtPause { throw TrainingPaused() }
      throw RunError("interrupted", kind: .interrupted)
    }

    let steps = outcome.steps - (firstStep ?? 0)
    let perStep = steps > 0 ? (ContinuousClock.now - stepping) / .seconds(1) / Double(steps) : nil
    let correctedBias = try correctBias(of: student, job)
    let metrics = try job.isTested ? test(student, of: job, in: place) : nil
    let trainingAccuracy = try job.isTested ? trainingAccuracy(of: student, job) : nil
    try board.finish(metrics?.scores(ofTokens: materials.test.predictsTokens), at: outcome.steps)
    let description = ModelFolder.Description(
      model: try specification(of: job), labels: materials.train.classNames, normalization: materials.normalization,
      pictureFit: job.configuration.data.fit)
    try ModelFolder(place.model).save(
      student, description,
      card: ModelCard(
        job: job, outcome: outcome, metrics: metrics, correctedBias: correctedBias, dataset: materials.train.name
      ).text)
    if let tokenizer = job.configuration.data.labelledText?.tokenizer {
      try ModelFolder(place.model).copyTokenizer(from: ModelFolder(tokenizer))
    }
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let result = TrainingResult(
      identity: job.identity, outcome: outcome, test: metrics, trainingAccuracy: trainingAccuracy,
      besideTeacher: metrics == nil ? nil : scoring?.identity, correctedBias: correctedBias, seconds: seconds,
      secondsPerStep: perStep,
      files: try Remains.hashes(of: job, in: place))
    try AtomicFile.write(try ResultJSON.line(result), to: place.result)
    // What was needed to go on is no longer.
    try? FileManager.default.removeItem(atPath: place.checkpoint)
    observer(.trained(label, result.score, wasDoneBefore: false))
    return result
  }

  private var isToStop: Bool { Interruption.isRequested || deadline.map { Date() >= $0 } ?? false }

  /// Scores a student on the test split, once, and keeps what it said.
  private func test(_ student: any Layer, of job: TrainingJob, in place: JobFolder) throws -> Metrics {
    let test = try materials.evaluationSet(materials.test, device: device, channelsLast: job.training.channelsLast)
    if materials.test.predictsTokens {
      return try test.tokenMetrics(of: student, teacher: testTeacher?.makeTeacher())
    }
    let logits = try test.logits(of: student).finiteOutputs(of: "the student '\(job.name)'", kind: .failure)
    try Checkpoint.write([NamedTensor(name: "logits", tensor: logits)], to: place.testLogits)
    return try Metrics(logits: logits, labels: test.labels, teacherLogits: teacherTestLogits)
  }

  /// How much a student recognizes, without augmentation, of the examples whose labels it was shown: of at most 10,000 of
  /// them, spread over all. Nil of texts.
  private func trainingAccuracy(of student: any Layer, _ job: TrainingJob) throws -> Double? {
    guard !materials.train.predictsTokens, !job.labelled.isEmpty else { return nil }
    let set = try materials.evaluationSet(
      materials.joined, examples: spread(job.labelled, count: 10_000), device: device,
      channelsLast: job.training.channelsLast)
    return try Metrics(logits: set.logits(of: student), labels: set.labels).accuracy
  }

  /// Writes the model card again where it is missing: it holds nothing that the result does not say.
  private func restoreCard(of job: TrainingJob, _ result: TrainingResult, in place: JobFolder) throws {
    let card = ModelFolder(place.model).card
    guard !FileManager.default.fileExists(atPath: card) else { return }
    observer(.notice("\(card) was missing and is written again"))
    try writeCard(of: job, result, in: place)
  }

  private func writeCard(of job: TrainingJob, _ result: TrainingResult, in place: JobFolder) throws {
    let text = ModelCard(
      job: job, outcome: result.outcome, metrics: result.test, correctedBias: result.correctedBias,
      dataset: materials.train.name
    ).text
    try AtomicFile.write(Data(text.utf8), to: ModelFolder(place.model).card)
  }

  /// Lets the teacher label whatever the trainings that are left will look up. Done before they begin, it has their
  /// threads to itself.
  ///
  /// - Parameter threads: of the trainings together; nil: the program's choice
  func label(for jobs: [TrainingJob], threads: Int?) throws {
    let usual = try TorchRuntime.threadCount
    if let threads { try TorchRuntime.setThreadCount(threads) }
    defer { try? TorchRuntime.setThreadCount(usual) }
    for job in jobs where job.arm == .distilled {
      if case .whole = Remains(of: job, in: folder.job(job.folderName)) { continue }
      if job.teacherText != nil, job.stage?.teachers.isEmpty ?? true { _ = try written(for: job) }
      // What a stage says that is still to be trained is asked when it is.
      guard try makeObjective(job).needsTeacher, try precomputes(job), job.stage?.teachers.isEmpty ?? true,
        let teacher = try teacherMaker(job)
      else { continue }
      _ = try labelled(by: teacher, for: job)
    }
  }

  func specification(of job: TrainingJob) throws -> ModelSpecification {
    let shape = materials.train.exampleShape
    let classes = materials.train.classCount
    if let specialist = job.specialist { return try ModelZoo.resolve(specialist.ownSpecification) }
    if job.arm == .teacher, let teacher = job.configuration.teacher {
      return try teacher.specificationToTrain(inputShape: shape, classCount: classes)
    }
    return try job.configuration.studentSpecification(
      inputShape: shape, classCount: classes, isAlone: job.arm == .alone)
  }

  /// The student as a training begins with it.
  ///
  /// - Parameter isTrial: whether a teacher that it starts from, and that is still to be trained, may have random weights
  func makeStudent(
    _ job: TrainingJob, _ specification: ModelSpecification, isTrial: Bool = false
  ) throws -> any Layer {
    if let specialist = job.specialist {
      let model = try makeModel(job, specification)
      try model.load(try specialist.firstWeights())
      return model
    }
    let before = job.stage?.before.map { ModelFolder(folder.job($0.folderName).model).weights }
    let given = job.arm == .teacher ? nil : try job.configuration.student.weights.map { try ModelSource($0).weights }
    let model = try makeModel(job, specification, weights: before ?? given)
    let student = job.configuration.student
    guard job.arm != .teacher, before == nil, student.startsFromTeacher(isAlone: job.arm == .alone),
      let teacher = job.configuration.teacher
    else { return model }
    if isTrial, teacher.isToBeTrained, !ModelFolder(folder.teacher).exists {
      let random = try job.configuration.teacherToStartFrom(
        inputShape: materials.train.exampleShape, classCount: materials.train.classCount)
      try student.start(
        model, from: try makeModel(job, random, stream: "teacher"), random, isAlone: job.arm == .alone)
      return model
    }
    let maker = try TeacherMaker(
      teacher, folder: folder, materials: materials, device: device, channelsLast: job.training.channelsLast)
    let source = maker.members[0]
    try student.start(
      model, from: try maker.makeModel(source), source.specification, isAlone: job.arm == .alone)
    return model
  }

  /// A model with random weights from a stream of the job's, or with those of a file.
  func makeModel(
    _ job: TrainingJob, _ specification: ModelSpecification, stream: String? = nil, weights: String? = nil
  ) throws -> any Layer {
    let name = job.stage?.initialization ?? RunPlan.firstStart
    let model = try withRandomStream(
      try RandomStream(seed: job.randomSeed, name: stream.map { "\(name).\($0)" } ?? name)
    ) {
      try ModelZoo.make(specification)
    }
    if let weights { try model.loadWeights(weights, asStart: true) }
    try model.move(to: device)
    if job.training.channelsLast { try model.useChannelsLast() }
    return model
  }

  /// - Parameters:
  ///   - student: whose layers the terms name; nil where only their kinds matter
  ///   - teachers: the models that teach, where their weights are not there yet
  func makeObjective(
    _ job: TrainingJob, for student: (any Layer)? = nil, teachers: TeachingModels? = nil
  ) throws -> Objective {
    guard job.arm == .distilled else { return try job.training.labelsOnly() }
    guard let student else { return try Objective(job.configuration.terms.map { try $0.entry() }) }
    return try Objective(
      job.configuration.terms.map { term in
        try term.entry(student: student) { choice in
          if job.mean != nil { return student.state }
          if let models = teachers?.models(for: choice) { return models.count == 1 ? models[0].state : nil }
          let members = try teacherMaker(job)?.members.filter { choice == .all || choice == .named($0.name) } ?? []
          guard members.count == 1 else { return nil }
          return try members[0].makeModel(on: .cpu).state
        }
      })
  }

  func makeLoader(_ job: TrainingJob) throws -> DataLoader {
    var options = loaderOptions(job)
    let (dataset, examples) = try shown(job)
    // What a teacher writes is labelled by what it wrote.
    if job.labelled.count < job.examples.count, job.teacherText == nil {
      options.hiddenLabels = Set(job.examples).subtracting(job.labelled)
    }
    return try DataLoader(dataset: dataset, examples: examples, options: options)
  }

  func loaderOptions(_ job: TrainingJob) -> DataLoader.Options {
    let data = job.configuration.data
    var options = DataLoader.Options(batchSize: job.training.batchSize)
    options.shuffle = true
    options.seed = job.streamSeed
    options.augmentation =
      (job.arm == .distilled ? data.augmentation : job.training.augmentation ?? data.augmentation)
      .augmentation
    options.normalization = materials.normalization
    options.device = device
    options.channelsLast = job.training.channelsLast
    // A teacher, and a student alone with an augmentation of its own, see new views all the time.
    if job.arm == .distilled || (job.arm == .alone && job.training.augmentation == nil) {
      // The views are the recipe's, the same for every seed, so that the teacher labels each of them once.
      options.views = options.augmentation.isEmpty ? 1 : data.views
      if data.views != nil { options.augmentationSeed = job.configuration.dataSeed }
    }
    if job.arm == .distilled { options.teacherView = data.teacherView }
    // A cache may have kept layers of texts of the whole length.
    options.trimsTexts = job.configuration.teacher?.cache == nil
    return options
  }

  /// Whether the teacher's outputs are computed once and looked up afterwards. Where the recipe leaves it open they are,
  /// unless the training asks for fewer than there are to compute.
  ///
  /// - Throws: `RunError` when the recipe wants that of inputs that never come again, or of layers.
  func precomputes(_ job: TrainingJob) throws -> Bool {
    guard let teacher = job.configuration.teacher, !teacher.members.isEmpty, teacher.cache == nil else { return false }
    // Other text than the data's, or its own each time.
    guard job.teacherText == nil, job.onPolicy == nil else { return false }
    let options = loaderOptions(job)
    let isStatic = options.teacherViews != nil && !options.augmentation.steps.contains(where: \.isMixing)
    if teacher.precompute == .always, !isStatic {
      throw RunError(
        "teacher.precompute: true needs inputs that come again: give data.views: K, or data.teacher_view: plain, or take "
          + "out the augmentation")
    }
    let hasLayers = try makeObjective(job).needsLiveTeacher
    if teacher.precompute == .always, hasLayers {
      throw RunError(
        "teacher.precompute: true keeps the teacher's logits, and there are terms that look at its layers: take it out")
    }
    guard isStatic, !hasLayers, teacher.precompute != .never else { return false }
    guard teacher.precompute == .auto else { return true }
    if materials.train.predictsTokens, try outputBytes(job) > TeacherOutputs.mostBytes { return false }
    let views = options.teacherViews ?? 1
    return try inputsShown(job) >= labelledExamples(job).count * views
  }

  /// How many inputs a training shows the teacher, each as often as it does.
  func inputsShown(_ job: TrainingJob) -> Int { job.budget.steps * min(job.training.batchSize, job.examples.count) }

  /// Who makes the teacher of a training; nil where there is none.
  func teacherMaker(_ job: TrainingJob) throws -> TeacherMaker? {
    guard let teacher = job.configuration.teacher, !teacher.members.isEmpty else { return nil }
    return try TeacherMaker(
      teacher, folder: folder, materials: materials, device: device, precision: job.training.precision,
      channelsLast: job.training.channelsLast,
      stages: (job.stage?.teachers ?? [:]).mapValues { ModelFolder(folder.job($0.folderName).model) },
      scores: teacherScores,
      requiresSpecialists: true)
  }

  private func makeTeacher(_ job: TrainingJob) throws -> (any Teacher)? {
    guard let said = try saidByTeacher(job) else { return nil }
    guard let noise = job.configuration.teacher?.noise else { return said }
    return try NoisyTeacher(
      said, standardDeviation: noise.standardDeviation, share: noise.share, kind: noise.kind, seed: job.streamSeed)
  }

  /// The recipe's cache; without one the teacher, live or computed once.
  private func saidByTeacher(_ job: TrainingJob) throws -> (any Teacher)? {
    if let cached = try cachedTeacher(job) { return cached }
    guard let teacher = try teacherMaker(job) else { return nil }
    return try precomputes(job) ? labelled(by: teacher, for: job) : teacher.makeTeacher()
  }

  /// What the teacher says, computed once for all trainings.
  private func labelled(by teacher: TeacherMaker, for job: TrainingJob) throws -> any Teacher {
    try teacherOutputs.teacher(
      from: teacher, over: labelLoader(job), bytes: outputBytes(job), in: folder, shown: inputsShown(job),
      observer: observer)
  }
}

/// A training came to the pause that was asked for. Its state is written down.
struct TrainingPaused: Error {}
