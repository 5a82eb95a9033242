/// A character of a text that is being tokenized, and the characters of the text that it stands for.
struct TextScalar: Sendable {
  var value: UInt32
  /// The first of the text's characters (Unicode scalars) that it stands for.
  var start: Int32
  /// The one after the last.
  var end: Int32
}

/// A text that is changed step by step, and knows of each character where it comes from.
struct NormalizedText: Sendable {
  var scalars: [TextScalar]
  /// How long it may become: a file could ask for a text that grows without end.
  private let limit: Int

  init(_ scalars: [TextScalar]) {
    self.scalars = scalars
    limit = Self.limit(scalars.count)
  }

  /// How long a text may become.
  static func limit(_ count: Int) -> Int { 4096 + 64 * count }

  /// - Throws: `TokenizerError` when it has become far too long.
  func checkLength(adding count: Int = 0) throws {
    guard scalars.count + count <= limit else {
      throw TokenizerError("the tokenizer makes the text more than 64 times as long", remedy: "Its files are damaged")
    }
  }

  init(_ text: String) {
    var scalars: [TextScalar] = []
    scalars.reserveCapacity(text.utf8.count)
    var place: Int32 = 0
    for scalar in text.unicodeScalars {
      scalars.append(TextScalar(value: scalar.value, start: place, end: place + 1))
      place += 1
    }
    self.init(scalars)
  }

  /// What is there now.
  var text: String { String(scalars) }

  mutating func removeAll(in sets: UInt64) {
    let characters = Characters.all
    scalars.removeAll { characters.isIn(sets, $0.value) }
  }

  mutating func lowercase() {
    let characters = Characters.all
    let forms = CharacterForms.all
    var added: [Int] = []
    for place in scalars.indices {
      let value = scalars[place].value
      if value < 128 {
        if value >= 65 && value <= 90 { scalars[place].value = value + 32 }
      } else if characters.isIn(CharacterTables.hasLowercase, value), let letter = forms.lowercase(of: value) {
        scalars[place].value = letter
        if value == 0x130 { added.append(place) }
      }
    }
    guard !added.isEmpty else { return }
    var next = added[...]
    var result: [TextScalar] = []
    result.reserveCapacity(scalars.count + added.count)
    for (place, scalar) in scalars.enumerated() {
      result.append(scalar)
      if place == next.first {
        next.removeFirst()
        result.append(TextScalar(value: 0x307, start: scalar.start, end: scalar.end))
      }
    }
    scalars = result
  }

  /// Puts a text before this one, which stands for the same as its first character.
  mutating func prepend(_ text: [UInt32]) {
    guard let first = scalars.first else { return }
    scalars.insert(contentsOf: text.map { TextScalar(value: $0, start: first.start, end: first.end) }, at: 0)
  }

  /// Removes whitespace from its ends.
  mutating func strip(left: Bool, right: Bool) {
    let characters = Characters.all
    if right {
      let kept = scalars.lastIndex { !characters.isIn(CharacterTables.whitespace, $0.value) }
      scalars.removeLast(scalars.count - (kept.map { $0 + 1 } ?? 0))
    }
    if left {
      let kept = scalars.firstIndex { !characters.isIn(CharacterTables.whitespace, $0.value) } ?? scalars.count
      scalars.removeFirst(kept)
    }
  }

  /// Replaces what a pattern finds. What it is replaced by stands for what the last character found does.
  mutating func replace(_ pattern: TextPattern, by content: [UInt32]) throws {
    let matches = try pattern.matches(in: scalars, scalars.indices)
    guard matches.contains(where: \.isMatch) else { return }
    var result: [TextScalar] = []
    result.reserveCapacity(scalars.count)
    for match in matches {
      guard match.isMatch else {
        result += scalars[match.range]
        continue
      }
      guard result.count + content.count <= limit else { return try checkLength(adding: limit) }
      let last = scalars[max(match.range.upperBound - 1, 0)]
      result += content.map { TextScalar(value: $0, start: last.start, end: last.end) }
    }
    scalars = result
  }

  // MARK: Unicode's forms

  private struct Part {
    var value: UInt32
    /// How many characters more there are than before: 1 for one that is new, −n for one with n others in it.
    var change: Int
  }

  /// Brings it into one of Unicode's normalization forms: NFD, NFKD, NFC or NFKC.
  mutating func normalize(compatible: Bool, composed: Bool) {
    let characters = Characters.all
    let sets = CharacterTables.combines | (compatible ? CharacterTables.isCompatible : CharacterTables.decomposes)
    // What is plain up to U+02FF stays itself, also when composed; most texts are.
    guard
      scalars.contains(where: {
        $0.value >= 0xA0 && (characters.isIn(sets, $0.value) || composed && $0.value >= 0x300)
      })
    else { return }
    let forms = CharacterForms.all
    var parts: [Part] = []
    parts.reserveCapacity(scalars.count)
    // Where the marks begin that may yet change places.
    var marks = 0
    func order() {
      guard parts.count - marks > 1 else { return }
      let classes = parts[marks...].map { forms.combiningClass(of: $0.value) }
      guard zip(classes, classes.dropFirst()).contains(where: >) else { return }
      let ordered = classes.indices.sorted { (classes[$0], $0) < (classes[$1], $1) }.map { parts[marks + $0] }
      parts.replaceSubrange(marks..., with: ordered)
    }
    func append(_ value: UInt32, isNew: Bool) {
      let isMark = value >= 0x300 && characters.isIn(CharacterTables.combines, value)
      if !isMark { order() }
      parts.append(Part(value: value, change: isNew ? 1 : 0))
      if !isMark { marks = parts.count }
    }
    for scalar in scalars {
      if scalar.value >= 0xA0, characters.isIn(sets & ~CharacterTables.combines, scalar.value),
        let decomposition = forms.decomposition(of: scalar.value, compatible: compatible)
      {
        for (place, part) in decomposition.enumerated() { append(part, isNew: place > 0) }
      } else {
        append(scalar.value, isNew: false)
      }
    }
    order()
    transform(into: composed ? Self.compose(parts) : parts)
  }

  private static func compose(_ parts: [Part]) -> [Part] {
    let forms = CharacterForms.all
    let characters = Characters.all
    var result: [Part] = []
    result.reserveCapacity(parts.count)
    // The place in the result of the character that others may join, and the class of the last that did not.
    var base: Int?
    var lastClass: UInt8?
    for part in parts {
      let ownClass = characters.isIn(CharacterTables.combines, part.value) ? forms.combiningClass(of: part.value) : 0
      guard let place = base else {
        if ownClass == 0 { base = result.count }
        result.append(part)
        continue
      }
      let isBlocked = lastClass.map { $0 >= ownClass } ?? false
      if !isBlocked, let whole = forms.composition(of: result[place].value, and: part.value) {
        result[place] = Part(value: whole, change: result[place].change + part.change - 1)
        continue
      }
      if ownClass == 0 {
        base = result.count
        lastClass = nil
      } else {
        lastClass = ownClass
      }
      result.append(part)
    }
    return result
  }

  /// Takes new characters, which say how many of the old ones each takes the place of.
  private mutating func transform(into parts: [Part]) {
    var result: [TextScalar] = []
    result.reserveCapacity(parts.count)
    var place = 0
    for part in parts {
      let source: TextScalar
      if part.change > 0 {
        source = place > 0 ? scalars[place - 1] : TextScalar(value: 0, start: 0, end: 0)
      } else {
        source = scalars[min(place, scalars.count - 1)]
        place = min(place + 1 - part.change, scalars.count)
      }
      result.append(TextScalar(value: part.value, start: source.start, end: source.end))
    }
    scalars = result
  }
}

extension String {
  init(_ scalars: some Collection<TextScalar>) {
    var view = String.UnicodeScalarView()
    for scalar in scalars { if let scalar = Unicode.Scalar(scalar.value) { view.append(scalar) } }
    self = String(view)
  }

  /// The numbers of its characters.
  var values: [UInt32] { unicodeScalars.map(\.value) }
}
