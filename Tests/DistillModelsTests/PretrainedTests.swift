import DistillModels
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// Real weights that scripts/pretrained fetches, against `transformers` and timm (scripts/fixtures/pretrained.py). Skipped
/// where they are not there.
@Suite struct PretrainedTests {
  struct Expected: Decodable {
    struct Sentences: Decodable {
      var tokens: [[Int]]
      var embeddings: [[Double]]
      var similarities: [Double]
    }
    struct Images: Decodable {
      var logits: [Double]
      var top: [Int]
    }
    var minilm: Sentences
    var lite0: Images

    init() throws {
      self = try JSONDecoder().decode(
        Self.self, from: Data(contentsOf: URL(filePath: "\(fixtureFolder)/pretrained.json")))
    }
  }

  static func folder(_ name: String) -> String {
    URL(filePath: fixtureFolder).appending(path: "../../data/models/\(name)").standardizedFileURL.path
  }

  static func isThere(_ name: String) -> Bool { ForeignModel.isThere(folder(name)) }

  static func load(_ name: String) throws -> (model: any Layer, found: ForeignModel, loaded: ForeignLoad) {
    let found = try ForeignModel(folder: folder(name))
    let model = try ModelZoo.make(found.specification)
    let loaded = try model.loadForeign(Checkpoint.read("\(folder(name))/model.safetensors"))
    model.eval()
    return (model, found, loaded)
  }

  @Test(.enabled(if: isThere("all-minilm-l6-v2"))) func sentencesLieWhereTransformersPutsThem() throws {
    let expected = try Expected().minilm
    let (model, found, loaded) = try Self.load("all-minilm-l6-v2")
    #expect(found.specification.options["separator"] == 102)
    #expect(found.specification.inputShape == [256] && found.labels.count == 384)
    #expect(loaded.unused.contains("embeddings.position_ids") && loaded.unused.contains("pooler.dense.weight"))
    let length = expected.tokens[0].count
    let input = try Tensor(expected.tokens.flatMap { $0.map { Float($0) } }, shape: [expected.tokens.count, length])
    let rows = try withoutGradient { try model(input) }
    #expect(rows.shape == [4, 384])
    for (index, embedding) in expected.embeddings.enumerated() {
      let own = try rows.selected(0, index).doubles().prefix(24)
      for (value, wanted) in zip(own, embedding) { #expect(abs(value - wanted) < 1e-5, "text \(index)") }
    }
    let similarities = try rows.matmul(rows.transposed(0, 1)).doubles()
    for (value, wanted) in zip(similarities, expected.similarities) { #expect(abs(value - wanted) < 1e-5) }
    // The two texts about archives are nearer to each other than to the fox.
    #expect(similarities[1] > similarities[2] + 0.3)
  }

  @Test(.enabled(if: isThere("efficientnet-lite0"))) func imagesAreClassifiedAsTimmDoes() throws {
    let expected = try Expected().lite0
    let (model, found, loaded) = try Self.load("efficientnet-lite0")
    #expect(loaded.spelling == "numbered blocks" && loaded.unused.isEmpty && loaded.fresh.isEmpty)
    #expect(found.labels[1].hasPrefix("goldfish"))
    #expect(found.preparation?.shorterSide == 256 && found.preparation?.interpolation == .bicubic)
    #expect(model.parameterCount == 4_652_008)
    let logits = try withoutGradient { try model(images(1, [3, 224, 224])) }.doubles()
    let chosen = stride(from: 0, to: 1000, by: 40).map { logits[$0] }
    let scale = try #require(expected.logits.map(abs).max())
    for (value, wanted) in zip(chosen, expected.logits) { #expect(abs(value - wanted) < 1e-5 * scale) }
    #expect(logits.indices.sorted { logits[$0] > logits[$1] }.prefix(5).map { $0 } == expected.top)
  }
}
