/// What becomes of the places that a pattern finds when a text is split there.
enum SplitBehavior: String, CaseIterable, Sendable {
  case removed = "Removed"
  case isolated = "Isolated"
  case mergedWithPrevious = "MergedWithPrevious"
  case mergedWithNext = "MergedWithNext"
  case contiguous = "Contiguous"

  /// The parts of a text from what was found in it.
  func parts(of matches: [TextPattern.Match]) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    parts.reserveCapacity(matches.count)
    var previous = false
    switch self {
    case .removed: return matches.filter { !$0.isMatch }.map(\.range)
    case .isolated: return matches.map(\.range)
    case .contiguous:
      for match in matches {
        if match.isMatch == previous, let last = parts.popLast() {
          parts.append(last.lowerBound..<match.range.upperBound)
        } else {
          parts.append(match.range)
        }
        previous = match.isMatch
      }
    case .mergedWithPrevious:
      for match in matches {
        if match.isMatch, !previous, let last = parts.popLast() {
          parts.append(last.lowerBound..<match.range.upperBound)
        } else {
          parts.append(match.range)
        }
        previous = match.isMatch
      }
    case .mergedWithNext:
      for match in matches.reversed() {
        if match.isMatch, !previous, let last = parts.popLast() {
          parts.append(match.range.lowerBound..<last.upperBound)
        } else {
          parts.append(match.range)
        }
        previous = match.isMatch
      }
      parts.reverse()
    }
    return parts
  }
}

/// A text in pieces, some of which are tokens already.
struct TextPieces: Sendable {
  struct Piece: Sendable {
    var range: Range<Int>
    /// The token that the piece is; nil where the model has to say.
    var token: Int32?
  }

  var scalars: [TextScalar] = []
  var pieces: [Piece] = []
  /// How many characters there may be.
  var limit = Int.max

  /// - Throws: `TokenizerError` when there are far too many characters.
  func checkLength() throws {
    guard scalars.count <= limit else {
      throw TokenizerError("the tokenizer makes the text more than 64 times as long", remedy: "Its files are damaged")
    }
  }

  mutating func append(_ text: some Collection<TextScalar>, token: Int32? = nil) {
    guard !text.isEmpty else { return }
    let start = scalars.count
    scalars += text
    pieces.append(Piece(range: start..<scalars.count, token: token))
  }

  /// Splits each piece that is no token where a pattern matches.
  mutating func split(at pattern: TextPattern, inverted: Bool = false, _ behavior: SplitBehavior) throws {
    var result: [Piece] = []
    result.reserveCapacity(pieces.count)
    for piece in pieces {
      guard piece.token == nil else {
        result.append(piece)
        continue
      }
      var matches = try pattern.matches(in: scalars, piece.range)
      if inverted { for place in matches.indices { matches[place].isMatch.toggle() } }
      for part in behavior.parts(of: matches) where !part.isEmpty { result.append(Piece(range: part)) }
    }
    pieces = result
  }

  /// Changes each piece that is no token; one that is empty then goes.
  mutating func change(_ body: (inout NormalizedText) throws -> Void) rethrows {
    var result = TextPieces(limit: limit)
    result.scalars.reserveCapacity(scalars.count)
    result.pieces.reserveCapacity(pieces.count)
    for piece in pieces {
      if let token = piece.token {
        result.append(scalars[piece.range], token: token)
      } else {
        var text = NormalizedText(Array(scalars[piece.range]))
        try body(&text)
        result.append(text.scalars)
      }
    }
    self = result
  }
}
