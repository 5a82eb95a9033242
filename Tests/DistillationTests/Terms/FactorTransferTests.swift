import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct FactorTransferTests {
  let fixture = try! Fixture("layer-terms")

  @Test func equalsPyTorch() throws {
    try checkLayerTerm(fixture, "factor/power=1") { try FactorTransfer(layers: $0) }
    try checkLayerTerm(fixture, "factor/power=2") { try FactorTransfer(layers: $0, power: 2, reconstruction: 0.25) }
  }

  /// In the first part of the training there is no factor to learn yet; afterwards the paraphraser's gradient is still that
  /// of its reconstruction alone.
  @Test func theParaphraserLearnsByItsReconstructionOnly() throws {
    var gradients: [[Double]] = []
    for progress in [0.05, 0.1] {
      let example = try LayerTermCase(fixture, "factor/power=1")
      let term = try FactorTransfer(layers: example.pairs)
      try example.evaluate(term, progress: progress)
      let parameters = try #require(term.adapter).namedParameters
      let translator = parameters.filter { $0.name.contains("translator") }
      let learns = progress >= 0.1
      #expect((example.students[0].gradient != nil) == learns)
      #expect(translator.count == 6)
      #expect(translator.allSatisfy { ($0.tensor.gradient != nil) == learns })
      gradients.append(
        try parameters.filter { !$0.name.contains("translator") }.flatMap {
          try #require($0.tensor.gradient).doubles()
        })
    }
    #expect(gradients[0] == gradients[1])
    #expect(gradients[0].contains { $0 != 0 })
  }

  @Test func holdsAtItsLimits() throws {
    for power in [1, 2] {
      let factors = try normal([2, 3, 2, 2])
      let alike = try factorTransferLoss(studentFactors: factors * 5, teacherFactors: factors, power: power)
      assertClose(try alike.sum.item(), 0, absolute: 1e-5)
      for factor in [0, 1e30, 1e-30] {
        let student = try (factors * factor).requireGradient()
        let loss = try factorTransferLoss(studentFactors: student, teacherFactors: factors.zerosLike(), power: power)
        try loss.sum.backward()
        #expect(try loss.sum.item().isFinite)
        #expect(try #require(student.gradient).isFinite().all())
      }
      try checkExtremes(shape: [2, 3, 2, 2]) { try FactorTransfer(layers: $0, power: power) }
    }
    try checkParts(try LayerTermCase(fixture, "factor/power=1")) { try FactorTransfer(layers: $0) }
  }

  @Test(arguments: [(0.01, 1), (0.5, 2), (2.0, 8)])
  func theRateGivesTheChannelsOfAFactor(rate: Double, channels: Int) throws {
    let example = try LayerTermCase(students: [normal([1, 3, 2, 2])], teachers: [normal([1, 4, 2, 2])])
    let term = try FactorTransfer(layers: example.pairs, rate: rate)
    try example.prepare(term)
    let last = try #require(term.adapter?.namedParameters.first { $0.name == "0.translator.4.weight" })
    #expect(last.tensor.shape == [channels, channels, 3, 3])
  }

  @Test func itsLayersAreSeededAndMadeFirst() throws {
    try checkAdapter(shapes: ([2, 3, 4, 4], [2, 5, 4, 4])) { try FactorTransfer(layers: $0) }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(students: [[2, 3, 4, 4]], teachers: [[2, 3]], mentions: ["teacher0", "[2, 3]"]) {
      try FactorTransfer(layers: $0)
    }
    try checkRefusal(students: [[2, 3, 4, 4]], teachers: [[2, 3, 4, 4]], mentions: ["rate"]) {
      try FactorTransfer(layers: $0, rate: 1e9)
    }
    let layers = [LayerPair("a")]
    #expect(throws: DistillationError.self) { try FactorTransfer(layers: []) }
    #expect(throws: DistillationError.self) { try FactorTransfer(layers: layers, power: 3) }
    #expect(throws: DistillationError.self) { try FactorTransfer(layers: layers, rate: 0) }
    #expect(throws: DistillationError.self) { try FactorTransfer(layers: layers, reconstruction: 0) }
    #expect(throws: DistillationError.self) { try FactorTransfer(layers: layers, paraphraserFirst: 1) }
    #expect(try FactorTransfer.kind.make(["layers": .layers(layers)]).studentTaps == [Tap("a")])
    #expect(throws: TorchError.self) {
      try factorTransferLoss(studentFactors: normal([2, 3]), teacherFactors: normal([2, 3]), power: 0)
    }
  }
}
