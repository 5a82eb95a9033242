import DistillData
import Foundation
import Torch

/// A folder with a small tokenizer and texts of two classes, each with words of its own, from one word to twelve long.
enum LabelledTextSample {
  static let words = ["fish", "bird", "tree", "rain", "disk", "file", "port", "code", "a", "the", "of", "and"]

  /// Writes `tokenizer/tokenizer.json`, and `texts/train.csv` and `test.csv`.
  static func write(to folder: String, training: Int = 96, testing: Int = 32) throws {
    let numbers = (["[PAD]", "[UNK]"] + words).enumerated().map { "\"\($1)\": \($0)" }.joined(separator: ", ")
    try file(
      "tokenizer/tokenizer.json", in: folder,
      """
      {"model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {\(numbers)}},
      "pre_tokenizer": {"type": "WhitespaceSplit"}}
      """)
    var random = RandomSource(seed: 3, "labelled texts")
    func table(_ count: Int) -> String {
      let rows = (0..<count).map { index in
        let own = index % 2 == 0 ? 0 : 4
        // The first word says the class, and half of the others.
        var text = [words[own]]
        for _ in 0...index % 12 {
          let place = Int(random.next() % 4)
          text.append(words[random.next() % 2 == 0 ? own + place : 8 + place])
        }
        return "\(text.joined(separator: " ")),\(own == 0 ? "nature" : "software")\n"
      }
      return "text,label\n" + rows.joined()
    }
    try file("texts/train.csv", in: folder, table(training))
    try file("texts/test.csv", in: folder, table(testing))
  }

  private static func file(_ name: String, in folder: String, _ text: String) throws {
    let path = URL(fileURLWithPath: "\(folder)/\(name)")
    try FileManager.default.createDirectory(at: path.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: path)
  }

  static let encoder = "architecture: bert, vocabulary: 14, width: 8, heads: 2, pooling: mean, length: 32"

  /// FOLDER stands for the folder.
  static func recipe(
    _ data: String = "", student: String = "{model: {architecture: text-cnn, vocabulary: 14, width: 8, filters: 4}}",
    terms: String = "[{soft_targets: {temperature: 2}}, hard_labels]", training: String = "", more: String = ""
  ) -> String {
    """
    name: texts
    seeds: [1]
    threads: 1
    data: {dataset: labelled-text, path: FOLDER/texts, tokenizer: FOLDER/tokenizer, length: 16\(data.isEmpty ? "" : ", \(data)")}
    teacher:
      model: {\(encoder), depth: 2}
      training: {epochs: 6, batch_size: 16, optimizer: {kind: adamw, learning_rate: 1e-2}}
    student: \(student)
    terms: \(terms)
    training: {epochs: 6, batch_size: 16, optimizer: {kind: adamw, learning_rate: 1e-2}\(training.isEmpty ? "" : ", \(training)")}
    \(more)
    """
  }
}
