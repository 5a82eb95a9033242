import Foundation
import Torch

/// A table of numbers in which a column may say the number of each row: what a model said of examples, one a line.
public struct NumberedRows: Sendable {
  /// The number of each row; nil where no column says it.
  public let ids: [Int]?
  /// The other columns, row by row.
  public let values: [Float]
  public let columnCount: Int
  /// What the other columns are called; empty where the first line holds no names.
  public let names: [String]

  public var count: Int { columnCount == 0 ? 0 : values.count / columnCount }

  /// Reads a file of cells with commas between them, as `CSV` does. The first line holds names where none of its cells is
  /// a number.
  ///
  /// - Parameter idColumn: the name of the column with the rows' numbers; nil: `id`, where there is one
  /// - Throws: `DataError` that names the lines and columns of cells that are no finite numbers.
  public init(_ path: String, idColumn: String? = nil) throws {
    let buffer: HostBuffer
    do { buffer = try HostBuffer(mapping: path) } catch let error as TorchError { throw DataError(error.message) }
    defer { withExtendedLifetime(buffer) {} }
    var lines = CSVLines(UnsafeRawBufferPointer(buffer.bytes), separator: UInt8(ascii: ","), file: path)
    guard let first = try lines.next() else { throw DataError(file: path, "is empty") }
    if let cell = first.cells.first(where: { $0.contains(";") || $0.contains("\t") }) {
      throw DataError(
        file: path, "has \(cell.contains(";") ? "semicolons" : "tabs") in its first line",
        remedy: "Are its cells separated by them? Save it with commas between cells, and points in numbers")
    }
    let hasNames = first.cells.allSatisfy { Double($0) == nil }
    let wanted = idColumn ?? "id"
    let column = hasNames ? first.cells.firstIndex(of: wanted) : nil
    guard idColumn == nil || column != nil else {
      throw DataError(
        file: path, "has no column called '\(wanted)'",
        remedy: hasNames
          ? "Its columns are \(first.cells.prefix(20).joined(separator: ", "))" : "Its columns have no names")
    }
    var ids: [Int] = []
    var values: [Float] = []
    var problems: [String] = []
    var line = hasNames ? try lines.next() : first
    while let row = line {
      if row.cells.count != first.cells.count {
        problems.append("line \(row.number) has \(row.cells.count) cells, but the first line has \(first.cells.count)")
      } else {
        for (index, cell) in row.cells.enumerated() {
          if index == column {
            if let id = Int(cell) {
              ids.append(id)
            } else {
              problems.append("line \(row.number) has the \(wanted) \"\(cell.prefix(40))\", which is no whole number")
            }
          } else if let number = Float(cell), number.isFinite {
            values.append(number)
          } else if let number = Double(cell), number.isFinite {
            problems.append(
              "line \(row.number), column \(index + 1): \"\(cell.prefix(40))\" is too large for float32")
          } else {
            problems.append(
              "line \(row.number), column \(index + 1): \"\(cell.prefix(40))\" is not a finite number")
          }
        }
      }
      guard problems.count < 5 else { break }
      line = try lines.next()
    }
    guard problems.isEmpty else { throw DataError(file: path, problems.joined(separator: "\n")) }
    columnCount = first.cells.count - (column == nil ? 0 : 1)
    guard columnCount > 0 || column != nil, !values.isEmpty || !ids.isEmpty else {
      throw DataError(file: path, "has no rows of numbers")
    }
    self.ids = column == nil ? nil : ids
    self.values = values
    names = hasNames ? first.cells.indices.filter { $0 != column }.map { first.cells[$0] } : []
  }
}
