import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct FlowOfSolutionTests {
  let fixture = try! Fixture("layer-terms")

  @Test func equalsPyTorch() throws {
    try checkLayerTerm(fixture, "flow/consecutive") { try FlowOfSolution(layers: $0) }
    try checkLayerTerm(fixture, "flow/in-twos") { try FlowOfSolution(layers: $0, pairing: .inTwos, reduction: .sum) }
  }

  @Test func holdsAtItsLimits() throws {
    let one = try normal([1, 1, 1, 1])
    let features = try [[normal([3, 2, 4, 4]), normal([3, 5, 2, 2], seed: 2)], [one, one]]
    for features in features {
      let example = try LayerTermCase(students: features, teachers: features)
      assertClose(try example.evaluate(try FlowOfSolution(layers: example.pairs)), 0, absolute: 1e-6)
      try assertClose(example.gradient(1), features[1].zerosLike(), absolute: 1e-6)
    }
    let zeros = try LayerTermCase(
      students: [.zeros([2, 3, 4, 4]), .zeros([2, 3, 4, 4])], teachers: [normal([2, 3, 4, 4]), normal([2, 3, 2, 2])])
    #expect(try zeros.evaluate(FlowOfSolution(layers: zeros.pairs)).isFinite)
    #expect(try zeros.gradient().isFinite().all())
    try checkParts(try LayerTermCase(fixture, "flow/consecutive")) { try FlowOfSolution(layers: $0) }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(
      students: [[2, 3, 4, 4], [2, 3, 4, 4]], teachers: [[2, 3, 4, 4], [2, 6, 4, 4]],
      mentions: ["student1", "[2, 6, 4, 4]", "channels"]
    ) { try FlowOfSolution(layers: $0) }
    try checkRefusal(students: [[2, 3], [2, 3]], teachers: [[2, 3], [2, 3]], mentions: ["student0", "[2, 3]"]) {
      try FlowOfSolution(layers: $0)
    }
    let layers = ["a", "b", "c"].map { LayerPair($0) }
    #expect(throws: DistillationError.self) { try FlowOfSolution(layers: [layers[0]]) }
    #expect(throws: DistillationError.self) { try FlowOfSolution(layers: layers, pairing: .inTwos) }
    #expect(throws: DistillationError.self) {
      try FlowOfSolution.kind.make(["layers": .layers(layers), "pairing": .text("in_twos")])
    }
    #expect(try FlowOfSolution.kind.make(["layers": .layers(layers)]).teacherTaps.count == 3)
    #expect(throws: TorchError.self) {
      let maps = try (normal([2, 3, 4, 4]), normal([2, 2, 4, 4]))
      return try flowLoss(studentMaps: maps, teacherMaps: (maps.1, maps.0))
    }
  }
}
