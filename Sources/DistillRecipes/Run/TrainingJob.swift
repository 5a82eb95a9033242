import DistillData
import DistillModels
import Distillation
import Foundation
import Torch
import TorchNN

/// One training of a run: an arm of a setting with a seed, or the teacher's.
struct TrainingJob: Sendable {
  enum Arm: String, Codable, Sendable {
    case teacher
    /// The student on the labels alone.
    case alone
    case distilled
  }

  var setting: String
  var arm: Arm
  var seed: Int
  /// The recipe as it is for the setting.
  var configuration: Configuration
  var budget: Budget
  /// A hash of all that the training depends on: the same only where all of it is the same.
  let identity: String

  init(
    setting: String, arm: Arm, seed: Int, configuration: Configuration, budget: Budget, dependencies: [String]
  ) throws {
    self.setting = setting
    self.arm = arm
    self.seed = seed
    self.configuration = configuration
    self.budget = budget
    identity = try SHA256.hex(of: dependencies.joined(separator: "\n"))
  }

  /// A name for people and for the folder.
  var name: String { [setting, arm.rawValue, "seed \(seed)"].filter { !$0.isEmpty }.joined(separator: ", ") }

  /// The name of the training's folder. Trainings that are the same share one.
  var folderName: String {
    let head = "\(arm.rawValue)-seed-\(seed)"
    return "\(head)-\(identity.prefix(10))"
  }

  var training: Configuration.Training {
    switch arm {
    case .distilled: configuration.training
    case .alone: configuration.alone
    case .teacher: configuration.teacher?.training ?? configuration.training
    }
  }
}

/// What came out of a training: the file `result.json`.
struct TrainingResult: Codable, Sendable {
  var identity: String
  var outcome: Outcome
  /// On the test split, looked at once.
  var test: Metrics
  var seconds: Double
}

/// Does one training, or goes on with it, or finds that it is done.
struct TrainingRunner {
  let materials: Materials
  let teachers: TeacherRoom?
  let teacherTestLogits: Tensor?
  let device: Device
  let folder: RunFolder
  let observer: RunObserver

  /// - Throws: `RunError.interrupted` when somebody asked to stop; the state is then in the training's folder.
  func run(_ job: TrainingJob, label: RunEvent.TrainingLabel) throws -> TrainingResult {
    if let done = result(of: job) {
      observer(.trained(label, accuracy: done.test.accuracy, wasDoneBefore: true))
      return done
    }
    let place = folder.job(job.folderName)
    try place.make()
    let start = ContinuousClock.now
    let seed = UInt64(bitPattern: Int64(job.seed))
    let specification = try specification(of: job)
    let student = try makeStudent(job, specification, seed: seed)
    let loader = try makeLoader(job, seed: seed)
    let objective = try makeObjective(job)
    let checkpoint = TrainingCheckpoint(path: place.checkpoint, identity: job.identity)
    let log = EventLog(path: place.events)
    let trainer = try Trainer(
      student: student, teacher: try objective.needsTeacher ? makeTeacher(job, loader) : nil, objective: objective,
      optimizer: job.training.makeOptimizer(student.namedParameters + objective.adapters),
      schedule: job.training.makeSchedule(job.budget), loader: loader,
      validation: materials.split.validation.isEmpty
        ? nil
        : materials.evaluationSet(
          materials.train, examples: materials.split.validation, device: device,
          channelsLast: job.training.channelsLast),
      options: job.training.trainerOptions(job.budget, seed: seed), checkpoint: checkpoint)
    let outcome = try trainer.run { event in
      switch event {
      case .started(let step, _): try log.cut(after: step)
      case .round(let round): try log.append(round)
      default: break
      }
      observer(.training(label, event))
      return Interruption.isRequested ? .stop : .continue
    }
    guard outcome.reason != .interrupted else { throw RunError("interrupted", kind: .interrupted) }

    let test = try materials.evaluationSet(materials.test, device: device, channelsLast: job.training.channelsLast)
    let logits = try test.logits(of: student)
    let metrics = try Metrics(logits: logits, labels: test.labels, teacherLogits: teacherTestLogits)
    try Checkpoint.write([NamedTensor(name: "logits", tensor: logits)], to: place.testLogits)
    let description = ModelFolder.Description(
      model: specification, labels: materials.train.classNames, normalization: materials.normalization)
    try ModelFolder(place.model).save(
      student, description, card: ModelCard(job: job, metrics: metrics, dataset: materials.train.name).text)
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let result = TrainingResult(identity: job.identity, outcome: outcome, test: metrics, seconds: seconds)
    try AtomicFile.write(try JSONEncoder().encode(result), to: place.result)
    // What was needed to go on is no longer.
    try? FileManager.default.removeItem(atPath: place.checkpoint)
    observer(.trained(label, accuracy: metrics.accuracy, wasDoneBefore: false))
    return result
  }

  /// What a training gave, if it is done.
  private func result(of job: TrainingJob) -> TrainingResult? {
    guard let data = FileManager.default.contents(atPath: folder.job(job.folderName).result),
      let done = try? JSONDecoder().decode(TrainingResult.self, from: data), done.identity == job.identity
    else { return nil }
    return done
  }

  /// Lets the teacher label whatever the trainings that are left will look up. Done before they begin, it has all
  /// threads to itself.
  func label(for jobs: [TrainingJob]) throws {
    for job in jobs where job.arm == .distilled && result(of: job) == nil {
      let loader = try makeLoader(job, seed: UInt64(bitPattern: Int64(job.seed)))
      guard let teacher = job.configuration.teacher, try makeObjective(job).needsTeacher,
        try precomputes(teacher, over: loader.options)
      else { continue }
      _ = try makeTeacher(job, loader)
    }
  }

  func specification(of job: TrainingJob) throws -> ModelSpecification {
    let shape = materials.train.exampleShape
    let classes = materials.train.classCount
    if job.arm == .teacher {
      guard let model = job.configuration.teacher?.members.first?.model else {
        throw RunError("teacher.model has to say what is to be trained")
      }
      return try ModelZoo.resolve(model.specification(inputShape: shape, classCount: classes))
    }
    return try job.configuration.student.specification(inputShape: shape, classCount: classes)
  }

  /// The student as a training begins with it.
  func makeStudent(_ job: TrainingJob, _ specification: ModelSpecification, seed: UInt64) throws -> any Layer {
    let student = try withRandomStream(try RandomStream(seed: seed, name: "init")) {
      try ModelZoo.make(specification)
    }
    if job.arm != .teacher, let weights = job.configuration.student.weights {
      try student.load(try Checkpoint.read(try ModelSource(weights).weights))
    }
    try student.move(to: device)
    if job.training.channelsLast { try student.useChannelsLast() }
    return student
  }

  func makeObjective(_ job: TrainingJob) throws -> Objective {
    try job.arm == .distilled
      ? Objective(job.configuration.terms.map { try $0.entry() }) : job.training.labelsOnly()
  }

  func makeLoader(_ job: TrainingJob, seed: UInt64) throws -> DataLoader {
    let configuration = job.configuration
    let labelled = try materials.labelled(fraction: configuration.data.labels, seed: seed)
    let examples: [Int] =
      switch job.arm {
      case .teacher: materials.split.train
      case .alone: labelled
      case .distilled: configuration.data.transfer == .all ? materials.split.train : labelled
      }
    var options = loaderOptions(job, seed: seed)
    if job.arm == .distilled, labelled.count < materials.split.train.count {
      options.hiddenLabels = Set(materials.split.train).subtracting(labelled)
    }
    return try DataLoader(dataset: materials.train, examples: examples, options: options)
  }

  private func loaderOptions(_ job: TrainingJob, seed: UInt64) -> DataLoader.Options {
    let data = job.configuration.data
    var options = DataLoader.Options(batchSize: job.training.batchSize)
    options.shuffle = true
    options.seed = seed
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
    return options
  }

  /// Whether the teacher's outputs are computed once and looked up afterwards.
  ///
  /// - Throws: `RunError` when the recipe wants that of inputs that never come again.
  func precomputes(_ teacher: Configuration.Teacher, over options: DataLoader.Options) throws -> Bool {
    let isStatic = options.views != nil && !options.augmentation.steps.contains(where: \.isMixing)
    if teacher.precompute == .always, !isStatic {
      throw RunError(
        "teacher.precompute: true needs inputs that come again: give data.views: K, or take out the augmentation")
    }
    return isStatic && teacher.precompute != .never
  }

  private func makeTeacher(_ job: TrainingJob, _ loader: DataLoader) throws -> any Teacher {
    guard let teachers, let teacher = job.configuration.teacher else {
      throw RunError("terms that look at a teacher need one: add teacher: to the recipe")
    }
    guard try precomputes(teacher, over: loader.options) else { return try teachers.makeTeacher() }
    // Over all examples that any seed may show, in large batches.
    var options = loader.options
    options.batchSize = 500
    options.shuffle = false
    options.hiddenLabels = []
    let all = try DataLoader(dataset: materials.train, examples: materials.split.train, options: options)
    return try teachers.precomputed(over: all, observer: observer)
  }
}

extension Configuration.Student {
  /// - Throws: `RunError`, `ModelError` when the student is not said or does not fit the data.
  func specification(inputShape: [Int], classCount: Int) throws -> ModelSpecification {
    let own = try weights.map { try ModelSource($0).specification } ?? nil
    guard let specification = model?.specification(inputShape: inputShape, classCount: classCount) ?? own else {
      throw RunError("student.model has to say what the student is")
    }
    let resolved = try ModelZoo.resolve(specification)
    guard resolved.classCount == classCount, resolved.inputShape == inputShape else {
      throw RunError(
        "the student takes \(resolved.inputShape) and knows \(resolved.classCount) classes, but the data has "
          + "\(inputShape) and \(classCount)")
    }
    return resolved
  }
}
