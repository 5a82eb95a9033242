import DistillModels
import TestSupport
import Testing
import Torch
import TorchNN

/// What the transformers of the zoo do beside their numbers, which are compared with other libraries' in
/// `ForeignModelTests`.
@Suite struct TransformerTests {
  private static func make(
    _ architecture: String, _ options: [String: OptionValue], _ shape: [Int], classes: Int = 5
  ) throws -> any FeatureClassifier {
    try withRandomStream(RandomStream(seed: 4, name: architecture)) {
      let model = try ModelZoo.make(
        ModelSpecification(architecture, options, inputShape: shape, classCount: classes))
      // Larger than they begin, so that every part counts.
      try withoutGradient { for tensor in model.parameters where tensor.rank > 1 { try tensor.multiply(by: 20) } }
      model.eval()
      return model
    }
  }

  private static func problem(_ architecture: String, _ options: [String: OptionValue], _ shape: [Int]) -> String {
    do { _ = try make(architecture, options, shape) } catch { return "\(error)" }
    return ""
  }

  private static let encoder: [String: OptionValue] = [
    "vocabulary": 20, "depth": 2, "width": 8, "heads": 2, "length": 12, "separator": 3,
  ]

  private static func encoder(_ more: [String: OptionValue] = [:], classes: Int = 5) throws -> any FeatureClassifier {
    try make("bert", encoder.merging(more) { $1 }, [6], classes: classes)
  }

  private static func tokens(_ rows: [[Int]]) throws -> Tensor {
    try Tensor(rows.flatMap { $0.map { Float($0) } }, shape: [rows.count, rows[0].count])
  }

  @Test(arguments: ["tanh", "relu", "first", "mean"], [false, true])
  func paddingChangesNothing(pooling: String, placesAfterPadding: Bool) throws {
    let model = try Self.encoder(["pooling": .text(pooling), "places_after_padding": .flag(placesAfterPadding)])
    let short = try model(Self.tokens([[2, 7, 8, 3]]))
    let long = try model(Self.tokens([[2, 7, 8, 3, 0, 0, 0, 0], [2, 7, 8, 3, 9, 10, 11, 3]]))
    try assertClose(long.sliced(0, from: 0, to: 1), short, relative: 1e-5, absolute: 1e-6)
    #expect(try (long.sliced(0, from: 1, to: 2) - short).absolute().maximum().item() > 1e-3)
  }

  /// A text of padding alone, as a summary shows it, gives numbers all the same.
  @Test(arguments: ["tanh", "mean"])
  func paddingAloneIsFinite(pooling: String) throws {
    let model = try Self.encoder(["pooling": .text(pooling)])
    let output = try model(Self.tokens([[0, 0, 0]]))
    #expect(try output.isFinite().all())
  }

  @Test func noTokenAttendsToPadding() throws {
    let model = try Self.encoder()
    let place = "bert.encoder.layer.1.attention.self"
    let taps = ["probabilities", "scores", "queries", "values"].map { Tap("\(place).\($0)") }
    let input = try Self.tokens([[2, 7, 8, 3, 0, 0]])
    let trace = try model.trace(input, taps: taps)
    let shares = try trace.activation(at: taps[0])
    #expect(shares.shape == [1, 2, 6, 6])
    #expect(try shares.sliced(3, from: 4, to: 6).maximum().item() == 0)
    try assertClose(shares.sum(along: 3), Tensor.ones([1, 2, 6]), relative: 0, absolute: 1e-5)
    #expect(try trace.activation(at: taps[2]).shape == [1, 6, 8])
    // Tapped attention is computed in steps; it is the same.
    try assertClose(trace.output, model(input), relative: 1e-4, absolute: 1e-5)
  }

  /// Behind the first separator tokens are of the second type: with embeddings of both types alike, nothing changes.
  @Test func theSecondTextOfAPairIsOfAnotherType() throws {
    let pair = try Self.tokens([[2, 7, 3, 8, 9, 3]])
    let single = try Self.tokens([[2, 7, 8, 9, 5, 3]])
    let model = try Self.encoder()
    let types = try #require(model.state.first { $0.name.hasSuffix("token_type_embeddings.weight") }).tensor
    let before = try (pair: model(pair), single: model(single))
    try withoutGradient { try types.selected(0, 1).copy(from: types.selected(0, 0)) }
    #expect(try (model(pair) - before.pair).absolute().maximum().item() > 1e-3)
    #expect(try model(single).floats() == before.single.floats())
  }

  @Test func embeddingsMayHaveLengthOne() throws {
    let options: [String: OptionValue] = ["pooling": "mean", "head": "unit-embedding"]
    let model = try Self.encoder(options, classes: 8)
    let rows = try model(Self.tokens([[2, 7, 3], [2, 9, 3]]))
    try assertClose(rows.norm(along: 1), Tensor.ones([2]), relative: 0, absolute: 1e-5)
    let plain = try Self.encoder(["pooling": "mean", "head": "embedding"], classes: 8)
    let row = try plain(Self.tokens([[2, 7, 3]]))
    #expect(try abs(row.norm().item() - 1) > 1e-3)
  }

  @Test func transformersSayWhatDoesNotFit() throws {
    let bert = { (more: [String: OptionValue]) in Self.problem("bert", Self.encoder.merging(more) { $1 }, [6]) }
    #expect(bert(["heads": 3]).contains("3 heads do not divide the width 8"))
    #expect(bert(["padding": 20]).contains("padding is token 20, but bert has 20 tokens"))
    #expect(bert(["separator": 20, "length": 5]).contains("separator is token 20"))
    #expect(bert(["separator": 20, "length": 5]).contains("its inputs have 6 tokens; raise length"))
    #expect(bert(["types": 1]).contains("types is 1"))
    #expect(bert(["head": "embedding"]).contains("gives rows of its width 8, not of 5"))
    #expect(Self.problem("vit", ["patch": 5], [3, 8, 8]).contains("patches of 5 pixels do not divide images of 8 × 8"))
    #expect(Self.problem("vit", ["patch": 4, "heads": 5], [3, 8, 8]).contains("5 heads do not divide the width 192"))
    #expect(Self.problem("llama", ["width": 9, "heads": 2], [6]).contains("2 heads do not divide the width 9"))
    #expect(Self.problem("llama", ["head_width": 3], [6]).contains("has 3 numbers; it needs pairs"))
    #expect(Self.problem("llama", ["key_heads": 3], [6]).contains("3 key_heads do not divide the 4 heads"))
    let encoder = try Self.encoder()
    #expect(throws: TorchError.self) { try encoder(Tensor.zeros([1, 13])) }
    #expect(throws: TorchError.self) { try encoder(Tensor.full([1, 3], 20)) }
    let vit = try Self.make("vit", ["patch": 4, "depth": 1, "width": 8, "heads": 2], [3, 8, 8])
    #expect(throws: TorchError.self) { try vit(Tensor.zeros([1, 3, 12, 12])) }
  }

  /// Token by token, in pieces, and all at once: the same logits.
  @Test(arguments: [[1, 1, 1, 1, 1, 1], [6], [3, 3], [2, 1, 3], [1, 5]])
  func aCacheChangesNothingForLlama(pieces: [Int]) throws {
    let made = try Self.make("llama", ["depth": 2, "width": 8, "heads": 4, "key_heads": 2], [7])
    let model = try #require(made as? any GenerativeLayer)
    let input = try Self.tokens([[1, 2, 3, 4, 0, 2], [4, 4, 1, 0, 3, 3]])
    try withoutGradient {
      let whole = try model(input)
      let cache = model.makeCache()
      var start = 0
      var parts: [Tensor] = []
      for count in pieces {
        parts.append(try model.forward(input.sliced(1, from: start, to: start + count), cache: cache))
        start += count
      }
      try assertClose(Tensor.concatenated(parts, along: 1), whole, relative: 1e-4, absolute: 1e-5)
      #expect(throws: TorchError.self) { try model.forward(Tensor.zeros([2, 2]), cache: cache) }
    }
  }

  @Test func llamaLooksBackOnlyAndByDistance() throws {
    let model = try Self.make("llama", ["depth": 2, "width": 8, "heads": 2], [8])
    let first = try model(Self.tokens([[1, 2, 3, 4]]))
    let changed = try model(Self.tokens([[1, 2, 3, 0]]))
    try assertClose(first.sliced(1, from: 0, to: 3), changed.sliced(1, from: 0, to: 3), relative: 0, absolute: 1e-6)
    // One token alone says the same wherever it stands: its attention is to itself.
    let alone = try model(Self.tokens([[1, 1, 1, 1]]))
    try assertClose(alone.selected(1, 0), alone.selected(1, 3), relative: 1e-4, absolute: 1e-5)
    #expect(
      try (model(Self.tokens([[1, 2, 3]])) - model(Self.tokens([[2, 1, 3]]))).selected(1, 2).norm().item() > 1e-3)
  }

  @Test func tiedWeightsAreOne() throws {
    let options: [String: OptionValue] = ["depth": 1, "width": 8, "heads": 2]
    let free = try Self.make("llama", options, [6])
    let tied = try Self.make("llama", options.merging(["tied": true]) { $1 }, [6])
    #expect(free.parameterCount - tied.parameterCount == 5 * 8)
    #expect(!tied.namedParameters.contains { $0.name == "lm_head.weight" })
  }
}
