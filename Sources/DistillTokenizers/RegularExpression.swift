/// A regular expression as tokenizers have them, with the meaning that Oniguruma, the library of Hugging Face's `tokenizers`,
/// gives it.
///
/// Groups, alternatives, classes, general categories such as `\p{Lu}`, greedy, lazy and possessive repetition, lookahead and
/// lookbehind are known; what is not known (names, references, scripts, nested classes) is refused by name. A search that
/// would take much longer than the text is long is given up with an error.
struct RegularExpression: Sendable {
  let pattern: String
  private let program: PatternProgram

  /// - Throws: `TokenizerError` that names what is not understood.
  init(_ pattern: String) throws {
    self.pattern = pattern
    var parser = PatternParser(pattern)
    let node = try parser.parse()
    program = try PatternProgram(node, sets: parser.sets, pattern: pattern)
  }

  /// Calls `found` with each match in a part of a text, from the left and without overlap. What is before and after the part
  /// is not seen.
  func search(
    _ text: UnsafeBufferPointer<TextScalar>, _ range: Range<Int>, found: (Range<Int>) -> Void
  ) throws {
    var matcher = PatternMatcher(program: program, text: text, range: range)
    var place = range.lowerBound
    var lastEnd: Int?
    while place < range.upperBound || place == range.upperBound && !range.isEmpty {
      guard let end = matcher.match(at: place) else {
        place += 1
        continue
      }
      // An empty match right behind another is none.
      if end > place || lastEnd != end { found(place..<end) }
      lastEnd = end
      place = end > place ? end : place + 1
      if matcher.isExhausted { break }
    }
    if matcher.isExhausted {
      throw TokenizerError("splitting a text by \(pattern) takes too long", remedy: "Use a shorter text")
    }
  }
}

/// A set of characters: ranges, and sets of the tables, or all others.
struct PatternSet: Sendable {
  var ranges: [ClosedRange<UInt32>] = []
  var included: UInt64 = 0
  /// Sets of which the characters outside are in, as `\S` says.
  var excluded: [UInt64] = []
  var isInverted = false
  /// The first 128 characters, for speed.
  private var low: (UInt64, UInt64) = (0, 0)

  init() {}

  /// To be called when all is in.
  mutating func close() {
    for value in 0..<128 as Range<UInt32> where computed(value) {
      if value < 64 { low.0 |= 1 << UInt64(value) } else { low.1 |= 1 << UInt64(value - 64) }
    }
  }

  func contains(_ value: UInt32) -> Bool {
    if value < 64 { return low.0 >> UInt64(value) & 1 != 0 }
    if value < 128 { return low.1 >> UInt64(value - 64) & 1 != 0 }
    return computed(value)
  }

  private func computed(_ value: UInt32) -> Bool { holds(value) != isInverted }

  /// Whether it is named, or where the set is inverted, left out.
  private func holds(_ value: UInt32) -> Bool {
    if included != 0 || !excluded.isEmpty {
      let bits = Characters.all[value]
      if bits & included != 0 || excluded.contains(where: { bits & $0 == 0 }) { return true }
    }
    return ranges.contains { $0.contains(value) }
  }

  /// Names what differs only in case from what is named, too.
  mutating func addOtherCases() {
    let cases = CharacterCases.all
    ranges = Self.joined(ranges)
    let named: [UInt32] =
      included == 0 && excluded.isEmpty
      ? ranges.flatMap(cases.characters(in:)) : cases.characters.filter(holds)
    let others = Set(named.flatMap(cases.group(of:))).subtracting(named)
    ranges = Self.joined(ranges + others.map { $0...$0 })
  }

  /// The same characters in the fewest ranges, sorted.
  private static func joined(_ ranges: [ClosedRange<UInt32>]) -> [ClosedRange<UInt32>] {
    var joined: [ClosedRange<UInt32>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      guard let last = joined.last, range.lowerBound <= last.upperBound + 1 else {
        joined.append(range)
        continue
      }
      joined[joined.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
    }
    return joined
  }
}

/// What a part of a pattern is.
indirect enum PatternNode: Sendable {
  enum Greed: Sendable { case greedy, lazy, possessive }
  enum Place: Sendable { case textStart, textEnd, textEndBeforeNewline, lineStart, lineEnd, wordEdge, noWordEdge }

  case empty
  case set(Int)
  case sequence([PatternNode])
  case alternatives([PatternNode])
  case repeated(PatternNode, minimum: Int, maximum: Int?, Greed)
  case ahead(PatternNode, isNegative: Bool)
  case behind(PatternNode, isNegative: Bool)
  case atomic(PatternNode)
  case place(Place)

  /// The least that it matches.
  var minimumLength: Int {
    switch self {
    case .empty, .ahead, .behind, .place: 0
    case .set: 1
    case .sequence(let parts): parts.reduce(0) { min($0 + $1.minimumLength, 1 << 20) }
    case .alternatives(let parts): parts.map(\.minimumLength).min() ?? 0
    case .repeated(let part, let minimum, _, _): min(part.minimumLength * minimum, 1 << 20)
    case .atomic(let part): part.minimumLength
    }
  }

  /// How long every match is; nil where that differs.
  var fixedLength: Int? {
    switch self {
    case .empty, .ahead, .behind, .place: return 0
    case .set: return 1
    case .sequence(let parts):
      var sum = 0
      for part in parts {
        guard let length = part.fixedLength, sum < 1 << 20 else { return nil }
        sum += length
      }
      return sum
    case .alternatives(let parts):
      let lengths = Set(parts.map(\.fixedLength))
      return lengths.count == 1 ? lengths.first ?? nil : nil
    case .repeated(let part, let minimum, let maximum, _):
      guard minimum == maximum, let length = part.fixedLength else { return nil }
      return min(length * minimum, 1 << 20)
    case .atomic(let part): return part.fixedLength
    }
  }
}

/// A pattern as steps that a matcher takes.
struct PatternProgram: Sendable {
  enum Step: Sendable {
    case set(Int)
    /// Goes on at the first, and if that fails at the second.
    case fork(Int, Int)
    case jump(Int)
    case repeated(set: Int, minimum: Int, maximum: Int, isPossessive: Bool)
    /// The steps up to `end` must match, or must not, from here or from `back` characters before.
    case look(back: Int, isNegative: Bool, end: Int)
    case atomic(end: Int)
    case place(PatternNode.Place)
    case accept
  }

  private(set) var steps: [Step] = []
  let sets: [PatternSet]
  private let pattern: String
  private var nodeCount = 0

  init(_ node: PatternNode, sets: [PatternSet], pattern: String) throws {
    self.sets = sets
    self.pattern = pattern
    try add(node)
    try emit(.accept)
  }

  private mutating func emit(_ step: Step) throws {
    guard steps.count < 20_000 else { throw TokenizerError("the pattern \(pattern) is too large") }
    steps.append(step)
  }

  private mutating func add(_ node: PatternNode) throws {
    // What is repeated is added as often, also if it has no steps.
    nodeCount += 1
    guard nodeCount < 100_000 else { throw TokenizerError("the pattern \(pattern) is too large") }
    switch node {
    case .empty: break
    case .set(let set): try emit(.set(set))
    case .sequence(let parts): for part in parts { try add(part) }
    case .place(let place): try emit(.place(place))
    case .alternatives(let parts):
      var jumps: [Int] = []
      for (place, part) in parts.enumerated() {
        guard place < parts.count - 1 else {
          try add(part)
          break
        }
        let fork = steps.count
        try emit(.fork(0, 0))
        try add(part)
        jumps.append(steps.count)
        try emit(.jump(0))
        steps[fork] = .fork(fork + 1, steps.count)
      }
      for jump in jumps { steps[jump] = .jump(steps.count) }
    case .repeated(.set(let set), let minimum, let maximum, let greed) where greed != .lazy:
      try emit(
        .repeated(set: set, minimum: minimum, maximum: maximum ?? .max, isPossessive: greed == .possessive))
    case .repeated(let part, let minimum, let maximum, .possessive):
      try add(.atomic(.repeated(part, minimum: minimum, maximum: maximum, .greedy)))
    case .repeated(let part, let minimum, let maximum, let greed):
      for _ in 0..<minimum { try add(part) }
      guard let maximum else {
        guard part.minimumLength > 0 else {
          throw TokenizerError("the pattern \(pattern) repeats without end what may be empty, which is not known here")
        }
        let fork = steps.count
        try emit(.fork(0, 0))
        try add(part)
        try emit(.jump(fork))
        steps[fork] = greed == .greedy ? .fork(fork + 1, steps.count) : .fork(steps.count, fork + 1)
        return
      }
      var forks: [Int] = []
      for _ in 0..<max(0, maximum - minimum) {
        forks.append(steps.count)
        try emit(.fork(0, 0))
        try add(part)
      }
      for fork in forks {
        steps[fork] = greed == .greedy ? .fork(fork + 1, steps.count) : .fork(steps.count, fork + 1)
      }
    case .ahead(let part, let isNegative): try addLook(part, back: 0, isNegative)
    case .behind(let part, let isNegative):
      guard let length = part.fixedLength else {
        throw TokenizerError("the pattern \(pattern) looks behind by a length that varies, which is not known here")
      }
      try addLook(part, back: length, isNegative)
    case .atomic(let part):
      let start = steps.count
      try emit(.atomic(end: 0))
      try add(part)
      try emit(.accept)
      steps[start] = .atomic(end: steps.count)
    }
  }

  private mutating func addLook(_ part: PatternNode, back: Int, _ isNegative: Bool) throws {
    let start = steps.count
    try emit(.look(back: back, isNegative: isNegative, end: 0))
    try add(part)
    try emit(.accept)
    steps[start] = .look(back: back, isNegative: isNegative, end: steps.count)
  }
}

/// Runs a pattern's steps on a text, going back where one fails.
struct PatternMatcher {
  private let program: PatternProgram
  private let text: UnsafeBufferPointer<TextScalar>
  private let range: Range<Int>
  /// How many steps may yet be taken in this text.
  private var budget: Int
  private var marks: [Mark] = []

  /// Where to go on when a step fails.
  private struct Mark {
    var step: Int
    var place: Int
    /// The least place that a repetition may be cut back to; −1 where it is none.
    var lowest: Int
  }

  init(program: PatternProgram, text: UnsafeBufferPointer<TextScalar>, range: Range<Int>) {
    self.program = program
    self.text = text
    self.range = range
    budget = 2000 + 500 * range.count
  }

  var isExhausted: Bool { budget <= 0 }

  /// Where the match ends that begins at a place.
  mutating func match(at place: Int) -> Int? { run(from: 0, at: place) }

  private mutating func run(from first: Int, at start: Int) -> Int? {
    let bottom = marks.count
    defer { marks.removeLast(marks.count - bottom) }
    var step = first
    var place = start
    while true {
      budget -= 1
      guard budget > 0 else { return nil }
      var hasFailed = false
      switch program.steps[step] {
      case .accept: return place
      case .set(let set):
        if place < range.upperBound, program.sets[set].contains(text[place].value) {
          place += 1
          step += 1
        } else {
          hasFailed = true
        }
      case .fork(let next, let other):
        // Each mark is one step more, to bound the memory, too.
        budget -= 1
        marks.append(Mark(step: other, place: place, lowest: -1))
        step = next
      case .jump(let next): step = next
      case .repeated(let set, let minimum, let maximum, let isPossessive):
        let begin = place
        let limit = maximum < range.upperBound - place ? place + maximum : range.upperBound
        while place < limit, program.sets[set].contains(text[place].value) { place += 1 }
        budget -= place - begin
        step += 1
        if place - begin < minimum {
          hasFailed = true
        } else if !isPossessive, place - begin > minimum {
          marks.append(Mark(step: step, place: place, lowest: begin + minimum))
        }
      case .look(let back, let isNegative, let end):
        let matches = place - back >= range.lowerBound && run(from: step + 1, at: place - back) != nil
        if matches == isNegative { hasFailed = true } else { step = end }
      case .atomic(let end):
        if let after = run(from: step + 1, at: place) {
          place = after
          step = end
        } else {
          hasFailed = true
        }
      case .place(let kind): if holds(kind, at: place) { step += 1 } else { hasFailed = true }
      }
      guard hasFailed else { continue }
      guard marks.count > bottom, var mark = marks.popLast() else { return nil }
      if mark.lowest >= 0 {
        mark.place -= 1
        if mark.place > mark.lowest { marks.append(mark) }
      }
      step = mark.step
      place = mark.place
    }
  }

  private func holds(_ kind: PatternNode.Place, at place: Int) -> Bool {
    switch kind {
    case .textStart: return place == range.lowerBound
    case .textEnd: return place == range.upperBound
    case .textEndBeforeNewline:
      return place == range.upperBound || place == range.upperBound - 1 && text[place].value == 10
    case .lineStart:
      return place == range.lowerBound || text[place - 1].value == 10 && place < range.upperBound
    case .lineEnd: return place == range.upperBound || text[place].value == 10
    case .wordEdge, .noWordEdge:
      let characters = Characters.all
      let before = place > range.lowerBound && characters.isIn(CharacterTables.patternWord, text[place - 1].value)
      let after = place < range.upperBound && characters.isIn(CharacterTables.patternWord, text[place].value)
      return (before != after) == (kind == .wordEdge)
    }
  }
}
