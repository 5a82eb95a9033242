import Torch
import TorchNN

/// A multi-layer perceptron: fully connected layers with ReLU, dropout after each hidden one.
///
/// `[N, ...]` → `[N, classes]`; the input is laid out in a row first. Taps: `hidden.0`, `hidden.1`, … (after ReLU and
/// dropout), `last_features`, `output`.
public final class MLP: ZooModel {
  static let architecture = Architecture(
    name: "mlp", summary: "fully connected layers with ReLU and dropout",
    paper: "Hinton, Vinyals, Dean: Distilling the knowledge in a neural network. 2015",
    input: .anything,
    options: [
      ModelOption(
        "hidden", .integers(1...65_536, count: 32), default: [1200, 1200], "the widths of the hidden layers"),
      ModelOption("dropout", .number(0...0.99), default: 0.0, "the part of each hidden layer to drop in training"),
      ModelOption("input_dropout", .number(0...0.99), default: 0.0, "the part of the input to drop in training"),
    ],
    classifier: "output",
    build: { try MLP($0) })

  public let inputDropout: Dropout?
  public let hidden: [HiddenLayer]
  public let lastFeatures = TapPoint()
  public let pooling: any Layer = Identity()
  public let output: any Layer

  init(_ builder: ModelBuilder) throws {
    inputDropout = try builder.dropout("input_dropout")
    var width = builder.inputShape.reduce(1, *)
    var layers: [HiddenLayer] = []
    for next in try builder.integers("hidden") {
      layers.append(HiddenLayer(linear: try builder.linear(width, next), dropout: try builder.dropout()))
      width = next
    }
    hidden = layers
    output = try builder.classifier(width)
  }

  public func features(of input: Tensor) throws -> Tensor {
    var row = try input.flattened(from: 1)
    if let inputDropout { row = try inputDropout(row) }
    return try hidden.reduce(row) { activation, layer in try layer(activation) }
  }

  public func classify(_ features: Tensor) throws -> Tensor { try output(features) }

  public var outputLayer: (any Layer)? { output }
}

/// A fully connected layer, ReLU, and dropout if there is to be any.
public final class HiddenLayer: Layer {
  public let linear: Linear
  public let dropout: Dropout?

  init(linear: Linear, dropout: Dropout?) {
    self.linear = linear
    self.dropout = dropout
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    let activation = try linear.followedByReLU(input)
    return try dropout?(activation) ?? activation
  }
}

extension MLP: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    let hidden = try graph.follow(channels.flattened, through: hidden)
    return try graph.follow(hidden, through: output)
  }
}

extension HiddenLayer: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    try graph.follow(channels, through: linear)
  }
}
