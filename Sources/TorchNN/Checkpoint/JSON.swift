/// A JSON value whose objects keep their order. Parsed strictly, because a checkpoint's head comes from anywhere: keys that
/// stand twice, numbers that do not fit and deep nesting are refused. Whole numbers stay whole.
package enum JSON {
  case null
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSON])
  case object([(key: String, value: JSON)])

  package struct SyntaxError: Error {
    package var problem: String
    package var offset: Int
  }

  package init(parsing bytes: UnsafeRawBufferPointer) throws {
    var parser = JSONParser(bytes: bytes)
    self = try parser.value(depth: 0)
    parser.skipSpace()
    guard parser.isAtEnd else { throw parser.error("something follows the end") }
  }

  /// `text` with quotes, ready to stand in a JSON file.
  package static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}

private struct JSONParser {
  let bytes: UnsafeRawBufferPointer
  var position = 0

  private static let maximumDepth = 16

  init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var isAtEnd: Bool { position == bytes.count }
  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  func error(_ problem: String) -> JSON.SyntaxError { JSON.SyntaxError(problem: problem, offset: position) }

  mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d { position += 1 }
  }

  private mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  mutating func value(depth: Int) throws -> JSON {
    guard depth < Self.maximumDepth else { throw error("nested too deeply") }
    skipSpace()
    switch next {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "-"), .some(UInt8(ascii: "0")...UInt8(ascii: "9")): return try number()
    case nil: throw error("it ends too early")
    default:
      for (word, value) in [("null", JSON.null), ("true", .bool(true)), ("false", .bool(false))]
      where bytes[position...].starts(with: word.utf8) {
        position += word.utf8.count
        return value
      }
      throw error("not JSON")
    }
  }

  private mutating func object(depth: Int) throws -> JSON {
    position += 1
    var members: [(key: String, value: JSON)] = []
    var keys: Set<String> = []
    skipSpace()
    if take("}") { return .object([]) }
    while true {
      skipSpace()
      guard next == UInt8(ascii: "\"") else { throw error(isAtEnd ? "it ends too early" : "a key is missing") }
      let key = try string()
      guard keys.insert(key).inserted else { throw error("the key '\(key)' stands twice") }
      skipSpace()
      guard take(":") else { throw error("a colon is missing") }
      members.append((key, try value(depth: depth + 1)))
      skipSpace()
      if take("}") { return .object(members) }
      guard take(",") else { throw error(isAtEnd ? "it ends too early" : "a comma is missing") }
    }
  }

  private mutating func array(depth: Int) throws -> JSON {
    position += 1
    var elements: [JSON] = []
    skipSpace()
    if take("]") { return .array([]) }
    while true {
      elements.append(try value(depth: depth + 1))
      skipSpace()
      if take("]") { return .array(elements) }
      guard take(",") else { throw error(isAtEnd ? "it ends too early" : "a comma is missing") }
    }
  }

  private mutating func number() throws -> JSON {
    let start = position
    while let byte = next, "+-.eE0123456789".utf8.contains(byte) { position += 1 }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if let integer = Int(text) { return .integer(integer) }
    guard let number = Double(text), number.isFinite else {
      position = start
      throw error("the number '\(text.prefix(40))' cannot be read")
    }
    return .number(number)
  }

  private mutating func string() throws -> String {
    position += 1
    var text: [UInt8] = []
    while let byte = next {
      position += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let result = String(validating: text, as: UTF8.self) else { throw error("a text is not UTF-8") }
        return result
      case UInt8(ascii: "\\"): try escape(into: &text)
      case 0..<0x20: throw error("a control character stands in a text")
      default: text.append(byte)
      }
    }
    throw error("it ends too early")
  }

  private mutating func escape(into text: inout [UInt8]) throws {
    guard let byte = next else { throw error("it ends too early") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0c)
    case UInt8(ascii: "n"): text.append(0x0a)
    case UInt8(ascii: "r"): text.append(0x0d)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"):
      var units = [try hexadecimal()]
      if UTF16.isLeadSurrogate(units[0]), take("\\"), take("u") { units.append(try hexadecimal()) }
      guard let decoded = String(validating: units, as: UTF16.self) else { throw error("half of a surrogate pair") }
      text += decoded.utf8
    default: throw error("an unknown escape")
    }
  }

  private mutating func hexadecimal() throws -> UInt16 {
    guard position + 4 <= bytes.count,
      let unit = UInt16(String(decoding: bytes[position..<position + 4], as: UTF8.self), radix: 16)
    else { throw error("an unknown escape") }
    position += 4
    return unit
  }
}
