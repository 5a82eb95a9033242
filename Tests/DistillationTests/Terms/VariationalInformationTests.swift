import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct VariationalInformationTests {
  let fixture = try! Fixture("layer-terms")

  @Test func equalsPyTorch() throws {
    try checkLayerTerm(fixture, "variational/maps") { try VariationalInformation(layers: $0) }
    try checkLayerTerm(fixture, "variational/sequences") { try VariationalInformation(layers: $0, reduction: .sum) }
    try checkLayerTerm(fixture, "variational/vectors") { try VariationalInformation(layers: $0) }
  }

  /// With an activation of zero the mean network gives zero, and log σ² is left.
  @Test(arguments: [5.0, 1e-3, 200])
  func theVarianceStartsWhereItIsWanted(variance: Double) throws {
    let example = try LayerTermCase(students: [.zeros([1, 3])], teachers: [.zeros([1, 4])])
    let value = try example.evaluate(try VariationalInformation(layers: example.pairs, variance: variance))
    assertClose(value, log(variance) / 2, relative: 1e-3)
  }

  /// The variance that fits best is the mean squared error: there its gradient is zero.
  @Test func theBestVarianceIsTheMeanSquaredError() throws {
    let mean = try normal([4, 3])
    let teacher = try normal([4, 3], seed: 2)
    let variance = try (mean - teacher).squared().mean(along: 0).requireGradient()
    try variationalInformationLoss(mean: mean, variance: variance, teacherFeatures: teacher).sum.backward()
    try assertClose(#require(variance.gradient), variance.detached().zerosLike(), absolute: 1e-5)
  }

  @Test func holdsAtItsLimits() throws {
    try checkExtremes(shape: [2, 3, 2, 2]) { try VariationalInformation(layers: $0) }
    try checkAdapter(shapes: ([2, 3, 4, 4], [2, 5, 4, 4])) { try VariationalInformation(layers: $0) }
    try checkParts(try LayerTermCase(fixture, "variational/maps")) { try VariationalInformation(layers: $0) }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(students: [[2, 3, 4, 4]], teachers: [[2, 3]], mentions: ["teacher0", "[2, 3]"]) {
      try VariationalInformation(layers: $0)
    }
    let layers = [LayerPair("a")]
    #expect(throws: DistillationError.self) { try VariationalInformation(layers: []) }
    #expect(throws: DistillationError.self) { try VariationalInformation(layers: layers, variance: 1e-6) }
    #expect(throws: DistillationError.self) { try VariationalInformation(layers: layers, floor: 0) }
    #expect(try VariationalInformation.kind.make(["layers": .layers(layers)]).studentTaps == [Tap("a")])
    #expect(throws: TorchError.self) {
      let features = try normal([2, 3])
      return try variationalInformationLoss(mean: features, variance: .ones([2]), teacherFeatures: features)
    }
  }
}
