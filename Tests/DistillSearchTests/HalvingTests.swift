import Foundation
import Testing

@testable import DistillSearch

@Suite("Successive halving")
struct HalvingTests {
  private static func trial(_ number: Int, _ state: Trial.State, _ accuracies: [Double], owner: String? = nil) -> Trial
  {
    Trial(
      number: number, state: state, origin: .random, values: ["x": "\(number)"], rung: max(0, accuracies.count - 1),
      reports: accuracies.enumerated().map { rung, value in
        Trial.Report(
          rung: rung, epoch: pow(3, Double(rung)), scores: [SearchScore(accuracy: value, loss: 1)], seconds: 1)
      }, owner: owner, heartbeat: owner.map { _ in Date() })
  }

  private static func definition(_ halving: Halving?, sampler: Sampler = .random) -> StudyDefinition {
    StudyDefinition(
      name: "test", recipe: "",
      space: SearchSpace([SearchKey("x", .numbers(low: 0.5, high: 1.5, isLogarithmic: false))]),
      sampler: sampler, halving: halving, trainingSeeds: [1])
  }

  @Test("Rungs grow by the factor, as long as they are shorter than a whole training")
  func rungs() throws {
    #expect(try Halving(factor: 3, first: 1, whole: 9).pauses == [1, 3])
    #expect(try Halving(factor: 3, first: 1, whole: 10).pauses == [1, 3, 9])
    #expect(try Halving(factor: 2, first: 5, whole: 40).pauses == [5, 10, 20])
    #expect(try Halving(factor: 3, first: 1, whole: 9).rungCount == 3)
    #expect(throws: SearchError.self) { try Halving(factor: 1, first: 1, whole: 9) }
    #expect(throws: SearchError.self) { try Halving(factor: 3, first: 9, whole: 9) }
    #expect(throws: SearchError.self) { try Halving(factor: 3, first: 0, whole: 9) }
  }

  @Test("Of n trials at a rung the better ⌊n / η⌋ have earned a promotion")
  func promoted() throws {
    let halving = try Halving(factor: 3, first: 1, whole: 9)
    func promoted(_ accuracies: [Double]) -> [Int] {
      halving.promoted(
        accuracies.enumerated().map { (number: $0 + 1, score: SearchScore(accuracy: $1, loss: 1)) }, goal: .accuracy)
    }
    #expect(promoted([0.5, 0.9]) == [])
    #expect(promoted([0.5, 0.9, 0.1]) == [2])
    #expect(promoted([0.5, 0.9, 0.1, 0.7, 0.3]) == [2])
    #expect(promoted([0.5, 0.9, 0.1, 0.7, 0.3, 0.2]) == [2, 4])
    #expect(promoted([0.5, 0.5, 0.5]) == [1], "of equals the first")
    #expect(promoted([.nan, .nan, .nan]) == [], "what scored nothing is not promoted")
  }

  @Test("Higher rungs come first, nobody is promoted twice, and nobody who is at work")
  func promotion() throws {
    let halving = try Halving(factor: 3, first: 1, whole: 9)
    var trials = [
      Self.trial(1, .paused, [0.9, 0.5]), Self.trial(2, .paused, [0.8, 0.6]), Self.trial(3, .paused, [0.7, 0.4]),
      Self.trial(4, .paused, [0.3]), Self.trial(5, .paused, [0.2]), Self.trial(6, .paused, [0.1]),
      Self.trial(7, .paused, [0.95]), Self.trial(8, .paused, [0.05]), Self.trial(9, .paused, [0.04]),
    ]
    let first = try #require(halving.promotion(among: trials, goal: .accuracy))
    #expect(first.trial.number == 2 && first.rung == 2)
    trials[1].state = .running
    let second = try #require(halving.promotion(among: trials, goal: .accuracy))
    #expect(second.trial.number == 7 && second.rung == 1)
    trials[6].state = .running
    // The three best of nine are 7, 1 and 2, which all have gone on.
    #expect(halving.promotion(among: trials, goal: .accuracy)?.rung == nil)
  }

  /// Does a study by itself, each trial scoring what `accuracy` says.
  private func work(
    _ definition: StudyDefinition, limit: Int, _ accuracy: (Int) -> Double
  ) throws -> (trials: [Trial], order: [String]) {
    var trials: [Trial] = []
    var order: [String] = []
    for _ in 0..<1_000 {
      let number: Int
      switch definition.nextStep(trials, limit: limit, isAlive: { _ in true }) {
      case .begin(let new, let values, let origin):
        trials.append(Trial(number: new, state: .running, origin: origin, values: values))
        number = new
      case .promote(let promoted, let rung):
        trials[promoted - 1].rung = rung
        number = promoted
      case .takeUp, .wait:
        Issue.record("nobody else is at work")
        return (trials, order)
      case .finished: return (trials, order)
      }
      let rung = trials[number - 1].rung
      order.append("\(number).\(rung)")
      trials[number - 1].state = definition.pause(at: rung) == nil ? .done : .paused
      trials[number - 1].reports.append(
        Trial.Report(
          rung: rung, epoch: Double(rung), scores: [SearchScore(accuracy: accuracy(number), loss: 1)], seconds: 1))
    }
    return (trials, order)
  }

  @Test("When the best come last, each is promoted as soon as it is known, and the best third of each rung has gone on")
  func nineTrials() throws {
    let definition = Self.definition(try Halving(factor: 3, first: 1, whole: 9))
    let (trials, order) = try work(definition, limit: 9) { Double($0) / 10 }
    // Asynchronous: the best of three is promoted at once.
    #expect(order.prefix(4) == ["1.0", "2.0", "3.0", "3.1"])
    #expect(trials.count == 9)
    let winner = try #require(trials.winner(.accuracy))
    #expect(winner.rung == 2 && winner.reports.map(\.rung) == [0, 1, 2])
    #expect(winner.number == trials.filter { $0.reports.count > 1 }.map(\.number).max())
    // At the end all that have earned it have gone on: at each rung the best third is at the next one.
    for rung in 0..<2 {
      let here = trials.filter { $0.reports.count > rung }.map(\.number).sorted(by: >)
      for number in here.prefix(here.count / 3) { #expect(trials[number - 1].reports.count > rung + 1) }
    }
    #expect(trials.count { $0.state == .paused } + trials.count { $0.state == .done } == 9)
  }

  @Test("When the best come first, it is what the synchronous form takes")
  func bestFirst() throws {
    let definition = Self.definition(try Halving(factor: 3, first: 1, whole: 9))
    let (trials, order) = try work(definition, limit: 9) { 1 - Double($0) / 10 }
    #expect(trials.map(\.reports.count) == [3, 2, 2, 1, 1, 1, 1, 1, 1])
    #expect(order.count == 13)
  }

  @Test("With too few trials for a promotion the best one is trained in full all the same")
  func tooFew() throws {
    let definition = Self.definition(try Halving(factor: 3, first: 1, whole: 9))
    let (trials, order) = try work(definition, limit: 2) { Double($0) / 10 }
    #expect(order == ["1.0", "2.0", "2.1", "2.2"])
    #expect(trials.winner(.accuracy)?.number == 2)
  }

  @Test("Without halving every trial is trained in full, up to the limit, or the end of the grid")
  func plain() throws {
    let (trials, _) = try work(Self.definition(nil), limit: 4) { Double($0) }
    #expect(trials.count == 4 && trials.allSatisfy { $0.state == .done })
    let grid = try work(Self.definition(nil, sampler: .grid(points: 3)), limit: 10) { Double($0) }
    #expect(grid.trials.compactMap { $0.values["x"] } == ["0.5", "1", "1.5"])
  }

  @Test("What was begun and left comes first; while others are at work one waits")
  func others() throws {
    let definition = Self.definition(nil)
    let running = Self.trial(1, .running, [], owner: "a")
    let left = Self.trial(2, .waiting, [])
    #expect(definition.nextStep([running, left], limit: 5, isAlive: { _ in true }) == .takeUp(number: 2))
    #expect(definition.nextStep([running], limit: 5, isAlive: { _ in false }) == .takeUp(number: 1))
    #expect(definition.nextStep([running], limit: 1, isAlive: { _ in true }) == .wait)
    guard case .begin(2, _, _) = definition.nextStep([running], limit: 2, isAlive: { _ in true }) else {
      Issue.record("there is room for a second trial")
      return
    }
    #expect(definition.nextStep([Self.trial(1, .failed, [])], limit: 1, isAlive: { _ in true }) == .finished)
  }

  @Test("Better is more accurate, then less loss; what is no number is worse than all")
  func goals() {
    func score(_ accuracy: Double, _ loss: Double) -> SearchScore { SearchScore(accuracy: accuracy, loss: loss) }
    let goal = SearchGoal.accuracy
    #expect(goal.isBetter(score(0.9, 2), than: score(0.8, 1)))
    #expect(goal.isBetter(score(0.9, 1), than: score(0.9, 2)) && !goal.isBetter(score(0.9, 2), than: score(0.9, 1)))
    #expect(!goal.isBetter(score(0.9, 1), than: score(0.9, 1)))
    #expect(goal.isBetter(score(0.1, 1), than: score(.nan, 1)) && !goal.isBetter(score(.nan, 1), than: score(0.1, 1)))
    #expect(SearchGoal.loss.isBetter(score(0, 1), than: score(1, 2)))
    #expect(SearchGoal.loss.isBetter(score(0, 1), than: score(1, .infinity)))
    #expect(SearchScore(meanOf: [score(0.5, 1), score(1, 3)]) == score(0.75, 2))
    #expect(SearchScore(meanOf: []) == nil)
  }
}
