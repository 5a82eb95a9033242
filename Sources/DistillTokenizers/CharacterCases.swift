/// Which characters differ in case alone, as a pattern that begins with `(?i)` has it: an uppercase letter and its lowercase
/// one, and variants of them, such as ς of σ and the sign for Kelvin of k.
///
/// Only single characters: that ß is ss and ﬁ is fi in another case is not known here.
///
/// ## Reference
/// Unicode, CaseFolding.txt, of which Oniguruma takes the groups
struct CharacterCases: Sendable {
  static let all = CharacterCases()

  /// Those that are there in another case, too, sorted.
  let characters: [UInt32]
  private let groups: [UInt32: [UInt32]]

  /// Variants that have an uppercase letter in common with a lowercase one, and are not its lowercase letter.
  private static let variants: [(UInt32, of: UInt32)] = [
    (0xB5, 0x3BC), (0x17F, 0x73), (0x345, 0x3B9), (0x3C2, 0x3C3), (0x3D0, 0x3B2), (0x3D1, 0x3B8), (0x3D5, 0x3C6),
    (0x3D6, 0x3C0), (0x3F0, 0x3BA), (0x3F1, 0x3C1), (0x3F5, 0x3B5), (0x1C80, 0x432), (0x1C81, 0x434), (0x1C82, 0x43E),
    (0x1C83, 0x441), (0x1C84, 0x442), (0x1C85, 0x442), (0x1C86, 0x44A), (0x1C87, 0x463), (0x1C88, 0xA64B),
    (0x1E9B, 0x1E61), (0x1FBE, 0x3B9), (0x1FD3, 0x390), (0x1FE3, 0x3B0), (0xFB05, 0xFB06),
  ]

  private init() {
    var members: [UInt32: [UInt32]] = [:]
    // The lowercase letter of İ is two characters.
    let pairs = CharacterForms.all.lowercaseLetters.filter { $0.key != 0x130 }.map { ($0.key, of: $0.value) }
    for (other, letter) in pairs + Self.variants { members[letter, default: [letter]].append(other) }
    var groups: [UInt32: [UInt32]] = [:]
    for group in members.values { for member in group { groups[member] = group.sorted() } }
    self.groups = groups
    characters = groups.keys.sorted()
  }

  /// A character and those that differ from it in case alone.
  func group(of character: UInt32) -> [UInt32] { groups[character] ?? [character] }

  /// Those in a range that are there in another case, too.
  func characters(in range: ClosedRange<UInt32>) -> ArraySlice<UInt32> {
    func place(of value: UInt32) -> Int {
      var (low, high) = (0, characters.count)
      while low < high {
        let middle = (low + high) / 2
        if characters[middle] < value { low = middle + 1 } else { high = middle }
      }
      return low
    }
    return characters[place(of: range.lowerBound)..<place(of: range.upperBound + 1)]
  }
}
