import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN
import TorchOptim

@Suite struct EnsembleTests {
  /// Logits that are not random, so that a reader can compute with them.
  static func logits(_ rows: [[Double]]) throws -> Tensor {
    try Tensor(rows.flatMap { $0.map(Float.init) }, shape: [rows.count, rows[0].count])
  }

  static func softmax(_ row: [Double], temperature: Double = 1) -> [Double] {
    let powers = row.map { exp($0 / temperature) }
    return powers.map { $0 / powers.reduce(0, +) }
  }

  static func entropy(_ row: [Double]) -> Double { softmax(row).reduce(0) { $0 - $1 * log($1) } }

  static let first = [[2.0, -1, 0.5], [0, 0, 0]]
  static let second = [[0.0, 1, 0], [3, -2, 1]]

  // MARK: Weights

  @Test func weightsByScore() throws {
    let plain = try EnsembleTeacher.weights(byScore: [0.6, 0.9])
    assertClose(plain[0], 0.4, relative: 1e-12)
    assertClose(plain[1], 0.6, relative: 1e-12)
    let squares = try EnsembleTeacher.weights(byScore: [0.6, 0.9], power: 2)
    assertClose(squares[0], 0.36 / (0.36 + 0.81), relative: 1e-12)
    #expect(try EnsembleTeacher.weights(byScore: [3, 17, 4], power: 0) == [1 / 3, 1 / 3, 1 / 3])
    // As large as a number can be: nothing overflows.
    #expect(try EnsembleTeacher.weights(byScore: [1e300, 1e300], power: 9) == [0.5, 0.5])
    for scores in [[], [0, 1], [-1, 1], [.nan, 1], [.infinity, 1]] as [[Double]] {
      #expect(throws: DistillationError.self, "\(scores)") { try EnsembleTeacher.weights(byScore: scores) }
    }
    let error = #expect(throws: DistillationError.self) {
      try EnsembleTeacher.weights(byScore: [0.1, 0.9], power: 1000)
    }
    #expect(error?.description.contains("leave the member out") == true)
    #expect(throws: DistillationError.self) { try EnsembleTeacher.weights(byScore: [1, 2], power: -1) }
  }

  static func confident(_ sharpness: Double, _ average: EnsembleAverage) throws -> TeacherTrace {
    TeacherTrace(
      memberLogits: [try logits(first), try logits(second)], memberWeights: [0.25, 0.75], average: average,
      weighting: .confidence(sharpness: sharpness))
  }

  /// wₘ(x) for an example, by the formula.
  static func weights(_ row: Int, sharpness: Double) -> [Double] {
    let powers = [
      0.25 * exp(-sharpness * entropy(first[row])), 0.75 * exp(-sharpness * entropy(second[row])),
    ]
    return powers.map { $0 / powers.reduce(0, +) }
  }

  @Test(arguments: EnsembleAverage.allCases)
  func confidenceWeighsEachExample(average: EnsembleAverage) throws {
    let sharpness = 1.7
    let temperature = 3.0
    let trace = try Self.confident(sharpness, average)
    var weights: [Double] = []
    var targets: [Double] = []
    var shown: [Double] = []
    for row in 0..<2 {
      let w = Self.weights(row, sharpness: sharpness)
      weights += w
      let members = [Self.first[row], Self.second[row]]
      let soft = members.map { Self.softmax($0, temperature: temperature) }
      let plain = members.map { Self.softmax($0) }
      func mix(_ rows: [[Double]]) -> [Double] { (0..<3).map { w[0] * rows[0][$0] + w[1] * rows[1][$0] } }
      switch average {
      case .arithmetic:
        targets += mix(soft)
        shown += mix(plain).map { log($0) }
      case .geometric:
        targets += Self.softmax(mix(soft.map { $0.map { log($0) } }))
        shown += mix(plain.map { $0.map { log($0) } })
      case .logits:
        targets += Self.softmax(mix(members), temperature: temperature)
        shown += mix(members)
      }
    }
    let found = try trace.weightsOfExamples()
    #expect(found.shape == [2, 2])
    try assertClose(found.transposed(0, 1), Tensor(weights, shape: [2, 2]), relative: 1e-5)
    try assertClose(
      trace.logSoftTargets(temperature: temperature).exponential(), Tensor(targets, shape: [2, 3]), relative: 1e-5)
    try assertClose(trace.logits(), Tensor(shown, shape: [2, 3]), relative: 1e-5)
  }

  @Test(arguments: EnsembleAverage.allCases)
  func confidenceAtItsLimits(average: EnsembleAverage) throws {
    var fixed = try Self.confident(0, average)
    let flat = try fixed.logSoftTargets(temperature: 2)
    fixed.weighting = .fixed
    try assertClose(flat, fixed.logSoftTargets(temperature: 2), relative: 1e-5)
    // The surest member alone: the first for the first example, the second for the second.
    let sharp = try Self.confident(1e6, average).logSoftTargets(temperature: 1).exponential()
    try assertClose(
      sharp, Tensor(Self.softmax(Self.first[0]) + Self.softmax(Self.second[1]), shape: [2, 3]), relative: 1e-5)
    let error = #expect(throws: DistillationError.self) {
      try EnsembleTeacher([FrozenTeacher(Linear(1, 1))], weighting: .confidence(sharpness: -1))
    }
    #expect(error?.description.contains("at least 0") == true)
  }

  /// The weights are those of what the members said, not of their standardized logits.
  @Test func standardizingKeepsTheWeights() throws {
    let trace = try Self.confident(2, .arithmetic)
    let standardized = try trace.mappingLogits(standardizedLogits)
    try assertClose(standardized.weightsOfExamples(), trace.weightsOfExamples(), relative: 1e-6)
    let recomputed = TeacherTrace(
      memberLogits: standardized.memberLogits, memberWeights: [0.25, 0.75], average: .arithmetic,
      weighting: .confidence(sharpness: 2))
    #expect(try recomputed.weightsOfExamples().floats() != trace.weightsOfExamples().floats())
  }

  /// Numbers as large as logits can be leave numbers.
  @Test(arguments: EnsembleAverage.allCases)
  func extremeLogitsGiveNumbers(average: EnsembleAverage) throws {
    let wild = [try Self.logits([[1e4, -1e4, 0]]), try Self.logits([[-3e4, 3e4, 0]])]
    for subset in [nil, try ClassSubset([2, 0, 1], of: 3)] {
      let trace = TeacherTrace(
        memberLogits: wild, memberWeights: [0.5, 0.5], average: average, weighting: .confidence(sharpness: 50),
        memberClasses: [nil, subset])
      #expect(try trace.logSoftTargets(temperature: 1).isFinite().all())
      #expect(try trace.logits().isFinite().all())
    }
  }

  // MARK: Members that know a part of the classes

  @Test func aClassIsAveragedOverTheMembersThatKnowIt() throws {
    let all = [0.4, -1, 2, 0.1]
    let part = [1.5, -0.5]  // classes 3 and 1
    let subset = try ClassSubset([3, 1], of: 4)
    func trace(_ average: EnsembleAverage) throws -> TeacherTrace {
      TeacherTrace(
        memberLogits: [try Self.logits([all]), try Self.logits([part])], memberWeights: [0.6, 0.4], average: average,
        memberClasses: [nil, subset])
    }
    let (p, r) = (Self.softmax(all, temperature: 2), Self.softmax(part, temperature: 2))
    let mixed = [p[0], 0.6 * p[1] + 0.4 * r[1], p[2], 0.6 * p[3] + 0.4 * r[0]]
    let total = mixed.reduce(0, +)
    try assertClose(
      trace(.arithmetic).logSoftTargets(temperature: 2).exponential(), Tensor(mixed.map { $0 / total }, shape: [1, 4]),
      relative: 1e-5)
    let (lp, lr) = (p.map { log($0) }, r.map { log($0) })
    let logs = [lp[0], 0.6 * lp[1] + 0.4 * lr[1], lp[2], 0.6 * lp[3] + 0.4 * lr[0]]
    try assertClose(
      trace(.geometric).logSoftTargets(temperature: 2).exponential(), Tensor(Self.softmax(logs), shape: [1, 4]),
      relative: 1e-5)
    let (c, d) = (all.map { $0 - 0.375 }, part.map { $0 - 0.5 })
    let shown = [c[0], 0.6 * c[1] + 0.4 * d[1], c[2], 0.6 * c[3] + 0.4 * d[0]]
    try assertClose(trace(.logits).logits(), Tensor(shown, shape: [1, 4]), relative: 1e-5)
    try assertClose(
      trace(.logits).logSoftTargets(temperature: 2).exponential(),
      Tensor(Self.softmax(shown, temperature: 2), shape: [1, 4]), relative: 1e-5)
  }

  @Test(arguments: EnsembleAverage.allCases)
  func aSubsetOfAllClassesInAnotherOrderChangesNothing(average: EnsembleAverage) throws {
    let subset = try ClassSubset([2, 0, 1], of: 3)
    let whole = TeacherTrace(
      memberLogits: [try Self.logits(Self.first), try Self.logits(Self.second)], memberWeights: [0.3, 0.7],
      average: average)
    let turned = try subset.pick(Self.logits(Self.second))
    let same = TeacherTrace(
      memberLogits: [try Self.logits(Self.first), turned], memberWeights: [0.3, 0.7], average: average,
      memberClasses: [nil, subset])
    try assertClose(
      same.logSoftTargets(temperature: 3), whole.logSoftTargets(temperature: 3), relative: 1e-5, absolute: 1e-6)
  }

  @Test func subsetsRefuseWhatDoesNotFit() throws {
    let model = FrozenTeacher(try Linear(3, 3))
    for outputs in [[], [nil, nil, nil], [0, 0, 1], [0, 1, 4], [-1, 1, 2]] as [[Int?]] {
      #expect(throws: DistillationError.self, "\(outputs)") {
        try ClassSubsetTeacher(model, outputs: outputs, of: 4)
      }
    }
    let batch = try Batch.fake(count: 2, inputs: Tensor.ones([2, 3]))
    let member = try ClassSubsetTeacher(model, outputs: [2, nil, 0], of: 4)
    let whole = FrozenTeacher(try Linear(3, 4))
    #expect(try member.trace(batch).memberLogits[0].shape == [2, 2])
    // Nobody knows classes 1 and 3.
    let error = #expect(throws: DistillationError.self) { try member.trace(batch).logSoftTargets(temperature: 1) }
    #expect(error?.description.contains("no member of the ensemble knows class 1") == true)
    #expect(try EnsembleTeacher([member, whole]).trace(batch).logSoftTargets(temperature: 1).shape == [2, 4])
    #expect(throws: DistillationError.self) { try EnsembleTeacher([member, model]).trace(batch) }
    #expect(throws: DistillationError.self) {
      try ClassSubsetTeacher(whole, outputs: [0, 1, 2], of: 4).trace(batch)
    }
  }

  // MARK: Disagreement

  @Test func disagreementByHand() throws {
    let members = [try Self.logits(Self.first), try Self.logits(Self.second)]
    let trace = TeacherTrace(memberLogits: members, memberWeights: [0.25, 0.75], average: .arithmetic)
    var divergence = 0.0
    for row in 0..<2 {
      let (p, r) = (Self.softmax(Self.first[row]), Self.softmax(Self.second[row]))
      for (a, b) in zip(p, r) {
        let mean = 0.25 * a + 0.75 * b
        divergence += 0.25 * a * log(a / mean) + 0.75 * b * log(b / mean)
      }
    }
    let found = try trace.disagreement()
    assertClose(found.jensenShannon, divergence / 2, relative: 1e-6)
    // 0 against 1; the first of three equal ones, 0, against 0.
    #expect(found.topOne == 0.5)
    #expect(found.count == 2)
    let same = TeacherTrace(memberLogits: [members[0], members[0]], memberWeights: [0.5, 0.5], average: .logits)
    #expect(try same.disagreement() == MemberDisagreement(jensenShannon: 0, topOne: 0, count: 2))
    let apart = TeacherTrace(
      memberLogits: [try Self.logits([[900, 0]]), try Self.logits([[0, 900]])], memberWeights: [0.5, 0.5],
      average: .logits)
    assertClose(try apart.disagreement().jensenShannon, log(2), relative: 1e-9)
    #expect(throws: DistillationError.self) { try TeacherTrace(logits: members[0]).disagreement() }
  }

  @Test func subsetsAreComparedOnWhatTheyShare() throws {
    let whole = try Self.logits([[1, 5, 2]])
    let part = try Self.logits([[2, 1]])
    let trace = TeacherTrace(
      memberLogits: [whole, part], memberWeights: [0.5, 0.5], average: .arithmetic,
      memberClasses: [nil, try ClassSubset([2, 0], of: 3)])
    let found = try trace.disagreement()
    assertClose(found.jensenShannon, 0, absolute: 1e-12)
    #expect(found.topOne == 0)
    let strangers = TeacherTrace(
      memberLogits: [part, part], memberWeights: [0.5, 0.5], average: .arithmetic,
      memberClasses: [try ClassSubset([0, 1], of: 3), try ClassSubset([1, 2], of: 3)])
    #expect(throws: DistillationError.self) { try strangers.disagreement() }
  }

  @Test func disagreementOfASetIsThatOfItsExamples() throws {
    let data = try TinyData.vectors(count: 23)
    let ensemble = try EnsembleTeacher([
      FrozenTeacher(TinyModel.mlp(seed: 1)), FrozenTeacher(TinyModel.mlp(seed: 2)),
    ])
    let small = try EvaluationSet(data, normalization: nil, batchSize: 5).disagreement(of: ensemble)
    let large = try EvaluationSet(data, normalization: nil, batchSize: 50).disagreement(of: ensemble)
    #expect(large.count == 23 && small.count == 23)
    #expect(large.jensenShannon > 0)
    assertClose(small.jensenShannon, large.jensenShannon, relative: 1e-6)
    assertClose(small.topOne, large.topOne, relative: 1e-9)
  }

  // MARK: A teacher for each term

  /// The objective with a term on a member, and the term alone with that member as the teacher.
  @Test(arguments: [TeacherChoice.member(1), .named("large")])
  func aTermSeesOneMember(choice: TeacherChoice) throws {
    let training = TinyTraining()
    let members = try [TinyModel.mlp(hidden: 5, seed: 4), TinyModel.mlp(hidden: 7, seed: 5)]
    let ensemble = try EnsembleTeacher(members.map { FrozenTeacher($0) }, names: ["small", "large"])
    let student = try TinyModel.mlp(seed: 3)
    let pair = LayerPair(student: Tap("1"), teacher: Tap("0"))
    func entries(_ choice: TeacherChoice) throws -> [Objective.Entry] {
      [
        .init(try SoftTargets(temperature: 2), teacher: choice),
        .init(try Hints(layers: [pair]), weight: 0.3, teacher: choice),
      ]
    }
    let batch = try training.makeLoader().batch(ids: Array(0..<10))
    func value(_ choice: TeacherChoice, _ teacher: any Teacher) throws -> Double {
      let objective = try Objective(entries(choice) + [.init(try HardLabels())])
      try objective.prepare(student: student, teacher: teacher, batch: batch, seed: 8)
      return try #require(
        try objective.evaluate(
          student: student.trace(batch.inputs, taps: objective.studentTaps),
          teacher: objective.trace(teacher, batch), batch: batch)
      ).total.item()
    }
    #expect(try value(choice, ensemble) == value(.all, FrozenTeacher(members[1])))
    #expect(try value(choice, ensemble) != value(.member(0), ensemble))
    // Terms on the layers of the whole ensemble there are none.
    #expect(throws: DistillationError.self) { try value(.all, ensemble) }
  }

  @Test func aMemberThatIsNotThereIsNamed() throws {
    let training = TinyTraining()
    let ensemble = try EnsembleTeacher(
      [FrozenTeacher(TinyModel.mlp()), FrozenTeacher(TinyModel.mlp(seed: 2))], names: ["first", "second"])
    func start(_ choice: TeacherChoice, _ teacher: any Teacher) throws {
      let objective = try Objective([.init(try SoftTargets(), teacher: choice)])
      _ = try training.makeTrainer(student: training.makeStudent(), teacher: teacher, objective: objective)
    }
    try start(.named("second"), ensemble)
    let error = #expect(throws: DistillationError.self) { try start(.named("third"), ensemble) }
    #expect(error?.description.contains("first, second") == true)
    #expect(throws: DistillationError.self) { try start(.member(2), ensemble) }
    #expect(throws: DistillationError.self) { try start(.member(-1), ensemble) }
    #expect(throws: DistillationError.self) { try start(.member(0), FrozenTeacher(TinyModel.mlp())) }
    #expect(throws: DistillationError.self) {
      try EnsembleTeacher([FrozenTeacher(TinyModel.mlp()), FrozenTeacher(TinyModel.mlp())], names: ["a", "a"])
    }
  }

  /// What was computed beforehand says the same as the members do live: weights, classes, and each member.
  @Test func precomputedEnsemblesAreTheLiveOnes() throws {
    let data = try TinyData.vectors(count: 21)
    let part = try ClassSubsetTeacher(FrozenTeacher(TinyModel.mlp(classes: 2, seed: 6)), outputs: [2, 0], of: 3)
    let inner = try EnsembleTeacher(
      [FrozenTeacher(TinyModel.mlp(seed: 7)), FrozenTeacher(TinyModel.mlp(seed: 8))], weights: [1, 3],
      average: .geometric)
    let ensemble = try EnsembleTeacher(
      [inner, part], weights: [2, 1], weighting: .confidence(sharpness: 3), names: ["pair", "part"])
    let loader = try DataLoader(dataset: data, options: .init(batchSize: 8))
    let stored = try PrecomputedTeacher(computing: ensemble, over: loader)
    #expect(stored.memberNames == ["pair", "part"])
    let batch = try loader.batch(ids: [20, 3, 11, 4])
    let (live, found) = try (ensemble.trace(batch), stored.trace(batch))
    try assertClose(found.logSoftTargets(temperature: 2), live.logSoftTargets(temperature: 2), relative: 1e-5)
    try assertClose(found.logits(), live.logits(), relative: 1e-5)
    for (one, other) in zip(found.memberTraces, live.memberTraces) {
      #expect(one.memberWeights == other.memberWeights && one.average == other.average)
      for (a, b) in zip(one.memberLogits, other.memberLogits) { try assertClose(a, b, relative: 1e-5) }
    }
    let objective = try Objective([.init(LogitMatching(), teacher: .named("pair"))])
    let student = Trace(output: try Tensor.zeros([4, 3]))
    let values = try [ensemble as any Teacher, stored].map { teacher in
      try #require(try objective.evaluate(student: student, teacher: objective.trace(teacher, batch), batch: batch))
        .total.item()
    }
    assertClose(values[0], values[1], relative: 1e-5)
    #expect(throws: DistillationError.self) { try stored.trace(batch, taps: [], memberTaps: [0: [Tap("0")]]) }
  }
}
