import DistillRecipes

/// A table of aligned text: thin lines around it where the terminal can draw them, plain columns where not.
///
/// A table that is wider than the terminal is turned on its side, if it fits then; otherwise each row becomes a list.
struct TextTable: Sendable {
  enum Alignment: Sendable { case left, right }

  struct Column: Sendable {
    let title: String
    let alignment: Alignment

    init(_ title: String, _ alignment: Alignment = .left) {
      self.title = Terminal.plain(title)
      self.alignment = alignment
    }
  }

  private struct Row: Sendable {
    var cells: [String]
    var isEmphasized: Bool
  }

  let columns: [Column]
  private var rows: [Row] = []
  /// After which rows a line is drawn.
  private var rules: Set<Int> = []

  init(_ columns: [Column]) { self.columns = columns }

  /// The comparison of a setting: the teacher, a line, the students, the distilled one in bold.
  init(_ comparison: ComparisonTable) {
    self.init(comparison.columns.map { Column($0.title, $0.isNumeric ? .right : .left) })
    for row in comparison.rows {
      add(row.cells, isEmphasized: row.isPrimary)
      if row.arm == nil { addRule() }
    }
  }

  /// A row; missing cells are empty, and cells beyond the columns are left out.
  mutating func add(_ cells: [String], isEmphasized: Bool = false) {
    let filled = columns.indices.map { $0 < cells.count ? Terminal.plain(cells[$0]) : "" }
    rows.append(Row(cells: filled, isEmphasized: isEmphasized))
  }

  /// A line below the last row.
  mutating func addRule() { rules.insert(rows.count) }

  /// The table as lines, each ended by a line break.
  func text(for terminal: Terminal) -> String {
    guard !columns.isEmpty else { return "" }
    guard terminal.usesUnicode else { return inPlainCharacters().fitted(to: terminal) }
    return fitted(to: terminal)
  }

  private func fitted(to terminal: Terminal) -> String {
    if let room = terminal.columns(), width(in: terminal) > room {
      let turned = turnedOnItsSide()
      return turned.width(in: terminal) <= room ? turned.drawn(for: terminal) : listed(for: terminal)
    }
    return drawn(for: terminal)
  }

  // MARK: Layout

  private var widths: [Int] {
    columns.indices.map { column in
      rows.reduce(TextWidth.of(columns[column].title)) { max($0, TextWidth.of($1.cells[column])) }
    }
  }

  func width(in terminal: Terminal) -> Int {
    terminal.usesUnicode
      ? widths.reduce(1) { $0 + $1 + 3 } : widths.reduce(0, +) + 2 * (columns.count - 1)
  }

  /// Before the widths are measured: some signs take more room in plain characters.
  private func inPlainCharacters() -> TextTable {
    var table = TextTable(columns.map { Column(Terminal.inPlainCharacters($0.title), $0.alignment) })
    for row in rows { table.add(row.cells.map(Terminal.inPlainCharacters), isEmphasized: row.isEmphasized) }
    table.rules = rules
    return table
  }

  /// Each row as its first cell with the others below it, each behind its title.
  private func listed(for terminal: Terminal) -> String {
    let width = (columns.dropFirst().map { TextWidth.of($0.title) }.max() ?? 0) + 4
    return rows.map { row in
      let others = columns.indices.dropFirst().filter { !row.cells[$0].isEmpty }.map { column in
        let (title, cell) = ("  \(columns[column].title)", row.cells[column])
        let fits = width + TextWidth.of(cell) < terminal.columns() ?? .max
        return fits
          ? Paragraph.padded(title, to: width) + cell + "\n"
          : Paragraph.wrapped(title, in: terminal) + Paragraph.hanging(cell, indent: width, in: terminal) + "\n"
      }
      let head = Paragraph.wrapped(row.cells[0], in: terminal)
      return (row.isEmphasized ? terminal.styled(head, .bold) : head) + "\n" + others.joined()
    }.joined()
  }

  /// Rows become columns, headed by their first cells.
  private func turnedOnItsSide() -> TextTable {
    var table = TextTable(
      [Column(columns[0].title)] + rows.map { Column($0.cells[0], .right) })
    for column in columns.indices.dropFirst() {
      table.add([columns[column].title] + rows.map { $0.cells[column] })
    }
    return table
  }

  private func drawn(for terminal: Terminal) -> String {
    let widths = widths
    let isBoxed = terminal.usesUnicode
    func rule(_ left: String, _ middle: String, _ right: String) -> String {
      guard isBoxed else { return widths.map { String(repeating: "-", count: $0) }.joined(separator: "  ") + "\n" }
      let line = left + widths.map { String(repeating: "─", count: $0 + 2) }.joined(separator: middle) + right
      return terminal.styled(line, .dim) + "\n"
    }
    func line(_ cells: [String], bold: Bool) -> String {
      let padded = columns.indices.map { column -> String in
        let room = String(repeating: " ", count: max(0, widths[column] - TextWidth.of(cells[column])))
        let text = bold ? terminal.styled(cells[column], .bold) : cells[column]
        return columns[column].alignment == .left ? text + room : room + text
      }
      guard isBoxed else {
        var text = padded.joined(separator: "  ")
        while text.last == " " { text.removeLast() }
        return text + "\n"
      }
      let bar = terminal.styled("│", .dim)
      return bar + " " + padded.joined(separator: " \(bar) ") + " " + bar + "\n"
    }
    var text = isBoxed ? rule("╭", "┬", "╮") : ""
    text += line(columns.map(\.title), bold: true)
    text += rule("├", "┼", "┤")
    for (index, row) in rows.enumerated() {
      text += line(row.cells, bold: row.isEmphasized)
      if rules.contains(index + 1), index + 1 < rows.count { text += rule("├", "┼", "┤") }
    }
    return text + (isBoxed ? rule("╰", "┴", "╯") : "")
  }
}
