import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN
import TorchOptim

/// What distillation code gets wrong elsewhere. Each test fails if we fall into the trap.
@Suite struct TrapTests {
  // Sums over classes, means over examples: `TermTests.softTargetsEqualPyTorch` against the closed form. Here: twice the
  // classes, all of them copies, leave the divergence as it is.
  @Test func divergenceIsNotDividedByTheNumberOfClasses() throws {
    func loss(copies: Int) throws -> Double {
      let student = try Tensor([Float](repeating: 0, count: 2 * copies), shape: [1, 2 * copies])
      let teacher = try Tensor(
        [Float](repeating: 1, count: copies) + [Float](repeating: 0, count: copies), shape: [1, 2 * copies])
      let input = TermInput(
        student: Trace(output: student), teacher: TeacherTrace(logits: teacher), batch: try Batch.fake(count: 1))
      return try SoftTargets(temperature: 1).sum(input).item()
    }
    assertClose(try loss(copies: 1), try loss(copies: 50), relative: 1e-5)
  }

  // The gradient keeps its scale when T changes.
  @Test func gradientKeepsItsScaleAtEveryTemperature() throws {
    let fixture = try Fixture("losses")
    let norms = try [1.0, 2, 4, 8, 20].map { temperature in
      let student = try fixture["soft/student"].to(.float32).copied().requireGradient()
      let input = TermInput(
        student: Trace(output: student), teacher: TeacherTrace(logits: try fixture["soft/teacher"]),
        batch: try Batch.fake(count: student.size(0)))
      try SoftTargets(temperature: Ramp(temperature)).sum(input).backward()
      return try #require(student.gradient).norm().item()
    }
    for norm in norms { #expect(norm > norms[0] / 6 && norm < norms[0] * 6) }
  }

  @Test func teacherStaysInEvaluationModeAndItsStatisticsStay() throws {
    let training = TinyTraining()
    let model = try training.makeTeacherModel()
    let teacher = FrozenTeacher(model)
    let before = try bytes(of: model)
    let batch = try #require(try training.makeLoader().batches(epoch: 0).next())
    let first = try teacher.trace(batch).logits().floats()
    _ = try training.makeTrainer(student: training.makeStudent(), teacher: teacher).run { _ in
      model.train()  // somebody is careless
      return .continue
    }
    #expect(try bytes(of: model) == before)
    #expect(try teacher.trace(batch).logits().floats() == first)
  }

  @Test func studentTrainsAgainAfterValidation() throws {
    let training = TinyTraining()
    let student = try training.makeStudent()
    let dropout = try #require(student.namedModules.compactMap { $0.module as? Dropout }.first)
    var modes: [Bool] = []
    _ = try training.makeTrainer(student: student).run { event in
      if case .progress = event { modes.append(dropout.isTraining) }
      return .continue
    }
    #expect(modes.count == training.steps)
    #expect(modes.allSatisfy { $0 })
    #expect(!dropout.isTraining)
  }

  @Test func teacherOutputsNeverRequireGradient() throws {
    let training = TinyTraining()
    let batch = try #require(try training.makeLoader().batches(epoch: 0).next())
    let model = try training.makeTeacherModel()
    let ensemble = try EnsembleTeacher([FrozenTeacher(model), FrozenTeacher(model)])
    let precomputed = try PrecomputedTeacher(computing: ensemble, over: training.makeLoader())
    let tapped = try FrozenTeacher(model).trace(batch, taps: [Tap("0")])
    #expect(!tapped.activations.values.contains { $0.requiresGradient })
    for teacher: any Teacher in [FrozenTeacher(model), ensemble, precomputed] {
      #expect(!(try teacher.trace(batch).logits().requiresGradient))
      #expect(!(try teacher.trace(batch).logSoftTargets(temperature: 2).requiresGradient))
    }
  }

  // Precomputed rows line up with shuffled data over several epochs: the trained student is the same.
  @Test func precomputedTeacherTrainsTheSameStudent() throws {
    let training = TinyTraining()
    let live = FrozenTeacher(try training.makeTeacherModel())
    let precomputed = try PrecomputedTeacher(computing: live, over: training.makeLoader())
    var students: [[[UInt8]]] = []
    for teacher: any Teacher in [live, precomputed] {
      var run = training
      run.batchSize = 7
      let student = try run.makeStudent()
      _ = try run.makeTrainer(student: student, teacher: teacher).run()
      students.append(try student.state.map { try $0.tensor.to(.float32).withBytes { Array($0) } })
    }
    for (first, second) in zip(students[0], students[1]) {
      let difference = zip(floats(first), floats(second)).map { abs($0 - $1) }.max() ?? 0
      #expect(difference < 1e-3)
    }
  }

  @Test func lossIsFiniteWhereHalfPrecisionOverflows() throws {
    let fixture = try Fixture("losses")
    for name in ["opposite", "same", "one-hot"] {
      let student = try fixture["extreme/\(name)/student"].to(.bfloat16).requireGradient()
      let input = TermInput(
        student: Trace(output: student),
        teacher: TeacherTrace(logits: try fixture["extreme/\(name)/teacher"].to(.bfloat16)),
        batch: try Batch.fake(count: student.size(0)))
      let sum = try SoftTargets(temperature: 1).sum(input)
      #expect(sum.dtype == .float32)
      try sum.backward()
      #expect(try #require(student.gradient).isFinite().all())
    }
  }

  // 1 × 32 = 4 × 8, also where only some examples have a label and the last batch is short.
  @Test(arguments: [0.7, 0.0])
  func accumulationChangesNothing(alpha: Double) throws {
    var results: [[Float]] = []
    for (batchSize, accumulation) in [(32, 1), (8, 4)] {
      var training = TinyTraining()
      training.hasNormalization = false  // its statistics are the batch's by definition
      training.hasDropout = false
      training.shuffles = false
      training.alpha = alpha
      training.batchSize = batchSize
      training.accumulation = accumulation
      training.steps = 6
      training.keep = .last
      let student = try training.makeStudent()
      _ = try training.makeTrainer(student: student).run()
      results.append(try student.state.flatMap { try $0.tensor.floats() })
    }
    #expect(zip(results[0], results[1]).allSatisfy { abs($0 - $1) < 1e-5 })
  }

  @Test func whatIsLoggedIsWhatIsOptimized() throws {
    let fixture = try Fixture("losses")
    let objective = try Objective([
      .init(try SoftTargets(temperature: 4), weight: 0.6), .init(try HardLabels(), weight: 0.3),
      .init(LogitMatching(zeroMean: true), weight: 0.2),
    ])
    let value = try #require(
      try objective.evaluate(
        student: Trace(output: fixture["soft/student"]), teacher: TeacherTrace(logits: fixture["soft/teacher"]),
        batch: Batch.fake(count: fixture["soft/student"].size(0), labels: fixture["hard/labels/some"])))
    let parts = try value.parts.map { $0.weight * (try $0.sum.item()) / Double($0.count) }
    assertClose(try value.total.item(), parts.reduce(0, +), relative: 1e-6)
    #expect(value.parts.map(\.name) == ["soft_targets", "hard_labels", "logit_matching"])
  }

  /// Gradients that float16 would round to zero arrive, and the same as in float32; ones that overflow cost a step only.
  @Test func float16GradientsNeitherVanishNorOverflow() throws {
    func train(_ precision: Precision, weight: Double) throws -> (before: [Float], after: [Float]) {
      var training = TinyTraining()
      training.hasDropout = false
      training.hasNormalization = false
      training.precision = precision
      training.keep = .last
      training.steps = 8
      // A large rate for tiny gradients: the same step as for a weight of 1.
      training.learningRate = 0.05 / weight
      let student = try training.makeStudent()
      let before = try student.state.flatMap { try $0.tensor.floats() }
      _ = try training.makeTrainer(
        student: student, objective: Objective([.init(try HardLabels(), weight: Ramp(weight))])
      ).run()
      return (before, try student.state.flatMap { try $0.tensor.floats() })
    }
    for weight in [1e-7, 30] {
      let exact = try train(.float32, weight: weight)
      let half = try train(.float16, weight: weight)
      let moved = zip(exact.before, exact.after).map { abs($0 - $1) }.max() ?? 0
      let apart = zip(exact.after, half.after).map { abs($0 - $1) }.max() ?? 1
      let halfMoved = zip(half.before, half.after).map { abs($0 - $1) }.max() ?? 0
      #expect(moved > 0.01 && halfMoved > 0)
      // The large weight overflows at first, and those steps are left out.
      if weight < 1 { #expect(apart < 0.1 * moved, "weight \(weight): \(apart) of \(moved)") }
    }
  }

  /// Over a round, too, with accumulation, a short last batch and a term that starts late.
  @Test func whatARoundLogsSumsToItsLoss() throws {
    var training = TinyTraining()
    training.accumulation = 2
    let objective = try Objective([
      .init(try SoftTargets(temperature: 4), weight: Ramp(from: 0.9, to: 0.1)),
      .init(try HardLabels(), weight: 0.3, start: 1),
    ])
    var rounds: [Event.Round] = []
    _ = try training.makeTrainer(student: training.makeStudent(), objective: objective).run { event in
      if case .round(let round) = event { rounds.append(round) }
      return .continue
    }
    #expect(rounds.first?.parts.count == 1 && rounds.last?.parts.count == 2)
    for round in rounds { assertClose(round.parts.values.reduce(0, +), round.loss, relative: 1e-9) }
    #expect(rounds.map(\.epoch) == rounds.indices.map { Double($0 + 1) })
  }

  /// Outputs that were computed on other data, other augmentation or fewer views are refused before the training.
  @Test func outputsComputedOnOtherInputsAreRefused() throws {
    let training = TinyTraining()
    let teacher = try PrecomputedTeacher(
      computing: FrozenTeacher(try training.makeTeacherModel()), over: training.makeLoader())
    func refusal(_ data: any Dataset, _ change: (inout DataLoader.Options) -> Void) throws -> String {
      var options = DataLoader.Options(batchSize: 8)
      options.views = 1
      change(&options)
      let loader = try DataLoader(dataset: data, examples: Array(0..<35), options: options)
      let error = #expect(throws: DistillationError.self) { try teacher.requireFit(loader) }
      return error?.description ?? ""
    }
    let data = training.data
    let normalization = Normalization(mean: [0.5], standardDeviation: [2])
    #expect(try refusal(data) { $0.normalization = normalization }.contains("other inputs"))
    #expect(try refusal(data) { $0.views = 2 }.contains("1 views of each example, and the training shows 2"))
    #expect(try refusal(data) { $0.views = nil }.contains("a new one in each epoch"))
    #expect(try refusal(try TinyData.vectors(count: 44)) { _ in }.contains("other data"))
    try EnsembleTeacher([teacher]).requireFit(training.makeLoader())
  }

  @Test func tapsThatMatchNothingAreErrors() throws {
    let training = TinyTraining()
    let batch = try #require(try training.makeLoader().batches(epoch: 0).next())
    let error = #expect(throws: TapError.self) {
      try FrozenTeacher(try training.makeTeacherModel()).trace(batch, taps: [Tap("7")])
    }
    #expect(error?.path == "7")
  }

  // The parameters of a term are part of the run: an optimizer that lacks them is refused.
  @Test func adaptersMustBeOptimized() throws {
    let training = TinyTraining()
    let objective = try Objective([.init(try AdaptedTerm())])
    let error = #expect(throws: DistillationError.self) {
      try training.makeTrainer(student: training.makeStudent(), objective: objective)
    }
    #expect(error?.description.contains("terms.0.weight") == true)
  }

  @Test func modelsAreChosenByTheValidationSplit() throws {
    var training = TinyTraining()
    training.keep = .best
    var rounds: [Event.Round] = []
    let student = try training.makeStudent()
    let outcome = try training.makeTrainer(student: student).run { event in
      if case .round(let round) = event { rounds.append(round) }
      return .continue
    }
    let best = try #require(rounds.last { $0.isBest })
    #expect(outcome.keptRound == best.round)
    let score = try EvaluationSet(training.data, examples: Array(35..<43), normalization: nil).score(student)
    #expect(score == best.validation)
    #expect(rounds.allSatisfy { ($0.validation?.accuracy ?? 1) <= score.accuracy })
  }

  private func floats(_ bytes: [UInt8]) -> [Float] {
    bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
  }
}

/// A term with a parameter.
private final class AdaptedTerm: Term {
  let name = "adapted"
  let regressor: Linear
  var adapter: (any Module)? { regressor }

  init() throws { regressor = try Linear(3, 3) }

  func sum(_ input: TermInput) throws -> Tensor { try regressor(input.student.output).sum() }
}
