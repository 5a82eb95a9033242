import TestSupport
import Testing
import Torch
import TorchNN

@testable import Distillation

@Suite struct PrecisionChoiceTests {
  private func trial(
    _ precision: Precision, channelsLast: Bool = false, _ seconds: Double, isSound: Bool = true
  ) -> PrecisionChoice.Trial {
    PrecisionChoice.Trial(
      computation: Computation(precision, channelsLast: channelsLast), seconds: seconds, deviation: 0, isSound: isSound)
  }

  @Test("Another precision has to be 1.15 times as fast", arguments: [(1.14, Precision.float32), (1.16, .bfloat16)])
  func margin(ratio: Double, expected: Precision) {
    let choice = PrecisionChoice(trials: [trial(.float32, ratio), trial(.bfloat16, 1)])
    #expect(choice.computation == Computation(expected))
  }

  @Test("Another order in memory has to be 1.05 times as fast", arguments: [(1.04, false), (1.06, true)])
  func orderMargin(ratio: Double, expected: Bool) {
    let choice = PrecisionChoice(trials: [trial(.float32, ratio), trial(.float32, channelsLast: true, 1)])
    #expect(choice.computation == Computation(channelsLast: expected))
  }

  /// Each precision in the order that is the better one for it. A ResNet-20's times, and others.
  @Test func ordersAreChosenBeforePrecisions() {
    let all = [
      trial(.float32, 303), trial(.bfloat16, 102), trial(.float32, channelsLast: true, 198),
      trial(.bfloat16, channelsLast: true, 91),
    ]
    #expect(PrecisionChoice(trials: all).computation == Computation(.bfloat16, channelsLast: true))
    let close = [
      trial(.float32, 303), trial(.float32, channelsLast: true, 100), trial(.bfloat16, 98),
      trial(.bfloat16, channelsLast: true, 97),
    ]
    #expect(PrecisionChoice(trials: close).computation == Computation(channelsLast: true))
  }

  @Test func whatIsNotSoundIsNotTaken() {
    #expect(
      PrecisionChoice(trials: [trial(.float32, 10), trial(.bfloat16, 1, isSound: false)]).computation == Computation())
    // Where nothing is left, the usual way.
    #expect(
      PrecisionChoice(trials: [
        trial(.bfloat16, 1, isSound: false), trial(.bfloat16, channelsLast: true, 1, isSound: false),
      ]).computation == Computation(.bfloat16))
  }

  @Test func measuresEveryWay() throws {
    let ways = [Precision.float32, .bfloat16].map { Computation($0) }
    let inputs = try withRandomStream(try RandomStream(seed: 5, name: "inputs")) {
      try Tensor.zeros([32, 6]).drawNormal()
    }
    let choice = try PrecisionChoice(among: ways, inputs: inputs, seconds: 0) { try TinyModel.mlp() }
    #expect(Set(choice.trials.map(\.computation)) == Set(ways))
    #expect(choice.trials.allSatisfy { $0.isSound && $0.seconds > 0 })
    let exact = try #require(choice.trials.first { $0.computation.precision == .float32 })
    let half = try #require(choice.trials.first { $0.computation.precision == .bfloat16 })
    #expect(exact.deviation == 0)
    // Two layers of roundings to eight bits.
    #expect(half.deviation > 1e-5 && half.deviation < 0.02)
  }

  /// A step in training moves running means and variances, on which logits depend.
  @Test func oneWaysStepDoesNotMoveAnothersLogits() throws {
    let ways = [false, true].flatMap { order in
      [Precision.float32, .bfloat16].map { Computation($0, channelsLast: order) }
    }
    let inputs = try withRandomStream(try RandomStream(seed: 5, name: "inputs")) {
      try Tensor.zeros([16, 1, 8, 8]).drawNormal(mean: 3, standardDeviation: 4)
    }
    let choice = try PrecisionChoice(among: ways, inputs: inputs, seconds: 0) { try TinyModel.convNet() }
    for trial in choice.trials {
      #expect(trial.isSound && trial.deviation < (trial.computation.precision == .float32 ? 1e-5 : 0.03))
    }
  }

  /// 1000 (1 + 2⁻¹⁰) − 1000 is 0.98; in bfloat16, which has eight bits, 1 + 2⁻¹⁰ is 1 and the difference nothing.
  @Test func numbersThatCancelAreNotForBFloat16() throws {
    let inputs = try Tensor([Float](repeating: 0, count: 8).flatMap { _ in [1 + Float(1) / 1024, 1] }).reshaped([8, 2])
    let choice = try PrecisionChoice(
      among: [Computation(), Computation(.bfloat16)], inputs: inputs, seconds: 0
    ) {
      let layer = try Linear(2, 2, bias: false)
      try withoutGradient {
        try layer.weight.copy(from: Tensor([Float]([1024, -1024, 1024, -1024])).reshaped([2, 2]))
      }
      return layer
    }
    let half = try #require(choice.trials.first { $0.computation.precision == .bfloat16 })
    #expect(!half.isSound && abs(half.deviation - 1) < 1e-3)
    #expect(choice.computation == Computation())
  }

  /// A model that another precision cannot compute is no error.
  @Test func aWayThatFailsIsNotTaken() throws {
    final class OnlyFloat32: Layer {
      let linear: Linear
      init() throws { linear = try Linear(6, 3) }
      func forward(_ input: Tensor) throws -> Tensor {
        let output = try linear(input)
        guard output.dtype == .float32 else { throw TorchError(operation: "only float32", message: "no") }
        return output
      }
    }
    let choice = try PrecisionChoice(
      among: [Computation(), Computation(.bfloat16)], inputs: Tensor.zeros([4, 6]), seconds: 0
    ) { try OnlyFloat32() }
    #expect(choice.computation == Computation())
    #expect(choice.trials.map(\.isSound) == [true, false])
  }

  @Test func randomStreamsStayAsTheyAre() throws {
    let stream = try RandomStream(seed: 4, name: "mine")
    let before = try stream.state()
    try withRandomStream(stream) {
      _ = try PrecisionChoice(
        among: [Computation(), Computation(.bfloat16)], inputs: Tensor.zeros([4, 6]), seconds: 0
      ) { try TinyTraining().makeStudent() }
    }
    #expect(try stream.state() == before)
  }
}

@Suite struct EvaluationBatchTests {
  /// 8 MiB by the largest activation: 8,192 channels of 8 × 8 take 2 MiB.
  @Test func batchesFollowTheLargestActivation() throws {
    let data = try TinyData.images(count: 50)
    let set = try EvaluationSet(data, normalization: nil)
    func model(_ channels: Int) throws -> any Layer {
      try Sequential {
        try Conv2d(1, channels, kernel: 3, padding: 1)
        GlobalAvgPool2d()
        Flatten()
        try Linear(channels, 2)
      }
    }
    #expect(set.batchSize(for: try model(1)) == 512)
    #expect(set.batchSize(for: try model(256)) == 128)
    #expect(set.batchSize(for: try model(8_192)) == 32)
    #expect(try EvaluationSet(data, normalization: nil, batchSize: 7).batchSize(for: model(256)) == 7)
  }

  @Test func scoreIsThatOfAllLogits() throws {
    let data = try TinyData.vectors(count: 43)
    let model = try TinyModel.mlp()
    for size in [5, 43, 100] {
      let set = try EvaluationSet(data, normalization: nil, batchSize: size)
      let metrics = try Metrics(logits: set.logits(of: model), labels: set.labels)
      let score = try set.score(model)
      #expect(score.accuracy == metrics.accuracy)
      #expect(abs(score.loss - metrics.negativeLogLikelihood) < 1e-6)
    }
  }
}
