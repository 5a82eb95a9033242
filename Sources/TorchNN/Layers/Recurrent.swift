import Torch

// The weights of a recurrent layer have a key for each layer and direction, spelled as PyTorch spells them:
// weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse, …, weight_ih_l1, …

/// Gated recurrent units: a stack of layers, each of which goes along a sequence, in one direction or in both.
///
/// `[N, L, inputFeatures]` → `[N, L, hiddenFeatures · directions]`. Initialized as in PyTorch: uniform in
/// ±1/√hiddenFeatures. Dropout falls on the output of each layer but the last, drawn from `RandomStream.current`. The rows
/// of its weights are the reset, update and new gate, one below the other.
///
/// ## Reference
/// Cho et al.: Learning Phrase Representations using RNN Encoder–Decoder. EMNLP 2014.
public final class GRU: RecurrentLayer, Layer {
  public init(
    _ inputFeatures: Int, _ hiddenFeatures: Int, layers: Int = 1, bidirectional: Bool = false, dropout: Double = 0,
    bias: Bool = true
  ) throws {
    try super.init(
      kind: "GRU", gates: 3, inputFeatures, hiddenFeatures, layers: layers, bidirectional: bidirectional,
      dropout: dropout, bias: bias)
  }

  public func forward(_ input: Tensor) throws -> Tensor { try run(input, hidden: nil).output }

  /// - Parameters:
  ///   - input: `[N, L, inputFeatures]`
  ///   - hidden: the state to start from, `[layers · directions, N, hiddenFeatures]`; nil for zeros
  /// - Returns: the output `[N, L, hiddenFeatures · directions]` and the last state, of the shape of `hidden`
  public func callAsFunction(_ input: Tensor, hidden: Tensor?) throws -> (output: Tensor, hidden: Tensor) {
    var last: Tensor?
    let output = try called(with: input) {
      let result = try run(input, hidden: hidden)
      last = result.hidden
      return result.output
    }
    return (output, try last ?? zeroState(for: input))
  }

  private func run(_ input: Tensor, hidden: Tensor?) throws -> (output: Tensor, hidden: Tensor) {
    let hidden = try hidden ?? zeroState(for: input)
    let result = try run(input, [hidden]) { input, states, weights, layers in
      let result = try gru(
        input, hidden: states[0], weights: weights, hasBias: hasBias, layers: layers, dropout: 0,
        isTraining: isTraining, isBidirectional: directions == 2)
      return (result.output, [result.hidden])
    }
    return (result.output, result.states[0])
  }
}

/// Long short-term memory: a stack of layers, each of which goes along a sequence, in one direction or in both.
///
/// `[N, L, inputFeatures]` → `[N, L, hiddenFeatures · directions]`. Initialized as in PyTorch: uniform in
/// ±1/√hiddenFeatures. Dropout falls on the output of each layer but the last, drawn from `RandomStream.current`. The rows
/// of its weights are the input, forget, cell and output gate, one below the other.
///
/// ## Reference
/// Hochreiter, Schmidhuber: Long Short-Term Memory. Neural Computation 1997.
public final class LSTM: RecurrentLayer, Layer {
  public init(
    _ inputFeatures: Int, _ hiddenFeatures: Int, layers: Int = 1, bidirectional: Bool = false, dropout: Double = 0,
    bias: Bool = true
  ) throws {
    try super.init(
      kind: "LSTM", gates: 4, inputFeatures, hiddenFeatures, layers: layers, bidirectional: bidirectional,
      dropout: dropout, bias: bias)
  }

  public func forward(_ input: Tensor) throws -> Tensor { try run(input, state: nil).output }

  /// - Parameters:
  ///   - input: `[N, L, inputFeatures]`
  ///   - state: the hidden and cell state to start from, each `[layers · directions, N, hiddenFeatures]`; nil for zeros
  /// - Returns: the output `[N, L, hiddenFeatures · directions]` and the last states, of the shapes of `state`
  public func callAsFunction(
    _ input: Tensor, state: (hidden: Tensor, cell: Tensor)?
  ) throws -> (output: Tensor, hidden: Tensor, cell: Tensor) {
    var last: [Tensor] = []
    let output = try called(with: input) {
      let result = try run(input, state: state)
      last = result.states
      return result.output
    }
    return (output, last[0], last[1])
  }

  private func run(
    _ input: Tensor, state: (hidden: Tensor, cell: Tensor)?
  ) throws -> (output: Tensor, states: [Tensor]) {
    let states = try state.map { [$0.hidden, $0.cell] } ?? [zeroState(for: input), zeroState(for: input)]
    return try run(input, states) { input, states, weights, layers in
      let result = try lstm(
        input, state: (states[0], states[1]), weights: weights, hasBias: hasBias, layers: layers, dropout: 0,
        isTraining: isTraining, isBidirectional: directions == 2)
      return (result.output, [result.hidden, result.cell])
    }
  }
}

/// What `GRU` and `LSTM` have in common: the stack, its weights, and the dropout between its layers.
public class RecurrentLayer: ModeDependent, MultiplyAddCounting {
  public static let keys = ["weights": ""]

  /// For each layer and direction `weight_ih` and `weight_hh`, `[gates · hidden, in]` and `[gates · hidden, hidden]`, and
  /// their biases.
  @Parameter public var weights: [NamedTensor] = []
  public var isTraining = true

  private let kind: String
  private let gates: Int
  private let inputFeatures: Int
  private let hiddenFeatures: Int
  private let layers: Int
  let directions: Int
  private let dropout: Double
  let hasBias: Bool

  /// - Parameters:
  ///   - kind: the layer's name, for messages
  ///   - gates: how many blocks of `hiddenFeatures` rows a weight has
  init(
    kind: String, gates: Int, _ inputFeatures: Int, _ hiddenFeatures: Int, layers: Int, bidirectional: Bool,
    dropout: Double, bias: Bool
  ) throws {
    guard inputFeatures > 0, hiddenFeatures > 0, layers > 0 else {
      throw TorchError(
        operation: kind,
        message: "features and layers must be positive, not \(inputFeatures) → \(hiddenFeatures) in \(layers) layers")
    }
    try checkProbability(dropout, of: kind)
    self.kind = kind
    self.gates = gates
    self.inputFeatures = inputFeatures
    self.hiddenFeatures = hiddenFeatures
    self.layers = layers
    directions = bidirectional ? 2 : 1
    self.dropout = dropout
    hasBias = bias
    weights = try drawWeights()
  }

  /// What a layer of the stack takes in.
  private func features(into layer: Int) -> Int { layer == 0 ? inputFeatures : hiddenFeatures * directions }

  private var tensorsPerLayer: Int { directions * (hasBias ? 4 : 2) }

  private func drawWeights() throws -> [NamedTensor] {
    let bound = 1 / Double(hiddenFeatures).squareRoot()
    let rows = try product([gates, hiddenFeatures], in: kind)
    _ = try product([layers, tensorsPerLayer], in: kind)
    var drawn: [NamedTensor] = []
    for layer in 0..<layers {
      for direction in 0..<directions {
        let suffix = "_l\(layer)" + (direction == 1 ? "_reverse" : "")
        var shapes = [("weight_ih", [rows, features(into: layer)]), ("weight_hh", [rows, hiddenFeatures])]
        if hasBias { shapes += [("bias_ih", [rows]), ("bias_hh", [rows])] }
        for (name, shape) in shapes {
          let tensor = try Tensor.empty(shape).drawUniform(from: -bound, to: bound)
          drawn.append(NamedTensor(name: name + suffix, tensor: tensor))
        }
      }
    }
    return drawn
  }

  func zeroState(for input: Tensor) throws -> Tensor {
    guard input.rank == 3 else {
      throw TorchError(
        operation: kind, shapes: [input.shape], dtypes: [input.dtype],
        message: "the input must be [N, L, \(inputFeatures)]")
    }
    return try .zeros([layers * directions, input.size(0), hiddenFeatures], dtype: .float32, device: input.device)
  }

  typealias Stack = (_ input: Tensor, _ states: [Tensor], _ weights: [Tensor], _ layers: Int) throws ->
    (output: Tensor, states: [Tensor])

  /// Runs the stack in one call; or layer by layer, where dropout falls between them.
  func run(
    _ input: Tensor, _ states: [Tensor], _ stack: Stack
  ) throws -> (output: Tensor, states: [Tensor]) {
    guard weights.count == layers * tensorsPerLayer else {
      throw TorchError(
        operation: kind, message: "\(layers * tensorsPerLayer) weights are needed, but \(weights.count) are there")
    }
    let weights = weights.map(\.tensor)
    // Under mixed precision the layer before may have given another type than the weights'; libtorch wants one.
    let dtype = weights[0].dtype
    let input = try input.to(dtype)
    let states = try states.map { try $0.to(dtype) }
    guard isTraining, dropout > 0, layers > 1 else { return try stack(input, states, weights, layers) }
    var activation = input
    var last: [[Tensor]] = []
    for layer in 0..<layers {
      if layer > 0 { activation = try activation.dropout(dropout) }
      let own = try states.map { try $0.sliced(0, from: layer * directions, to: (layer + 1) * directions) }
      let first = layer * tensorsPerLayer
      let result = try stack(activation, own, Array(weights[first..<(first + tensorsPerLayer)]), 1)
      activation = result.output
      last.append(result.states)
    }
    return (activation, try states.indices.map { index in try Tensor.concatenated(last.map { $0[index] }) })
  }

  public func multiplyAdds(input: [Int], output: [Int]) -> Int {
    let steps = output.dropLast().reduce(1, *)
    return (0..<layers).reduce(0) { sum, layer in
      sum + steps * directions * gates * hiddenFeatures * (features(into: layer) + hiddenFeatures)
    }
  }
}
