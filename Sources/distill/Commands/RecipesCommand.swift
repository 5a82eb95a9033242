import ArgumentParser
import DistillRecipes
import Foundation

struct RecipesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "recipes",
    abstract: "Recipes that come with the program.",
    discussion: """
      They are there to be read and copied. They are found beside the program or in its sources; DISTILL_RECIPES names \
      another folder.

        distill recipes list
        distill recipes show demo-digits
        distill recipes copy demo-digits mine.yaml
      """,
    subcommands: [List.self, Show.self, Copy.self], defaultSubcommand: List.self)

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Name all recipes, with what each is for.", discussion: "  distill recipes list --json")

    @OptionGroup var output: OutputOptions

    func run() throws {
      let recipes = try PackageFiles.recipes()
      if output.json {
        try output.printJSON(recipes)
        return
      }
      let terminal = output.results
      let width = (recipes.map { TextWidth.of($0.name) }.max() ?? 0) + 2
      for recipe in recipes {
        terminal.line(
          terminal.styled(Paragraph.padded(Terminal.plain(recipe.name), to: width), .bold)
            + Paragraph.hanging(Terminal.plain(recipe.summary), indent: width, in: terminal))
      }
      if !output.quiet {
        terminal.line()
        terminal.sentences("Read one: distill recipes show NAME. Start from it: distill recipes copy NAME")
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print a recipe.", discussion: "  distill recipes show demo-digits")

    @Argument(help: "The recipe's name.") var name: String
    @OptionGroup var output: OutputOptions

    func run() throws {
      let text = try PackageFiles.recipe(named: name)
      if output.json {
        try output.printJSON(["name": name, "text": text])
      } else {
        StandardOutput.write(text.hasSuffix("\n") ? text : text + "\n")
      }
    }
  }

  struct Copy: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write a recipe to a file of your own.",
      discussion: "  distill recipes copy demo-digits mine.yaml")

    @Argument(help: "The recipe's name.") var name: String

    @Argument(help: "The file to write; without it the recipe's name.", completion: .file(extensions: ["yaml"]))
    var file: String?

    @Flag(help: "Replace the file if it is there.")
    var force = false

    @OptionGroup var output: OutputOptions

    func run() throws {
      let text = try PackageFiles.recipe(named: name)
      let target = file ?? (name.hasSuffix(".yaml") ? name : "\(name).yaml")
      try NewFile.write(text, to: target, force: force)
      if output.json {
        try output.printJSON(["recipe": target])
      } else if !output.quiet {
        output.results.sentences("Wrote \(Terminal.plain(target)). Next: distill check \(Terminal.plain(target))")
      }
    }
  }
}
