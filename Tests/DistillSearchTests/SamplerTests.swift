import Foundation
import Testing
import Torch

@testable import DistillSearch

@Suite("Samplers")
struct SamplerTests {
  private static let temperature = SearchKey("temperature", .integers(low: 1, high: 20, isLogarithmic: true))
  private static let rate = SearchKey("rate", .numbers(low: 1e-4, high: 1e-1, isLogarithmic: true))
  private static let kind = SearchKey("kind", .choices(["sgd", "adam", "adamw"]))
  private static let space = SearchSpace([temperature, rate, kind])

  private static func done(_ number: Int, _ values: Assignment, accuracy: Double, loss: Double = 1) -> Trial {
    Trial(
      number: number, state: .done, origin: .random, values: values,
      reports: [
        Trial.Report(rung: 0, epoch: 10, scores: [SearchScore(accuracy: accuracy, loss: loss)], seconds: 1)
      ])
  }

  // MARK: The density, against numbers of SciPy's truncnorm

  @Test("The density of one place, and of four, is the mixture of cut-off normal distributions")
  func density() {
    let one = ParzenEstimator([0.3])
    #expect(one.kernels == [.init(center: 0.3, deviation: 0.7)])
    for (x, expected) in [(0.0, 1.012501722995716), (0.3, 1.0617971308798424), (0.9, 0.8890834592738713)] {
      #expect(abs(one.density(x) - expected) < 1e-12)
    }
    let four = ParzenEstimator([0.8, 0.2, 0.25, 0.9])
    for (kernel, deviation) in zip(four.kernels, [0.2, 0.55, 0.55, 0.2]) {
      #expect(abs(kernel.deviation - deviation) < 1e-12)
    }
    let expected = [
      (0.0, 0.7982960844774292), (0.22, 1.0657666495672191), (0.5, 0.8738769576399005), (1.0, 1.0451626339152598),
    ]
    for (x, value) in expected { #expect(abs(four.density(x) - value) < 1e-12) }
    #expect(abs(four.mass(0.2...0.4) - 0.20536584072619762) < 1e-12)
    #expect(abs(ParzenEstimator([0.5]).mass(0...0.1) - 0.0889636469175776) < 1e-12)
  }

  @Test("Without places the density is even; with any it sums to one, and so do cells that cover the line")
  func sums() {
    #expect(ParzenEstimator([]).density(0.7) == 1)
    for places in [[], [0.0], [1.0, 1.0, 1.0], [0.1, 0.11, 0.12, 0.9]] {
      let estimator = ParzenEstimator(places)
      let steps = 20_000
      let sum = (0..<steps).reduce(0.0) { $0 + estimator.density((Double($1) + 0.5) / Double(steps)) } / Double(steps)
      #expect(abs(sum - 1) < 1e-6, "\(places)")
      let cells = (0..<7).reduce(0.0) { $0 + estimator.mass(Double($1) / 7...Double($1 + 1) / 7) }
      #expect(abs(cells - 1) < 1e-12)
    }
  }

  @Test("Draws come as often as the density says")
  func draws() {
    let estimator = ParzenEstimator([0.8, 0.2, 0.25, 0.9])
    var source = RandomSource(seed: 3, "draws")
    let count = 20_000
    let draws = (0..<count).map { _ in estimator.draw(using: &source) }
    for cell in 0..<5 {
      let (low, high) = (Double(cell) / 5, Double(cell + 1) / 5)
      let share = Double(draws.count { $0 >= low && $0 < high }) / Double(count)
      let expected = estimator.mass(low...high)
      // Five standard errors.
      #expect(abs(share - expected) < 5 * (expected * (1 - expected) / Double(count)).squareRoot())
    }
  }

  @Test("Choices count one more than they were seen")
  func choices() {
    let estimator = ChoiceEstimator(["a", "b", "c"], seen: ["b", "b", "c"])
    let sixths: [Double] = [1, 3, 2]
    #expect(estimator.probabilities == sixths.map { $0 / 6 })
    #expect(estimator.probability("b") == 0.5 && estimator.probability("?") == 0)
    var source = RandomSource(seed: 1, "choices")
    let draws = (0..<6_000).map { _ in estimator.draw(using: &source) }
    #expect(abs(Double(draws.count { $0 == "b" }) / 6_000 - 0.5) < 0.04)
  }

  // MARK: Domains

  @Test("Places and values are inverse to each other, and no value leaves its range")
  func places() throws {
    let domains: [Domain] = [
      .numbers(low: 1e-4, high: 1e-1, isLogarithmic: true), .numbers(low: -3, high: 0.123456789, isLogarithmic: false),
      .integers(low: 1, high: 20, isLogarithmic: true), .integers(low: -2, high: 2, isLogarithmic: false),
    ]
    for domain in domains {
      for step in 0...200 {
        let text = domain.text(at: Double(step) / 200)
        let place = try #require(domain.place(of: text))
        let value = try #require(Double(text))
        #expect(domain.text(at: place) == text)
        switch domain {
        case .numbers(let low, let high, _):
          #expect(value >= low && value <= high)
          #expect(abs(place - Double(step) / 200) < 1e-3)
        case .integers(let low, let high, _):
          #expect(value >= Double(low) && value <= Double(high))
          let cell = try #require(domain.cell(of: text))
          #expect(cell.contains(Double(step) / 200) || step == 0 || step == 200)
        case .choices: break
        }
      }
    }
    // In the middle of a logarithmic range lies the geometric mean.
    let middle = try #require(Double(domains[0].text(at: 0.5)))
    #expect(abs(middle - 3.1623e-3) < 1e-6)
    // The cells of whole numbers cover the line.
    let cells = try (1...20).map { try #require(domains[2].cell(of: "\($0)")) }
    #expect(cells[0].lowerBound == 0 && cells[19].upperBound == 1)
    for (first, second) in zip(cells, cells.dropFirst()) { #expect(abs(first.upperBound - second.lowerBound) < 1e-12) }
  }

  // MARK: Grids and random search

  @Test("A grid has all combinations once, the last key changing fastest")
  func grid() {
    let space = SearchSpace([
      SearchKey("t", .choices(["1", "4"])), SearchKey("n", .integers(low: 1, high: 3, isLogarithmic: false)),
      SearchKey("x", .numbers(low: 0.01, high: 1, isLogarithmic: true)),
    ])
    let sampler = Sampler.grid(points: 3)
    #expect(sampler.count(in: space) == 18)
    let points = (1...18).compactMap { sampler.next($0, space: space, trials: [], goal: .accuracy, seed: 0)?.values }
    #expect(points.count == 18 && Set(points).count == 18)
    #expect(points[0] == ["t": "1", "n": "1", "x": "0.01"] && points[1] == ["t": "1", "n": "1", "x": "0.1"])
    #expect(points[17] == ["t": "4", "n": "3", "x": "1"])
    #expect(sampler.next(19, space: space, trials: [], goal: .accuracy, seed: 0)?.values == nil)
    #expect(Domain.integers(low: 1, high: 100, isLogarithmic: false).gridTexts(points: 3) == ["1", "51", "100"])
    #expect(Sampler.random.count(in: space) == nil)
  }

  @Test("Random trials depend on the seed and their number alone, and are spread evenly on the scale")
  func random() throws {
    func draw(_ number: Int, _ seed: Int) throws -> Assignment {
      try #require(Sampler.random.next(number, space: Self.space, trials: [], goal: .loss, seed: seed)).values
    }
    #expect(try draw(7, 1) == draw(7, 1))
    #expect(try draw(7, 1) != draw(7, 2))
    #expect(try draw(7, 1) != draw(8, 1))
    let places = try (1...2_000).map { number in
      let text = try #require(try draw(number, 0)["rate"])
      return try #require(Self.rate.domain.place(of: text))
    }
    let mean = places.reduce(0, +) / 2_000
    // Of an even distribution 1/2, with a standard error of 0.0065.
    #expect(abs(mean - 0.5) < 0.03)
  }

  // MARK: The Parzen estimator

  @Test("The better ⌈15 %⌉ are told from the others; failed and running trials are among the others")
  func division() throws {
    let sampler = TreeParzenSampler(startup: 10)
    var trials = (1...20).map { Self.done($0, ["rate": "\($0)"], accuracy: Double($0) / 100) }
    var (good, others) = try #require(sampler.divided(trials, goal: .accuracy))
    #expect(good.compactMap { $0["rate"] } == ["20", "19", "18"] && others.count == 17)
    trials.append(Trial(number: 21, state: .running, origin: .model, values: ["rate": "21"]))
    trials.append(Trial(number: 22, state: .failed, origin: .model, values: ["rate": "22"]))
    (good, others) = try #require(sampler.divided(trials, goal: .accuracy))
    #expect(good.count == 3 && others.suffix(2).compactMap { $0["rate"] } == ["21", "22"])
    #expect(sampler.divided(Array(trials.prefix(9)), goal: .accuracy)?.good == nil)
    // Of equal accuracies the smaller loss is the better one.
    let equal = (1...10).map { Self.done($0, ["rate": "\($0)"], accuracy: 0.5, loss: abs(Double($0) - 6.1)) }
    #expect(try #require(sampler.divided(equal, goal: .accuracy)).good.compactMap { $0["rate"] } == ["6", "7"])
  }

  @Test("The highest rung to which enough trials came is what they are judged by")
  func rungs() throws {
    func trial(_ number: Int, _ scores: [Double]) -> Trial {
      Trial(
        number: number, state: .paused, origin: .random, values: ["rate": "\(number)"], rung: scores.count - 1,
        reports: scores.enumerated().map { rung, value in
          Trial.Report(
            rung: rung, epoch: Double(rung + 1), scores: [SearchScore(accuracy: value, loss: 1)], seconds: 1)
        })
    }
    // Trial 1 is best at the first rung and worst at the second.
    var trials = [trial(1, [0.9, 0.1]), trial(2, [0.5, 0.8]), trial(3, [0.4, 0.7]), trial(4, [0.1])]
    let sampler = TreeParzenSampler(startup: 3)
    #expect(try #require(sampler.divided(trials, goal: .accuracy)).good == [["rate": "2"]])
    trials.removeLast(2)
    trials += [trial(5, [0.3]), trial(6, [0.2])]
    #expect(try #require(sampler.divided(trials, goal: .accuracy)).good == [["rate": "1"]])
  }

  @Test("Choices go where the better trials were")
  func direction() throws {
    let trials = (1...40).map { number -> Trial in
      let isGood = number <= 6
      return Self.done(
        number,
        ["temperature": isGood ? "4" : "20", "rate": isGood ? "0.003" : "0.09", "kind": isGood ? "adam" : "sgd"],
        accuracy: isGood ? 0.9 : 0.5)
    }
    let chosen = try (41...80).map { number in
      try #require(
        Sampler.bayesian(startup: 10).next(number, space: Self.space, trials: trials, goal: .accuracy, seed: 0))
    }
    #expect(chosen.allSatisfy { $0.origin == .model })
    #expect(chosen.count { $0.values["kind"] == "adam" } > 30)
    let rates = chosen.compactMap { $0.values["rate"].flatMap { Double($0) } }.sorted()
    try #require(rates.count == 40)
    #expect(rates[20] < 0.02)
    let few = try #require(
      Sampler.bayesian(startup: 10).next(
        4, space: Self.space, trials: Array(trials.prefix(3)), goal: .accuracy, seed: 0))
    #expect(few.origin == .random)
  }

  @Test("What was tried is not tried again, unless nothing else is left")
  func repetition() throws {
    let space = SearchSpace([SearchKey("kind", .choices(["a", "b", "c"]))])
    func next(after kinds: [String]) throws -> [String] {
      let trials = kinds.enumerated().map { Self.done($0 + 1, ["kind": $1], accuracy: $1 == "b" ? 0.9 : 0.1) }
      return try (0..<5).compactMap { seed in
        try #require(
          Sampler.bayesian(startup: 4).next(9, space: space, trials: trials, goal: .accuracy, seed: seed)
        ).values["kind"]
      }
    }
    #expect(try next(after: ["a", "b", "a", "b"]) == Array(repeating: "c", count: 5))
    #expect(try next(after: ["a", "b", "c", "a"]) == Array(repeating: "b", count: 5))
  }

  /// Loss of a made-up training: best at a rate of 0.005, a temperature of 4, and with Adam.
  private static func loss(_ values: Assignment) -> Double {
    let rate = log10(Double(values["rate"] ?? "") ?? 1) - log10(0.005)
    let temperature = log2(Double(values["temperature"] ?? "") ?? 1) - 2
    return rate * rate + 0.3 * temperature * temperature + (values["kind"] == "adam" ? 0 : 0.5)
  }

  private static func bestOf(_ sampler: Sampler, trials count: Int, seed: Int) throws -> Double {
    var trials: [Trial] = []
    for number in 1...count {
      let values = try #require(
        sampler.next(number, space: space, trials: trials, goal: .loss, seed: seed)
      ).values
      trials.append(done(number, values, accuracy: 0, loss: loss(values)))
    }
    return try #require(trials.winner(.loss)?.score).loss
  }

  @Test("With the same number of trials the Bayesian search comes nearer than chance")
  func findsMore() throws {
    let seeds = 0..<20
    let (model, chance) = try (
      seeds.map { try Self.bestOf(.bayesian(startup: 10), trials: 60, seed: $0) },
      seeds.map { try Self.bestOf(.random, trials: 60, seed: $0) }
    )
    let (mean, meanOfChance) = (model.reduce(0, +) / 20, chance.reduce(0, +) / 20)
    #expect(mean < meanOfChance, "\(mean) against \(meanOfChance)")
    #expect(zip(model, chance).count { $0 < $1 } >= 11)
  }
}
