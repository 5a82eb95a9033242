/// What holds of each character: its general category and the sets that tokenizers ask for, as bits.
struct Characters: Sendable {
  static let all = Characters()

  /// For each 256 characters, where their kinds begin.
  private let pages: [Int32]
  private let kinds: [UInt8]
  private let legend: [UInt64]

  private init() {
    var kinds: [UInt8] = []
    kinds.reserveCapacity(0x110000)
    let numbers = CharacterTables.numbers(CharacterTables.kinds)
    for place in stride(from: 0, to: numbers.count, by: 2) {
      kinds.append(contentsOf: repeatElement(UInt8(numbers[place + 1]), count: numbers[place]))
    }
    var known: [ArraySlice<UInt8>: Int32] = [:]
    var stored: [UInt8] = []
    var pages: [Int32] = []
    for start in stride(from: 0, to: kinds.count, by: 256) {
      let page = kinds[start..<start + 256]
      let place = known[page] ?? Int32(stored.count)
      if known.updateValue(place, forKey: page) == nil { stored += page }
      pages.append(place)
    }
    self.pages = pages
    self.kinds = stored
    legend = CharacterTables.legend
  }

  /// The bits of a character.
  subscript(_ scalar: UInt32) -> UInt64 {
    legend[Int(kinds[Int(pages[Int(scalar >> 8)]) + Int(scalar & 255)])]
  }

  func isIn(_ sets: UInt64, _ scalar: UInt32) -> Bool { self[scalar] & sets != 0 }
}

extension CharacterTables {
  /// The numbers of a table: five bits in each character, the lowest first; the last of a number is one of the first 32.
  static func numbers(_ table: String) -> [Int] {
    var values = [UInt8](repeating: 0, count: 128)
    let digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
    for (value, digit) in digits.utf8.enumerated() { values[Int(digit)] = UInt8(value) }
    var numbers: [Int] = []
    var number = 0
    var shift = 0
    for character in table.utf8 {
      let digit = Int(values[Int(character)])
      number |= (digit & 31) << shift
      shift += 5
      if digit < 32 {
        numbers.append(number)
        number = 0
        shift = 0
      }
    }
    return numbers
  }

  /// The bits of a general category, of one letter or two; nil where there is none of that name.
  static func bits(ofCategory name: some StringProtocol) -> UInt64? {
    var bits: UInt64 = 0
    for (place, category) in categories.enumerated() where category == name || category.prefix(1) == name {
      bits |= 1 << UInt64(place)
    }
    return bits == 0 ? nil : bits
  }
}
