import Foundation
import Torch

/// Reads tables of numbers with one column for the class of each row.
public enum CSV {
  /// Which column has the classes.
  public enum LabelColumn: Sendable, Equatable {
    case named(String)
    /// Counted from 1.
    case number(Int)
    case last
    /// There is none.
    case none

    /// A number if the text is one, otherwise a name.
    public init(_ text: String) {
      self = Int(text).map { .number($0) } ?? .named(text)
    }
  }

  /// A data set with a row of float32 for each line of the file.
  ///
  /// Cells are separated by commas and may stand in quotation marks, in which commas, line breaks and doubled quotation
  /// marks are part of the cell. Empty lines are skipped. Classes are the different cells of the label column, sorted:
  /// by value when all are whole numbers, otherwise by their letters.
  ///
  /// - Parameters:
  ///   - header: whether the first line names the columns; nil to find out: it does when the label column is given by
  ///     name, or when no cell outside of the label column is a number
  ///   - classNames: the classes in the order of their labels, such as those of the training part; nil to find them
  /// - Throws: `DataError` that names the line and the column of each cell that is no number.
  public static func read(
    _ path: String, label: LabelColumn = .last, header: Bool? = nil, separator: Character = ",",
    name: String? = nil, classNames: [String]? = nil
  ) throws -> ArrayDataset {
    guard let separator = separator.asciiValue, separator != UInt8(ascii: "\""), separator != 10, separator != 13 else {
      throw DataError("\"\(separator)\" cannot separate the cells of a table")
    }
    let buffer: HostBuffer
    do { buffer = try HostBuffer(mapping: path) } catch let error as TorchError { throw DataError(error.message) }
    defer { withExtendedLifetime(buffer) {} }
    var bytes = UnsafeRawBufferPointer(buffer.bytes)
    if let attributes = try? FileManager.default.attributesOfItem(atPath: path), attributes[.size] as? Int == 0 {
      bytes = UnsafeRawBufferPointer(start: bytes.baseAddress, count: 0)
    }
    var lines = CSVLines(bytes, separator: separator, file: path)
    guard let first = try lines.next() else { throw DataError(file: path, "is empty") }
    let table = try Layout(first, label: label, header: header, file: path)
    var rows = Rows(layout: table, file: path)
    if !table.hasHeader { try rows.add(first) }
    while let line = try lines.next() { try rows.add(line) }
    try rows.finish()
    let (labels, names) = try rows.classes(classNames)
    return try ArrayDataset(
      name: name ?? URL(fileURLWithPath: path).lastPathComponent, values: HostBuffer(rows.values),
      elementType: .float32, exampleShape: [table.columnCount - (table.labelColumn == nil ? 0 : 1)],
      count: rows.count, labels: labels, classNames: names)
  }

  /// The columns of a table that are read as inputs, in their order: each with its number in the file, from 1 on, and its
  /// name, where the first line has names. Otherwise as `read`.
  public static func inputColumns(
    of path: String, label: LabelColumn = .last, header: Bool? = nil
  ) throws -> [(number: Int, name: String?)] {
    let buffer: HostBuffer
    do { buffer = try HostBuffer(mapping: path) } catch let error as TorchError { throw DataError(error.message) }
    defer { withExtendedLifetime(buffer) {} }
    var lines = CSVLines(UnsafeRawBufferPointer(buffer.bytes), separator: UInt8(ascii: ","), file: path)
    guard let first = try lines.next() else { throw DataError(file: path, "is empty") }
    let layout = try Layout(first, label: label, header: header, file: path)
    return (0..<layout.columnCount).filter { $0 != layout.labelColumn }.map { column in
      (column + 1, layout.names.indices.contains(column) ? layout.names[column] : nil)
    }
  }

  /// The different labels, sorted: by value when all are whole numbers, otherwise by their letters.
  static func classes(of labels: [String]) -> [String] {
    let different = Set(labels)
    guard different.allSatisfy({ Int($0) != nil }) else {
      return different.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
    return different.sorted { (Int($0) ?? 0, $0) < (Int($1) ?? 0, $1) }
  }

  /// What the columns are.
  fileprivate struct Layout {
    var columnCount: Int
    /// Counted from 0.
    var labelColumn: Int?
    var hasHeader: Bool
    var names: [String]
    var firstLine: Int

    init(_ first: CSVLines.Line, label: LabelColumn, header: Bool?, file: String) throws {
      columnCount = first.cells.count
      firstLine = first.number
      switch label {
      case .named(let name):
        guard header != false else {
          throw DataError(
            file: file, "has no line with the columns' names, so there is no column \"\(name)\"",
            remedy: "Give the label column by its number, from 1 to \(columnCount)")
        }
        let matches = first.cells.indices.filter { first.cells[$0] == name }
        guard matches.count == 1 else {
          throw DataError(
            file: file, "has \(matches.count == 0 ? "no column" : "several columns") called \"\(name)\"",
            remedy: "Its columns are \(first.cells.prefix(20).joined(separator: ", "))")
        }
        labelColumn = matches[0]
      case .number(let number):
        guard number >= 1, number <= columnCount else {
          throw DataError(file: file, "has no column \(number)", remedy: "Its columns are numbered 1 to \(columnCount)")
        }
        labelColumn = number - 1
      case .last: labelColumn = columnCount - 1
      case .none: labelColumn = nil
      }
      guard columnCount > (labelColumn == nil ? 0 : 1) else {
        throw DataError(
          file: file, "has no column besides the label column", remedy: "Are its cells separated by something else?")
      }
      if case .named = label {
        hasHeader = true
      } else {
        let labelColumn = labelColumn
        let inputs = first.cells.indices.filter { $0 != labelColumn }.map { first.cells[$0] }
        hasHeader = header ?? inputs.allSatisfy { !$0.isEmpty && Double($0) == nil }
      }
      names = hasHeader ? first.cells : []
      var seen: Set<String> = []
      for name in names where !name.isEmpty && !seen.insert(name).inserted {
        throw DataError(
          file: file, "has two columns called \"\(name)\"",
          remedy: "Give each column a name of its own, or take one out")
      }
    }

    func describe(column: Int) -> String {
      names.indices.contains(column) ? "column \(column + 1) (\(names[column]))" : "column \(column + 1)"
    }
  }

  /// The numbers that were read so far.
  fileprivate struct Rows {
    let layout: Layout
    let file: String
    var values: [Float] = []
    var labels: [(text: String, line: Int)] = []
    var count = 0
    private var problems: LineProblems

    init(layout: Layout, file: String) {
      self.layout = layout
      self.file = file
      problems = LineProblems(file: file)
    }

    mutating func add(_ line: CSVLines.Line) throws {
      guard line.cells.count == layout.columnCount else {
        report(
          "line \(line.number) has \(line.cells.count) cells, but line \(layout.firstLine) has \(layout.columnCount)")
        return
      }
      count += 1
      for (column, cell) in line.cells.enumerated() {
        if cell.utf8.contains(0) {
          report("line \(line.number), \(layout.describe(column: column)) holds a zero byte: is it text in UTF-16?")
        } else if column == layout.labelColumn {
          if cell.isEmpty { report("line \(line.number), \(layout.describe(column: column)) has no label") }
          labels.append((cell, line.number))
        } else if let number = Float(cell), number.isFinite {
          values.append(number)
        } else {
          let wrong = cell.isEmpty ? "is empty" : "is \"\(cell.prefix(40))\", which is not a finite number"
          report("line \(line.number), \(layout.describe(column: column)) \(wrong)")
        }
      }
    }

    private mutating func report(_ problem: String) { problems.report(problem) }

    /// Throws what is wrong with the lines.
    func finish() throws {
      try problems.finish()
      guard count > 0 else { throw DataError(file: file, "has no rows") }
    }

    /// The number of each row's class, and the classes' names.
    func classes(_ given: [String]?) throws -> (labels: [Int32], names: [String]) {
      guard layout.labelColumn != nil else { return ([], []) }
      let names = given ?? CSV.classes(of: labels.map(\.text))
      let places = Dictionary(zip(names, names.indices), uniquingKeysWith: { first, _ in first })
      let found = try labels.map { label in
        guard let place = places[label.text] else {
          throw DataError(
            file: file, "line \(label.line) has the label \"\(label.text)\", which is not a known class",
            remedy: "The classes are \(names.prefix(20).joined(separator: ", "))")
        }
        return Int32(place)
      }
      guard given != nil || names.count * 2 <= labels.count || names.count <= 100 else {
        throw DataError(
          file: file, "has \(names.count) different labels in \(labels.count) rows",
          remedy: "Is \(layout.describe(column: layout.labelColumn ?? 0)) the label column?")
      }
      return (found, names)
    }
  }
}

/// Divides the text of a table into lines and cells.
struct CSVLines {
  struct Line: Equatable {
    /// Counted from 1; where it begins, if a cell has line breaks.
    var number: Int
    var cells: [String]
  }

  private let bytes: UnsafeRawBufferPointer
  private let separator: UInt8
  private let file: String
  private var position = 0
  private var lineNumber = 1

  /// - Parameter bytes: have to stay where they are as long as this is used
  init(_ bytes: UnsafeRawBufferPointer, separator: UInt8, file: String) {
    self.bytes = bytes
    self.separator = separator
    self.file = file
    if bytes.starts(with: [0xef, 0xbb, 0xbf]) { position = 3 }  // the mark of UTF-8
  }

  /// The next line that is not empty; nil after the last one.
  mutating func next() throws -> Line? {
    while position < bytes.count, skipLineBreak() {}
    guard position < bytes.count else { return nil }
    var line = Line(number: lineNumber, cells: [])
    while true {
      line.cells.append(try cell())
      guard position < bytes.count else { return line }
      if bytes[position] == separator {
        position += 1
      } else if skipLineBreak() {
        return line
      }
    }
  }

  /// Goes past a line break, if there is one here.
  private mutating func skipLineBreak() -> Bool {
    guard bytes[position] == 10 || bytes[position] == 13 else { return false }
    if bytes[position] == 13, position + 1 < bytes.count, bytes[position + 1] == 10 { position += 1 }
    position += 1
    lineNumber += 1
    return true
  }

  private var isAtEndOfCell: Bool {
    position >= bytes.count || bytes[position] == separator || bytes[position] == 10 || bytes[position] == 13
  }

  private mutating func cell() throws -> String {
    let quote = UInt8(ascii: "\"")
    guard position < bytes.count, bytes[position] == quote else {
      let start = position
      while !isAtEndOfCell { position += 1 }
      return text(start..<position).trimmingCharacters(in: .whitespaces)
    }
    let firstLine = lineNumber
    var content: [UInt8] = []
    position += 1
    while position < bytes.count {
      let byte = bytes[position]
      if byte == quote {
        position += 1
        guard position < bytes.count, bytes[position] == quote else {
          guard isAtEndOfCell else {
            let shown = String(decoding: content.prefix(40), as: UTF8.self)
            throw DataError(
              file: file, "line \(lineNumber): something follows the closing quotation mark of \"\(shown)\"")
          }
          return String(decoding: content, as: UTF8.self)
        }
      }
      if byte == 10 { lineNumber += 1 }
      content.append(byte)
      position += 1
    }
    throw DataError(file: file, "line \(firstLine) has a quotation mark that is never closed")
  }

  private func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
}
