import Torch

/// A tensor that stands in an ONNX file: its shape, and that it has as many numbers.
struct ONNXTensor {
  /// Where the numbers are that lie in another file.
  struct External {
    var location = ""
    var offset = 0
    /// nil: as many as the shape says.
    var length: Int?
  }

  /// What it is, for messages.
  let shown: String
  /// nil: its numbers are in this file.
  let external: External?
  /// Of its numbers one after the other; nil for texts.
  let byteCount: Int?

  /// Bits of an element, by ONNX's number of its type; 0 for texts.
  private static let bits: [UInt64: Int] = [
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 8: 0, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
    27: 6, 28: 6,
  ]

  /// The field for numbers of a type that do not stand as plain bytes, and how many of its numbers an element has.
  private static func list(of type: UInt64) -> (field: Int, perElement: Int) {
    switch type {
    case 1: (4, 1)
    case 14: (4, 2)
    case 7: (7, 1)
    case 8: (6, 1)
    case 11: (10, 1)
    case 15: (10, 2)
    case 12, 13: (11, 1)
    default: (5, 1)
    }
  }

  /// - Throws: `ProgramError`, `ProtobufReader.Failure`
  init(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, path: String) throws {
    var reader = ProtobufReader(bytes, range)
    var (dimensions, type, name, isExternal) = ([Int](), UInt64(0), "", false)
    var (plain, lists, facts) = (Int?.none, [Int: Int](), [Range<Int>]())
    while let field = try reader.next() {
      switch (field.number, field.value) {
      case (1, .number(let size)): dimensions.append(Int(truncatingIfNeeded: size))
      case (1, .part(let part)):
        var sizes = ProtobufReader(bytes, part)
        while let size = try sizes.nextNumber(), dimensions.count <= ONNXFileReader.mostDimensions {
          dimensions.append(Int(truncatingIfNeeded: size))
        }
      case (2, .number(let number)): type = number
      case (4, .part(let part)): lists[4, default: 0] += part.count / 4
      case (10, .part(let part)): lists[10, default: 0] += part.count / 8
      case (5, .part(let part)), (7, .part(let part)), (11, .part(let part)):
        var numbers = ProtobufReader(bytes, part)
        while try numbers.nextNumber() != nil { lists[field.number, default: 0] += 1 }
      case (4, .fixed), (10, .fixed), (5, .number), (7, .number), (11, .number), (6, .part):
        lists[field.number, default: 0] += 1
      case (8, .part(let part)): name = String(decoding: bytes[part].prefix(100), as: UTF8.self)
      case (9, .part(let part)) where plain == nil: plain = part.count
      case (13, .part(let part)): facts.append(part)
      case (14, .number(let place)): isExternal = place == 1
      case (1...14, _) where field.number != 3 && field.number != 12:
        throw ProtobufReader.Failure(
          problem: "the field \(field.number) of a tensor is of another kind, or there twice")
      default: break
      }
      guard dimensions.count <= ONNXFileReader.mostDimensions else {
        throw ProgramError(
          path: path, problem: "it has a tensor of more than \(ONNXFileReader.mostDimensions) dimensions")
      }
    }
    let shown = "the tensor '\(name)' of the shape \(dimensions)"
    self.shown = shown
    func fail(_ problem: String) -> ProgramError {
      ProgramError(path: path, problem: "\(shown) \(problem); fetch or write it again")
    }
    guard let bits = Self.bits[type] else { throw fail("has elements of type \(type), which ONNX does not have") }
    guard dimensions.allSatisfy({ $0 >= 0 }), let count = product(dimensions.sorted()),
      let all = product([count, max(bits, 1)])
    else { throw fail("has a size below zero, or more numbers than any memory") }
    byteCount = bits == 0 ? nil : all / 8 + (all % 8 == 0 ? 0 : 1)
    guard !isExternal else {
      guard plain == nil, lists.isEmpty else { throw fail("has its numbers in two files") }
      external = try Self.external(facts, bytes, fail)
      return
    }
    external = nil
    if let plain {
      guard plain == byteCount, lists.isEmpty else { throw fail("has \(plain) bytes, not \(byteCount ?? 0)") }
      return
    }
    let list = Self.list(of: type)
    // Two or four that fill a byte are one number together.
    let needed = bits == 2 || bits == 4 ? (byteCount ?? 0) : count * list.perElement
    let found = lists[list.field] ?? 0
    guard found == needed, lists.allSatisfy({ $0.key == list.field || $0.value == 0 }) else {
      throw fail("has \(found) numbers, not \(needed)")
    }
  }

  private static func external(
    _ facts: [Range<Int>], _ bytes: UnsafeRawBufferPointer, _ fail: (String) -> ProgramError
  ) throws -> External {
    var external = External()
    var seen: Set<String> = []
    for fact in facts {
      var reader = ProtobufReader(bytes, fact)
      var (key, value) = ("", "")
      while let field = try reader.next() {
        guard case .part(let part) = field.value, let text = String(validating: bytes[part].prefix(4096), as: UTF8.self)
        else { throw fail("does not say in words where its numbers are") }
        if field.number == 1 { key = text } else if field.number == 2 { value = text }
      }
      guard seen.insert(key).inserted else { throw fail("says twice where its numbers are") }
      switch key {
      case "location": external.location = value
      case "offset", "length":
        // Digits alone: elsewhere a sign or a space may be read as something else.
        guard let number = Int(value), number >= 0, value.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
          throw fail("has the impossible \(key) '\(value.prefix(40))' in another file")
        }
        if key == "offset" { external.offset = number } else { external.length = number }
      default: break
      }
    }
    return external
  }
}
