import DistillRecipes

/// Text that is broken into lines of the terminal's width.
enum Paragraph {
  /// Below this there is no room beside a first column, and the text goes below it.
  private static let leastRoom = 24

  /// The text below a first column: `indent` columns are left free on every line but the first. On a narrow terminal it
  /// begins on a line of its own.
  static func hanging(_ text: String, indent: Int, in terminal: Terminal) -> String {
    let room = (terminal.columns() ?? .max / 2) - 1 - indent
    guard room >= leastRoom || indent == 0 else {
      return "\n" + lines(text, room: room + indent - 4).map { "    " + $0 }.joined(separator: "\n")
    }
    return lines(text, room: room).joined(separator: "\n" + String(repeating: " ", count: indent))
  }

  /// Sentences over the whole width, which may be styled already.
  static func wrapped(_ text: String, in terminal: Terminal) -> String { hanging(text, indent: 0, in: terminal) }

  private static func lines(_ text: String, room: Int) -> [String] {
    text.split(separator: "\n", omittingEmptySubsequences: false).flatMap { line in
      // What a compiler prints below a message keeps its columns.
      line.hasPrefix(" ") ? [String(line)] : broken(String(line), room: max(8, room))
    }
  }

  private static func broken(_ text: String, room: Int) -> [String] {
    var lines: [String] = []
    var line = ""
    var width = 0
    // A number stays with its sign.
    for word in text.replacing(" %", with: "\u{A0}%").split(separator: " ") {
      let next = visibleWidth(String(word))
      if !line.isEmpty, width + 1 + next > room {
        lines.append(line)
        (line, width) = ("", 0)
      }
      width += next + (line.isEmpty ? 0 : 1)
      line += line.isEmpty ? String(word) : " \(word)"
    }
    return lines + [line]
  }

  /// Without what only changes colours.
  private static func visibleWidth(_ text: String) -> Int {
    guard text.contains("\u{1B}") else { return TextWidth.of(text) }
    return TextWidth.of(text.replacing(/\u{1B}\[[0-9;]*m/, with: ""))
  }

  static func padded(_ text: String, to width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - TextWidth.of(text)))
  }
}
