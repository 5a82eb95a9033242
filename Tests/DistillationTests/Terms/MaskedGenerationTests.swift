import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct MaskedGenerationTests {
  let fixture = try! Fixture("relation-terms")

  /// The block and the loss with a mask that is given.
  @Test func equalsPyTorch() throws {
    let example = try LayerTermCase(fixture, "generation")
    let block = try MapGenerator(from: 3, to: 4)
    try block.load(Checkpoint(tensors: fixture.tensors(under: "generation/adapter")))
    let mask = try fixture["generation/mask"].to(.float32)
    let loss = try generatedMapLoss(
      generatedMap: block(example.students[0], mask: mask), teacherMap: example.teachers[0])
    try loss.sum.backward()
    try assertClose(loss.sum.item(), fixture["generation/value"].item(), relative: 1e-5)
    try assertClose(example.gradient(), fixture["generation/student-gradient/0"], relative: 1e-4, absolute: 1e-5)
    for parameter in block.namedParameters {
      try assertClose(
        #require(parameter.tensor.gradient), fixture["generation/adapter-gradient/\(parameter.name)"], relative: 1e-4,
        absolute: 1e-5, parameter.name)
    }
    let mean = try generatedMapLoss(
      generatedMap: block(example.students[0], mask: mask), teacherMap: example.teachers[0], reduction: .mean)
    try assertClose(mean.sum.item(), loss.sum.item() / Double(4 * 3 * 4), relative: 1e-5)
  }

  /// How often an element of the student's map has no part in the loss, and whether what is hidden is hidden together.
  @Test(arguments: MaskedGeneration.Unit.allCases)
  func theGivenPartIsHidden(unit: MaskedGeneration.Unit) throws {
    let shape = [8, 6, 5, 5]
    let example = try LayerTermCase(students: [normal(shape)], teachers: [normal(shape, seed: 2)])
    let term = try MaskedGeneration(layers: example.pairs, mask: unit, fraction: 0.4)
    try example.evaluate(term)
    let seen = try example.gradient().differs(from: 0).to(.float32)
    let along = unit == .channels ? (2, 3) : (1, 1)
    let parts = try along.0 == along.1 ? seen.mean(along: 1) : seen.mean(along: 2, 3)
    #expect(try parts.floats().allSatisfy { $0 == 0 || $0 == 1 })
    #expect(try abs(parts.mean().item() - 0.6) < 0.15)
  }

  /// A training that was interrupted goes on with the masks that it would have had.
  @Test func theMasksSurviveAnInterruption() throws {
    let example = try LayerTermCase(students: [normal([4, 3, 4, 4])], teachers: [normal([4, 5, 2, 2], seed: 2)])
    func make(seed: UInt64) throws -> MaskedGeneration {
      let term = try MaskedGeneration(layers: example.pairs, mask: .places, fraction: 0.5)
      try example.prepare(term, seed: seed)
      return term
    }
    func values(_ term: MaskedGeneration, _ count: Int) throws -> [Double] {
      try (0..<count).map { _ in try term.sum(example.input()).item() }
    }
    let whole = try values(make(seed: 1), 5)
    let first = try make(seed: 1)
    #expect(try values(first, 2) == Array(whole[0..<2]))
    let second = try make(seed: 2)
    try withTemporaryFolder { folder in
      try #require(first.adapter).save(to: "\(folder)/state.safetensors")
      try #require(second.adapter).load(try Checkpoint.read("\(folder)/state.safetensors"))
    }
    #expect(try values(second, 3) == Array(whole[2..<5]))
    #expect(Set(whole).count == 5)
  }

  @Test func channelsAreAlignedWhereTheyDiffer() throws {
    for (channels, hasAlignment) in [(3, false), (5, true)] {
      let example = try LayerTermCase(students: [normal([2, 3, 4, 4])], teachers: [normal([2, channels, 4, 4])])
      let term = try MaskedGeneration(layers: example.pairs)
      try example.prepare(term)
      #expect(try #require(term.adapter).namedParameters.contains { $0.name == "0.align.weight" } == hasAlignment)
    }
    try checkAdapter(shapes: ([2, 3, 4, 4], [2, 5, 4, 4])) { try MaskedGeneration(layers: $0) }
    try checkExtremes(shape: [2, 3, 4, 4]) { try MaskedGeneration(layers: $0) }
  }

  @Test func withoutAMaskPartsOfABatchAddUp() throws {
    let example = try LayerTermCase(students: [normal([3, 2, 4, 4])], teachers: [normal([3, 4, 4, 4], seed: 2)])
    try checkParts(example) { try MaskedGeneration(layers: $0, fraction: 0) }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(students: [[2, 3]], teachers: [[2, 3]], mentions: ["student0", "[N, C, H, W]"]) {
      try MaskedGeneration(layers: $0)
    }
    #expect(throws: DistillationError.self) { try MaskedGeneration(layers: []) }
    #expect(throws: DistillationError.self) { try MaskedGeneration(layers: [LayerPair("a")], fraction: 1) }
    #expect(throws: TorchError.self) {
      try generatedMapLoss(generatedMap: normal([2, 3, 4, 4]), teacherMap: normal([2, 1, 4, 4]))
    }
  }

  @Test func recipesMakeIt() throws {
    let pairs = TermValue.layers([LayerPair("a")])
    let term = try MaskedGeneration.kind.make(["layers": pairs, "mask": .text("places"), "fraction": .number(0.65)])
    #expect(term.studentTaps == [Tap("a")])
    #expect(throws: DistillationError.self) {
      try MaskedGeneration.kind.make(["layers": pairs, "fraction": .number(1)])
    }
  }
}
