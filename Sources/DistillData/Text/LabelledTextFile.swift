import Foundation
import Torch

/// Which columns of a table, or keys of a line of JSON, hold texts and classes.
public struct TextColumns: Sendable, Equatable {
  public var text: String
  /// A second text, where pairs are classified.
  public var pair: String?
  /// nil where classes do not matter.
  public var label: String?

  public init(text: String = "text", pair: String? = nil, label: String? = "label") {
    self.text = text
    self.pair = pair
    self.label = label
  }

  fileprivate var all: [String] { [text] + [pair, label].compactMap(\.self) }
}

/// A text of a file, with its class.
struct LabelledText: Sendable, Equatable {
  var text: String
  var pair: String?
  var label: String?
  /// Where it begins in the file, counted from 1.
  var line: Int
}

/// Reads texts with a class for each: from a table (CSV) whose first line names the columns, or from lines of JSON.
enum LabelledTextFile {
  static let kinds = ["csv", "jsonl"]

  /// All texts of a file, in their order.
  ///
  /// - Throws: `DataError` that names the line and column of what is missing, empty or no UTF-8.
  static func read(_ path: String, _ columns: TextColumns) throws -> [LabelledText] {
    let bytes = try TextFiles.read(path, options: .mappedIfSafe)
    try checkUTF8(bytes, path)
    var rows = Rows(columns: columns, file: path)
    switch FilePath.kind(of: path).lowercased() {
    case "csv": try readTable(bytes, path, columns, &rows)
    case "jsonl": readLines(bytes, columns, &rows)
    default:
      throw DataError(
        file: path, "is neither a table nor lines of JSON", remedy: "Its name has to end in .csv or .jsonl")
    }
    return try rows.finish()
  }

  private static func checkUTF8(_ bytes: Data, _ path: String) throws {
    guard String(validating: bytes, as: UTF8.self) == nil else { return }
    let line = bytes.split(separator: 10, omittingEmptySubsequences: false)
      .firstIndex { String(validating: $0, as: UTF8.self) == nil }
    throw DataError(
      file: path, "line \((line ?? 0) + 1) is not UTF-8", remedy: "Convert the file, such as with iconv -t UTF-8")
  }

  // MARK: Tables

  private static func readTable(_ bytes: Data, _ path: String, _ columns: TextColumns, _ rows: inout Rows) throws {
    try bytes.withUnsafeBytes { bytes in
      var lines = CSVLines(bytes, separator: UInt8(ascii: ","), file: path)
      guard let header = try lines.next() else { throw DataError(file: path, "is empty") }
      var places: [String: Int] = [:]
      for name in columns.all {
        let found = header.cells.indices.filter { header.cells[$0] == name }
        guard found.count == 1 else {
          throw DataError(
            file: path, "has \(found.isEmpty ? "no column" : "several columns") called \"\(name)\"",
            remedy: "Line \(header.number) has to name the columns; it says "
              + header.cells.prefix(20).map { String($0.prefix(40)) }.joined(separator: ", "))
        }
        places[name] = found[0]
      }
      while let line = try lines.next() {
        guard line.cells.count == header.cells.count else {
          rows.report(
            "line \(line.number) has \(line.cells.count) cells, but line \(header.number) has \(header.cells.count)")
          continue
        }
        rows.add(line.number) { name in places[name].map { line.cells[$0] } }
      }
    }
  }

  // MARK: Lines of JSON

  /// What may stand behind a key.
  private enum Cell: Decodable {
    case text(String)
    case other

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let text = try? container.decode(String.self) {
        self = .text(text)
      } else if let number = try? container.decode(Int.self) {
        self = .text("\(number)")
      } else {
        self = .other
      }
    }
  }

  private static func readLines(_ bytes: Data, _ columns: TextColumns, _ rows: inout Rows) {
    let decoder = JSONDecoder()
    for (index, line) in bytes.split(separator: 10, omittingEmptySubsequences: false).enumerated()
    where !line.allSatisfy({ [9, 13, 32].contains($0) }) {
      guard let cells = try? decoder.decode([String: Cell].self, from: line) else {
        rows.report("line \(index + 1) is no JSON object")
        continue
      }
      rows.add(index + 1) { name in
        if case .text(let text)? = cells[name] { text } else { nil }
      }
    }
  }

  /// What was read so far.
  private struct Rows {
    let columns: TextColumns
    let file: String
    private var problems: LineProblems
    private var texts: [LabelledText] = []

    init(columns: TextColumns, file: String) {
      self.columns = columns
      self.file = file
      problems = LineProblems(file: file)
    }

    mutating func report(_ problem: String) { problems.report(problem) }

    /// - Parameter cell: what stands in a column; nil where there is none
    mutating func add(_ line: Int, _ cell: (String) -> String?) {
      var found: [String: String] = [:]
      for name in columns.all {
        guard let value = cell(name) else {
          problems.report("line \(line) has no \"\(name)\", or it is no text")
          return
        }
        guard value.contains(where: { !$0.isWhitespace }) else {
          problems.report("line \(line) has an empty \"\(name)\"")
          return
        }
        found[name] = value
      }
      texts.append(
        LabelledText(
          text: found[columns.text] ?? "", pair: columns.pair.flatMap { found[$0] },
          label: columns.label.flatMap { found[$0] }, line: line))
    }

    func finish() throws -> [LabelledText] {
      try problems.finish()
      guard !texts.isEmpty else { throw DataError(file: file, "has no rows") }
      return texts
    }
  }
}
