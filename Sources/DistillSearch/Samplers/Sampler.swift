import Torch

/// How the values of the next trial are chosen.
public enum Sampler: Codable, Sendable, Equatable {
  /// All combinations, of a range so many values.
  case grid(points: Int)
  /// Drawn evenly.
  case random
  /// By the tree-structured Parzen estimator, after so many random ones.
  case bayesian(startup: Int)

  /// Grids with more points are a mistake.
  public static let mostGridPoints = 100_000

  /// The values of a new trial. They depend on the trials before it and on its number alone, so that a search that was
  /// interrupted goes on as it would have.
  ///
  /// - Returns: nil when a grid has no more points
  func next(_ number: Int, space: SearchSpace, trials: [Trial], goal: SearchGoal, seed: Int) -> (
    values: Assignment, origin: Trial.Origin
  )? {
    var source = RandomSource(seed: UInt64(bitPattern: Int64(seed)), "trial \(number)")
    switch self {
    case .grid(let points):
      return Self.gridPoint(number - 1, space: space, points: points).map { (values: $0, origin: .grid) }
    case .random: return (Self.drawn(space, using: &source), .random)
    case .bayesian(let startup):
      let sampler = TreeParzenSampler(startup: startup)
      guard let values = sampler.next(space, trials: trials, goal: goal, using: &source) else {
        return (Self.drawn(space, using: &source), .random)
      }
      return (values, .model)
    }
  }

  /// The points of the whole grid; nil for a sampler without end.
  public func count(in space: SearchSpace) -> Int? {
    guard case .grid(let points) = self else { return nil }
    var count = 1
    for parameter in space.parameters {
      let (product, overflows) = count.multipliedReportingOverflow(by: parameter.domain.gridTexts(points: points).count)
      if overflows { return .max }
      count = product
    }
    return count
  }

  /// The last key changes fastest.
  static func gridPoint(_ index: Int, space: SearchSpace, points: Int) -> Assignment? {
    var rest = index
    var values: Assignment = [:]
    for parameter in space.parameters.reversed() {
      let texts = parameter.domain.gridTexts(points: points)
      values[parameter.key] = texts[rest % texts.count]
      rest /= texts.count
    }
    return rest == 0 ? values : nil
  }

  static func drawn(_ space: SearchSpace, using source: inout RandomSource) -> Assignment {
    var values: Assignment = [:]
    for parameter in space.parameters {
      values[parameter.key] = parameter.domain.text(at: source.uniform())
    }
    return values
  }
}
