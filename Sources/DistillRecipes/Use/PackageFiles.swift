import DistillRuntime
import Foundation
import Torch
import TorchNN

/// Files that come with the program: recipes to start from, and scripts.
public enum PackageFiles {
  /// A recipe that comes with the program.
  public struct Recipe: Codable, Sendable, Equatable {
    /// With its group before it where it is in one, such as `methods/hints`.
    public var name: String
    /// The first line of its comment.
    public var summary: String
    public var path: String
  }

  /// Recipes that belong together, in a folder of their own.
  public struct RecipeGroup: Codable, Sendable, Equatable {
    public var name: String
    public var recipes: [Recipe]
  }

  /// The recipes that are in no group, by name.
  ///
  /// - Throws: `RunError` when the folder is not there.
  public static func recipes() throws -> [Recipe] {
    try recipes(in: recipeFolder(), prefix: "")
  }

  /// The groups of recipes, by name.
  ///
  /// - Throws: `RunError` when the folder is not there.
  public static func recipeGroups() throws -> [RecipeGroup] {
    let folder = try recipeFolder()
    let names = try attempt(folder) { try FileManager.default.contentsOfDirectory(atPath: folder) }
    return try names.filter { !$0.hasPrefix(".") && RegularFile.isFolder("\(folder)/\($0)") }.sorted().compactMap {
      name in
      let recipes = try recipes(in: "\(folder)/\(name)", prefix: "\(name)/")
      return recipes.isEmpty ? nil : RecipeGroup(name: name, recipes: recipes)
    }
  }

  private static func recipes(in folder: String, prefix: String) throws -> [Recipe] {
    let names = try attempt(folder) { try FileManager.default.contentsOfDirectory(atPath: folder) }
    return try names.filter { $0.hasSuffix(".yaml") && !$0.hasPrefix(".") }.sorted().map { file in
      let path = "\(folder)/\(file)"
      let text = try attempt(path) { try String(contentsOfFile: path, encoding: .utf8) }
      return Recipe(name: prefix + file.dropLast(5), summary: summary(of: text), path: path)
    }
  }

  /// The text of a recipe. One in a group needs its group before the name only where another has the same name.
  ///
  /// - Throws: `RunError` with the names that there are, or that are like it.
  public static func recipe(named name: String) throws -> String {
    let (top, groups) = (try recipes(), try recipeGroups())
    let plain = name.hasSuffix(".yaml") ? String(name.dropLast(5)) : name
    let grouped = groups.flatMap(\.recipes)
    let recipe =
      (top + grouped).first { $0.name == plain } ?? grouped.first { $0.name.split(separator: "/").last ?? "" == plain }
    guard let recipe else {
      let near = closest(to: plain, in: grouped.map { $0.name.split(separator: "/").last.map(String.init) ?? $0.name })
      let hint = near.isEmpty ? "" : ", and near it \(near.joined(separator: ", "))"
      throw RunError(
        "there is no recipe called '\(plain)'. There are \(top.map(\.name).joined(separator: ", "))\(hint)")
    }
    return try attempt(recipe.path) { try String(contentsOfFile: recipe.path, encoding: .utf8) }
  }

  /// The script that gets data sets.
  public static func datasetScript() throws -> String {
    guard let root = packageFolder, FileManager.default.isExecutableFile(atPath: "\(root)/scripts/datasets") else {
      throw RunError(
        "the script that gets data sets is not there: run scripts/datasets in the folder of Distill's sources")
    }
    return "\(root)/scripts/datasets"
  }

  private static func recipeFolder() throws -> String {
    var places: [String] = []
    if let given = ProcessInfo.processInfo.environment["DISTILL_RECIPES"], !given.isEmpty { places = [given] }
    if let program = Bundle.main.executableURL?.resolvingSymlinksInPath().deletingLastPathComponent().path,
      places.isEmpty
    {
      places += ["\(program)/Recipes", "\(program)/../share/distill/Recipes"]
    }
    if places.count != 1, let root = packageFolder { places.append("\(root)/Recipes") }
    if let place = places.first(where: RegularFile.isFolder) { return FilePath.shortened(place) }
    throw RunError(
      "there is no folder with recipes (looked in \(places.joined(separator: ", "))): name it with DISTILL_RECIPES")
  }

  /// Where the sources were when the program was built, if they still are there.
  private static var packageFolder: String? {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().path
    return FileManager.default.fileExists(atPath: "\(root)/Package.swift") ? root : nil
  }

  private static func summary(of text: String) -> String {
    let line = text.split(separator: "\n").first { !$0.allSatisfy { $0 == "#" || $0 == " " } } ?? ""
    return line.hasPrefix("#") ? line.drop { $0 == "#" || $0 == " " }.trimmingCharacters(in: .whitespaces) : ""
  }

  private static func attempt<Value>(_ path: String, _ body: () throws -> Value) throws -> Value {
    do { return try body() } catch { throw RunError("\(path) cannot be read: \(reason(error))") }
  }
}
