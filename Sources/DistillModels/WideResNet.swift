import Torch
import TorchNN

/// The wide residual network: 6n + 4 layers in three stages of 16k, 32k and 64k channels, normalization and ReLU before
/// each convolution.
///
/// `[N, C, H, W]` → `[N, classes]`. Taps: `layer1`, `layer2`, `layer3` and their blocks `layer1.0`, … (before the next
/// normalization); `last_features` (after it and ReLU), `fc`.
///
/// ## Reference
/// Zagoruyko, Komodakis: Wide residual networks. BMVC 2016.
public final class WideResNet: ZooModel {
  static let architecture = Architecture(
    name: "wide-resnet", summary: "wide residual network for small images, 6n + 4 layers in three stages",
    paper: "Zagoruyko, Komodakis: Wide residual networks. BMVC 2016",
    input: .image,
    options: [
      ModelOption("depth", .oneOf(Array(stride(from: 10, through: 100, by: 6))), default: 16, "the number of layers"),
      ModelOption("widen", .integer(1...64), default: 2, "multiplies the channels of every stage"),
      ModelOption("dropout", .number(0...0.99), default: 0.0, "the part to drop inside each block in training"),
    ],
    classifier: "fc",
    build: { try WideResNet($0) })

  public let conv1: Conv2d
  public let layer1: Sequential
  public let layer2: Sequential
  public let layer3: Sequential
  public let bn1: BatchNorm
  public let lastFeatures = TapPoint()
  public let pooling: any Layer = GlobalAvgPool2d()
  public let fc: any Layer

  init(_ builder: ModelBuilder) throws {
    let blocks = (try builder.integer("depth") - 4) / 6
    let widen = try builder.integer("widen")
    func stage(_ input: Int, _ output: Int, stride: Int) throws -> Sequential {
      Sequential(
        try (0..<blocks).map { index in
          try WideBlock(builder, index == 0 ? input : output, output, stride: index == 0 ? stride : 1)
        })
    }
    conv1 = try builder.convolution(builder.inputChannels, 16, kernel: 3)
    layer1 = try stage(16, 16 * widen, stride: 1)
    layer2 = try stage(16 * widen, 32 * widen, stride: 2)
    layer3 = try stage(32 * widen, 64 * widen, stride: 2)
    bn1 = try builder.batchNorm(64 * widen)
    fc = try builder.classifier(64 * widen) { layer in try withoutGradient { try layer.bias?.fill(0) } }
  }

  public func features(of input: Tensor) throws -> Tensor {
    let maps = try layer3(layer2(layer1(conv1(input))))
    return try bn1.followedByReLU(maps)
  }

  public func classify(_ features: Tensor) throws -> Tensor { try fc(pooling(features)) }
}

/// x + f(x), with f of two 3×3 convolutions behind normalization and ReLU, and dropout between them. Where the number of
/// channels changes, x is a 1×1 convolution of the normalized input.
public final class WideBlock: Layer {
  public let bn1: BatchNorm
  public let conv1: Conv2d
  public let bn2: BatchNorm
  public let dropout: Dropout?
  public let conv2: Conv2d
  public let downsample: Conv2d?

  init(_ builder: ModelBuilder, _ input: Int, _ output: Int, stride: Int) throws {
    bn1 = try builder.batchNorm(input)
    conv1 = try builder.convolution(input, output, kernel: 3, stride: stride)
    bn2 = try builder.batchNorm(output)
    dropout = try builder.dropout()
    conv2 = try builder.convolution(output, output, kernel: 3)
    let isSame = input == output && stride == 1
    downsample = isSame ? nil : try builder.convolution(input, output, kernel: 1, stride: stride)
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    let activation = try bn1.followedByReLU(input)
    let inner = try bn2.followedByReLU(conv1(activation))
    let change = try conv2(dropout?(inner) ?? inner)
    return try change + (downsample?(activation) ?? input)
  }
}

extension WideResNet: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    try graph.follow(channels, through: conv1, layer1, layer2, layer3, bn1, fc)
  }
}

extension WideBlock: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    let activation = try graph.follow(channels, through: bn1)
    let change = try graph.follow(activation, through: conv1, bn2, conv2)
    return try graph.join(change, downsample == nil ? channels : graph.follow(activation, through: downsample))
  }
}
