import Torch

/// The head of a safetensors file: for each tensor its type, its shape and where its bytes lie, counted from the end of
/// the head. Everything in it is checked here; what it says is not trusted.
///
/// ## Reference
/// https://github.com/huggingface/safetensors, section Format
package struct SafetensorsHeader {
  package struct Entry {
    package var name: String
    package var dtype: DType
    package var shape: [Int]
    package var start: Int
    package var end: Int
  }

  /// In the order of their bytes.
  package var entries: [Entry]
  package var metadata: [String: String]

  static let metadataKey = "__metadata__"
  /// The limit that the format sets.
  package static let maximumByteCount = 100_000_000

  private static let names: [String: DType] = [
    "BOOL": .bool, "U8": .uint8, "I8": .int8, "I16": .int16, "I32": .int32, "I64": .int64, "F16": .float16,
    "BF16": .bfloat16, "F32": .float32, "F64": .float64,
  ]

  package static func name(of dtype: DType) -> String { names.first { $0.value == dtype }?.key ?? "\(dtype)" }

  /// - Parameters:
  ///   - text: the head's bytes
  ///   - dataByteCount: how many bytes follow it
  package init(reading text: UnsafeRawBufferPointer, dataByteCount: Int, path: String) throws {
    func fail(_ problem: String) -> CheckpointError { CheckpointError(path: path, problem: problem) }
    let json: JSON
    do {
      json = try JSON(parsing: text)
    } catch let error as JSON.SyntaxError {
      throw fail("its header is damaged: \(error.problem) at byte \(error.offset + 8); \(Self.advice)")
    }
    guard case .object(let members) = json else { throw fail("its header is not a JSON object; \(Self.advice)") }
    metadata = [:]
    entries = []
    for (name, value) in members {
      if name == Self.metadataKey {
        guard case .object(let pairs) = value else { throw fail("\(name) is not an object of texts") }
        for (key, value) in pairs {
          guard case .string(let text) = value else { throw fail("\(name).\(key) is not a text") }
          metadata[key] = text
        }
      } else {
        entries.append(try Self.entry(name, value, dataByteCount: dataByteCount, fail: fail))
      }
    }
    // Stable, so that tensors without elements keep their place.
    entries = entries.enumerated()
      .sorted { ($0.element.start, $0.element.end, $0.offset) < ($1.element.start, $1.element.end, $1.offset) }
      .map(\.element)
    var end = 0
    var before = ""
    for entry in entries {
      if entry.start < end {
        throw fail("the tensors '\(before)' and '\(entry.name)' overlap at byte \(entry.start); \(Self.advice)")
      }
      if entry.start > end {
        let previous = before.isEmpty ? "the header" : "'\(before)'"
        throw fail(
          "\(entry.start - end) bytes between \(previous) and '\(entry.name)' belong to no tensor; \(Self.advice)")
      }
      end = entry.end
      before = entry.name
    }
    if end != dataByteCount {
      throw fail("\(dataByteCount - end) bytes after the last tensor belong to none; \(Self.advice)")
    }
  }

  private static let advice = "fetch or write the file again"

  private static func entry(
    _ name: String, _ value: JSON, dataByteCount: Int, fail: (String) -> CheckpointError
  ) throws -> Entry {
    guard case .object(let members) = value else { throw fail("the entry of tensor '\(name)' is not an object") }
    func member(_ key: String) throws -> JSON {
      guard let found = members.first(where: { $0.key == key }) else { throw fail("tensor '\(name)' has no \(key)") }
      return found.value
    }
    func integers(_ key: String) throws -> [Int] {
      guard case .array(let elements) = try member(key) else { throw fail("\(key) of tensor '\(name)' is not a list") }
      return try elements.map { element in
        guard case .integer(let number) = element else {
          throw fail("\(key) of tensor '\(name)' holds something other than whole numbers of 64 bits")
        }
        guard number >= 0 else { throw fail("\(key) of tensor '\(name)' holds the negative number \(number)") }
        return number
      }
    }
    guard case .string(let typeName) = try member("dtype") else {
      throw fail("dtype of tensor '\(name)' is not a text")
    }
    guard let dtype = names[typeName] else {
      throw fail(
        "tensor '\(name)' has elements of type \(typeName); convert it to one of "
          + names.keys.sorted().joined(separator: ", "))
    }
    let shape = try integers("shape")
    let offsets = try integers("data_offsets")
    guard shape.count <= maximumRank else {
      throw fail("tensor '\(name)' has \(shape.count) dimensions; \(maximumRank) is the most")
    }
    guard offsets.count == 2 else { throw fail("data_offsets of tensor '\(name)' are not two numbers") }
    guard offsets[0] <= offsets[1] else {
      throw fail("tensor '\(name)' ends at byte \(offsets[1]), before its start at \(offsets[0]); \(advice)")
    }
    guard offsets[1] <= dataByteCount else {
      throw fail(
        "tensor '\(name)' ends at byte \(offsets[1]) of the data, but there are only \(dataByteCount): the file is "
          + "cut off or damaged; \(advice)")
    }
    guard let byteCount = product(ofSizes: shape + [dtype.byteCount]) else {
      throw fail("the shape \(shape) of tensor '\(name)' is larger than any memory; \(advice)")
    }
    guard byteCount == offsets[1] - offsets[0] else {
      let given = offsets[1] - offsets[0]
      throw fail("tensor '\(name)', \(shape) of \(typeName), needs \(byteCount) bytes, not \(given); \(advice)")
    }
    return Entry(name: name, dtype: dtype, shape: shape, start: offsets[0], end: offsets[1])
  }

  private static let maximumRank = 16

  /// nil where it, or that of the sizes other than 0, does not fit in an `Int`.
  private static func product(ofSizes sizes: [Int]) -> Int? {
    let others = sizes.filter { $0 != 0 }
    return Torch.product(others).map { others.count < sizes.count ? 0 : $0 }
  }
}
