import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct SimpleRecipeTests {
  let fixture = try! Fixture("relation-terms")

  @Test func equalsPyTorch() throws {
    try checkLayerTerm(fixture, "recipe") { try SimpleRecipe(layers: $0) }
    try checkLayerTerm(fixture, "recipe/maps") { try SimpleRecipe(layers: $0, exponent: 2.5) }
  }

  @Test func equalFeaturesHaveAFiniteValueAndNoGradient() throws {
    let features = try normal([3, 4]).requireGradient()
    let loss = try logSumDistance(studentFeatures: features, teacherFeatures: features.detached())
    try loss.sum.backward()
    #expect(try loss.sum.item().isFinite)
    #expect(try loss.sum.item() < -100)
    try assertClose(#require(features.gradient), Tensor.zeros([3, 4]), absolute: 0)
  }

  @Test(arguments: [1, 4, 64.0])
  func holdsAtTheLimits(exponent: Double) throws {
    try checkExtremes(shape: [3, 4]) { try SimpleRecipe(layers: $0, exponent: exponent) }
    try checkExtremes(shape: [3, 4, 2, 2]) { try SimpleRecipe(layers: $0, exponent: exponent) }
  }

  @Test func oneExampleDoesNotCount() throws {
    let term = try SimpleRecipe(layers: [LayerPair("a")])
    #expect(try term.count(.fake(count: 1)) == 0)
    #expect(try term.count(.fake(count: 2)) == 2)
    try checkAdapter(shapes: ([2, 3], [2, 5])) { try SimpleRecipe(layers: $0) }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(students: [[2, 3, 4]], teachers: [[2, 3, 4]], mentions: ["student0", "[2, 3, 4]"]) {
      try SimpleRecipe(layers: $0)
    }
    #expect(throws: DistillationError.self) { try SimpleRecipe(layers: []) }
    #expect(throws: DistillationError.self) { try SimpleRecipe(layers: [LayerPair("a")], exponent: 0.5) }
    #expect(throws: TorchError.self) {
      try logSumDistance(studentFeatures: normal([3, 2]), teacherFeatures: normal([3, 1]))
    }
    #expect(throws: TorchError.self) {
      try logSumDistance(studentFeatures: normal([1, 2]), teacherFeatures: normal([1, 2]))
    }
  }

  @Test func recipesMakeIt() throws {
    let pairs = TermValue.layers([LayerPair("a")])
    #expect(try SimpleRecipe.kind.make(["layers": pairs, "exponent": .number(5)]).studentTaps == [Tap("a")])
    #expect(throws: DistillationError.self) { try SimpleRecipe.kind.make(["layers": pairs, "exponent": .number(0.9)]) }
  }
}
