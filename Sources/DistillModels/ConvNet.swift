import Torch
import TorchNN

/// A small convolutional network: blocks of convolution, batch normalization and ReLU, with pooling or strides between,
/// and one linear layer.
///
/// `[N, C, H, W]` → `[N, classes]`. Taps: `features.0`, `features.1`, … (after pooling), `last_features`, `classifier`.
public final class ConvNet: ZooModel {
  static let architecture = Architecture(
    name: "convnet", summary: "a small ConvNet: convolutions with batch normalization, one linear layer",
    paper: "LeCun et al.: Gradient-based learning applied to document recognition. 1998",
    input: .image,
    options: [
      ModelOption("widths", .integers(1...8192, count: 64), default: [32, 64, 128], "the channels of each block"),
      ModelOption("kernel", .oneOf([1, 3, 5, 7, 9, 11]), default: 3, "the side of the convolutions' windows"),
      ModelOption(
        "first_kernel", .oneOf([0, 1, 3, 5, 7, 9, 11]), default: 0,
        "the side of the first convolution's window; 0: as the others"),
      ModelOption(
        "strides", .integers(1...8, count: 64), default: [1],
        "the stride of each block; the last number holds for the blocks that are left"),
      ModelOption(
        "pool", .integers(1...8, count: 64), default: [2],
        "the side of the max-pooling after each block, 1 for none; the last number holds for the blocks that are left"),
      ModelOption(
        "depthwise", .flag, default: false, "depthwise-separable convolutions in place of full ones after the first"),
      ModelOption(
        "head", .word(["average", "max", "flatten"]), default: "average",
        "what the linear layer sees: the mean or the maximum of each channel, or everything"),
      ModelOption("dropout", .number(0...0.99), default: 0.0, "the part to drop before the linear layer in training"),
    ],
    classifier: "classifier",
    build: { try ConvNet($0) })

  public let features: [any Layer]
  public let lastFeatures = TapPoint()
  public let pooling: any Layer
  public let dropout: Dropout?
  public let classifier: any Layer

  init(_ builder: ModelBuilder) throws {
    let widths = try builder.integers("widths")
    let strides = try Self.perBlock("strides", builder, count: widths.count)
    let pools = try Self.perBlock("pool", builder, count: widths.count)
    let kernel = try builder.integer("kernel")
    let firstKernel = try builder.integer("first_kernel")
    let isDepthwise = try builder.flag("depthwise")
    var image = ImageShape(builder.inputShape)
    var blocks: [any Layer] = []
    for (index, width) in widths.enumerated() {
      let separable = isDepthwise && index > 0
      let side = index == 0 && firstKernel > 0 ? firstKernel : kernel
      let input = image.channels
      image = image.convolved(to: width, stride: strides[index])
      let pool = pools[index]
      image = try image.pooled(pool, after: "block \(index + 1) of \(builder.specification.architecture)")
      let pooling = pool > 1 ? MaxPool2d(pool) : nil
      blocks.append(
        separable
          ? try SeparableBlock(builder, input, width, kernel: side, stride: strides[index], pooling: pooling)
          : try ConvBlock(builder, input, width, kernel: side, stride: strides[index], pooling: pooling))
    }
    features = blocks
    let head = try builder.word("head")
    pooling = makeHead(head)
    dropout = try builder.dropout()
    classifier = try builder.classifier(head == "flatten" ? image.count : image.channels)
  }

  private static func perBlock(_ name: String, _ builder: ModelBuilder, count: Int) throws -> [Int] {
    let given = try builder.integers(name)
    guard given.count <= count, let last = given.last else {
      throw ModelError([
        "option '\(name)' of \(builder.specification.architecture) has \(given.count) numbers for \(count) blocks"
      ])
    }
    return given + Array(repeating: last, count: count - given.count)
  }

  public func features(of input: Tensor) throws -> Tensor {
    try features.reduce(input) { activation, block in try block(activation) }
  }

  public func classify(_ features: Tensor) throws -> Tensor {
    let row = try pooling(features)
    return try classifier(dropout?(row) ?? row)
  }
}

/// Convolution, batch normalization, ReLU, and max-pooling if there is to be any.
public final class ConvBlock: Layer {
  public let conv: Conv2d
  public let bn: BatchNorm
  public let pooling: MaxPool2d?

  init(
    _ builder: ModelBuilder, _ input: Int, _ output: Int, kernel: Int = 3, stride: Int = 1, pooling: MaxPool2d? = nil
  ) throws {
    conv = try builder.convolution(input, output, kernel: kernel, stride: stride)
    bn = try builder.batchNorm(output)
    self.pooling = pooling
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    let activation = try bn.followedByReLU(conv(input))
    return try pooling?(activation) ?? activation
  }
}

/// A convolution taken apart: each channel by itself, then the channels of each pixel, both with batch normalization and
/// ReLU; and max-pooling if there is to be any.
///
/// ## Reference
/// Howard et al.: MobileNets: efficient convolutional neural networks for mobile vision applications. 2017.
public final class SeparableBlock: Layer {
  public static let keys = ["depthwiseNorm": "depthwise_bn", "pointwiseNorm": "pointwise_bn"]

  public let depthwise: Conv2d
  public let depthwiseNorm: BatchNorm
  public let pointwise: Conv2d
  public let pointwiseNorm: BatchNorm
  public let pooling: MaxPool2d?

  init(_ builder: ModelBuilder, _ input: Int, _ output: Int, kernel: Int, stride: Int, pooling: MaxPool2d?) throws {
    depthwise = try builder.convolution(input, input, kernel: kernel, stride: stride, groups: input)
    depthwiseNorm = try builder.batchNorm(input)
    pointwise = try builder.convolution(input, output, kernel: 1)
    pointwiseNorm = try builder.batchNorm(output)
    self.pooling = pooling
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    let filtered = try depthwiseNorm.followedByReLU(depthwise(input))
    let activation = try pointwiseNorm.followedByReLU(pointwise(filtered))
    return try pooling?(activation) ?? activation
  }
}

extension ConvNet: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    let maps = try graph.follow(channels, through: features)
    return try graph.follow(maps, through: pooling, classifier)
  }
}

extension ConvBlock: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    try graph.follow(channels, through: conv, bn)
  }
}

extension SeparableBlock: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    try graph.follow(channels, through: depthwise, depthwiseNorm, pointwise, pointwiseNorm)
  }
}

/// The layer between the last feature maps and the linear layer: `average`, `max` or `flatten`.
func makeHead(_ word: String) -> any Layer {
  switch word {
  case "average": GlobalAvgPool2d()
  case "max": GlobalMaxPool2d()
  default: Flatten()
  }
}

/// The shape of feature maps as a model is put together.
struct ImageShape {
  var channels: Int
  var height: Int
  var width: Int

  init(_ shape: [Int]) {
    channels = shape[0]
    height = shape[1]
    width = shape[2]
  }

  var count: Int { channels * height * width }

  /// After a convolution that pads with half its window.
  func convolved(to channels: Int, stride: Int) -> ImageShape {
    ImageShape([channels, (height - 1) / stride + 1, (width - 1) / stride + 1])
  }

  /// After max-pooling without padding.
  ///
  /// - Throws: `ModelError` when nothing would be left.
  func pooled(_ side: Int, after place: String) throws -> ImageShape {
    guard height >= side, width >= side else {
      throw ModelError([
        "after \(place) the image is \(height) × \(width), too small to pool by \(side); pool less or give larger images"
      ])
    }
    return ImageShape([channels, height / side, width / side])
  }
}
