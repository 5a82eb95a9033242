import Distillation
import Foundation

/// The curves of a training in the format of TensorBoard, in a file of the training's folder that grows with it:
/// `tensorboard --logdir runs` shows all trainings of all runs.
///
/// The file says nothing that is not in `events.jsonl` and `result.json`. After a restart it is made to hold just the
/// rounds that the event log has, so that no point is there twice.
struct TensorBoardLog {
  /// By this in its name TensorBoard knows a file as its own.
  private static let prefix = "events.out.tfevents."

  private let folder: String
  private let settings: [(name: String, value: TensorBoardEvent.Setting)]
  private let terms: [Configuration.Term]
  private let budget: Budget
  private var path: String

  /// - Parameter student: the architecture that is trained
  init(_ job: TrainingJob, student: String, in place: JobFolder) {
    folder = place.path
    terms = job.arm == .distilled ? job.configuration.terms : []
    budget = job.budget
    settings = Self.settings(of: job, student: student)
    path = ""
  }

  /// The names of such files in a folder, in their order.
  static func names(in folder: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter { $0.hasPrefix(prefix) }.sorted()
  }

  // MARK: Writing

  /// Begins a file, or goes on with the one that is there.
  ///
  /// - Parameters:
  ///   - step: the step from which the training goes on; at 0 a new file is begun
  ///   - rounds: those that are done
  /// - Throws: `FileError`
  mutating func begin(after step: Int, rounds: [Event.Round]) throws {
    let names = Self.names(in: folder)
    if step > 0, let name = names.last, let kept = Self.known(rounds, in: "\(folder)/\(name)") {
      for other in names.dropLast() { unlink("\(folder)/\(other)") }
      path = "\(folder)/\(name)"
      try GrowingFile.cut(path, at: kept.end)
      for round in rounds.dropFirst(kept.count) { try append(round) }
      return
    }
    for name in names { unlink("\(folder)/\(name)") }
    // A new name: whoever is watching the folder looks at a new file only if it is called otherwise.
    let now = Date().timeIntervalSince1970
    path = "\(folder)/\(Self.prefix)\(Int(now)).distill"
    var version = TensorBoardEvent(wallTime: now)
    version.fileVersion = "brain.Event:2"
    var start = TensorBoardEvent(wallTime: now)
    start.noteStart(settings)
    try GrowingFile.replace(
      EventRecord.framed(version.encoded) + EventRecord.framed(start.encoded), in: path)
    for round in rounds { try append(round) }
  }

  func append(_ round: Event.Round) throws {
    var event = TensorBoardEvent(wallTime: Date().timeIntervalSince1970, step: round.step)
    event.scalars = Self.scalars(of: round, terms: terms, budget: budget)
    try GrowingFile.append(EventRecord.framed(event.encoded), to: path)
  }

  /// Ends the file.
  ///
  /// - Parameter scores: on the test split; nil of a student that is not tested
  func finish(_ scores: ReportData.Scores?, at step: Int) throws {
    var event = TensorBoardEvent(wallTime: Date().timeIntervalSince1970, step: step)
    event.scalars = scores.map { Self.scalars(of: $0) } ?? []
    event.noteEnd()
    try GrowingFile.append(EventRecord.framed(event.encoded), to: path)
  }

  /// How many of the rounds a file has, from the first on, and the place behind the last of them. Nil where it does not
  /// begin as such files do.
  private static func known(_ rounds: [Event.Round], in path: String) -> (count: Int, end: Int)? {
    guard let data = FileManager.default.contents(atPath: path) else { return nil }
    let records = EventRecord.contents(of: data)
    let events = records.map { TensorBoardEvent(decoding: $0.content) }
    guard records.count >= 2, events[0]?.fileVersion != nil, events[1]?.isStart == true else { return nil }
    var known = (count: 0, end: records[1].end)
    for (event, record) in zip(events, records).dropFirst(2) {
      guard known.count < rounds.count, let event, !event.isEnd, event.step == rounds[known.count].step else { break }
      known = (known.count + 1, record.end)
    }
    return known
  }

  // MARK: What is in it

  /// The curves of a round.
  static func scalars(
    of round: Event.Round, terms: [Configuration.Term], budget: Budget
  ) -> [TensorBoardEvent.Scalar] {
    var values: [(tag: String, value: Double)] = [("loss/total", round.loss)]
    values += round.parts.sorted { $0.key < $1.key }.map { (tag: "loss/\($0.key)", value: $0.value) }
    values.append(("schedule/learning_rate", round.learningRate))
    values.append(("schedule/epoch", round.epoch))
    // As at the round's last step, to which its learning rate belongs.
    let last = max(0, round.step - 1)
    let position = TrainingPosition(
      epoch: Double(last) / Double(max(1, budget.stepsPerEpoch)), step: last,
      progress: Double(last) / Double(max(1, budget.steps)))
    var seen: [String: Int] = [:]
    for term in terms {
      seen[term.name, default: 0] += 1
      let count = seen[term.name] ?? 1
      let name = count > 1 ? "\(term.name)_\(count)" : term.name
      let isActive = term.start.isReached(at: position) && !(term.end?.isReached(at: position) ?? false)
      values.append(("weight/\(name)", isActive ? term.weight.value(at: position.progress) : 0))
      if case .ramp(let temperature) = term.options["temperature"] {
        values.append(("temperature/\(name)", temperature.value(at: position.progress)))
      }
    }
    if let validation = round.validation {
      values.append(("validation/accuracy", validation.accuracy))
      values.append(("validation/loss", validation.loss))
    }
    return values.map { TensorBoardEvent.Scalar(tag: $0.tag, value: Float($0.value)) }
  }

  /// What a student scored in the end, by the names of `metrics.json`.
  private static func scalars(of scores: ReportData.Scores) -> [TensorBoardEvent.Scalar] {
    let values: [(name: String, value: Double?)] = [
      ("accuracy", scores.accuracy), ("top_k_accuracy", scores.topKAccuracy), ("nll", scores.negativeLogLikelihood),
      ("ece", scores.calibrationError), ("agreement", scores.agreement), ("kl", scores.divergence),
      ("bits_per_token", scores.bitsPerToken), ("perplexity", scores.perplexity),
    ]
    return values.compactMap { name, value in
      value.map { TensorBoardEvent.Scalar(tag: "test/\(name)", value: Float($0)) }
    }
  }

  /// What tells a training from others.
  private static func settings(
    of job: TrainingJob, student: String
  ) -> [(name: String, value: TensorBoardEvent.Setting)] {
    let training = job.training
    var settings: [(name: String, value: TensorBoardEvent.Setting)] = [
      ("arm", .text(job.arm.rawValue)), ("seed", .number(Double(job.seed))), ("model", .text(student)),
      ("learning_rate", .number(training.optimizer.learningRate)),
      ("optimizer", .text(training.optimizer.kind.rawValue)),
      ("batch_size", .number(Double(training.batchSize * training.accumulation))),
      ("steps", .number(Double(job.budget.steps))),
    ]
    if !job.setting.isEmpty { settings.append(("setting", .text(job.setting))) }
    if let stage = job.stage { settings.append(("stage", .text(stage.name))) }
    guard job.arm == .distilled else { return settings }
    var seen: Set<String> = []
    for term in job.configuration.terms where seen.insert(term.name).inserted {
      settings.append(("\(term.name).weight", value(of: term.weight)))
      if case .ramp(let temperature) = term.options["temperature"] {
        settings.append(("\(term.name).temperature", value(of: temperature)))
      }
    }
    return settings
  }

  private static func value(of ramp: Ramp) -> TensorBoardEvent.Setting {
    ramp.isConstant
      ? .number(ramp.value(at: 0)) : .text(ramp.values.map(Quantity.plain).joined(separator: " to "))
  }
}
