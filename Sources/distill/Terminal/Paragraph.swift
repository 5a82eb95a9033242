import DistillRecipes

/// Text that is broken into lines of the terminal's width.
enum Paragraph {
  /// The text below a first column: `indent` columns are left free on every line but the first.
  static func hanging(_ text: String, indent: Int, in terminal: Terminal) -> String {
    let room = max(30, (terminal.columns() ?? .max / 2) - indent - 1)
    let margin = "\n" + String(repeating: " ", count: indent)
    return text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      // What a compiler prints below a message keeps its columns.
      line.hasPrefix(" ") ? String(line) : broken(String(line), room: room).joined(separator: margin)
    }.joined(separator: margin)
  }

  private static func broken(_ text: String, room: Int) -> [String] {
    var lines: [String] = []
    var line = ""
    for word in text.split(separator: " ") {
      if !line.isEmpty, TextWidth.of(line) + 1 + TextWidth.of(String(word)) > room {
        lines.append(line)
        line = ""
      }
      line += line.isEmpty ? String(word) : " \(word)"
    }
    return lines + [line]
  }

  static func padded(_ text: String, to width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - TextWidth.of(text)))
  }
}
