import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct ActivationBoundariesTests {
  let fixture = try! Fixture("layer-terms")

  @Test func equalPyTorch() throws {
    try checkLayerTerm(fixture, "boundaries/maps") { try ActivationBoundaries(layers: $0) }
    try checkLayerTerm(fixture, "boundaries/vectors") {
      try ActivationBoundaries(layers: $0, margin: 0.5, reduction: .sum)
    }
  }

  /// A student beyond the margin on the teacher's side has nothing to learn; one on the boundary pays μ².
  @Test func onlyTheSideCounts() throws {
    let teacher = try normal([2, 3, 2, 2])
    func loss(_ student: Tensor) throws -> Double {
      try activationBoundaryLoss(studentResponses: student, teacherResponses: teacher, margin: 2).mean.item()
    }
    let sides = try teacher.isGreater(than: 0).choose(teacher.onesLike(), -teacher.onesLike())
    #expect(try loss(sides * 2) == 0)
    #expect(try loss(sides * 1e15) == 0)
    #expect(try loss(teacher.zerosLike()) == 4)
    assertClose(try loss(sides * -1), 9)
  }

  @Test func holdsAtItsLimits() throws {
    try checkExtremes(shape: [2, 3, 2, 2]) { try ActivationBoundaries(layers: $0) }
    try checkAdapter(shapes: ([2, 3, 4, 4], [2, 5, 4, 4])) { try ActivationBoundaries(layers: $0) }
    let one = try LayerTermCase(students: [normal([1, 3, 2, 2])], teachers: [normal([1, 4, 2, 2])])
    #expect(try one.evaluate(ActivationBoundaries(layers: one.pairs)).isFinite)
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(students: [[2, 3, 4]], teachers: [[2, 3, 4]], mentions: ["student0", "[2, 3, 4]"]) {
      try ActivationBoundaries(layers: $0)
    }
    #expect(throws: DistillationError.self) { try ActivationBoundaries(layers: []) }
    #expect(throws: DistillationError.self) { try ActivationBoundaries(layers: [LayerPair("a")], margin: 0) }
    #expect(try ActivationBoundaries.kind.make(["layers": .layers([LayerPair("a")])]).teacherTaps == [Tap("a")])
    #expect(throws: TorchError.self) {
      try activationBoundaryLoss(studentResponses: normal([2, 3]), teacherResponses: normal([2, 4]))
    }
  }
}
