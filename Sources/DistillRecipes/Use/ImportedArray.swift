import DistillData
import Foundation
import Torch
import TorchNN

/// Numbers of a file that another program wrote, whatever its format.
struct ImportedArray {
  /// What it is called in its file; empty where the file holds nothing else.
  var name: String
  var shape: [Int]
  var isFloatingPoint: Bool
  /// Rows as float32, one after the other.
  var floats: (Range<Int>) throws -> [Float]
  /// All of whole numbers.
  var integers: () throws -> [Int]
}

/// A file of logits: `.npy`, `.npz`, safetensors or CSV, told apart by how it begins.
struct ImportedFile {
  let path: String
  /// By name.
  let arrays: [ImportedArray]
  /// What the columns of a table are called.
  var columnNames: [String] = []

  /// - Parameter idColumn: of a table, the column with the examples' numbers; nil: `id`, where there is one
  /// - Throws: `DataError`, `CheckpointError`, `RunError` that say what is wrong with the file.
  init(_ path: String, idColumn: String? = nil) throws {
    self.path = path
    guard FileManager.default.fileExists(atPath: path) else { throw RunError("\(path) does not exist") }
    var isFolder: ObjCBool = false
    guard !FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) || !isFolder.boolValue else {
      throw RunError("\(path) is a folder: name a file with logits")
    }
    guard !RegularFile.isOtherThanFile(path) else { throw RunError("\(path) \(RegularFile.refusal)") }
    guard let file = FileHandle(forReadingAtPath: path), let head = try file.read(upToCount: 8) else {
      throw RunError("\(path) cannot be read, or is empty")
    }
    try file.close()
    if head.starts(with: [0x93, 0x4e, 0x55]) {
      arrays = [ImportedArray(try NPY.read(path), name: "")]
    } else if head.starts(with: [0x50, 0x4b]) {
      let file = try NPZ(path)
      arrays = try file.names.compactMap { name in try file.array(name).map { ImportedArray($0, name: name) } }
    } else if path.hasSuffix(".safetensors") {
      arrays = try Checkpoint.read(path).tensors.sorted { $0.name < $1.name }.map(ImportedArray.init)
    } else if head.first == 0x80 {
      throw RunError(
        "\(path) is pickled, and unpickling it would execute what it says: save the array with numpy.save, or as "
          + "safetensors")
    } else {
      let table = try NumberedRows(path, idColumn: idColumn)
      columnNames = table.names
      let columns = table.columnCount
      var found = [
        ImportedArray(
          name: Self.logits, shape: [table.count, columns], isFloatingPoint: true,
          floats: { Array(table.values[$0.lowerBound * columns..<$0.upperBound * columns]) },
          integers: {
            // The only column of a file of numbers.
            try table.values.map { value in
              guard let number = Int(exactly: value), value < 0x1p24 else {
                throw RunError("\(path): \(value) is no example's number. Call the column 'id'")
              }
              return number
            }
          })
      ]
      if let ids = table.ids {
        if columns == 0 { found = [] }
        found.append(
          ImportedArray(
            name: Self.ids, shape: [ids.count], isFloatingPoint: false, floats: { ids[$0].map { Float($0) } },
            integers: { ids }))
      }
      arrays = found
    }
  }

  static let logits = "logits"
  static let ids = "ids"

  subscript(name: String) -> ImportedArray? { arrays.first { $0.name == name } }

  /// The names of its arrays, for messages.
  var list: String { arrays.map { "'\($0.name)' \($0.shape)" }.joined(separator: ", ") }
}

extension ImportedArray {
  fileprivate init(_ array: NumberArray, name: String) {
    self.init(
      name: name, shape: array.shape, isFloatingPoint: array.type.isFloatingPoint,
      floats: { array.floats(rows: $0) }, integers: { try array.integers(fromWholeFractions: true) })
  }

  fileprivate init(_ named: NamedTensor) {
    let tensor = named.tensor
    let isFloatingPoint = tensor.dtype.isFloatingPoint
    let columns = tensor.shape.last ?? 1
    self.init(
      name: named.name, shape: tensor.shape, isFloatingPoint: isFloatingPoint,
      floats: { rows in
        guard columns > 0 else { return [] }
        return try tensor.reshaped([-1, columns]).sliced(0, from: rows.lowerBound, to: rows.upperBound).floats()
      },
      integers: {
        if isFloatingPoint {
          return try tensor.to(.float64).array(of: Double.self).map { value in
            guard let number = Int(exactly: value), abs(value) < 0x1p53 else {
              throw RunError("'\(named.name)' holds \(value) where whole numbers are needed")
            }
            return number
          }
        }
        return try tensor.to(.int64).array(of: Int64.self).map(Int.init)
      })
  }
}
