/// Reads a regular expression.
struct PatternParser {
  private let pattern: String
  private let characters: [UInt32]
  private var place = 0
  private var depth = 0
  private var ignoresCase = false
  private var dotIsAll = false
  private(set) var sets: [PatternSet] = []

  init(_ pattern: String) {
    self.pattern = pattern
    characters = pattern.values
  }

  /// - Throws: `TokenizerError` that names what is not understood.
  mutating func parse() throws -> PatternNode {
    guard characters.count < 20_000 else {
      throw TokenizerError("a pattern of \(characters.count) characters is too large")
    }
    let node = try alternatives()
    guard place == characters.count else { throw problem("there is a ) without a (") }
    return node
  }

  private func problem(_ text: String) -> TokenizerError {
    TokenizerError("the pattern \(pattern) is not understood: \(text)")
  }

  private var next: Unicode.Scalar? { place < characters.count ? Unicode.Scalar(characters[place]) : nil }

  private func follows(_ text: String) -> Bool { characters[place...].starts(with: text.values) }

  private mutating func take(_ text: String) -> Bool {
    guard follows(text) else { return false }
    place += text.values.count
    return true
  }

  private mutating func add(_ set: PatternSet) -> PatternNode {
    var set = set
    set.close()
    sets.append(set)
    return .set(sets.count - 1)
  }

  // MARK: Structure

  private mutating func alternatives() throws -> PatternNode {
    depth += 1
    defer { depth -= 1 }
    guard depth < 50 else { throw problem("it is nested too deeply") }
    // What `(?i)` says holds to the end of the group.
    let (oldCase, oldDot) = (ignoresCase, dotIsAll)
    defer { (ignoresCase, dotIsAll) = (oldCase, oldDot) }
    var parts = [try sequence()]
    while take("|") { parts.append(try sequence()) }
    return parts.count == 1 ? parts[0] : .alternatives(parts)
  }

  private mutating func sequence() throws -> PatternNode {
    var parts: [PatternNode] = []
    while let next, next != "|", next != ")" {
      guard let atom = try atom() else { continue }
      parts.append(try repeated(atom))
    }
    return parts.isEmpty ? .empty : parts.count == 1 ? parts[0] : .sequence(parts)
  }

  private mutating func repeated(_ atom: PatternNode) throws -> PatternNode {
    var node = atom
    while true {
      let minimum: Int
      let maximum: Int?
      var isInterval = false
      if take("*") {
        (minimum, maximum) = (0, nil)
      } else if take("+") {
        (minimum, maximum) = (1, nil)
      } else if take("?") {
        (minimum, maximum) = (0, 1)
      } else if next == "{", let (least, most) = try interval() {
        (minimum, maximum) = (least, most)
        isInterval = true
      } else {
        return node
      }
      if case .place = node { throw problem("a place is repeated") }
      var greed = PatternNode.Greed.greedy
      if take("?") {
        greed = .lazy
      } else if next == "+" {
        // Behind an interval a plus is no mark of possession but repeats the interval.
        if isInterval { throw problem("{…}+") }
        place += 1
        greed = .possessive
      }
      node = .repeated(node, minimum: minimum, maximum: maximum, greed)
    }
  }

  /// `{2}`, `{2,}`, `{,3}` or `{2,3}`; nil where the brace stands for itself.
  private mutating func interval() throws -> (Int, Int?)? {
    let start = place
    place += 1
    let least = number()
    let hasComma = take(",")
    let most = hasComma ? number() : least
    guard take("}"), least != nil || most != nil else {
      place = start
      return nil
    }
    guard (least ?? 0) <= 1000, (most ?? 0) <= 1000, (least ?? 0) <= most ?? .max else {
      throw problem("its repetitions")
    }
    return (least ?? 0, most)
  }

  private mutating func number() -> Int? {
    let start = place
    while let next, ("0"..."9").contains(next), place - start < 6 { place += 1 }
    return Int(String(characters[start..<place].compactMap(Unicode.Scalar.init).map(Character.init)))
  }

  private mutating func atom() throws -> PatternNode? {
    guard let next else { return nil }
    switch next {
    case "(": return try group()
    case "[": return add(try characterClass())
    case ".":
      place += 1
      var set = PatternSet()
      if !dotIsAll { set.ranges = [10...10] }
      set.isInverted = true
      return add(set)
    case "^":
      place += 1
      return .place(.lineStart)
    case "$":
      place += 1
      return .place(.lineEnd)
    case "*", "+", "?": throw problem("there is nothing before \(next) to repeat")
    case "\\":
      for (name, kind) in [
        ("\\A", PatternNode.Place.textStart), ("\\z", .textEnd), ("\\Z", .textEndBeforeNewline), ("\\b", .wordEdge),
        ("\\B", .noWordEdge),
      ] where take(name) { return .place(kind) }
      var set = PatternSet()
      try escape(into: &set)
      return add(set)
    default:
      place += 1
      var set = PatternSet()
      include(next.value, in: &set)
      return add(set)
    }
  }

  private mutating func group() throws -> PatternNode? {
    place += 1
    var wrap: (PatternNode) -> PatternNode = { $0 }
    if take("?=") {
      wrap = { .ahead($0, isNegative: false) }
    } else if take("?!") {
      wrap = { .ahead($0, isNegative: true) }
    } else if take("?<=") {
      wrap = { .behind($0, isNegative: false) }
    } else if take("?<!") {
      wrap = { .behind($0, isNegative: true) }
    } else if take("?>") {
      wrap = { .atomic($0) }
    } else if take("?") {
      let (oldCase, oldDot) = (ignoresCase, dotIsAll)
      var isOn = true
      while let next, next != ":", next != ")" {
        place += 1
        switch next {
        case "-": isOn = false
        case "i": ignoresCase = isOn
        case "m": dotIsAll = isOn
        default: throw problem("(?\(next)")
        }
      }
      // `(?i)` holds for what follows in the group around it, `(?i:…)` for what is in it.
      if take(")") {
        let rest = try alternatives()
        return rest
      }
      guard take(":") else { throw problem("a group has no end") }
      defer { (ignoresCase, dotIsAll) = (oldCase, oldDot) }
      return try end(of: try alternatives())
    }
    return try end(of: wrap(try alternatives()))
  }

  private mutating func end(of node: PatternNode) throws -> PatternNode {
    guard take(")") else { throw problem("a group has no end") }
    return node
  }

  // MARK: Sets

  /// A character that stands for itself, outside of classes.
  private func include(_ value: UInt32, in set: inout PatternSet) {
    set.ranges.append(value...value)
    if ignoresCase { set.addOtherCases() }
  }

  private mutating func characterClass() throws -> PatternSet {
    place += 1
    var set = PatternSet()
    set.isInverted = take("^")
    if next == "]" { throw problem("a class begins with ]") }
    while true {
      guard let next else { throw problem("a class has no end") }
      if next == "]" {
        place += 1
        if ignoresCase { set.addOtherCases() }
        return set
      }
      if next == "[" { throw problem("a class in a class") }
      if follows("&&") { throw problem("the intersection of classes, &&") }
      var first = next.value
      if next == "\\" {
        guard let value = try escape(into: &set, isInClass: true) else { continue }
        first = value
      } else {
        place += 1
      }
      var last = first
      if follows("-"), place + 1 < characters.count, characters[place + 1] != UInt32(UInt8(ascii: "]")) {
        place += 1
        guard let end = self.next else { throw problem("a class has no end") }
        if end == "[" { throw problem("a class in a class") }
        last = end.value
        if end == "\\" {
          var other = PatternSet()
          guard let value = try escape(into: &other, isInClass: true) else { throw problem("a range of classes") }
          last = value
        } else {
          place += 1
        }
        guard first <= last else { throw problem("a range goes backwards") }
      }
      set.ranges.append(first...last)
    }
  }

  /// Puts what an escape stands for into a set. In a class a single character is not put in but returned, because a range
  /// may begin with it.
  @discardableResult
  private mutating func escape(into set: inout PatternSet, isInClass: Bool = false) throws -> UInt32? {
    place += 1
    guard let next else { throw problem("it ends with a \\") }
    place += 1
    let value: UInt32
    switch next {
    case "s": set.included |= CharacterTables.patternSpace
    case "S": set.excluded.append(CharacterTables.patternSpace)
    case "w": set.included |= CharacterTables.patternWord
    case "W": set.excluded.append(CharacterTables.patternWord)
    case "d": set.included |= CharacterTables.patternDigit
    case "D": set.excluded.append(CharacterTables.patternDigit)
    case "p", "P": try category(isInverted: next == "P", into: &set)
    default:
      switch next {
      case "n": value = 10
      case "r": value = 13
      case "t": value = 9
      case "f": value = 12
      case "v": value = 11
      case "a": value = 7
      case "e": value = 27
      case "x":
        value = take("{") ? try hexadecimal(upTo: 8, "}") : try hexadecimal(upTo: 2)
      case "u": value = try hexadecimal(exactly: 4)
      case "a"..."z", "A"..."Z", "0"..."9": throw problem("\\\(next)")
      default: value = next.value
      }
      guard !isInClass else { return value }
      include(value, in: &set)
    }
    return nil
  }

  private mutating func hexadecimal(exactly count: Int? = nil, upTo limit: Int = 4, _ end: String? = nil) throws
    -> UInt32
  {
    let start = place
    while let next, next.properties.isASCIIHexDigit, place - start < count ?? limit { place += 1 }
    let digits = String(characters[start..<place].compactMap(Unicode.Scalar.init).map(Character.init))
    guard let value = UInt32(digits, radix: 16), count.map({ $0 == place - start }) ?? true, value < 0x110000,
      end.map({ take($0) }) ?? true
    else { throw problem("a character's number") }
    return value
  }

  private mutating func category(isInverted: Bool, into set: inout PatternSet) throws {
    var name = ""
    guard take("{") else { throw problem("\\p without {…}") }
    var isInverted = isInverted
    if take("^") { isInverted.toggle() }
    while let next, next != "}", name.count < 40 {
      name.unicodeScalars.append(next)
      place += 1
    }
    guard take("}"), let bits = CharacterTables.bits(ofCategory: name) else { throw problem("\\p{\(name)}") }
    if isInverted { set.excluded.append(bits) } else { set.included |= bits }
  }
}
