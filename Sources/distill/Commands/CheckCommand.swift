import ArgumentParser
import DistillRecipes
import Foundation

struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Say what is wrong with a recipe, and what it will cost, before any time is spent.",
    discussion: """
      Everything is looked at, and all problems are named at once: the recipe itself, the data, the device, whether teacher \
      and student fit the data and each other, whether the teacher's weights load and what it knows of a sample, asked just \
      as the run will ask it. Then a few steps of each training are taken, to say how long all of them last and how much \
      memory they need. Nothing is written.

        distill check recipe.yaml
        distill check recipe.yaml student.model.hidden=[8] training.epochs=100

      A line begins with ✓ where all is well, ! where a second look is due, and ✗ where the run would fail. Exit code 2 \
      if there is such a line, 0 otherwise. With --quiet only the ! and ✗ lines are printed.
      """)

  @OptionGroup var recipe: RecipeOptions
  @OptionGroup var talk: OutputOptions

  @Option(name: [.customShort("o"), .customLong("output")], help: "The run folder that the recipe is meant for.")
  var folder: String?

  func run() throws {
    let (path, overrides) = recipe.fileAndOverrides
    let preflight = Preflight.of(path: path, overrides: overrides, folder: folder, observer: talk.progress())
    talk.endProgress()
    if talk.json {
      try talk.printJSON(preflight)
    } else {
      show(preflight)
    }
    if preflight.hasProblems { throw ExitCode(2) }
  }

  private func show(_ preflight: Preflight) {
    let terminal = talk.results
    let shown = preflight.findings.filter { !talk.quiet || $0.mark != .good }
    let width = (shown.map { TextWidth.of($0.subject) }.max() ?? 0) + 2
    for finding in shown {
      let mark = Self.mark(finding.mark, terminal)
      let subject = Paragraph.padded(finding.subject, to: width)
      let text = finding.text.split(separator: "\n", omittingEmptySubsequences: false)
        .map { Terminal.plain(String($0)) }.joined(separator: "\n")
      terminal.line("\(mark) \(subject)" + Paragraph.hanging(text, indent: width + 2, in: terminal))
    }
    guard !talk.quiet else { return }
    let problems = preflight.findings.count { $0.mark == .problem }
    let warnings = preflight.findings.count { $0.mark == .warning }
    terminal.line()
    if problems > 0 {
      let rest = warnings > 0 ? ", and \(Self.counted(warnings, "warning"))" : ""
      terminal.sentences(terminal.styled("\(Self.counted(problems, "problem")) to mend\(rest).", .bold, .red))
    } else if warnings > 0 {
      terminal.line("No problems; \(Self.counted(warnings, "warning")).")
    } else {
      terminal.line("No problems.")
    }
  }

  private static func counted(_ count: Int, _ word: String) -> String { "\(count) \(word)\(count == 1 ? "" : "s")" }

  private static func mark(_ mark: Preflight.Mark, _ terminal: Terminal) -> String {
    switch mark {
    case .good: terminal.styled(terminal.usesUnicode ? "✓" : "+", .green)
    case .warning: terminal.styled("!", .bold, .yellow)
    case .problem: terminal.styled(terminal.usesUnicode ? "✗" : "x", .bold, .red)
    }
  }
}
