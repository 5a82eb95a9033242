import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// Losses on the outputs of sequences, and soft targets of a part of the classes
/// (scripts/fixtures/sequence_terms.py).
@Suite struct SequenceTermTests {
  let fixture = try! Fixture("sequence-terms")

  func makeBatch(mask: Tensor? = nil, labels: Tensor? = nil, predictsTokens: Bool = true) throws -> Batch {
    try Batch(
      ids: [7, 9], sequences: Tensor.zeros([2, 4]), mask: mask, labels: labels, predictsTokens: predictsTokens)
  }

  /// The objective of one term on the fixture's sequences, and its gradient by the student's logits.
  func evaluate(_ term: any Term, _ batch: Batch, student: Tensor? = nil) throws -> (Objective.Value, Tensor) {
    let logits = try (student ?? fixture["tokens/student"]).to(.float32).copied().requireGradient()
    let value = try #require(
      try Objective([Objective.Entry(term)]).evaluate(
        student: Trace(output: logits), teacher: TeacherTrace(logits: fixture["tokens/teacher"]), batch: batch))
    try value.total.backward()
    return (value, try #require(logits.gradient))
  }

  // MARK: Tokens

  @Test(arguments: [("soft", 6), ("logits", 6), ("hard", 4)])
  func termsCountTokens(name: String, count: Int) throws {
    let term: any Term =
      switch name {
      case "soft": try SoftTargets(temperature: 4)
      case "logits": LogitMatching()
      default: try HardLabels()
      }
    let batch = try makeBatch(mask: fixture["tokens/mask"], labels: fixture["tokens/labels"])
    let (value, gradient) = try evaluate(term, batch)
    #expect(value.parts[0].count == count)
    try assertClose(value.total.item(), fixture["tokens/\(name)/value"].item(), relative: 1e-5)
    try assertClose(gradient, fixture["tokens/\(name)/gradient"], relative: 1e-4, absolute: 1e-6)
  }

  /// Every method of the catalog that looks at outputs alone gives for sequences what it gives for their tokens.
  @Test func everyTermOnOutputsSeesTokens() throws {
    // Some terms look for two examples of a class: here the tokens that count have two of class 0 and two of class 3.
    let labels = try Tensor([0, 3, 0, 2, 3, 1, 1, -1] as [Int64], shape: [2, 4])
    let sequences = try makeBatch(mask: fixture["tokens/mask"], labels: labels)
    let tokens = try #require(sequences.tokens)
    var count = 0
    for kind in TermCatalog.kinds where !kind.options.contains(where: \.isRequired) {
      let terms = try (0..<2).map { _ in try kind.make() }
      guard terms[0].studentTaps.isEmpty, terms[0].teacherTaps.isEmpty, !terms[0].needsParameters else { continue }
      let (value, gradient) = try evaluate(terms[0], sequences)
      let rows = try tokens.rows(fixture["tokens/student"]).to(.float32).copied().requireGradient()
      let found = try Objective([Objective.Entry(terms[1])]).evaluate(
        student: Trace(output: rows), teacher: TeacherTrace(logits: tokens.rows(fixture["tokens/teacher"])),
        batch: sequences.byToken)
      let alone = try #require(found)
      try alone.total.backward()
      #expect(value.parts[0].count == alone.parts[0].count, "\(kind.name)")
      #expect(try value.total.item() == alone.total.item(), "\(kind.name)")
      try assertClose(tokens.rows(gradient), #require(rows.gradient), relative: 1e-6, absolute: 1e-8, kind.name)
      count += 1
    }
    #expect(count >= 3)
  }

  /// What the logits are at tokens that do not count is of no consequence, not even if they are no numbers.
  @Test func tokensThatDoNotCountDoNot() throws {
    let batch = try makeBatch(mask: fixture["tokens/mask"], labels: fixture["tokens/labels"])
    let changed = try fixture["tokens/student"].to(.float32).copied()
    try changed.selected(0, 0).selected(0, 3).fill(.nan)
    try changed.selected(0, 1).selected(0, 1).fill(.infinity)
    for term in [try SoftTargets(), LogitMatching(), try HardLabels(), try TopKSoftTargets(k: 2)] as [any Term] {
      let (expected, gradient) = try evaluate(term, batch)
      let (value, found) = try evaluate(term, batch, student: changed)
      #expect(try value.total.item() == expected.total.item(), "\(term.name)")
      #expect(try found.doubles() == gradient.doubles(), "\(term.name)")
    }
  }

  /// One batch of two sequences is the same as two of one, whatever their lengths.
  @Test func partsOfAStepAddUp() throws {
    let mask = try fixture["tokens/mask"]
    let labels = try fixture["tokens/labels"]
    let objective = try Objective([Objective.Entry(try SoftTargets()), Objective.Entry(try HardLabels())])
    let parts = try (0..<2).map { index in
      try Batch(
        ids: [index], sequences: Tensor.zeros([1, 4]), mask: mask.sliced(0, from: index, to: index + 1),
        labels: labels.sliced(0, from: index, to: index + 1))
    }
    let counts = objective.counts(parts)
    #expect(counts == [6, 4])
    func total(_ batch: Batch, _ range: Range<Int>) throws -> Double {
      func rows(_ name: String) throws -> Tensor {
        try fixture["tokens/\(name)"].sliced(0, from: range.lowerBound, to: range.upperBound)
      }
      let value = try objective.evaluate(
        student: Trace(output: rows("student")), teacher: TeacherTrace(logits: rows("teacher")), batch: batch,
        counts: counts)
      return try #require(value).total.item()
    }
    let whole = try total(makeBatch(mask: mask, labels: labels), 0..<2)
    try assertClose(total(parts[0], 0..<1) + total(parts[1], 1..<2), whole, relative: 1e-5)
  }

  @Test func aBatchWithoutATokenThatCountsHasNoLoss() throws {
    let objective = try Objective([Objective.Entry(try SoftTargets()), Objective.Entry(try HardLabels())])
    let batch = try makeBatch(mask: Tensor.zeros([2, 4]), labels: fixture["tokens/labels"])
    #expect(batch.labelledCount == 0 && batch.byToken.ids.isEmpty)
    let logits = try fixture["tokens/student"]
    #expect(
      try objective.evaluate(student: Trace(output: logits), teacher: TeacherTrace(logits: logits), batch: batch) == nil
    )
  }

  @Test func batchesOfSequences() throws {
    let batch = try makeBatch(mask: fixture["tokens/mask"], labels: fixture["tokens/labels"])
    #expect(batch.byToken.ids == [7, 7, 7, 9, 9, 9])
    #expect(try batch.labels.array(of: Int.self) == [0, 3, -1, 4, 1, -1])
    #expect(batch.labelledCount == 4)
    #expect(try makeBatch().tokens?.count == 8)
    let classified = try makeBatch(
      mask: fixture["tokens/mask"], labels: Tensor([1, -1] as [Int64]), predictsTokens: false)
    #expect(classified.labelledCount == 1 && classified.byToken.ids == [7, 9])
    #expect(throws: DataError.self) { try makeBatch(mask: Tensor.ones([2, 3])) }
    #expect(throws: DataError.self) { try makeBatch(labels: Tensor([1, 2] as [Int64])) }
    #expect(throws: DataError.self) { try Batch(ids: [1], sequences: Tensor.zeros([2, 4])) }
    #expect(throws: DataError.self) { try Tokens(mask: Tensor.ones([4])) }
    #expect(throws: DataError.self) { try evaluate(SoftTargets(), batch, student: Tensor.zeros([2, 5])) }
  }

  // MARK: The likeliest classes

  /// The mean of a loss over rows, and its gradient by the student's logits.
  func mean(_ student: Tensor, _ loss: (Tensor) throws -> LossSum) throws -> (Double, Tensor) {
    let leaf = try student.copied().requireGradient()
    let mean = try loss(leaf).mean
    try mean.backward()
    return (try mean.item(), try #require(leaf.gradient))
  }

  @Test(arguments: [1, 3, 6, 7], [1, 2])
  func topKEqualsTheFormula(k: Int, temperature: Int) throws {
    let temperature = Double(temperature)
    let targets = try logSoftTargets(fixture["top/teacher"], temperature: temperature)
    let (value, gradient) = try mean(fixture["top/student"]) {
      try topKSoftTargetLoss(
        studentLogits: $0, targets: TopKTargets(logSoftTargets: targets, k: k), temperature: temperature)
    }
    let key = "top/k=\(k)/T=\(Int(temperature))"
    try assertClose(value, fixture["\(key)/value"].item(), relative: 1e-5, absolute: 1e-6)
    try assertClose(gradient, fixture["\(key)/gradient"], relative: 1e-4, absolute: 1e-6)
  }

  @Test func topKOfAllClassesIsSoftTargets() throws {
    let student = try fixture["top/student"]
    let teacher = try fixture["top/teacher"]
    let full = try mean(student) {
      try softTargetLoss(studentLogits: $0, teacherLogits: teacher, temperature: 2)
    }
    let input = TermInput(
      student: Trace(output: student), teacher: TeacherTrace(logits: teacher), batch: try .fake(count: 4))
    for k in [7, 100] {
      let value = try TopKSoftTargets(k: k, temperature: 2).sum(input).item() / 4
      assertClose(value, full.0, relative: 1e-5)
    }
    // Fewer classes never say more.
    var last = 0.0
    for k in 1...7 {
      let value = try TopKSoftTargets(k: k, temperature: 2).sum(input).item() / 4
      #expect(value >= last - 1e-6)
      last = value
    }
  }

  @Test func topKHoldsAtTheLimits() throws {
    let certain = try Tensor([1e4, 0, 0, -1e4] as [Float], shape: [1, 4])
    let wrong = try Tensor([-1e4, 1e4, 0, 0] as [Float], shape: [1, 4])
    for k in 1...4 {
      for (student, teacher) in [(certain, certain), (wrong, certain), (certain, wrong)] {
        let targets = try TopKTargets(logSoftTargets: logSoftTargets(teacher, temperature: 1), k: k)
        let (value, gradient) = try mean(student) { try topKSoftTargetLoss(studentLogits: $0, targets: targets) }
        #expect(value.isFinite && value >= 0)
        #expect(try gradient.isFinite().all())
        if student === teacher { #expect(value == 0) }
      }
    }
    // Stored targets whose rest has no mass at all.
    let stored = TopKTargets(
      indices: try Tensor([0] as [Int64], shape: [1, 1]), logProbabilities: try Tensor.zeros([1, 1]),
      logRest: try Tensor.full([1], -.infinity))
    let (value, gradient) = try mean(wrong) { try topKSoftTargetLoss(studentLogits: $0, targets: stored) }
    #expect(value == 2e4)
    #expect(try gradient.isFinite().all())
  }

  // MARK: Drawn classes

  @Test(arguments: ["1", "0.5", "0"], [1, 2])
  func sampledEqualsTheFormula(power: String, temperature: Int) throws {
    let targets = try logSoftTargets(fixture["top/teacher"], temperature: Double(temperature))
    let drawn = try SampledTargets(
      indices: fixture["sampled/draws"], logSoftTargets: targets, proposalPower: Double(power)!)
    #expect((drawn.weights == nil) == (power == "1"))
    let (value, gradient) = try mean(fixture["top/student"]) {
      try sampledSoftTargetLoss(studentLogits: $0, targets: drawn, temperature: Double(temperature))
    }
    let key = "sampled/power=\(power)/T=\(temperature)"
    try assertClose(value, fixture["\(key)/value"].item(), relative: 2e-5, absolute: 1e-6)
    try assertClose(gradient, fixture["\(key)/gradient"], relative: 1e-4, absolute: 2e-6)
  }

  /// Over all that two draws from three classes can give, each as often as it is given, the loss and its gradient are
  /// those of soft targets: the estimate is unbiased.
  @Test(arguments: [1.0, 0.5, 0, 2])
  func allDrawsTogetherAreSoftTargets(power: Double) throws {
    let student = try Tensor([0.3, -1.2, 2] as [Double], shape: [1, 3])
    let teacher = try Tensor([1.5, 0.2, -0.7] as [Double], shape: [1, 3])
    let targets = try (teacher / 2).logSoftmax()
    let proposal = try (targets * power).softmax().doubles()
    var value = 0.0
    let gradient = try Tensor.zeros([1, 3], dtype: .float64)
    for first in 0..<3 {
      for second in 0..<3 {
        let draws = try Tensor([Int64(first), Int64(second)], shape: [1, 2])
        let found = try mean(student) {
          try sampledSoftTargetLoss(
            studentLogits: $0,
            targets: SampledTargets(indices: draws, logSoftTargets: targets, proposalPower: power), temperature: 2)
        }
        let chance = proposal[first] * proposal[second]
        value += chance * found.0
        try gradient.add(found.1, scale: chance)
      }
    }
    let full = try mean(student) { try softTargetLoss(studentLogits: $0, teacherLogits: teacher, temperature: 2) }
    assertClose(value, full.0, relative: 1e-5)
    try assertClose(gradient, full.1, relative: 1e-5, absolute: 1e-7)
  }

  /// The mean of 40 000 estimates from 3 draws each lies within 5 standard errors of soft targets.
  @Test(arguments: [1.0, 0.5])
  func theMeanOfManyEstimatesIsSoftTargets(power: Double) throws {
    let rows = 40_000
    let student = try Tensor([0.3, -1.2, 2, 0, 1] as [Float], shape: [1, 5])
    let teacher = try Tensor([1.5, 0.2, -0.7, 3, -2] as [Float], shape: [1, 5])
    let targets = try logSoftTargets(teacher, temperature: 1).broadcast(to: [rows, 5]).contiguous()
    let drawn = try withRandomStream(RandomStream(seed: 4)) {
      try SampledTargets(drawing: 3, from: targets, proposalPower: power)
    }
    let many = try student.broadcast(to: [rows, 5]).contiguous()
    let (value, gradient) = try mean(many) { try sampledSoftTargetLoss(studentLogits: $0, targets: drawn) }
    let full = try mean(student) { try softTargetLoss(studentLogits: $0, teacherLogits: teacher, temperature: 1) }
    // Each row's gradient is 1 / rows of its estimate.
    let estimates = try gradient * Double(rows)
    let found = try estimates.mean(along: 0).doubles()
    let errors = try (estimates.variance(along: 0) / Double(rows)).squareRoot().doubles()
    for (index, expected) in try full.1.doubles().enumerated() {
      #expect(errors[index] < 0.02)
      #expect(abs(found[index] - expected) < 5 * errors[index], "class \(index)")
    }
    assertClose(value, full.0, relative: 0.03)
  }

  @Test func drawsDependOnThePlaceInTheTrainingOnly() throws {
    let student = try fixture["top/student"]
    let teacher = TeacherTrace(logits: try fixture["top/teacher"])
    func value(seed: UInt64 = 0, progress: Double = 0.5, ids: [Int] = [1, 2, 3, 4]) throws -> Double {
      let input = TermInput(
        student: Trace(output: student), teacher: teacher, batch: try .fake(ids: ids), progress: progress)
      return try SampledSoftTargets(samples: 2, seed: seed).sum(input).item()
    }
    let first = try value()
    #expect(try value() == first)
    #expect(try value(seed: 1) != first)
    #expect(try value(progress: 0.25) != first)
    #expect(try value(ids: [1, 2, 4, 3]) != first)
  }

  @Test func sampledHoldsAtTheLimits() throws {
    let certain = try Tensor([1e4, 0, -1e4] as [Float], shape: [1, 3])
    let wrong = try Tensor([-1e4, 1e4, 0] as [Float], shape: [1, 3])
    for power in [1.0, 0.5] {
      for (student, teacher) in [(certain, certain), (wrong, certain), (certain, wrong)] {
        let input = TermInput(
          student: Trace(output: student), teacher: TeacherTrace(logits: teacher), batch: try .fake(count: 1))
        let value = try SampledSoftTargets(samples: 1, proposalPower: power).sum(input).item()
        #expect(value.isFinite)
        if student === teacher { #expect(value == 0) }
      }
    }
  }

  @Test func mistakesAreRefused() throws {
    #expect(throws: DistillationError.self) { try TopKSoftTargets(k: 0) }
    #expect(throws: DistillationError.self) { try TopKSoftTargets(temperature: 0) }
    #expect(throws: DistillationError.self) { try SampledSoftTargets(samples: 0) }
    #expect(throws: DistillationError.self) { try SampledSoftTargets(proposalPower: -1) }
    #expect(throws: DistillationError.self) { try SampledSoftTargets(temperature: Ramp(from: 1, to: -1)) }
    let logits = try Tensor.zeros([2, 5])
    #expect(throws: TorchError.self) { try TopKTargets(logSoftTargets: logits, k: 6) }
    #expect(throws: TorchError.self) { try TopKTargets(logSoftTargets: logits, k: 0) }
    let kept = try TopKTargets(logSoftTargets: logits.logSoftmax(), k: 2)
    #expect(throws: TorchError.self) { try topKSoftTargetLoss(studentLogits: Tensor.zeros([3, 5]), targets: kept) }
    #expect(throws: DistillationError.self) {
      try topKSoftTargetLoss(studentLogits: logits, targets: kept, temperature: 0)
    }
    var broken = kept
    broken.logRest = nil
    #expect(throws: TorchError.self) { try topKSoftTargetLoss(studentLogits: logits, targets: broken) }
    #expect(throws: TorchError.self) { try SampledTargets(drawing: 0, from: logits) }
    let drawn = SampledTargets(
      indices: try Tensor.zeros([2, 1], dtype: .int64), logProbabilities: try Tensor.zeros([2, 2]))
    #expect(throws: TorchError.self) { try sampledSoftTargetLoss(studentLogits: logits, targets: drawn) }
    let term = try TopKSoftTargets.kind.make(["k": .number(3)])
    #expect(throws: DistillationError.self) {
      try term.sum(TermInput(student: Trace(output: logits), teacher: nil, batch: .fake(count: 2)))
    }
    #expect(
      try SampledSoftTargets.kind.make(["samples": .number(3), "seed": .number(5)]).name == "sampled_soft_targets")
  }
}
