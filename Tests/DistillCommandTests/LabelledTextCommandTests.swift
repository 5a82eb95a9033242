import Foundation
import Testing

/// Texts with classes with the command: checked, distilled, compared, looked at, and bad files named.
@Suite("Texts with classes with the command", .serialized)
struct LabelledTextCommandTests {
  private static let recipe = """
    name: texts
    seeds: [1, 2]
    threads: 1
    data: {dataset: labelled-text, path: texts, tokenizer: tokenizer, length: 8, validation: 0.2}
    teacher:
      model: {architecture: bert, vocabulary: 6, depth: 1, width: 8, heads: 2, pooling: mean}
      training: {epochs: 8, batch_size: 16, optimizer: {kind: adamw, learning_rate: 1e-2}}
    student: {model: {architecture: text-cnn, vocabulary: 6, width: 4, kernels: 2, filters: 4}}
    terms: [{soft_targets: {temperature: 2}}, hard_labels]
    training: {epochs: 4, batch_size: 16, optimizer: {kind: adamw, learning_rate: 1e-2}}
    """

  private func prepare(_ folder: String) throws {
    try write(
      """
      {"model": {"type": "WordLevel", "unk_token": "[UNK]",
        "vocab": {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3, "a": 4, "film": 5}},
      "pre_tokenizer": {"type": "WhitespaceSplit"}}
      """, to: "\(folder)/tokenizer/tokenizer.json")
    let lines = (0..<60).map { index in
      let word = index % 2 == 0 ? "good" : "bad"
      let text = (["a", "film", word] + Array(repeating: "a", count: index % 4)).joined(separator: " ")
      return #"{"text": "\#(text)", "label": "\#(word)"}"#
    }
    try write(lines.joined(separator: "\n"), to: "\(folder)/texts/train.jsonl")
    try write(lines.prefix(20).joined(separator: "\n"), to: "\(folder)/texts/test.jsonl")
    try write(Self.recipe, to: "\(folder)/recipe.yaml")
  }

  @Test func fromTheCheckToThePrediction() throws {
    try withFolder { folder in
      try prepare(folder)
      let check = try Command.run(["check", "recipe.yaml"], in: folder)
      #expect(check.code == 0, "\(check.everything)")
      #expect(check.output.contains("texts of 8 tokens at most, 2 classes"))
      let run = try Command.run(["run", "recipe.yaml", "-o", "run"], in: folder)
      #expect(run.code == 0, "\(run.everything)")

      let evaluation = try Command.run(["evaluate", "run", "--json"], in: folder).object()
      #expect(evaluation["examples"] as? Int == 20)
      let other = try Command.run(
        ["evaluate", "run/teacher", "--dataset", "labelled-text", "--path", "texts", "--json"], in: folder
      ).object()
      #expect((other["scores"] as? [String: Any])?["accuracy"] as? Double == 1)

      try write("a good film", to: "\(folder)/one.txt")
      try write("bad\n", to: "\(folder)/two.txt")
      let said = try Command.run(["predict", "run/teacher", "one.txt", "two.txt", "--top", "1", "--json"], in: folder)
      let items = try #require(try said.object()["items"] as? [[String: Any]])
      let names = items.map { (($0["top"] as? [[String: Any]])?.first)?["name"] as? String }
      #expect(said.code == 0 && names == ["good", "bad"], "\(said.everything)")
      let missing = try Command.run(["predict", "run/teacher", "one.txt", "none.txt"], in: folder)
      #expect(missing.code == 2 && missing.output.contains("one.txt") && missing.errors.contains("none.txt"))

      let lesson = try Command.run(["explain", "run", "--class", "good"], in: folder)
      #expect(lesson.code == 0, "\(lesson.everything)")
      let comparison = try Command.run(["compare", "run", "-o", "comparison"], in: folder)
      #expect(comparison.code == 0, "\(comparison.everything)")
    }
  }

  @Test(
    "Bad files are refused with one message, by the check and by the run",
    arguments: [
      ("train", #"{"text": "a"}"#, #"train.jsonl: line 1 has no "label""#),
      ("train", #"{"text": " ", "label": "bad"}"#, #"train.jsonl: line 1 has an empty "text""#),
      (
        "test", #"{"text": "a", "label": "fair"}"#,
        #"test.jsonl: line 1 has the label "fair", which is not a known class"#
      ),
      ("train", #"{"text": "a", "label": "bad"}"#, "train.jsonl has 1 class"),
    ])
  func badFiles(_ part: String, _ line: String, _ expected: String) throws {
    try withFolder { folder in
      try prepare(folder)
      try write(line, to: "\(folder)/texts/\(part).jsonl")
      // Of what is wrong with the file, not of what follows from it.
      if expected.contains("1 class") { try write(line, to: "\(folder)/texts/test.jsonl") }
      for command in ["check", "run"] {
        let outcome = try Command.run([command, "recipe.yaml"], in: folder)
        #expect(outcome.code == 2 && outcome.everything.contains(expected), "\(command): \(outcome.everything)")
      }
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/runs"))
    }
  }

  @Test func aModelWithoutATokenizerReadsNoTexts() throws {
    try withFolder { folder in
      try prepare(folder)
      #expect(try Command.run(["train", "recipe.yaml", "-o", "run"], in: folder).code == 0)
      try FileManager.default.removeItem(atPath: "\(folder)/run/teacher/tokenizer.json")
      let outcome = try Command.run(
        ["evaluate", "run/teacher", "--dataset", "labelled-text", "--path", "texts"], in: folder)
      #expect(outcome.code != 0 && outcome.errors.contains("has no tokenizer beside it"), "\(outcome.everything)")
    }
  }
}
