import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct ChannelCorrelationTests {
  let fixture = try! Fixture("relation-terms")

  @Test func equalsPyTorch() throws {
    try checkLayerTerm(fixture, "channels") { try ChannelCorrelation(layers: $0) }
    try checkLayerTerm(fixture, "channels/printed") { try ChannelCorrelation(layers: $0, normalized: false) }
    try checkLayerTerm(fixture, "channels/grid") { try ChannelCorrelation(layers: $0, grid: 2) }
  }

  @Test(arguments: [true, false])
  func isZeroWhereMapsAreAlike(normalized: Bool) throws {
    let maps = try normal([2, 3, 4, 4]).requireGradient()
    let loss = try channelCorrelationLoss(
      studentMap: maps, teacherMap: maps.detached(), normalized: normalized, grid: 2)
    try loss.sum.backward()
    assertClose(try loss.sum.item(), 0, absolute: 1e-9)
    try assertClose(#require(maps.gradient), Tensor.zeros([2, 3, 4, 4]), absolute: 1e-5)
  }

  @Test func placesDoNotCount() throws {
    let maps = try normal([2, 3, 4, 4])
    let turned = try maps.transposed(2, 3)
    assertClose(try channelCorrelationLoss(studentMap: turned, teacherMap: maps).sum.item(), 0, absolute: 1e-9)
    #expect(try channelCorrelationLoss(studentMap: turned, teacherMap: maps, grid: 2).sum.item() > 0.01)
  }

  @Test func holdsAtTheLimits() throws {
    try checkExtremes(shape: [2, 3, 4, 4]) { try ChannelCorrelation(layers: $0) }
    try checkAdapter(shapes: ([2, 3, 4, 4], [2, 5, 2, 2])) { try ChannelCorrelation(layers: $0) }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try checkRefusal(students: [[2, 3]], teachers: [[2, 3]], mentions: ["student0", "[N, C, H, W]"]) {
      try ChannelCorrelation(layers: $0)
    }
    try checkRefusal(students: [[2, 3, 6, 6]], teachers: [[2, 3, 5, 5]], mentions: ["grid of 2", "[2, 3, 5, 5]"]) {
      try ChannelCorrelation(layers: $0, grid: 2)
    }
    #expect(throws: DistillationError.self) { try ChannelCorrelation(layers: []) }
    #expect(throws: DistillationError.self) { try ChannelCorrelation(layers: [LayerPair("a")], grid: 0) }
    #expect(throws: TorchError.self) {
      try channelCorrelationLoss(studentMap: normal([2, 3, 4, 4]), teacherMap: normal([2, 3, 4, 4]), grid: 3)
    }
    #expect(throws: TorchError.self) {
      try channelCorrelationLoss(studentMap: normal([2, 3, 4, 4]), teacherMap: normal([2, 1, 4, 4]))
    }
  }

  @Test func recipesMakeIt() throws {
    let pairs = TermValue.layers([LayerPair("a")])
    #expect(try ChannelCorrelation.kind.make(["layers": pairs, "normalized": .flag(false)]).studentTaps == [Tap("a")])
    #expect(throws: DistillationError.self) { try ChannelCorrelation.kind.make(["layers": pairs, "grid": .number(0)]) }
  }
}
