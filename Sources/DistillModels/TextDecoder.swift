import Torch
import TorchNN

/// A decoder-only transformer that predicts the next token, in the form of GPT-2: learned positions, layer normalization
/// before each part of a block, GELU, and an output map that may share its weight with the embedding of the tokens.
///
///     h₀ = embedding(token) + position
///     h ← h + attention(norm(h)),   h ← h + W₂ GELU(W₁ norm(h))        for each block
///     logits = W norm(h)
///
/// Numbers of tokens `[N, L]` → `[N, L, classes]`; they may come as float32, as a loader gives them. The logits at a place
/// depend on the tokens up to it. Taps: `transformer.h.0`, `transformer.h.1`, … (hidden states `[N, L, width]`), under
/// each of them `attn.queries`, `attn.keys`, `attn.values`, `attn.scores` and `attn.probabilities`; `transformer.ln_f`,
/// `last_features`, `lm_head`.
///
/// Keys and the layout of the weights are those of Hugging Face's GPT-2, so that its files can be loaded. There is no
/// dropout of attention probabilities.
///
/// ## Reference
/// Radford et al.: Language Models are Unsupervised Multitask Learners. 2019.
public final class TextDecoder: ZooModel, GenerativeLayer {
  public static let keys = [
    "embedding": "transformer.wte", "positions": "transformer.wpe", "dropout": "transformer.drop",
    "blocks": "transformer.h", "norm": "transformer.ln_f", "head": "lm_head",
  ]

  static let architecture = Architecture(
    name: "decoder", summary: "a transformer that predicts the next token of a text",
    paper: "Radford et al.: Language models are unsupervised multitask learners. 2019",
    input: .tokens,
    options: [
      ModelOption("depth", .integer(1...96), default: 4, "the blocks"),
      ModelOption("width", .integer(1...16_384), default: 128, "the numbers that stand for a token"),
      ModelOption("heads", .integer(1...256), default: 4, "the heads of attention; they divide the width"),
      ModelOption(
        "length", .integer(0...65_536), default: 0, "the most tokens of a sequence; 0: as many as the input has"),
      ModelOption("dropout", .number(0...0.99), default: 0.0, "the part to drop in training, after each map"),
      ModelOption("tied", .flag, default: true, "whether output and embedding share one weight"),
    ],
    classifier: "lm_head",
    build: { try TextDecoder($0) })

  public let embedding: Embedding
  public let positions: Embedding
  public let dropout: Dropout?
  public let blocks: [Block]
  public let norm: LayerNorm
  public let lastFeatures = TapPoint()
  public let pooling: any Layer = Identity()
  public let head: any Layer
  public let contextLength: Int

  init(_ builder: ModelBuilder) throws {
    let width = try builder.integer("width")
    let depth = try builder.integer("depth")
    let heads = try builder.integer("heads")
    let inputLength = builder.inputShape[0]
    let length = try builder.integer("length")
    guard width % heads == 0 else {
      throw ModelError(["\(heads) heads do not divide the width \(width) of decoder; choose a multiple of \(heads)"])
    }
    guard length == 0 || length >= inputLength else {
      throw ModelError(["decoder is to have \(length) places, but its inputs have \(inputLength) tokens; raise length"])
    }
    contextLength = max(length, inputLength)
    let deviation = 0.02
    embedding = try builder.embedding(builder.classCount, width, standardDeviation: deviation)
    positions = try builder.embedding(contextLength, width, standardDeviation: deviation)
    dropout = try builder.dropout()
    // What goes into the sum of residuals starts smaller, the more of it there is.
    let residual = deviation / (2 * Double(depth)).squareRoot()
    blocks = try (0..<depth).map { _ in
      try Block(builder, width, heads: heads, deviation: deviation, residualDeviation: residual)
    }
    norm = try builder.layerNorm(width)
    let shared = try builder.flag("tied") ? embedding.weight : nil
    head = try builder.tokenClassifier(width, weight: shared, standardDeviation: deviation)
  }

  public func features(of input: Tensor) throws -> Tensor { try hidden(input, cache: nil) }

  public func classify(_ features: Tensor) throws -> Tensor { try head(features) }

  public var outputLayer: (any Layer)? { head }

  public func makeCache() -> AttentionCache { AttentionCache(layers: blocks.count, capacity: contextLength) }

  public func forward(_ tokens: Tensor, cache: AttentionCache) throws -> Tensor {
    let logits = try head(hidden(tokens, cache: cache))
    cache.advance(by: try tokens.size(1))
    return logits
  }

  private func hidden(_ input: Tensor, cache: AttentionCache?) throws -> Tensor {
    let start = cache?.length ?? 0
    let shape = input.shape
    guard shape.count == 2, shape[1] > 0, start + shape[1] <= contextLength else {
      throw TorchError(
        operation: "decoder", shapes: [shape],
        message: "tokens must be [N, L], with those before them at most \(contextLength), of which there are \(start)")
    }
    let places = try Tensor.range(start, start + shape[1], device: input.device)
    let sum = try embedding(input.to(.int64)) + positions(places)
    return try norm(
      blocks.enumerated().reduce(dropout?(sum) ?? sum) { hidden, block in
        guard let cache else { return try block.element(hidden) }
        return try block.element(hidden, cache: cache, layer: block.offset)
      })
  }

  /// h + attention(norm(h)), and then that plus its map through a wider layer.
  public final class Block: Layer {
    public static let keys = ["norm1": "ln_1", "attention": "attn", "norm2": "ln_2"]

    public let norm1: LayerNorm
    public let attention: Attention
    public let norm2: LayerNorm
    public let mlp: Widening

    init(
      _ builder: ModelBuilder, _ width: Int, heads: Int, deviation: Double, residualDeviation: Double
    ) throws {
      norm1 = try builder.layerNorm(width)
      attention = try Attention(
        input: builder.projection(width, 3 * width, standardDeviation: deviation),
        output: builder.projection(width, width, standardDeviation: residualDeviation), dropout: builder.dropout(),
        heads: heads)
      norm2 = try builder.layerNorm(width)
      mlp = try Widening(
        input: builder.projection(width, 4 * width, standardDeviation: deviation),
        output: builder.projection(4 * width, width, standardDeviation: residualDeviation), dropout: builder.dropout())
    }

    public func forward(_ input: Tensor) throws -> Tensor {
      let attended = try input + attention(norm1(input))
      return try attended + mlp(norm2(attended))
    }

    fileprivate func callAsFunction(_ input: Tensor, cache: AttentionCache, layer: Int) throws -> Tensor {
      let attended = try input + attention(norm1(input), cache: cache, layer: layer)
      return try attended + mlp(norm2(attended))
    }
  }

  /// Attention of each token to those up to it.
  public final class Attention: Layer {
    public static let keys = ["input": "c_attn", "output": "c_proj", "dropout": "resid_dropout"]

    /// Queries, keys and values side by side.
    public let input: Projection
    public let output: Projection
    public let dropout: Dropout?
    /// `[N, L, width]`, the heads side by side, as are those of keys and values.
    public let queries = TapPoint()
    public let keys = TapPoint()
    public let values = TapPoint()
    /// Q Kᵀ / √d, before the mask: `[N, heads, L, L]`
    public let scores = TapPoint()
    /// Their softmax under the mask: `[N, heads, L, L]`
    public let probabilities = TapPoint()
    public let heads: Int

    init(input: Projection, output: Projection, dropout: Dropout?, heads: Int) {
      self.input = input
      self.output = output
      self.dropout = dropout
      self.heads = heads
    }

    public func forward(_ input: Tensor) throws -> Tensor {
      let parts = try heads(of: input)
      return try joined(
        attention(
          query: parts[0], key: parts[1], value: parts[2], isCausal: true, scores: scores, probabilities: probabilities)
      )
    }

    fileprivate func callAsFunction(_ input: Tensor, cache: AttentionCache, layer: Int) throws -> Tensor {
      let parts = try heads(of: input)
      let start = cache.length
      let count = try input.size(1)
      let all = try cache.adding(keys: parts[1], values: parts[2], layer: layer)
      // One token may look at all that are there.
      let mask =
        start > 0 && count > 1
        ? try causalMask(rows: count, columns: start + count, offset: start, device: input.device) : nil
      return try joined(
        attention(
          query: parts[0], key: all.keys, value: all.values, mask: mask, isCausal: start == 0, scores: scores,
          probabilities: probabilities))
    }

    /// Queries, keys and values, each `[N, heads, L, d]`.
    private func heads(of input: Tensor) throws -> [Tensor] {
      let joined = try self.input.map(input)
      let width = try joined.size(-1) / 3
      let parts = try joined.split(width, along: -1)
      for (point, tensor) in zip([queries, keys, values], parts) { try point.record(tensor) }
      return try parts.map {
        try $0.reshaped([$0.size(0), $0.size(1), heads, width / heads]).transposed(1, 2)
      }
    }

    private func joined(_ attended: Tensor) throws -> Tensor {
      let mapped = try output.map(attended.transposed(1, 2).flattened(from: 2))
      return try dropout?(mapped) ?? mapped
    }
  }

  /// A map to four times the width, GELU (its approximation through tanh), and the map back.
  public final class Widening: Layer {
    public static let keys = ["input": "c_fc", "output": "c_proj"]

    public let input: Projection
    public let output: Projection
    public let dropout: Dropout?

    init(input: Projection, output: Projection, dropout: Dropout?) {
      self.input = input
      self.output = output
      self.dropout = dropout
    }

    public func forward(_ input: Tensor) throws -> Tensor {
      let mapped = try output(self.input(input).gelu(approximate: true))
      return try dropout?(mapped) ?? mapped
    }
  }

  /// x W + b, with the weight laid out as GPT-2 has it: `[inputFeatures, outputFeatures]`.
  public final class Projection: Layer {
    /// `[inputFeatures, outputFeatures]`
    @Parameter public var weight: Tensor
    /// `[outputFeatures]`
    @Parameter public var bias: Tensor

    init(_ inputFeatures: Int, _ outputFeatures: Int, standardDeviation: Double) throws {
      weight = try Tensor.empty([inputFeatures, outputFeatures]).drawNormal(standardDeviation: standardDeviation)
      bias = try .zeros([outputFeatures])
    }

    public func forward(_ input: Tensor) throws -> Tensor { try map(input) }

    fileprivate func map(_ input: Tensor) throws -> Tensor {
      try linear(input, weight: weight.transposed(0, 1), bias: bias)
    }
  }
}

extension TextDecoder: KnownElsewhere {
  public var headKeys: [String] { ["lm_head"] }

  /// Hugging Face's GPT-2 with the masks that older files keep, and without a head.
  public var keyTables: [KeyTable] {
    let masks = blocks.indices.flatMap { ["h.\($0).attn.bias", "h.\($0).attn.masked_bias"] }
    return [
      KeyTable(
        "Hugging Face's GPT-2", [(ours: "transformer", foreign: "transformer")],
        unused: masks.map { "transformer." + $0 }),
      KeyTable("Hugging Face's GPT-2 without a head", [(ours: "transformer", foreign: "")], unused: masks),
    ]
  }
}

extension TextDecoder.Attention: MultiplyAddCounting {
  public func multiplyAdds(input: [Int], output: [Int]) throws -> Int {
    guard output.count == 3 else {
      throw TorchError(operation: "attention", message: "the output must be [N, L, width], not \(output)")
    }
    return output[0] * output[1] * output[2] * (4 * output[2] + 2 * output[1])
  }
}

extension TextDecoder.Projection: MultiplyAddCounting {
  public func multiplyAdds(input: [Int], output: [Int]) -> Int { output.dropLast().reduce(1, *) * weight.count }
}

extension ModelBuilder {
  func layerNorm(_ features: Int) throws -> LayerNorm {
    try count([2, features])
    return try LayerNorm(features)
  }

  fileprivate func embedding(_ count: Int, _ features: Int, standardDeviation: Double) throws -> Embedding {
    try self.count([count, features])
    let layer = try Embedding(count, features)
    try layer.weight.drawNormal(standardDeviation: standardDeviation)
    return layer
  }

  fileprivate func projection(
    _ input: Int, _ output: Int, standardDeviation: Double
  ) throws -> TextDecoder.Projection {
    try count([input, output])
    return try TextDecoder.Projection(input, output, standardDeviation: standardDeviation)
  }

  /// The last layer, from the features of each token to the classes, without bias; with a weight that is shared, or one of
  /// its own.
  fileprivate func tokenClassifier(
    _ features: Int, weight: Tensor?, standardDeviation: Double
  ) throws -> any Layer {
    guard !isBackbone else { return Identity() }
    let layer: Linear
    if let weight {
      layer = try Linear(features, 1, bias: false)
      layer.weight = weight
    } else {
      try count([features, classCount])
      layer = try Linear(features, classCount, bias: false)
      try layer.weight.drawNormal(standardDeviation: standardDeviation)
    }
    return layer
  }
}
