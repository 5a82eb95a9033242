import DistillData
import DistillModels
import DistillRuntime
import Distillation
import Foundation
import Testing
import Torch

@testable import DistillRecipes

/// Whole runs on texts with classes.
@Suite("Runs on texts with classes", .serialized)
struct LabelledTextRunTests {
  private func withTexts<Value>(_ body: (String) throws -> Value) throws -> Value {
    try RunRecipe.withFolder { folder in
      try LabelledTextSample.write(to: folder)
      return try body(folder)
    }
  }

  private func configuration(_ text: String, in folder: String) throws -> Configuration {
    try Configuration.parse(text: text.replacing("FOLDER", with: folder))
  }

  private static let layers = """
    {model: {\(LabelledTextSample.encoder), depth: 1}, copy: [bert.embeddings, {map: last 1, student: "bert.encoder.layer.{}", teacher: "bert.encoder.layer.{}"}]}
    """
  private static let triple = """
    [{soft_targets: {temperature: 2, weight: 5}}, {hard_labels: {weight: 2}}, \
    {cosine_hidden_states: {layers: {map: last 1, student: "bert.encoder.layer.{}", teacher: "bert.encoder.layer.{}"}}}]
    """

  @Test("Classes are called balanced where the largest has no more than twice the examples of the smallest")
  func balance() throws {
    try withTexts { folder in
      func balance(_ nature: Int, _ software: Int) throws -> String? {
        let rows = Array(repeating: "fish,nature", count: nature) + Array(repeating: "disk,software", count: software)
        try RunRecipe.write("text,label\n" + rows.joined(separator: "\n") + "\n", to: "\(folder)/texts/train.csv")
        let recipe = try configuration(LabelledTextSample.recipe("validation: 0"), in: folder)
        return Preflight.of(recipe, folder: "\(folder)/run").findings.first { $0.text.contains("classes are") }?.text
      }
      let said = try [balance(16, 8), balance(16, 7), balance(16, 1)]
      #expect(
        said == [
          "classes are balanced: 8 to 16 examples of each to train on",
          "classes are of unlike sizes: 7 to 16 examples of each to train on",
          "the classes are far from balanced: from 1 to 16 examples. Accuracy hides the small ones",
        ])
    }
  }

  @Test("A network of windows learns from a transformer that the run trains, and its folder can read texts")
  func windows() throws {
    try withTexts { folder in
      let run = "\(folder)/run"
      let data = try RunRecipe.run(try configuration(LabelledTextSample.recipe(), in: folder), in: run).data
      // The first word of a text says its class.
      #expect(try #require(data.teacher?.scores.accuracy) > 0.9)
      let student = ModelFolder("\(run)/student")
      #expect(student.tokenizerFiles == ["tokenizer.json"])
      #expect(ModelFolder("\(run)/teacher").tokenizerFiles == ["tokenizer.json"])
      #expect(try student.description().labels == ["nature", "software"])

      let texts = ["fish and fish", "the code of the port", "rain"].enumerated().map { ("\(folder)/\($0).txt", $1) }
      for (path, text) in texts { try RunRecipe.write(text, to: path) }
      try RunRecipe.write(" \n", to: "\(folder)/empty.txt")
      guard case .texts = try ModelPrediction.reading(run) else {
        Issue.record("files are no texts for it")
        return
      }
      let said = try ModelPrediction(model: "\(run)/teacher", classifying: texts.map(\.0) + ["\(folder)/empty.txt"])
      #expect(said.items.map { $0.top.first?.name } == ["nature", "software", "nature", nil])
      #expect(said.problems.count == 1 && said.problems[0].contains("has no text"))

      // From a catalog's name instead of the run's recipe.
      let own = try ModelEvaluation(model: run, on: DataChoice())
      let choice = DataChoice(dataset: "labelled-text", path: "\(folder)/texts")
      let other = try ModelEvaluation(model: run, on: choice)
      #expect(own.examples == 32 && own.scores.accuracy == other.scores.accuracy)
      #expect(own.classes.map(\.name) == ["nature", "software"])
    }
  }

  @Test("A layer of the teacher's, with the losses of DistilBERT: asked for the tokens of texts alone")
  func layers() throws {
    try withTexts { folder in
      let recipe = try configuration(
        LabelledTextSample.recipe(student: Self.layers, terms: Self.triple), in: folder)
      let data = try RunRecipe.run(recipe, in: "\(folder)/run").data
      let job = try #require(
        try FileManager.default.contentsOfDirectory(atPath: "\(folder)/run/jobs").first { $0.hasPrefix("distilled") })
      let rounds = EventLog(path: "\(folder)/run/jobs/\(job)/events.jsonl").rounds()
      let parts = try #require(rounds.last).parts
      #expect(Set(parts.keys) == ["soft_targets", "hard_labels", "cosine_hidden_states"])
      #expect(data.settings.count == 1 && rounds.count == 6)
    }
  }

  /// Batches of other lengths, a cache whose layers are of the whole length, and no cache, end in nearly the same student.
  @Test func aCacheOfLayersTeachesAsTheTeacherDoes() throws {
    try withTexts { folder in
      let terms = """
        [{soft_targets: {temperature: 2}}, hard_labels, \
        {cosine_hidden_states: {layers: [{student: bert.encoder.layer.0, teacher: bert.encoder.layer.1}]}}]
        """
      let text = LabelledTextSample.recipe(student: Self.layers, terms: terms, more: "compare: false")
      _ = try RunRecipe.run(try configuration(text, in: folder), in: "\(folder)/live")
      let given = text.replacing(
        "training: {epochs: 6, batch_size: 16, optimizer: {kind: adamw, learning_rate: 1e-2}}\nstudent",
        with: "weights: FOLDER/live/teacher\nstudent")
      var options = Labelling.Options()
      options.features = ["bert.encoder.layer.1"]
      _ = try Labelling(try configuration(given, in: folder)).make(in: "\(folder)/cache", options)
      let cached = given.replacing(
        "weights: FOLDER/live/teacher", with: "cache: FOLDER/cache\n  weights: FOLDER/live/teacher")
      _ = try RunRecipe.run(try configuration(cached, in: folder), in: "\(folder)/cached")
      let models = try ["live", "cached"].map { try ModelFolder("\(folder)/\($0)/student").load().model }
      let data = try LabelledTexts(tokenizer: "\(folder)/tokenizer", length: 16).load("\(folder)/texts").test
      let logits = try models.map { try EvaluationSet(data, normalization: nil).logits(of: $0) }
      #expect(try (logits[0] - logits[1]).absolute().maximum().item() < 0.05)
    }
  }

  @Test("A tokenizer that does not fit a model, and a model that reads no texts, are refused before any training")
  func misfits() throws {
    try withTexts { folder in
      func message(_ text: String) -> String {
        do {
          _ = try RunRecipe.run(try configuration(text, in: folder), in: "\(folder)/run")
          return "no problem"
        } catch { return "\(error)" }
      }
      let plain = LabelledTextSample.recipe()
      #expect(
        message(plain.replacing("text-cnn, vocabulary: 14", with: "text-cnn, vocabulary: 9"))
          .contains("the student knows 9 tokens, but the tokenizer of the data has 14"))
      #expect(
        message(plain.replacing("text-cnn, vocabulary: 14", with: "text-cnn, vocabulary: 14, padding: 3"))
          .contains("takes token 3 for padding, but the tokenizer of the data fills texts up with 0"))
      #expect(
        message(LabelledTextSample.recipe(student: "{model: {architecture: mlp, hidden: [4]}}"))
          .contains("the student is a mlp, which does not read whole texts: take bert or text-cnn"))
      #expect(message(plain.replacing(", tokenizer: FOLDER/tokenizer", with: "")).contains("data.tokenizer is missing"))
      #expect(
        message(plain.replacing("FOLDER/tokenizer", with: "FOLDER/none")).contains("none does not exist"))
      try RunRecipe.write("text,label\na,x\n", to: "\(folder)/one/train.csv")
      try RunRecipe.write("text,label\na,x\n", to: "\(folder)/one/test.csv")
      #expect(message(plain.replacing("FOLDER/texts", with: "FOLDER/one")).contains("train.csv has 1 class"))
    }
  }

  @Test func moreTextsWithoutClassesAreShown() throws {
    try withTexts { folder in
      try RunRecipe.write("text\nfish\nthe port\n", to: "\(folder)/more.csv")
      let recipe = try configuration(LabelledTextSample.recipe("also: [{path: FOLDER/more.csv}]"), in: folder)
      let materials = try Materials(recipe)
      #expect(materials.joined.count == 98 && materials.joined.label(at: 97) == -1)
      #expect(materials.joined.textLength(at: 97) == 2)
      #expect(try materials.examples(recipe.data, seed: 1).transfer.contains(97))
    }
  }

  @Test func aFileOfItsOwnIsWhatIsChosenBy() throws {
    try withTexts { folder in
      try RunRecipe.write(
        "text,label\nfish,nature\ncode,software\nport,software\n", to: "\(folder)/texts/validation.csv")
      let materials = try Materials(try configuration(LabelledTextSample.recipe(), in: folder))
      #expect(materials.split.validation == [96, 97, 98] && materials.split.train == Array(0..<96))
    }
  }
}
