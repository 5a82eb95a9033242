import DistillRecipes
import Foundation
import Synchronization
import Testing

@testable import distill

@Suite("Terminal")
struct TerminalTests {
  @Test(
    "Colour needs a terminal, and neither NO_COLOR nor TERM=dumb",
    arguments: [
      (true, [:], true), (false, [:], false), (true, ["NO_COLOR": "1"], false), (true, ["NO_COLOR": ""], true),
      (true, ["TERM": "dumb"], false), (true, ["TERM": "xterm-256color"], true),
    ] as [(Bool, [String: String], Bool)])
  func colour(isTerminal: Bool, environment: [String: String], isColoured: Bool) {
    let screen = Screen(isTerminal: isTerminal, environment: environment)
    #expect(screen.terminal.usesColour == isColoured)
    #expect(screen.terminal.styled("x", .bold, .red) == (isColoured ? "\u{1B}[1;31mx\u{1B}[0m" : "x"))
  }

  @Test("NO_COLOR takes the colours, not the progress; a dumb terminal redraws nothing")
  func redrawing() {
    #expect(Screen(environment: ["NO_COLOR": "1"]).terminal.canRedraw)
    #expect(!Screen(environment: ["TERM": "dumb"]).terminal.canRedraw)
    #expect(!Screen(isTerminal: false).terminal.canRedraw)
  }

  @Test(
    "The first locale that is set decides on the characters",
    arguments: [
      ([:], true), (["LANG": "C"], false), (["LANG": "C", "LC_ALL": "C.UTF-8"], true),
      (["LANG": "en_GB.utf8"], true), (["LC_ALL": "POSIX", "LANG": "en_GB.UTF-8"], false), (["TERM": "dumb"], false),
    ] as [([String: String], Bool)])
  func unicode(environment: [String: String], isUnicode: Bool) {
    #expect(Screen(environment: environment).terminal.usesUnicode == isUnicode)
  }

  @Test("Quiet writes no lines")
  func quiet() {
    let screen = Screen(isQuiet: true)
    screen.terminal.line("words")
    #expect(screen.written.isEmpty)
  }

  @Test("Names cannot move the cursor or change colours")
  func controlCharacters() {
    #expect(Terminal.plain("a\u{1B}[2Jb\rc\td") == "a\u{FFFD}[2Jb\u{FFFD}c d")
    var table = TextTable([TextTable.Column("\u{1B}[31mname")])
    table.add(["x\u{7}"])
    let text = table.text(for: Screen(isTerminal: false).terminal)
    #expect(!text.contains("\u{1B}") && !text.contains("\u{7}"))
  }
}

@Suite("Progress line")
struct ProgressLineTests {
  @Test("It is drawn at most ten times a second")
  func limited() {
    let screen = Screen()
    let progress = screen.progress("training", total: 1000)
    for step in 1...1000 {
      screen.advance(by: 0.002)
      progress.update(completed: step)
    }
    let drawings = screen.written.split(separator: "\r").count
    #expect((15...21).contains(drawings))
  }

  @Test("It says what, how far, how long, and the figures")
  func content() {
    let screen = Screen(columns: 120)
    let progress = screen.progress("distilled, seed 2", total: 10_000)
    screen.advance(by: 2)
    progress.update(completed: 4000, figures: [ProgressLine.Figure("loss", "0.312")])
    let line = screen.visible
    for part in ["distilled, seed 2  ━", " 40%", "3 s left", "loss 0.312"] {
      #expect(line.contains(part), "\(line)")
    }
  }

  @Test("It never takes the last column, whatever the width", arguments: [1, 8, 12, 20, 30, 40, 60, 80, 100, 200])
  func width(columns: Int) {
    let screen = Screen(environment: ["NO_COLOR": "1"], columns: columns)
    let progress = screen.progress("数字を学ぶ生徒、最初の種", total: 1000)
    screen.advance(by: 3)
    progress.update(
      completed: 500,
      figures: [ProgressLine.Figure("loss", "0.31"), ProgressLine.Figure("validation accuracy", "91.2 %")])
    #expect(TextWidth.of(screen.visible) <= max(8, columns - 1), "\(screen.visible)")
    if columns >= 20 { #expect(screen.visible.contains("50%")) }
  }

  @Test("Where nothing can be redrawn, a line now and then says how far it is")
  func lines() {
    let screen = Screen(isTerminal: false)
    let terminal = screen.terminal
    let progress = screen.progress("Labelling", total: 1000, secondsBetweenLines: 10)
    for step in 1...25 {
      screen.advance(by: 1)
      progress.update(completed: 40 * step)
    }
    #expect(screen.written == "Labelling: 40%\nLabelling: 80%\n", "\(screen.written)")
    #expect(!terminal.canRedraw)
    let quiet = Screen(isTerminal: false, isQuiet: true)
    let silent = quiet.progress("Labelling", total: 1000, secondsBetweenLines: 10)
    quiet.advance(by: 20)
    silent.update(completed: 500)
    #expect(quiet.written.isEmpty)
  }

  @Test("It is not done before it is done")
  func almost() {
    let screen = Screen()
    let progress = screen.progress("training", total: 1000)
    screen.advance(by: 1)
    progress.update(completed: 999)
    #expect(screen.visible.contains(" 99%"))
  }

  @Test("Where there is no terminal it writes notes only, a plain line each")
  func withoutTerminal() {
    let screen = Screen(isTerminal: false)
    let progress = screen.progress("training", total: 100)
    for step in 1...100 {
      screen.advance(by: 1)
      progress.update(completed: step)
      if step.isMultiple(of: 50) { progress.note("epoch \(step / 50) of 2") }
    }
    progress.finish("done")
    #expect(screen.written == "epoch 1 of 2\nepoch 2 of 2\ndone\n")
  }

  @Test("In a terminal notes stay above the line, and the end leaves a clean line")
  func notes() {
    let screen = Screen()
    let progress = screen.progress("training", total: 100)
    screen.advance(by: 1)
    progress.update(completed: 10)
    progress.note("a checkpoint was written")
    #expect(screen.written.contains("\r\u{1B}[Ka checkpoint was written\n\r"))
    progress.finish()
    #expect(screen.written.hasSuffix("\r\u{1B}[K"))
    let before = screen.written
    progress.update(completed: 20)
    progress.finish("again")
    #expect(screen.written == before)
  }

  @Test("The cursor is never hidden, so a killed process leaves it visible")
  func cursor() {
    let screen = Screen()
    let progress = screen.progress("training", total: 100)
    screen.advance(by: 1)
    progress.update(completed: 10)
    progress.finish()
    #expect(!screen.written.contains("\u{1B}[?"))
  }

  @Test("Quiet writes nothing at all", arguments: [true, false])
  func quiet(isTerminal: Bool) {
    let screen = Screen(isTerminal: isTerminal, isQuiet: true)
    let progress = screen.progress("training", total: 100)
    screen.advance(by: 1)
    progress.update(completed: 10)
    progress.note("note")
    progress.finish("done")
    #expect(screen.written.isEmpty)
  }

  @Test("Nothing to count, too much counted, nothing known: still a line")
  func oddNumbers() {
    for (total, completed) in [(0, 5), (10, 20), (10, -3), (-1, 0)] {
      let screen = Screen()
      let progress = screen.progress("training", total: total)
      screen.advance(by: 1)
      progress.update(completed: completed)
      #expect(screen.visible.hasPrefix("training"))
    }
  }
}

@Suite("Text table")
struct TextTableTests {
  private func table() -> TextTable {
    var table = TextTable([TextTable.Column("Class"), TextTable.Column("Images", .right)])
    table.add(["Bag", "6,000"])
    table.addRule()
    table.add(["鞄", "12"], isEmphasized: true)
    return table
  }

  @Test("Boxed where the terminal can draw lines")
  func boxed() {
    let text = table().text(for: Screen(environment: ["NO_COLOR": "1"]).terminal)
    #expect(
      text == """
        ╭───────┬────────╮
        │ Class │ Images │
        ├───────┼────────┤
        │ Bag   │  6,000 │
        ├───────┼────────┤
        │ 鞄    │     12 │
        ╰───────┴────────╯

        """)
  }

  @Test("Plain where it cannot")
  func plain() {
    let text = table().text(for: Screen(environment: ["LANG": "C", "NO_COLOR": "1"]).terminal)
    #expect(text.contains("Class  Images\n"))
    let plain = table().text(for: Screen(environment: ["TERM": "dumb"]).terminal)
    #expect(
      plain == """
        Class  Images
        -----  ------
        Bag     6,000
        -----  ------
        鞄         12

        """)
  }

  @Test("Colours change nothing but colours")
  func coloured() {
    let coloured = table().text(for: Screen().terminal)
    let uncoloured = table().text(for: Screen(environment: ["NO_COLOR": "1"]).terminal)
    #expect(coloured != uncoloured)
    #expect(coloured.replacing(/\u{1B}\[[0-9;]*m/, with: "") == uncoloured)
    #expect(coloured.contains("\u{1B}[1mClass\u{1B}[0m"))
  }

  @Test("A table too wide for the terminal is turned on its side")
  func turned() {
    var table = TextTable((0..<8).map { TextTable.Column("column \($0)", $0 == 0 ? .left : .right) })
    table.add((0..<8).map { "cell \($0)" })
    let narrow = table.text(for: Screen(environment: ["NO_COLOR": "1"], columns: 40).terminal)
    #expect(narrow.contains("│ column 7 │ cell 7 │"))
    for line in narrow.split(separator: "\n") { #expect(TextWidth.of(String(line)) <= 40) }
    let wide = table.text(for: Screen(environment: ["NO_COLOR": "1"], columns: 120).terminal)
    #expect(wide.contains("│ column 6 │ column 7 │"))
    let piped = table.text(for: Screen(isTerminal: false, columns: nil).terminal)
    #expect(piped.contains("column 6  column 7"))
  }

  @Test("No columns, no rows, too few and too many cells")
  func odd() {
    let terminal = Screen(environment: ["TERM": "dumb"]).terminal
    #expect(TextTable([]).text(for: terminal).isEmpty)
    #expect(TextTable([TextTable.Column("a")]).text(for: terminal) == "a\n-\n")
    var table = TextTable([TextTable.Column("a"), TextTable.Column("b")])
    table.add(["1"])
    table.add(["1", "2", "3"])
    #expect(table.text(for: terminal) == "a  b\n-  -\n1\n1  2\n")
  }
}

/// A terminal that remembers what was written to it, with a clock that is set by hand.
private final class Screen: Sendable {
  private struct State {
    var written = ""
    var time = 100.0
  }

  private let state = Mutex(State())
  private let isTerminal: Bool
  private let isQuiet: Bool
  private let environment: [String: String]
  private let columns: Int?

  init(isTerminal: Bool = true, isQuiet: Bool = false, environment: [String: String] = [:], columns: Int? = 80) {
    self.isTerminal = isTerminal
    self.isQuiet = isQuiet
    self.environment = environment
    self.columns = columns
  }

  var terminal: Terminal {
    let columns = columns
    return Terminal(
      isTerminal: isTerminal, isQuiet: isQuiet, environment: environment, columns: { columns },
      write: { text in self.state.withLock { $0.written += text } })
  }

  var written: String { state.withLock(\.written) }

  /// What the last line shows.
  var visible: String {
    let last = written.split(separator: "\r", omittingEmptySubsequences: false).last.map(String.init) ?? ""
    return last.replacing(/\u{1B}\[[0-9;]*[mK]/, with: "")
  }

  func advance(by seconds: Double) { state.withLock { $0.time += seconds } }

  func progress(_ label: String, total: Int, secondsBetweenLines: Double? = nil) -> ProgressLine {
    ProgressLine(
      label, total: total, on: terminal, secondsBetweenLines: secondsBetweenLines, now: { self.state.withLock(\.time) })
  }
}
