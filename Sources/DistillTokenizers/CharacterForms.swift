/// How characters are taken apart, put together and made lowercase.
struct CharacterForms: Sendable {
  static let all = CharacterForms()

  private let canonical: [UInt32: [UInt32]]
  private let compatible: [UInt32: [UInt32]]
  private let combining: [UInt32: UInt8]
  private let compositions: [UInt64: UInt32]
  private let lowercase: [UInt32: UInt32]

  private init() {
    canonical = Self.decompositions(CharacterTables.canonical)
    compatible = Self.decompositions(CharacterTables.compatible)
    var numbers = CharacterTables.numbers(CharacterTables.combining)
    var combining: [UInt32: UInt8] = [:]
    var last = 0
    for place in stride(from: 0, to: numbers.count, by: 2) {
      last += numbers[place]
      combining[UInt32(last)] = UInt8(numbers[place + 1])
    }
    self.combining = combining
    numbers = CharacterTables.numbers(CharacterTables.compositions)
    var compositions: [UInt64: UInt32] = [:]
    last = 0
    for place in stride(from: 0, to: numbers.count, by: 3) {
      last += numbers[place]
      compositions[UInt64(numbers[place + 1]) << 32 | UInt64(numbers[place + 2])] = UInt32(last)
    }
    self.compositions = compositions
    numbers = CharacterTables.numbers(CharacterTables.lowercase)
    var lowercase: [UInt32: UInt32] = [:]
    last = 0
    for place in stride(from: 0, to: numbers.count, by: 4) {
      last += numbers[place]
      let zigzag = numbers[place + 3]
      let distance = zigzag & 1 == 0 ? zigzag / 2 : -(zigzag + 1) / 2
      for step in 0..<numbers[place + 1] {
        let letter = last + step * numbers[place + 2]
        lowercase[UInt32(letter)] = UInt32(letter + distance)
      }
    }
    self.lowercase = lowercase
  }

  private static func decompositions(_ table: String) -> [UInt32: [UInt32]] {
    let numbers = CharacterTables.numbers(table)
    var found: [UInt32: [UInt32]] = [:]
    var last = 0
    var place = 0
    while place < numbers.count {
      last += numbers[place]
      let parts = numbers[place + 2..<place + 2 + numbers[place + 1]]
      found[UInt32(last)] = parts.map { UInt32($0) }
      place += 2 + parts.count
    }
    return found
  }

  /// The parts of a character that has some.
  func decomposition(of scalar: UInt32, compatible asCompatible: Bool) -> [UInt32]? {
    if (0xAC00..<0xAC00 + 11172).contains(scalar) {
      let number = scalar - 0xAC00
      let parts = [0x1100 + number / 588, 0x1161 + number % 588 / 28]
      return number % 28 == 0 ? parts : parts + [0x11A7 + number % 28]
    }
    if asCompatible, let parts = compatible[scalar] { return parts }
    return canonical[scalar]
  }

  /// 0 for a character that does not combine with the one before it.
  func combiningClass(of scalar: UInt32) -> UInt8 { combining[scalar] ?? 0 }

  /// What two characters are together.
  func composition(of first: UInt32, and second: UInt32) -> UInt32? {
    if (0x1100..<0x1113).contains(first), (0x1161..<0x1176).contains(second) {
      return 0xAC00 + ((first - 0x1100) * 21 + second - 0x1161) * 28
    }
    if (0xAC00..<0xAC00 + 11172).contains(first), (first - 0xAC00) % 28 == 0, (0x11A8..<0x11C3).contains(second) {
      return first + second - 0x11A7
    }
    return compositions[UInt64(first) << 32 | UInt64(second)]
  }

  /// The lowercase letter of a character that has one. Of U+0130, the one with two, it is the first.
  func lowercase(of scalar: UInt32) -> UInt32? { scalar == 0x130 ? 0x69 : lowercase[scalar] }

  /// Characters that have a lowercase letter of one character, each with it.
  var lowercaseLetters: [UInt32: UInt32] { lowercase }
}
