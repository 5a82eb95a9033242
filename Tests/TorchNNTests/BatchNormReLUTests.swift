import TestSupport
import Testing
import Torch
import TorchNN

/// A batch normalization layer that computes the addition and the ReLU after it.
struct BatchNormReLUTests {
  /// Against PyTorch's modules, see scripts/fixtures/batch_norm.py.
  @Test(arguments: [("image", 16), ("image-adding", 17), ("vector-adding", 5), ("sequence", 3)], [true, false])
  func equalsPyTorch(_ example: (name: String, channels: Int), _ channelsLast: Bool) throws {
    let fixture = try Fixture("batch-norm-relu")
    let name = example.name
    func ordered(_ tensor: Tensor) throws -> Tensor {
      channelsLast && tensor.rank == 4 ? try tensor.contiguous(.channelsLast) : tensor
    }
    let residual =
      fixture.contains("\(name)/residual")
      ? try ordered(fixture["\(name)/residual"].copied()).requireGradient() : nil
    let norm = try BatchNorm(example.channels)
    try checkLayer(norm, fixture, name) { input in
      try norm.followedByReLU(ordered(input), adding: residual)
    }
    #expect(try norm.batchCount.item() == 1)
    if let residual {
      try assertClose(
        #require(residual.gradient), fixture["\(name)/residual-gradient"], relative: 1e-4, absolute: 1e-5)
    }
  }

  private func inputs() throws -> [Tensor] {
    try withRandomStream(RandomStream(seed: 2, name: "inputs")) {
      try (0..<2).map { _ in
        let tensor = try Tensor.empty([6, 16, 5, 7])
        try tensor.drawNormal()
        return try tensor.contiguous(.channelsLast)
      }
    }
  }

  @Test func inEvaluationItIsTheLayerAndWhatFollows() throws {
    let norm = try BatchNorm(16)
    let (input, residual) = (try inputs()[0], try inputs()[1])
    _ = try norm.followedByReLU(input)
    norm.eval()
    let found = try norm.followedByReLU(input, adding: residual)
    let expected = try (norm(input) + residual).relu()
    #expect(try found.floats() == expected.floats())
    #expect(try norm.followedByReLU(input).floats() == norm(input).relu().floats())
    #expect(try norm.batchCount.item() == 1)
  }

  /// Mixed precision gives the layer bfloat16; parameters and running statistics stay in float32.
  @Test func takesBFloat16UnderMixedPrecision() throws {
    let norm = try BatchNorm(16)
    let (input, residual) = (try inputs()[0], try inputs()[1])
    let output = try withAutocast {
      try norm.followedByReLU(input.to(.bfloat16), adding: residual.to(.bfloat16))
    }
    #expect(output.dtype == .bfloat16 && norm.runningMean.dtype == .float32)
    let exact = try BatchNorm(16)
    try assertClose(
      output.to(.float32).detached(), exact.followedByReLU(input, adding: residual).detached(), relative: 0.01,
      absolute: 0.02)
    try output.to(.float32).sum().backward()
    #expect(try #require(norm.weight.gradient).dtype == .float32)
    // A residual in float32 beside an input in bfloat16.
    let mixed = try withAutocast { try norm.followedByReLU(input.to(.bfloat16), adding: residual) }
    try assertClose(
      mixed.to(.float32).detached(), exact.followedByReLU(input, adding: residual).detached(), relative: 0.01,
      absolute: 0.02)
  }

  private final class Block: Layer {
    let norm: BatchNorm
    init(_ norm: BatchNorm) { self.norm = norm }
    func forward(_ input: Tensor) throws -> Tensor { try norm.followedByReLU(input) }
  }

  /// A tap on the layer sees what it sees without ReLU; one elsewhere changes nothing.
  @Test func tapsSeeWhatComesBeforeTheReLU() throws {
    let input = try inputs()[0]
    func trace(_ taps: [Tap]) throws -> Trace { try Block(try BatchNorm(16)).trace(input, taps: taps) }
    let plain = try trace([])
    let output = Tap("norm")
    let watched = try trace([output])
    let before = try #require(watched.activations[output])
    #expect(try before.floats().contains { $0 < 0 })
    try assertClose(watched.output, before.relu(), relative: 0, absolute: 0)
    try assertClose(watched.output, plain.output, relative: 1e-5, absolute: 1e-6)
    let whole = Tap("")
    #expect(try #require(trace([whole]).activations[whole]).floats() == plain.output.floats())
  }

  @Test func oneValuePerChannelIsAnError() throws {
    let error = try #require(throws: TorchError.self) { try BatchNorm(3).followedByReLU(Tensor.zeros([1, 3])) }
    #expect("\(error)".contains("larger batch"))
  }
}
