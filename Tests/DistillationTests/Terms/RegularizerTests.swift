import DistillData
import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

/// Penalties on the student's weights and activations, against their formulas (scripts/fixtures/sequence_terms.py).
@Suite struct RegularizerTests {
  let fixture = try! Fixture("sequence-terms")

  /// A student with weights, biases, and two modules that can be named.
  final class Student: Layer {
    let first: Conv2d
    let second: Linear

    init(weight: Tensor) throws {
      first = try Conv2d(2, 3, kernel: 2)
      second = try Linear(3, 2)
      try withoutGradient { try first.weight.copy(from: weight) }
    }

    func forward(_ input: Tensor) throws -> Tensor { try second(first(input).mean(along: 2, 3)) }
  }

  func makeBatch(count: Int) throws -> Batch {
    try Batch.fake(count: count, inputs: Tensor.ones([count, 2, 3, 3]))
  }

  func value(of term: any Term, student: Student, count: Int) throws -> Objective.Value {
    let objective = try Objective([Objective.Entry(term)])
    let batch = try makeBatch(count: count)
    try objective.prepare(student: student, teacher: nil, batch: batch, seed: 0)
    return try #require(try objective.evaluate(student: student.trace(batch.inputs), teacher: nil, batch: batch))
  }

  /// By value and by the weights, for any size of batch.
  @Test(
    arguments: ["l1", "l2", "group-output", "group-input", "group-both", "group-output-scaled"], [1, 5])
  func penaltiesEqualTheFormula(name: String, count: Int) throws {
    let student = try Student(weight: fixture["weights/student"])
    let modules = [Tap("first")]
    let term: any Term =
      switch name {
      case "l1": L1Penalty(modules: modules)
      case "l2": L2Penalty(modules: modules)
      case "group-input": GroupLasso(modules: modules, groups: .input)
      case "group-both": GroupLasso(modules: modules, groups: .both)
      case "group-output-scaled": GroupLasso(modules: modules, scaledBySize: true)
      default: GroupLasso(modules: modules)
      }
    let value = try value(of: term, student: student, count: count)
    try value.total.backward()
    try assertClose(value.total.item(), fixture["weights/\(name)/value"].item(), relative: 1e-5)
    try assertClose(#require(student.first.weight.gradient), fixture["weights/\(name)/gradient"], relative: 1e-4)
    #expect(student.second.weight.gradient == nil && student.first.bias?.gradient == nil)
  }

  @Test func withoutANameAllWeightsCount() throws {
    let student = try Student(weight: fixture["weights/student"])
    let found = try value(of: L1Penalty(), student: student, count: 3).total.item()
    let sizes = try [student.first.weight, student.second.weight].map { try $0.detached().absolute().sum().item() }
    assertClose(found, sizes[0] + sizes[1], relative: 1e-5)
  }

  /// Split over several batches, a step has the same penalty.
  @Test func accumulationChangesNothing() throws {
    let student = try Student(weight: fixture["weights/student"])
    let objective = try Objective([Objective.Entry(L2Penalty())])
    let batches = try [makeBatch(count: 3), makeBatch(count: 1)]
    try objective.prepare(student: student, teacher: nil, batch: batches[0], seed: 0)
    let counts = objective.counts(batches)
    let parts = try batches.map { batch in
      let trace = try student.trace(batch.inputs)
      return try #require(try objective.evaluate(student: trace, teacher: nil, batch: batch, counts: counts))
        .total.item()
    }
    let whole = try value(of: L2Penalty(), student: student, count: 4).total.item()
    assertClose(parts[0] + parts[1], whole, relative: 1e-5)
    assertClose(parts[0], 3 * parts[1], relative: 1e-5)
  }

  @Test func penaltiesRefuse() throws {
    let student = try Student(weight: fixture["weights/student"])
    let error = #expect(throws: DistillationError.self) {
      try value(of: GroupLasso(modules: [Tap("frist")]), student: student, count: 1)
    }
    #expect(try #require(error).description.contains("first"))
    #expect(throws: DistillationError.self) {
      try L1Penalty().sum(
        TermInput(student: Trace(output: Tensor.zeros([1, 2])), teacher: nil, batch: .fake(count: 1)))
    }
    #expect(throws: TorchError.self) { try groupLasso(weight: Tensor.zeros([3])) }
    #expect(try L1Penalty.kind.make().name == "l1_penalty")
    #expect(try L2Penalty.kind.make(["modules": .taps([Tap("first")])]).name == "l2_penalty")
    let lasso = try GroupLasso.kind.make(["groups": .text("both"), "scaled_by_size": .flag(true)])
    #expect(lasso.name == "group_lasso" && !lasso.needsTeacher && lasso.needsParameters)
  }

  // MARK: Activations

  let pair = LayerPair(student: Tap("s"), teacher: Tap("t"))

  func input(_ student: Tensor, _ teacher: Tensor, mask: Tensor? = nil) throws -> TermInput {
    let count = student.shape.first ?? 0
    var batch = try Batch.fake(count: count)
    if let mask {
      batch = try Batch(ids: Array(0..<count), sequences: Tensor.zeros(mask.shape), mask: mask, predictsTokens: false)
    }
    let logits = try Tensor.zeros([count, 2])
    return TermInput(
      student: Trace(output: logits, activations: [pair.student: student]),
      teacher: TeacherTrace(logits: logits, activations: [pair.teacher: teacher]), batch: batch)
  }

  func evaluate(_ term: any Term, _ student: Tensor, _ teacher: Tensor, mask: Tensor? = nil) throws -> (Double, Tensor)
  {
    let leaf = try student.to(.float32).copied().requireGradient()
    let input = try input(leaf, teacher, mask: mask)
    let mean = try term.sum(input) / Double(term.count(input.batch))
    try mean.backward()
    return (try mean.item(), try #require(leaf.gradient))
  }

  @Test func statisticsEqualTheFormula() throws {
    let term = try ActivationStatistics(layers: [pair])
    let (value, gradient) = try evaluate(term, fixture["statistics/student"], fixture["statistics/teacher"])
    try assertClose(value, fixture["statistics/value"].item(), relative: 1e-5)
    try assertClose(gradient, fixture["statistics/gradient"], relative: 1e-4, absolute: 1e-6)
    // Where the activity is does not matter.
    let moved = try fixture["statistics/student"].flipped(0, 2)
    let (same, _) = try evaluate(term, moved, fixture["statistics/teacher"])
    assertClose(same, value, relative: 1e-5)
  }

  @Test func statisticsOfSequencesAreThoseOfTheirTokens() throws {
    let term = try ActivationStatistics(layers: [pair])
    let student = try fixture["sparsity/student"].to(.float32)
    let teacher = try student.squared()
    let mask = try fixture["sparsity/mask"]
    let (value, gradient) = try evaluate(term, student, teacher, mask: mask)
    let tokens = try Tokens(mask: mask)
    let expected = try activationStatisticsLoss(
      studentRows: tokens.rows(student), teacherRows: tokens.rows(teacher))
    try assertClose(value, expected.item(), relative: 1e-5)
    let outside = try gradient * mask.equals(0).expandedDimension(at: 2)
    #expect(try outside.norm().item() == 0)
    #expect(try gradient.norm().item() > 0)
  }

  @Test(arguments: ["plain", "masked"])
  func sparsityEqualsTheFormula(name: String) throws {
    let term = try ActivationSparsity(taps: [pair.student])
    let student = try fixture["sparsity/student"]
    let mask = name == "masked" ? try fixture["sparsity/mask"] : nil
    let (value, gradient) = try evaluate(term, student, student, mask: mask)
    try assertClose(value, fixture["sparsity/\(name)/value"].item(), relative: 1e-5)
    try assertClose(gradient, fixture["sparsity/\(name)/gradient"], relative: 1e-5)
  }

  @Test func activationsHoldAtTheLimits() throws {
    let zeros = try Tensor.zeros([1, 3])
    for term in [try ActivationStatistics(layers: [pair]), try ActivationSparsity(taps: [pair.student])] as [any Term] {
      let (value, gradient) = try evaluate(term, zeros, zeros)
      #expect(value == 0)
      #expect(try gradient.doubles() == [0, 0, 0])
    }
    let none = try input(Tensor.zeros([1, 2, 3]), Tensor.zeros([1, 2, 3]), mask: Tensor.zeros([1, 2]))
    #expect(try ActivationStatistics(layers: [pair]).sum(none).item() == 0)
    #expect(try ActivationSparsity(taps: [pair.student]).sum(none).item() == 0)
  }

  @Test func activationsRefuse() throws {
    let term = try ActivationStatistics(layers: [pair])
    let error = #expect(throws: DistillationError.self) {
      try evaluate(term, Tensor.zeros([2, 3]), Tensor.zeros([2, 4]))
    }
    #expect(try #require(error).description.contains("3 channels"))
    #expect(throws: DistillationError.self) { try evaluate(term, Tensor.zeros([2]), Tensor.zeros([2])) }
    #expect(throws: DistillationError.self) { try ActivationStatistics(layers: []) }
    #expect(throws: DistillationError.self) { try ActivationSparsity(taps: []) }
    #expect(throws: DistillationError.self) {
      try evaluate(ActivationSparsity(taps: [pair.student]), Tensor.zeros([2]), Tensor.zeros([2]))
    }
    #expect(throws: TorchError.self) {
      try activationStatisticsLoss(studentRows: Tensor.zeros([0, 2]), teacherRows: Tensor.zeros([1, 2]))
    }
    #expect(throws: TorchError.self) {
      try activationSparsity(activations: Tensor.zeros([2, 3]), mask: Tensor.zeros([2, 3]))
    }
    #expect(try ActivationStatistics.kind.make(["layers": .layers([pair])]).needsTeacher)
    #expect(try !ActivationSparsity.kind.make(["taps": .taps([Tap("s")])]).needsTeacher)
  }
}
