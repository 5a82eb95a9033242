/// How much room text takes in columns, in charts and in a terminal.
public enum TextWidth {
  /// The columns a text takes: none for marks that join the letter before, two for the letters of Chinese, Japanese and
  /// Korean and for most pictures.
  public static func of(_ text: String) -> Int { text.reduce(0) { $0 + of($1) } }

  static func of(_ character: Character) -> Int {
    guard let scalar = character.unicodeScalars.first else { return 0 }
    switch scalar.properties.generalCategory {
    case .control, .format, .nonspacingMark, .enclosingMark: return 0
    default: break
    }
    switch scalar.value {
    case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
      0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F680...0x1F6FF, 0x1F900...0x1FAFF, 0x20000...0x3FFFD:
      return 2
    default:
      // A variation selector asks for the picture of a character that is otherwise narrow.
      return character.unicodeScalars.contains { $0.value == 0xFE0F } ? 2 : 1
    }
  }

  /// The text cut to so many columns, with an ellipsis for what is gone.
  public static func shortened(_ text: String, to columns: Int) -> String {
    guard of(text) > columns else { return text }
    guard columns > 0 else { return "" }
    var result = ""
    var width = 0
    for character in text {
      let next = of(character)
      if width + next > columns - 1 { break }
      result.append(character)
      width += next
    }
    while result.last?.isWhitespace == true { result.removeLast() }
    return result + "…"
  }
}
