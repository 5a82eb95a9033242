/// Characters that are joined pair by pair, in the order in which a training joined them (byte-pair encoding).
///
/// Sennrich, Haddow, Birch: *Neural Machine Translation of Rare Words with Subword Units*,
/// [arXiv:1508.07909](https://arxiv.org/abs/1508.07909), 2016.
struct BytePairs: Sendable {
  let vocabulary: Vocabulary
  private let merges: MergeTable
  /// nil: characters that are not in the vocabulary are left out.
  private let unknown: Int32?
  /// What every character but the first of a piece begins with.
  private let prefix: [UInt8]
  /// What the last character of a piece ends with.
  private let suffix: [UInt8]
  /// Whether unknown characters in a row are one token.
  private let fusesUnknown: Bool
  /// The token of each byte, where unknown characters become those of their bytes; −1 where there is none.
  private let byteTokens: [Int32]?
  /// Whether a piece that is a token is that token, however its characters would be joined.
  private let takesWholePieces: Bool
  /// The tokens of the characters before U+0200, where there is neither prefix nor suffix; −1 where there is none.
  private let characterTokens: [Int32]

  /// - Throws: `TokenizerError` when what is joined, or what comes of it, is no token.
  init(
    vocabulary: Vocabulary, merges pairs: [(String, String)], unknown: Int32? = nil, prefix: String = "",
    suffix: String = "", fusesUnknown: Bool = false, fallsBackToBytes: Bool = false, takesWholePieces: Bool = false
  ) throws {
    var table = MergeTable(capacity: pairs.count)
    let prefixLength = prefix.utf8.count
    for (rank, (left, right)) in pairs.enumerated() {
      guard let first = vocabulary.id(of: left), let second = vocabulary.id(of: right) else {
        throw TokenizerError("merge \(rank + 1) joins \(left) and \(right), of which one is no token")
      }
      guard right.utf8.count >= prefixLength,
        let whole = vocabulary.id(of: Array(left.utf8) + right.utf8.dropFirst(prefixLength))
      else { throw TokenizerError("merge \(rank + 1) joins \(left) and \(right), which together are no token") }
      table.insert(first, second, rank: Int32(rank), whole: whole)
    }
    self.vocabulary = vocabulary
    merges = table
    self.unknown = unknown
    self.prefix = Array(prefix.utf8)
    self.suffix = Array(suffix.utf8)
    self.fusesUnknown = fusesUnknown
    byteTokens =
      fallsBackToBytes
      ? (0..<256).map { byte in
        let digits = String(byte, radix: 16, uppercase: true)
        return vocabulary.id(of: "<0x\(digits.count == 1 ? "0" : "")\(digits)>") ?? -1
      } : nil
    self.takesWholePieces = takesWholePieces
    characterTokens = (0..<0x200 as Range<UInt32>).map { value in
      guard let scalar = Unicode.Scalar(value) else { return -1 }
      return vocabulary.id(of: String(Character(scalar))) ?? -1
    }
  }

  func append(_ text: UnsafeBufferPointer<TextScalar>, _ range: Range<Int>, to tokens: inout [PieceToken]) {
    if takesWholePieces, range.count <= vocabulary.longest, let id = vocabulary.id(of: WordBytes(text, range).bytes) {
      tokens.append(PieceToken(id: id, range: range))
      return
    }
    let first = tokens.count
    appendCharacters(text, range, to: &tokens)
    let count = tokens.count - first
    guard count > 1 else { return }
    if count <= 24 { joinFew(&tokens, from: first) } else { joinMany(&tokens, from: first) }
  }

  // MARK: Characters

  private func appendCharacters(
    _ text: UnsafeBufferPointer<TextScalar>, _ range: Range<Int>, to tokens: inout [PieceToken]
  ) {
    let isPlain = prefix.isEmpty && suffix.isEmpty
    // Unknown characters that are not yet among the tokens.
    var waiting: Range<Int>?
    func flush() {
      if let range = waiting, let unknown { tokens.append(PieceToken(id: unknown, range: range)) }
      waiting = nil
    }
    for place in range {
      let value = text[place].value
      let token: Int32?
      var bytes: [UInt8] = []
      if isPlain, value < 0x200 {
        let known = characterTokens[Int(value)]
        token = known >= 0 ? known : nil
        if token == nil { bytes = WordBytes(text, place..<place + 1).bytes }
      } else {
        bytes = place > range.lowerBound ? prefix : []
        bytes += WordBytes(text, place..<place + 1).bytes
        if place == range.upperBound - 1 { bytes += suffix }
        token = vocabulary.id(of: bytes)
      }
      if let token {
        flush()
        tokens.append(PieceToken(id: token, range: place..<place + 1))
      } else if let byteTokens, bytes.allSatisfy({ byteTokens[Int($0)] >= 0 }) {
        // These come before unknown characters that wait, as they do elsewhere.
        for byte in bytes { tokens.append(PieceToken(id: byteTokens[Int(byte)], range: place..<place + 1)) }
      } else if unknown != nil {
        if let range = waiting, fusesUnknown {
          waiting = range.lowerBound..<place + 1
        } else {
          flush()
          waiting = place..<place + 1
        }
      }
    }
    flush()
  }

  // MARK: Joining

  /// Joins the pair of the lowest rank, the first of them, until none is left.
  private func joinFew(_ tokens: inout [PieceToken], from first: Int) {
    var ranks: [(rank: Int32, whole: Int32)] = []
    ranks.reserveCapacity(tokens.count - first)
    for place in first..<tokens.count - 1 { ranks.append(merges[tokens[place].id, tokens[place + 1].id]) }
    while true {
      var best = -1
      var lowest = Int32.max
      for (place, pair) in ranks.enumerated() where pair.rank < lowest { (best, lowest) = (place, pair.rank) }
      guard best >= 0 else { return }
      let place = first + best
      tokens[place].id = ranks[best].whole
      tokens[place].range = tokens[place].range.lowerBound..<tokens[place + 1].range.upperBound
      tokens.remove(at: place + 1)
      ranks.remove(at: best)
      if best > 0 { ranks[best - 1] = merges[tokens[place - 1].id, tokens[place].id] }
      if best < ranks.count { ranks[best] = merges[tokens[place].id, tokens[place + 1].id] }
    }
  }

  /// The same for long pieces, with a queue of the pairs.
  private func joinMany(_ tokens: inout [PieceToken], from first: Int) {
    let count = tokens.count - first
    var links = (0..<count).map { (before: $0 - 1, after: $0 + 1 < count ? $0 + 1 : -1) }
    var isGone = [Bool](repeating: false, count: count)
    var queue = PairQueue()
    for place in 0..<count - 1 {
      let pair = merges[tokens[first + place].id, tokens[first + place + 1].id]
      if pair.rank < .max { queue.insert(.init(rank: pair.rank, place: Int32(place), whole: pair.whole)) }
    }
    while let pair = queue.removeFirst() {
      let place = Int(pair.place)
      guard !isGone[place], links[place].after >= 0 else { continue }
      let next = links[place].after
      // The pair may have been joined with others meanwhile.
      let current = merges[tokens[first + place].id, tokens[first + next].id]
      guard current.rank < .max, current.whole == pair.whole else { continue }
      tokens[first + place].id = pair.whole
      tokens[first + place].range = tokens[first + place].range.lowerBound..<tokens[first + next].range.upperBound
      isGone[next] = true
      links[place].after = links[next].after
      if links[place].after >= 0 { links[links[place].after].before = place }
      for left in [links[place].before, place] where left >= 0 && links[left].after >= 0 {
        let new = merges[tokens[first + left].id, tokens[first + links[left].after].id]
        if new.rank < .max { queue.insert(.init(rank: new.rank, place: Int32(left), whole: new.whole)) }
      }
    }
    var kept = first
    for place in 0..<count where !isGone[place] {
      tokens[kept] = tokens[first + place]
      kept += 1
    }
    tokens.removeLast(tokens.count - kept)
  }
}

/// Which tokens are joined, how early, and what they become.
private struct MergeTable: Sendable {
  private struct Entry: Sendable {
    var first: Int32 = -1
    var second: Int32 = 0
    var rank: Int32 = .max
    var whole: Int32 = -1
  }

  private var entries: [Entry]
  private let seed = UInt64.random(in: .min ... .max)

  init(capacity: Int) {
    var size = 16
    while size < capacity * 2 { size *= 2 }
    entries = Array(repeating: Entry(), count: size)
  }

  /// Where a pair is, or where it would be.
  @inline(__always)
  private func slot(_ first: Int32, _ second: Int32) -> Int {
    let pair = UInt64(UInt32(bitPattern: first)) << 32 | UInt64(UInt32(bitPattern: second))
    let mixed = (pair ^ seed) &* 0x9E37_79B9_7F4A_7C15
    var slot = Int((mixed ^ mixed >> 32) & UInt64(entries.count - 1))
    while entries[slot].first >= 0, entries[slot].first != first || entries[slot].second != second {
      slot = (slot + 1) & (entries.count - 1)
    }
    return slot
  }

  mutating func insert(_ first: Int32, _ second: Int32, rank: Int32, whole: Int32) {
    entries[slot(first, second)] = Entry(first: first, second: second, rank: rank, whole: whole)
  }

  /// The rank of a pair, `Int32.max` where it is not joined, and what it becomes.
  @inline(__always)
  subscript(_ first: Int32, _ second: Int32) -> (rank: Int32, whole: Int32) {
    let entry = entries[slot(first, second)]
    return (entry.rank, entry.whole)
  }
}

/// Pairs that wait to be joined: the lowest rank first, and of one rank the first in the text. A binary heap.
private struct PairQueue {
  struct Pair {
    var rank: Int32
    var place: Int32
    var whole: Int32

    func comesBefore(_ other: Pair) -> Bool { (rank, place) < (other.rank, other.place) }
  }

  private var heap: [Pair] = []

  mutating func insert(_ pair: Pair) {
    heap.append(pair)
    var place = heap.count - 1
    while place > 0, pair.comesBefore(heap[(place - 1) / 2]) {
      heap[place] = heap[(place - 1) / 2]
      place = (place - 1) / 2
    }
    heap[place] = pair
  }

  mutating func removeFirst() -> Pair? {
    guard let first = heap.first, let last = heap.popLast() else { return nil }
    guard !heap.isEmpty else { return first }
    var place = 0
    while true {
      var child = 2 * place + 1
      guard child < heap.count else { break }
      if child + 1 < heap.count, heap[child + 1].comesBefore(heap[child]) { child += 1 }
      guard heap[child].comesBefore(last) else { break }
      heap[place] = heap[child]
      place = child
    }
    heap[place] = last
    return first
  }
}
