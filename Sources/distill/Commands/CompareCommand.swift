import ArgumentParser
import DistillRecipes
import Foundation

struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract:
      "Hold ways of training against each other: differences, whether they may be luck, and what may be concluded.",
    discussion: """
      A recipe is run in the comparison's folder, with the student alone; a run that is done is read from its folder. All \
      of them need the same data, division and budget. What is the same in two recipes, such as the student alone or the \
      teacher, is trained once.

        distill compare mild.yaml strong.yaml --seeds 1,2,3,4,5
        distill compare recipe.yaml --vary terms.0.soft_targets.temperature=1,4,8
        distill compare runs/first runs/second --baseline first
        distill compare recipe.yaml training.epochs=20 --metric ece --json

      The same command goes on with what was interrupted; in several shells at once, they share the trainings. \
      metrics.json and report.html in the folder have all numbers.
      """)

  @Argument(
    help: ArgumentHelp("Recipes, folders of runs, and changes key=value to all recipes.", valueName: "recipe or run"))
  var arguments: [String]

  // Unconditional, so that numbers below 0 are read, and refused with what is wrong.
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The seeds, with commas between them; without it those of the recipes.", valueName: "numbers"))
  var seeds: String?

  @Option(
    help: ArgumentHelp(
      "Make several recipes of each: a key and its values, such as training.optimizer.learning_rate=1e-2,3e-3. More than once: all combinations.",
      valueName: "key=values"))
  var vary: [String] = []

  @Option(
    help: ArgumentHelp(
      "What all others are held against: a recipe, a run or an arm. Without it each against the student alone of its run, "
        + "and up to three against each other.", valueName: "name")
  )
  var baseline: String?

  @Option(help: "What is concluded by: accuracy, top_k_accuracy, nll, ece, agreement or kl.")
  var metric = ComparisonMetric.accuracy

  @Flag(help: "Compare also where trainings have different budgets, and say so.")
  var allowDifferentBudgets = false

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: "The folder of the comparison (comparisons/NAMES without it).",
    completion: .directory)
  var folder: String?

  @Option(help: "Also write the report to this file.", completion: .file(extensions: ["html"]))
  var html: String?

  @OptionGroup var device: DeviceOption
  @OptionGroup var output: OutputOptions

  func run() throws {
    if let html { try NewFile.checkPage(html) }
    var request = ComparisonRequest(arguments + device.overrides)
    request.seeds = try seeds.map { try NumberList.integers($0, option: "--seeds").sorted() }
    request.variations = vary
    request.baseline = baseline
    request.metric = metric
    request.output = folder
    request.allowsDifferentBudgets = allowDifferentBudgets
    let printer = RunPrinter(isQuiet: output.quiet || output.json)
    let comparison = try Comparison(request) { printer.note($0) }
    let data = try Runner.work(printer, warnings: comparison.warnings) { try comparison.run() }
    if let html { try NewFile.writePage(ComparisonReport.html(data), to: html) }
    if output.json {
      StandardOutput.write(try data.encoded())
    } else {
      show(data, comparison, output.results)
    }
  }

  private func show(_ data: ComparisonData, _ comparison: Comparison, _ terminal: Terminal) {
    func say(_ text: String) { terminal.sentences(Terminal.plain(text)) }
    terminal.line()
    for warning in data.warnings { say("warning: \(warning)") }
    let columns = ComparisonTableText.columns(data)
    var models = TextTable(columns.enumerated().map { .init($1, $0 == 0 ? .left : .right) })
    for row in ComparisonTableText.rows(data) {
      models.add(row, isEmphasized: row.first == data.chosen?.arm)
    }
    terminal.write(models.text(for: terminal))
    terminal.line()
    say("Differences in \(data.metric.title), paired by seed:")
    var tests = TextTable(
      ComparisonTableText.testColumns(data).enumerated().map { .init($1, $0 == 0 ? .left : .right) })
    for row in ComparisonTableText.tests(data) { tests.add(row) }
    terminal.write(tests.text(for: terminal))
    terminal.line()
    terminal.sentences(terminal.styled(Terminal.plain(data.conclusion), .bold))
    if data.pairs.count > 1 {
      for pair in data.pairs { say("- \(pair.sentence)") }
    }
    terminal.line()
    for caveat in data.caveats { say(caveat) }
    if let chosen = data.chosen {
      say("By \(chosen.reason) one would choose \(chosen.arm).")
    }
    say(data.testLooks.sentence)
    terminal.line()
    for (name, path) in [("Report:", html ?? comparison.report), ("Numbers:", comparison.metrics)] {
      terminal.line(Paragraph.padded(name, to: 10) + Terminal.plain(path))
    }
  }
}

extension ComparisonMetric: ExpressibleByArgument {}
