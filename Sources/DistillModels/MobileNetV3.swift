import Torch
import TorchNN

/// MobileNetV3: the blocks of MobileNetV2 with channels that are weighed and hard swish, found by search. Keys as in
/// torchvision.
///
/// `[N, C, H, W]` → `[N, classes]`. Taps: `features.0` to `features.12` (small) or `features.16` (large), `classifier.3`,
/// `last_features`, which are rows: what the first linear layer makes of the pooled maps.
///
/// ## Reference
/// Howard et al.: Searching for MobileNetV3. ICCV 2019.
public final class MobileNetV3: ZooModel {
  static let architecture = Architecture(
    name: "mobilenet-v3", summary: "MobileNetV3, small and large: searched blocks with weighed channels",
    paper: "Howard et al.: Searching for MobileNetV3. ICCV 2019",
    input: .image,
    options: [
      ModelOption("kind", .word(["small", "large"]), default: "small", "which of the two networks"),
      ModelOption("width", .number(0.05...8), default: 1.0, "multiplies the channels, rounded to a multiple of 8"),
      ModelOption("dropout", .number(0...0.99), default: 0.2, "the part to drop before the linear layer in training"),
    ],
    classifier: "classifier.3",
    build: { try MobileNetV3($0) })

  public let features: [any Layer]
  public let lastFeatures = TapPoint()
  /// Before the classifier, whose first map makes the last features.
  private let average = GlobalAvgPool2d()
  public let pooling: any Layer = Identity()
  public let classifier: Sequential

  /// One block: kernel, channels inside and behind, whether channels are weighed, whether it has hard swish (or ReLU), stride.
  private typealias Row = (kernel: Int, wide: Int, output: Int, weighs: Bool, isHard: Bool, stride: Int)

  private static let small: [Row] = [
    (3, 16, 16, true, false, 2), (3, 72, 24, false, false, 2), (3, 88, 24, false, false, 1), (5, 96, 40, true, true, 2),
    (5, 240, 40, true, true, 1), (5, 240, 40, true, true, 1), (5, 120, 48, true, true, 1), (5, 144, 48, true, true, 1),
    (5, 288, 96, true, true, 2), (5, 576, 96, true, true, 1), (5, 576, 96, true, true, 1),
  ]
  private static let large: [Row] = [
    (3, 16, 16, false, false, 1), (3, 64, 24, false, false, 2), (3, 72, 24, false, false, 1),
    (5, 72, 40, true, false, 2),
    (5, 120, 40, true, false, 1), (5, 120, 40, true, false, 1), (3, 240, 80, false, true, 2),
    (3, 200, 80, false, true, 1),
    (3, 184, 80, false, true, 1), (3, 184, 80, false, true, 1), (3, 480, 112, true, true, 1),
    (3, 672, 112, true, true, 1),
    (5, 672, 160, true, true, 2), (5, 960, 160, true, true, 1), (5, 960, 160, true, true, 1),
  ]

  init(_ builder: ModelBuilder) throws {
    let width = try builder.number("width")
    let isLarge = try builder.word("kind") == "large"
    var channels = MobileNetV2.rounded(16 * width)
    var layers: [any Layer] = [
      try builder.normalized(builder.inputChannels, channels, kernel: 3, stride: 2, activation: HardSwish())
    ]
    for row in isLarge ? Self.large : Self.small {
      let output = MobileNetV2.rounded(Double(row.output) * width)
      layers.append(
        try SearchedBlock(
          builder, channels, output, wide: MobileNetV2.rounded(Double(row.wide) * width), kernel: row.kernel,
          stride: row.stride, weighs: row.weighs, isHard: row.isHard))
      channels = output
    }
    layers.append(try builder.normalized(channels, 6 * channels, kernel: 1, activation: HardSwish()))
    features = layers
    let last = MobileNetV2.rounded((isLarge ? 1280 : 1024) * width)
    func begin(_ layer: Linear) throws {
      try layer.weight.drawNormal(standardDeviation: 0.01)
      try withoutGradient { try layer.bias?.fill(0) }
    }
    let first = try builder.linear(6 * channels, last)
    try begin(first)
    classifier = Sequential([
      first, HardSwish(), try Dropout(try builder.number("dropout")), try builder.classifier(last, initialize: begin),
    ])
  }

  public func features(of input: Tensor) throws -> Tensor {
    let maps = try features.reduce(input) { activation, layer in try layer(activation) }
    return try classifier.layers.prefix(2).reduce(average(maps)) { activation, layer in try layer(activation) }
  }

  public func classify(_ features: Tensor) throws -> Tensor {
    try classifier.layers.dropFirst(2).reduce(features) { activation, layer in try layer(activation) }
  }
}

/// Widens (unless it is as wide already), filters each channel by itself, may weigh the channels, and narrows without an
/// activation; with the input added where the shapes are the same.
public final class SearchedBlock: Layer {
  public let block: Sequential
  private let addsInput: Bool

  init(
    _ builder: ModelBuilder, _ input: Int, _ output: Int, wide: Int, kernel: Int, stride: Int, weighs: Bool,
    isHard: Bool
  ) throws {
    func activation() -> any Layer { isHard ? HardSwish() : ReLU() }
    var layers: [any Layer] = []
    if wide != input { layers.append(try builder.normalized(input, wide, kernel: 1, activation: activation())) }
    layers.append(
      try builder.normalized(wide, wide, kernel: kernel, stride: stride, groups: wide, activation: activation()))
    if weighs { layers.append(try HardChannelWeighing(builder, wide)) }
    layers.append(try builder.normalized(wide, output, kernel: 1, activation: nil))
    block = Sequential(layers)
    addsInput = stride == 1 && input == output
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    let output = try block(input)
    return addsInput ? try input + output : output
  }
}

/// Each channel times a number between 0 and 1 that the means of all channels say, with functions of straight lines.
///
/// ## Reference
/// Hu, Shen, Sun: Squeeze-and-excitation networks. CVPR 2018, in the form of MobileNetV3.
public final class HardChannelWeighing: Layer {
  public let fc1: Conv2d
  public let fc2: Conv2d

  init(_ builder: ModelBuilder, _ channels: Int) throws {
    let inner = MobileNetV2.rounded(Double(channels / 4))
    fc1 = try builder.biasedConvolution(channels, inner)
    fc2 = try builder.biasedConvolution(inner, channels)
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    let means = try input.mean(along: 2, 3, keepDimensions: true)
    return try input * fc2(fc1(means).relu()).hardSigmoid()
  }
}

extension ModelBuilder {
  /// Convolution, batch normalization with MobileNetV3's numbers, and an activation, if there is one.
  fileprivate func normalized(
    _ input: Int, _ output: Int, kernel: Int, stride: Int = 1, groups: Int = 1, activation: (any Layer)?
  ) throws -> Sequential {
    let layers: [any Layer] = [
      try convolution(input, output, kernel: kernel, stride: stride, groups: groups),
      try batchNorm(output, epsilon: 1e-3, momentum: 0.01),
    ]
    return Sequential(layers + [activation].compactMap { $0 })
  }
}

extension MobileNetV3: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    let maps = try graph.follow(channels, through: features)
    return try graph.follow(maps, through: average, classifier)
  }
}

extension SearchedBlock: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    let output = try graph.follow(channels, through: block)
    return addsInput ? try graph.join(output, channels) : output
  }
}

extension HardChannelWeighing: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    try graph.join(graph.follow(channels, through: fc1, fc2), channels)
  }
}
