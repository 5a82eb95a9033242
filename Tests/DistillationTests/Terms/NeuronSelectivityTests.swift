import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct NeuronSelectivityTests {
  static let kernels: [(String, NeuronSelectivity.Kernel)] = [
    ("linear", .linear), ("polynomial", .polynomial()), ("polynomial-3-1", .polynomial(degree: 3, offset: 1)),
    ("gaussian", .gaussian),
  ]

  let fixture = try! Fixture("layer-terms")

  @Test(arguments: kernels)
  func equalsPyTorch(name: String, kernel: NeuronSelectivity.Kernel) throws {
    try checkLayerTerm(fixture, "selectivity/\(name)") { try NeuronSelectivity(layers: $0, kernel: kernel) }
  }

  @Test(arguments: kernels)
  func holdsAtItsLimits(name: String, kernel: NeuronSelectivity.Kernel) throws {
    try checkZeroWhereAlike(shape: [3, 4, 3, 3]) { try NeuronSelectivity(layers: $0, kernel: kernel) }
    try checkZeroWhereAlike(shape: [3, 1, 3, 3]) { try NeuronSelectivity(layers: $0, kernel: kernel) }
    try checkExtremes(shape: [2, 3, 2, 2]) { try NeuronSelectivity(layers: $0, kernel: kernel) }
    try checkParts(try LayerTermCase(fixture, "selectivity/\(name)")) {
      try NeuronSelectivity(layers: $0, kernel: kernel)
    }
  }

  /// A distribution has no order: the teacher's channels may be shuffled.
  @Test(arguments: kernels)
  func theOrderOfTheChannelsDoesNotMatter(name: String, kernel: NeuronSelectivity.Kernel) throws {
    let maps = try normal([2, 3, 2, 2])
    let shuffled = try maps.gathered(Tensor([Int64(2), 0, 1]), along: 1)
    let loss = try neuronSelectivityLoss(studentMaps: maps, teacherMaps: shuffled, kernel: kernel)
    assertClose(try loss.sum.item(), 0, absolute: 1e-5)
  }

  @Test func recipesNameTheKernel() throws {
    let layers = [LayerPair(student: Tap("student0"), teacher: Tap("teacher0"))]
    let example = try LayerTermCase(fixture, "selectivity/polynomial-3-1")
    let term = try NeuronSelectivity.kind.make(
      ["layers": .layers(layers), "degree": .number(3), "offset": .number(1)])
    assertClose(try example.evaluate(term), try fixture["selectivity/polynomial-3-1/value"].item())
    let gaussian = try LayerTermCase(fixture, "selectivity/gaussian")
    let other = try NeuronSelectivity.kind.make(["layers": .layers(layers), "kernel": .text("gaussian")])
    assertClose(try gaussian.evaluate(other), try fixture["selectivity/gaussian/value"].item())
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(students: [[2, 3]], teachers: [[2, 3]], mentions: ["student0", "[2, 3]"]) {
      try NeuronSelectivity(layers: $0)
    }
    let layers = [LayerPair("a")]
    #expect(throws: DistillationError.self) { try NeuronSelectivity(layers: []) }
    #expect(throws: DistillationError.self) { try NeuronSelectivity(layers: layers, kernel: .polynomial(degree: 0)) }
    #expect(throws: DistillationError.self) { try NeuronSelectivity(layers: layers, kernel: .polynomial(offset: -1)) }
    #expect(throws: TorchError.self) {
      try neuronSelectivityLoss(studentMaps: normal([2, 3, 4, 4]), teacherMaps: normal([2, 3, 2, 2]))
    }
  }
}
