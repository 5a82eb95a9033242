import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct KnowledgeReviewTests {
  let fixture = try! Fixture("relation-terms")

  @Test func equalsPyTorch() throws {
    try checkLayerTerm(fixture, "review") { try KnowledgeReview(layers: $0) }
  }

  @Test func deepLayersTeachTheShallowOnes() throws {
    let example = try LayerTermCase(
      students: [normal([3, 2, 4, 4]), normal([3, 3, 2, 2])], teachers: [normal([3, 4, 4, 4]), normal([3, 5, 2, 2])])
    let term = try KnowledgeReview(layers: example.pairs)
    try example.evaluate(term)
    #expect(try example.gradient(1).norm().item() > 0)
    let names = try #require(term.adapter).namedParameters.map(\.name)
    #expect(names.contains("0.attention.weight"))
    #expect(!names.contains("1.attention.weight"))
  }

  @Test func theContextLossIsZeroWhereMapsAreAlike() throws {
    let maps = try normal([2, 3, 5, 6])
    assertClose(try hierarchicalContextLoss(studentMap: maps, teacherMap: maps).sum.item(), 0, absolute: 0)
    // A difference of 1 everywhere is one of 1 at every level, and the weights' sum is divided out.
    let value = try hierarchicalContextLoss(studentMap: maps + 1, teacherMap: maps)
    assertClose(try value.mean.item(), 1, relative: 1e-5)
  }

  @Test func holdsAtTheLimits() throws {
    try checkExtremes(shape: [2, 3, 4, 4]) { try KnowledgeReview(layers: $0) }
    try checkExtremes(shape: [3, 4]) { try KnowledgeReview(layers: $0, width: 1, levels: [1]) }
  }

  @Test func itsBlocksAreSeeded() throws {
    try checkAdapter(shapes: ([2, 3, 4, 4], [2, 5, 2, 2])) { try KnowledgeReview(layers: $0) }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(students: [[2, 3, 4]], teachers: [[2, 3, 4]], mentions: ["student0", "[2, 3, 4]"]) {
      try KnowledgeReview(layers: $0)
    }
    try checkRefusal(students: [[2, 3, 4, 4]], teachers: [[3, 3, 4, 4]], mentions: ["teacher0", "[3, 3, 4, 4]"]) {
      try KnowledgeReview(layers: $0)
    }
    let pairs = [LayerPair("a")]
    #expect(throws: DistillationError.self) { try KnowledgeReview(layers: []) }
    #expect(throws: DistillationError.self) { try KnowledgeReview(layers: pairs, width: 0) }
    #expect(throws: DistillationError.self) { try KnowledgeReview(layers: pairs, levels: [0]) }
    #expect(throws: TorchError.self) {
      try hierarchicalContextLoss(studentMap: normal([2, 3, 4, 4]), teacherMap: normal([2, 1, 4, 4]))
    }
  }

  @Test func recipesMakeIt() throws {
    let pairs = TermValue.layers([LayerPair("a"), LayerPair("b")])
    let term = try KnowledgeReview.kind.make(["layers": pairs, "levels": .numbers([2, 1])])
    #expect(term.studentTaps == [Tap("a"), Tap("b")])
    #expect(throws: DistillationError.self) {
      try KnowledgeReview.kind.make(["layers": pairs, "levels": .numbers([1.5])])
    }
  }
}
