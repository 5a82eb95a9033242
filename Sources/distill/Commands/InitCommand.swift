import ArgumentParser
import DistillRecipes
import Torch

struct InitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init",
    abstract: "Write a recipe to start from, with every key explained.",
    discussion: """
      The recipe works as it is: it distills a network that reads handwritten digits, which come with the program, in a \
      minute or two. Change it bit by bit into your own. A file that is there already is not touched.

        distill init
        distill init mine.yaml --dataset fashion-mnist
        distill check mine.yaml
      """)

  @Argument(help: "The file to write.", completion: .file(extensions: ["yaml", "yml"]))
  var file = "recipe.yaml"

  @Option(help: "The data set that it is about; 'distill datasets list' names them.")
  var dataset = "digits"

  @Flag(help: "Replace the file if it is there.")
  var force = false

  @OptionGroup var output: OutputOptions

  func run() throws {
    guard DatasetShelf.rows.contains(where: { $0.name == dataset }) else {
      throw RunError(
        "--dataset: there is no data set called '\(dataset)'. There are "
          + DatasetShelf.rows.map(\.name).joined(separator: ", "))
    }
    let name = FilePath.stem(of: file)
    try NewFile.write(
      RecipeTemplate.text(name: name == "recipe" ? dataset : name, dataset: dataset), to: file, force: force)
    if output.json {
      try output.printJSON(["recipe": file])
    } else if !output.quiet {
      let file = Terminal.plain(file)
      output.results.line(
        """
        Wrote \(file). Read it, change it, then:

          distill check \(file)    what is wrong with it, and how long it will take
          distill run \(file)      do it
        """)
    }
  }
}
