/// How a text is split into the pieces that a model sees one by one.
indirect enum PreTokenizer: Sendable {
  case bert
  case byteLevel(addsPrefixSpace: Bool, splits: Bool)
  case whitespace
  case split(TextPattern, SplitBehavior, inverted: Bool)
  case metaspace(replacement: UInt32, MetaspacePrefix, splits: Bool)
  case sequence([PreTokenizer])

  enum MetaspacePrefix: String, CaseIterable, Sendable { case first, never, always }

  func apply(to pieces: inout TextPieces) throws {
    switch self {
    case .bert:
      try pieces.split(at: .characters(CharacterTables.whitespace), .removed)
      try pieces.split(at: .characters(CharacterTables.punctuation), .isolated)
    case .byteLevel(let addsPrefixSpace, let splits):
      if addsPrefixSpace {
        pieces.change { if $0.scalars.first?.value != 32 { $0.prepend([32]) } }
      }
      if splits { try pieces.split(at: .expression(Self.gpt2), .isolated) }
      Self.encodeBytes(&pieces)
    case .whitespace:
      try pieces.split(
        at: .runs(of: CharacterTables.word, or: CharacterTables.space), inverted: true, .removed)
    case .split(let pattern, let behavior, let inverted):
      try pieces.split(at: pattern, inverted: inverted, behavior)
    case .metaspace(let replacement, let prefix, let splits):
      pieces.change { text in
        for place in text.scalars.indices where text.scalars[place].value == 32 {
          text.scalars[place].value = replacement
        }
        let isFirst = text.scalars.first?.start == 0
        if prefix == .always || prefix == .first && isFirst, text.scalars.first?.value != replacement {
          text.prepend([replacement])
        }
      }
      if splits { try pieces.split(at: .character(replacement), .mergedWithNext) }
    case .sequence(let all): for one in all { try one.apply(to: &pieces) }
    }
    try pieces.checkLength()
  }

  /// All pieces at once: they only become longer.
  private static func encodeBytes(_ pieces: inout TextPieces) {
    var result: [TextScalar] = []
    result.reserveCapacity(pieces.scalars.count + pieces.scalars.count / 8)
    for place in pieces.pieces.indices {
      let start = result.count
      let range = pieces.pieces[place].range
      if pieces.pieces[place].token == nil {
        for scalar in pieces.scalars[range] { ByteAlphabet.append(scalar, to: &result) }
      } else {
        result += pieces.scalars[range]
      }
      pieces.pieces[place].range = start..<result.count
    }
    pieces.scalars = result
  }

  /// The pattern of GPT-2, by which byte-level tokenizers split where they say no other.
  private static let gpt2: RegularExpression = {
    let pattern = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
    guard let expression = try? RegularExpression(pattern) else { preconditionFailure("a pattern of ours is wrong") }
    return expression
  }()
}
