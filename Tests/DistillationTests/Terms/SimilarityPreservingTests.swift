import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct SimilarityPreservingTests {
  let fixture = try! Fixture("relation-terms")

  @Test func equalsPyTorch() throws {
    try checkLayerTerm(fixture, "similarity") { try SimilarityPreserving(layers: $0) }
  }

  @Test func isZeroWhereStudentAndTeacherAreAlike() throws {
    try checkZeroWhereAlike(shape: [4, 3, 2, 2]) { try SimilarityPreserving(layers: $0) }
    try checkExtremes(shape: [4, 3]) { try SimilarityPreserving(layers: $0) }
  }

  @Test func anExampleOfZerosIsLikeNone() throws {
    let example = try LayerTermCase(
      students: [Tensor([Float(1), 2, 0, 0, 3, 4], shape: [3, 2])], teachers: [normal([3, 4])])
    #expect(try example.evaluate(SimilarityPreserving(layers: example.pairs)).isFinite)
    let gradient = try example.gradient().floats()
    #expect(gradient.allSatisfy { $0.isFinite && abs($0) < 100 })
  }

  @Test func oneExampleHasNoRelations() throws {
    let example = try LayerTermCase(students: [normal([1, 3])], teachers: [normal([1, 5], seed: 2)])
    assertClose(try example.evaluate(SimilarityPreserving(layers: example.pairs)), 0, absolute: 1e-6)
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let term = try SimilarityPreserving(layers: [LayerPair(student: Tap("student0"), teacher: Tap("teacher0"))])
    let example = try LayerTermCase(students: [normal([3, 2])], teachers: [normal([4, 2])])
    let error = #expect(throws: DistillationError.self) { try term.sum(example.input()) }
    #expect(error?.description.contains("teacher0 [4, 2]") == true)
    #expect(throws: DistillationError.self) { try SimilarityPreserving(layers: []) }
    #expect(throws: TorchError.self) {
      try similarityPreservingLoss(studentVectors: normal([3]), teacherVectors: normal([3, 2]))
    }
  }

  @Test func recipesMakeIt() throws {
    #expect(try SimilarityPreserving.kind.make(["layers": .layers([LayerPair("a")])]).teacherTaps == [Tap("a")])
    #expect(throws: DistillationError.self) { try SimilarityPreserving.kind.make() }
  }
}
