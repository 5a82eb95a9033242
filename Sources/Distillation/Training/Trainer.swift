import DistillData
import Foundation
import Torch
import TorchNN
import TorchOptim

/// Trains a student. The step is a short function; the trainer repeats it, validates, keeps the best weights, and writes
/// down everything that is needed to go on as if nothing had happened.
public final class Trainer {
  /// How long and in what way to train.
  public struct Options: Sendable {
    /// Optimizer steps in all.
    public var steps: Int
    /// What the epochs of terms are counted in; an epoch of the loader if nil.
    public var stepsPerEpoch: Int?
    /// Steps between two validations; an epoch of the loader if nil.
    public var stepsPerRound: Int?
    /// Batches whose gradients make one step.
    public var accumulation = 1
    public var precision = Precision.float32
    /// Whether the loss of many classes is computed without holding all logits.
    public var chunkedOutputs = ChunkedOutputs.automatic
    /// The parts of the student that are trained.
    public var parts = TrainedParts.all
    /// The norm to which the gradient is clipped; nil: not at all.
    public var clipNorm: Double?
    public var keep = Keep.best
    public var metric = Metric.accuracy
    /// Rounds without improvement after which to stop.
    public var earlyStop: Int?
    /// Steps between two checkpoints; a round if nil.
    public var checkpointInterval: Int?
    /// Seconds between two progress events.
    public var progressInterval = 0.1
    /// The seed of the stream from which dropout masks come.
    public var seed: UInt64 = 0

    public init(steps: Int) { self.steps = steps }
  }

  /// The weights that the student has after the training.
  public enum Keep: String, Codable, Sendable, CaseIterable {
    /// The weights of the round with the best validation; without validation, the last ones.
    case best
    /// The weights at the end.
    case last
  }

  /// What decides which round is best.
  public enum Metric: String, Codable, Sendable, CaseIterable {
    /// Among equally accurate rounds, the one with the smaller loss.
    case accuracy
    case loss

    func isBetter(_ new: ValidationScore, than old: ValidationScore) -> Bool {
      switch self {
      case .accuracy: new.accuracy > old.accuracy || (new.accuracy == old.accuracy && new.loss < old.loss)
      case .loss: new.loss < old.loss
      }
    }
  }

  let student: any Layer
  /// The model whose weights are validated and kept.
  private let kept: any Layer
  private let teacher: (any Teacher)?
  let objective: Objective
  let optimizer: any Optimizer
  private let schedule: Schedule
  private let loader: DataLoader
  private let validation: EvaluationSet?
  private let options: Options
  private let stepsPerEpoch: Int
  let stepsPerRound: Int
  private let dropout: RandomStream
  private let checkpoint: TrainingCheckpoint?
  private let rewriter: (any BatchRewriter)?
  var state = TrainingState()

  /// - Parameters:
  ///   - teacher: needed where a term of the objective looks at one
  ///   - validation: examples by which the best round is chosen; never the test split
  ///   - checkpoint: where to write the state, and whether there is one to go on from
  ///   - rewriter: changes the batches before teacher and student see them, such as `OnPolicy`
  ///   - kept: the model that is validated, and whose weights the student has in the end, such as that of a mean teacher;
  ///     the student itself if nil
  /// - Throws: `DistillationError` when these do not fit together.
  public init(
    student: any Layer, teacher: (any Teacher)? = nil, objective: Objective, optimizer: any Optimizer,
    schedule: Schedule, loader: DataLoader, validation: EvaluationSet? = nil, options: Options,
    checkpoint: TrainingCheckpoint? = nil, rewriter: (any BatchRewriter)? = nil, kept: (any Layer)? = nil
  ) throws {
    guard options.steps > 0, options.accumulation > 0, (options.stepsPerEpoch ?? 1) > 0,
      (options.stepsPerRound ?? 1) > 0,
      (options.checkpointInterval ?? 1) > 0
    else { throw DistillationError("steps, accumulation and intervals must be at least 1") }
    if objective.needsTeacher, teacher == nil {
      let names = objective.entries.filter { $0.term.needsTeacher }.map(\.term.name)
      throw DistillationError("\(names.joined(separator: ", ")) cannot be computed without a teacher")
    }
    try objective.requireMembers(of: teacher)
    try teacher?.requireFit(loader)
    let missing = objective.adapters.filter { adapter in
      !optimizer.tensors.contains { $0 === adapter.tensor }
    }
    guard missing.isEmpty else {
      throw DistillationError("the optimizer lacks parameters of the terms: \(missing.map(\.name))")
    }
    self.student = student
    self.kept = kept ?? student
    self.teacher = teacher
    self.objective = objective
    self.optimizer = optimizer
    self.schedule = schedule
    self.loader = loader
    self.validation = validation
    self.options = options
    self.checkpoint = checkpoint
    self.rewriter = rewriter
    let stepsPerPass = (loader.batchCount + options.accumulation - 1) / options.accumulation
    stepsPerEpoch = options.stepsPerEpoch ?? stepsPerPass
    stepsPerRound = options.stepsPerRound ?? stepsPerPass
    dropout = try RandomStream(seed: options.seed, name: "dropout", device: student.parameters.first?.device ?? .cpu)
  }

  /// Trains until the end, or until `listener` answers `.stop`, in which case the state is written down first.
  ///
  /// Afterwards the student is in evaluation mode, with the weights of the kept round.
  public func run(_ listener: (Event) throws -> Answer = { _ in .continue }) throws -> Outcome {
    try restore()
    _ = try listener(.started(step: state.step, of: options.steps))
    try startTraining()
    var clock = ProgressClock(interval: options.progressInterval, startingExamples: state.examples)
    var batches = loader.batches(epoch: state.epoch, from: state.batch)
    while state.step < options.steps, !state.isEarlyStopped {
      let step = try nextBatches(&batches)
      try takeStep(step)
      var answer = Answer.continue
      if clock.isDue {
        answer = try listener(.progress(clock.progress(state, of: options.steps)))
      }
      if state.step % stepsPerRound == 0 || state.step == options.steps {
        if try listener(.round(try finishRound())) == .stop { answer = .stop }
        try save(listener)
      } else if answer == .stop || state.step % (options.checkpointInterval ?? .max) == 0 {
        try save(listener)
      }
      if answer == .stop, state.step < options.steps { return outcome(.interrupted) }
    }
    let outcome = try finish()
    _ = try listener(.finished(outcome))
    return outcome
  }

  func startTraining() throws {
    student.train()
    try options.parts.apply(to: student)
  }

  /// One step: forward, objective, backward for each batch, then one step of the optimizer.
  private func takeStep(_ batches: [Batch]) throws {
    let batches =
      try rewriter.map { rewriter in
        try batches.map { try rewriter.rewrite($0, student: student, step: state.step) }
      } ?? batches
    let step = beginStep(batches)
    for batch in batches {
      let batch = try objective.withCopies(batch, at: step.position)
      if let value = try valueByChunks(batch, step) {
        try learn(value, batch)
        continue
      }
      let teacherTrace = try objective.trace(teacher, batch)
      let studentTrace = try forward(batch, taps: objective.studentTaps)
      try learn(from: teacherTrace, studentTrace, batch, step)
    }
    try endStep()
  }

  /// What holds for all batches of a step.
  struct Step {
    let position: TrainingPosition
    let counts: [Int]
  }

  func beginStep(_ batches: [Batch]) -> Step {
    optimizer.learningRateFactor = schedule.factor(step: state.step, of: options.steps)
    if let momentum = schedule.momentum(step: state.step, of: options.steps) { optimizer.momentum = momentum }
    return Step(
      position: TrainingPosition(
        epoch: Double(state.step) / Double(stepsPerEpoch), step: state.step,
        progress: Double(state.step) / Double(options.steps)),
      counts: objective.counts(batches))
  }

  func forward(_ batch: Batch, taps: [Tap]) throws -> Trace {
    try withRandomStream(dropout) {
      try options.precision.compute(on: batch.inputs.device) { try student.trace(batch.inputs, taps: taps) }
    }
  }

  /// Adds the gradient of the objective on a batch.
  func learn(from teacherTrace: TeacherTrace?, _ studentTrace: Trace, _ batch: Batch, _ step: Step) throws {
    guard
      let value = try objective.evaluate(
        student: studentTrace, teacher: teacherTrace, batch: batch, position: step.position, counts: step.counts)
    else { return }
    try learn(value, batch)
  }

  /// The objective on a batch whose logits, of student and teacher, are never held as a whole; nil where they are not
  /// large, or a term needs them.
  private func valueByChunks(_ batch: Batch, _ step: Step) throws -> Objective.Value? {
    guard let classes = outputClasses,
      let chunked = LinearObjective(objective, batch: batch, position: step.position, counts: step.counts),
      options.chunkedOutputs.includes(rows: chunked.rowCount, classes: classes)
    else { return nil }
    let source = try chunked.source(teacher, batch)
    let output = try withRandomStream(dropout) { try options.precision.linearOutput(of: student, batch.inputs) }
    return try output.map { try chunked.evaluate(student: $0, teacher: source) }
  }

  /// The classes of a student whose outputs can be computed in chunks; nil for another one.
  private var outputClasses: Int? {
    guard options.precision != .float16, options.chunkedOutputs != .never else { return nil }
    return (student as? any FeatureClassifier)?.outputWeight?.shape[0]
  }

  /// Adds the gradient of a value of the objective.
  private func learn(_ value: Objective.Value, _ batch: Batch) throws {
    guard options.parts == .all || value.total.requiresGradient else {
      throw DistillationError(
        "nothing of the student that is trained has an influence on \(value.parts.map(\.name).joined(separator: " and ")): "
          + "the layers that are looked at come before it")
    }
    try (scalesLoss ? value.total * state.lossScale.factor : value.total).backward()
    try state.note(value, exampleCount: batch.plainCount)
    // At the first step of a round it can still be told whose fault it is: a step later nothing is finite.
    if state.step == state.roundStart {
      let losses = try state.roundLosses()
      guard losses.total.isFinite else { throw notFinite(losses.parts) }
    }
  }

  func endStep() throws {
    if try !scalesLoss || state.lossScale.unscale(optimizer.tensors) {
      if let limit = options.clipNorm { _ = try clipGradientNorm(optimizer.tensors, maximum: limit) }
      try optimizer.step()
    }
    try optimizer.zeroGradients()
    state.step += 1
    try teacher?.studentDidStep(student, step: state.step)
  }

  /// Whether gradients may be too small for the precision.
  private var scalesLoss: Bool { options.precision == .float16 }

  /// The batches of the next step; a step never spans two epochs.
  func nextBatches(_ batches: inout DataLoader.Batches) throws -> [Batch] {
    var step: [Batch] = []
    while step.count < options.accumulation {
      if let batch = try batches.next() {
        step.append(batch)
        state.batch += 1
      } else {
        guard state.batch > 0 else { throw DistillationError("there are no examples to train on") }
        state.epoch += 1
        state.batch = 0
        batches = loader.batches(epoch: state.epoch)
        if !step.isEmpty { break }
      }
    }
    return step
  }

  func finishRound() throws -> Event.Round {
    let losses = try state.takeRoundLosses()
    guard losses.total.isFinite, state.lossScale.factor >= LossScale.smallest else {
      throw notFinite(losses.parts)
    }
    let score = try validation.map { try $0.score(kept) }
    state.round += 1
    let isBest =
      score.map { score in state.best.map { options.metric.isBetter(score, than: $0.score) } ?? true } ?? false
    if let score, isBest {
      state.best = TrainingState.Best(round: state.round, score: score, weights: try kept.copiedState())
    }
    state.lastScore = score
    state.isEarlyStopped = options.earlyStop.map { state.round - (state.best?.round ?? state.round) >= $0 } ?? false
    return Event.Round(
      round: state.round, step: state.step, epoch: Double(state.step) / Double(stepsPerEpoch),
      learningRate: optimizer.learningRate * optimizer.learningRateFactor,
      loss: losses.total, parts: losses.parts, validation: score, isBest: isBest)
  }

  /// What to say of a loss that is not finite. Where only the parts of some terms are not, it is they; later, all are.
  private func notFinite(_ parts: [String: Double]) -> DistillationError {
    let names = parts.filter { !$0.value.isFinite }.keys.sorted()
    let isTheirs = !names.isEmpty && (names.count < parts.count || state.step == 0)
    return DistillationError(
      isTheirs
        ? "the part of \(names.joined(separator: " and ")) in the loss is not a finite number by step \(state.step + 1): "
          + "lower its weight, look at its options, or use float32"
        : "the loss is no longer a finite number by step \(state.step): lower the learning rate, clip the gradient's "
          + "norm, or use float32")
  }

  /// Gives the student the weights that are kept.
  func finish() throws -> Outcome {
    if options.keep == .best, let best = state.best {
      try student.overwrite(with: best.weights)
    } else if kept !== student {
      try student.overwrite(with: kept.state)
    }
    student.eval()
    return outcome(state.step < options.steps ? .earlyStopped : .completed)
  }

  func outcome(_ reason: Outcome.Reason) -> Outcome {
    let keepsBest = options.keep == .best && state.best != nil
    return Outcome(
      reason: reason, steps: state.step, keptRound: keepsBest ? state.best?.round ?? state.round : state.round,
      validation: keepsBest ? state.best?.score : state.lastScore)
  }

  private func save(_ listener: (Event) throws -> Answer) throws {
    guard let checkpoint else { return }
    try checkpoint.write([state], [participant])
    _ = try listener(.checkpointed(path: checkpoint.path))
  }

  private func restore() throws {
    if let checkpoint, checkpoint.exists, let saved = try checkpoint.read([participant]).first { state = saved }
    try teacher?.trainingWillStart(student: student, step: state.step)
  }

  /// What a checkpoint holds beside the state.
  var participant: TrainingCheckpoint.Participant {
    TrainingCheckpoint.Participant(
      student: student, optimizer: optimizer, adapters: objective.adapterState,
      teacher: teacher?.trainingState ?? [], dropout: dropout)
  }
}

extension Optimizer {
  fileprivate var tensors: [Tensor] { parameterGroups.flatMap { $0.parameters.map(\.tensor) } }
}

/// Decides when progress is to be told, and measures speed.
struct ProgressClock {
  private let interval: Double
  private let startingExamples: Int
  private let start = ContinuousClock.now
  private var last = ContinuousClock.now

  init(interval: Double, startingExamples: Int) {
    self.interval = interval
    self.startingExamples = startingExamples
  }

  var isDue: Bool {
    mutating get {
      let now = ContinuousClock.now
      guard (now - last) / .seconds(1) >= interval else { return false }
      last = now
      return true
    }
  }

  func progress(_ state: TrainingState, of steps: Int) throws -> Event.Progress {
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    return Event.Progress(
      step: state.step, steps: steps, loss: try state.roundLosses().total,
      examplesPerSecond: Double(state.examples - startingExamples) / max(seconds, 1e-9))
  }
}
