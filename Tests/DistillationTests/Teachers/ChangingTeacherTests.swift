import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN
import TorchOptim

/// Teachers that change while the student learns: noise, and the mean of the student's past.
@Suite struct ChangingTeacherTests {
  /// Says the same logits of every example.
  final class Fixed: Teacher {
    let rows: Tensor
    init(_ row: [Float]) throws { rows = try Tensor(row, shape: [1, row.count]) }

    func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
      TeacherTrace(logits: try rows.broadcast(to: [batch.count, rows.shape[1]]))
    }
  }

  static func said(_ teacher: any Teacher, ids: [Int], view: Int = 0) throws -> [[Double]] {
    let batch = try Batch.fake(ids: ids, inputs: Tensor.zeros([ids.count, 1]), view: view)
    let logits = try teacher.trace(batch).logits()
    let numbers = try logits.doubles()
    let size = try logits.size(1)
    return ids.indices.map { Array(numbers[$0 * size..<($0 + 1) * size]) }
  }

  // MARK: Noise

  @Test(arguments: NoisyTeacher.Kind.allCases)
  func noiseHasTheMomentsThatItSays(kind: NoisyTeacher.Kind) throws {
    let teacher = try NoisyTeacher(
      Fixed([2, -2, 2, -2, 2]), standardDeviation: 0.3, share: 0.25, kind: kind, seed: 5)
    let rows = try Self.said(teacher, ids: Array(0..<4000))
    let clean: [Double] = [2, -2, 2, -2, 2]
    let noisy = rows.filter { $0 != clean }
    #expect(abs(Double(noisy.count) / 4000 - 0.25) < 0.03)
    let deviations = noisy.flatMap { row in zip(row, clean).map { $0 - $1 } }
    let mean = deviations.reduce(0, +) / Double(deviations.count)
    let spread = (deviations.reduce(0) { $0 + $1 * $1 } / Double(deviations.count)).squareRoot()
    #expect(abs(mean) < 0.02)
    #expect(abs(spread - (kind == .relative ? 0.6 : 0.3)) < 0.02)
  }

  @Test func withoutNoiseNothingChanges() throws {
    let clean: [Float] = [0, 4, -1]
    for (deviation, share) in [(0.0, 1.0), (1, 0)] {
      let teacher = try NoisyTeacher(Fixed(clean), standardDeviation: deviation, share: share)
      #expect(try Self.said(teacher, ids: [1, 2]) == [[0, 4, -1], [0, 4, -1]])
    }
    // A logit of zero has no relative noise.
    let relative = try NoisyTeacher(Fixed(clean), standardDeviation: 1, share: 1)
    #expect(try Self.said(relative, ids: [7])[0][0] == 0)
    #expect(throws: DistillationError.self) { try NoisyTeacher(Fixed(clean), standardDeviation: -1) }
    #expect(throws: DistillationError.self) { try NoisyTeacher(Fixed(clean), share: 1.5) }
    #expect(throws: DistillationError.self) { try NoisyTeacher(Fixed(clean), standardDeviation: .infinity) }
  }

  @Test func noiseIsAFunctionOfSeedStepExampleAndView() throws {
    func make(seed: UInt64 = 1, step: Int = 0) throws -> NoisyTeacher {
      let teacher = try NoisyTeacher(Fixed([1, 2, 3]), standardDeviation: 0.5, share: 1, seed: seed)
      try teacher.trainingWillStart(student: Linear(1, 1), step: step)
      return teacher
    }
    let together = try Self.said(make(), ids: [4, 5, 6])
    let alone = try Self.said(make(), ids: [6])
    #expect(together[2] == alone[0])
    #expect(together[0] != together[1])
    #expect(try Self.said(make(seed: 2), ids: [6]) != alone)
    #expect(try Self.said(make(step: 1), ids: [6]) != alone)
    #expect(try Self.said(make(), ids: [6], view: 1) != alone)
    let later = try make()
    try later.studentDidStep(Linear(1, 1), step: 9)
    #expect(try Self.said(later, ids: [6]) == Self.said(make(step: 9), ids: [6]))
  }

  @Test func membersHaveNoiseOfTheirOwn() throws {
    let ensemble = try EnsembleTeacher([Fixed([1, 2]), Fixed([1, 2])], average: .logits, names: ["a", "b"])
    let noisy = try NoisyTeacher(ensemble, standardDeviation: 0.5, share: 1)
    #expect(noisy.memberNames == ["a", "b"])
    let trace = try noisy.trace(.fake(ids: [3], inputs: Tensor.zeros([1, 1])))
    #expect(try trace.memberLogits[0].floats() != trace.memberLogits[1].floats())
    // A term that sees one member sees the noise that is in the average.
    #expect(try trace.memberTraces[1].logits().floats() == trace.memberLogits[1].floats())
  }

  // MARK: Mean

  @Test func theMeanIsTheFormula() throws {
    func constant(_ value: Double) throws -> Linear {
      let layer = try Linear(1, 1, bias: false)
      try withoutGradient { try layer.weight.fill(value) }
      return layer
    }
    let student = try constant(1)
    let own = try constant(50)
    let teacher = try MeanTeacher(own, decay: 0.7)
    try teacher.trainingWillStart(student: student, step: 0)
    #expect(try own.weight.item() == 1)
    var expected = 1.0
    for (step, value) in [(1, 3.0), (2, 5.0), (3, -2.0), (4, 8.0)] {
      try withoutGradient { try student.weight.fill(value) }
      try teacher.studentDidStep(student, step: step)
      let factor = min(0.7, 1 - 1 / Double(step + 1))
      expected = factor * expected + (1 - factor) * value
      assertClose(try own.weight.item(), expected, relative: 1e-6)
    }
    #expect(try student.weight.item() == 8)
    // It goes on from what it has where training goes on.
    try teacher.trainingWillStart(student: student, step: 4)
    assertClose(try own.weight.item(), expected, relative: 1e-6)
  }

  @Test func theMeanAtItsLimits() throws {
    let training = TinyTraining()
    for decay in [0.0, 1] {
      let student = try training.makeStudent()
      let own = try training.makeStudent()
      let teacher = try MeanTeacher(own, decay: decay)
      try teacher.trainingWillStart(student: student, step: 0)
      var sum = try student.parameters[0].doubles()
      for step in 1...5 {
        try withoutGradient { for tensor in student.parameters { try tensor.add(tensor.onesLike(), scale: 0.1) } }
        sum = zip(sum, try student.parameters[0].doubles()).map { $0 + $1 }
        try teacher.studentDidStep(student, step: step)
      }
      let expected = decay == 0 ? try student.parameters[0].doubles() : sum.map { $0 / 6 }
      for (found, value) in zip(try own.parameters[0].doubles(), expected) {
        assertClose(found, value, relative: 1e-5, absolute: 1e-6)
      }
    }
  }

  @Test func theMeanRefusesWhatDoesNotFit() throws {
    let training = TinyTraining()
    let student = try training.makeStudent()
    #expect(throws: DistillationError.self) { try MeanTeacher(student, decay: 1.1) }
    #expect(throws: DistillationError.self) {
      try MeanTeacher(student).trainingWillStart(student: student, step: 0)
    }
    #expect(throws: DistillationError.self) {
      try MeanTeacher(training.makeTeacherModel()).trainingWillStart(student: student, step: 0)
    }
  }

  /// No gradient, no training mode, and no optimizer that knows it.
  @Test func theMeanOnlyTeaches() throws {
    let training = TinyTraining()
    let own = try training.makeStudent()
    let teacher = try MeanTeacher(own)
    own.train()
    let trace = try teacher.trace(training.makeLoader().batch(ids: [0, 1, 2]))
    #expect(!(try trace.logits().requiresGradient))
    #expect(own.namedModules.compactMap { $0.module as? any ModeDependent }.allSatisfy { !$0.isTraining })
    _ = try training.makeTrainer(student: training.makeStudent(), teacher: teacher).run()
    #expect(own.parameters.allSatisfy { $0.gradient == nil })
  }

  // MARK: Both, interrupted

  enum Change: CaseIterable { case noise, mean, both }

  static func teacher(_ change: Change, _ training: TinyTraining) throws -> (any Teacher, any Layer) {
    let own = try withRandomStream(try RandomStream(seed: 77, name: "init")) { try training.makeStudent() }
    let mean = try MeanTeacher(own, decay: 0.9)
    switch change {
    case .noise:
      return (
        try NoisyTeacher(FrozenTeacher(training.makeTeacherModel()), standardDeviation: 0.5, seed: 4), own
      )
    case .mean: return (mean, own)
    case .both:
      let ensemble = try EnsembleTeacher([FrozenTeacher(training.makeTeacherModel()), mean])
      return (try NoisyTeacher(ensemble, standardDeviation: 0.5, seed: 4), own)
    }
  }

  @Test(arguments: Change.allCases, [1, 9, 14])
  func interruptedIsUninterrupted(change: Change, stop: Int) throws {
    try withTemporaryFolder { folder in
      var training = TinyTraining()
      training.keep = .last
      let whole = try training.makeStudent()
      let wholeTeacher = try Self.teacher(change, training)
      _ = try training.makeTrainer(student: whole, teacher: wholeTeacher.0).run()

      training.checkpoint = "\(folder)/state.safetensors"
      _ = try training.makeTrainer(student: training.makeStudent(), teacher: Self.teacher(change, training).0).run {
        if case .progress(let progress) = $0, progress.step == stop { return .stop }
        return .continue
      }
      let student = try training.makeStudent()
      let teacher = try Self.teacher(change, training)
      _ = try training.makeTrainer(student: student, teacher: teacher.0).run()
      #expect(try bytes(of: student) == bytes(of: whole))
      if change != .noise { #expect(try bytes(of: teacher.1) == bytes(of: wholeTeacher.1)) }

      // The test can fail: without the noise, or the mean, the student is another one.
      let plain = try training.makeStudent()
      training.checkpoint = nil
      _ = try training.makeTrainer(student: plain).run()
      #expect(try bytes(of: plain) != bytes(of: whole))
    }
  }

  /// The state of another kind of teacher is refused.
  @Test func aStateWithoutTheTeachersPartIsRefused() throws {
    try withTemporaryFolder { folder in
      var training = TinyTraining()
      training.checkpoint = "\(folder)/state.safetensors"
      _ = try training.makeTrainer(student: training.makeStudent()).run()
      let error = #expect(throws: DistillationError.self) {
        try training.makeTrainer(student: training.makeStudent(), teacher: Self.teacher(.mean, training).0).run()
      }
      #expect(error?.description.contains("teacher") == true)
    }
  }

  /// Noise does not depend on how a step's examples are parted.
  @Test func noiseDoesNotDependOnTheSizeOfBatches() throws {
    var states: [[Double]] = []
    for (batchSize, accumulation) in [(35, 1), (7, 5)] {
      var training = TinyTraining()
      training.batchSize = batchSize
      training.accumulation = accumulation
      training.hasDropout = false
      training.hasNormalization = false
      training.shuffles = false
      training.keep = .last
      training.steps = 10
      let student = try training.makeStudent()
      _ = try training.makeTrainer(student: student, teacher: Self.teacher(.noise, training).0).run()
      states.append(try student.parameters.flatMap { try $0.doubles() })
    }
    for (one, other) in zip(states[0], states[1]) { assertClose(one, other, relative: 1e-3, absolute: 1e-5) }
  }
}
