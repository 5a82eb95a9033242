import Foundation
import Torch

/// The file beside pictures that says what class each is of: `metadata.csv` or `metadata.jsonl` with the columns `file_name`
/// and `label`, as Hugging Face's `datasets` knows it for its image folders.
public enum PictureMetadata {
  /// What it is called where a program writes it.
  public static let usualName = "metadata.csv"
  static let names = [usualName, "metadata.jsonl"]
  static let nameColumn = "file_name"
  /// The column of the classes, unless another is named.
  public static let labelColumn = "label"

  /// A line: a path within the folder, and a class.
  struct Row: Equatable {
    var name: String
    var label: String
    var line: Int
  }

  /// The file of a folder; nil where it has none.
  ///
  /// - Throws: `DataError` when it has two.
  static func file(in folder: String) throws -> String? {
    let there = names.filter { FileManager.default.fileExists(atPath: "\(folder)/\($0)") }
    guard there.count <= 1 else {
      throw DataError(file: folder, "has \(there.joined(separator: " and "))", remedy: "Keep one of them")
    }
    return there.first.map { "\(folder)/\($0)" }
  }

  static func read(_ file: String, labelColumn: String) throws -> [Row] {
    try LabelledTextFile.read(file, TextColumns(text: nameColumn, label: labelColumn)).map { row in
      Row(name: row.text, label: row.label ?? "", line: row.line)
    }
  }

  /// A table of pictures with their classes and how probable these are: what `read` reads.
  public static func table(_ rows: [(name: String, label: String, probability: Double)]) -> String {
    /// Blanks around a cell are no part of it unless it stands in quotation marks.
    func cell(_ text: String) -> String {
      let isPlain = !text.contains { [",", "\"", "\n", "\r", "\r\n"].contains($0) }
      if isPlain, text.trimmingCharacters(in: .whitespaces) == text { return text }
      return "\"\(text.replacingOccurrences(of: "\"", with: "\"\""))\""
    }
    return "\(nameColumn),\(labelColumn),probability\n"
      + rows.map { "\(cell($0.name)),\(cell($0.label)),\($0.probability)\n" }.joined()
  }
}
