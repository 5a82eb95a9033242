import Torch
import TorchNN

/// A small convolutional network that says what class a text is of: windows of a few tokens, and of each kind of window the
/// one that it fits best.
///
///     c = max over windows of ReLU(W · [e₁ … e_k] + b)       for each kernel k and filter
///
/// Numbers of tokens `[N, L]` → `[N, classes]`; they may come as float32, as a loader gives them. A window stands around each
/// token of the text, and sees zeros beyond its ends. Texts that are shorter than L are filled up with the token `padding`,
/// around which there is no window: however much there is of it, the logits are the same.
///
/// Taps: `embedding` (`[N, L, width]`), `convolutions.0`, … (`[N, filters, L]` or one more, before ReLU), `last_features`
/// (`[N, kernels · filters]`), `classifier`.
///
/// ## Reference
/// Kim: Convolutional neural networks for sentence classification. EMNLP 2014. There windows lie within the text alone.
public final class TextCNN: ZooModel {
  static let architecture = Architecture(
    name: "text-cnn", summary: "convolutions over the tokens of a text, and the largest of each",
    paper: "Kim: Convolutional neural networks for sentence classification. EMNLP 2014",
    input: .tokens,
    options: [
      ModelOption("vocabulary", .integer(1...1_000_000), default: 30_522, "how many tokens there are"),
      ModelOption("width", .integer(1...16_384), default: 64, "the numbers that stand for a token"),
      ModelOption("kernels", .integers(1...64, count: 16), default: [3, 4, 5], "how many tokens windows have"),
      ModelOption("filters", .integer(1...65_536), default: 100, "the filters for each kind of window"),
      ModelOption("padding", .integer(0...1_000_000), default: 0, "the token that texts are filled up with"),
      ModelOption("dropout", .number(0...0.99), default: 0.0, "the part to drop in training, before the classifier"),
    ],
    classifier: "classifier",
    build: { try TextCNN($0) })

  public let embedding: Embedding
  public let convolutions: [Conv1d]
  public let lastFeatures = TapPoint()
  public let pooling: any Layer = Identity()
  public let dropout: Dropout?
  public let classifier: any Layer
  private let padding: Int

  init(_ builder: ModelBuilder) throws {
    let (vocabulary, width) = (try builder.integer("vocabulary"), try builder.integer("width"))
    let (kernels, filters) = (try builder.integers("kernels"), try builder.integer("filters"))
    padding = try builder.integer("padding")
    guard padding < vocabulary else {
      throw ModelError(["padding is token \(padding), but text-cnn has \(vocabulary) tokens"])
    }
    embedding = try builder.embedding(vocabulary, width, standardDeviation: 0.1, padding: padding)
    convolutions = try kernels.map { kernel in
      try builder.count([filters, width, kernel])
      return try Conv1d(width, filters, kernel: kernel, padding: kernel / 2)
    }
    dropout = try builder.dropout()
    classifier = try builder.classifier(kernels.count * filters)
  }

  public func features(of input: Tensor) throws -> Tensor {
    let length = input.rank == 2 ? try input.size(1) : 0
    guard length > 0 else {
      throw TorchError(operation: "text-cnn", shapes: [input.shape], message: "tokens must be [N, L]")
    }
    let tokens = try input.to(.int64)
    let isText = try tokens.differs(from: Double(padding)).to(.float32).expandedDimension(at: 1)
    let rows = try embedding(tokens).transposed(1, 2) * isText
    // After ReLU nothing is below zero, so that a window around padding, set to zero, is never the largest.
    let largest = try convolutions.map { convolution in
      let windows = try convolution(rows).sliced(2, from: 0, to: length)
      return try (windows.relu() * isText).maximum(along: 2)
    }
    return try Tensor.concatenated(largest, along: 1)
  }

  public func classify(_ features: Tensor) throws -> Tensor { try classifier(dropout?(features) ?? features) }
}
