import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct AttentionTransferTests {
  let fixture = try! Fixture("layer-terms")

  @Test(arguments: [(2, AttentionTransfer.Distance.squared), (2, .norm), (1, .squared), (3, .norm)])
  func equalsPyTorch(power: Int, distance: AttentionTransfer.Distance) throws {
    try checkLayerTerm(fixture, "attention/power=\(power)/\(distance)") {
      try AttentionTransfer(layers: $0, power: Double(power), distance: distance)
    }
  }

  @Test(arguments: AttentionTransfer.Distance.allCases)
  func holdsAtItsLimits(distance: AttentionTransfer.Distance) throws {
    try checkZeroWhereAlike(shape: [3, 2, 4, 4]) { try AttentionTransfer(layers: $0, distance: distance) }
    for power in [1.0, 1.5, 2, 16] {
      try checkExtremes(shape: [2, 3, 2, 2]) { try AttentionTransfer(layers: $0, power: power, distance: distance) }
    }
    try checkParts(try LayerTermCase(fixture, "attention/power=2/\(distance)")) {
      try AttentionTransfer(layers: $0, distance: distance)
    }
  }

  /// Only where the activity is counts, not how much there is.
  @Test func scaleDoesNotMatter() throws {
    let maps = try normal([2, 3, 4, 4])
    let example = try LayerTermCase(students: [maps * 1e12], teachers: [maps * -3])
    assertClose(try example.evaluate(try AttentionTransfer(layers: example.pairs)), 0, absolute: 1e-6)
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(students: [[2, 3]], teachers: [[2, 3, 4, 4]], mentions: ["student0", "[2, 3]", "[N, C, H, W]"]) {
      try AttentionTransfer(layers: $0)
    }
    #expect(throws: DistillationError.self) { try AttentionTransfer(layers: []) }
    for power in [0.5, .nan, .infinity] {
      #expect(throws: DistillationError.self) { try AttentionTransfer(layers: [LayerPair("a")], power: power) }
    }
    #expect(throws: TorchError.self) {
      try attentionTransferLoss(studentMaps: normal([2, 3, 4, 4]), teacherMaps: normal([2, 3, 2, 2]))
    }
    #expect(try AttentionTransfer.kind.make(["layers": .layers([LayerPair("a")])]).adapter == nil)
  }
}
