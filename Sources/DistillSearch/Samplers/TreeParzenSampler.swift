import Foundation
import Torch

/// The tree-structured Parzen estimator: two densities over the values, l of the better trials and g of the others, and
/// the next trial where l is largest beside g.
///
/// The better ones are the first ⌈γ n⌉ of n, and at most 25. Of `candidates` draws from l the one with the largest
/// Σ log l − log g is taken, which is the one with the largest expected improvement. Each key has a density of its own. Trials
/// that another process is at count among the others, so that no two go to the same place; so do those that failed. What was
/// tried is not tried again, unless all draws were.
///
/// Where trials stopped at rungs, the highest rung to which enough of them came is what they are judged by.
///
/// ## Reference
/// Bergstra, Bardenet, Bengio, Kégl: Algorithms for hyper-parameter optimization. NeurIPS 2011.
/// Falkner, Klein, Hutter: BOHB. ICML 2018, for the rung.
struct TreeParzenSampler {
  /// So many trials are drawn evenly first.
  var startup = 10
  /// γ.
  var goodShare = 0.15
  var mostGood = 25
  var candidates = 24

  /// Nil as long as too little is known.
  func next(
    _ space: SearchSpace, trials: [Trial], goal: SearchGoal, using source: inout RandomSource
  ) -> Assignment? {
    guard let (good, others) = divided(trials, goal: goal) else { return nil }
    let estimators = space.parameters.map { parameter in
      Estimator(
        parameter, good: good.compactMap { $0[parameter.key] }, others: others.compactMap { $0[parameter.key] })
    }
    let tried = Set(trials.map(\.values))
    var best: (values: Assignment, isNew: Bool, gain: Double)?
    for _ in 0..<max(1, candidates) {
      var values: Assignment = [:]
      var gain = 0.0
      for (parameter, estimator) in zip(space.parameters, estimators) {
        let text = estimator.draw(using: &source)
        values[parameter.key] = text
        gain += estimator.gain(text)
      }
      let isNew = !tried.contains(values)
      if let known = best, isNew == known.isNew ? gain <= known.gain : known.isNew { continue }
      best = (values, isNew, gain)
    }
    return best?.values
  }

  /// The values of the better trials and of the others; nil where there are too few.
  func divided(_ trials: [Trial], goal: SearchGoal) -> (good: [Assignment], others: [Assignment])? {
    let rungs = Set(trials.flatMap { $0.reports.map(\.rung) }).sorted(by: >)
    let needed = max(startup, 2)
    guard let rung = rungs.first(where: { rung in trials.count { $0.score(at: rung) != nil } >= needed }) else {
      return nil
    }
    let ranked = trials.compactMap { trial in
      trial.score(at: rung).map { (number: trial.number, values: trial.values, score: $0) }
    }.sorted { first, second in
      if goal.isBetter(first.score, than: second.score) { return true }
      if goal.isBetter(second.score, than: first.score) { return false }
      return first.number < second.number
    }
    let count = min(mostGood, max(1, Int((goodShare * Double(ranked.count)).rounded(.up))))
    let unknown = trials.filter { trial in
      trial.state == .failed || (trial.reports.isEmpty && [.running, .waiting].contains(trial.state))
    }
    return (ranked.prefix(count).map(\.values), ranked.dropFirst(count).map(\.values) + unknown.map(\.values))
  }

  /// l and g of one key.
  private enum Estimator {
    case choices(ChoiceEstimator, ChoiceEstimator)
    case range(Domain, ParzenEstimator, ParzenEstimator)

    init(_ parameter: SearchKey, good: [String], others: [String]) {
      let domain = parameter.domain
      if case .choices(let texts) = domain {
        self = .choices(ChoiceEstimator(texts, seen: good), ChoiceEstimator(texts, seen: others))
      } else {
        self = .range(
          domain, ParzenEstimator(good.compactMap { domain.place(of: $0) }),
          ParzenEstimator(others.compactMap { domain.place(of: $0) }))
      }
    }

    func draw(using source: inout RandomSource) -> String {
      switch self {
      case .choices(let good, _): good.draw(using: &source)
      case .range(let domain, let good, _): domain.text(at: good.draw(using: &source))
      }
    }

    /// log l − log g.
    func gain(_ text: String) -> Double {
      switch self {
      case .choices(let good, let others): log(good.probability(text)) - log(others.probability(text))
      case .range(let domain, let good, let others):
        if let cell = domain.cell(of: text) {
          log(good.mass(cell)) - log(others.mass(cell))
        } else if let place = domain.place(of: text) {
          log(good.density(place)) - log(others.density(place))
        } else {
          -Double.infinity
        }
      }
    }
  }
}
