import Foundation
import Testing

@testable import DistillRecipes
@testable import Distillation

@Suite("TensorBoard", .serialized)
struct TensorBoardTests {
  // MARK: Bytes

  @Test("The checksum is CRC-32C: the check value of its catalogue, and that of RFC 3720")
  func checksum() {
    #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xE306_9283)
    #expect(CRC32C.masked(Array("123456789".utf8)) == 0xC78A_B0E5)
    #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
    #expect(CRC32C.checksum([]) == 0)
  }

  @Test("An event and its record, byte by byte, as TensorBoard's own classes write them")
  func bytes() throws {
    var event = TensorBoardEvent(wallTime: 1.5, step: 3)
    event.scalars = [.init(tag: "a", value: 2)]
    let content: [UInt8] = [
      0x09, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F, 0x10, 0x03, 0x2A, 0x0A, 0x0A, 0x08, 0x0A, 0x01, 0x61, 0x15, 0, 0, 0, 0x40,
    ]
    #expect(event.encoded == content)
    let head: [UInt8] = [0x17, 0, 0, 0, 0, 0, 0, 0, 0xE7, 0xCE, 0xF8, 0x1E]
    let tail: [UInt8] = [0xE8, 0x1C, 0x3A, 0x9D]
    #expect(EventRecord.framed(content) == Data(head + content + tail))
    #expect(TensorBoardEvent(decoding: content) == event)
  }

  @Test("Numbers of every size go through the wire format", arguments: [0, 1, 127, 128, 300, 1 << 40, Int.max, -1])
  func numbers(value: Int) throws {
    var message = ProtobufMessage()
    message.append(value, as: 1)
    var ends = [message.bytes.count]
    message.append(0.1, as: 2)
    ends.append(message.bytes.count)
    message.append(Float(0.1), as: 16)
    ends.append(message.bytes.count)
    message.append("Größe", as: 3)
    let fields = try #require(ProtobufMessage.fields(of: message.bytes))
    #expect(
      fields == [
        .init(number: 1, value: .varint(UInt64(bitPattern: Int64(value)))),
        .init(number: 2, value: .fixed64(0.1.bitPattern)), .init(number: 16, value: .fixed32(Float(0.1).bitPattern)),
        .init(number: 3, value: .bytes(Array("Größe".utf8))),
      ])
    // Cut short anywhere but between two fields it is no message.
    for size in 1..<message.bytes.count where !ends.contains(size) {
      #expect(ProtobufMessage.fields(of: Array(message.bytes.prefix(size))) == nil, "\(size)")
    }
  }

  @Test("What is cut short or damaged ends a file, and what is before it is read")
  func damagedRecords() {
    let contents: [[UInt8]] = [[1, 2, 3], [], Array(repeating: 7, count: 300)]
    let file = contents.map(EventRecord.framed).reduce(Data(), +)
    #expect(EventRecord.contents(of: file).map(\.content) == contents)
    #expect(EventRecord.contents(of: file).last?.end == file.count)
    #expect(EventRecord.contents(of: file.dropLast()).count == 2)
    #expect(EventRecord.contents(of: Data()).isEmpty)
    for place in [0, 8, 12, 15] {
      var damaged = file
      damaged[place] ^= 0x10
      #expect(EventRecord.contents(of: damaged).isEmpty, "\(place)")
    }
    // A length beyond everything is no reason to read on.
    let length = [UInt8](repeating: 0xFF, count: 8)
    let checksum = CRC32C.masked(length)
    let head = length + (0..<4).map { UInt8(truncatingIfNeeded: checksum >> (8 * $0)) }
    #expect(EventRecord.contents(of: Data(head + [UInt8](repeating: 0, count: 20))).isEmpty)
  }

  // MARK: A training

  private static func job(_ terms: String = "[{soft_targets: {temperature: 2}}]") throws -> TrainingJob {
    let configuration = try RunRecipe.configuration(
      training: "{epochs: 4, batch_size: 128}", overrides: ["terms=\(terms)"])
    let plan = try RunPlan(configuration, materials: Materials(configuration), teacherHashes: [])
    return try #require(plan.settings.first?.job(.distilled, seed: 1))
  }

  private static func round(_ number: Int, of job: TrainingJob) -> Event.Round {
    Event.Round(
      round: number, step: number * job.budget.stepsPerRound, epoch: Double(number), learningRate: 0.1 / Double(number),
      loss: 1 / Double(number), parts: ["soft_targets": 1 / Double(number)],
      validation: ValidationScore(accuracy: 0.5 + 0.1 * Double(number), loss: 0.4), isBest: true)
  }

  /// Of the file in a folder the steps of all records, and the values of a curve.
  private static func read(_ folder: String, _ tag: String = "loss/total") throws -> (steps: [Int], values: [Float]) {
    let names = TensorBoardLog.names(in: folder)
    try #require(names.count == 1, "\(names)")
    let data = try RunRecipe.read("\(folder)/\(names[0])")
    let records = EventRecord.contents(of: data)
    #expect(records.last?.end == data.count, "there is something behind the last record")
    let events = try records.map { try #require(TensorBoardEvent(decoding: $0.content)) }
    #expect(events.first?.fileVersion == "brain.Event:2")
    #expect(events.dropFirst().first?.isStart == true)
    let scalars = events.flatMap { event in event.scalars.filter { $0.tag == tag } }
    return (events.dropFirst(2).map(\.step), scalars.map(\.value))
  }

  @Test("A training that goes on from a checkpoint has each round once, wherever it was killed")
  func goingOn() throws {
    let job = try Self.job()
    let rounds = (1...4).map { Self.round($0, of: job) }
    try RunRecipe.withFolder { folder in
      let place = JobFolder(path: folder)
      var log = TensorBoardLog(job, student: "mlp", in: place)
      try log.begin(after: 0, rounds: [])
      for round in rounds.prefix(3) { try log.append(round) }
      #expect(try Self.read(folder).values == [1, 0.5, Float(1.0 / 3)])
      let name = TensorBoardLog.names(in: folder)

      // Killed before the checkpoint of the third: the event log was cut back to the second.
      log = TensorBoardLog(job, student: "mlp", in: place)
      try log.begin(after: rounds[1].step, rounds: Array(rounds.prefix(2)))
      #expect(try Self.read(folder).steps == rounds.prefix(2).map(\.step))
      // In the middle of a record.
      try log.append(rounds[2])
      let path = "\(folder)/\(name[0])"
      try RunRecipe.read(path).dropLast(5).write(to: URL(fileURLWithPath: path))
      log = TensorBoardLog(job, student: "mlp", in: place)
      try log.begin(after: rounds[2].step, rounds: Array(rounds.prefix(3)))
      // After the end, and before that was written down elsewhere.
      try log.append(rounds[3])
      try log.finish(ReportData.Scores(accuracy: 0.9), at: rounds[3].step)
      log = TensorBoardLog(job, student: "mlp", in: place)
      try log.begin(after: rounds[3].step, rounds: rounds)
      try log.finish(ReportData.Scores(accuracy: 0.9, agreement: 0.8), at: rounds[3].step)

      #expect(TensorBoardLog.names(in: folder) == name, "it is the same file all the time")
      let curve = try Self.read(folder)
      #expect(curve.steps == rounds.map(\.step) + [rounds[3].step])
      #expect(curve.values == rounds.map { Float($0.loss) })
      #expect(try Self.read(folder, "test/accuracy").values == [0.9])
      #expect(try Self.read(folder, "test/agreement").values == [Float(0.8)])
      #expect(try Self.read(folder, "test/kl").values == [])
    }
  }

  @Test("A file that is gone or damaged is made again from the event log; a training that begins anew gets a new one")
  func madeAgain() throws {
    let job = try Self.job()
    let rounds = (1...3).map { Self.round($0, of: job) }
    try RunRecipe.withFolder { folder in
      var log = TensorBoardLog(job, student: "mlp", in: JobFolder(path: folder))
      try log.begin(after: rounds[2].step, rounds: rounds)
      #expect(try Self.read(folder).values == rounds.map { Float($0.loss) })
      let path = "\(folder)/\(TensorBoardLog.names(in: folder)[0])"
      try Data("no records".utf8).write(to: URL(fileURLWithPath: path))
      try log.begin(after: rounds[1].step, rounds: Array(rounds.prefix(2)))
      #expect(try Self.read(folder).steps == rounds.prefix(2).map(\.step))
      try log.begin(after: 0, rounds: [])
      #expect(try Self.read(folder).steps == [])
    }
  }

  @Test("Each term's share, what it weighs at that moment, and its temperature")
  func scalars() throws {
    let job = try Self.job(
      "[{soft_targets: {temperature: {from: 8, to: 2}, weight: 0.5}}, {hard_labels: {weight: 0.5, start: 2}}]")
    var round = Self.round(2, of: job)
    round.parts = ["soft_targets": 0.3, "hard_labels": 0.2]
    func values(_ round: Event.Round) -> [String: Float] {
      let scalars = TensorBoardLog.scalars(of: round, terms: job.configuration.terms, budget: job.budget)
      #expect(Set(scalars.map(\.tag)).count == scalars.count)
      return Dictionary(scalars.map { ($0.tag, $0.value) }) { first, _ in first }
    }
    let found = values(round)
    #expect(found["loss/total"] == 0.5 && found["loss/soft_targets"] == 0.3 && found["loss/hard_labels"] == 0.2)
    #expect(found["schedule/learning_rate"] == 0.05 && found["schedule/epoch"] == 2)
    #expect(found["validation/accuracy"] == Float(0.7) && found["validation/loss"] == 0.4)
    #expect(found["weight/soft_targets"] == 0.5 && found["weight/hard_labels"] == 0)
    let progress = Double(round.step - 1) / Double(job.budget.steps)
    #expect(abs(try #require(found["temperature/soft_targets"]) - Float(8 - 6 * progress)) < 1e-5)
    #expect(found["temperature/hard_labels"] == nil)
    var later = Self.round(3, of: job)
    later.validation = nil
    #expect(values(later)["weight/hard_labels"] == 0.5)
    #expect(values(later)["validation/accuracy"] == nil)
  }

  // MARK: A run

  @Test("Every training of a run has one, teacher, student alone and distilled, with what events.jsonl has")
  func run() throws {
    try RunRecipe.withRun { run in
      for arm in ["teacher", "alone", "distilled"] {
        let job = try #require(RunRecipe.jobs(in: run, arm).first)
        let rounds = EventLog(path: "\(job)/events.jsonl").rounds()
        let curve = try Self.read(job)
        #expect(curve.values == rounds.map { Float($0.loss) } && !rounds.isEmpty)
        #expect(curve.steps == rounds.map(\.step) + rounds.suffix(1).map(\.step))
        let accuracies = try Self.read(job, "validation/accuracy").values
        #expect(accuracies == rounds.compactMap { $0.validation.map { Float($0.accuracy) } })
        let result: TrainingResult = try ResultJSON.decode(RunRecipe.read("\(job)/result.json"))
        let test = try Self.read(job, "test/accuracy").values
        #expect(test == (result.test.map { [Float($0.accuracy)] } ?? []))
        #expect(try Self.read(job, "temperature/soft_targets").values == (arm == "distilled" ? [2] : []))
      }
    }
  }

  @Test(
    "TensorBoard itself reads the files of a run: curves, test scores and hyperparameters",
    .enabled(if: TensorBoardPython.path != nil, TensorBoardPython.missing), .timeLimit(.minutes(30)))
  func realTensorBoard() throws {
    let python = try #require(TensorBoardPython.path)
    try RunRecipe.withRun { run in
      for arm in ["teacher", "alone", "distilled"] {
        let job = try #require(RunRecipe.jobs(in: run, arm).first)
        let rounds = EventLog(path: "\(job)/events.jsonl").rounds()
        let result = try TensorBoardPython.run(python, ["-c", Self.script, job])
        try #require(result.status == 0, "\(result.output)\n\(result.errors)")
        let seen = try JSONDecoder().decode(Seen.self, from: Data(result.output.utf8))
        let loss = try #require(seen.scalars["loss/total"])
        #expect(loss.map { Int($0[0]) } == rounds.map(\.step))
        #expect(loss.map { Float($0[1]) } == rounds.map { Float($0.loss) })
        #expect(seen.scalars["test/accuracy"]?.count == 1)
        #expect((seen.scalars["temperature/soft_targets"] != nil) == (arm == "distilled"))
        #expect(seen.hyperparameters["arm"] == arm)
        #expect(seen.hyperparameters["seed"] == "1.0")
        #expect(seen.hyperparameters["model"] == "mlp")
        #expect(seen.status == 1, "the training is marked as done")
      }
    }
  }

  private struct Seen: Decodable {
    /// Steps and values by tag.
    var scalars: [String: [[Double]]]
    var hyperparameters: [String: String]
    var status: Int
  }

  private static let script = """
    import json, sys
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
    events.Reload()
    plugin = {tag: HParamsPluginData.FromString(content)
              for tag, content in events.PluginTagToContent("hparams").items()}
    start = plugin["_hparams_/session_start_info"].session_start_info
    json.dump({
        "scalars": {tag: [[event.step, event.value] for event in events.Scalars(tag)]
                    for tag in events.Tags()["scalars"]},
        "hyperparameters": {name: str(getattr(value, value.WhichOneof("kind")))
                            for name, value in start.hparams.items()},
        "status": plugin["_hparams_/session_end_info"].session_end_info.status,
    }, sys.stdout)
    """
}

/// A Python that has TensorBoard: the system's, or one in an environment of the package's that is made the first time.
enum TensorBoardPython {
  static let package = "tensorboard==2.21.0"
  static let missing: Comment = "no Python with TensorBoard here, and pip cannot install it"

  static let path: String? = {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().path
    let environment = "\(root)/.venv-tensorboard"
    let own = "\(environment)/bin/python"
    if let found = ["python3", own].first(where: hasTensorBoard) { return found }
    guard let made = try? run("python3", ["-m", "venv", environment]), made.status == 0,
      let installed = try? run(own, ["-m", "pip", "install", "--quiet", package]), installed.status == 0
    else { return nil }
    return hasTensorBoard(own) ? own : nil
  }()

  private static func hasTensorBoard(_ python: String) -> Bool {
    (try? run(python, ["-c", "import tensorboard.backend.event_processing.event_accumulator"]))?.status == 0
  }

  static func run(
    _ program: String, _ arguments: [String]
  ) throws -> (status: Int32, output: String, errors: String) {
    let folder = FileManager.default.temporaryDirectory.appending(path: "distill-python-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    // Into files: a pipe that nobody reads while the process runs would fill up.
    let (output, errors) = (folder.appending(path: "output"), folder.appending(path: "errors"))
    for file in [output, errors] { try Data().write(to: file) }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = try FileHandle(forWritingTo: errors)
    try process.run()
    process.waitUntilExit()
    return (
      process.terminationStatus, String(decoding: try Data(contentsOf: output), as: UTF8.self),
      String(decoding: try Data(contentsOf: errors), as: UTF8.self)
    )
  }
}
