import DistillSearch
import Foundation

extension StudyDefinition {
  /// What a request is about, checked: every key and value is understood by the recipe.
  ///
  /// - Throws: `RecipeError` with everything that is wrong with the recipe or the values; `RunError`, `SearchError` with what
  ///   else cannot be done.
  static func of(_ request: TuneRequest) throws -> (definition: StudyDefinition, recipe: Configuration) {
    var recipe = try Configuration.load(path: request.recipe ?? "recipe.yaml", overrides: request.overrides)
    if let setting = request.setting { recipe = try recipe.resolved(setting: setting) }
    let space = try SpaceText.space(request.space)
    guard recipe.settings.isEmpty else {
      let names = recipe.settings.map { "'\($0.name)'" }.joined(separator: ", ")
      throw RunError("the recipe has settings, and a search is about one: choose with --setting one of \(names)")
    }
    guard !recipe.data.validation.isNone else {
      throw RunError("a search chooses by the validation split, and data.validation is 0: hold some examples out")
    }
    let sampler = try chosenSampler(request)
    var definition = StudyDefinition(
      name: recipe.name, recipe: recipe.writtenWithAbsoluteFiles.yaml, space: space, sampler: sampler,
      goal: request.goal, halving: try chosenHalving(request, recipe, space),
      trainingSeeds: request.seeds ?? Array(recipe.seeds.prefix(1)), seed: request.seed)
    guard !definition.trainingSeeds.isEmpty, Set(definition.trainingSeeds).count == definition.trainingSeeds.count
    else {
      throw RunError("--seeds wants at least one seed, and none twice")
    }
    if let count = sampler.count(in: space), count > Sampler.mostGridPoints {
      throw RunError(
        "the grid has more than \(Quantity.integer(Sampler.mostGridPoints)) points: give fewer values, or search at random"
      )
    }
    try definition.checkValues()
    if case .grid = sampler {} else { definition.ownValues = try definition.valuesOfRecipe() }
    return (definition, recipe)
  }

  private static func chosenSampler(_ request: TuneRequest) throws -> Sampler {
    switch request.sampler {
    case .random: return .random
    case .grid:
      guard (2...Sampler.mostGridPoints).contains(request.points) else {
        throw RunError(
          "--points wants two at least, the ends of each range, and no more than "
            + Quantity.integer(Sampler.mostGridPoints))
      }
      return .grid(points: request.points)
    case .bayesian:
      guard request.startup >= 2 else { throw RunError("--startup wants two trials at least") }
      return .bayesian(startup: request.startup)
    }
  }

  private static func chosenHalving(_ request: TuneRequest, _ recipe: Configuration, _ space: SearchSpace) throws
    -> Halving?
  {
    guard request.halves else { return nil }
    guard recipe.stages.isEmpty else {
      throw RunError("--halving stops a training early, and this recipe is several of them, its stages: leave it out")
    }
    guard case .epochs(let epochs) = recipe.training.length else {
      throw RunError("--halving counts in epochs: give training.epochs instead of training.steps")
    }
    let lengths = ["training.epochs", "training.steps"]
    if let key = space.parameters.map(\.key).first(where: { lengths.contains(RecipePath($0)?.description ?? $0) }) {
      throw RunError("--halving needs trainings of one length, and --space looks for \(key): choose one of both")
    }
    return try Halving(factor: request.factor, first: Double(request.firstRung), whole: Double(epochs))
  }

  /// Tries every choice, and the ends of every range, by itself.
  private func checkValues() throws {
    var problems: [RecipeError.Problem] = []
    for parameter in space.parameters {
      for text in parameter.samples {
        do {
          let recipe = try configuration(with: [parameter.key: text])
          guard recipe.stages.isEmpty || halving == nil else {
            throw RunError("--space: \(parameter.key)=\(text) makes stages, which --halving cannot stop")
          }
        } catch let error as RecipeError {
          // What is wrong with the key is wrong with each of its values.
          problems += error.problems.filter { problem in !problems.contains { $0.message == problem.message } }
        }
      }
    }
    guard problems.isEmpty else { throw RecipeError(problems) }
  }

  /// The value of each key in the recipe as it is; nil where one of them is not in the space.
  private func valuesOfRecipe() throws -> Assignment? {
    let own = try configuration(with: [:])
    var values: Assignment = [:]
    for parameter in space.parameters {
      let found: String?
      if case .choices(let texts) = parameter.domain {
        // The one that changes nothing, however it is spelled.
        found = try texts.first { try configuration(with: [parameter.key: $0]) == own }
      } else if case .scalar(let text, _)? = own.node.node(at: parameter.key)?.content, parameter.domain.holds(text) {
        found = text
      } else {
        found = nil
      }
      guard let found else { return nil }
      values[parameter.key] = found
    }
    return values
  }

  /// The recipe of a trial: without the student alone, with the seeds of the search.
  ///
  /// - Throws: `RecipeError` where values do not go together.
  func configuration(with values: Assignment) throws -> Configuration {
    let seeds = "seeds=[\(trainingSeeds.map(String.init).joined(separator: ", "))]"
    return try Configuration.parse(
      text: recipe, fileName: "\(name).yaml", overrides: ["compare=false", seeds] + space.overrides(values))
  }

  /// The recipe to go on with: as it was written, with the values that were found, and above it how they were.
  ///
  /// - Parameter comments: lines without the sign of a comment
  func bestRecipe(_ values: Assignment, comments: [String]) throws -> String {
    let found = try Configuration.parse(text: recipe, fileName: "\(name).yaml", overrides: space.overrides(values))
    var tree = found.tree
    if found.compare {
      // What was found was found for the distilled student: the student alone is trained as it was, or it would be a weaker
      // one to be held against.
      let before = try Configuration.parse(text: recipe, fileName: "\(name).yaml").alone
      let alone = before.node(differingFrom: found.training)
      if alone != found.alone.node(differingFrom: found.training) { tree = tree.replacing("alone", with: alone) }
    }
    // It must not go on with the run of the recipe that it comes from.
    tree.content = .map(
      [RecipeNode.Entry(key: "name", keyLocation: nil, value: .text("\(name)-tuned"))]
        + (tree.entries ?? []).filter { $0.key != "name" && $0.key != "output" })
    let head = comments.flatMap { Self.wrapped($0) }.map { $0.isEmpty ? "#\n" : "# \($0)\n" }.joined()
    return head + "\n" + tree.yaml
  }

  /// Lines of at most 100 characters, those after the first one indented as the text of the first.
  private static func wrapped(_ text: String, width: Int = 100) -> [String] {
    let indent = String(repeating: " ", count: text.prefix { $0 == " " }.count)
    var lines: [String] = []
    var line = ""
    for word in text.split(whereSeparator: { $0 == " " || $0.isNewline }) {
      if line.isEmpty {
        line = "\(indent)\(word)"
      } else if line.count + word.count + 1 <= width {
        line += " \(word)"
      } else {
        lines.append(line)
        line = "\(indent)  \(word)"
      }
    }
    return lines + [line]
  }
}
