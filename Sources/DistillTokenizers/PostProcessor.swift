/// What is put around the tokens of a text, or of two.
struct PostProcessor: Sendable {
  enum Part: Sendable, Equatable {
    /// The tokens of the first text, or of the second.
    case text(isSecond: Bool, type: Int64)
    case tokens([Int64], type: Int64)
  }

  /// For one text; nil: nothing is put around it.
  var single: [Part]?
  var pair: [Part]?
  /// Whether the places of tokens leave out spaces at their ends.
  var trimsOffsets = false
  /// Whether the space at the beginning of a text was put there.
  var addsPrefixSpace = false

  func parts(isPair: Bool) -> [Part] {
    isPair
      ? pair ?? [.text(isSecond: false, type: 0), .text(isSecond: true, type: 1)]
      : single ?? [.text(isSecond: false, type: 0)]
  }

  /// The numbers of all tokens that it adds.
  var addedIDs: [Int64] {
    (parts(isPair: false) + parts(isPair: true)).flatMap { part -> [Int64] in
      if case .tokens(let ids, _) = part { ids } else { [] }
    }
  }

  /// How many tokens it adds.
  func addedCount(isPair: Bool) -> Int {
    parts(isPair: isPair).reduce(0) { sum, part in
      if case .tokens(let ids, _) = part { sum + ids.count } else { sum }
    }
  }

  /// Places without the spaces at their ends.
  func trim(_ tokens: inout TextTokens) {
    guard trimsOffsets else { return }
    for place in tokens.ids.indices {
      var (leading, trailing) = (tokens.leadingSpaces[place], tokens.trailingSpaces[place])
      guard leading > 0 || trailing > 0 else { continue }
      var (start, end) = (tokens.offsets[place].lowerBound, tokens.offsets[place].upperBound)
      if leading > 0 {
        if place == 0 || start == 0, addsPrefixSpace, leading == 1 { leading = 0 }
        start = min(start + leading, end)
      }
      trailing = end >= trailing ? trailing : 0
      end = max(end - trailing, start)
      tokens.offsets[place] = start..<end
    }
  }
}

/// The tokens of one text, before anything is put around them.
struct TextTokens: Sendable {
  var ids: [Int64] = []
  /// The characters of the text that each stands for.
  var offsets: [Range<Int>] = []
  /// How many spaces each begins and ends with.
  var leadingSpaces: [Int] = []
  var trailingSpaces: [Int] = []

  var count: Int { ids.count }

  /// Leaves so many of them, the first or the last.
  mutating func truncate(to count: Int, from side: TextSide) {
    let removed = self.count - max(0, count)
    guard removed > 0 else { return }
    func cut<Element>(_ list: inout [Element]) {
      if side == .right { list.removeLast(removed) } else { list.removeFirst(removed) }
    }
    cut(&ids)
    cut(&offsets)
    cut(&leadingSpaces)
    cut(&trailingSpaces)
  }
}
