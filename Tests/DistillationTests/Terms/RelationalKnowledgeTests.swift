import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct RelationalKnowledgeTests {
  let fixture = try! Fixture("relation-terms")

  @Test func equalsPyTorch() throws {
    try checkLayerTerm(fixture, "relational") { try RelationalKnowledge(layers: $0) }
    try checkLayerTerm(fixture, "relational/distance") { try RelationalKnowledge(layers: $0, distance: 1, angle: 0) }
    try checkLayerTerm(fixture, "relational/angle") { try RelationalKnowledge(layers: $0, distance: 0, angle: 1) }
  }

  @Test func pointsThatCoincideHaveNoDirection() throws {
    try checkLayerTerm(fixture, "relational/coincide") { try RelationalKnowledge(layers: $0) }
    // All points of the student coincide: its distances have no mean, and nothing has a gradient.
    let example = try LayerTermCase(students: [Tensor.ones([4, 3])], teachers: [normal([4, 3])])
    #expect(try example.evaluate(RelationalKnowledge(layers: example.pairs)) > 0)
    try assertClose(example.gradient(), Tensor.zeros([4, 3]), absolute: 0)
  }

  @Test func pointsCloseTogetherAreApart() throws {
    // Far from the origin, and 1000 times as far as they are from each other: float32 products would round that away.
    let points = try Tensor([Float(1000), 1000, 1001, 1000, 1000, 1002], shape: [3, 2])
    let moved = try points - 1000
    let value = try relationalKnowledgeLoss(studentVectors: points, teacherVectors: moved).sum.item()
    assertClose(value, 0, absolute: 1e-6)
  }

  @Test func neitherPlaceNorSizeNorTurningCounts() throws {
    let points = try normal([6, 2])
    let turn = try Tensor([Float(0.6), 0.8, -0.8, 0.6], shape: [2, 2])
    let moved = try points.matmul(turn) * 3 + 5
    assertClose(
      try relationalKnowledgeLoss(studentVectors: moved, teacherVectors: points).sum.item(), 0, absolute: 1e-9)
  }

  @Test func isZeroWhereStudentAndTeacherAreAlike() throws {
    try checkZeroWhereAlike(shape: [4, 3]) { try RelationalKnowledge(layers: $0) }
    try checkExtremes(shape: [4, 3, 2, 2]) { try RelationalKnowledge(layers: $0) }
  }

  @Test func twoExamplesHaveOneDistance() throws {
    let example = try LayerTermCase(students: [normal([2, 3])], teachers: [normal([2, 5], seed: 2)])
    assertClose(
      try example.evaluate(RelationalKnowledge(layers: example.pairs, distance: 1, angle: 0)), 0, absolute: 1e-6)
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let term = try RelationalKnowledge(layers: [LayerPair(student: Tap("student0"), teacher: Tap("teacher0"))])
    for (student, teacher) in [([3], [3, 2]), ([3, 2], [4, 2]), ([3, 0], [3, 2])] {
      let example = try LayerTermCase(students: [normal(student)], teachers: [normal(teacher)])
      let error = #expect(throws: DistillationError.self) { try term.sum(example.input()) }
      #expect(error?.description.contains("student0") == true)
      #expect(error?.description.contains("\(student)") == true)
      #expect(throws: TorchError.self) {
        try relationalKnowledgeLoss(studentVectors: normal(student), teacherVectors: normal(teacher))
      }
    }
    #expect(throws: DistillationError.self) { try RelationalKnowledge(layers: []) }
    #expect(throws: DistillationError.self) { try RelationalKnowledge(layers: [LayerPair("a")], distance: -1) }
    #expect(throws: DistillationError.self) { try RelationalKnowledge(layers: [LayerPair("a")], distance: 0, angle: 0) }
  }

  @Test func recipesMakeIt() throws {
    let pairs = TermValue.layers([LayerPair("a")])
    #expect(try RelationalKnowledge.kind.make(["layers": pairs, "angle": .number(0)]).studentTaps == [Tap("a")])
    #expect(throws: DistillationError.self) {
      try RelationalKnowledge.kind.make(["layers": pairs, "distance": .number(-1)])
    }
  }
}
