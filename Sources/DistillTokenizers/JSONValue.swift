/// A value of a JSON file, with the keys of objects in their order.
///
/// Foundation's reader is of no use here: it takes two tokens for one that Swift's strings hold to be equal, such as "é" as
/// one character and as two.
enum JSONValue: Sendable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([(key: String, value: JSONValue)])

  /// - Throws: `TokenizerError` with the line where what follows is no JSON.
  init(parsing bytes: [UInt8], file: String? = nil) throws {
    self = try bytes.withUnsafeBufferPointer { bytes in
      var parser = JSONParser(bytes: bytes, file: file)
      return try parser.document()
    }
  }

  /// What stands behind a key of an object; of a key that is there twice the last.
  subscript(_ key: String) -> JSONValue? {
    guard case .object(let entries) = self else { return nil }
    return entries.last { $0.key.utf8.elementsEqual(key.utf8) }?.value
  }

  var isNull: Bool { if case .null = self { true } else { false } }

  /// What it is, for messages.
  var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a truth value"
    case .number: "a number"
    case .string: "a text"
    case .array: "a list"
    case .object: "an object"
    }
  }
}

/// Reads JSON from UTF-8. Nesting is limited, and nothing is reserved that the file does not hold.
private struct JSONParser {
  let bytes: UnsafeBufferPointer<UInt8>
  let file: String?
  var place = 0

  init(bytes: UnsafeBufferPointer<UInt8>, file: String?) {
    self.bytes = bytes
    self.file = file
  }

  mutating func document() throws -> JSONValue {
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { place = 3 }
    let value = try value(depth: 0)
    skipSpace()
    guard place == bytes.count else { throw problem("something stands after the end of the JSON") }
    return value
  }

  private func problem(_ text: String) -> TokenizerError {
    let line = bytes[..<min(place, bytes.count)].count { $0 == 0x0A } + 1
    return TokenizerError(file: file, "\(text) in line \(line)", remedy: "The file is damaged or is no JSON")
  }

  private var next: UInt8? { place < bytes.count ? bytes[place] : nil }

  private mutating func skipSpace() {
    while place < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[place]) { place += 1 }
  }

  private mutating func expect(_ word: StaticString) throws {
    let length = word.utf8CodeUnitCount
    guard bytes.count - place >= length,
      (0..<length).allSatisfy({ bytes[place + $0] == word.utf8Start[$0] })
    else { throw problem("there is no value") }
    place += length
  }

  private mutating func value(depth: Int) throws -> JSONValue {
    guard depth < 64 else { throw problem("values are nested too deeply") }
    skipSpace()
    switch next {
    case nil: throw problem("the file ends too early")
    case UInt8(ascii: "{"): return .object(try object(depth: depth))
    case UInt8(ascii: "["): return .array(try array(depth: depth))
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"):
      try expect("true")
      return .bool(true)
    case UInt8(ascii: "f"):
      try expect("false")
      return .bool(false)
    case UInt8(ascii: "n"):
      try expect("null")
      return .null
    default: return .number(try number())
    }
  }

  private mutating func object(depth: Int) throws -> [(key: String, value: JSONValue)] {
    var entries: [(key: String, value: JSONValue)] = []
    place += 1
    skipSpace()
    if next == UInt8(ascii: "}") {
      place += 1
      return entries
    }
    while true {
      skipSpace()
      guard next == UInt8(ascii: "\"") else { throw problem("there is no key") }
      let key = try string()
      skipSpace()
      guard next == UInt8(ascii: ":") else { throw problem("there is no colon after a key") }
      place += 1
      entries.append((key, try value(depth: depth + 1)))
      if try !goesOn(until: UInt8(ascii: "}")) { return entries }
    }
  }

  private mutating func array(depth: Int) throws -> [JSONValue] {
    var values: [JSONValue] = []
    place += 1
    skipSpace()
    if next == UInt8(ascii: "]") {
      place += 1
      return values
    }
    while true {
      values.append(try value(depth: depth + 1))
      if try !goesOn(until: UInt8(ascii: "]")) { return values }
    }
  }

  /// Whether a comma follows; otherwise the end must.
  private mutating func goesOn(until end: UInt8) throws -> Bool {
    skipSpace()
    guard let next, next == end || next == UInt8(ascii: ",") else {
      throw problem(place < bytes.count ? "there is neither a comma nor an end" : "the file ends too early")
    }
    place += 1
    return next != end
  }

  private mutating func number() throws -> Double {
    let start = place
    while let next, "+-.eE0123456789".utf8.contains(next) { place += 1 }
    let text = String(decoding: bytes[start..<place], as: UTF8.self)
    guard place - start < 400, let number = Double(text), number.isFinite else { throw problem("there is no value") }
    return number
  }

  private mutating func string() throws -> String {
    place += 1
    let start = place
    while let next, next != UInt8(ascii: "\""), next != UInt8(ascii: "\\"), next >= 0x20 { place += 1 }
    if next == UInt8(ascii: "\"") {
      defer { place += 1 }
      return try text(UnsafeBufferPointer(rebasing: bytes[start..<place]))
    }
    var content = Array(bytes[start..<place])
    while let next, next != UInt8(ascii: "\"") {
      guard next >= 0x20 else { throw problem("a text has a control character") }
      place += 1
      if next == UInt8(ascii: "\\") { try escape(into: &content) } else { content.append(next) }
    }
    guard next != nil else { throw problem("a text has no end") }
    place += 1
    return try content.withUnsafeBufferPointer { try text($0) }
  }

  private func text(_ content: UnsafeBufferPointer<UInt8>) throws -> String {
    guard let text = String(validating: content, as: UTF8.self) else { throw problem("a text is not UTF-8") }
    return text
  }

  private mutating func escape(into content: inout [UInt8]) throws {
    guard let next else { throw problem("a text has no end") }
    place += 1
    switch next {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(next)
    case UInt8(ascii: "b"): content.append(0x08)
    case UInt8(ascii: "f"): content.append(0x0C)
    case UInt8(ascii: "n"): content.append(0x0A)
    case UInt8(ascii: "r"): content.append(0x0D)
    case UInt8(ascii: "t"): content.append(0x09)
    case UInt8(ascii: "u"):
      var number = try hexadecimal()
      if (0xD800..<0xDC00).contains(number) {
        guard follows("\\"), follows("u", after: 1) else { throw problem("a text has half a character") }
        place += 2
        let low = try hexadecimal()
        guard (0xDC00..<0xE000).contains(low) else { throw problem("a text has half a character") }
        number = 0x10000 + (number - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(number) else { throw problem("a text has half a character") }
      content.append(contentsOf: String(scalar).utf8)
    default: throw problem("a text has an unknown escape")
    }
  }

  private func follows(_ character: Unicode.Scalar, after distance: Int = 0) -> Bool {
    place + distance < bytes.count && bytes[place + distance] == UInt8(ascii: character)
  }

  private mutating func hexadecimal() throws -> UInt32 {
    guard bytes.count - place >= 4 else { throw problem("a text has no end") }
    var number: UInt32 = 0
    for byte in bytes[place..<place + 4] {
      let digit: UInt8
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
      case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
      default: throw problem("a text has an unknown escape")
      }
      number = number << 4 | UInt32(digit)
    }
    place += 4
    return number
  }
}
