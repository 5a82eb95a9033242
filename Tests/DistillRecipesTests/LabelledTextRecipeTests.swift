import Foundation
import Testing

@testable import DistillRecipes

/// What recipes say of texts with a class for each: read, printed, refused.
@Suite("Texts with classes in recipes")
struct LabelledTextRecipeTests {
  private func recipe(_ text: String) throws -> Configuration { try Configuration.parse(text: text) }

  private func message(_ text: String) -> String {
    do {
      _ = try recipe(text)
      return "no problem"
    } catch { return "\(error)" }
  }

  @Test func defaults() throws {
    let data = try recipe(
      """
      data: {dataset: labelled-text, path: texts}
      student: {model: {architecture: text-cnn}}
      terms: [hard_labels]
      """
    ).data
    #expect(
      data.labelledText
        == Configuration.LabelledTextForm(
          textColumn: "text", pairColumn: nil, tokenizer: nil, length: 128))
    #expect(data.text == nil && data.normalize == .none && data.labelColumn == nil)
    #expect(try recipe(RunRecipe.text()).data.labelledText == nil)
  }

  @Test(
    "All of it is read, and printed so that it reads the same",
    arguments: [
      "text_column: body, pair_column: title, label_column: topic", "test_fraction: 0.25, validation: 10",
      "also: [{path: more.jsonl}, {path: more.csv, label_column: topic, labels: by_name}]",
    ])
  func roundTrip(_ data: String) throws {
    let first = try recipe(LabelledTextSample.recipe(data))
    let second = try recipe(first.yaml)
    #expect(first == second && first.data.labelledText?.tokenizer == "FOLDER/tokenizer")
    let text = try #require(first.data.labelledText)
    if data.hasPrefix("text_column") {
      #expect(text.textColumn == "body" && text.pairColumn == "title" && first.data.labelColumn == "topic")
    }
    if data.hasPrefix("test_fraction") { #expect(first.data.testFraction == 0.25) }
  }

  @Test(
    "What does not go together is refused",
    arguments: [
      ("unit: bytes", "data.unit is for the dataset 'text', not 'labelled-text'"),
      ("normalize: true", "data.normalize has no place here"),
      ("augmentation: [{flip: 0.5}]", "data.augmentation has no place here"),
      ("munge: {}", "data.munge is for the dataset 'csv'"),
      ("teacher_text: {}", "data.teacher_text is for texts, and the dataset is 'labelled-text'"),
      ("test_fraction: 1", "data.test_fraction"), ("image_size: 8", "data.image_size is for the dataset 'folder'"),
    ])
  func refused(_ data: String, _ expected: String) {
    #expect(message(LabelledTextSample.recipe(data)).contains(expected))
  }

  @Test(arguments: ["text_column: a", "pair_column: a", "tokenizer: a"])
  func otherDataHasNoTexts(_ key: String) {
    let text = RunRecipe.text().replacing("{dataset: digits}", with: "{dataset: digits, \(key)}")
    #expect(message(text).contains("is for the dataset 'labelled-text', not 'digits'"), "\(key)")
  }

  @Test("Without one, the tokenizer is that of the teacher's folder, or of what the student begins with")
  func usualTokenizer() throws {
    try RunRecipe.withFolder { folder in
      try LabelledTextSample.write(to: folder)
      func tokenizer(_ teacher: String, _ student: String) throws -> String? {
        try recipe(
          """
          data: {dataset: labelled-text, path: texts}
          teacher: {weights: \(teacher), model: {architecture: bert}}
          student: {weights: \(student), model: {architecture: bert}}
          terms: [soft_targets]
          """
        ).data.labelledText?.tokenizer
      }
      let there = "\(folder)/tokenizer"
      #expect(try tokenizer(there, "elsewhere") == there && tokenizer("elsewhere", there) == there)
      #expect(try tokenizer("\(there)/model.safetensors", "elsewhere") == there)
      #expect(try tokenizer("elsewhere", "elsewhere") == nil)
    }
  }

  @Test func whereTheTokenizerLiesIsInNoIdentity() throws {
    let first = try recipe(LabelledTextSample.recipe())
    let second = try recipe(LabelledTextSample.recipe().replacing("FOLDER/tokenizer", with: "OTHER/tokenizer"))
    let longer = try recipe(LabelledTextSample.recipe().replacing("length: 16", with: "length: 17"))
    #expect(try first.identity(of: [.data]) == second.identity(of: [.data]))
    #expect(try first.identity(of: [.data]) != longer.identity(of: [.data]))
    #expect(first.files.contains { $0.key == "data.tokenizer" && $0.path == "FOLDER/tokenizer" })
    let base = FileManager.default.currentDirectoryPath
    #expect(first.yamlWithAbsoluteFiles.contains("tokenizer: \(base)/FOLDER/tokenizer"))
  }
}
