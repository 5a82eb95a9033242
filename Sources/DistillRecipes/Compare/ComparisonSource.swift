import DistillData
import Foundation
import Torch

/// What a person wants compared.
public struct ComparisonRequest: Sendable {
  /// Recipe files, folders of runs that are done, and changes `key=value` to all recipes.
  public var arguments: [String]
  /// The seeds of recipes, and those of runs that count; nil: as they are.
  public var seeds: [Int]?
  /// Variations `key=value,value` of all recipes, in all combinations.
  public var variations: [String] = []
  /// The arm that all others are held against; nil: each against the student alone of its own run.
  public var baseline: String?
  public var metric = ComparisonMetric.accuracy
  /// The folder of the comparison; nil: `comparisons/` and the names.
  public var output: String?
  public var allowsDifferentBudgets = false

  public init(_ arguments: [String]) { self.arguments = arguments }
}

/// One of the things that are compared: a recipe, to be run in the comparison's folder, or a run that is done.
struct ComparisonSource {
  enum Kind {
    case recipe(Configuration)
    case run(RunFolder)
  }

  var name: String
  var kind: Kind
  /// What the name is made of: the recipe's, and the value of each varied key.
  var parts: [String]
  /// What else it may be called: its file, its recipe.
  var aliases: [String]

  /// Nil of a run that is done.
  var recipe: Configuration? {
    guard case .recipe(let recipe) = kind else { return nil }
    return recipe
  }

  /// - Throws: `RunError`, `RecipeError`: what is not understood.
  static func all(_ request: ComparisonRequest) throws -> [Self] {
    var sources: [Self] = []
    let overrides = request.arguments.filter(isOverride)
    try checkSeeds(request.seeds)
    let seeds = request.seeds.map { ["seeds=[\($0.map(String.init).joined(separator: ", "))]"] } ?? []
    let variations = try combinations(request.variations)
    let places = request.arguments.filter { !isOverride($0) }
    guard !places.isEmpty else {
      throw RunError("nothing to compare: name recipes, or folders of runs")
    }
    for place in places {
      var isFolder: ObjCBool = false
      guard FileManager.default.fileExists(atPath: place, isDirectory: &isFolder) else {
        throw RunError("\(place) does not exist: name a recipe, or the folder of a run")
      }
      if isFolder.boolValue {
        var folder = place
        while folder.count > 1, folder.hasSuffix("/") { folder.removeLast() }
        let name = FilePath.name(of: folder)
        sources.append(Self(name: name, kind: .run(RunFolder(folder)), parts: [name], aliases: [place, folder]))
        continue
      }
      for variation in variations {
        let recipe = try Configuration.load(path: place, overrides: overrides + seeds + variation.map(\.override))
        let label = variation.map(\.label).joined(separator: ", ")
        let name = label.isEmpty ? recipe.name : places.count > 1 ? "\(recipe.name), \(label)" : label
        let own = label.isEmpty || places.count > 1 ? [recipe.name] : []
        let file = FilePath.name(of: place)
        let stem = file.split(separator: ".").first.map(String.init) ?? file
        sources.append(
          Self(
            name: name, kind: .recipe(recipe), parts: own + variation.map(\.label),
            aliases: [place, file, stem, recipe.name]))
      }
    }
    if sources.allSatisfy({ $0.recipe == nil }), let change = overrides.first ?? request.variations.first {
      throw RunError(
        "runs that are done stay as they are, so that '\(change)' does not apply to them: leave it out, or name a recipe"
      )
    }
    return withDifferentNames(sources)
  }

  /// They become a change to all recipes, of which nobody who reads a message knows.
  private static func checkSeeds(_ seeds: [Int]?) throws {
    guard let seeds else { return }
    for (index, seed) in seeds.enumerated() {
      guard seed >= 0 else { throw RunError("--seeds: \(seed) is no seed: they are whole numbers from 0 on") }
      guard !seeds[..<index].contains(seed) else {
        throw RunError("--seeds: \(seed) is there twice: the same seed gives the same result")
      }
    }
  }

  private static func isOverride(_ argument: String) -> Bool {
    argument.contains("=") && !FileManager.default.fileExists(atPath: argument)
  }

  private static func withDifferentNames(_ sources: [Self]) -> [Self] {
    var taken: Set<String> = []
    return sources.map { source in
      var source = source
      let name = source.name
      var number = 2
      while !taken.insert(source.name).inserted {
        source.name = "\(name) (\(number))"
        source.parts = [source.name]
        number += 1
      }
      return source
    }
  }

  // MARK: Variations

  typealias Variation = (override: String, label: String)

  /// All combinations of the values of several keys; one without a change where there are none.
  static func combinations(_ variations: [String]) throws -> [[Variation]] {
    try variations.reduce([[]]) { combinations, text in
      let choices = try choices(text)
      return combinations.flatMap { combination in choices.map { combination + [$0] } }
    }
  }

  private static func choices(_ text: String) throws -> [Variation] {
    let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    let values = parts.count == 2 ? values(parts[1]) : []
    guard let key = parts.first, !key.isEmpty, !values.isEmpty, values.allSatisfy({ !$0.isEmpty }) else {
      throw RunError(
        "--vary wants a key and its values, such as terms.0.soft_targets.temperature=1,4,8, not '\(text)'")
    }
    let short = key.split(separator: ".").last.map(String.init) ?? key
    return values.map { ("\(key)=\($0)", "\(short)=\($0)") }
  }

  /// The values between commas; a comma in brackets, braces or quotes is a part of one.
  static func values(_ text: String) -> [String] {
    var values = [""]
    var depth = 0
    var quote: Character?
    for character in text {
      if let open = quote {
        if character == open { quote = nil }
      } else if character == "'" || character == "\"" {
        quote = character
      } else if "[{(".contains(character) {
        depth += 1
      } else if "]})".contains(character) {
        depth -= 1
      } else if character == ",", depth <= 0 {
        values.append("")
        continue
      }
      values[values.count - 1].append(character)
    }
    return values.map { $0.trimmingCharacters(in: .whitespaces) }
  }

  // MARK: Folders

  /// A name that a folder can have: the text with other characters than letters, digits and a few signs replaced, and a
  /// part of its hash where that would make two texts one.
  static func folderName(_ text: String, most: Int = 60) throws -> String {
    let plain = String(text.map { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) ? $0 : "-" })
    guard plain != text || plain.count > most || plain.hasPrefix(".") else { return text }
    return "\(plain.drop { $0 == "." }.prefix(most))-\(try SHA256.hex(of: text).prefix(6))"
  }
}
