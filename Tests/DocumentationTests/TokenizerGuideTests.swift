import DistillData
import DistillTokenizers
import Foundation
import Testing
import Torch

@Suite struct TokenizerGuideTests {
  /// The Swift of `Guides/Tokenizers.md`, so that it compiles.
  func guide(
    texts: [String], labels: [Int], model: (Tensor, Tensor) throws -> Tensor
  ) throws -> (Tensor, ClassifiedTexts) {
    let tokenizer = try Tokenizer(folder: "MiniLM")
    let row = try tokenizer.encode("A small model.", pair: "And a second text.", maximumLength: 128)
    print(row.ids, row.typeIDs)
    print(try tokenizer.decode(row.ids))
    let batch = try tokenizer.encode(
      ["One text.", "Another one, which is longer."], maximumLength: 128, truncation: .longestFirst, padding: .longest)
    let tensors = try batch.tensors()
    let logits = try model(tensors.ids, tensors.attentionMask)
    let data = try ClassifiedTexts(
      name: "reviews", texts: texts, labels: labels, classNames: ["bad", "good"], tokenizer: tokenizer, length: 64)
    return (logits, data)
  }

  @Test func itsLinesAreThoseAbove() throws {
    let own = try Package.text("Tests/DocumentationTests/TokenizerGuideTests.swift").split(separator: "\n").map {
      $0.trimmingCharacters(in: .whitespaces)
    }
    let blocks = CodeBlock.all(in: try Package.text("Guides/Tokenizers.md")).filter { $0.kind == "swift" }
    let lines = blocks.flatMap { $0.text.split(separator: "\n") }.map { $0.trimmingCharacters(in: .whitespaces) }
    #expect(lines.count > 8)
    for line in lines where !line.isEmpty { #expect(own.contains(line), "\(line)") }
  }
}
