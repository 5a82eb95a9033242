import Torch
import TorchNN

/// The residual network for photographs. Keys as in torchvision.
///
/// `[N, C, H, W]` → `[N, classes]`. Taps: `layer1` to `layer4` and their blocks `layer1.0`, …; `last_features`, `fc`.
public final class ResNet: ZooModel {
  static let architecture = Architecture(
    name: "resnet", summary: "residual network for photographs, four stages",
    paper: "He et al.: Deep residual learning for image recognition. CVPR 2016",
    input: .image,
    options: [
      ModelOption("depth", .oneOf([18, 34, 50, 101, 152]), default: 18, "the number of layers"),
      ModelOption(
        "small_images", .flag, default: false,
        "a 3×3 stem without stride and pooling, for images of about 32 pixels"),
    ],
    classifier: "fc",
    build: { try ResNet($0) })

  public let conv1: Conv2d
  public let bn1: BatchNorm
  public let maxpool: MaxPool2d?
  public let layer1: Sequential
  public let layer2: Sequential
  public let layer3: Sequential
  public let layer4: Sequential
  public let lastFeatures = TapPoint()
  public let avgpool = GlobalAvgPool2d()
  public let fc: any Layer

  init(_ builder: ModelBuilder) throws {
    let depth = try builder.integer("depth")
    let isSmall = try builder.flag("small_images")
    let isDeep = depth >= 50
    let blocks =
      switch depth {
      case 18: [2, 2, 2, 2]
      case 101: [3, 4, 23, 3]
      case 152: [3, 8, 36, 3]
      default: [3, 4, 6, 3]
      }
    var channels = 64
    func stage(_ number: Int) throws -> Sequential {
      let width = 64 << number
      return Sequential(
        try (0..<blocks[number]).map { index in
          let stride = index == 0 && number > 0 ? 2 : 1
          defer { channels = isDeep ? width * Bottleneck.expansion : width }
          return isDeep
            ? try Bottleneck(builder, channels, width, stride: stride)
            : try BasicBlock(builder, channels, width, stride: stride)
        })
    }
    conv1 = try builder.convolution(builder.inputChannels, 64, kernel: isSmall ? 3 : 7, stride: isSmall ? 1 : 2)
    bn1 = try builder.batchNorm(64)
    maxpool = isSmall ? nil : MaxPool2d(3, stride: 2, padding: 1)
    layer1 = try stage(0)
    layer2 = try stage(1)
    layer3 = try stage(2)
    layer4 = try stage(3)
    fc = try builder.classifier(channels)
  }

  var pooling: any Layer { avgpool }

  public func features(of input: Tensor) throws -> Tensor {
    let activation = try bn1.followedByReLU(conv1(input))
    let stem = try maxpool?(activation) ?? activation
    return try layer4(layer3(layer2(layer1(stem))))
  }

  public func classify(_ features: Tensor) throws -> Tensor { try fc(avgpool(features)) }
}

extension ResNet: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    try graph.follow(channels, through: conv1, bn1, layer1, layer2, layer3, layer4, fc)
  }
}
