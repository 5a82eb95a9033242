import Torch
import TorchNN

/// A transformer that reads an image as a row of square patches: ViT, and DeiT with its token for distillation. Keys as in
/// timm; those of torchvision and of Hugging Face are known, too.
///
///     h₀ = [class token; W patch₁; W patch₂; …] + position
///     h ← h + attention(norm(h)),   h ← h + W₂ a(W₁ norm(h))        for each block
///     logits = W norm(h)₀
///
/// `[N, C, H, W]` → `[N, classes]`, for images of the size that it was made for. Taps: `blocks.0`, `blocks.1`, … (hidden
/// states `[N, 1 + patches, width]`), under each of them `attn.queries`, `.keys`, `.values`, `.scores` and `.probabilities`;
/// `norm`, `last_features` (`[N, width]`), `head`.
///
/// DeiT's distillation token stands behind the class token. Its own classifier is averaged with the other one
/// (`distillation: averaged`), or there is none (`ignored`), as Hugging Face's two classes have it.
///
/// ## Reference
/// Dosovitskiy et al.: An image is worth 16×16 words. ICLR 2021; Touvron et al.: Training data-efficient image transformers &
/// distillation through attention. ICML 2021.
public final class VisionTransformer: ZooModel {
  public static let keys = ["patches": "patch_embed.proj", "tokens": "", "distillationHead": "head_dist"]

  static let architecture = Architecture(
    name: "vit", summary: "a transformer over the patches of an image: ViT, DeiT",
    paper: "Dosovitskiy et al.: An image is worth 16×16 words. ICLR 2021",
    input: .image,
    options: [
      ModelOption(
        "patch", .integer(1...256), default: 16, "the side of a patch in pixels; it divides that of the image"),
      ModelOption("depth", .integer(1...96), default: 12, "the blocks"),
      ModelOption("width", .integer(1...16_384), default: 192, "the numbers that stand for a patch"),
      ModelOption("heads", .integer(1...256), default: 3, "the heads of attention; they divide the width"),
      ModelOption(
        "hidden", .integer(0...65_536), default: 0, "the width between the maps of a block; 0: four times width"),
      ModelOption("activation", .word(TransformerActivation.words), default: "gelu", "what stands between these maps"),
      ModelOption(
        "distillation", .word(Distillation.allCases.map(\.rawValue)), default: "none",
        "DeiT's second token: none, one whose output is ignored, or one with a classifier that is averaged with the other"
      ),
      ModelOption("epsilon", .number(1e-15...0.1), default: 1e-6, "added to variances in layer normalization"),
      ModelOption("dropout", .number(0...0.99), default: 0.0, "the part to drop in training, after each map"),
    ],
    classifier: "head",
    build: { try VisionTransformer($0) })

  enum Distillation: String, CaseIterable {
    case none, ignored, averaged
  }

  public let patches: Conv2d
  public let tokens: Tokens
  public let dropout: Dropout?
  public let blocks: [Block]
  public let norm: LayerNorm
  public let lastFeatures = TapPoint()
  public let pooling: any Layer = Identity()
  public let head: any Layer
  public let distillationHead: (any Layer)?
  private let grid: [Int]
  private let side: Int

  init(_ builder: ModelBuilder) throws {
    let (width, heads) = (try builder.integer("width"), try builder.integer("heads"))
    let distillation = Distillation(rawValue: try builder.word("distillation")) ?? .none
    let epsilon = try builder.number("epsilon")
    let side = try builder.integer("patch")
    let (height, imageWidth) = (builder.inputShape[1], builder.inputShape[2])
    var problems: [String] = []
    if width % heads != 0 { problems.append("\(heads) heads do not divide the width \(width) of vit") }
    if height % side != 0 || imageWidth % side != 0 {
      problems.append("patches of \(side) pixels do not divide images of \(height) × \(imageWidth) for vit")
    }
    guard problems.isEmpty else { throw ModelError(problems) }
    self.side = side
    let grid = [height / side, imageWidth / side]
    self.grid = grid
    tokens = try Tokens(builder, width, patches: grid[0] * grid[1], isDistilled: distillation != .none)
    try builder.count([width, builder.inputChannels, side, side])
    let patches = try Conv2d(builder.inputChannels, width, kernel: side, stride: side)
    self.patches = patches
    try patches.weight.drawNormal(
      standardDeviation: (1 / Double(builder.inputChannels * side * side)).squareRoot())
    try withoutGradient { try patches.bias?.fill(0) }
    dropout = try builder.dropout()
    blocks = try (0..<builder.integer("depth")).map { _ in try Block(builder, width, heads: heads, epsilon: epsilon) }
    norm = try builder.layerNorm(width, epsilon: epsilon)
    let classes = builder.classCount
    head = builder.isBackbone ? Identity() : try builder.initialized(width, classes)
    distillationHead =
      distillation == .averaged && !builder.isBackbone ? try builder.initialized(width, classes) : nil
  }

  public func features(of input: Tensor) throws -> Tensor {
    let shape = input.shape
    guard shape.count == 4, shape[2] == grid[0] * side, shape[3] == grid[1] * side else {
      throw TorchError(
        operation: "vit", shapes: [shape],
        message: "images must be [N, C, \(grid[0] * side), \(grid[1] * side)]: there is a place for each patch")
    }
    let sum = try tokens(patches(input).flattened(from: 2).transposed(1, 2))
    let hidden = try norm(blocks.reduce(dropout?(sum) ?? sum) { hidden, block in try block(hidden) })
    return distillationHead == nil ? try hidden.selected(1, 0) : try hidden.sliced(1, from: 0, to: 2)
  }

  public func classify(_ features: Tensor) throws -> Tensor {
    guard let distillationHead else { return try head(features) }
    return try (head(features.selected(1, 0)) + distillationHead(features.selected(1, 1))) / 2.0
  }

  public var outputLayer: (any Layer)? { distillationHead == nil ? head : nil }

  /// The class token, and DeiT's for distillation, before the patches, and the places added to all: `[N, patches, width]` →
  /// `[N, 1 + patches, width]`, or one more.
  public final class Tokens: Layer {
    public static let keys = [
      "classToken": "cls_token", "distillationToken": "dist_token", "places": "pos_embed",
    ]

    /// `[1, 1, width]`
    @Parameter public var classToken: Tensor
    /// `[1, 1, width]`
    @Parameter public var distillationToken: Tensor?
    /// `[1, tokens, width]`
    @Parameter public var places: Tensor

    init(_ builder: ModelBuilder, _ width: Int, patches: Int, isDistilled: Bool) throws {
      func parameter(_ count: Int) throws -> Tensor {
        try builder.count([count, width])
        return try Tensor.empty([1, count, width]).drawNormal(standardDeviation: 0.02)
      }
      classToken = try parameter(1)
      distillationToken = isDistilled ? try parameter(1) : nil
      places = try parameter(patches + (isDistilled ? 2 : 1))
    }

    public func forward(_ input: Tensor) throws -> Tensor {
      let count = try input.size(0)
      let first = try [classToken, distillationToken].compactMap { $0 }.map { try $0.broadcast(to: [count, -1, -1]) }
      return try Tensor.concatenated(first + [input], along: 1) + places
    }
  }

  /// h + attention(norm(h)), and then that plus its map through a wider layer.
  public final class Block: Layer {
    public static let keys = ["attention": "attn", "widening": "mlp.fc1", "narrowing": "mlp.fc2"]

    public let norm1: LayerNorm
    public let attention: JoinedAttention
    public let norm2: LayerNorm
    public let widening: Linear
    public let narrowing: Linear
    public let dropout: Dropout?
    private let activation: TransformerActivation

    init(_ builder: ModelBuilder, _ width: Int, heads: Int, epsilon: Double) throws {
      let given = try builder.integer("hidden")
      let hidden = given == 0 ? 4 * width : given
      activation = try TransformerActivation(builder.word("activation"))
      norm1 = try builder.layerNorm(width, epsilon: epsilon)
      attention = try JoinedAttention(builder, width, heads: heads)
      norm2 = try builder.layerNorm(width, epsilon: epsilon)
      widening = try builder.initialized(width, hidden)
      narrowing = try builder.initialized(hidden, width)
      dropout = try builder.dropout()
    }

    public func forward(_ input: Tensor) throws -> Tensor {
      let attended = try attention(norm1(input))
      let middle = try input + (dropout?(attended) ?? attended)
      let change = try narrowing(activation(widening(norm2(middle))))
      return try middle + (dropout?(change) ?? change)
    }
  }
}

extension VisionTransformer: KnownElsewhere {
  public var headKeys: [String] { ["head"] + (distillationHead == nil ? [] : ["head_dist"]) }

  public var keyTables: [KeyTable] {
    var vision = [
      (ours: "cls_token", foreign: "class_token"), (ours: "pos_embed", foreign: "encoder.pos_embedding"),
      (ours: "patch_embed.proj", foreign: "conv_proj"), (ours: "norm", foreign: "encoder.ln"),
      (ours: "head", foreign: "heads.head"),
    ]
    for block in blocks.indices {
      let (ours, theirs) = ("blocks.\(block)", "encoder.layers.encoder_layer_\(block)")
      for (own, foreign) in [
        ("norm1", "ln_1"), ("attn.qkv.weight", "self_attention.in_proj_weight"),
        ("attn.qkv.bias", "self_attention.in_proj_bias"), ("attn.proj", "self_attention.out_proj"), ("norm2", "ln_2"),
        ("mlp.fc1", "mlp.0"), ("mlp.fc2", "mlp.3"),
      ] { vision.append((ours: "\(ours).\(own)", foreign: "\(theirs).\(foreign)")) }
    }
    /// Hugging Face's keys, with the prefix that its classes with a head have, or none.
    func face(_ name: String, _ prefix: String, head: String) -> KeyTable {
      let dotted = prefix.isEmpty ? "" : prefix + "."
      var pairs = [
        (ours: "cls_token", foreign: dotted + "embeddings.cls_token"),
        (ours: "dist_token", foreign: dotted + "embeddings.distillation_token"),
        (ours: "pos_embed", foreign: dotted + "embeddings.position_embeddings"),
        (ours: "patch_embed.proj", foreign: dotted + "embeddings.patch_embeddings.projection"),
        (ours: "norm", foreign: dotted + "layernorm"), (ours: "head", foreign: head),
        (ours: "head_dist", foreign: "distillation_classifier"),
      ]
      var joined: [KeyTable.Joined] = []
      for block in blocks.indices {
        let (ours, theirs) = ("blocks.\(block)", dotted + "encoder.layer.\(block)")
        for (own, foreign) in [
          ("norm1", "layernorm_before"), ("attn.proj", "attention.output.dense"), ("norm2", "layernorm_after"),
          ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense"),
        ] { pairs.append((ours: "\(ours).\(own)", foreign: "\(theirs).\(foreign)")) }
        for kind in ["weight", "bias"] {
          joined.append(
            KeyTable.Joined(
              "\(ours).attn.qkv.\(kind)",
              ["query", "key", "value"].map { "\(theirs).attention.attention.\($0).\(kind)" }))
        }
      }
      return KeyTable(
        name, pairs, joined: joined, unused: ["\(dotted)embeddings.mask_token", "\(dotted)pooler", "decoder"])
    }
    return [
      KeyTable("torchvision", vision), face("Hugging Face's ViT", "vit", head: "classifier"),
      face("Hugging Face's ViT without a head", "", head: "classifier"),
      face("Hugging Face's DeiT", "deit", head: "classifier"),
      face("Hugging Face's DeiT with two heads", "deit", head: "cls_classifier"),
    ]
  }
}
