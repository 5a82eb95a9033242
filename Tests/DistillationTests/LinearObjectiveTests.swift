import DistillData
import DistillModels
import TestSupport
import Testing
import Torch
import TorchNN
import TorchOptim

@testable import Distillation

/// Trainings in which logits are never held as a whole, beside the same with all logits.
struct LinearObjectiveTests {
  /// A teacher that counts how it was asked.
  final class CountingTeacher: Teacher {
    let inner: any Teacher
    var traces = 0
    var outputs = 0

    init(_ inner: any Teacher) { self.inner = inner }

    func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
      traces += 1
      return try inner.trace(batch, taps: taps)
    }

    func linearOutput(_ batch: Batch) throws -> LinearOutput? {
      outputs += 1
      return try inner.linearOutput(batch)
    }
  }

  struct Case: CustomTestStringConvertible, Sendable {
    var name: String
    var tied = true
    var ensemble = false
    var accumulation = 1
    var precision = Precision.float32
    var divergence = Divergence.forward
    var testDescription: String { name }
  }

  static let cases = [
    Case(name: "plain"),
    Case(name: "output of its own", tied: false, divergence: .reverse),
    Case(name: "ensemble", ensemble: true),
    Case(name: "accumulation", accumulation: 3),
    Case(name: "bfloat16", precision: .bfloat16),
  ]

  private func model(_ width: Int, tied: Bool, seed: UInt64, dropout: Double = 0) throws -> any Layer {
    try withRandomStream(RandomStream(seed: seed, name: "init")) {
      try ModelZoo.make(
        ModelSpecification(
          "decoder",
          ["depth": 1, "width": .integer(width), "heads": 2, "tied": .flag(tied), "dropout": .number(dropout)],
          inputShape: [TinyText.length], classCount: TinyText.vocabulary.count))
    }
  }

  /// A training of some steps: the losses of its rounds, by name, and the student's weights.
  private func train(
    _ outputs: ChunkedOutputs, _ setting: Case, teacher: (any Teacher)? = nil, steps: Int = 12
  ) throws -> (losses: [[String: Double]], student: any Layer) {
    let student = try model(8, tied: setting.tied, seed: 5, dropout: 0.2)
    let frozen = try FrozenTeacher(model(16, tied: true, seed: 6))
    let ensemble = try EnsembleTeacher([frozen, FrozenTeacher(model(12, tied: false, seed: 7))])
    let objective = try Objective([
      .init(HardLabels(), weight: 0.3),
      .init(
        SoftTargets(temperature: Ramp(from: 4, to: 2), divergence: setting.divergence), weight: 0.7),
    ])
    let (train, test) = try TinyText.data()
    var options = Trainer.Options(steps: steps)
    options.keep = .last
    options.stepsPerRound = 4
    options.accumulation = setting.accumulation
    options.precision = setting.precision
    options.chunkedOutputs = outputs
    let trainer = try Trainer(
      student: student, teacher: teacher ?? (setting.ensemble ? ensemble : frozen), objective: objective,
      optimizer: SGD(student.namedParameters, learningRate: 0.2, momentum: 0.9), schedule: .constant,
      loader: DataLoader(dataset: train, options: .init(batchSize: 8, shuffle: true, seed: 2, prefetch: 0)),
      validation: EvaluationSet(test, normalization: nil), options: options)
    var losses: [[String: Double]] = []
    _ = try trainer.run { event in
      if case .round(let round) = event { losses.append(round.parts.merging(["total": round.loss]) { $1 }) }
      return .continue
    }
    return (losses, student)
  }

  @Test("Trap 13: a training without whole logits is the training with them", arguments: cases)
  func trainsAlike(setting: Case) throws {
    let whole = try train(.never, setting)
    let chunked = try train(.always, setting)
    let tolerance = setting.precision == .bfloat16 ? 3e-2 : 1e-4
    #expect(whole.losses.count == 3 && chunked.losses.count == 3)
    for (found, expected) in zip(chunked.losses, whole.losses) {
      #expect(Set(found.keys) == Set(expected.keys) && expected.keys.contains("soft_targets"))
      for (name, value) in expected { assertClose(found[name] ?? .nan, value, relative: tolerance, name) }
      assertClose(
        (found["soft_targets"] ?? .nan) + (found["hard_labels"] ?? .nan), found["total"] ?? .nan, relative: 1e-5)
    }
    for (found, expected) in zip(chunked.student.state, whole.student.state) {
      try assertClose(
        found.tensor, expected.tensor, relative: tolerance, absolute: tolerance * 0.1, found.name)
    }
  }

  /// Whether the teacher is asked for what its last layer would multiply says which way was gone.
  @Test func goesThatWayOnlyWhereItPays() throws {
    for (outputs, chunked) in [(ChunkedOutputs.automatic, false), (.never, false), (.always, true)] {
      let teacher = try CountingTeacher(FrozenTeacher(model(16, tied: true, seed: 6)))
      _ = try train(outputs, Case(name: ""), teacher: teacher, steps: 2)
      #expect(teacher.outputs == (chunked ? 2 : 0))
      #expect(teacher.traces == (chunked ? 0 : 2))
    }
    #expect(ChunkedOutputs.automatic.includes(rows: 4096, classes: 4096))
    #expect(!ChunkedOutputs.automatic.includes(rows: 4096, classes: 4095))
  }

  /// A teacher of another kind gives logits, for a student that never holds its own; of what a cache kept, those of all
  /// classes are made first.
  @Test(arguments: [false, true])
  func aTeacherThatGivesLogits(kept: Bool) throws {
    final class Logits: Teacher {
      let inner: FrozenTeacher
      let kept: Bool

      init(_ inner: FrozenTeacher, kept: Bool) {
        self.inner = inner
        self.kept = kept
      }

      func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
        let trace = try inner.trace(batch, taps: taps)
        guard kept else { return trace }
        let logits = trace.memberLogits[0]
        let (values, classes) = try logits.topK(logits.size(-1))
        return try trace.replacingLogits(
          [values], kept: [KeptLogits(classes: classes, classCount: logits.size(-1), others: .none)])
      }
    }
    let setting = Case(name: "")
    let teacher = try Logits(FrozenTeacher(model(16, tied: true, seed: 6)), kept: kept)
    let chunked = try train(.always, setting, teacher: teacher)
    let whole = try train(.never, setting)
    for (found, expected) in zip(chunked.losses, whole.losses) {
      assertClose(found["total"] ?? .nan, expected["total"] ?? .nan, relative: 1e-4)
    }
  }

  /// A teacher that is the student's own past.
  @Test func aMeanOfThePast() throws {
    let setting = Case(name: "")
    let whole = try train(.never, setting, teacher: MeanTeacher(model(8, tied: true, seed: 1)))
    let chunked = try train(.always, setting, teacher: MeanTeacher(model(8, tied: true, seed: 1)))
    for (found, expected) in zip(chunked.losses, whole.losses) {
      for (name, value) in expected {
        assertClose(found[name] ?? .nan, value, relative: 1e-4, absolute: 1e-6, name)
      }
    }
  }

  /// Classes instead of tokens, and examples without a label.
  @Test func classifiersToo() throws {
    let data = try TinyData.vectors(count: 43)
    func losses(_ outputs: ChunkedOutputs) throws -> ([Double], [NamedTensor]) {
      let specification = ModelSpecification(
        "mlp", ["hidden": [9], "dropout": 0.2], inputShape: data.exampleShape, classCount: data.classCount)
      let student = try withRandomStream(RandomStream(seed: 1, name: "init")) { try ModelZoo.make(specification) }
      let teacher = try withRandomStream(RandomStream(seed: 2, name: "init")) { try ModelZoo.make(specification) }
      var options = Trainer.Options(steps: 10)
      options.chunkedOutputs = outputs
      let trainer = try Trainer(
        student: student, teacher: FrozenTeacher(teacher), objective: .weightedAverage(alpha: 0.6, temperature: 3),
        optimizer: SGD(student.namedParameters, learningRate: 0.1), schedule: .constant,
        loader: DataLoader(dataset: data, options: .init(batchSize: 8, seed: 2)), options: options)
      var found: [Double] = []
      _ = try trainer.run { event in
        if case .round(let round) = event { found.append(round.loss) }
        return .continue
      }
      return (found, student.state)
    }
    let (chunked, state) = try losses(.always)
    let (whole, expected) = try losses(.never)
    for (found, expected) in zip(chunked, whole) { assertClose(found, expected, relative: 1e-4) }
    for (found, expected) in zip(state, expected) {
      try assertClose(found.tensor, expected.tensor, relative: 1e-4, absolute: 1e-6)
    }
  }

  @Test func whichTermsNeedLogits() throws {
    let batch = try Batch.fake(count: 3)
    #expect(try HardLabels().linearTerm(batch, progress: 0) == .hardLabels)
    #expect(try HardLabels(labelSmoothing: 0.1).linearTerm(batch, progress: 0) == nil)
    #expect(
      try SoftTargets(temperature: Ramp(from: 8, to: 2)).linearTerm(batch, progress: 0.5)
        == .softTargets(temperature: 5, isReverse: false))
    #expect(
      try SoftTargets(temperature: 2, divergence: .reverse).linearTerm(batch, progress: 0)
        == .softTargets(temperature: 2, isReverse: true))
    #expect(try SoftTargets(divergence: .jensenShannon).linearTerm(batch, progress: 0) == nil)
    #expect(try SoftTargets(standardize: true).linearTerm(batch, progress: 0) == nil)
    #expect(
      try SoftTargets(labelCorrection: LabelCorrection(share: 0.2, place: .everywhere)).linearTerm(batch, progress: 0)
        == nil)
    #expect(LogitMatching().linearTerm(batch, progress: 0) == nil)
  }
}
