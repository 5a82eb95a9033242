import DistillData
import Foundation
import Torch

/// Logits that another program computed for the examples of a recipe: with whatever framework, or from an answer of a
/// service. They are held against the data before they teach.
struct ImportedLogits {
  /// Where they are, and what the file says.
  struct Source {
    var path: String
    /// The array or the column with the examples' numbers, or another file with them; nil: `ids` or `id`, where there is
    /// one.
    var ids: String?
    /// The array with the logits; nil: `logits`, or the only one that it can be.
    var array: String?
    /// Whether they are probabilities, whose logarithms are to be taken.
    var areProbabilities = false
  }

  let path: String
  let classCount: Int
  let viewCount: Int
  /// Rows of examples that are not shown in training, such as those that are held out.
  let unused: Int
  /// How often the likeliest class is the example's own; nil where there are no labels.
  private(set) var accuracy: Double?
  /// What looks odd about them.
  private(set) var notes: [String] = []
  private let array: ImportedArray
  private let rowCount: Int
  private let areProbabilities: Bool
  /// The row of each example.
  private let rows: [Int: Int]

  /// Opens and checks a file: its shape, its examples, and every number in it.
  ///
  /// - Parameters:
  ///   - examples: those that the student is shown
  ///   - viewCount: how many views of each the teacher is asked about
  /// - Throws: `RunError` that names what is missing, double, unknown, not finite, or no logits.
  init(_ source: Source, dataset: any Dataset, examples: [Int], viewCount: Int) throws {
    let (path, classNames) = (source.path, dataset.classNames)
    let isFileOfIDs = source.ids.map { FileManager.default.fileExists(atPath: $0) } ?? false
    let file = try ImportedFile(
      path, idColumn: path.hasSuffix(".csv") && !isFileOfIDs ? source.ids : nil)
    array = try Self.logits(in: file, source, isFileOfIDs: isFileOfIDs)
    self.path = path
    self.viewCount = viewCount
    areProbabilities = source.areProbabilities
    classCount = dataset.classCount
    let shape = array.shape
    guard shape.count == 2 || shape.count == 3 else {
      throw RunError(
        "\(path): the logits have the shape \(shape), but [examples, classes] or [views, examples, classes] is needed")
    }
    guard shape[shape.count - 1] == classCount else {
      throw RunError(
        "\(path): there are logits of \(shape[shape.count - 1]) classes, but the data has \(classCount)"
          + (file.columnNames.isEmpty && path.hasSuffix(".csv") && shape[1] == classCount + 1
            ? ". Where the first column is the example's number, name the columns in the first line: id,..." : ""))
    }
    guard (shape.count == 3 ? shape[0] : 1) == viewCount else {
      throw RunError(
        "\(path): there are logits of \(counted(shape.count == 3 ? shape[0] : 1, "view")), but the recipe shows \(viewCount) "
          + "of each example")
    }
    let names = file.columnNames
    if names.count == classCount, Set(names) == Set(classNames), names != classNames {
      throw RunError(
        "\(path): the columns are in another order than the classes, which is "
          + classNames.prefix(20).joined(separator: ", "))
    }
    rowCount = shape[shape.count - 2]
    let found = try Self.ids(of: file, source, isFileOfIDs: isFileOfIDs, count: rowCount, dataset: dataset)
    (rows, unused) = try Self.match(found, examples, path: path, known: dataset.count)
    try check(examples, dataset)
  }

  /// The logits of examples in a view: `[ids, classes]`, row after row.
  func logits(of ids: [Int], view: Int) throws -> [Float] {
    var numbers: [Float] = []
    numbers.reserveCapacity(ids.count * classCount)
    for id in ids {
      guard let row = rows[id] else { throw RunError("\(path) has no logits of the example \(id)") }
      numbers += try array.floats(view * rowCount + row..<view * rowCount + row + 1)
    }
    return areProbabilities ? numbers.map { log(max($0, .leastNormalMagnitude)) } : numbers
  }

  // MARK: What is in the file

  private static func logits(in file: ImportedFile, _ source: Source, isFileOfIDs: Bool) throws -> ImportedArray {
    if let name = source.array {
      guard let array = file[name] else {
        throw RunError("\(file.path) holds no array '\(name)'. There are \(file.list)")
      }
      return array
    }
    if let array = file[ImportedFile.logits] { return array }
    let others = file.arrays.filter { $0.isFloatingPoint && $0.name != ImportedFile.ids && $0.name != source.ids }
    guard others.count == 1 else {
      throw RunError(
        others.isEmpty
          ? "\(file.path) holds no array of floating-point numbers. There are \(file.list)"
          : "\(file.path) holds several arrays, \(file.list): say which are the logits with --array")
    }
    return others[0]
  }

  /// The number of the example of each row.
  private static func ids(
    of file: ImportedFile, _ source: Source, isFileOfIDs: Bool, count: Int, dataset: any Dataset
  ) throws -> [Int] {
    var array = file[ImportedFile.ids]
    if let name = source.ids {
      if isFileOfIDs {
        let other = try ImportedFile(name)
        array = other.arrays.count == 1 ? other.arrays[0] : other[ImportedFile.ids]
        guard array != nil else {
          throw RunError("--ids: \(name) holds several arrays, \(other.list), and none called 'ids'")
        }
      } else if !file.path.hasSuffix(".csv") {
        array = file[name]
        guard array != nil else {
          throw RunError("--ids: '\(name)' is no file, and no array of \(file.path). There are \(file.list)")
        }
      }
    }
    guard let array else {
      guard count == dataset.count else {
        throw RunError(
          "\(file.path) has \(Quantity.integer(count)) rows and does not say of which examples they are, and \(dataset.name) "
            + "has \(Quantity.integer(dataset.count)) examples. Without ids row 0 is example 0, and there must be one of each: "
            + "give ids (--ids), or all rows")
      }
      return Array(0..<count)
    }
    let ids = try array.integers()
    guard ids.count == count else {
      throw RunError("\(file.path) has \(counted(count, "row")), but \(counted(ids.count, "id"))")
    }
    return ids
  }

  /// The row of each example, and how many rows are of examples that are not shown.
  private static func match(
    _ ids: [Int], _ examples: [Int], path: String, known: Int
  ) throws -> (rows: [Int: Int], unused: Int) {
    var rows: [Int: Int] = [:]
    var (double, unknown): ([Int], [Int]) = ([], [])
    for (row, id) in ids.enumerated() {
      if id < 0 || id >= known { unknown.append(id) }
      if rows.updateValue(row, forKey: id) != nil { double.append(id) }
    }
    let missing = examples.filter { rows[$0] == nil }
    func list(_ ids: [Int], _ what: String) -> String? {
      guard !ids.isEmpty else { return nil }
      let shown = ids.prefix(5).map(String.init).joined(separator: ", ") + (ids.count > 5 ? ", ..." : "")
      return "\(counted(ids.count, "example")) \(what) (\(shown))"
    }
    let problems = [
      list(missing, "of the transfer set without logits"), list(double, "more than once"),
      list(unknown, "that the data, with the numbers 0 to \(known - 1), does not have"),
    ].compactMap(\.self)
    let isOne = (!missing.isEmpty ? missing : !double.isEmpty ? double : unknown).count == 1
    guard problems.isEmpty else {
      throw RunError("\(path): there \(isOne ? "is" : "are") \(problems.joined(separator: "; "))")
    }
    return (rows, ids.count - examples.count)
  }

  /// Goes through every row that will teach.
  private mutating func check(_ examples: [Int], _ dataset: any Dataset) throws {
    var (infinite, others): ([String], [String]) = ([], [])
    var looksLikeProbabilities = true
    var looksLikePercentages = true
    var (correct, labelled) = (0, 0)
    for view in 0..<viewCount {
      for id in examples {
        guard let row = rows[id] else { continue }
        let values = try array.floats(view * rowCount + row..<view * rowCount + row + 1)
        if let column = values.firstIndex(where: { !$0.isFinite }) {
          if infinite.count < 5 {
            let what = values[column].isNaN ? "is nan" : "is infinite, or too large for float32"
            infinite.append("class \(column) of example \(id) \(what)")
          }
          continue
        }
        // Half precision rounds each of them.
        let sum = values.reduce(0) { $0 + Double($1) }
        if values.contains(where: { $0 < 0 }) || abs(sum - 100) > 0.5 { looksLikePercentages = false }
        if values.contains(where: { $0 < 0 }) || abs(sum - 1) > 5e-3 {
          looksLikeProbabilities = false
          if others.count < 3 {
            let what = values.contains { $0 < 0 } ? "one is negative" : "their sum is \(Quantity.plain(sum))"
            others.append("example \(id): \(what)")
          }
        }
        let label = dataset.label(at: id)
        guard label >= 0 else { continue }
        labelled += 1
        if values.indices.max(by: { values[$0] < values[$1] }) == label { correct += 1 }
      }
    }
    guard infinite.isEmpty else {
      throw RunError("\(path) holds numbers that are not finite: \(infinite.joined(separator: "; "))")
    }
    if areProbabilities {
      guard looksLikeProbabilities else {
        throw RunError(
          "--probabilities: the rows of \(path) are no probabilities (\(others.joined(separator: "; "))): leave it out for "
            + "logits")
      }
    } else if looksLikeProbabilities {
      throw RunError(
        "the rows of \(path) are probabilities: none is negative, and each sums to 1. As logits they would be softened once "
          + "more: take their logarithms with --probabilities")
    }
    if looksLikePercentages, !examples.isEmpty {
      notes.append(
        "the rows look like percentages, and not like logits: none is negative, and each sums to 100. Divided by 100 they "
          + "are probabilities, for --probabilities")
    }
    accuracy = labelled == 0 ? nil : Double(correct) / Double(labelled)
  }
}
