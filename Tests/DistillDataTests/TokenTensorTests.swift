import DistillData
import DistillTokenizers
import Testing
import Torch

@Suite struct TokenTensorTests {
  private func tokenizer() throws -> Tokenizer {
    let json = """
      {"model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "[PAD]": 1, "a": 2, "b": 3}},
      "pre_tokenizer": {"type": "WhitespaceSplit"}}
      """
    return try Tokenizer(json: Array(json.utf8))
  }

  @Test func rowsBecomeMatrices() throws {
    let tensors = try tokenizer().encode(["a b c", "b"], pairs: ["a", "b"]).tensors()
    #expect(tensors.ids.shape == [2, 4] && tensors.ids.dtype == .int64)
    #expect(try tensors.ids.array(of: Int.self) == [2, 3, 0, 2, 3, 3, 1, 1])
    #expect(try tensors.attentionMask.array(of: Int.self) == [1, 1, 1, 1, 1, 1, 0, 0])
    #expect(try tensors.typeIDs.array(of: Int.self) == [0, 0, 0, 1, 0, 1, 0, 0])
  }

  @Test func textsWithClassesAreADataset() throws {
    var tokenizer = try tokenizer()
    let texts = ["a b a", "b", "a a"]
    var data = try ClassifiedTexts(
      name: "texts", texts: texts, labels: [1, 0, -1], classNames: ["no", "yes"], tokenizer: tokenizer)
    #expect(data.exampleShape == [3] && data.count == 3 && data.classNames == ["no", "yes"] && !data.isImage)
    #expect(try data.values(at: 0) == [2, 3, 2] && data.values(at: 1) == [3, 1, 1])
    #expect((0..<3).map { data.label(at: $0) } == [1, 0, -1])
    tokenizer.maximumLength = 2
    data = try ClassifiedTexts(name: "texts", texts: texts, labels: [0, 0, 0], tokenizer: tokenizer)
    #expect(try data.exampleShape == [2] && data.values(at: 0) == [2, 3])
    data = try ClassifiedTexts(
      name: "texts", texts: texts, pairs: texts, labels: [0, 0, 0], tokenizer: tokenizer, length: 4)
    #expect(try data.values(at: 0) == [2, 3, 2, 3] && data.values(at: 1) == [3, 3, 1, 1])
    #expect(throws: DataError.self) { try ClassifiedTexts(name: "x", texts: ["a"], labels: [], tokenizer: tokenizer) }
    #expect(throws: DataError.self) { try ClassifiedTexts(name: "x", texts: [], labels: [], tokenizer: tokenizer) }
    #expect(throws: DataError.self) { try ClassifiedTexts(name: "x", texts: [""], labels: [0], tokenizer: tokenizer) }
  }

  @Test func rowsOfDifferentLengthsAreRefused() throws {
    let tokenizer = try tokenizer()
    #expect(throws: DataError.self) { try tokenizer.encode(["a b", "a"], padding: .none).tensors() }
    #expect(throws: DataError.self) { try tokenizer.encode([]).tensors() }
  }
}
