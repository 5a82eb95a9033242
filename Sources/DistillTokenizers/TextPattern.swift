/// What a text is searched for.
enum TextPattern: Sendable {
  /// A character of these sets.
  case characters(UInt64)
  /// Runs of characters of these sets.
  case runs(of: UInt64, or: UInt64)
  case character(UInt32)
  case text([UInt32])
  case expression(RegularExpression)

  struct Match {
    var range: Range<Int>
    var isMatch: Bool
  }

  /// The parts of a text that match, and those between them: together the whole text.
  func matches(in text: [TextScalar], _ range: Range<Int>) throws -> [Match] {
    var matches: [Match] = []
    var last = range.lowerBound
    func found(_ found: Range<Int>) {
      if last < found.lowerBound { matches.append(Match(range: last..<found.lowerBound, isMatch: false)) }
      matches.append(Match(range: found, isMatch: true))
      last = found.upperBound
    }
    try text.withUnsafeBufferPointer { text in
      switch self {
      case .characters(let sets):
        let characters = Characters.all
        for place in range where characters.isIn(sets, text[place].value) { found(place..<place + 1) }
      case .runs(let first, let second):
        let characters = Characters.all
        var place = range.lowerBound
        while place < range.upperBound {
          let start = place
          // What is in the first set is a run, and so is what is in none of the two.
          let bits = characters[text[place].value]
          place += 1
          if bits & first != 0 {
            while place < range.upperBound, characters.isIn(first, text[place].value) { place += 1 }
          } else if bits & second == 0 {
            while place < range.upperBound, !characters.isIn(first | second, text[place].value) { place += 1 }
          } else {
            continue
          }
          found(start..<place)
        }
      case .character(let value):
        for place in range where text[place].value == value { found(place..<place + 1) }
      case .text(let content):
        Self.places(of: content, in: text, range).forEach { found($0..<$0 + content.count) }
      case .expression(let expression):
        try expression.search(text, range, found: found)
      }
    }
    if last < range.upperBound { matches.append(Match(range: last..<range.upperBound, isMatch: false)) }
    return matches
  }

  /// Where a text stands in another, from the left and without overlap, in time linear in both (Knuth, Morris, Pratt).
  private static func places(of content: [UInt32], in text: UnsafeBufferPointer<TextScalar>, _ range: Range<Int>)
    -> [Int]
  {
    guard !content.isEmpty else { return [] }
    // How long the longest end of the first n characters is that they begin with, too.
    var borders = [0]
    var length = 0
    for place in content.indices.dropFirst() {
      while length > 0, content[place] != content[length] { length = borders[length - 1] }
      if content[place] == content[length] { length += 1 }
      borders.append(length)
    }
    var found: [Int] = []
    length = 0
    for place in range {
      while length > 0, text[place].value != content[length] { length = borders[length - 1] }
      if text[place].value == content[length] { length += 1 }
      if length == content.count {
        found.append(place + 1 - length)
        length = 0
      }
    }
    return found
  }
}
