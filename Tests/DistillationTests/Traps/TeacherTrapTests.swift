import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN
import TorchOptim

/// What distillation code gets wrong elsewhere, about teachers and their outputs. Each test fails if we fall into the trap.
@Suite struct TeacherTrapTests {
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
    let same = try teachTheSame([live, precomputed], steps: 24, accumulation: accumulation) {
      try makeLoader(batchSize: 5, shuffle: true)
    }
    #expect(same)
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

  private func floats(_ bytes: [UInt8]) -> [Float] {
    bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
  }
}
