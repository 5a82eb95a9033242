import Torch
import TorchNN

/// ReLU(x + f(x)) with f of two 3×3 convolutions. Keys as in torchvision.
///
/// ## Reference
/// He et al.: Deep residual learning for image recognition. CVPR 2016, figure 5 left.
public final class BasicBlock: Layer {
  public let conv1: Conv2d
  public let bn1: BatchNorm
  public let conv2: Conv2d
  public let bn2: BatchNorm
  /// Brings x to the shape of f(x), where they differ.
  public let downsample: (any Layer)?

  init(_ builder: ModelBuilder, _ input: Int, _ output: Int, stride: Int, shortcut: Shortcut = .convolution) throws {
    conv1 = try builder.convolution(input, output, kernel: 3, stride: stride)
    bn1 = try builder.batchNorm(output)
    conv2 = try builder.convolution(output, output, kernel: 3)
    bn2 = try builder.batchNorm(output)
    downsample = try shortcut.layer(builder, input, output, stride: stride)
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    let inner = try bn1.followedByReLU(conv1(input))
    return try bn2.followedByReLU(conv2(inner), adding: downsample?(input) ?? input)
  }
}

/// ReLU(x + f(x)) with f of a 1×1, a 3×3 and a 1×1 convolution that widens four times. Keys as in torchvision, which has
/// the stride in the middle.
///
/// ## Reference
/// He et al.: Deep residual learning for image recognition. CVPR 2016, figure 5 right.
public final class Bottleneck: Layer {
  static let expansion = 4

  public let conv1: Conv2d
  public let bn1: BatchNorm
  public let conv2: Conv2d
  public let bn2: BatchNorm
  public let conv3: Conv2d
  public let bn3: BatchNorm
  /// Brings x to the shape of f(x), where they differ.
  public let downsample: (any Layer)?

  init(_ builder: ModelBuilder, _ input: Int, _ width: Int, stride: Int) throws {
    let output = width * Self.expansion
    conv1 = try builder.convolution(input, width, kernel: 1)
    bn1 = try builder.batchNorm(width)
    conv2 = try builder.convolution(width, width, kernel: 3, stride: stride)
    bn2 = try builder.batchNorm(width)
    conv3 = try builder.convolution(width, output, kernel: 1)
    bn3 = try builder.batchNorm(output)
    downsample = try Shortcut.convolution.layer(builder, input, output, stride: stride)
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    let narrow = try bn1.followedByReLU(conv1(input))
    let inner = try bn2.followedByReLU(conv2(narrow))
    return try bn3.followedByReLU(conv3(inner), adding: downsample?(input) ?? input)
  }
}

extension BasicBlock: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    let change = try graph.follow(channels, through: conv1, bn1, conv2, bn2)
    return try graph.join(change, graph.follow(channels, through: downsample))
  }
}

extension Bottleneck: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    let change = try graph.follow(channels, through: conv1, bn1, conv2, bn2, conv3, bn3)
    return try graph.join(change, graph.follow(channels, through: downsample))
  }
}

/// How the input of a residual block gets to the shape of its output.
enum Shortcut {
  /// Every `stride`-th pixel, and channels of zeros around those that are there: option A of the paper.
  case zeroPadding
  /// A 1×1 convolution with batch normalization: option B.
  case convolution

  /// nil where the shapes are the same.
  func layer(_ builder: ModelBuilder, _ input: Int, _ output: Int, stride: Int) throws -> (any Layer)? {
    guard input != output || stride != 1 else { return nil }
    switch self {
    case .zeroPadding: return ZeroPaddedShortcut(stride: stride, extraChannels: output - input)
    case .convolution:
      return Sequential([
        try builder.convolution(input, output, kernel: 1, stride: stride), try builder.batchNorm(output),
      ])
    }
  }
}

/// Every `stride`-th pixel, with channels of zeros before and behind.
final class ZeroPaddedShortcut: Layer {
  private let stride: Int
  private let extraChannels: Int

  init(stride: Int, extraChannels: Int) {
    self.stride = stride
    self.extraChannels = extraChannels
  }

  func forward(_ input: Tensor) throws -> Tensor {
    let thinned = stride == 1 ? input : try input.avgPool2d([1, 1], stride: [stride, stride], padding: [0, 0])
    let before = extraChannels / 2
    return try thinned.padded([0, 0, 0, 0, before, extraChannels - before])
  }
}

extension ZeroPaddedShortcut: Prunable {
  func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    let before = extraChannels / 2
    return graph.concatenated([graph.channels(before), channels, graph.channels(extraChannels - before)])
  }
}
