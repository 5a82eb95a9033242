import Foundation
import Torch
import TorchNN

/// The cheapest precision in which a teacher says the same: found by comparing and timing on examples of the transfer set.
///
/// A precision is taken where, for these examples,
///
///     mean KL(exact ‖ cheap) ≤ `mostDivergence` at each temperature,   top-1 agreement ≥ `leastAgreement`
///
/// the exact ones being those of the model itself in float32, and where it is at least `margin` times as fast as what would
/// be taken otherwise. A time is never the same twice, so the choice has to be kept for whoever goes on.
public struct TeacherPrecisionChoice: Codable, Sendable, Equatable {
  /// What was seen of one precision.
  public struct Trial: Codable, Sendable, Equatable {
    public var precision: TeacherPrecision
    /// For one example: the fastest of some rounds. What else the machine does can only add to it.
    public var seconds: Double
    /// nil for float32 itself, and where it could not be computed.
    public var fidelity: TeacherFidelity?
    /// Why it cannot be computed so.
    public var refusal: String?

    /// Whether it says the same as in float32.
    public var isFaithful: Bool { precision == .float32 || fidelity?.isFaithful ?? false }
  }

  public var precision: TeacherPrecision
  public var trials: [Trial]

  /// Of the mean divergence, in nats: far below what a student is from its teacher, which is some hundredths at best.
  public static let mostDivergence = 1e-3
  public static let leastAgreement = 0.99
  public static let margin = 1.15

  /// Fewer are no reason to choose by.
  public static let fewestExamples = 16

  static let rounds = 5

  /// Compares and measures.
  ///
  /// - Parameters:
  ///   - model: the teacher, on its device; it is put into evaluation mode
  ///   - examples: some hundreds of the transfer set, as the model takes them; int8 is calibrated on them too, and judged by
  ///     another half than the one it is calibrated on
  ///   - temperatures: those of the terms
  ///   - precisions: the ways to choose from, beside float32
  ///   - batchSize: in which it will run
  /// - Throws: what the model throws in float32; `DistillationError` where there are too few examples, or the size of a batch
  ///   is not above 0.
  public init(
    for model: any Layer, on examples: Tensor, temperatures: [Double],
    among precisions: [TeacherPrecision] = [.bfloat16, .int8], batchSize: Int = 64
  ) throws {
    let count = try examples.size(0)
    guard batchSize > 0 else { throw DistillationError("batches need at least 1 example, not \(batchSize)") }
    guard count >= Self.fewestExamples else {
      throw DistillationError("\(count) examples are too few to choose a teacher's precision by")
    }
    let batches = try Self.batches(examples, batchSize)
    let exact = try Self.logits(FrozenTeacher(model, folds: false), batches)
    var racers: [(trial: Trial, teacher: FrozenTeacher)] = []
    var refused: [Trial] = []
    for precision in [.float32] + precisions.filter({ $0 != .float32 }) {
      do {
        let teacher = try Self.teacher(model, in: precision, examples: examples)
        var trial = Trial(precision: precision, seconds: 0)
        if precision != .float32 {
          trial.fidelity = try Self.fidelity(
            of: Self.logits(teacher, batches), exact, in: precision, temperatures: temperatures)
        }
        if trial.isFaithful { racers.append((trial, teacher)) } else { refused.append(trial) }
      } catch let error where precision != .float32 {
        refused.append(Trial(precision: precision, seconds: 0, refusal: "\(error)"))
      }
    }
    let clock = ContinuousClock()
    var times = racers.map { _ in [Double]() }
    if racers.count > 1 {
      // One batch more than what is timed prepares what the others use.
      for round in 0...Self.rounds {
        for index in round.isMultiple(of: 2) ? Array(racers.indices) : racers.indices.reversed() {
          let time = try clock.measure {
            for batch in batches.prefix(4) { _ = try racers[index].teacher.trace(batch) }
            try examples.device.synchronize()
          }
          if round > 0 { times[index].append(time / .seconds(1)) }
        }
      }
    }
    let timed = Double(min(count, 4 * batchSize))
    for index in racers.indices where !times[index].isEmpty {
      racers[index].trial.seconds = (times[index].min() ?? 0) / timed
    }
    self.init(trials: racers.map(\.trial) + refused)
  }

  /// What is chosen without measuring.
  public init(_ precision: TeacherPrecision) {
    self.precision = precision
    trials = []
  }

  /// Chooses by what was seen.
  init(trials: [Trial]) {
    self.trials = trials
    var best = trials.first { $0.precision == .float32 }
    for trial in trials where trial.precision != .float32 && trial.isFaithful && trial.refusal == nil {
      if let before = best, before.seconds < Self.margin * trial.seconds { continue }
      best = trial
    }
    precision = best?.precision ?? .float32
  }

  /// What was seen of the precision that was chosen.
  public var chosen: Trial? { trials.first { $0.precision == precision } }

  private static func batches(_ examples: Tensor, _ size: Int) throws -> [Tensor] {
    let count = try examples.size(0)
    return try stride(from: 0, to: count, by: size).map {
      try examples.sliced(0, from: $0, to: min(count, $0 + size))
    }
  }

  private static func logits(_ teacher: FrozenTeacher, _ batches: [Tensor]) throws -> Tensor {
    try Tensor.concatenated(try batches.map { try teacher.trace($0).output.to(.float32) })
  }

  /// int8 is judged by the half of the examples that it was not calibrated on.
  private static func fidelity(
    of logits: Tensor, _ exact: Tensor, in precision: TeacherPrecision, temperatures: [Double]
  ) throws -> TeacherFidelity {
    let count = try exact.size(0)
    let half = precision == .int8 ? count / 2 : 0
    return try TeacherFidelity(
      exact: exact.sliced(0, from: half, to: count), other: logits.sliced(0, from: half, to: count),
      temperatures: temperatures)
  }

  /// How near a teacher in a precision is to the model in float32, without a look at the time.
  ///
  /// - Parameters: as those of the choice
  /// - Throws: `DistillationError` when it cannot be computed so, or there is one example only.
  public static func fidelity(
    of model: any Layer, in precision: TeacherPrecision, examples: Tensor, temperatures: [Double]
  ) throws -> TeacherFidelity {
    let batches = try batches(examples, 64)
    let exact = try logits(FrozenTeacher(model, folds: false), batches)
    return try fidelity(
      of: logits(teacher(model, in: precision, examples: examples), batches), exact, in: precision,
      temperatures: temperatures)
  }

  /// A teacher in a precision, as it was judged: int8 is calibrated on the first half of the examples.
  ///
  /// - Parameter examples: those of the choice
  /// - Throws: `DistillationError` when it cannot be computed so.
  public static func teacher(
    _ model: any Layer, in precision: TeacherPrecision, examples: Tensor
  ) throws -> FrozenTeacher {
    switch precision {
    case .float32: return FrozenTeacher(model)
    case .bfloat16: return FrozenTeacher(model, precision: .bfloat16)
    case .float16: return FrozenTeacher(model, precision: .float16)
    case .int8:
      let half = max(1, try examples.size(0) / 2)
      return try FrozenTeacher(model, int8CalibratedOn: examples.sliced(0, from: 0, to: half))
    }
  }
}
