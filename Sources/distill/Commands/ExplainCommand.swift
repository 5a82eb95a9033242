import ArgumentParser
import DistillRecipes
import Foundation

struct ExplainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain",
    abstract: "Show the dark knowledge: what the teacher says beside the true class.",
    discussion: """
      A label only says "this is a 3". A teacher also says "and a little like an 8": that is what a student learns from it. \
      The higher the temperature, the more of it can be seen. Shown are test examples with the teacher's probabilities at \
      several temperatures beside the student's, and which classes the teacher finds alike. Without a wish, examples are \
      chosen about which the teacher hesitates, or the student differs.

      With --class it is about one class: its mean soft targets at temperatures 1, 4 and 20 on typical and on odd \
      examples, the classes nearest to it, and what the student, and the student alone, learned of it.

        distill explain runs/digits
        distill explain runs/digits --class 3 --html three.html
        distill explain runs/digits --examples 3,17 --temperatures 1,4
      """)

  @Argument(help: "A run folder, or a recipe whose run is done.", completion: .file())
  var path: String

  @Option(parsing: .unconditional, help: "Test examples by number, with commas between them.")
  var examples: String?

  @Option(
    name: .customLong("class"), parsing: .unconditional,
    help: "What teacher and student make of this class, with typical and odd examples.")
  var className: String?

  @Option(parsing: .unconditional, help: "How many examples are chosen.")
  var count = 4

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "The temperatures at which the teacher is asked (1,2,4,8 without it; of a class 1,4,20).", valueName: "numbers"))
  var temperatures: String?

  @Option(help: "Also write all of it to this file, as a page with pictures.", completion: .file(extensions: ["html"]))
  var html: String?

  @OptionGroup var device: DeviceOption
  @OptionGroup var output: OutputOptions

  func run() throws {
    if let html { try NewFile.checkPage(html) }
    let choice = Explanation.Choice(
      examples: try examples.map { try NumberList.integers($0, option: "--examples") } ?? [], className: className,
      count: count)
    let result = try Explanation(
      path, choice: choice, temperatures: try temperatures.map { try NumberList.numbers($0, option: "--temperatures") },
      device: device.device)
    if let html { try NewFile.writePage(ExplanationReport.html(result), to: html) }
    if output.json {
      try output.printJSON(result)
    } else {
      show(result, output.results)
    }
  }

  private func show(_ result: Explanation, _ terminal: Terminal) {
    let student = result.studentAccuracy.map { ", the student \(Quantity.percent($0))" } ?? ""
    terminal.sentences(
      "The teacher knows \(Quantity.percent(result.teacherAccuracy))\(student) of \(Quantity.integer(result.sampleCount)) "
        + "test examples of \(Terminal.plain(result.dataset)).")
    if let lesson = result.lesson { show(lesson, of: result, terminal) }
    for example in result.examples { show(example, terminal) }
    let shown = result.similarities.first { $0.temperature == 4 } ?? result.similarities.last
    if let shown, result.lesson == nil { show(shown, terminal) }
    if let html {
      terminal.line()
      terminal.line("Page: " + Terminal.plain(html))
    }
  }

  /// What is taught of a class, and what was learned of it.
  private func show(_ lesson: ClassLesson, of result: Explanation, _ terminal: Terminal) {
    terminal.sentences(Terminal.plain(result.statement))
    terminal.line()
    terminal.sentences(
      terminal.styled(
        "Mean soft targets of the \(Quantity.integer(lesson.count)) examples of \(Terminal.plain(lesson.name))", .bold))
    let models = lesson.models.map(\.name)
    for temperature in lesson.temperatures {
      guard let teacher = lesson.softTarget(of: "teacher", at: temperature) else { continue }
      var table = TextTable(
        [TextTable.Column("T = \(Quantity.plain(temperature))")] + models.map { TextTable.Column($0, .right) })
      for share in teacher.shares.prefix(4) {
        let cells = models.map { model in
          let own = lesson.softTarget(of: model, at: temperature)?.shares.first { $0.name == share.name }
          return Quantity.percent(own?.probability, decimals: 1)
        }
        table.add([share.name] + cells, isEmphasized: share.name == lesson.name)
      }
      terminal.write(table.text(for: terminal))
    }
    terminal.line()
    terminal.sentences(terminal.styled("What was learned of it", .bold))
    var learned = TextTable(
      [TextTable.Column("model"), TextTable.Column("known", .right), TextTable.Column("agreement", .right)]
        + lesson.temperatures.map { TextTable.Column("KL, T = \(Quantity.plain($0))", .right) })
    for model in lesson.models {
      let divergences = lesson.temperatures.map {
        Quantity.number(model.divergence(at: $0)?.ofClass, decimals: 3)
      }
      learned.add(
        [model.name, Quantity.percent(model.recall, decimals: 1), Quantity.percent(model.agreement, decimals: 1)]
          + divergences)
    }
    terminal.write(learned.text(for: terminal))
  }

  private func show(_ example: Explanation.Example, _ terminal: Terminal) {
    terminal.line()
    let label = example.label.map { ": \(Terminal.plain($0))" } ?? ""
    let kind = example.kind.map { ", \($0.rawValue)" } ?? ""
    terminal.line(terminal.styled("Example \(example.number)\(label)\(kind)", .bold))
    let picture = TextPicture.lines(example.picture, terminal)
    let pictureWidth = picture.map { TextWidth.of($0) }.max() ?? 0
    let room = (terminal.columns() ?? 200) - 1
    // Beside the picture, or below it where there is no room.
    if pictureWidth > 0, pictureWidth + 45 <= room {
      for line in beside(picture, opinions(example, terminal, room: room - pictureWidth - 5)) { terminal.line(line) }
    } else {
      for line in (pictureWidth < room ? picture : []) + opinions(example, terminal, room: room) {
        terminal.line(line)
      }
    }
  }

  private func show(_ similarity: Explanation.Similarity, _ terminal: Terminal) {
    terminal.line()
    terminal.sentences(
      terminal.styled("What the teacher finds alike, at temperature \(Quantity.plain(similarity.temperature))", .bold))
    var table = TextTable([.init("class"), .init("most like it")])
    for kin in similarity.classes {
      let nearest = kin.nearest.map { "\($0.name) \(Quantity.percent($0.probability, decimals: 1))" }
      table.add([kin.name, nearest.joined(separator: ", ")])
    }
    terminal.write(table.text(for: terminal))
  }

  /// The opinions as lines: a head for each, and its classes with bars.
  private func opinions(_ example: Explanation.Example, _ terminal: Terminal, room: Int) -> [String] {
    // Of the students at the lowest temperature: the rest is in the JSON and on the page.
    let lowest = example.opinions.filter { $0.model != "teacher" }.map(\.temperature).min()
    let shown = example.opinions.filter { $0.model == "teacher" || $0.temperature == lowest }
    let names = shown.flatMap { $0.shares.map { TextWidth.of(Terminal.plain($0.name)) } }
    let width = min(20, max(4, room / 3), names.max() ?? 0)
    // Two spaces before the name, two behind it, and a blank and the number behind the bar.
    let barWidth = max(1, min(24, room - width - 12))
    return shown.flatMap { opinion -> [String] in
      let head =
        opinion.model == "teacher" ? "teacher, T = \(Quantity.plain(opinion.temperature))" : opinion.model
      let rows = opinion.shares.prefix(3).map { share in
        let name = Paragraph.padded(TextWidth.shortened(Terminal.plain(share.name), to: width), to: width)
        let bar = Paragraph.padded(TextPicture.bar(share.probability, width: barWidth, terminal), to: barWidth)
        let colour: Terminal.Style = share.name == example.label ? .green : .yellow
        return "  \(name)  \(terminal.styled(bar, colour)) \(Quantity.percent(share.probability, decimals: 1))"
      }
      return [terminal.styled(head, opinion.model == "teacher" ? .cyan : .blue)] + rows
    }
  }

  private func beside(_ left: [String], _ right: [String]) -> [String] {
    guard let width = left.map({ TextWidth.of($0) }).max() else { return right }
    return (0..<max(left.count, right.count)).map { row in
      let first = Paragraph.padded(row < left.count ? left[row] : "", to: width)
      return "  \(first)   \(row < right.count ? right[row] : "")"
    }
  }
}
