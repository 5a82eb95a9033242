import ArgumentParser
import DistillRecipes
import Distillation
import Foundation

struct LabelCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "label",
    abstract: "Let the teacher label the examples once, and keep what it says for all trainings to come.",
    discussion: """
      The recipe's teacher runs over all examples that a training may show it, and what it says is kept in a folder: a \
      teacher cache, which a recipe names with teacher.cache. The same command in several shells shares the work, and after \
      an interruption it goes on with what is left.

        distill label recipe.yaml
        distill label recipe.yaml --logits top-k --count 50 --type float16
        distill label recipe.yaml --features layer3,layer4 --feature-type int8

      Logits of elsewhere, as .npy, .npz, safetensors or CSV, become a cache too; then the recipe needs no teacher:

        distill label recipe.yaml --import logits.npz --output labels/elsewhere

      Whether a cache is whole, and is what a recipe asks for:

        distill label recipe.yaml --check labels/digits
      """)

  @OptionGroup var recipe: RecipeOptions
  @OptionGroup var talk: OutputOptions

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: "The folder of the cache; without it teacher.cache of the recipe, or labels/ and its name.",
    completion: .directory)
  var folder: String?

  @Option(help: "Which logits are kept of each example: all, top-k or sampled; without it all.")
  var logits: Labelling.Logits?

  @Option(help: ArgumentHelp("Of top-k and sampled: how many.", valueName: "number"))
  var count: Int?

  @Option(
    help: "In what they are kept: float32, float16 or bfloat16; without it float32 for all logits, float16 for others.")
  var type: Labelling.NumberType?

  @Option(
    help: ArgumentHelp(
      "Layers whose activations are kept, with commas between them; without it those that terms look at.",
      valueName: "paths"))
  var features: String?

  @Option(help: "In what activations are kept: float32, float16 or int8; without it float16.")
  var featureType: FeatureEncoding?

  @Option(help: ArgumentHelp("How many rows a shard has.", valueName: "rows"))
  var shardSize: Int?

  @Option(
    name: .customLong("import"), help: "Logits of elsewhere instead of a teacher's: .npy, .npz, .safetensors or .csv.",
    completion: .file(extensions: ["npy", "npz", "safetensors", "csv"]))
  var imported: String?

  @Option(help: "Of --import: the array or column with the examples' numbers, or another file with them.")
  var ids: String?

  @Option(help: "Of --import: the array with the logits, where there are several.")
  var array: String?

  @Flag(help: "Of --import: the numbers are probabilities, whose logarithms are to be taken.")
  var probabilities = false

  @Option(
    name: .customLong("check"), help: "Make nothing: say whether this cache is whole, and fits the recipe.",
    completion: .directory)
  var checked: String?

  func run() throws {
    let printer = RunPrinter(isQuiet: talk.quiet || talk.json)
    Interruption.listen()
    do {
      let result = try work { printer.note($0) }
      printer.end()
      if talk.json { try talk.printJSON(result) } else { show(result, talk.results) }
      for warning in result.warnings { Terminal.standardError().sentences("warning: \(Terminal.plain(warning))") }
    } catch {
      printer.end()
      throw error
    }
  }

  private func work(_ observer: @escaping RunObserver) throws -> Labelling.Result {
    if let checked {
      guard givenForLabelling.isEmpty else {
        throw RunError("--check makes nothing, so \(givenForLabelling.joined(separator: ", ")) cannot be followed")
      }
      return isWithoutRecipe
        ? try Labelling.verify(checked, observer) : try Labelling(try recipe.load(), observer: observer).check(checked)
    }
    var options = Labelling.Options()
    options.logits = logits ?? options.logits
    options.count = count
    options.type = type
    options.features = features.map { paths in
      // '' keeps none.
      paths.isEmpty ? [] : paths.components(separatedBy: ",").map { $0.trimmingCharacters(in: .whitespaces) }
    }
    options.featureType = featureType
    options.rowsPerShard = shardSize
    options.imported = imported.map {
      Labelling.Import(path: $0, ids: ids, array: array, areProbabilities: probabilities)
    }
    let lost = [("--ids", ids != nil), ("--array", array != nil), ("--probabilities", probabilities)].filter(\.1)
    try Labelling.Options.require(
      options.problems
        + (imported != nil ? [] : lost.map { "\($0.0) says how a file of --import is read: name one" }))
    let configuration = try recipe.load(importsTeacher: imported != nil)
    return try Labelling(configuration, observer: observer)
      .make(in: folder ?? Labelling.folder(of: configuration), options)
  }

  /// Nobody named a recipe or changed a key of one, and there is none of the usual name.
  private var isWithoutRecipe: Bool {
    let (file, overrides) = recipe.fileAndOverrides
    return file == RecipeOptions.usual && overrides.isEmpty && !FileManager.default.fileExists(atPath: file)
  }

  /// The command that learns from a cache, in a run folder that is free.
  private func learning(_ cache: String) -> String {
    let (file, overrides) = recipe.fileAndOverrides
    // How the teacher is made, the cache takes the place of.
    let others = overrides.filter { !$0.hasPrefix("teacher") || $0.hasPrefix("teacher.weights=") }
    let words = ["distill", "run", file] + others + ["teacher.cache=\(cache)"]
    let folder = (try? recipe.load(importsTeacher: imported != nil)).map(\.outputFolder) ?? "runs/cached"
    let isTaken = FileManager.default.fileExists(atPath: folder)
    return (words + (isTaken ? ["--output", "\(folder)-cached"] : []))
      .map { word in
        word.wholeMatch(of: /[A-Za-z0-9_.,:\/=@%+-]+/) != nil ? word : "'\(word.replacing("'", with: "'\\''"))'"
      }
      .joined(separator: " ")
  }

  /// Options that say how a cache is made.
  private var givenForLabelling: [String] {
    [
      ("--output", folder != nil), ("--logits", logits != nil), ("--count", count != nil), ("--type", type != nil),
      ("--features", features != nil), ("--feature-type", featureType != nil), ("--shard-size", shardSize != nil),
      ("--import", imported != nil), ("--ids", ids != nil), ("--array", array != nil),
      ("--probabilities", probabilities),
    ].filter(\.1).map(\.0)
  }

  private func show(_ result: Labelling.Result, _ terminal: Terminal) {
    let views = result.views > 1 ? " in \(result.views) views" : ""
    var table = TextTable([.init("cache"), .init(Terminal.plain(result.folder))])
    table.add(["examples", "\(Quantity.integer(result.examples))\(views)"])
    for teacher in result.teachers {
      let whose = result.teachers.count > 1 ? " \(Terminal.plain(teacher.name))" : ""
      let shown = Terminal.plain(teacher.path ?? teacher.name)
      let what =
        result.isImported
        ? ["logits of", "\(shown), \(teacher.hash.prefix(12))"]
        : ["teacher\(whose)", "\(shown), weights \(teacher.hash.prefix(12))"]
      table.add(what)
    }
    table.add(["kept of each", result.contents])
    if result.precisionCosts.isEmpty, !result.isImported { table.add(["computed in", result.precision]) }
    for cost in result.precisionCosts {
      let whose = result.precisionCosts.count > 1 ? ", \(Terminal.plain(cost.member))" : ""
      table.add(["computed in\(whose)", cost.words])
    }
    let others = result.shards - result.madeShards
    let made = checked != nil || others == 0 ? "" : ", \(others) of them made before or by others"
    table.add(["shards", "\(Quantity.integer(result.shards))\(made)"])
    table.add(["size", "\(Quantity.bytes(result.bytes)), \(Quantity.plain(result.bytesPerExample)) bytes an example"])
    // What was brought as it is can only differ where a part of it was kept.
    let differs = !result.isImported || result.divergences.contains { $0.maximum > 0 }
    for divergence in result.divergences where differs {
      table.add([
        "KL from the \(result.isImported ? "file" : "teacher"), temperature \(Quantity.plain(divergence.temperature))",
        "\(Quantity.plain(divergence.mean)), at most \(Quantity.plain(divergence.maximum))",
      ])
    }
    // Drawn classes are no distribution: what is learnt from them is right on average.
    if !result.divergences.isEmpty, differs {
      table.add(["same likeliest class", Quantity.percent(result.topOneAgreement)])
    }
    if result.keptMass < 0.9999 { table.add(["probability of what is kept", Quantity.percent(result.keptMass)]) }
    if let worst = result.layerErrors.max() { table.add(["layers are off by", Quantity.percent(worst)]) }
    if let accuracy = result.importedAccuracy { table.add(["right about the labels", Quantity.percent(accuracy)]) }
    if !result.isImported {
      table.add(["an epoch with it saves", "\(Quantity.seconds(result.teacherSecondsPerEpoch)) of the teacher"])
    }
    terminal.write(table.text(for: terminal))
    if checked != nil {
      terminal.sentences(
        result.fitsRecipe == true
          ? "All checksums are right, and it fits \(Terminal.plain(recipe.fileAndOverrides.file))."
          : "All checksums are right. Only the cache itself was checked: no recipe was named, and there is no "
            + "\(RecipeOptions.usual)."
      )
    } else {
      terminal.sentences(
        "Learn from it: \(Terminal.plain(learning(result.folder)))\n"
          + "In a recipe: teacher: {cache: \(Terminal.plain(result.folder))}"
      )
    }
  }
}

extension Labelling.Logits: ExpressibleByArgument {}
extension Labelling.NumberType: ExpressibleByArgument {}
extension FeatureEncoding: ExpressibleByArgument {}
