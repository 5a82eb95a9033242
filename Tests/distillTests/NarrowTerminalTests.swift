import DistillRecipes
import Foundation
import Synchronization
import Testing

@testable import distill

@Suite("Narrow terminals and pipes")
struct NarrowTerminalTests {
  private func terminal(_ columns: Int?, isTerminal: Bool = true, _ written: Written = Written()) -> Terminal {
    Terminal(
      isTerminal: isTerminal, environment: ["NO_COLOR": "1"], columns: { columns }, write: { written.add($0) })
  }

  private static func table() -> TextTable {
    var table = TextTable([TextTable.Column("model")] + (1...8).map { TextTable.Column("column \($0)", .right) })
    for name in ["teacher", "the student alone", "the student distilled"] {
      table.add([name] + (1...8).map { "\($0 * 11).25\u{A0}%" })
    }
    return table
  }

  @Test("No table is wider than the terminal", arguments: [20, 30, 40, 50, 60, 80])
  func tables(columns: Int) {
    let text = Self.table().text(for: terminal(columns))
    for line in text.split(separator: "\n") { #expect(TextWidth.of(String(line)) <= columns, "\(line)") }
    for cell in ["teacher", "88.25", "column 8"] { #expect(text.contains(cell)) }
  }

  @Test("Sentences are broken, also where they have colours, and below a first column", arguments: [12, 20, 40, 79])
  func sentences(columns: Int) {
    let words = String(repeating: "a few plain words ", count: 12)
    let screen = terminal(columns)
    let styled = "\u{1B}[1m" + words + "\u{1B}[0m"
    for text in [
      Paragraph.wrapped(words, in: screen), Paragraph.wrapped(styled, in: screen),
      "name      " + Paragraph.hanging(words, indent: 10, in: screen),
    ] {
      let lines = text.replacing(/\u{1B}\[[0-9;]*m/, with: "").split(separator: "\n")
      #expect(lines.count > 2)
      for line in lines { #expect(line.count <= columns, "\(line)") }
    }
    #expect(!Paragraph.wrapped(words, in: terminal(nil)).contains("\n"))
  }

  @Test("What is piped on has ordinary characters, in tables too; names keep their letters")
  func pipes() {
    let written = Written()
    let pipe = terminal(nil, isTerminal: false, written)
    #expect(!pipe.usesUnicode)
    pipe.line("accuracy 97.80\u{A0}% ± 0.31, 14×, −3, Käse …")
    #expect(written.text == "accuracy 97.80 % +/- 0.31, 14x, -3, Käse ...\n")
    let text = Self.table().text(for: pipe)
    #expect(text.utf8.allSatisfy { $0 < 128 })
    #expect(text.contains("11.25 %"))
    let widths = Set(text.split(separator: "\n").map(\.count))
    #expect(widths.count == 1, "the columns of a piped table stand below each other: \(text)")
  }

  @Test("The end of a stage is drawn, however soon it comes")
  func endOfProgress() {
    let written = Written()
    let line = ProgressLine("Labelling", total: 1000, on: terminal(100, written), now: { 5 })
    line.update(completed: 500)
    line.update(completed: 1000)
    #expect(written.text.contains("100%"))
  }

  @Test("After a training the bar stands where it is")
  func barAfterTraining() {
    let written = Written()
    let line = ProgressLine("3 trainings", total: 3, on: terminal(100, written), now: { 5 })
    line.update(completed: 0)
    line.update(completed: 2)
    line.note("done")
    #expect(written.text.contains("66%"))
  }

  @Test(
    "Messages of the library for arguments become one line that begins in small letters",
    arguments: [
      (
        "Error: Unknown option '--nope'\nUsage: distill run\n  See 'distill run --help' for more information.",
        "unknown option '--nope'. See 'distill run --help'"
      ),
      (
        "Error: Missing expected argument '<model>'\nHelp:  <model>  A model folder.\nUsage: distill evaluate <model>",
        "missing expected argument '<model>'"
      ),
    ])
  func arguments(message: String, expected: String) {
    #expect(Failure.inOurWords(message) == expected)
  }

  @Test(
    "A command that does not exist gets the nearest one",
    arguments: [
      (["rnu"], "there is no command 'distill rnu': did you mean 'run'?"),
      (["recipes", "lsit"], "there is no command 'distill recipes lsit': did you mean 'list'?"),
      (["run", "--nope"], nil), (["--nope"], nil), (["recipes", "show"], nil),
    ] as [([String], String?)])
  func commands(arguments: [String], expected: String?) {
    #expect(Failure.misspelling(in: arguments) == expected)
  }

  @Test("A recipe's name cannot move the cursor in the heading of a result")
  func names() throws {
    let setting = ReportData.Setting(
      name: "a\u{1B}[2Jb", description: "Who sees which data is said here, in a sentence that is rather long.",
      conclusion: "c\u{1B}[31md", student: ReportData.Figures(architecture: "mlp"), arms: [])
    let data = ReportData(
      title: "sample",
      teacher: ReportData.Teacher(
        name: "teacher", figures: ReportData.Figures(architecture: "mlp"), scores: ReportData.Scores(accuracy: 0.9)),
      settings: [setting])
    let text = ComparisonText(data).text(for: terminal(40))
    #expect(!text.contains("\u{1B}"))
    for line in text.split(separator: "\n") { #expect(TextWidth.of(String(line)) <= 40, "\(line)") }
  }

  private final class Written: Sendable {
    private let state = Mutex("")
    func add(_ text: String) { state.withLock { $0 += text } }
    var text: String { state.withLock(\.self) }
  }
}
