import Torch
import TorchNN

/// The residual network for images of 32 pixels: 6n + 2 layers in three stages of 16, 32 and 64 channels.
///
/// `[N, C, H, W]` → `[N, classes]`. Taps: `layer1`, `layer2`, `layer3` and their blocks `layer1.0`, …; `last_features`, `fc`.
public final class CIFARResNet: ZooModel {
  static let architecture = Architecture(
    name: "resnet-cifar", summary: "residual network for small images, 6n + 2 layers in three stages",
    paper: "He et al.: Deep residual learning for image recognition. CVPR 2016, section 4.2",
    input: .image,
    options: [
      ModelOption("depth", .oneOf(Array(stride(from: 8, through: 110, by: 6))), default: 20, "the number of layers"),
      ModelOption("width", .number(0.0625...64), default: 1.0, "multiplies the channels of every stage"),
      ModelOption(
        "shortcut", .word(["zero-padding", "convolution"]), default: "zero-padding",
        "how stages are bridged: options A and B of the paper"),
    ],
    classifier: "fc",
    build: { try CIFARResNet($0) })

  public let conv1: Conv2d
  public let bn1: BatchNorm
  public let layer1: Sequential
  public let layer2: Sequential
  public let layer3: Sequential
  public let lastFeatures = TapPoint()
  public let pooling: any Layer = GlobalAvgPool2d()
  public let fc: any Layer

  init(_ builder: ModelBuilder) throws {
    let blocks = (try builder.integer("depth") - 2) / 6
    let multiplier = try builder.number("width")
    let shortcut: Shortcut = try builder.word("shortcut") == "convolution" ? .convolution : .zeroPadding
    let widths = [16.0, 32, 64].map { max(1, Int(($0 * multiplier).rounded())) }
    func stage(_ input: Int, _ output: Int, stride: Int) throws -> Sequential {
      Sequential(
        try (0..<blocks).map { index in
          try BasicBlock(
            builder, index == 0 ? input : output, output, stride: index == 0 ? stride : 1, shortcut: shortcut)
        })
    }
    conv1 = try builder.convolution(builder.inputChannels, widths[0], kernel: 3)
    bn1 = try builder.batchNorm(widths[0])
    layer1 = try stage(widths[0], widths[0], stride: 1)
    layer2 = try stage(widths[0], widths[1], stride: 2)
    layer3 = try stage(widths[1], widths[2], stride: 2)
    fc = try builder.classifier(widths[2])
  }

  public func features(of input: Tensor) throws -> Tensor {
    let stem = try bn1.followedByReLU(conv1(input))
    return try layer3(layer2(layer1(stem)))
  }

  public func classify(_ features: Tensor) throws -> Tensor { try fc(pooling(features)) }
}

extension CIFARResNet: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    try graph.follow(channels, through: conv1, bn1, layer1, layer2, layer3, fc)
  }
}
