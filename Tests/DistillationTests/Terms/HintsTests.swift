import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct HintsTests {
  let fixture = try! Fixture("layer-terms")

  @Test func equalPyTorch() throws {
    try checkLayerTerm(fixture, "hints/auto") { try Hints(layers: $0) }
    try checkLayerTerm(fixture, "hints/none") { try Hints(layers: $0, regressor: .none, reduction: .sum) }
    try checkLayerTerm(fixture, "hints/always") { try Hints(layers: $0, regressor: .always) }
  }

  @Test func areZeroWhereStudentAndTeacherAreAlike() throws {
    try checkZeroWhereAlike(shape: [3, 2, 4, 4]) { try Hints(layers: $0) }
    try checkZeroWhereAlike(shape: [3, 5]) { try Hints(layers: $0, reduction: .sum) }
    try checkExtremes(shape: [2, 3, 2, 2]) { try Hints(layers: $0) }
  }

  @Test func partsOfABatchAddUp() throws {
    try checkParts(try LayerTermCase(fixture, "hints/auto")) { try Hints(layers: $0) }
  }

  @Test func theRegressorIsSeededAndMadeFirst() throws {
    try checkAdapter(shapes: ([2, 3, 4, 4], [2, 5, 4, 4])) { try Hints(layers: $0) }
    try checkAdapter(shapes: ([2, 3], [2, 3])) { try Hints(layers: $0, regressor: .always) }
  }

  @Test func thereIsARegressorWhereItIsNeeded() throws {
    let example = try LayerTermCase(
      students: [normal([2, 3]), normal([2, 4])], teachers: [normal([2, 3]), normal([2, 5])])
    let auto = try Hints(layers: example.pairs)
    try example.prepare(auto)
    #expect(auto.adapter?.namedParameters.map(\.name) == ["1.0.weight", "1.0.bias"])
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(
      students: [[2, 3, 4, 4]], teachers: [[2, 5, 4, 4]], mentions: ["student0", "[2, 5, 4, 4]", "regressor: auto"]
    ) { try Hints(layers: $0, regressor: .none) }
    try checkRefusal(students: [[2, 3, 4, 4]], teachers: [[2, 5]], mentions: ["teacher0", "[2, 5]"]) {
      try Hints(layers: $0)
    }
    try checkRefusal(students: [[2, 3, 4]], teachers: [[2, 7, 4]], mentions: ["[2, 3, 4]"]) { try Hints(layers: $0) }
    try checkRefusal(students: [[2, 3, 4, 4, 4]], teachers: [[2, 5]], mentions: ["student0", "[N, C, H, W]"]) {
      try Hints(layers: $0)
    }
    #expect(throws: DistillationError.self) { try Hints(layers: []) }
    #expect(throws: TorchError.self) {
      try hintLoss(studentFeatures: normal([2, 3]), teacherFeatures: normal([2, 1]))
    }
  }

  @Test func recipesMakeThem() throws {
    let pairs = [LayerPair("a")]
    #expect(try Hints.kind.make(["layers": .layers(pairs)]).studentTaps == [Tap("a")])
    #expect(throws: DistillationError.self) { try Hints.kind.make() }
    #expect(throws: DistillationError.self) {
      try Hints.kind.make(["layers": .layers(pairs), "regressor": .text("sometimes")])
    }
  }
}
