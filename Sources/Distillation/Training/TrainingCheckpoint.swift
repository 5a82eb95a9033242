import Foundation
import Torch
import TorchNN
import TorchOptim

/// The file from which a training goes on as if it had never stopped: the student's weights and those of the best round,
/// the optimizer's memory, the terms' adapters, what changes in the teacher, the stream of dropout masks, and the
/// position.
///
/// It is one safetensors file, replaced as a whole, so that whatever moment the process is killed at there is a
/// complete state, the last one or the one before.
public struct TrainingCheckpoint: Sendable {
  public let path: String
  /// What the state belongs to, such as a hash of recipe and data: a state of something else is refused.
  public let identity: String

  public init(path: String, identity: String) {
    self.path = path
    self.identity = identity
  }

  public var exists: Bool { FileManager.default.fileExists(atPath: path) }

  /// The numbers of a state that are not tensors.
  private struct Position: Codable {
    struct Best: Codable {
      var round: Int
      var score: ValidationScore
    }
    var identity: String
    var step: Int
    var epoch: Int
    var batch: Int
    var round: Int
    var roundStart: Int
    var examples: Int
    var isEarlyStopped: Bool
    var lossScale: LossScale
    var best: Best?
    var lastScore: ValidationScore?
    /// The terms whose losses are running, in order.
    var running: [String]
  }

  /// A student, and all that changes with it.
  struct Participant {
    let student: any Module
    let optimizer: any Optimizer
    /// The state of the terms.
    let adapters: [NamedTensor]
    /// What changes in the teacher.
    let teacher: [NamedTensor]
    let dropout: RandomStream
  }

  private static let positionKey = "distill.position"
  private static let streamKey = "stream.dropout"

  /// Writes the state of one training, or those of several students that learn together: what belongs to each is under
  /// its number then.
  func write(_ states: [TrainingState], _ participants: [Participant]) throws {
    var tensors: [NamedTensor] = []
    var metadata: [String: String] = [:]
    for (index, (state, participant)) in zip(states, participants).enumerated() {
      let prefix = participants.count > 1 ? "\(index)." : ""
      tensors += try self.tensors(state, participant).map { NamedTensor(name: prefix + $0.0, tensor: $0.1) }
      metadata[prefix + Self.positionKey] = try position(state)
    }
    try Checkpoint.write(tensors, metadata: metadata, to: path)
  }

  private func tensors(_ state: TrainingState, _ participant: Participant) throws -> [(String, Tensor)] {
    var tensors: [(String, Tensor)] = []
    tensors += participant.student.state.map { ("student.\($0.name)", $0.tensor) }
    tensors += (state.best?.weights ?? []).map { ("best.\($0.name)", $0.tensor) }
    tensors += participant.adapters.map { ("adapter.\($0.name)", $0.tensor) }
    tensors += participant.teacher.map { ("teacher.\($0.name)", $0.tensor) }
    tensors += participant.optimizer.state().sorted { $0.key < $1.key }.map { ("optimizer.\($0.key)", $0.value) }
    tensors += state.running.map { ("running.\($0.name)", $0.sum) }
    tensors.append((Self.streamKey, try Tensor(try participant.dropout.state())))
    return tensors
  }

  private func position(_ state: TrainingState) throws -> String {
    let position = Position(
      identity: identity, step: state.step, epoch: state.epoch, batch: state.batch, round: state.round,
      roundStart: state.roundStart, examples: state.examples, isEarlyStopped: state.isEarlyStopped,
      lossScale: state.lossScale,
      best: state.best.map { Position.Best(round: $0.round, score: $0.score) }, lastScore: state.lastScore,
      running: state.running.map(\.name))
    return String(decoding: try JSONEncoder().encode(position), as: UTF8.self)
  }

  /// Puts what was written back into the students, the optimizers, the adapters, the teachers and the streams.
  ///
  /// - Throws: `DistillationError` when the state belongs to something else, `CheckpointError` when the file is damaged.
  func read(_ participants: [Participant]) throws -> [TrainingState] {
    let checkpoint = try Checkpoint.read(path)
    return try participants.enumerated().map { index, participant in
      try read(checkpoint, participant, under: participants.count > 1 ? "\(index)." : "")
    }
  }

  private func read(
    _ checkpoint: Checkpoint, _ participant: Participant, under place: String
  ) throws -> TrainingState {
    let (student, dropout) = (participant.student, participant.dropout)
    guard let text = checkpoint.metadata[place + Self.positionKey],
      let position = try? JSONDecoder().decode(Position.self, from: Data(text.utf8)),
      min(position.step, position.epoch, position.batch, position.round, position.examples) >= 0
    else { throw DistillationError("\(path) holds no state of a training") }
    guard position.identity == identity else {
      throw DistillationError(
        "\(path) belongs to another recipe or other data: start anew in another folder, or undo the change")
    }
    func part(_ prefix: String) -> [NamedTensor] {
      let start = "\(place)\(prefix)."
      return checkpoint.tensors.compactMap { named in
        named.name.hasPrefix(start)
          ? NamedTensor(name: String(named.name.dropFirst(start.count)), tensor: named.tensor) : nil
      }
    }
    func overwrite(_ own: [NamedTensor], _ prefix: String) throws {
      do {
        try own.overwrite(with: part(prefix))
      } catch let error as DistillationError {
        throw DistillationError("\(path), \(prefix): \(error)")
      }
    }
    try overwrite(student.state, "student")
    try overwrite(participant.adapters, "adapter")
    try overwrite(participant.teacher, "teacher")
    let memory = part("optimizer").map { ($0.name, $0.tensor) }
    try participant.optimizer.load(state: Dictionary(memory) { first, _ in first })
    if let stream = checkpoint.tensors.first(where: { $0.name == place + Self.streamKey }) {
      try dropout.restore(try stream.tensor.array())
    }
    var state = TrainingState()
    state.step = position.step
    state.epoch = position.epoch
    state.batch = position.batch
    state.round = position.round
    state.roundStart = position.roundStart
    state.examples = position.examples
    state.isEarlyStopped = position.isEarlyStopped
    state.lossScale = position.lossScale
    state.lastScore = position.lastScore
    let device = student.parameters.first?.device ?? .cpu
    if let best = position.best {
      let weights = try part("best").map { NamedTensor(name: $0.name, tensor: try $0.tensor.to(device).copied()) }
      state.best = TrainingState.Best(round: best.round, score: best.score, weights: weights)
    }
    let sums = Dictionary(part("running").map { ($0.name, $0.tensor) }) { first, _ in first }
    state.running = try position.running.compactMap { name in
      try sums[name].map { TrainingState.RunningLoss(name: name, sum: try $0.to(device).copied()) }
    }
    return state
  }
}
