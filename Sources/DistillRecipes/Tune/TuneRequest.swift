import DistillSearch
import Foundation

/// What a person wants searched.
public struct TuneRequest: Sendable {
  public enum SamplerName: String, Sendable, CaseIterable {
    case bayesian
    case random
    case grid
  }

  /// The recipe's file; nil only where a study is gone on with.
  public var recipe: String?
  /// Changes `key=value` to the recipe, the same for all trials.
  public var overrides: [String] = []
  /// Which of the recipe's settings, where it has any.
  public var setting: String?
  /// The keys and their values, such as `training.optimizer.learning_rate=1e-4..1e-2:log`.
  public var space: [String] = []
  public var sampler = SamplerName.bayesian
  /// Of a grid, for each range.
  public var points = 5
  /// So many trials are drawn at random before the Bayesian search knows enough.
  public var startup = 10
  public var goal = SearchGoal.accuracy
  /// Whether poor trials are stopped early.
  public var halves = false
  /// Of halving: one in so many goes on.
  public var factor = 3
  /// Of halving: the epochs of the first rung.
  public var firstRung = 1
  /// The seeds of each trial's trainings; nil: the first one of the recipe.
  public var seeds: [Int]?
  /// Of the choice of values.
  public var seed = 0
  /// So many trials are begun in all; nil: a whole grid, otherwise `usualTrials`.
  public var trials: Int?
  /// Seconds after which nothing more is begun, and what is at work is put by.
  public var timeout: Double?
  /// The folder of the study; nil: `studies/` and the recipe's name.
  public var folder: String?
  /// Whether there must be a study, which says all that is not said here.
  public var resumes = false

  public static let usualTrials = 30

  public init(recipe: String?) { self.recipe = recipe }
}

/// A search space as the command line says it.
enum SpaceText {
  /// Keys that say how the search itself is done, or by what its trials are compared: with other values of these their
  /// scores would not be of the same examples.
  private static let fixed = [
    "name", "description", "seed", "seeds", "device", "threads", "parallel", "output", "compare", "alone", "settings",
    "data.dataset", "data.path", "data.validation", "data.image_size", "data.shorter_side", "data.interpolation",
    "data.channels", "data.label_column", "data.text_column", "data.pair_column", "data.tokenizer", "data.text",
    "data.labels",
  ]

  /// - Throws: `RunError` with what is not understood.
  static func space(_ texts: [String]) throws -> SearchSpace {
    guard !texts.isEmpty else {
      throw RunError(
        "there is nothing to search: name keys and their values with --space, such as "
          + "--space terms.0.soft_targets.temperature=1,2,4,8 or --space training.optimizer.learning_rate=1e-4..1e-1:log"
      )
    }
    let parameters = try texts.map(parameter)
    var seen: Set<String> = []
    for parameter in parameters {
      let key = RecipePath(parameter.key)?.description ?? parameter.key
      guard seen.insert(key).inserted else { throw RunError("--space: '\(parameter.key)' stands there twice") }
    }
    return SearchSpace(parameters)
  }

  private static func parameter(_ text: String) throws -> SearchKey {
    let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map {
      $0.trimmingCharacters(in: .whitespaces)
    }
    guard parts.count == 2, let path = RecipePath(parts[0]), !parts[1].isEmpty else {
      throw RunError(
        "--space wants a key and its values, key=a,b,c or key=low..high, with :log after it for a logarithmic range, not "
          + "'\(text)'")
    }
    let key = path.description
    if let fixed = Self.fixed.first(where: { key == $0 || key.hasPrefix("\($0).") || key.hasPrefix("\($0)[") }) {
      throw RunError("--space: \(fixed) has to be the same for all trials, or they could not be compared")
    }
    return SearchKey(parts[0], try domain(parts[1], of: parts[0]))
  }

  private static func domain(_ text: String, of key: String) throws -> Domain {
    if let range = try Self.range(text, of: key) { return range }
    let choices = ComparisonSource.values(text)
    guard choices.allSatisfy({ !$0.isEmpty }) else { throw RunError("--space: a value of '\(key)' is empty") }
    guard Set(choices).count == choices.count else { throw RunError("--space: a value of '\(key)' stands there twice") }
    guard choices.count > 1 else {
      throw RunError(
        "--space: '\(key)' has one value only. To change it for all trials, leave --space away: \(key)=\(choices[0])")
    }
    return .choices(choices)
  }

  /// Nil for what is no range.
  private static func range(_ text: String, of key: String) throws -> Domain? {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard let dots = parts[0].firstRange(of: "..") else { return nil }
    let ends = [parts[0][..<dots.lowerBound], parts[0][dots.upperBound...]].map {
      $0.trimmingCharacters(in: .whitespaces)
    }
    guard let low = Double(ends[0]), let high = Double(ends[1]), low.isFinite, high.isFinite else { return nil }
    let isLogarithmic = parts.count > 1 && parts[1] == "log"
    guard parts.count == 1 || isLogarithmic || parts[1] == "linear" else {
      throw RunError("--space: '\(key)': a range is :log or :linear, not ':\(parts[1])'")
    }
    guard low < high else {
      throw RunError(
        "--space: '\(key)': a range goes from a smaller to a larger number, not from \(ends[0]) to \(ends[1])")
    }
    guard !isLogarithmic || low > 0 else {
      throw RunError("--space: '\(key)': a logarithmic range begins above 0, not at \(ends[0])")
    }
    guard abs(low) <= 1e15, abs(high) <= 1e15 else { throw RunError("--space: '\(key)': the range is too large") }
    if let low = Int(ends[0]), let high = Int(ends[1]) {
      return .integers(low: low, high: high, isLogarithmic: isLogarithmic)
    }
    return .numbers(low: low, high: high, isLogarithmic: isLogarithmic)
  }
}

extension SearchKey {
  /// The shortest name that says what it is.
  var shortName: String { RecipePath(key)?.steps.reversed().compactMap(\.word).first ?? key }

  /// The values at which it is tried whether the recipe understands them.
  var samples: [String] {
    switch domain {
    case .choices(let texts): texts
    case .integers, .numbers: domain.gridTexts(points: 2)
    }
  }
}

extension RecipePath.Step {
  fileprivate var word: String? { if case .key(let word) = self { word } else { nil } }
}

extension SearchSpace {
  /// What is changed in the recipe, in the order of the keys.
  func overrides(_ values: Assignment) -> [String] {
    parameters.compactMap { parameter in values[parameter.key].map { "\(parameter.key)=\($0)" } }
  }

  /// A name for each key, short where that tells them apart.
  var names: [String: String] {
    let short = Dictionary(grouping: parameters, by: \.shortName)
    return Dictionary(
      parameters.map { ($0.key, (short[$0.shortName]?.count ?? 0) > 1 ? $0.key : $0.shortName) },
      uniquingKeysWith: { first, _ in first })
  }

  /// Such as `temperature=4, learning_rate=0.003`.
  func words(_ values: Assignment) -> String {
    let names = names
    return parameters.compactMap { parameter in
      values[parameter.key].map { "\(names[parameter.key] ?? parameter.key)=\($0)" }
    }.joined(separator: ", ")
  }
}
