import DistillData
import DistillTokenizers
import Foundation
import Torch

// What recipes say of texts with a class for each.

extension Configuration {
  /// How texts with a class for each become examples.
  public struct LabelledTextForm: Sendable, Equatable {
    /// The column of the texts.
    public var textColumn: String
    /// That of second texts, where pairs are classified.
    public var pairColumn: String?
    /// The folder with the files of the tokenizer; where the recipe names none, that of the teacher, or of what the student
    /// begins with. nil where neither has one.
    public var tokenizer: String?
    /// How many tokens an example has.
    public var length: Int
  }

  /// The folder of a model that the recipe names and that has a tokenizer: the teacher's before the student's.
  static func usualTokenizer(_ teacher: Teacher?, _ student: Student) -> String? {
    let weights = (teacher?.members ?? []).map(\.weights) + [student.weights]
    return weights.compactMap(\.self)
      .map { FilePath.name(of: $0) == "model.safetensors" ? FilePath.folder(of: $0) : $0 }
      .first { Tokenizer.isThere($0) }
  }
}

extension Configuration.LabelledTextForm {
  /// - Parameter dataset: whose texts they are; of others than `labelled-text` there are none, and keys for them problems
  init?(_ map: RecipeMap, dataset: String) {
    guard dataset == "labelled-text" else {
      for key in ["text_column", "pair_column", "tokenizer"] where map.contains(key) {
        map.report(
          key, "\(map.path(to: key)) is for the dataset 'labelled-text', not '\(dataset)'", hint: "leave it out")
        _ = map.value(key)
      }
      return nil
    }
    textColumn = map.text("text_column") ?? "text"
    pairColumn = map.text("pair_column")
    tokenizer = map.path("tokenizer")
    length = map.int("length", Configuration.TextForm.lengths) ?? 128
  }

  /// What reads them.
  ///
  /// - Parameter labels: the column of the classes; nil where they do not matter
  /// - Throws: `RunError` when there is no tokenizer.
  func reader(labels: String?, testFraction: Double) throws -> LabelledTexts {
    guard let tokenizer else {
      throw RunError(
        "data.tokenizer is missing, and neither the teacher nor the student begins with a folder that has one: name a "
          + "folder with tokenizer.json or vocab.txt")
    }
    guard FileManager.default.fileExists(atPath: tokenizer) else {
      throw RunError("data.tokenizer: \(tokenizer) does not exist\(whereLookedFor(tokenizer))")
    }
    return LabelledTexts(
      columns: TextColumns(text: textColumn, pair: pairColumn, label: labels), tokenizer: tokenizer, length: length,
      testFraction: testFraction)
  }
}
