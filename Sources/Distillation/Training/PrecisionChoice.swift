import Foundation
import Torch
import TorchNN

/// How a model is computed: in which precision, and with images in which order in memory.
public struct Computation: Codable, Sendable, Hashable {
  public var precision: Precision
  /// Whether the channels of a pixel lie side by side.
  public var channelsLast: Bool

  public init(_ precision: Precision = .float32, channelsLast: Bool = false) {
    self.precision = precision
    self.channelsLast = channelsLast
  }
}

/// The way to compute a model's steps that is fastest on this machine, found by timing a few of them.
///
/// Forward and backward passes of one batch are timed, all ways in turn, and the medians compared. bfloat16 is taken where
/// it is at least `margin` times as fast as float32 and sound; channels-last where it is at least `orderMargin` times as
/// fast as the plain order. What is measured are models made for it: no weights and no random stream of a training is
/// touched.
///
/// A time is never the same twice, so the choice has to be kept for whoever goes on with a training, or repeats it.
public struct PrecisionChoice: Codable, Sendable, Equatable {
  /// What was seen of one way.
  public struct Trial: Codable, Sendable, Equatable {
    public var computation: Computation
    /// Of a forward and a backward pass: the median.
    public var seconds: Double
    /// ‖z − z₃₂‖ / ‖z₃₂‖ over the batch's logits, z₃₂ being those in float32; 0 for float32 itself.
    public var deviation: Double
    /// Whether that is within `allowedDeviation` and all gradients are finite.
    public var isSound: Bool
  }

  public var computation: Computation
  public var trials: [Trial]

  /// How much faster another precision must be.
  public static let margin = 1.15
  /// How much faster another order in memory must be.
  public static let orderMargin = 1.05
  /// How far logits may be from those in float32. A number of bfloat16 has eight bits, so that each rounding is off by up
  /// to 2⁻⁹; over fresh networks, sums of many roundings came out as 0.2 % to 0.7 % of the logits in MLPs, and up to 7 %
  /// in deep ResNets, which train no worse for it. Where differences cancel, nothing is left: 100 %.
  public static let allowedDeviation = 0.25

  /// Measures.
  ///
  /// - Parameters:
  ///   - computations: the ways to choose from, the usual one first
  ///   - inputs: a batch, on the device of the models
  ///   - seconds: after so many nothing is timed that need not be
  ///   - makeModel: makes the model, the same each time
  /// - Throws: what float32 throws; a way that fails in another precision is not sound.
  public init(
    among computations: [Computation], inputs: Tensor, seconds: Double = 3, makeModel: () throws -> any Layer
  ) throws {
    var racers: [Racer] = []
    var exact: Tensor?
    // Models differ by the order only.
    for channelsLast in [false, true] where computations.contains(where: { $0.channelsLast == channelsLast }) {
      let model = try makeModel()
      let ordered = channelsLast && inputs.rank == 4 ? try inputs.contiguous(.channelsLast) : inputs
      if channelsLast { try model.useChannelsLast() }
      let expected = try exact ?? Racer(Computation(), model, ordered).logits()
      exact = expected
      let those = try computations.filter { $0.channelsLast == channelsLast }.map { try Racer($0, model, ordered) }
      // All are compared before any of them trains, which moves the running statistics that logits depend on.
      for racer in those { try racer.compare(with: expected) }
      for racer in those { try racer.takeFirstStep() }
      racers += those
    }
    let clock = ContinuousClock()
    let start = clock.now
    for round in 0..<Self.mostRounds {
      for racer in round.isMultiple(of: 2) ? racers : racers.reversed() where racer.isSound { try racer.race(clock) }
      if round + 1 >= Self.leastRounds, (clock.now - start) / .seconds(1) > seconds { break }
    }
    self.init(trials: racers.map(\.trial))
  }

  static let leastRounds = 3
  static let mostRounds = 9

  /// What is chosen without measuring.
  public init(computation: Computation) {
    self.computation = computation
    trials = []
  }

  /// Chooses by what was measured.
  init(trials: [Trial]) {
    self.trials = trials
    func best(_ precision: Precision) -> Trial? {
      let those = trials.filter { $0.computation.precision == precision && $0.isSound }
      guard let plain = those.first(where: { !$0.computation.channelsLast }) else { return those.first }
      guard let other = those.first(where: \.computation.channelsLast) else { return plain }
      return plain.seconds >= Self.orderMargin * other.seconds ? other : plain
    }
    var chosen = best(.float32)
    for precision in Precision.allCases where precision != .float32 {
      guard let other = best(precision) else { continue }
      if let before = chosen, before.seconds < Self.margin * other.seconds { continue }
      chosen = other
    }
    computation = (chosen ?? trials.first)?.computation ?? Computation()
  }

  /// A way with its model, and its times.
  private final class Racer {
    let computation: Computation
    private(set) var isSound = true
    private var deviation = 0.0
    private var times: [Double] = []
    private let model: any Layer
    private let inputs: Tensor
    private let dropout: RandomStream

    init(_ computation: Computation, _ model: any Layer, _ inputs: Tensor) throws {
      self.computation = computation
      self.model = model
      self.inputs = inputs
      dropout = try RandomStream(seed: 0, name: "precision", device: inputs.device)
    }

    var trial: Trial {
      let median = times.isEmpty ? 0 : times.sorted()[times.count / 2]
      return Trial(computation: computation, seconds: median, deviation: deviation, isSound: isSound)
    }

    /// In evaluation mode, where no dropout makes a difference.
    func logits() throws -> Tensor {
      try model.withMode(training: false) {
        try withoutGradient { try computation.precision.compute(on: inputs.device) { try model(inputs) }.to(.float32) }
      }
    }

    func compare(with expected: Tensor) throws {
      try unsoundIfItFails {
        let size = try expected.norm().item()
        let difference = try (logits() - expected).norm().item()
        deviation = difference == 0 ? 0 : difference / max(size, 1e-30)
        if !deviation.isFinite { deviation = .infinity }
        isSound = deviation <= PrecisionChoice.allowedDeviation
      }
    }

    /// A step that prepares what the others use, and is not timed.
    func takeFirstStep() throws {
      guard isSound else { return }
      try unsoundIfItFails {
        isSound = try step { parameters in try parameters.allSatisfy { try $0.gradient?.isFinite().all() ?? true } }
      }
    }

    private func unsoundIfItFails(_ body: () throws -> Void) throws {
      do {
        try body()
      } catch  where computation.precision != .float32 {
        deviation = .infinity
        isSound = false
      }
    }

    func race(_ clock: ContinuousClock) throws {
      times.append(
        try clock.measure {
          try step { _ in }
          try inputs.device.synchronize()
        } / .seconds(1))
    }

    /// The loss is that of the soft targets of a teacher that knows nothing.
    private func step<Result>(_ look: ([Tensor]) throws -> Result) throws -> Result {
      let parameters = model.parameters
      return try model.withMode(training: true) {
        let output = try withRandomStream(dropout) {
          try computation.precision.compute(on: inputs.device) { try model(inputs) }
        }
        try (output.to(.float32).logSoftmax().mean() * -1).backward()
        defer { for parameter in parameters { try? parameter.setGradient(nil) } }
        return try look(parameters)
      }
    }
  }
}
