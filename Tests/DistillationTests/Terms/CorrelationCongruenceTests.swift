import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct CorrelationCongruenceTests {
  let fixture = try! Fixture("relation-terms")

  @Test func equalsPyTorch() throws {
    try checkLayerTerm(fixture, "congruence") { try CorrelationCongruence(layers: $0, embedding: 4) }
    try checkLayerTerm(fixture, "congruence/trained") {
      try CorrelationCongruence(layers: $0, gamma: 0.7, order: 4, embedding: 4, trainTeacherEmbedding: true)
    }
  }

  @Test func aLongSeriesIsTheGaussianKernel() throws {
    let gamma = 0.4
    let (first, second) = (try normal([3, 4]), try normal([3, 4], seed: 2))
    func kernel(_ embeddings: Tensor) throws -> [Double] {
      let rows = try embeddings.to(.float64)
      let unit = try rows / rows.norm(along: 1, keepDimensions: true)
      let products = try unit.matmul(unit.transposed(0, 1)).doubles()
      return products.map { exp(-gamma * (2 - 2 * $0)) }
    }
    let expected = try zip(kernel(first), kernel(second)).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / 3
    let value = try correlationCongruenceLoss(
      studentEmbeddings: first, teacherEmbeddings: second, gamma: gamma, order: 16)
    assertClose(try value.sum.item(), expected, relative: 1e-5)
  }

  @Test func theTeachersProjectionStaysAsDrawn() throws {
    let example = try LayerTermCase(students: [normal([4, 3])], teachers: [normal([4, 5], seed: 2)])
    let term = try CorrelationCongruence(layers: example.pairs, embedding: 6)
    try example.prepare(term)
    #expect(term.adapter?.namedParameters.map(\.name) == ["0.student.weight", "0.student.bias"])
    #expect(term.adapter?.namedBuffers.map(\.name) == ["0.teacher.weight"])
    try checkAdapter(shapes: ([4, 3], [4, 5])) { try CorrelationCongruence(layers: $0, embedding: 6) }
  }

  @Test func holdsAtTheLimits() throws {
    try checkExtremes(shape: [4, 3, 2, 2]) { try CorrelationCongruence(layers: $0) }
    let embeddings = try normal([4, 3])
    let alike = try correlationCongruenceLoss(studentEmbeddings: embeddings, teacherEmbeddings: embeddings * 7)
    assertClose(try alike.sum.item(), 0, absolute: 1e-9)
    // One example is as near to itself for the student as for the teacher.
    let alone = try correlationCongruenceLoss(
      studentEmbeddings: normal([1, 3]), teacherEmbeddings: normal([1, 5], seed: 2))
    assertClose(try alone.sum.item(), 0, absolute: 1e-9)
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(students: [[3, 2]], teachers: [[4, 2]], mentions: ["student0", "[4, 2]"]) {
      try CorrelationCongruence(layers: $0)
    }
    let pairs = [LayerPair("a")]
    #expect(throws: DistillationError.self) { try CorrelationCongruence(layers: []) }
    #expect(throws: DistillationError.self) { try CorrelationCongruence(layers: pairs, gamma: 0) }
    #expect(throws: DistillationError.self) { try CorrelationCongruence(layers: pairs, order: 0) }
    #expect(throws: DistillationError.self) { try CorrelationCongruence(layers: pairs, embedding: 0) }
    #expect(throws: TorchError.self) {
      try correlationCongruenceLoss(studentEmbeddings: normal([3, 2]), teacherEmbeddings: normal([2, 2]))
    }
  }

  @Test func recipesMakeIt() throws {
    let pairs = TermValue.layers([LayerPair("a")])
    #expect(try CorrelationCongruence.kind.make(["layers": pairs, "order": .number(3)]).studentTaps == [Tap("a")])
    #expect(throws: DistillationError.self) {
      try CorrelationCongruence.kind.make(["layers": pairs, "order": .number(1.5)])
    }
  }
}
