import Foundation
import Torch

/// Reads NumPy's files of one array, `.npy`, of the versions 1 to 3.
///
/// A file is the six bytes `\x93NUMPY`, two of the version, the length of the header in two bytes (four from version 2
/// on), the header and then the elements. The header is the text of a Python dictionary, which is read here as what it
/// is, a type, an order and a shape, and never executed; an array of Python objects is refused, since its elements are a
/// program.
public enum NPY {
  static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)
  /// Headers are a line of text; NumPy itself refuses longer ones.
  private static let longestHeader = 10_000
  private static let mostDimensions = 8

  /// The array of a file, which is mapped.
  ///
  /// - Throws: `DataError` that says what is wrong with the file; nothing in it is trusted.
  public static func read(_ path: String) throws -> NumberArray {
    let mapped: HostBuffer
    do { mapped = try HostBuffer(mapping: path) } catch let error as TorchError { throw DataError(error.message) }
    return try read(mapped, mapped.bytes.indices, name: path)
  }

  /// The array of a file that lies in a part of some bytes.
  package static func read(_ buffer: HostBuffer, _ range: Range<Int>, name: String) throws -> NumberArray {
    let bytes = UnsafeRawBufferPointer(rebasing: buffer.bytes[range])
    let remedy = "Write or fetch the file again"
    guard bytes.count >= 10 else {
      throw DataError(file: name, "is no array of NumPy: it has only \(bytes.count) bytes", remedy: remedy)
    }
    guard bytes.starts(with: magic) else {
      throw DataError(file: name, "is no array of NumPy: it does not begin with \\x93NUMPY")
    }
    let version = bytes[6]
    guard (1...3).contains(version) else {
      throw DataError(file: name, "is an array of NumPy's format \(version).\(bytes[7]); 1 to 3 are known")
    }
    let lengthBytes = version == 1 ? 2 : 4
    guard bytes.count >= 8 + lengthBytes else { throw DataError(file: name, "is cut off", remedy: remedy) }
    let length = bytes[8..<8 + lengthBytes].reversed().reduce(0) { $0 << 8 | Int($1) }
    guard length <= longestHeader else {
      throw DataError(
        file: name, "cannot be right: its header claims \(length) bytes, and \(longestHeader) are the most",
        remedy: remedy)
    }
    let start = 8 + lengthBytes + length
    guard start <= bytes.count else {
      throw DataError(
        file: name, "is cut off: its header needs \(start) bytes, but there are \(bytes.count)", remedy: remedy)
    }
    guard let text = String(validating: bytes[8 + lengthBytes..<start], as: UTF8.self) else {
      throw DataError(file: name, "has a header that is no text", remedy: remedy)
    }
    let header = try Header(text, name: name)
    // Beside a size of 0 the others could be anything, and would be counted up to.
    guard let count = product(header.shape + [header.type.byteCount]), count < 1 << 48,
      let most = product(header.shape.filter { $0 != 0 }), count > 0 || most < 1 << 32
    else { throw DataError(file: name, "has an impossible shape: \(header.shape)") }
    guard count == bytes.count - start else {
      let what = count > bytes.count - start ? "is cut off" : "goes on after its elements"
      throw DataError(
        file: name,
        "\(what): \(header.shape) of \(header.type) need \(count) bytes, but there are \(bytes.count - start)",
        remedy: remedy)
    }
    return try NumberArray(
      shape: header.shape, type: header.type, isBigEndian: header.isBigEndian, isColumnMajor: header.isColumnMajor,
      in: buffer, from: range.lowerBound + start, name: name)
  }

  /// What the header says.
  private struct Header {
    var shape: [Int] = []
    var type = NumberArray.ElementType.float32
    var isBigEndian = false
    var isColumnMajor = false

    init(_ text: String, name: String) throws {
      func unreadable() -> DataError {
        DataError(
          file: name, "has a header that NumPy does not write: \(text.prefix(80).trimmingCharacters(in: .whitespaces))")
      }
      // {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, in any order.
      guard let match = text.wholeMatch(of: /\s*\{(.*)\}\s*/.dotMatchesNewlines()) else { throw unreadable() }
      var rest = match.1[...]
      var seen: Set<String> = []
      while let entry = rest.prefixMatch(of: /\s*'([a-z_]+)'\s*:\s*('[^']*'|True|False|\([0-9, L]*\)|\[)\s*,?\s*/) {
        let (key, value) = (String(entry.1), String(entry.2))
        guard seen.insert(key).inserted else { throw unreadable() }
        switch key {
        case "descr": try setType(value, name: name)
        case "fortran_order":
          guard value == "True" || value == "False" else { throw unreadable() }
          isColumnMajor = value == "True"
        case "shape":
          guard value.hasPrefix("(") else { throw unreadable() }
          let sizes = value.dropFirst().dropLast().split(separator: ",")
            .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
          guard sizes.count <= mostDimensions else {
            throw DataError(file: name, "has \(sizes.count) dimensions; \(mostDimensions) are the most")
          }
          shape = try sizes.map { size in
            // Python 2 wrote 3L.
            guard let number = Int(size.hasSuffix("L") ? String(size.dropLast()) : size) else { throw unreadable() }
            return number
          }
        default: throw unreadable()
        }
        rest = rest[entry.range.upperBound...]
      }
      guard rest.allSatisfy(\.isWhitespace), seen == ["descr", "fortran_order", "shape"] else { throw unreadable() }
    }

    private static let types: [String: NumberArray.ElementType] = [
      "b1": .bool, "i1": .int8, "i2": .int16, "i4": .int32, "i8": .int64, "u1": .uint8, "u2": .uint16, "u4": .uint32,
      "u8": .uint64, "f2": .float16, "f4": .float32, "f8": .float64,
    ]

    private mutating func setType(_ value: String, name: String) throws {
      guard value.hasPrefix("'") else {
        throw DataError(
          file: name, "is an array of records with several fields each",
          remedy: "Save one field as an array of numbers: numpy.save(path, array['field'])")
      }
      let description = value.dropFirst().dropLast()
      let code = description.drop { "<>|=".contains($0) }
      guard !code.hasPrefix("O") else {
        throw DataError(
          file: name, "holds pickled Python objects, and unpickling them would execute what the file says",
          remedy: "Save an array of numbers: numpy.save(path, array.astype('float32'))")
      }
      guard let type = Self.types[String(code)] else {
        throw DataError(
          file: name, "holds elements of NumPy's type '\(description)'",
          remedy: "Convert them: array.astype('float32') for logits, array.astype('int64') for ids")
      }
      self.type = type
      isBigEndian = description.hasPrefix(">")
    }
  }
}
