/// A token that is looked for in a text before anything else is done with it.
public struct AddedToken: Sendable, Equatable {
  public var content: String
  public var id: Int64
  /// Whether it is one for the model, as `[CLS]`, and no part of a text.
  public var isSpecial: Bool
  /// Whether it is found only where no letters, digits or underscores are beside it.
  public var isSingleWord = false
  /// Whether it takes the whitespace before it.
  public var stripsLeft = false
  /// Whether it takes the whitespace after it.
  public var stripsRight = false
  /// Whether it is looked for in the text after normalization, in its own normalized form.
  public var isNormalized = false

  public init(content: String, id: Int64, isSpecial: Bool) {
    self.content = content
    self.id = id
    self.isSpecial = isSpecial
  }
}

/// Finds added tokens in a text: from the left, of several at a place the longest.
struct AddedTokens: Sendable {
  private var tokens: [AddedToken] = []
  /// The next node of a tree of characters, by a node and a character; node 0 is the beginning.
  private var nodes: [UInt64: Int32] = [:]
  /// The token that ends at each node; −1 where none does.
  private var ends: [Int32] = [-1]
  /// The ASCII characters that a token begins with, and whether one begins with another.
  private var low: (UInt64, UInt64) = (0, 0)
  private var beginsOtherwise = false

  var isEmpty: Bool { tokens.isEmpty }

  mutating func insert(_ token: AddedToken, as content: [UInt32]) {
    guard let first = content.first else { return }
    if first < 64 {
      low.0 |= 1 << UInt64(first)
    } else if first < 128 {
      low.1 |= 1 << UInt64(first - 64)
    } else {
      beginsOtherwise = true
    }
    var node: Int32 = 0
    for value in content {
      let key = UInt64(node) << 32 | UInt64(value)
      if let next = nodes[key] {
        node = next
      } else {
        node = Int32(ends.count)
        nodes[key] = node
        ends.append(-1)
      }
    }
    ends[Int(node)] = Int32(tokens.count)
    tokens.append(token)
  }

  private func mayBegin(with value: UInt32) -> Bool {
    if value < 64 { return low.0 >> UInt64(value) & 1 != 0 }
    if value < 128 { return low.1 >> UInt64(value - 64) & 1 != 0 }
    return beginsOtherwise
  }

  /// The longest token at a place, and where it ends.
  private func match(_ text: [TextScalar], at start: Int) -> (token: AddedToken, end: Int)? {
    guard mayBegin(with: text[start].value) else { return nil }
    var node: Int32 = 0
    var found: (token: AddedToken, end: Int)?
    for place in start..<text.count {
      guard let next = nodes[UInt64(node) << 32 | UInt64(text[place].value)] else { break }
      node = next
      if ends[Int(node)] >= 0 { found = (tokens[Int(ends[Int(node)])], place + 1) }
    }
    return found
  }

  /// Calls `part` with all parts of a text, those that are a token with its number.
  func split(_ text: [TextScalar], _ part: (Range<Int>, Int32?) throws -> Void) rethrows {
    guard !isEmpty else { return try part(0..<text.count, nil) }
    let characters = Characters.all
    var place = 0
    var last = 0
    while place < text.count {
      guard let (token, end) = match(text, at: place) else {
        place += 1
        continue
      }
      let start = place
      place = end
      if token.isSingleWord {
        if start > 0, characters.isIn(CharacterTables.word, text[start - 1].value) { continue }
        if end < text.count, characters.isIn(CharacterTables.word, text[end].value) { continue }
      }
      var range = max(start, last)..<max(end, last)
      if token.stripsLeft {
        var first = range.lowerBound
        while first > last, characters.isIn(CharacterTables.space, text[first - 1].value) { first -= 1 }
        range = first..<range.upperBound
      }
      if token.stripsRight {
        var after = range.upperBound
        while after < text.count, characters.isIn(CharacterTables.space, text[after].value) { after += 1 }
        range = range.lowerBound..<after
      }
      if last < range.lowerBound { try part(last..<range.lowerBound, nil) }
      try part(range, Int32(token.id))
      last = range.upperBound
    }
    if last < text.count { try part(last..<text.count, nil) }
  }
}
