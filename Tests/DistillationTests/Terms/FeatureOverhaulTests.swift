import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct FeatureOverhaulTests {
  let fixture = try! Fixture("layer-terms")

  @Test func equalsPyTorch() throws {
    try checkLayerTerm(fixture, "overhaul/maps") { try FeatureOverhaul(layers: $0) }
    try checkLayerTerm(fixture, "overhaul/vectors") { try FeatureOverhaul(layers: $0, reduction: .sum) }
  }

  /// The margin comes from the first batch, and stays what it is.
  @Test(arguments: ["maps", "vectors"])
  func theMarginIsTheMeanNegativeResponse(name: String) throws {
    let example = try LayerTermCase(fixture, "overhaul/\(name)")
    let term = try FeatureOverhaul(layers: example.pairs)
    try example.prepare(term)
    let margin = try #require(term.adapter?.namedBuffers.first { $0.name == "0.margin" }).tensor
    try assertClose(margin, fixture["overhaul/\(name)/margin"])
    _ = try term.sum(LayerTermCase(students: example.students, teachers: example.teachers.map { try $0 * 3 }).input())
    try assertClose(margin, fixture["overhaul/\(name)/margin"])
  }

  @Test func aStudentBelowASettledTargetHasNothingToLearn() throws {
    let targets = try Tensor([-1.0, -1, 0, 0, 2, 2], shape: [1, 6])
    let student = try Tensor([-5.0, 1, -3, 1, 0, 3], shape: [1, 6]).requireGradient()
    let loss = try partialDistanceLoss(studentResponses: student, teacherTargets: targets, reduction: .sum)
    try loss.sum.backward()
    #expect(try loss.sum.item() == 4 + 1 + 4 + 1)
    #expect(try #require(student.gradient).doubles() == [0, 4, 0, 2, -4, 2])
  }

  @Test func theMarginReLUCutsBelowTheMargin() throws {
    let responses = try Tensor([-3.0, -0.5, 1, -3, -0.5, 1], shape: [3, 2])
    let cut = try marginReLU(responses, margin: Tensor([-1.0, 0]))
    #expect(try cut.doubles() == [-1, 0, 1, 0, -0.5, 1])
  }

  @Test func holdsAtItsLimits() throws {
    try checkExtremes(shape: [2, 3, 2, 2]) { try FeatureOverhaul(layers: $0) }
    try checkAdapter(shapes: ([2, 3, 4, 4], [2, 5, 4, 4])) { try FeatureOverhaul(layers: $0) }
    let one = try LayerTermCase(students: [normal([1, 3, 2, 2])], teachers: [normal([1, 4, 2, 2])])
    #expect(try one.evaluate(FeatureOverhaul(layers: one.pairs)).isFinite)
    let targets = try normal([3, 4])
    let alike = try partialDistanceLoss(studentResponses: targets, teacherTargets: targets)
    #expect(try alike.sum.item() == 0)
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(students: [[2, 3, 4, 4]], teachers: [[2, 3]], mentions: ["teacher0", "[2, 3]"]) {
      try FeatureOverhaul(layers: $0)
    }
    try checkRefusal(students: [[2, 3, 4]], teachers: [[2, 3, 4]], mentions: ["student0", "[2, 3, 4]"]) {
      try FeatureOverhaul(layers: $0)
    }
    #expect(throws: DistillationError.self) { try FeatureOverhaul(layers: []) }
    #expect(try FeatureOverhaul.kind.make(["layers": .layers([LayerPair("a")])]).teacherTaps == [Tap("a")])
    #expect(throws: TorchError.self) { try marginReLU(normal([2, 3]), margin: .zeros([2])) }
  }
}
