/// How tokens become a text again.
indirect enum TokenDecoder: Sendable {
  case wordPiece(prefix: String, cleansUp: Bool)
  case byteLevel
  case bytePairs(suffix: String)
  case metaspace(replacement: UInt32, isPrefixed: Bool)
  case replace(TextPattern, by: [UInt32])
  case byteFallback
  case fuse
  case strip(UInt32, start: Int, end: Int)
  case sequence([TokenDecoder])

  /// The parts of a text that tokens stand for.
  func decode(_ tokens: [String]) throws -> [String] {
    switch self {
    case .wordPiece(let prefix, let cleansUp):
      return tokens.enumerated().map { place, token in
        var text = token.values
        if place > 0 {
          if text.starts(with: prefix.values) {
            text.removeFirst(prefix.values.count)
          } else {
            text.insert(32, at: 0)
          }
        }
        return String(scalars: cleansUp ? Self.cleanUp(text) : text)
      }
    case .byteLevel:
      var bytes: [UInt8] = []
      for token in tokens {
        let own = token.unicodeScalars.map { ByteAlphabet.byte(of: $0.value) }
        if own.contains(nil) { bytes += token.utf8 } else { bytes += own.compactMap { $0 } }
      }
      return [String(decoding: bytes, as: UTF8.self)]
    case .bytePairs(let suffix):
      return tokens.enumerated().map { place, token in
        let space: [UInt32] = place == tokens.count - 1 ? [] : [32]
        return String(scalars: Self.replace(suffix.values, in: token.values, by: space))
      }
    case .metaspace(let replacement, let isPrefixed):
      return tokens.enumerated().map { place, token in
        let text = token.values.compactMap { $0 != replacement ? $0 : place == 0 && isPrefixed ? nil : 32 }
        return String(scalars: text)
      }
    case .replace(let pattern, let content):
      return try tokens.map { token in
        var text = NormalizedText(token)
        try text.replace(pattern, by: content)
        return text.text
      }
    case .byteFallback: return Self.joinBytes(tokens)
    case .fuse: return [tokens.reduce(into: "") { $0 += $1 }]
    case .strip(let value, let start, let end):
      return tokens.map { token in
        var text = token.values[...]
        let leading = text.prefix(start).prefix { $0 == value }.count
        let trailing = text.suffix(end).reversed().prefix { $0 == value }.count
        text = text.dropFirst(leading)
        return String(scalars: Array(text.dropLast(min(trailing, text.count))))
      }
    case .sequence(let decoders):
      let limit = NormalizedText.limit(Self.length(of: tokens))
      return try decoders.reduce(tokens) { tokens, decoder in
        let result = try decoder.decode(tokens)
        guard Self.length(of: result) <= limit else {
          throw TokenizerError(
            "the tokenizer makes the text more than 64 times as long", remedy: "Its files are damaged")
        }
        return result
      }
    }
  }

  private static func length(of tokens: [String]) -> Int { tokens.reduce(0) { $0 + $1.utf8.count } }

  /// Without the spaces that splitting put before punctuation and contractions.
  private static func cleanUp(_ text: [UInt32]) -> [UInt32] {
    let replacements = [
      (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
      (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ]
    return replacements.reduce(text) { replace($1.0.values, in: $0, by: $1.1.values) }
  }

  private static func replace(_ content: [UInt32], in text: [UInt32], by other: [UInt32]) -> [UInt32] {
    guard text.count >= content.count, !content.isEmpty else { return text }
    var result = NormalizedText(text.map { TextScalar(value: $0, start: 0, end: 0) })
    // Without an expression nothing can fail.
    try? result.replace(.text(content), by: other)
    return result.scalars.map(\.value)
  }

  /// Tokens such as `<0x41>` as the characters that their bytes are together; where these are none, U+FFFD for each.
  private static func joinBytes(_ tokens: [String]) -> [String] {
    var result: [String] = []
    var bytes: [UInt8] = []
    func flush() {
      if let text = String(validating: bytes, as: UTF8.self) {
        if !bytes.isEmpty { result.append(text) }
      } else {
        result += bytes.map { _ in "\u{FFFD}" }
      }
      bytes = []
    }
    for token in tokens {
      let units = Array(token.utf8)
      if units.count == 6, token.hasPrefix("<0x"), units[5] == UInt8(ascii: ">"), units[3] != UInt8(ascii: "-"),
        let byte = UInt8(String(decoding: units[3..<5], as: UTF8.self), radix: 16)
      {
        bytes.append(byte)
      } else {
        flush()
        result.append(token)
      }
    }
    flush()
    return result
  }
}

extension String {
  init(scalars: [UInt32]) {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars.compactMap { Unicode.Scalar($0) })
    self = String(view)
  }
}
