import Foundation
import Torch

/// Files that come with the program: recipes to start from, and scripts.
public enum PackageFiles {
  /// A recipe that comes with the program.
  public struct Recipe: Codable, Sendable, Equatable {
    public var name: String
    /// The first line of its comment.
    public var summary: String
    public var path: String
  }

  /// The recipes, by name.
  ///
  /// - Throws: `RunError` when the folder is not there.
  public static func recipes() throws -> [Recipe] {
    let folder = try recipeFolder()
    let names = try attempt(folder) { try FileManager.default.contentsOfDirectory(atPath: folder) }
    return try names.filter { $0.hasSuffix(".yaml") && !$0.hasPrefix(".") }.sorted().map { file in
      let path = "\(folder)/\(file)"
      let text = try attempt(path) { try String(contentsOfFile: path, encoding: .utf8) }
      return Recipe(name: String(file.dropLast(5)), summary: summary(of: text), path: path)
    }
  }

  /// The text of a recipe.
  ///
  /// - Throws: `RunError` with the names that there are.
  public static func recipe(named name: String) throws -> String {
    let known = try recipes()
    let plain = name.hasSuffix(".yaml") ? String(name.dropLast(5)) : name
    guard let recipe = known.first(where: { $0.name == plain }) else {
      throw RunError("there is no recipe called '\(plain)'. There are \(known.map(\.name).joined(separator: ", "))")
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
    var isFolder: ObjCBool = false
    for place in places
    where FileManager.default.fileExists(atPath: place, isDirectory: &isFolder) && isFolder.boolValue {
      return FilePath.shortened(place)
    }
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
