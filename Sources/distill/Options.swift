import ArgumentParser
import DistillRecipes
import Foundation

/// How a command talks.
struct OutputOptions: ParsableArguments {
  @Flag(name: .long, help: "Print the result as JSON on standard output, and nothing else there.")
  var json = false

  @Flag(name: [.short, .long], help: "Print the result and warnings, no progress.")
  var quiet = false
}

/// Where to compute.
struct DeviceOption: ParsableArguments {
  @Option(help: ArgumentHelp("Where to compute: cpu, cuda, cuda:1 or mps.", valueName: "name"))
  var device: String?

  /// The change to a recipe that it is.
  var overrides: [String] {
    // As a text, whatever it is: `--device ''` names no device, and does not leave the choice to the recipe.
    device.map { name in
      let isPlain = name.wholeMatch(of: /[a-z]+(:[0-9]+)?/) != nil && name != "null"
      return ["device=\(isPlain ? name : "'\(name.replacing("'", with: "''"))'")"]
    } ?? []
  }
}

/// A recipe, and changes to it.
struct RecipeOptions: ParsableArguments {
  @Argument(help: "The recipe file.", completion: .file(extensions: ["yaml", "yml"]))
  var recipe = Self.usual

  /// The file that is read where none is named.
  static let usual = "recipe.yaml"

  @Argument(
    help: ArgumentHelp(
      "Changes to fields of the recipe, such as training.epochs=5 or terms.0.soft_targets.temperature=2.",
      valueName: "key=value"))
  var overrides: [String] = []

  @OptionGroup var device: DeviceOption

  /// The recipe's file, and the changes.
  var fileAndOverrides: (file: String, overrides: [String]) {
    // `distill run seeds=[1]` means the recipe in this folder.
    let isOverride = recipe.contains("=") && !FileManager.default.fileExists(atPath: recipe)
    return (isOverride ? Self.usual : recipe, (isOverride ? [recipe] : []) + overrides + device.overrides)
  }

  /// - Parameter importsTeacher: whether what a teacher says comes from elsewhere, so that none need be named
  /// - Throws: `RecipeError` with everything that is wrong with it.
  func load(importsTeacher: Bool = false) throws -> Configuration {
    let (file, overrides) = fileAndOverrides
    return try Configuration.load(path: file, overrides: overrides, importsTeacher: importsTeacher)
  }
}
