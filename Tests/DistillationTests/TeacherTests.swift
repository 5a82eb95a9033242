import DistillData
import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct TeacherTests {
  @Test(arguments: EnsembleAverage.allCases, ["equal", "weighted"])
  func ensemblesEqualTheReference(average: EnsembleAverage, weights: String) throws {
    let fixture = try Fixture("losses")
    let members = try (0..<3).map { try fixture["ensemble/members"].selected(0, $0).to(.float32) }
    let trace = TeacherTrace(
      memberLogits: members, memberWeights: weights == "equal" ? [1 / 3, 1 / 3, 1 / 3] : [0.25, 0.5, 0.25],
      average: average)
    let key = "ensemble/\(weights)"
    if average == .logits {
      try assertClose(trace.logits(), fixture["\(key)/logits"], relative: 1e-5, absolute: 1e-5)
    } else {
      for (temperature, suffix) in [(1.0, ""), (4, "/T=4")] {
        try assertClose(
          trace.logSoftTargets(temperature: temperature), fixture["\(key)\(suffix)/\(average)"], relative: 1e-5,
          absolute: 1e-5)
      }
    }
  }

  @Test("Trap 14: the three averages are three things")
  func theThreeAveragesAreThreeThings() throws {
    let members = try [Tensor([Float(4), 0, 0], shape: [1, 3]), Tensor([Float(0), 1, 0], shape: [1, 3])]
    func logits(_ average: EnsembleAverage) throws -> [Float] {
      try TeacherTrace(memberLogits: members, memberWeights: [0.5, 0.5], average: average).logits().floats()
    }
    #expect(try logits(.logits) == [2, 0.5, 0])
    #expect(try logits(.arithmetic) != logits(.geometric))
    #expect(try logits(.geometric) != logits(.logits))
  }

  @Test func ensemblesRefuseWhatDoesNotFit() throws {
    let small = FrozenTeacher(try Linear(3, 4))
    let large = FrozenTeacher(try Linear(3, 5))
    #expect(throws: DistillationError.self) { try EnsembleTeacher([]) }
    #expect(throws: DistillationError.self) { try EnsembleTeacher([small], weights: [1, 2]) }
    #expect(throws: DistillationError.self) { try EnsembleTeacher([small, large], weights: [1, -2]) }
    let ensemble = try EnsembleTeacher([small, large])
    let batch = try Batch.fake(count: 2, inputs: Tensor.ones([2, 3]))
    #expect(throws: DistillationError.self) { try ensemble.trace(batch) }
  }

  @Test func fewerThanOneViewCannotBeLabelled() throws {
    let data = try TinyData.vectors(count: 5)
    let loader = try DataLoader(dataset: data, examples: Array(0..<5), options: .init(batchSize: 5))
    let teacher = FrozenTeacher(try Linear(data.exampleShape[0], 3))
    for views in [0, -1] {
      #expect(throws: DistillationError.self) { try PrecomputedTeacher(computing: teacher, over: loader, views: views) }
    }
  }

  @Test func precomputedRowsAreFoundByExample() throws {
    let data = try TinyData.vectors(count: 37)
    let model = try Linear(data.exampleShape[0], 3)
    let loader = try DataLoader(dataset: data, examples: Array(0..<37), options: .init(batchSize: 8))
    let precomputed = try PrecomputedTeacher(computing: FrozenTeacher(model), over: loader)
    var shuffled = DataLoader.Options(batchSize: 5)
    shuffled.shuffle = true
    shuffled.seed = 7
    shuffled.views = 1
    let other = try DataLoader(dataset: data, examples: Array(0..<37), options: shuffled)
    var seen = 0
    for epoch in 0..<3 {
      let batches = other.batches(epoch: epoch)
      while let batch = try batches.next() {
        let live = try withoutGradient { try model(batch.inputs) }
        try assertClose(precomputed.trace(batch).logits(), live, relative: 1e-6, absolute: 1e-6)
        seen += batch.ids.count
      }
    }
    #expect(seen == 3 * 37)
  }

  @Test func anExampleThatWasNotLabelledIsRefused() throws {
    let data = try TinyData.vectors(count: 10)
    let loader = try DataLoader(dataset: data, examples: Array(0..<5), options: .init(batchSize: 5))
    let precomputed = try PrecomputedTeacher(
      computing: FrozenTeacher(try Linear(data.exampleShape[0], 3)), over: loader)
    let batch = try Batch.fake(ids: [7], inputs: Tensor.ones([1, data.exampleShape[0]]))
    let error = #expect(throws: DistillationError.self) { try precomputed.trace(batch) }
    #expect(error?.description == "example 7 was not labelled by the teacher")
    let later = try Batch.fake(ids: [1], inputs: Tensor.ones([1, data.exampleShape[0]]), view: 1)
    #expect(throws: DistillationError.self) { try precomputed.trace(later) }
  }
}
