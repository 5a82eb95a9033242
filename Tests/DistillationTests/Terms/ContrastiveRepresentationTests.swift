import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct ContrastiveRepresentationTests {
  let fixture = try! Fixture("relation-terms")

  /// What the term sees of a case, whose examples have numbers and classes.
  func input(_ example: LayerTermCase, ids: [Int]? = nil, labels: Tensor? = nil, second: Tensor? = nil) throws
    -> TermInput
  {
    var input = try example.input()
    let count = input.batch.count
    let none = try Tensor.full([count], -1, dtype: .int64)
    input.batch = try .fake(ids: ids ?? Array(0..<count), labels: labels ?? none)
    input.batch.secondLabels = second
    return input
  }

  func input(_ example: LayerTermCase, _ key: String) throws -> TermInput {
    try input(
      example, ids: fixture.contains("\(key)/ids") ? fixture["\(key)/ids"].array(of: Int.self) : nil,
      labels: fixture["\(key)/labels"], second: fixture["\(key)/second"])
  }

  /// Overwrites the layers of a term, not its memory, with those of a case.
  func load(_ term: any Term, _ key: String) throws {
    let own = try #require(term.adapter).namedParameters
    for named in fixture.tensors(under: "\(key)/adapter") {
      let tensor = try #require(own.first { $0.name == named.name }).tensor
      try withoutGradient { try tensor.copy(from: named.tensor) }
    }
  }

  func check(_ term: any Term, _ example: LayerTermCase, _ input: TermInput, _ key: String) throws {
    for parameter in try #require(term.adapter).parameters { try parameter.setGradient(nil) }
    let value = try term.sum(input)
    try value.backward()
    try assertClose(value.item(), fixture["\(key)/value"].item(), relative: 1e-5, absolute: 1e-6, "\(key) value")
    try assertClose(
      example.gradient(), fixture["\(key)/student-gradient/0"], relative: 1e-4, absolute: 2e-6, "\(key) gradient")
    for parameter in try #require(term.adapter).namedParameters {
      try assertClose(
        #require(parameter.tensor.gradient), fixture["\(key)/adapter-gradient/\(parameter.name)"], relative: 1e-4,
        absolute: 2e-6, "\(key) gradient by \(parameter.name)")
    }
  }

  @Test(arguments: [false, true])
  func negativesOfTheBatchEqualPyTorch(sameClass: Bool) throws {
    let key = sameClass ? "contrastive/batch/same" : "contrastive/batch"
    let example = try LayerTermCase(fixture, key)
    let term = try ContrastiveRepresentation(
      layers: example.pairs, negatives: .batch, embedding: 4, temperature: 0.2, sameClassNegatives: sameClass)
    try example.prepare(term)
    try load(term, key)
    #expect(term.adapter?.namedBuffers.isEmpty == true)
    try check(term, example, input(example, "contrastive/batch"), key)
  }

  /// Three batches of three with a memory of five: it holds three, then is full and has turned round, twice.
  @Test func negativesOfTheMemoryEqualPyTorch() throws {
    let examples = try (0..<3).map { try LayerTermCase(fixture, "contrastive/memory/\($0)") }
    let term = try ContrastiveRepresentation(
      layers: examples[0].pairs, memory: 5, embedding: 4, temperature: 0.2)
    try examples[0].prepare(term)
    try load(term, "contrastive/memory/0")
    for (index, example) in examples.enumerated() {
      let key = "contrastive/memory/\(index)"
      try check(term, example, input(example, key), key)
    }
    let buffers = Dictionary(
      uniqueKeysWithValues: try #require(term.adapter).namedBuffers.map { ($0.name, $0.tensor) })
    for side in ["students", "teachers"] {
      try assertClose(#require(buffers["0.memory.\(side)"]), fixture["contrastive/memory/\(side)"], absolute: 1e-6)
    }
    #expect(
      try #require(buffers["0.memory.ids"]).array(of: Int.self) == fixture["contrastive/memory/ids"].array(of: Int.self)
    )
    #expect(try #require(buffers["0.memory.next"]).item() == 4)
  }

  /// A training that was interrupted after two batches goes on bit for bit as if it had not been.
  @Test func theMemorySurvivesAnInterruption() throws {
    let batches = try (0..<5).map { step in
      try LayerTermCase(
        students: [normal([4, 3], seed: UInt64(step))], teachers: [normal([4, 5], seed: UInt64(10 + step))])
    }
    func make(seed: UInt64) throws -> ContrastiveRepresentation {
      let term = try ContrastiveRepresentation(layers: batches[0].pairs, memory: 10, embedding: 4)
      try batches[0].prepare(term, seed: seed)
      return term
    }
    func step(_ term: ContrastiveRepresentation, _ index: Int) throws -> Double {
      let labels = try Tensor((0..<4).map { Int64(($0 + index) % 3) })
      return try term.sum(input(batches[index], ids: (0..<4).map { (3 * index + $0) % 11 }, labels: labels)).item()
    }
    let whole = try make(seed: 1)
    let values = try batches.indices.map { try step(whole, $0) }
    let first = try make(seed: 1)
    #expect(try (0..<2).map { try step(first, $0) } == Array(values[0..<2]))
    let second = try make(seed: 2)
    try withTemporaryFolder { folder in
      try #require(first.adapter).save(to: "\(folder)/state.safetensors")
      try #require(second.adapter).load(try Checkpoint.read("\(folder)/state.safetensors"))
    }
    #expect(try (2..<5).map { try step(second, $0) } == Array(values[2..<5]))
    #expect(values.allSatisfy { $0 > 0 })
  }

  @Test func aBatchLargerThanTheMemoryLeavesItsLastExamples() throws {
    let example = try LayerTermCase(students: [normal([5, 3])], teachers: [normal([5, 3], seed: 2)])
    let term = try ContrastiveRepresentation(layers: example.pairs, memory: 3, embedding: 2)
    try example.prepare(term)
    _ = try term.sum(input(example))
    let buffers = try #require(term.adapter).namedBuffers
    #expect(try #require(buffers.first { $0.name == "0.memory.ids" }).tensor.array(of: Int.self) == [2, 3, 4])
    #expect(try term.sum(input(example)).item().isFinite)
  }

  @Test(arguments: ContrastiveRepresentation.Negatives.allCases)
  func holdsAtTheLimits(negatives: ContrastiveRepresentation.Negatives) throws {
    let ordinary = try normal([4, 3])
    let zero = try ordinary.zerosLike()
    for (student, teacher) in [(zero, ordinary), (ordinary, zero), (zero, zero), (try ordinary * 1e15, ordinary)] {
      let example = try LayerTermCase(students: [student], teachers: [teacher])
      let term = try ContrastiveRepresentation(layers: example.pairs, negatives: negatives, temperature: 0.001)
      try example.prepare(term)
      for step in 0..<3 {
        let value = try term.sum(input(example, ids: (0..<4).map { 4 * step + $0 }))
        try value.backward()
        #expect(try value.item().isFinite)
        #expect(try example.gradient().isFinite().all())
      }
    }
    // One example has no negatives, and neither have examples of one class.
    for (count, labels) in [(1, nil), (3, try Tensor.zeros([3], dtype: .int64))] {
      let example = try LayerTermCase(students: [normal([count, 3])], teachers: [normal([count, 3], seed: 2)])
      let term = try ContrastiveRepresentation(layers: example.pairs, negatives: negatives)
      try example.prepare(term)
      for _ in 0..<2 {
        let value = try term.sum(input(example, labels: labels))
        try value.backward()
        assertClose(try value.item(), 0, absolute: 1e-6)
        try assertClose(example.gradient(), example.gradient().zerosLike(), absolute: 1e-6)
      }
    }
  }

  /// Where an example is as near to all others as to its own counterpart, h is one part in as many as there are.
  @Test func chanceHasItsValue() throws {
    let example = try LayerTermCase(students: [Tensor.ones([4, 3])], teachers: [Tensor.ones([4, 3])])
    let inBatch = try ContrastiveRepresentation(layers: example.pairs, negatives: .batch)
    try example.prepare(inBatch)
    assertClose(try inBatch.sum(input(example)).item(), 4 * 2 * log(4), relative: 1e-5)
    let inMemory = try ContrastiveRepresentation(layers: example.pairs, memory: 8)
    try example.prepare(inMemory)
    for (ids, negatives) in [([0, 1, 2, 3], 3.0), ([4, 5, 6, 7], 7)] {
      let value = try inMemory.sum(input(example, ids: ids)).item()
      assertClose(
        value, 4 * 2 * (log(1 + negatives) + negatives * log(1 + 1 / negatives)), relative: 1e-5)
    }
  }

  @Test func itsLayersAreSeeded() throws {
    try checkAdapter(shapes: ([4, 3], [4, 5])) { try ContrastiveRepresentation(layers: $0, memory: 8) }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(students: [[3, 2]], teachers: [[4, 2]], mentions: ["student0", "[4, 2]"]) {
      try ContrastiveRepresentation(layers: $0)
    }
    let pairs = [LayerPair("a")]
    #expect(throws: DistillationError.self) { try ContrastiveRepresentation(layers: []) }
    #expect(throws: DistillationError.self) { try ContrastiveRepresentation(layers: pairs, memory: 0) }
    #expect(throws: DistillationError.self) { try ContrastiveRepresentation(layers: pairs, embedding: 0) }
    #expect(throws: DistillationError.self) { try ContrastiveRepresentation(layers: pairs, temperature: 0) }
    #expect(throws: TorchError.self) {
      try contrastiveLoss(
        studentEmbeddings: normal([3, 2]), teacherEmbeddings: normal([3, 2]), isNegative: normal([3, 3]),
        temperature: 1)
    }
    #expect(throws: TorchError.self) {
      try noiseContrastiveLoss(
        studentEmbeddings: normal([3, 2]), teacherEmbeddings: normal([3, 2]), studentMemory: normal([4, 2]),
        teacherMemory: normal([5, 2]), isNegative: normal([3, 4]).isGreater(than: 0), logNormalizers: normal([2]),
        temperature: 1)
    }
  }

  @Test func recipesMakeIt() throws {
    let pairs = TermValue.layers([LayerPair("a")])
    let term = try ContrastiveRepresentation.kind.make(["layers": pairs, "negatives": .text("batch")])
    #expect(term.studentTaps == [Tap("a")])
    #expect(throws: DistillationError.self) {
      try ContrastiveRepresentation.kind.make(["layers": pairs, "negatives": .text("none")])
    }
  }
}
