/// What is done to a text before it is split.
indirect enum Normalizer: Sendable {
  case bert(cleansText: Bool, spacesChineseCharacters: Bool, stripsAccents: Bool, lowercases: Bool)
  case form(compatible: Bool, composed: Bool)
  case lowercase
  case stripAccents
  case strip(left: Bool, right: Bool)
  case prepend([UInt32])
  case replace(TextPattern, by: [UInt32])
  case byteLevel
  case sequence([Normalizer])

  func apply(to text: inout NormalizedText) throws {
    switch self {
    case .bert(let cleansText, let spacesChineseCharacters, let stripsAccents, let lowercases):
      if cleansText { Self.cleanse(&text) }
      if spacesChineseCharacters { Self.spaceChineseCharacters(&text) }
      if stripsAccents {
        text.normalize(compatible: false, composed: false)
        text.removeAll(in: CharacterTables.nonspacingMark)
      }
      if lowercases { text.lowercase() }
    case .form(let compatible, let composed): text.normalize(compatible: compatible, composed: composed)
    case .lowercase: text.lowercase()
    case .stripAccents: text.removeAll(in: CharacterTables.combiningMark)
    case .strip(let left, let right): text.strip(left: left, right: right)
    case .prepend(let content): text.prepend(content)
    case .replace(let pattern, let content): try text.replace(pattern, by: content)
    case .byteLevel: ByteAlphabet.encode(&text)
    case .sequence(let normalizers): for normalizer in normalizers { try normalizer.apply(to: &text) }
    }
    try text.checkLength()
  }

  /// Without control characters, and with one kind of space.
  private static func cleanse(_ text: inout NormalizedText) {
    let characters = Characters.all
    text.removeAll(in: CharacterTables.control)
    for place in text.scalars.indices {
      let value = text.scalars[place].value
      if value != 32, characters.isIn(CharacterTables.whitespace, value) { text.scalars[place].value = 32 }
    }
  }

  private static func spaceChineseCharacters(_ text: inout NormalizedText) {
    guard text.scalars.contains(where: { isChinese($0.value) }) else { return }
    var result: [TextScalar] = []
    result.reserveCapacity(text.scalars.count * 2)
    for scalar in text.scalars {
      guard isChinese(scalar.value) else {
        result.append(scalar)
        continue
      }
      let space = TextScalar(value: 32, start: scalar.start, end: scalar.end)
      result += [space, scalar, space]
    }
    text.scalars = result
  }

  /// The blocks of Chinese characters that BERT knows.
  private static func isChinese(_ value: UInt32) -> Bool {
    guard value >= 0x3400 else { return false }
    switch value {
    case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B81F, 0x2B920...0x2CEAF, 0xF900...0xFAFF,
      0x2F800...0x2FA1F:
      return true
    default: return false
    }
  }
}

/// Bytes as characters that can be seen, as GPT-2 has them: printable ones stand for themselves, the others are from U+0100
/// on.
enum ByteAlphabet {
  /// The character of each byte.
  static let characters: [UInt32] = {
    var next: UInt32 = 0x100
    return (0..<256 as Range<UInt32>).map { byte in
      if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE { return byte }
      defer { next += 1 }
      return next
    }
  }()

  /// The byte of each character; −1 where it stands for none.
  static let bytes: [Int16] = {
    var bytes = [Int16](repeating: -1, count: 0x144)
    for (byte, character) in characters.enumerated() { bytes[Int(character)] = Int16(byte) }
    return bytes
  }()

  /// The byte that a character stands for.
  static func byte(of character: UInt32) -> UInt8? {
    character < bytes.count ? UInt8(exactly: bytes[Int(character)]) : nil
  }

  /// Puts the bytes of a character, in UTF-8, after others.
  static func append(_ scalar: TextScalar, to result: inout [TextScalar]) {
    if scalar.value < 0x80 {
      result.append(TextScalar(value: characters[Int(scalar.value)], start: scalar.start, end: scalar.end))
      return
    }
    guard let known = Unicode.Scalar(scalar.value) else { return }
    for byte in String(Character(known)).utf8 {
      result.append(TextScalar(value: characters[Int(byte)], start: scalar.start, end: scalar.end))
    }
  }

  static func encode(_ text: inout NormalizedText) {
    var result: [TextScalar] = []
    result.reserveCapacity(text.scalars.count)
    for scalar in text.scalars { append(scalar, to: &result) }
    text.scalars = result
  }
}
