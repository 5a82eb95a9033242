import ArgumentParser
import DistillRecipes
import Foundation
import Torch

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Do what a recipe says: train the student alone and distilled, compare, write the report.",
    discussion: """
      The run folder (runs/NAME unless the recipe or --output says otherwise) gets metrics.json, report.html, the student \
      as a model folder, and everything needed to go on after an interruption: Ctrl-C ends cleanly, and \
      `distill resume` goes on.

        distill run recipe.yaml
        distill run recipe.yaml seeds=[1] training.epochs=2 --output runs/trial
      """)

  @OptionGroup var recipe: RecipeOptions
  @OptionGroup var talk: OutputOptions

  @Option(name: [.customShort("o"), .customLong("output")], help: "The run folder.")
  var folder: String?

  @Flag(help: "Start anew in place of the run that is in the folder, which is deleted once the new one is done.")
  var overwrite = false

  func run() throws {
    let configuration = try recipe.load()
    let folder = RunFolder(folder ?? configuration.outputFolder)
    try Runner.run(configuration, folder, talk, overwrite ? .overwriting : .new)
  }
}

struct ResumeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resume",
    abstract: "Go on with a run that was interrupted.",
    discussion: "The run gives what it would have given without the interruption. What is done is not done again.")

  @Argument(help: "The run folder.", completion: .directory)
  var folder: String

  // Taken only to say that there are none.
  @Argument(help: .hidden)
  var overrides: [String] = []

  @OptionGroup var talk: OutputOptions

  func run() throws {
    if let first = overrides.first {
      throw RunError(
        first.contains("=")
          ? "a run goes on as it began, so that changes such as '\(first)' do not apply to it: leave them out, or start "
            + "another run with 'distill run RECIPE \(overrides.joined(separator: " ")) --output FOLDER'"
          : "one run is resumed at a time: '\(first)' is one too many")
    }
    let folder = RunFolder(folder)
    guard folder.exists else {
      let names = [folder.marker, folder.recipe]
      if let missing = names.first(where: { !FileManager.default.fileExists(atPath: $0) }) {
        throw RunError("there is no run in \(folder.path): \(missing) is missing. Start one: distill run RECIPE")
      }
      throw RunError(
        "\(folder.marker), by which a run is known, is damaged: put it back, or run \(folder.recipe) again in another "
          + "folder (--output)")
    }
    try Runner.run(try Configuration.load(path: folder.recipe), folder, talk, .resuming)
  }
}

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Train a recipe's teacher on labels, and nothing else.",
    discussion: """
      The recipe's teacher.model and teacher.training say what and how. The model folder is RUN-FOLDER/teacher; a student \
      finds it with teacher: {weights: RUN-FOLDER/teacher}.

        distill train recipe.yaml --output runs/teacher
        distill train recipe.yaml --save-to Models/teacher --half
      """)

  @OptionGroup var recipe: RecipeOptions
  @OptionGroup var talk: OutputOptions

  @Option(name: [.customShort("o"), .customLong("output")], help: "The run folder.")
  var folder: String?

  @Option(help: "Also put the teacher's model folder here.")
  var saveTo: String?

  @Flag(help: "Replace the model that is in --save-to already.")
  var force = false

  @Flag(help: "Store the weights of --save-to as float16, in half the bytes.")
  var half = false

  func run() throws {
    let configuration = try recipe.load()
    guard configuration.teacher?.training != nil else {
      throw RunError("the recipe does not say how to train a teacher: add teacher.training to it")
    }
    let folder = RunFolder(folder ?? configuration.outputFolder)
    try Runner.train(configuration, folder, talk, saveTo: saveTo, dtype: half ? .float16 : nil, force: force)
  }
}
