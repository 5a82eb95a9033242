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
  @Test("Trap 1: the divergence is not divided by the number of classes")
  func divergenceIsNotDividedByTheNumberOfClasses() throws {
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
  @Test("Trap 2: the gradient keeps its scale at every temperature")
  func gradientKeepsItsScaleAtEveryTemperature() throws {
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

  @Test("Trap 3: the teacher stays in evaluation mode, and its statistics stay")
  func teacherStaysInEvaluationModeAndItsStatisticsStay() throws {
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

  @Test("Trap 4: the student trains again after a validation")
  func studentTrainsAgainAfterValidation() throws {
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

  @Test("Trap 5: no gradient goes to the teacher")
  func teacherOutputsNeverRequireGradient() throws {
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
  @Test("Trap 6: precomputed outputs train the same student")
  func precomputedTeacherTrainsTheSameStudent() throws {
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

  /// Exactly what the teacher said of an example's view, whatever the order, the workers and the accumulation. The
  /// teacher says the pixels themselves, and its outputs do not depend on the batch by so much as a rounding.
  @Test("Trap 6: each precomputed row is that of its example and view, exactly", arguments: [1, 3], [1, 2])
  func precomputedRowsAreExact(workers: Int, accumulation: Int) throws {
    let data = try TinyData.images(count: 37)
    func makeLoader(batchSize: Int, shuffle: Bool) throws -> DataLoader {
      let options = DataLoader.Options(
        batchSize: batchSize, shuffle: shuffle, seed: 4, augmentation: [.shift(pixels: 2), .horizontalFlip()], views: 3,
        workers: workers)
      return try DataLoader(dataset: data, options: options)
    }
    let live = FrozenTeacher(Flatten())
    let precomputed = try PrecomputedTeacher(
      computing: live, over: makeLoader(batchSize: 8, shuffle: false), views: 3)
    let students = try [live, precomputed].map { (teacher: any Teacher) in
      let student = try withRandomStream(try RandomStream(seed: 1, name: "init")) {
        try Sequential {
          Flatten()
          try Linear(64, 64)
        }
      }
      var options = Trainer.Options(steps: 24)
      options.accumulation = accumulation
      _ = try Trainer(
        student: student, teacher: teacher, objective: Objective([.init(SoftTargets(temperature: 2))]),
        optimizer: SGD(student.namedParameters, learningRate: 0.5), schedule: .constant,
        loader: makeLoader(batchSize: 5, shuffle: true), options: options
      ).run()
      return try bytes(of: student)
    }
    #expect(students[0] == students[1])
  }

  /// With q = (¼, ¾) and p = (½, ½), KL(p ‖ q) = ½ log 4/3 and KL(q ‖ p) = ¾ log 3/2 − ¼ log 2.
  private func loss(
    _ student: [Float], divergence: Divergence = .forward, temperature: Double = 1
  ) throws -> Double {
    let input = TermInput(
      student: Trace(output: try Tensor(student, shape: [1, 2])),
      teacher: TeacherTrace(logits: try Tensor.zeros([1, 2])), batch: try Batch.fake(count: 1))
    return try SoftTargets(temperature: Ramp(temperature), divergence: divergence).sum(input).item()
  }

  @Test("Trap 9: the softmax is taken once, and log probabilities are logits too")
  func theSoftmaxIsTakenOnce() throws {
    let (log3, log4) = (Float(1.0986123), Float(1.3862944))
    assertClose(try loss([0, log3]), 0.14384103622589045, relative: 1e-6)
    assertClose(try loss([-log4, log3 - log4]), 0.14384103622589045, relative: 1e-6, "log probabilities")
    assertClose(try loss([0, 2 * log3], temperature: 2), 4 * 0.14384103622589045, relative: 1e-6)
    // The softmax of a softmax would be nearer to even.
    #expect(try loss([0.25, 0.75]) < 0.05)
  }

  @Test("Trap 10: forward is from the teacher to the student, reverse from the student to the teacher")
  func theDirectionsAreTheirNames() throws {
    let student = [Float(0), 1.0986123]
    assertClose(try loss(student, divergence: .forward), 0.14384103622589045, relative: 1e-6)
    assertClose(try loss(student, divergence: .reverse), 0.13081203594113697, relative: 1e-6)
  }

  @Test("Trap 13: the fused losses are those that the formulas say, in value and gradient", arguments: [1.0, 4])
  func fusedIsPlain(temperature: Double) throws {
    let fixture = try Fixture("losses")
    func evaluate(_ loss: (Tensor) throws -> Tensor) throws -> (Double, Tensor) {
      let student = try fixture["soft/student"].to(.float32).copied().requireGradient()
      let value = try loss(student)
      try value.backward()
      return (try value.item(), try #require(student.gradient))
    }
    let teacher = try fixture["soft/teacher"].to(.float32)
    let classes = try teacher.size(1)
    let labels = try Tensor((0..<(try teacher.size(0))).map { $0 % classes })
    let smoothing = temperature == 1 ? 0 : 0.1
    let pairs: [(fused: (Tensor) throws -> Tensor, plain: (Tensor) throws -> Tensor)] = [
      (
        { try softTargetLoss(studentLogits: $0, teacherLogits: teacher, temperature: temperature).sum },
        { student in
          let logTargets = try (teacher / temperature).logSoftmax()
          let logStudent = try (student / temperature).logSoftmax()
          let divergence = try (logTargets.exponential() * (logTargets - logStudent)).sum()
          return try divergence * (temperature * temperature)
        }
      ),
      (
        { try crossEntropy(logits: $0, labels: labels, labelSmoothing: smoothing).sum },
        { student in
          let oneHot = try labels.oneHot(classCount: classes).to(.float32)
          let targets = try oneHot * (1 - smoothing) + smoothing / Double(classes)
          return try -(targets * student.softmax().logarithm()).sum()
        }
      ),
    ]
    for (fused, plain) in pairs {
      let (value, gradient) = try evaluate(fused)
      let (expected, expectedGradient) = try evaluate(plain)
      assertClose(value, expected, relative: 1e-5)
      try assertClose(gradient, expectedGradient, relative: 1e-4, absolute: 1e-5)
    }
  }

  @Test("Trap 11: the loss is finite where half precision overflows")
  func lossIsFiniteWhereHalfPrecisionOverflows() throws {
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
  @Test("Trap 12: accumulation changes nothing", arguments: [0.7, 0.0])
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

  @Test("Trap 19: what is logged is what is optimized")
  func whatIsLoggedIsWhatIsOptimized() throws {
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
  @Test("Trap 19: what a round logs sums to its loss")
  func whatARoundLogsSumsToItsLoss() throws {
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
  @Test("Traps 7 and 8: outputs computed on other inputs are refused")
  func outputsComputedOnOtherInputsAreRefused() throws {
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

  @Test("Trap 15: a tap that matches nothing is an error with near matches")
  func tapsThatMatchNothingAreErrors() throws {
    let training = TinyTraining()
    let batch = try #require(try training.makeLoader().batches(epoch: 0).next())
    let error = #expect(throws: TapError.self) {
      try FrozenTeacher(try training.makeTeacherModel()).trace(batch, taps: [Tap("7")])
    }
    #expect(error?.path == "7")
    #expect(error?.suggestions.contains("1") == true)
  }

  // The parameters of a term are part of the run: an optimizer that lacks them is refused.
  @Test("Trap 18: adapters must be optimized")
  func adaptersMustBeOptimized() throws {
    let training = TinyTraining()
    let objective = try Objective([.init(try AdaptedTerm())])
    let error = #expect(throws: DistillationError.self) {
      try training.makeTrainer(student: training.makeStudent(), objective: objective)
    }
    #expect(error?.description.contains("terms.0.weight") == true)
  }

  @Test("Trap 18: an adapter's first values come from the seed")
  func adaptersAreSeeded() throws {
    let training = TinyTraining()
    let first = try [3, 3, 4].map { seed in
      try training.makeAdapted(seed: seed).objective.adapters.map { try $0.tensor.floats() }
    }
    #expect(!first[0].isEmpty && first[0] == first[1] && first[0] != first[2])
  }

  /// The adapter of the training that goes on has other numbers at first, and those of the checkpoint then.
  @Test("Trap 18: an adapter survives an interruption, bit for bit", arguments: [5, 13])
  func adaptersSurviveAnInterruption(stop: Int) throws {
    try withTemporaryFolder { folder in
      let training = TinyTraining()
      let whole = try training.makeAdapted(seed: 3)
      _ = try whole.trainer.run()
      let path = "\(folder)/state.safetensors"
      let first = try training.makeAdapted(seed: 3, checkpoint: path)
      let outcome = try first.trainer.run { event in
        if case .progress(let progress) = event, progress.step == stop { return .stop }
        return .continue
      }
      #expect(outcome.reason == .interrupted && outcome.steps == stop)
      let second = try training.makeAdapted(seed: 4, checkpoint: path)
      _ = try second.trainer.run()
      #expect(try bytes(of: second.student) == bytes(of: whole.student))
      for (adapter, expected) in zip(second.objective.adapters, whole.objective.adapters) {
        #expect(try adapter.tensor.floats() == expected.tensor.floats(), "\(adapter.name)")
      }
    }
  }

  /// Four tokens of which the third does not count: where the teacher's logits are the student's there is no loss; where
  /// they stand one place off there is the loss of each token with its neighbour.
  @Test("Trap 20: a token of the student meets the teacher's of the same place")
  func tokensMeetTheirOwn() throws {
    let rows: [[Float]] = [[3, 0, 0], [0, 2, 0], [9, 9, 9], [1, 0, 4]]
    let batch = try Batch(ids: [5], sequences: Tensor.zeros([1, 4]), mask: Tensor([1, 1, 0, 1], shape: [1, 4]))
    func loss(teacher: [[Float]]) throws -> Double {
      let value = try Objective([.init(SoftTargets(temperature: 1))]).evaluate(
        student: Trace(output: Tensor(rows.flatMap(\.self), shape: [1, 4, 3])),
        teacher: TeacherTrace(logits: Tensor(teacher.flatMap(\.self), shape: [1, 4, 3])), batch: batch)
      return try #require(value).total.item()
    }
    func divergence(_ teacher: [Float], _ student: [Float]) throws -> Double {
      let (p, q) = (try Tensor(teacher).to(.float64).logSoftmax(), try Tensor(student).to(.float64).logSoftmax())
      return try (p.exponential() * (p - q)).sum().item()
    }
    assertClose(try loss(teacher: rows), 0, absolute: 1e-6)
    let shifted = [rows[3]] + rows.dropLast()
    let expected = try [0, 1, 3].map { try divergence(shifted[$0], rows[$0]) }.reduce(0, +) / 3
    #expect(expected > 1)
    assertClose(try loss(teacher: shifted), expected, relative: 1e-5)
  }

  @Test("Trap 16: models are chosen by the validation split")
  func modelsAreChosenByTheValidationSplit() throws {
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

/// A term whose adapter is made for the layers that it looks at.
private final class PreparedTerm: Term {
  let name = "prepared"
  let studentTaps = [Tap("0")]
  let teacherTaps = [Tap("0")]
  private var regressor: Linear?
  var adapter: (any Module)? { regressor }

  func prepare(_ first: TermInput) throws {
    regressor = try Linear(
      try first.student(at: studentTaps[0]).size(1), try first.teacher(at: teacherTaps[0], for: name).size(1))
  }

  func sum(_ input: TermInput) throws -> Tensor {
    let regressor = try #require(regressor)
    let found = try regressor(input.student(at: studentTaps[0]))
    return try (found - input.teacher(at: teacherTaps[0], for: name)).squared().sum()
  }
}

extension TinyTraining {
  /// A training with a term that has an adapter, whose first values come from `seed`.
  fileprivate func makeAdapted(
    seed: UInt64, checkpoint: String? = nil
  ) throws -> (student: any Layer, objective: Objective, trainer: Trainer) {
    let student = try makeStudent()
    let teacher = FrozenTeacher(try makeTeacherModel())
    let objective = try Objective([.init(try SoftTargets(temperature: 4)), .init(PreparedTerm(), weight: 0.1)])
    let loader = try makeLoader()
    try objective.prepare(student: student, teacher: teacher, batch: loader.batch(ids: [0, 1, 2]), seed: seed)
    var options = Trainer.Options(steps: steps)
    options.seed = self.seed
    options.progressInterval = 0
    options.keep = .last
    let trainer = try Trainer(
      student: student, teacher: teacher, objective: objective,
      optimizer: SGD(student.namedParameters + objective.adapters, learningRate: 0.01, momentum: 0.9),
      schedule: .cosine(), loader: loader, options: options,
      checkpoint: checkpoint.map { TrainingCheckpoint(path: $0, identity: "adapted") })
    return (student, objective, trainer)
  }
}
