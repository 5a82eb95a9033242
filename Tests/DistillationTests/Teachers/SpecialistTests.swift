import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct SpecialistTests {
  // MARK: Clusters

  @Test func theCovarianceIsThatOfTheProbabilities() throws {
    let rows = [[1.0, 0, -1], [0.5, 2, 0], [-1, 0, 3], [0, 0, 0]]
    let p = rows.map { EnsembleTests.softmax($0) }
    let means = (0..<3).map { index in p.reduce(0) { $0 + $1[index] } / 4 }
    var expected: [Double] = []
    for i in 0..<3 {
      for j in 0..<3 { expected.append(p.reduce(0) { $0 + ($1[i] - means[i]) * ($1[j] - means[j]) } / 4) }
    }
    let found = try predictionCovariance(logits: EnsembleTests.logits(rows))
    try assertClose(found, Tensor(expected, shape: [3, 3]), relative: 1e-6, absolute: 1e-9)
    // Probabilities sum to 1, so that each row of the covariance sums to 0.
    for sum in try found.sum(along: 1).doubles() { assertClose(sum, 0, absolute: 1e-12) }
    #expect(throws: DistillationError.self) { try predictionCovariance(logits: Tensor.zeros([3])) }
    #expect(throws: DistillationError.self) { try predictionCovariance(logits: Tensor.full([2, 2], .nan)) }
  }

  /// A generalist that takes 0, 3 and 5 for each other, 1 and 4, and 2 and 6.
  static func confusedLogits() throws -> Tensor {
    let groups = [[0, 3, 5], [1, 4], [2, 6]]
    var random = RandomSource(seed: 3, "confusion")
    var rows: [[Double]] = []
    for _ in 0..<60 {
      for group in groups {
        for _ in group {
          rows.append((0..<7).map { (group.contains($0) ? 4 : 0) + 2 * random.uniform() })
        }
      }
    }
    return try EnsembleTests.logits(rows)
  }

  @Test(arguments: [0, 1, 2, 3, 4] as [UInt64])
  func classesThatAreTakenForEachOtherAreFound(seed: UInt64) throws {
    let covariance = try predictionCovariance(logits: Self.confusedLogits())
    let found = try ClassClusters(covariance: covariance, count: 3, seed: seed)
    #expect(found.clusters == [[0, 3, 5], [1, 4], [2, 6]])
    #expect(try ClassClusters(covariance: covariance, count: 3, seed: seed) == found)
  }

  @Test func clustersAtTheirLimits() throws {
    let covariance = try predictionCovariance(logits: Self.confusedLogits())
    #expect(try ClassClusters(covariance: covariance, count: 1).clusters == [Array(0..<7)])
    let single = try ClassClusters(covariance: covariance, count: 7)
    #expect(single.clusters == (0..<7).map { [$0] })
    assertClose(single.spread, 0, absolute: 1e-20)
    // Columns that are all alike still give as many clusters as were asked for.
    let flat = try ClassClusters(covariance: Tensor.zeros([4, 4]), count: 3)
    #expect(flat.clusters.count == 3 && flat.clusters.allSatisfy { !$0.isEmpty })
    #expect(flat.clusters.flatMap(\.self).sorted() == [0, 1, 2, 3])
    for count in [0, 8, -1] {
      #expect(throws: DistillationError.self) { try ClassClusters(covariance: covariance, count: count) }
    }
    #expect(throws: DistillationError.self) { try ClassClusters(covariance: Tensor.zeros([2, 3]), count: 1) }
    #expect(throws: DistillationError.self) { try ClassClusters(covariance: Tensor.full([2, 2], .nan), count: 1) }
    #expect(throws: DistillationError.self) { try ClassClusters(covariance: covariance, count: 2, passes: 0) }
  }

  // MARK: Subset and dustbin

  @Test func outputsAreSpecialClassesAndTheDustbin() throws {
    let classes = try SpecialistClasses([4, 1], of: 5)
    #expect((-1..<5).map(classes.output) == [-1, 2, 1, 2, 2, 0])
    #expect(classes.others == [0, 2, 3])
    #expect(classes.outputCount == 3 && classes.dustbin == 2)
    for wrong in [[], [0, 1, 2, 3, 4], [5], [1, 1]] {
      #expect(throws: DistillationError.self, "\(wrong)") { try SpecialistClasses(wrong, of: 5) }
    }
  }

  @Test func halfOfTheExamplesAreOfItsClasses() throws {
    let classes = try SpecialistClasses([1], of: 4)
    let labels = (0..<200).map { $0 % 5 - 1 }  // 40 without a label, 40 of each class
    let examples = try classes.trainingExamples(labels: labels, seed: 2)
    #expect(examples == examples.sorted() && Set(examples).count == examples.count)
    #expect(examples.count { labels[$0] == 1 } == 40)
    #expect(examples.count == 80)
    #expect(examples.allSatisfy { labels[$0] >= 0 })
    #expect(try classes.trainingExamples(labels: labels, seed: 2) == examples)
    #expect(try classes.trainingExamples(labels: labels, seed: 3) != examples)
    let quarter = try classes.trainingExamples(labels: labels, share: 0.25)
    #expect(quarter.count == 160)
    // There are not more than there are.
    #expect(try classes.trainingExamples(labels: labels, share: 0.05).count == 160)
    #expect(throws: DistillationError.self) { try classes.trainingExamples(labels: [1, 1]) }
    #expect(throws: DistillationError.self) { try classes.trainingExamples(labels: [0, 2]) }
    #expect(throws: DistillationError.self) { try classes.trainingExamples(labels: labels, share: 1) }
  }

  /// Bayes: with the right posteriors for half and half, the corrected ones are those of the natural shares.
  @Test func theCorrectionIsBayesRule() throws {
    let share = 0.2
    let correction = try SpecialistClasses.dustbinCorrection(trainedShare: 0.5, share: share)
    assertClose(correction, log(4), relative: 1e-12)
    // Likelihoods of one input under two special classes, equally frequent, and under the rest.
    let (a, b, rest) = (0.7, 0.1, 0.4)
    let trained = [0.25 * a, 0.25 * b, 0.5 * rest].map { log($0) }
    let natural = [share / 2 * a, share / 2 * b, (1 - share) * rest]
    let found = EnsembleTests.softmax([trained[0], trained[1], trained[2] + correction])
    for (value, expected) in zip(found, natural) { assertClose(value, expected / natural.reduce(0, +), relative: 1e-9) }
    assertClose(try SpecialistClasses.dustbinCorrection(trainedShare: 0.3, share: 0.3), 0, absolute: 1e-12)
    for (trained, natural) in [(0, 0.5), (1, 0.5), (0.5, 0), (0.5, 1), (.nan, 0.5)] as [(Double, Double)] {
      #expect(throws: DistillationError.self) {
        try SpecialistClasses.dustbinCorrection(trainedShare: trained, share: natural)
      }
    }
  }

  /// A head of the generalist's rows says of its classes what the generalist says, where the other logits are equal.
  @Test func theFirstHeadIsTheGeneralists() throws {
    let classes = try SpecialistClasses([2, 0], of: 5)
    let weight = try EnsembleTests.logits([[1, 2], [0.5, 0.5], [-1, 3], [0.5, 0.5], [0.5, 0.5]])
    let bias = try Tensor([Float(0.1), 0.2, 0.3, 0.2, 0.2])
    let head = try classes.firstHead(weight: weight, bias: bias)
    #expect(head.weight.shape == [3, 2] && head.bias.shape == [3])
    let input = try EnsembleTests.logits([[0.7, -0.2]])
    let all = try linear(input, weight: weight, bias: bias).softmax().doubles()
    let own = try linear(input, weight: head.weight, bias: head.bias).softmax().doubles()
    for (value, expected) in zip(own, [all[2], all[0], all[1] + all[3] + all[4]]) {
      assertClose(value, expected, relative: 1e-5)
    }
    #expect(throws: DistillationError.self) { try classes.firstHead(weight: weight, bias: Tensor([Float(1)])) }
  }

  @Test func theDataOfASpecialistHasItsOutputsAsLabels() throws {
    let base = try TinyData.vectors(count: 9)
    let data = try SpecialistDataset(base, SpecialistClasses([2], of: 3))
    #expect((0..<9).map(data.label) == [1, 1, 0, 1, 1, 0, 1, 1, 0])
    #expect(data.classNames == ["c", "other"])
    #expect(try data.values(at: 4) == base.values(at: 4))
    #expect(try data.contentHash != base.contentHash)
    #expect(throws: DistillationError.self) { try SpecialistDataset(base, SpecialistClasses([2], of: 4)) }
  }

  // MARK: Inference

  static func prediction(_ classes: [Int], of count: Int, _ rows: [[Double]], asked: [Bool]) throws
    -> SpecialistPrediction
  {
    SpecialistPrediction(
      classes: try SpecialistClasses(classes, of: count), logProbabilities: try EnsembleTests.logits(rows).logSoftmax(),
      isAsked: try Tensor(asked.map { Float($0 ? 1 : 0) }).to(.bool))
  }

  @Test func withOneSpecialistTheAnswerIsInClosedForm() throws {
    let general = [[1.0, 0, -1, 0.3], [0.2, 2, 0, -1]]
    let special = [[0.4, -0.8, 1], [2, 0, 0.5]]  // classes 3 and 0, dustbin
    let found = try combinedPredictions(
      generalist: EnsembleTests.logits(general),
      specialists: [Self.prediction([3, 0], of: 4, special, asked: [true, false])], steps: 1
    ).exponential()
    let (g, m) = (EnsembleTests.softmax(general[0]), EnsembleTests.softmax(special[0]))
    let rest = (g[1] + g[2] + m[2]) / 2
    let first = [(g[0] + m[1]) / 2, rest * g[1] / (g[1] + g[2]), rest * g[2] / (g[1] + g[2]), (g[3] + m[0]) / 2]
    try assertClose(
      found, Tensor(first + EnsembleTests.softmax(general[1]), shape: [2, 4]), relative: 1e-5, absolute: 1e-7)
  }

  /// F by its definition, in float64, of q = softmax(z).
  static func divergence(_ z: Tensor, general: Tensor, specialists: [SpecialistPrediction]) throws -> Tensor {
    let q = try z.softmax()
    let g = try general.to(.float64).softmax()
    var sum = try (g * (g.logarithm() - q.logarithm())).sum()
    for specialist in specialists {
      let classes = specialist.classes
      let p = try specialist.logProbabilities.to(.float64).exponential()
      let own = try q.gathered(Tensor(classes.subset.classes), along: 1)
      let dustbin = try q.gathered(Tensor(classes.others), along: 1).sum(along: 1, keepDimensions: true)
      let coarse = try Tensor.concatenated([own, dustbin], along: 1)
      let rows = try (p * (p.logarithm() - coarse.logarithm())).sum(along: 1)
      sum = try sum + (rows * specialist.isAsked.to(.float64)).sum()
    }
    return sum
  }

  /// What gradient descent on the paper's function finds, with specialists whose classes overlap.
  @Test func theAnswerMinimizesTheDivergences() throws {
    let general = try EnsembleTests.logits([[1, 0, -1, 0.3, 0.5], [0.2, 2, 0, -1, 1], [3, 0, 0, 1, -2]])
    let specialists = [
      try Self.prediction([3, 0], of: 5, [[0.4, -0.8, 1], [2, 0, 0.5], [1, 1, -2]], asked: [true, true, true]),
      try Self.prediction(
        [0, 1, 2], of: 5, [[0, 1, 0, 0], [-1, 0, 2, 1], [1, 1, 0, -1]], asked: [true, false, true]),
      try Self.prediction([4], of: 5, [[0, 1], [1.5, 0], [0, 0]], asked: [false, true, true]),
    ]
    let z = try general.to(.float64).copied().requireGradient()
    for _ in 0..<4000 {
      try Self.divergence(z, general: general, specialists: specialists).backward()
      let gradient = try #require(z.gradient)
      try withoutGradient { try z.add(gradient, scale: -0.2) }
      try z.setGradient(nil)
    }
    let expected = try z.softmax().detached()
    let found = try combinedPredictions(generalist: general, specialists: specialists)
    try assertClose(found.exponential().to(.float64), expected, relative: 1e-4, absolute: 1e-6)
    // No step makes it worse.
    var before = Double.infinity
    for steps in 1...8 {
      let step = try combinedPredictions(generalist: general, specialists: specialists, steps: steps)
      let value = try Self.divergence(step.to(.float64), general: general, specialists: specialists).item()
      #expect(value <= before + 1e-6)
      before = value
    }
  }

  @Test func sureAnswersStayNumbers() throws {
    let general = try EnsembleTests.logits([[200, -200, 0], [0, 0, 300]])
    let said = try Self.prediction([0], of: 3, [[-300, 300], [300, -300]], asked: [true, true])
    let found = try combinedPredictions(generalist: general, specialists: [said, said])
    #expect(try found.isFinite().all())
    for sum in try found.exponential().sum(along: 1).doubles() { assertClose(sum, 1, relative: 1e-4) }
    #expect(throws: DistillationError.self) {
      try combinedPredictions(generalist: general, specialists: [said], steps: 0)
    }
    let other = try Self.prediction([0], of: 4, [[0, 0], [0, 0]], asked: [true, true])
    #expect(throws: DistillationError.self) { try combinedPredictions(generalist: general, specialists: [other]) }
  }

  /// The teacher asks those in whose field the generalist's best guess is, corrects them, and combines.
  @Test func theTeacherAsksWhoKnows() throws {
    let rows = [[2.0, 1.9, 0, -1], [0, 0.1, 3, 2.9]]
    let general = Saying(try EnsembleTests.logits(rows))
    let first = Saying(try EnsembleTests.logits([[-2, 2, 0], [5, 5, 5]]))  // classes 0 and 1
    let second = Saying(try EnsembleTests.logits([[9, 9, 9], [-1, 3, 0.5]]))  // classes 2 and 3
    let fields = [try SpecialistClasses([0, 1], of: 4), try SpecialistClasses([2, 3], of: 4)]
    let teacher = try SpecialistTeacher(
      generalist: general,
      specialists: [
        .init(first, classes: fields[0], dustbinCorrection: 0.7), .init(second, classes: fields[1]),
      ])
    let batch = try Batch.fake(count: 2)
    let trace = try teacher.trace(batch)
    let expected = try combinedPredictions(
      generalist: EnsembleTests.logits(rows),
      specialists: [
        Self.prediction([0, 1], of: 4, [[-2, 2, 0.7], [0, 0, 0]], asked: [true, false]),
        Self.prediction([2, 3], of: 4, [[0, 0, 0], [-1, 3, 0.5]], asked: [false, true]),
      ])
    try assertClose(trace.logits(), expected, relative: 1e-5, absolute: 1e-5)
    // The generalist was wrong by a hair; the specialists are sure.
    let winners: [Int] = try trace.logits().argumentOfMaximum(along: 1).array()
    #expect(winners == [1, 3])
    // With all classes as candidates everyone is asked.
    let eager = try SpecialistTeacher(
      generalist: general, specialists: [.init(first, classes: fields[0]), .init(second, classes: fields[1])],
      candidates: 10)
    #expect(try eager.trace(batch).logits().floats() != trace.logits().floats())
    let alone = try SpecialistTeacher(generalist: general, specialists: [])
    try assertClose(alone.trace(batch).logits(), EnsembleTests.logits(rows).logSoftmax(), relative: 1e-6)
    let error = #expect(throws: DistillationError.self) {
      try SpecialistTeacher(
        generalist: general, specialists: [.init(first, classes: SpecialistClasses([0], of: 4))]
      ).trace(batch)
    }
    #expect(error?.description.contains("2 outputs") == true)
    #expect(throws: DistillationError.self) { try teacher.trace(batch, taps: [Tap("0")]) }
    #expect(throws: DistillationError.self) {
      try SpecialistTeacher(generalist: general, specialists: [], candidates: 0)
    }
  }

  /// Says given logits.
  final class Saying: Teacher {
    let logits: Tensor
    init(_ logits: Tensor) { self.logits = logits }
    func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace { TeacherTrace(logits: logits) }
  }
}
