import ArgumentParser
import DistillRecipes
import DistillSearch
import Foundation

struct TuneCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tune",
    abstract: "Look for the best values of a recipe's keys, by the validation split.",
    discussion: """
      Each trial trains the recipe's student with other values of the keys that --space names. Values are chosen by a \
      Bayesian search, at random, or from a grid; --halving stops poor trials early. The test split is never looked at.

        distill tune recipe.yaml --space terms.0.soft_targets.temperature=1..20 \\
          --space training.optimizer.learning_rate=1e-4..1e-1:log --trials 40 --halving
        distill tune recipe.yaml --sampler grid --space terms.0.soft_targets.temperature=1,2,4,8,20 \\
          --space 'student.model.hidden=[8],[32],[128]'
        distill tune --resume --study studies/recipe --trials 80

      Ends of a range that are whole numbers give whole numbers: 1..20, but 1.0..20. The same command goes on with what \
      was interrupted; in several shells at once, they share the trials. best.yaml in the folder is the recipe that was \
      found, report.html and metrics.json show how.
      """)

  @Argument(
    help: ArgumentHelp(
      "The recipe file, and changes key=value that are the same for all trials.", valueName: "recipe and changes"))
  var arguments: [String] = []

  @Option(
    help: ArgumentHelp(
      "A key and its values: key=a,b,c, key=low..high or key=low..high:log. Once for each key.",
      valueName: "key=values"))
  var space: [String] = []

  @Option(help: ArgumentHelp("Which of the recipe's settings, where it has any.", valueName: "name"))
  var setting: String?

  @Option(help: "How values are chosen: bayesian, random or grid.")
  var sampler = TuneRequest.SamplerName.bayesian

  // Unconditional, as all numbers here: so that numbers below 0 are read, and refused with what is wrong.
  @Option(
    parsing: .unconditional, help: ArgumentHelp("Trials to begin in all (30; a whole grid).", valueName: "number"))
  var trials: Int?

  @Option(
    help: ArgumentHelp(
      "Begin nothing more after this time, and put by what is at work: 90s, 30m, 2h.", valueName: "time"))
  var timeout: String?

  @Flag(help: "Stop poor trials early, by successive halving.")
  var halving = false

  @Option(
    parsing: .unconditional, help: ArgumentHelp("With --halving: one trial in so many goes on.", valueName: "number"))
  var factor = 3

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("With --halving: the epochs after which it is first decided.", valueName: "epochs"))
  var firstRung = 1

  @Option(
    parsing: .unconditional, help: ArgumentHelp("With a grid: so many values of each range.", valueName: "number"))
  var points = 5

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("With a Bayesian search: so many trials at random first.", valueName: "number"))
  var startup = 10

  @Option(help: "What is looked for, on the validation split: accuracy or loss.")
  var goal = SearchGoal.accuracy

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Train each trial once with each of these seeds; without it the recipe's first.", valueName: "numbers"))
  var seeds: String?

  @Option(parsing: .unconditional, help: ArgumentHelp("The seed of the choice of values.", valueName: "number"))
  var seed = 0

  @Option(
    help: ArgumentHelp("The folder of the study (studies/NAME without it).", valueName: "folder"),
    completion: .directory)
  var study: String?

  @Flag(help: "There must be a study to go on with; with --study nothing else has to be said.")
  var resume = false

  @OptionGroup var device: DeviceOption
  @OptionGroup var output: OutputOptions

  func run() throws {
    let request = try makeRequest()
    let printer = RunPrinter(isQuiet: output.quiet || output.json)
    let tuning = try Tuning(request) { printer.note($0) }
    let hint = ", or: distill tune --resume --study \(tuning.folder)"
    let data = try Runner.work(printer, warnings: tuning.warnings, hint: hint) { try tuning.run() }
    if output.json {
      StandardOutput.write(try data.encoded())
    } else {
      show(data, tuning, output.results)
    }
  }

  private func makeRequest() throws -> TuneRequest {
    func isChange(_ argument: String) -> Bool {
      argument.contains("=") && !FileManager.default.fileExists(atPath: argument)
    }
    let recipes = arguments.filter { !isChange($0) }
    guard recipes.count <= 1 else {
      throw RunError("a search is about one recipe, not \(recipes.joined(separator: " and "))")
    }
    let changes = arguments.filter(isChange) + device.overrides
    if resume, recipes.isEmpty, space.isEmpty, study != nil, let other = (changes + decidedAtTheStart).first {
      throw RunError("a study stays as it was begun, so that '\(other)' does not apply: leave it out")
    }
    if let (name, whole, _) = details.first(where: { !$0.isAsked }) {
      throw RunError("\(name) is for \(whole), which is not asked for: add that, or leave \(name) out")
    }
    var request = TuneRequest(recipe: recipes.first)
    request.overrides = changes
    request.setting = setting
    request.space = space
    request.sampler = sampler
    request.points = points
    request.startup = startup
    request.goal = goal
    request.halves = halving
    request.factor = factor
    request.firstRung = firstRung
    request.seeds = try seeds.map { try NumberList.integers($0, option: "--seeds") }
    request.seed = seed
    request.trials = trials
    request.timeout = try timeout.map(Self.seconds)
    request.folder = study
    request.resumes = resume
    return request
  }

  /// The options that say what a study is, where they say something else than they do by themselves.
  private var decidedAtTheStart: [String] {
    func given(_ options: KeyValuePairs<String, Bool>) -> [String] { options.filter(\.value).map(\.key) }
    return given(["--setting": setting != nil, "--sampler": sampler != .bayesian, "--halving": halving])
      + details.map(\.name)
      + given(["--goal": goal != .accuracy, "--seeds": seeds != nil, "--seed": seed != 0])
  }

  /// Of the same options those that are a detail of another one, and whether that one is there.
  private var details: [(name: String, whole: String, isAsked: Bool)] {
    var found: [(name: String, whole: String, isAsked: Bool)] = []
    if factor != 3 { found.append(("--factor", "--halving", halving)) }
    if firstRung != 1 { found.append(("--first-rung", "--halving", halving)) }
    if points != 5 { found.append(("--points", "--sampler grid", sampler == .grid)) }
    if startup != 10 { found.append(("--startup", "--sampler bayesian", sampler == .bayesian)) }
    return found
  }

  /// - Throws: `RunError` for what is no time.
  static func seconds(_ text: String) throws -> Double {
    let units: [Character: Double] = ["s": 1, "m": 60, "h": 3600]
    guard let last = text.last, let unit = units[last], let number = Double(text.dropLast()), number.isFinite,
      number > 0
    else { throw RunError("--timeout wants a time such as 90s, 30m or 2h, not '\(text)'") }
    return number * unit
  }

  /// So many trials are printed; the report has all.
  private static let mostRows = 10

  private func show(_ data: TuneData, _ tuning: Tuning, _ terminal: Terminal) {
    func say(_ text: String) { terminal.sentences(Terminal.plain(text)) }
    terminal.line()
    var table = TextTable(TuneTable.columns(data).enumerated().map { .init($1, $0 == 0 ? .left : .right) })
    let sorted = TuneTable.sorted(data)
    for trial in sorted.prefix(Self.mostRows) {
      table.add(TuneTable.row(trial, data), isEmphasized: trial.number == data.best)
    }
    terminal.write(table.text(for: terminal))
    if sorted.count > Self.mostRows { say("… and \(sorted.count - Self.mostRows) more in the report.") }
    terminal.line()
    terminal.sentences(terminal.styled(Terminal.plain(data.conclusion), .bold))
    terminal.line()
    for note in data.notes { say(note) }
    terminal.line()
    var files = [("Report:", tuning.report), ("Numbers:", tuning.metrics)]
    if data.best != nil { files.insert(("Recipe:", tuning.best), at: 0) }
    for (name, path) in files { terminal.line(Paragraph.padded(name, to: 10) + Terminal.plain(path)) }
  }
}

extension TuneRequest.SamplerName: ExpressibleByArgument {}
extension SearchGoal: ExpressibleByArgument {}
