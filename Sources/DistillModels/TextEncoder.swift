import Torch
import TorchNN

/// A transformer that reads a whole text and says what class it is of, or where it lies among other texts: BERT, and with
/// other options RoBERTa, DistilBERT and MiniLM.
///
///     h₀ = norm(embedding(token) + position + type)
///     h ← norm(h + attention(h)),   h ← norm(h + W₂ a(W₁ h))        for each layer
///
/// Numbers of tokens `[N, L]` → `[N, classes]`; they may come as float32, as a loader gives them. Texts that are shorter than
/// L are filled up with the token `padding`, and by that the model knows what is text: no token attends to padding, and a
/// mean is over the text alone. So a batch needs no mask beside it. With `separator` a text may be a pair: tokens after the
/// first separator are of the second type.
///
/// Taps: `bert.embeddings`, `bert.encoder.layer.0`, … (hidden states `[N, L, width]`), under each layer
/// `attention.self.queries`, `.keys`, `.values`, `.scores` and `.probabilities`; `last_features` (the row `[N, width]` that
/// the classifier works on), `classifier`.
///
/// Keys are those of Hugging Face's `BertForSequenceClassification`; those of its other classes of the family are known, too.
/// There is no dropout of attention probabilities.
///
/// ## Reference
/// Devlin et al.: BERT: Pre-training of deep bidirectional transformers for language understanding. NAACL 2019;
/// Liu et al.: RoBERTa. 2019; Sanh et al.: DistilBERT. 2019; Wang et al.: MiniLM. NeurIPS 2020.
public final class TextEncoder: ZooModel {
  public static let keys = ["backbone": "bert", "firstMap": "pre_classifier"]

  static let architecture = Architecture(
    name: "bert", summary: "a transformer that reads whole texts: BERT, RoBERTa, DistilBERT, MiniLM",
    paper: "Devlin et al.: BERT: Pre-training of deep bidirectional transformers. NAACL 2019",
    input: .tokens,
    options: [
      ModelOption("vocabulary", .integer(1...1_000_000), default: 30_522, "how many tokens there are"),
      ModelOption("depth", .integer(1...96), default: 6, "the layers"),
      ModelOption("width", .integer(1...16_384), default: 384, "the numbers that stand for a token"),
      ModelOption("heads", .integer(1...256), default: 12, "the heads of attention; they divide the width"),
      ModelOption(
        "hidden", .integer(0...65_536), default: 0, "the width between the maps of a layer; 0: four times width"),
      ModelOption("activation", .word(TransformerActivation.words), default: "gelu", "what stands between these maps"),
      ModelOption("length", .integer(1...65_536), default: 512, "the most tokens of a text"),
      ModelOption(
        "places_after_padding", .flag, default: false,
        "places are counted from the number after padding on, and padding has its own, as RoBERTa does"),
      ModelOption("types", .integer(0...16), default: 2, "the types of token that pairs of texts need; 0: none"),
      ModelOption("padding", .integer(0...1_000_000), default: 0, "the token that texts are filled up with"),
      ModelOption(
        "separator", .integer(-1...1_000_000), default: -1,
        "the token that ends each text of a pair: what follows the first is of type 1; -1: all is of type 0"),
      ModelOption(
        "pooling", .word(Pooling.allCases.map(\.rawValue)), default: "tanh",
        "what stands for a text: its first token (first), a linear map of that with tanh or relu, or the mean of all"),
      ModelOption(
        "head", .word(Head.allCases.map(\.rawValue)), default: "classes",
        "a linear layer to the classes, or none: the row itself (embedding), or brought to length 1 (unit-embedding)"),
      ModelOption("epsilon", .number(1e-15...0.1), default: 1e-12, "added to variances in layer normalization"),
      ModelOption("dropout", .number(0...0.99), default: 0.0, "the part to drop in training, after each map"),
    ],
    classifier: "classifier",
    build: { try TextEncoder($0) })

  enum Pooling: String, CaseIterable {
    case tanh, relu, first, mean
  }

  enum Head: String, CaseIterable {
    case classes, embedding
    case unitEmbedding = "unit-embedding"
  }

  public let backbone: Backbone
  /// Of the first token, before a ReLU, as DistilBERT has it.
  public let firstMap: Linear?
  public let lastFeatures = TapPoint()
  public let pooling: any Layer = Identity()
  public let dropout: Dropout?
  public let classifier: any Layer
  private let kind: Pooling
  private let head: Head

  init(_ builder: ModelBuilder) throws {
    let width = try builder.integer("width")
    kind = Pooling(rawValue: try builder.word("pooling")) ?? .tanh
    head = Head(rawValue: try builder.word("head")) ?? .classes
    let classes = builder.classCount
    guard head == .classes || classes == width else {
      throw ModelError([
        "bert with head: \(head.rawValue) gives rows of its width \(width), not of \(classes): "
          + "say \(width) classes, or head: classes"
      ])
    }
    backbone = try Backbone(builder, hasPooler: kind == .tanh)
    firstMap = kind == .relu ? try builder.initialized(width, width) : nil
    dropout = try builder.dropout()
    classifier = head == .classes && !builder.isBackbone ? try builder.initialized(width, classes) : Identity()
  }

  public func features(of input: Tensor) throws -> Tensor {
    let mask = try backbone.mask(of: input)
    let hidden = try backbone(input)
    switch kind {
    case .mean: return try hidden.mean(where: mask)
    case .first: return try hidden.selected(1, 0)
    case .tanh:
      let first = try hidden.selected(1, 0)
      return try backbone.pooler.map { try $0(first).tanh() } ?? first
    case .relu:
      let first = try hidden.selected(1, 0)
      return try firstMap.map { try $0(first).relu() } ?? first
    }
  }

  public func classify(_ features: Tensor) throws -> Tensor {
    switch head {
    case .classes: return try classifier(dropout?(features) ?? features)
    case .embedding: return try classifier(features)
    case .unitEmbedding:
      return try features / features.norm(along: -1, keepDimensions: true).clamped(from: 1e-12)
    }
  }

  /// Embeddings and layers: from tokens `[N, L]` to hidden states `[N, L, width]`.
  public final class Backbone: Layer {
    public static let keys = ["layers": "encoder.layer", "pooler": "pooler.dense"]

    public let embeddings: Embeddings
    public let layers: [EncoderLayer]
    /// Of the first token, before a tanh.
    public let pooler: Linear?

    init(_ builder: ModelBuilder, hasPooler: Bool) throws {
      let (width, heads) = (try builder.integer("width"), try builder.integer("heads"))
      guard width % heads == 0 else {
        throw ModelError(["\(heads) heads do not divide the width \(width) of bert; choose a multiple of \(heads)"])
      }
      embeddings = try Embeddings(builder)
      layers = try (0..<builder.integer("depth")).map { _ in try EncoderLayer(builder) }
      pooler = hasPooler ? try builder.initialized(width, width) : nil
    }

    public func forward(_ input: Tensor) throws -> Tensor {
      let allowed = try mask(of: input).expandedDimension(at: 1).expandedDimension(at: 1)
      return try layers.reduce(embeddings(input)) { hidden, layer in try layer(hidden, mask: allowed) }
    }

    /// `[N, L]`: true where a token is not padding.
    fileprivate func mask(of input: Tensor) throws -> Tensor { try input.differs(from: Double(embeddings.padding)) }
  }

  /// Words, places and types, summed and normalized.
  public final class Embeddings: Layer {
    public static let keys = [
      "words": "word_embeddings", "places": "position_embeddings", "types": "token_type_embeddings",
      "norm": "LayerNorm",
    ]

    public let words: Embedding
    public let places: Embedding
    public let types: Embedding?
    public let norm: LayerNorm
    public let dropout: Dropout?
    public let padding: Int
    private let separator: Int?
    private let countsAfterPadding: Bool
    private let length: Int

    init(_ builder: ModelBuilder) throws {
      let width = try builder.integer("width")
      let vocabulary = try builder.integer("vocabulary")
      let given = try builder.integer("separator")
      padding = try builder.integer("padding")
      separator = given < 0 ? nil : given
      countsAfterPadding = try builder.flag("places_after_padding")
      length = try builder.integer("length")
      var problems: [String] = []
      if padding >= vocabulary { problems.append("padding is token \(padding), but bert has \(vocabulary) tokens") }
      if given >= vocabulary { problems.append("separator is token \(given), but bert has \(vocabulary) tokens") }
      if builder.inputShape[0] > length {
        problems.append(
          "bert is to have \(length) places, but its inputs have \(builder.inputShape[0]) tokens; raise length")
      }
      let typeCount = try builder.integer("types")
      if separator != nil, typeCount < 2 {
        problems.append("a separator tells two types of token apart, but types is \(typeCount)")
      }
      guard problems.isEmpty else { throw ModelError(problems) }
      words = try builder.embedding(vocabulary, width, standardDeviation: 0.02, padding: padding)
      places = try builder.embedding(
        length + (countsAfterPadding ? padding + 1 : 0), width, standardDeviation: 0.02,
        padding: countsAfterPadding ? padding : nil)
      types = typeCount > 0 ? try builder.embedding(typeCount, width, standardDeviation: 0.02) : nil
      norm = try builder.layerNorm(width, epsilon: builder.number("epsilon"))
      dropout = try builder.dropout()
    }

    public func forward(_ input: Tensor) throws -> Tensor {
      let shape = input.shape
      guard shape.count == 2, shape[1] > 0, shape[1] <= length else {
        throw TorchError(
          operation: "bert", shapes: [shape], message: "tokens must be [N, L] with L from 1 to \(length)")
      }
      let tokens = try input.to(.int64)
      var sum = try words(tokens)
      if let types { sum = try sum + types(typeNumbers(of: tokens)) }
      sum = try norm(sum + places(placeNumbers(of: tokens)))
      return try dropout?(sum) ?? sum
    }

    /// 0 … L − 1; or for RoBERTa padding + 1, padding + 2, … for the tokens of the text, and padding for padding.
    private func placeNumbers(of tokens: Tensor) throws -> Tensor {
      guard countsAfterPadding else { return try Tensor.range(0, tokens.size(1), device: tokens.device) }
      let text = try tokens.differs(from: Double(padding)).to(.int64)
      return try (text.cumulativeSum(along: 1) * text + Double(padding)).to(.int64)
    }

    /// 1 behind the first separator, as long as the text goes on; otherwise 0.
    private func typeNumbers(of tokens: Tensor) throws -> Tensor {
      guard let separator else { return try tokens.zerosLike() }
      let ends = try tokens.equals(Double(separator)).to(.int64)
      let before = try ends.cumulativeSum(along: 1) - ends
      return try before.isGreater(than: 0.0).and(tokens.differs(from: Double(padding))).to(.int64)
    }
  }

  /// h ← norm(h + attention(h)), and then norm of that plus its map through a wider layer.
  public final class EncoderLayer: Layer {
    public static let keys = [
      "attention": "attention.self", "attentionOutput": "attention.output.dense",
      "attentionNorm": "attention.output.LayerNorm", "widening": "intermediate.dense", "narrowing": "output.dense",
      "norm": "output.LayerNorm",
    ]

    public let attention: SeparateAttention
    public let attentionOutput: Linear
    public let attentionNorm: LayerNorm
    public let widening: Linear
    public let narrowing: Linear
    public let norm: LayerNorm
    public let dropout: Dropout?
    private let activation: TransformerActivation

    init(_ builder: ModelBuilder) throws {
      let width = try builder.integer("width")
      let given = try builder.integer("hidden")
      let hidden = given == 0 ? 4 * width : given
      let epsilon = try builder.number("epsilon")
      activation = try TransformerActivation(builder.word("activation"))
      attention = try SeparateAttention(builder, width, heads: builder.integer("heads"))
      attentionOutput = try builder.initialized(width, width)
      attentionNorm = try builder.layerNorm(width, epsilon: epsilon)
      widening = try builder.initialized(width, hidden)
      narrowing = try builder.initialized(hidden, width)
      norm = try builder.layerNorm(width, epsilon: epsilon)
      dropout = try builder.dropout()
    }

    public func forward(_ input: Tensor) throws -> Tensor { try layer(input, mask: nil) }

    fileprivate func callAsFunction(_ input: Tensor, mask: Tensor) throws -> Tensor {
      try called(with: input) { try layer(input, mask: mask) }
    }

    private func layer(_ input: Tensor, mask: Tensor?) throws -> Tensor {
      let attended = try attentionOutput(attention(input, mask: mask))
      let middle = try attentionNorm((dropout?(attended) ?? attended) + input)
      let change = try narrowing(activation(widening(middle)))
      return try norm((dropout?(change) ?? change) + middle)
    }
  }
}

extension TextEncoder: KnownElsewhere {
  public var headKeys: [String] {
    (kind == .tanh ? ["bert.pooler"] : []) + (firstMap == nil ? [] : ["pre_classifier"])
      + (head == .classes ? ["classifier"] : [])
  }

  /// Hugging Face's other classes of the family: models without a head, for filling in words, RoBERTa's and DistilBERT's.
  public var keyTables: [KeyTable] {
    let depth = backbone.layers.count
    let pooler = kind == .tanh ? [] : ["pooler"]
    func bert(_ name: String, _ prefix: String, _ pairs: [(ours: String, foreign: String)] = []) -> KeyTable {
      let dotted = prefix.isEmpty ? "" : prefix + "."
      return KeyTable(
        name, [(ours: "bert", foreign: prefix)] + pairs,
        unused: (["embeddings.position_ids"] + pooler).map { dotted + $0 } + ["cls", "lm_head"]
          + (head == .classes ? [] : ["classifier", "pre_classifier"]))
    }
    var distil: [(ours: String, foreign: String)] = [(ours: "bert", foreign: "distilbert")]
    for layer in 0..<depth {
      let (ours, theirs) = ("bert.encoder.layer.\(layer)", "distilbert.transformer.layer.\(layer)")
      for (own, foreign) in [
        ("attention.self.query", "attention.q_lin"), ("attention.self.key", "attention.k_lin"),
        ("attention.self.value", "attention.v_lin"), ("attention.output.dense", "attention.out_lin"),
        ("attention.output.LayerNorm", "sa_layer_norm"), ("intermediate.dense", "ffn.lin1"),
        ("output.dense", "ffn.lin2"), ("output.LayerNorm", "output_layer_norm"),
      ] { distil.append((ours: "\(ours).\(own)", foreign: "\(theirs).\(foreign)")) }
    }
    let bare = distil.map {
      (ours: $0.ours, foreign: $0.foreign == "distilbert" ? "" : String($0.foreign.dropFirst(11)))
    }
    let filling = ["vocab_transform", "vocab_layer_norm", "vocab_projector"]
    let unused = filling + (head == .classes ? [] : ["pre_classifier", "classifier"])
    // RoBERTa's head has the map of the first token in it.
    let roberta = [
      (ours: "bert.pooler.dense", foreign: "classifier.dense"), (ours: "classifier", foreign: "classifier.out_proj"),
    ]
    return [
      bert("Hugging Face's BERT", "bert"), bert("Hugging Face's BERT without a head", ""),
      bert("Hugging Face's RoBERTa with a head", "roberta", roberta), bert("Hugging Face's RoBERTa", "roberta"),
      KeyTable("Hugging Face's DistilBERT", distil, unused: ["distilbert.embeddings.position_ids"] + unused),
      KeyTable("Hugging Face's DistilBERT without a head", bare, unused: ["embeddings.position_ids"] + unused),
    ]
  }
}

extension Tensor {
  /// The mean along the second dimension where `mask` holds: `[N, L, D]` and `[N, L]` → `[N, D]`; zeros where it never does.
  fileprivate func mean(where mask: Tensor) throws -> Tensor {
    let weights = try mask.to(dtype).expandedDimension(at: 2)
    return try (self * weights).sum(along: 1) / weights.sum(along: 1).clamped(from: 1e-9)
  }
}
