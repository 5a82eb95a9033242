import Foundation
import Testing

/// Models of texts leave quantized, calibrated with texts wherever they are named.
@Suite("Quantized models of texts with the command", .serialized)
struct QuantizedTextCommandTests {
  /// What an export says of its quantization.
  private func quantization(_ arguments: [String], in folder: String) throws -> [String: Any] {
    let outcome = try Command.run(
      ["export"] + arguments + ["-o", "x.onnx", "--force", "--quantize", "int8", "--no-verify", "--json"], in: folder)
    #expect(outcome.code == 0, "\(outcome.everything)")
    return try #require(try outcome.object()["quantization"] as? [String: Any])
  }

  @Test("A model that knows classes of texts, with the run's texts, those of a table, and those in lines")
  func classes() throws {
    try withFolder { folder in
      try write(
        """
        {"model": {"type": "WordLevel", "unk_token": "[UNK]",
          "vocab": {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3, "a": 4, "film": 5}},
        "pre_tokenizer": {"type": "WhitespaceSplit"}}
        """, to: "\(folder)/tokenizer/tokenizer.json")
      let texts = (0..<60).map { "a film \($0 % 2 == 0 ? "good" : "bad")" }
      let rows = texts.map { #"{"text": "\#($0)", "label": "\#($0.hasSuffix("good") ? "good" : "bad")"}"# }
      try write(rows.joined(separator: "\n"), to: "\(folder)/texts/train.jsonl")
      try write(rows.prefix(20).joined(separator: "\n"), to: "\(folder)/texts/test.jsonl")
      try write(texts.joined(separator: "\n"), to: "\(folder)/lines.txt")
      try write(
        """
        seeds: [1]
        threads: 1
        data: {dataset: labelled-text, path: texts, tokenizer: tokenizer, length: 8, validation: 0.2}
        student: {model: {architecture: text-cnn, vocabulary: 6, width: 4, kernels: 2, filters: 4}}
        teacher:
          model: {architecture: bert, vocabulary: 6, depth: 1, width: 8, heads: 2, pooling: mean}
          training: {epochs: 1, batch_size: 16}
        training: {epochs: 1, batch_size: 16}
        """, to: "\(folder)/recipe.yaml")
      let run = try Command.run(["run", "recipe.yaml", "-o", "run", "--quiet"], in: folder)
      try #require(run.code == 0, "\(run.everything)")
      let own = try quantization(["run"], in: folder)
      #expect(own["calibration_examples"] as? Int == 48)
      #expect((own["verified_on"] as? String)?.contains("validation split") == true)
      let products = (own["quantized"] as? [String: Any])?["embeddings"] as? Int
      #expect(products == 1)
      let table = try quantization(
        ["run/teacher", "--calibrate", "labelled-text", "--path", "texts", "--calibration-examples", "20"], in: folder)
      #expect(table["calibration_examples"] as? Int == 20)
      #expect((table["verified_on"] as? String)?.contains("training split") == true)
      let lines = try quantization(["run", "--calibrate", "lines.txt"], in: folder)
      #expect(lines["calibration"] as? String == "the texts in lines.txt")
      #expect(lines["calibration_examples"] as? Int == 30)
    }
  }

  @Test("A model that writes, with the run's text and with another one")
  func writing() throws {
    try withFolder { folder in
      let line = "the teacher says what a student learns, and the student writes it down.\n"
      try write(String(repeating: line, count: 60), to: "\(folder)/text.txt")
      try write(
        """
        seeds: [1]
        threads: 1
        data: {dataset: text, path: text.txt, length: 24}
        teacher:
          model: {architecture: decoder, depth: 1, width: 16, heads: 2}
          training: {steps: 10, batch_size: 16}
        student: {model: {architecture: decoder, depth: 1, width: 8, heads: 2}}
        training: {steps: 10, batch_size: 16}
        """, to: "\(folder)/recipe.yaml")
      let run = try Command.run(["run", "recipe.yaml", "-o", "run", "--quiet"], in: folder)
      try #require(run.code == 0, "\(run.everything)")
      let own = try quantization(["run", "--calibration-examples", "10"], in: folder)
      #expect(own["calibration_examples"] as? Int == 10)
      // Query, key and value in one, output, two of the feed-forward part, and the classifier, which is the table.
      let quantized = try #require(own["quantized"] as? [String: Any])
      #expect(quantized["products"] as? Int == 5 && quantized["embeddings"] as? Int == 1)
      let named = try quantization(["run", "--calibrate", "text", "--path", "text.txt"], in: folder)
      #expect((named["calibration"] as? String)?.contains("text.txt") == true)
      let refused = try Command.run(
        ["export", "run", "-o", "y.onnx", "--quantize", "int8", "--calibrate", "text.txt"], in: folder)
      #expect(refused.code == 2 && refused.errors.contains("--calibrate text --path text.txt"))
    }
  }
}
