import Foundation
import Torch
import TorchNN

/// A decoder-only transformer in the form of Llama: no places are learned, queries and keys are turned by them instead;
/// normalization by the mean square, several heads of queries for one of keys and values, and a gate in the wider map. Keys
/// as in Hugging Face's `LlamaForCausalLM`.
///
///     h ← h + attention(norm(h)),   h ← h + W₃ (silu(W₁ norm(h)) · W₂ norm(h))        for each layer
///     logits = W norm(h)
///
/// Numbers of tokens `[N, L]` → `[N, L, classes]`; they may come as float32. The logits at a place depend on the tokens up to
/// it. Taps: `model.layers.0`, `model.layers.1`, … (hidden states `[N, L, width]`), under each of them `self_attn.queries`,
/// `.keys`, `.values`, `.scores` and `.probabilities`; `model.norm`, `last_features`, `lm_head`.
///
/// ## Reference
/// Touvron et al.: LLaMA: Open and efficient foundation language models. 2023; Su et al.: RoFormer. 2021; Ainslie et al.: GQA.
/// EMNLP 2023; Shazeer: GLU variants improve transformer. 2020.
public final class Llama: ZooModel, GenerativeLayer {
  public static let keys = [
    "embedding": "model.embed_tokens", "layers": "model.layers", "norm": "model.norm", "head": "lm_head",
  ]

  static let architecture = Architecture(
    name: "llama", summary: "a transformer that predicts the next token, in the form of Llama",
    paper: "Touvron et al.: LLaMA: Open and efficient foundation language models. 2023",
    input: .tokens,
    options: [
      ModelOption("depth", .integer(1...128), default: 4, "the layers"),
      ModelOption("width", .integer(1...16_384), default: 128, "the numbers that stand for a token"),
      ModelOption("heads", .integer(1...256), default: 4, "the heads of queries"),
      ModelOption(
        "key_heads", .integer(0...256), default: 0, "the heads of keys and values, which divide those; 0: as many"),
      ModelOption("head_width", .integer(0...1024), default: 0, "the numbers of a head, even; 0: width by heads"),
      ModelOption("hidden", .integer(0...131_072), default: 0, "the width between the maps; 0: 8/3 of the width"),
      ModelOption(
        "length", .integer(0...1_048_576), default: 0, "the most tokens of a sequence; 0: as many as the input has"),
      ModelOption("base", .number(1...1e9), default: 10_000.0, "of the angles by which places turn queries and keys"),
      ModelOption("epsilon", .number(1e-15...0.1), default: 1e-6, "added to mean squares in normalization"),
      ModelOption(
        "dropout", .number(0...0.99), default: 0.0, "the part to drop in training, after each part of a layer"),
      ModelOption("tied", .flag, default: false, "whether output and embedding share one weight"),
    ],
    classifier: "lm_head",
    build: { try Llama($0) })

  public let embedding: Embedding
  public let layers: [Layer]
  public let norm: RMSNorm
  public let lastFeatures = TapPoint()
  public let pooling: any TorchNN.Layer = Identity()
  public let head: any TorchNN.Layer
  public let contextLength: Int
  private let frequencies: [Float]

  init(_ builder: ModelBuilder) throws {
    let (width, heads) = (try builder.integer("width"), try builder.integer("heads"))
    let givenKeys = try builder.integer("key_heads")
    let givenWidth = try builder.integer("head_width")
    let keyHeads = givenKeys == 0 ? heads : givenKeys
    let headWidth = givenWidth == 0 ? width / heads : givenWidth
    let length = try builder.integer("length")
    let epsilon = try builder.number("epsilon")
    let base = try builder.number("base")
    var problems: [String] = []
    if givenWidth == 0, width % heads != 0 {
      problems.append("\(heads) heads do not divide the width \(width) of llama; choose a multiple, or say head_width")
    }
    if headWidth == 0 || headWidth % 2 != 0 {
      problems.append("a head of llama has \(headWidth) numbers; it needs pairs")
    }
    if heads % keyHeads != 0 { problems.append("\(keyHeads) key_heads do not divide the \(heads) heads of llama") }
    if length != 0, length < builder.inputShape[0] {
      problems.append(
        "llama is to have \(length) places, but its inputs have \(builder.inputShape[0]) tokens; raise length")
    }
    guard problems.isEmpty else { throw ModelError(problems) }
    contextLength = max(length, builder.inputShape[0])
    frequencies = stride(from: 0, to: headWidth, by: 2).map { Float(1 / pow(base, Double($0) / Double(headWidth))) }
    embedding = try builder.embedding(builder.classCount, width, standardDeviation: 0.02)
    layers = try (0..<builder.integer("depth")).map { _ in
      try Layer(builder, width, heads: heads, keyHeads: keyHeads, headWidth: headWidth, epsilon: epsilon)
    }
    norm = try builder.rmsNorm(width, epsilon: epsilon)
    if builder.isBackbone {
      head = Identity()
    } else if try builder.flag("tied") {
      let layer = try Linear(width, 1, bias: false)
      layer.weight = embedding.weight
      head = layer
    } else {
      head = try builder.initialized(width, builder.classCount, bias: false)
    }
  }

  public func features(of input: Tensor) throws -> Tensor { try hidden(input, cache: nil) }

  public func classify(_ features: Tensor) throws -> Tensor { try head(features) }

  public var outputLayer: (any TorchNN.Layer)? { head }

  public func makeCache() -> AttentionCache { AttentionCache(layers: layers.count, capacity: contextLength) }

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
        operation: "llama", shapes: [shape],
        message: "tokens must be [N, L], with those before them at most \(contextLength), of which there are \(start)")
    }
    let places = try Tensor.range(start, start + shape[1], device: input.device).to(.float32).expandedDimension(at: 1)
    let angles = try places * Tensor(frequencies, shape: [1, frequencies.count]).to(input.device)
    let turn = Turn(cosines: try angles.cosine(), sines: try angles.sine())
    return try norm(
      layers.enumerated().reduce(embedding(input.to(.int64))) { hidden, layer in
        try layer.element(hidden, turn: turn, cache: cache, index: layer.offset)
      })
  }

  /// How places turn pairs of numbers: the angles' cosines and sines, `[L, d / 2]`.
  struct Turn {
    let cosines: Tensor
    let sines: Tensor

    /// Numbers i and i + d / 2 of each head as a pair, turned: `[N, heads, L, d]` → the same shape.
    func callAsFunction(_ input: Tensor) throws -> Tensor {
      let halves = try input.split(cosines.size(1), along: -1)
      let (cosines, sines) = (try cosines.to(input.dtype), try sines.to(input.dtype))
      return try Tensor.concatenated(
        [halves[0] * cosines - halves[1] * sines, halves[1] * cosines + halves[0] * sines], along: -1)
    }
  }

  /// h + attention(norm(h)), and then that plus its gated map through a wider layer.
  public final class Layer: TorchNN.Layer {
    public static let keys = [
      "norm1": "input_layernorm", "attention": "self_attn", "norm2": "post_attention_layernorm",
      "gate": "mlp.gate_proj",
      "widening": "mlp.up_proj", "narrowing": "mlp.down_proj",
    ]

    public let norm1: RMSNorm
    public let attention: Attention
    public let norm2: RMSNorm
    public let gate: Linear
    public let widening: Linear
    public let narrowing: Linear
    public let dropout: Dropout?

    init(
      _ builder: ModelBuilder, _ width: Int, heads: Int, keyHeads: Int, headWidth: Int, epsilon: Double
    ) throws {
      dropout = try builder.dropout()
      let given = try builder.integer("hidden")
      let hidden = given == 0 ? max(8, (8 * width / 3 + 7) / 8 * 8) : given
      norm1 = try builder.rmsNorm(width, epsilon: epsilon)
      attention = try Attention(builder, width, heads: heads, keyHeads: keyHeads, headWidth: headWidth)
      norm2 = try builder.rmsNorm(width, epsilon: epsilon)
      gate = try builder.initialized(width, hidden, bias: false)
      widening = try builder.initialized(width, hidden, bias: false)
      narrowing = try builder.initialized(hidden, width, bias: false)
    }

    /// Of a layer by itself, whose first token stands at place 0, and no place turns anything.
    public func forward(_ input: Tensor) throws -> Tensor { try layer(input, turn: nil, cache: nil, index: 0) }

    fileprivate func callAsFunction(_ input: Tensor, turn: Turn, cache: AttentionCache?, index: Int) throws -> Tensor {
      try called(with: input) { try layer(input, turn: turn, cache: cache, index: index) }
    }

    private func layer(_ input: Tensor, turn: Turn?, cache: AttentionCache?, index: Int) throws -> Tensor {
      let attended = try attention(norm1(input), turn: turn, cache: cache, layer: index)
      let middle = try input + (dropout?(attended) ?? attended)
      let row = try norm2(middle)
      let change = try narrowing(gate(row).silu() * widening(row))
      return try middle + (dropout?(change) ?? change)
    }
  }

  /// Attention of each token to those up to it; some heads of queries share one of keys and values.
  public final class Attention: TorchNN.Layer {
    public static let keys = ["query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"]

    public let query: Linear
    public let key: Linear
    public let value: Linear
    public let output: Linear
    /// `[N, L, heads · d]`, before places turn them
    public let queries = TapPoint()
    /// `[N, L, key heads · d]`, before places turn them
    public let keys = TapPoint()
    /// `[N, L, key heads · d]`
    public let values = TapPoint()
    /// Q Kᵀ / √d, before the mask: `[N, heads, L, L]`
    public let scores = TapPoint()
    /// Their softmax under the mask: `[N, heads, L, L]`
    public let probabilities = TapPoint()
    public let heads: Int
    public let keyHeads: Int

    init(_ builder: ModelBuilder, _ width: Int, heads: Int, keyHeads: Int, headWidth: Int) throws {
      query = try builder.initialized(width, heads * headWidth, bias: false)
      key = try builder.initialized(width, keyHeads * headWidth, bias: false)
      value = try builder.initialized(width, keyHeads * headWidth, bias: false)
      output = try builder.initialized(heads * headWidth, width, bias: false)
      self.heads = heads
      self.keyHeads = keyHeads
    }

    public func forward(_ input: Tensor) throws -> Tensor { try attend(input, turn: nil, cache: nil, layer: 0) }

    fileprivate func callAsFunction(
      _ input: Tensor, turn: Turn?, cache: AttentionCache?, layer: Int
    ) throws -> Tensor {
      try called(with: input) { try attend(input, turn: turn, cache: cache, layer: layer) }
    }

    private func attend(_ input: Tensor, turn: Turn?, cache: AttentionCache?, layer: Int) throws -> Tensor {
      let mapped = try [query, key, value].map { try linear(input, weight: $0.weight, bias: nil) }
      for (point, tensor) in zip([queries, keys, values], mapped) { try point.record(tensor) }
      let parts = try zip(mapped, [heads, keyHeads, keyHeads]).map { tensor, heads in
        try tensor.reshaped([tensor.size(0), tensor.size(1), heads, tensor.size(2) / heads]).transposed(1, 2)
      }
      let start = cache?.length ?? 0
      let count = try input.size(1)
      var all = (keys: try turn?(parts[1]) ?? parts[1], values: parts[2])
      if let cache { all = try cache.adding(keys: all.keys, values: all.values, layer: layer) }
      // One token may look at all that are there.
      let mask =
        start > 0 && count > 1
        ? try causalMask(rows: count, columns: start + count, offset: start, device: input.device) : nil
      let attended = try attention(
        query: turn?(parts[0]) ?? parts[0], key: repeated(all.keys), value: repeated(all.values), mask: mask,
        isCausal: start == 0, scores: scores, probabilities: probabilities)
      return try linear(attended.transposed(1, 2).flattened(from: 2), weight: output.weight, bias: nil)
    }

    /// A head of keys or values for each head of queries: `[N, key heads, S, d]` → `[N, heads, S, d]`.
    private func repeated(_ tensor: Tensor) throws -> Tensor {
      guard heads > keyHeads else { return tensor }
      let shape = tensor.shape
      return try tensor.expandedDimension(at: 2).broadcast(to: [
        shape[0], shape[1], heads / keyHeads, shape[2], shape[3],
      ])
      .reshaped([shape[0], heads, shape[2], shape[3]])
    }
  }
}

extension Llama.Attention: MultiplyAddCounting {
  public func multiplyAdds(input: [Int], output: [Int]) throws -> Int {
    guard output.count == 3 else {
      throw TorchError(operation: "attention", message: "the output must be [N, L, width], not \(output)")
    }
    let rows = output[0] * output[1]
    let maps = [query, key, value, self.output].reduce(0) { $0 + $1.weight.count }
    return rows * (maps + 2 * output[1] * (query.weight.shape.first ?? 0))
  }
}

extension ModelBuilder {
  fileprivate func rmsNorm(_ features: Int, epsilon: Double) throws -> RMSNorm {
    try count([features])
    return try RMSNorm(features, epsilon: epsilon)
  }
}

extension Llama: KnownElsewhere {
  public var headKeys: [String] { ["lm_head"] }

  public var keyTables: [KeyTable] {
    // Older files keep the frequencies of each layer.
    let unused = layers.indices.map { "layers.\($0).self_attn.rotary_emb" }
    return [
      KeyTable("Hugging Face's Llama", [(ours: "model", foreign: "model")], unused: unused.map { "model." + $0 }),
      KeyTable("Hugging Face's Llama without a head", [(ours: "model", foreign: "")], unused: unused),
    ]
  }
}
