import TestSupport
import Testing
import Torch
import TorchNN

/// Values and gradients of every layer against PyTorch's, see scripts/fixtures/layers.py.
struct LayerTests {
  let fixture = try! Fixture("layers")

  typealias Make = @Sendable () throws -> any Layer

  static let evaluated: [(name: String, make: Make)] = [
    ("linear", { try Linear(5, 3) }),
    ("linear-no-bias", { try Linear(5, 3, bias: false) }),
    ("conv1d", { try Conv1d(4, 6, kernel: 3, stride: 2, padding: 2, dilation: 2, groups: 2) }),
    ("conv2d", { try Conv2d(3, 4, kernel: 3, padding: 1) }),
    (
      "conv2d-groups",
      { try Conv2d(4, 8, kernel: 3, stride: 2, padding: 2, dilation: 2, groups: 4, bias: false) }
    ),
    (
      "conv2d-oblong",
      { try Conv2d(2, 3, kernel: [1, 3], stride: [2, 1], padding: [0, 1], dilation: [1, 2]) }
    ),
    ("batch-norm-1", { try BatchNorm(3) }),
    ("batch-norm-2", { try BatchNorm(3) }),
    ("batch-norm-3", { try BatchNorm(3) }),
    ("layer-norm", { try LayerNorm(6) }),
    ("layer-norm-2", { try LayerNorm([3, 4], epsilon: 1e-3) }),
    ("group-norm", { try GroupNorm(6, groups: 2) }),
    ("embedding", { try Embedding(7, 4) }),
    ("embedding-padding", { try Embedding(7, 4, paddingIndex: 2) }),
    ("max-pool-2d", { MaxPool2d(3, stride: 2, padding: 1) }),
    ("avg-pool-2d", { AvgPool2d(3, stride: 2, padding: 1) }),
    ("avg-pool-2d-default", { AvgPool2d(2) }),
    ("adaptive-avg-pool-2d", { AdaptiveAvgPool2d(height: 3, width: 2) }),
    ("global-avg-pool-2d", { GlobalAvgPool2d() }),
    ("global-max-pool-2d", { GlobalMaxPool2d() }),
    ("max-pool-1d", { MaxPool1d(3, stride: 2, padding: 1) }),
    ("avg-pool-1d", { AvgPool1d(3, stride: 2, padding: 1) }),
    ("adaptive-avg-pool-1d", { AdaptiveAvgPool1d(3) }),
    ("global-avg-pool-1d", { GlobalAvgPool1d() }),
    ("global-max-pool-1d", { GlobalMaxPool1d() }),
    ("flatten", { Flatten() }),
    ("identity", { Identity() }),
    ("attention", { try MultiHeadAttention(8, heads: 2) }),
    ("attention-no-bias", { try MultiHeadAttention(8, heads: 2, bias: false) }),
    ("gru", { try GRU(3, 4) }),
    ("gru-no-bias", { try GRU(3, 4, bias: false) }),
    ("lstm", { try LSTM(3, 4) }),
    ("lstm-no-bias", { try LSTM(3, 4, bias: false) }),
  ]

  @Test(arguments: evaluated.map(\.name))
  func equalsPyTorch(name: String) throws {
    let layer = try #require(Self.evaluated.first { $0.name == name }).make()
    layer.eval()
    try checkLayer(layer, fixture, name)
  }

  @Test(arguments: ["batch-norm-1", "batch-norm-2", "batch-norm-3"])
  func batchNormInTrainingEqualsPyTorch(name: String) throws {
    try checkLayer(BatchNorm(3), fixture, "\(name)-training")
  }

  @Test func batchNormTakesItsSettings() throws {
    try checkLayer(BatchNorm(3, epsilon: 1e-3, momentum: 0.3), fixture, "batch-norm-settings")
  }

  static let activations: [(name: String, make: Make)] = [
    ("relu", { ReLU() }), ("relu6", { ReLU6() }), ("leaky-relu", { LeakyReLU(slope: 0.2) }), ("gelu", { GELU() }),
    ("gelu-approximate", { GELU(approximate: true) }), ("silu", { SiLU() }), ("sigmoid", { Sigmoid() }),
    ("tanh", { Tanh() }), ("hard-swish", { HardSwish() }), ("hard-sigmoid", { HardSigmoid() }),
    ("elu", { ELU(alpha: 0.7) }), ("softplus", { Softplus() }), ("softmax", { Softmax() }),
    ("softmax-1", { Softmax(along: 1) }),
  ]

  @Test(arguments: activations.map(\.name))
  func activationsEqualPyTorch(name: String) throws {
    let layer = try #require(Self.activations.first { $0.name == name }).make()
    try checkLayer(layer, fixture, name) { try layer($0 * 4) }
  }

  @Test func attentionToAnotherSequenceUnderAMask() throws {
    let attention = try MultiHeadAttention(8, heads: 2)
    let name = "attention-masked"
    try checkLayer(attention, fixture, name) { query in
      try attention(
        query: query, key: fixture["\(name)/key"], value: fixture["\(name)/value"], mask: fixture["\(name)/mask"])
    }
  }

  @Test func causalAttentionSeesNothingLater() throws {
    let attention = try MultiHeadAttention(8, heads: 2)
    let input = try Tensor.empty([1, 4, 8]).drawNormal()
    let changed = try input.copied()
    try changed.selected(1, 3).fill(7)
    func rows(_ input: Tensor) throws -> [Double] {
      try attention(query: input, key: input, value: input, isCausal: true).sliced(1, from: 0, to: 3).doubles()
    }
    #expect(try rows(input) == rows(changed))
    #expect(try attention(input).doubles() != attention(changed).doubles())
  }

  @Test func aRowThatMayAttendToNothingGivesNoNaN() throws {
    let attention = try MultiHeadAttention(4, heads: 2)
    let input = try Tensor.empty([1, 2, 4]).drawNormal().requireGradient()
    let mask = try Tensor([true, true, false, false], shape: [2, 2])
    let output = try attention(query: input, key: input, value: input, mask: mask)
    #expect(try output.isFinite().all())
    try output.sum().backward()
    #expect(try #require(input.gradient).isFinite().all())
  }

  @Test func recurrentStacksWithStates() throws {
    let gru = try GRU(3, 4, layers: 2, bidirectional: true)
    try checkLayer(gru, fixture, "gru-stack") { input in
      let result = try gru(input, hidden: fixture["gru-stack/hidden"])
      try assertClose(result.hidden, fixture["gru-stack/last-hidden"])
      return result.output
    }
    let lstm = try LSTM(3, 4, layers: 2, bidirectional: true)
    try checkLayer(lstm, fixture, "lstm-stack") { input in
      let result = try lstm(input, state: (fixture["lstm-stack/hidden"], fixture["lstm-stack/cell"]))
      try assertClose(result.hidden, fixture["lstm-stack/last-hidden"])
      try assertClose(result.cell, fixture["lstm-stack/last-cell"])
      return result.output
    }
  }

  /// With dropout the stack runs layer by layer; with a probability of almost 0 that must give what one call gives.
  @Test func recurrentDropoutFallsBetweenLayers() throws {
    let input = try Tensor.empty([2, 5, 3]).drawNormal()
    let whole = try LSTM(3, 4, layers: 3, bidirectional: true)
    let parted = try LSTM(3, 4, layers: 3, bidirectional: true, dropout: 1e-9)
    try parted.load(Checkpoint(tensors: whole.state))
    let expected = try whole(input, state: nil)
    let found = try parted(input, state: nil)
    try assertClose(found.output, expected.output)
    try assertClose(found.hidden, expected.hidden)
    try assertClose(found.cell, expected.cell)

    let dropping = try GRU(3, 4, layers: 2, dropout: 0.5)
    let plain = try dropping.withMode(training: false) { try dropping(input).doubles() }
    #expect(try dropping(input).doubles() != plain)
    func drawn(_ seed: UInt64) throws -> [Double] {
      try withRandomStream(try RandomStream(seed: seed)) { try dropping(input).doubles() }
    }
    #expect(try drawn(1) == drawn(1))
    #expect(try drawn(1) != drawn(2))
  }

  @Test func layersWorkUnderMixedPrecision() throws {
    try withAutocast {
      let images = try Tensor.empty([2, 4, 8, 8]).drawNormal()
      let conv = try Sequential {
        try Conv2d(4, 8, kernel: 3)
        try BatchNorm(8)
        try GroupNorm(8, groups: 2)
        ReLU()
        MaxPool2d(2)
        Flatten()
        try Linear(72, 6)
        try LayerNorm(6)
      }
      #expect(try conv(images).isFinite().all())
      let rows = try Linear(4, 4)(Tensor.empty([2, 3, 4]).drawNormal())
      #expect(rows.dtype == .bfloat16)
      #expect(try LSTM(4, 5, layers: 2, dropout: 0.1)(rows).shape == [2, 3, 5])
      #expect(try GRU(4, 5, bidirectional: true)(rows).shape == [2, 3, 10])
      #expect(try MultiHeadAttention(4, heads: 2)(rows).shape == [2, 3, 4])
    }
  }

  /// The same model gives the same, and finds the same gradients, with its images in the other layout.
  @Test func channelsLastChangesNothing() throws {
    func run(channelsLast: Bool) throws -> (output: Tensor, gradients: [Tensor?]) {
      let model = try TinyModel.convNet()
      model.eval()
      if channelsLast { try model.useChannelsLast() }
      let plain = try withRandomStream(try RandomStream(seed: 2)) { try Tensor.empty([3, 1, 8, 8]).drawNormal() }
      let output = try model(channelsLast ? plain.contiguous(.channelsLast) : plain)
      try output.sum().backward()
      return (output, model.parameters.map(\.gradient))
    }
    let plain = try run(channelsLast: false)
    let last = try run(channelsLast: true)
    try assertClose(last.output, plain.output)
    for (found, expected) in zip(last.gradients, plain.gradients) {
      try assertClose(#require(found), #require(expected), relative: 1e-4, absolute: 1e-5)
    }
  }

  static let mistakes: [(name: String, make: Make)] = [
    ("groups", { try Conv2d(3, 4, kernel: 3, groups: 2) }),
    ("no channels", { try Conv1d(0, 4, kernel: 3) }),
    ("no kernel", { try Conv2d(3, 4, kernel: 0) }),
    ("three strides", { try Conv2d(3, 4, kernel: [3, 3], stride: [1, 1, 1]) }),
    ("heads", { try MultiHeadAttention(8, heads: 3) }),
    ("no heads", { try MultiHeadAttention(8, heads: 0) }),
    ("group norm", { try GroupNorm(5, groups: 2) }),
    ("dropout", { try Dropout(1.5) }),
    ("negative dropout", { try Dropout(-0.1) }),
    ("no number", { try Dropout(.nan) }),
    ("padding index", { try Embedding(3, 2, paddingIndex: 3) }),
    ("no layers", { try GRU(3, 4, layers: 0) }),
    ("recurrent dropout", { try LSTM(3, 4, layers: 2, dropout: 2) }),
    ("recurrent layers without end", { try GRU(3, 4, layers: .max) }),
    ("enormous recurrent layers", { try LSTM(3, .max / 2) }),
    ("enormous attention", { try MultiHeadAttention(.max / 2 + 1, heads: 1) }),
    ("enormous kernel", { try Conv2d(3, 4, kernel: .max) }),
    ("negative features", { try Linear(3, -1) }),
    ("negative batch norm", { try BatchNorm(-1) }),
  ]

  @Test(arguments: mistakes.map(\.name))
  func impossibleLayersAreRefused(name: String) throws {
    let mistake = try #require(Self.mistakes.first { $0.name == name })
    #expect(throws: TorchError.self) { _ = try mistake.make() }
  }

  @Test func wrongInputsAreRefused() throws {
    #expect(throws: TorchError.self) { try LSTM(3, 4)(Tensor.zeros([3])) }
    #expect(throws: TorchError.self) { try GRU(3, 4)(Tensor.zeros([2, 5, 7])) }
    #expect(throws: TorchError.self) { try MultiHeadAttention(8, heads: 2)(Tensor.zeros([2, 5, 7])) }
    #expect(throws: TorchError.self) { try MultiHeadAttention(8, heads: 2)(Tensor.zeros([8])) }
    #expect(throws: TorchError.self) { try Embedding(3, 2)(Tensor([3])) }
    #expect(throws: TorchError.self) { try BatchNorm(3)(Tensor.zeros([4, 2])) }
    let attention = try MultiHeadAttention(8, heads: 2)
    #expect(throws: TorchError.self) { try attention.multiplyAdds(input: [2, 8], output: [2, 8]) }
    attention.inputWeight = try .zeros([16, 8])
    #expect(throws: TorchError.self) { try attention(Tensor.zeros([2, 5, 8])) }
    attention.inputWeight = try .zeros([8])
    #expect(throws: TorchError.self) { try attention(Tensor.zeros([2, 5, 8])) }
    let recurrent = try LSTM(3, 4, layers: 2)
    recurrent.weights.removeLast()
    #expect(throws: TorchError.self) { try recurrent(Tensor.zeros([2, 5, 3])) }
    let single = try #require(throws: TorchError.self) { try BatchNorm(3)(Tensor.zeros([1, 3])) }
    #expect(single.message.contains("larger batch"))
  }
}
