import DistillRuntime
import Foundation
import Torch

/// Reading recipe files, and changing them by arguments.
enum RecipeFile {
  static func expandingHome(_ path: String) -> String {
    guard path == "~" || path.hasPrefix("~/") else { return path }
    return FileManager.default.homeDirectoryForCurrentUser.path + path.dropFirst()
  }

  /// - Throws: `RecipeError` when there is no such file, it cannot be read, is larger than 1 MB, or is not UTF-8
  static func read(_ path: String) throws -> String {
    func failure(_ message: String, hint: String? = nil) -> RecipeError {
      RecipeError([RecipeError.Problem(file: path, message: message, hint: hint)])
    }
    let expanded = expandingHome(path)
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: expanded, isDirectory: &isFolder) else {
      throw failure(
        "there is no such file",
        hint: (path.hasPrefix("/") ? "" : "it was looked for in \(FileManager.default.currentDirectoryPath); ")
          + "'distill init' writes a recipe to start from")
    }
    guard !isFolder.boolValue else { throw failure("this is a folder, not a recipe") }
    guard !RegularFile.isOtherThanFile(expanded) else { throw failure("this \(RegularFile.refusal)") }
    guard let handle = FileHandle(forReadingAtPath: expanded) else {
      throw failure("the file cannot be opened for reading")
    }
    defer { try? handle.close() }
    var bytes = Foundation.Data()
    do {
      while bytes.count <= RecipeNode.largestRecipe,
        let more = try handle.read(upToCount: RecipeNode.largestRecipe + 1 - bytes.count), !more.isEmpty
      {
        bytes += more
      }
    } catch {
      throw failure("the file cannot be read: \(reason(error))")
    }
    guard bytes.count <= RecipeNode.largestRecipe else {
      throw failure("the recipe is larger than 1 MB", hint: "is this the right file?")
    }
    if let text = String(validating: bytes, as: UTF8.self) { return text }
    let (line, column) = firstInvalidPlace(in: bytes)
    throw RecipeError([
      RecipeError.Problem(
        file: path, line: line, column: column, message: "the file is not UTF-8 text", hint: "is this the right file?")
    ])
  }

  private static func firstInvalidPlace(in bytes: Foundation.Data) -> (line: Int, column: Int) {
    var line = 1
    var column = 1
    var decoder = UTF8()
    var iterator = bytes.makeIterator()
    while case .scalarValue(let scalar) = decoder.decode(&iterator) {
      column += 1
      if scalar == "\n" { (line, column) = (line + 1, 1) }
    }
    return (line, column)
  }

  /// Sets what arguments such as `training.epochs=40` say.
  static func applying(_ arguments: [String], to tree: RecipeNode, log: RecipeLog) -> RecipeNode {
    var tree = tree
    for argument in arguments {
      let source = RecipeSource(argument: argument)
      let location = RecipeLocation(source: source, line: 1, column: 1)
      let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2 else {
        log.report(
          "an argument that changes the recipe is written key=value", hint: "such as training.epochs=40", path: "",
          at: location)
        continue
      }
      let key = parts[0].trimmingCharacters(in: .whitespaces)
      guard let path = RecipePath(key) else {
        log.report(
          "'\(key)' is no key", hint: "keys are words with dots between them, such as training.epochs", path: "",
          at: location)
        continue
      }
      do {
        let value = try RecipeNode.parse(String(parts[1]), source: source) ?? RecipeNode(.scalar("", isQuoted: false))
        tree = apply(path, value.placed(at: location), to: tree, log: log)
        if path.steps == [.key("teacher"), .key("cache")], !value.isNull { tree = tree.withoutTeacherOfFile() }
      } catch let error as RecipeError {
        for problem in error.problems {
          log.report(problem.message, hint: problem.hint, path: path.description, at: location)
        }
      } catch {
        log.report("\(error)", path: path.description, at: location)
      }
    }
    return tree
  }

  /// A recipe that learns from what another program said; which folder holds that is said later.
  static func withImportedTeacher(_ tree: RecipeNode, log: RecipeLog) -> RecipeNode {
    guard let path = RecipePath("teacher") else { return tree }
    return apply(path, .map(["cache": .text("labels")]), to: tree, log: log)
  }

  static func apply(_ path: RecipePath, _ value: RecipeNode, to tree: RecipeNode, log: RecipeLog) -> RecipeNode {
    var tree = tree
    // Single terms can be changed although the recipe leaves them to the defaults.
    if path.steps.first == .key("terms"), path.steps.count > 1, tree["terms"].map(\.isNull) ?? true,
      case .map(let entries) = tree.content
    {
      let standard = RecipeNode.list(Configuration.Term.standard.map { $0.node(withWeight: false) })
      let terms = RecipeNode(standard.content, location: value.location)
      tree.content = .map(
        entries.filter { $0.key != "terms" } + [.init(key: "terms", keyLocation: value.location, value: terms)])
    }
    do throws(RecipeNode.SettingError) {
      return try tree.setting(path, to: value)
    } catch {
      log.report(error.message, hint: error.hint, path: error.path, at: value.location)
      return tree
    }
  }
}

extension RecipeNode {
  /// A cache that an argument names takes the place of what the file says of how the teacher is made. Weights stay: they
  /// are tested, and held against the cache. What other arguments say stays too.
  fileprivate func withoutTeacherOfFile() -> RecipeNode {
    guard var entries, let place = entries.firstIndex(where: { $0.key == "teacher" }),
      let teacher = entries[place].value.entries
    else { return self }
    let hasWeights = teacher.contains { $0.key == "weights" }
    let replaced = ["training"] + (hasWeights ? [] : ["model", "precision"])
    let kept = teacher.filter { entry in
      !replaced.contains(entry.key) || !(entry.value.location?.source.hasLines ?? true)
    }
    entries[place].value.content = .map(kept)
    return RecipeNode(.map(entries), location: location)
  }

  /// The same, with everything in it standing at one place.
  func placed(at location: RecipeLocation) -> RecipeNode {
    switch content {
    case .scalar: RecipeNode(content, location: location)
    case .list(let items): RecipeNode(.list(items.map { $0.placed(at: location) }), location: location)
    case .map(let entries):
      RecipeNode(
        .map(entries.map { Entry(key: $0.key, keyLocation: location, value: $0.value.placed(at: location)) }),
        location: location)
    }
  }
}
