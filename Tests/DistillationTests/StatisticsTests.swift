import Distillation
import Foundation
import TestSupport
import Testing
import Torch

/// The statistics of comparisons, against SciPy's numbers (`scripts/fixtures/statistics.py`) and what can be counted.
@Suite struct StatisticsTests {
  private struct Numbers: Decodable {
    struct Test: Decodable {
      var differences: [Double]
      var p: Double
    }
    struct McNemar: Decodable {
      var only_first: Int
      var only_second: Int
      var p: Double
      var mid_p: Double
      var p_chi_square: Double
    }
    struct Bootstrap: Decodable {
      var values: [Double]
      var low: Double
      var high: Double
    }
    struct Resolved: Decodable {
      var pairs: Int
      var factor: Double
      var power: Double
    }
    struct Calibration: Decodable {
      var logits: [Double]
      var labels: [Int]
      var ece: Double
    }
    var permutation: [Test]
    var t_test: [Test]
    var mcnemar: [McNemar]
    var bootstrap: [Bootstrap]
    var resolution: [Resolved]
    var calibration: Calibration
  }

  private let numbers: Numbers

  init() throws {
    numbers = try JSONDecoder().decode(
      Numbers.self, from: Data(contentsOf: URL(filePath: "\(fixtureFolder)/statistics.json")))
  }

  // MARK: Permutations

  @Test func permutationsOfAllSignsAreSciPys() throws {
    #expect(numbers.permutation.count >= 6)
    for reference in numbers.permutation {
      let test = try #require(PermutationTest(reference.differences))
      #expect(test.isExact)
      #expect(test.arrangements == 1 << reference.differences.count)
      assertClose(test.p, reference.p, relative: 1e-12)
    }
  }

  @Test func differencesOfOneSignGiveTheSmallestP() throws {
    for count in 1...10 {
      let test = try #require(PermutationTest([Double](repeating: 0.3, count: count)))
      #expect(test.p == PermutationTest.smallestP(pairs: count))
      #expect(PermutationTest([Double](repeating: 0, count: count))?.p == 1)
    }
    #expect(PermutationTest.fewestPairs(below: 0.05) == 6)
    #expect(PermutationTest([]) == nil)
    #expect(PermutationTest([0.1, .nan]) == nil)
  }

  @Test func drawnSignsComeNearAllSigns() throws {
    // Seventeen pairs: 13 up by one and 4 down by one; a mean as far from zero is a coin that shows one side 13 times.
    let differences = [Double](repeating: 1, count: 13) + [Double](repeating: -1, count: 4)
    let test = try #require(PermutationTest(differences))
    #expect(!test.isExact)
    let exact = McNemarTest(onlyFirst: 13, onlySecond: 4).p
    #expect(abs(test.p - exact) < 5 * (exact / 100_000).squareRoot())
    #expect(PermutationTest(differences) == test, "drawn with a fixed seed")
    // p is never 0.
    let sure = try #require(PermutationTest([Double](repeating: 1, count: 100), draws: 1_000))
    assertClose(sure.p, 1 / 1_001.0, relative: 1e-12)
  }

  // MARK: McNemar

  @Test func mcNemarIsSciPysBinomialTest() throws {
    for reference in numbers.mcnemar {
      let test = McNemarTest(onlyFirst: reference.only_first, onlySecond: reference.only_second)
      if reference.only_first + reference.only_second <= McNemarTest.mostExact {
        #expect(test.method == .exact)
        assertClose(test.p, reference.p, relative: 1e-9)
        assertClose(try #require(test.midP), reference.mid_p, relative: 1e-9)
      } else {
        #expect(test.method == .chiSquare)
        #expect(test.midP == nil)
        assertClose(test.p, reference.p_chi_square, relative: 1e-9)
        // Where it takes over, it says almost the same.
        #expect(abs(test.p - reference.p) < 1e-3)
      }
    }
    #expect(numbers.mcnemar.contains { $0.only_first + $0.only_second > McNemarTest.mostExact })
  }

  @Test func mcNemarCountsWhereOneIsRightAndTheOtherWrong() {
    let test = McNemarTest([true, true, false, false, true], [true, false, true, false, false])
    #expect(test.onlyFirst == 2 && test.onlySecond == 1)
    #expect(test.p == 1)
    #expect(McNemarTest(onlyFirst: 2, onlySecond: 9).p == McNemarTest(onlyFirst: 9, onlySecond: 2).p)
  }

  // MARK: Bootstrap

  @Test func theBootstrapOfFewSeedsIsThatOfAllDraws() throws {
    for reference in numbers.bootstrap {
      let interval = try #require(BootstrapInterval(reference.values))
      #expect(interval.isExact)
      assertClose(interval.low, reference.low, relative: 1e-9, absolute: 1e-12)
      assertClose(interval.high, reference.high, relative: 1e-9, absolute: 1e-12)
    }
    #expect(BootstrapInterval([1]) == nil)
    #expect(BootstrapInterval([1, .infinity]) == nil)
  }

  @Test func theBootstrapOfManyIsAlmostNormal() throws {
    var source = RandomSource(seed: 3)
    let values = (0..<400).map { _ in source.uniform() }
    let interval = try #require(BootstrapInterval(values))
    let mean = values.reduce(0, +) / 400
    let deviation = (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 400).squareRoot()
    let half = 1.96 * deviation / 20
    #expect(abs(interval.low - (mean - half)) < 0.1 * half)
    #expect(abs(interval.high - (mean + half)) < 0.1 * half)
    #expect(BootstrapInterval(values) == interval, "drawn with a fixed seed")
  }

  /// Of differences that are a sum of one number for the seed and one for the example, the variance of the mean over both
  /// drawn anew is σ²(seeds) / seeds + σ²(examples) / examples.
  @Test func seedsAndExamplesBothCount() throws {
    var source = RandomSource(seed: 8)
    let ofSeeds = (0..<9).map { Double($0) / 40 }
    let ofExamples = (0..<300).map { _ in source.uniform() < 0.3 ? 1.0 : 0 }
    func variance(_ values: [Double]) -> Double {
      let mean = values.reduce(0, +) / Double(values.count)
      return values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
    }
    for (seeds, examples) in [
      (ofSeeds, ofExamples), (ofSeeds, ofExamples.map { _ in 0 }), (ofSeeds.map { _ in 0 }, ofExamples),
    ] {
      let interval = try #require(
        BootstrapInterval(seedsAndExamples: seeds.map { seed in examples.map { seed + $0 } }))
      let half = 1.96 * (variance(seeds) / 9 + variance(examples) / 300).squareRoot()
      #expect(abs((interval.high - interval.low) / 2 - half) < 0.12 * half)
    }
    #expect(BootstrapInterval(seedsAndExamples: [[1, 2]]) == nil)
    #expect(BootstrapInterval(seedsAndExamples: [[1, 2], [1]]) == nil)
  }

  // MARK: What seeds can show

  @Test func theTTestIsSciPysAndFitsTheInterval() throws {
    for reference in numbers.t_test {
      let p = try #require(pairedTTest(reference.differences))
      assertClose(p, reference.p, relative: 1e-8)
      let interval = PairedDifference(reference.differences)
      let (low, high) = (try #require(interval.low), try #require(interval.high))
      #expect((p < 0.05) == (low > 0 || high < 0))
    }
    #expect(pairedTTest([0.2]) == nil)
  }

  @Test(
    "Seeds that all differ by the same have no spread, so no interval and no p",
    arguments: [[0.5, 0.5], [0, 0], [60.0 / 360, 0.9 - (0.9 - 60.0 / 360)], [-0.1, -0.1, -0.1]])
  func equalDifferences(differences: [Double]) {
    let interval = PairedDifference(differences)
    #expect(interval.isWithoutSpread && interval.low == nil && interval.high == nil)
    #expect(pairedTTest(differences) == nil)
    #expect(Resolution(differences) == nil)
    #expect(!PairedDifference([0.5]).isWithoutSpread)
    #expect(!PairedDifference([0.5, 0.5 + 1e-6]).isWithoutSpread)
  }

  @Test func whatSeedsResolveIsSciPysAndFoundFourTimesInFive() throws {
    for reference in numbers.resolution {
      let resolution = Resolution(deviation: 1, pairs: reference.pairs)
      assertClose(resolution.smallestDifference, reference.factor, relative: 1e-8)
      // The estimate is rough for two pairs, and close from five on.
      #expect(abs(reference.power - Resolution.power) < (reference.pairs < 5 ? 0.07 : 0.01))
      if reference.pairs > 2 {
        #expect(resolution.pairs(toResolve: reference.factor * 1.0001) == reference.pairs)
      }
    }
  }

  @Test func fewerPairsThanAreNamedDoNotResolve() throws {
    let resolution = try #require(Resolution([0.004, -0.002, 0.009]))
    assertClose(resolution.deviation, 0.005_507_570_547, relative: 1e-9)
    let needed = try #require(resolution.pairs(toResolve: 0.003))
    #expect(try #require(resolution.smallestDifference(pairs: needed)) <= 0.003)
    #expect(try #require(resolution.smallestDifference(pairs: needed - 1)) > 0.003)
    #expect(resolution.pairs(toResolve: -0.003) == needed)
    #expect(resolution.pairs(toResolve: 1e-7) == nil)
    #expect(resolution.pairs(toResolve: 0) == nil)
    // Among three comparisons each has a third of the level; the number is SciPy's.
    let among = Resolution(deviation: 1, pairs: 5, among: 3)
    assertClose(among.smallestDifference, 2.192_129_715_790_729, relative: 1e-8)
    let alone = Resolution(deviation: 1, pairs: 5)
    #expect(try #require(among.pairs(toResolve: 0.8)) > #require(alone.pairs(toResolve: 0.8)))
    #expect(Resolution([0.1]) == nil)
  }

  @Test func holmIsWhatHandsCompute() {
    let corrected = holmCorrected([0.01, 0.04, 0.03, 0.005])
    for (own, reference) in zip(corrected, [0.03, 0.06, 0.06, 0.02]) { assertClose(own, reference, relative: 1e-12) }
    #expect(holmCorrected([0.2]) == [0.2])
    #expect(holmCorrected([0.9, 0.8]) == [1, 1])
    #expect(holmCorrected([]) == [])
  }

  // MARK: Predictions

  @Test func predictionsSayWhatMetricsSay() throws {
    let reference = numbers.calibration
    let logits = try Tensor(reference.logits, shape: [200, 5])
    let predictions = try TestPredictions(logits: logits, labels: reference.labels)
    let metrics = try Metrics(logits: logits, labels: reference.labels)
    assertClose(predictions.expectedCalibrationError, reference.ece, relative: 1e-9)
    assertClose(metrics.expectedCalibrationError, reference.ece, relative: 1e-9)
    assertClose(Double(predictions.correct.count { $0 }) / 200, metrics.accuracy, relative: 1e-12)
    assertClose(
      predictions.negativeLogLikelihoods.reduce(0, +) / 200, metrics.negativeLogLikelihood, relative: 1e-12)
    for (index, score) in metrics.perClass.enumerated() {
      assertClose(try #require(predictions.recall(of: index)), score.recall, relative: 1e-12)
    }
    #expect(predictions.recall(of: 7) == nil)
    var other = predictions
    for index in 0..<50 { other.classes[index] = (other.classes[index] + 1) % 5 }
    #expect(predictions.agreement(with: other) == 0.75)
  }

  @Test func examplesWithoutLabelsCountForAgreementOnly() throws {
    let logits = try Tensor([2.0, 0, 0, 2, 2, 0], shape: [3, 2])
    let predictions = try TestPredictions(logits: logits, labels: [0, -1, 1])
    #expect(predictions.correct == [true, false])
    #expect(predictions.agreement(with: predictions) == 1)
    #expect(throws: DistillationError.self) { try TestPredictions(logits: logits, labels: [0, 1]) }
    #expect(throws: DistillationError.self) { try TestPredictions(logits: logits, labels: [0, 1, 2]) }
  }
}
