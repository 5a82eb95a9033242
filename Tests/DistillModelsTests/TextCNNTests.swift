import DistillModels
import TestSupport
import Testing
import Torch
import TorchNN

@Suite struct TextCNNTests {
  /// A model with the reference's weights (scripts/fixtures/text_cnn.py), which knows no padding but looks at texts alone.
  private static func model() throws -> (model: any FeatureClassifier, fixture: Fixture) {
    let fixture = try Fixture("text-cnn")
    let model = try ModelZoo.make(
      ModelSpecification(
        "text-cnn", ["vocabulary": 11, "width": 4, "kernels": [1, 2, 3, 4], "filters": 3, "padding": 2],
        inputShape: [7], classCount: 5))
    try model.load(Checkpoint(tensors: fixture.tensors(under: "state")))
    return (model, fixture)
  }

  @Test func valuesAndGradientsEqualPyTorchs() throws {
    let (model, fixture) = try Self.model()
    let tokens = try fixture["tokens"]
    let trace = try model.trace(tokens.to(.float32), taps: [.lastFeatures])
    try assertClose(trace.activation(at: .lastFeatures), fixture["features"], relative: 1e-5, absolute: 1e-6)
    try assertClose(trace.output, fixture["logits"], relative: 1e-5, absolute: 1e-6)
    try (trace.output * fixture["weight-of-output"]).sum().backward()
    for parameter in model.namedParameters {
      try assertClose(
        #require(parameter.tensor.gradient), fixture["gradient/\(parameter.name)"], relative: 1e-4, absolute: 1e-5,
        parameter.name)
    }
  }

  @Test("However much padding there is, and whatever its embedding holds, a text gives the same")
  func paddingChangesNothing() throws {
    let (model, _) = try Self.model()
    let words = try #require(model.state.first { $0.name == "embedding.weight" }).tensor
    try withoutGradient { try words.selected(0, 2).fill(5) }
    let short = try model(Tensor([Float(3), 4, 5], shape: [1, 3]))
    for length in [4, 9, 30] {
      let row = [Float(3), 4, 5] + Array(repeating: 2, count: length - 3)
      try assertClose(model(Tensor(row, shape: [1, length])), short, relative: 1e-6, absolute: 1e-6)
    }
    #expect(try (model(Tensor([Float(3), 4, 5, 6], shape: [1, 4])) - short).absolute().maximum().item() > 1e-3)
  }

  @Test func whatDoesNotFitIsRefused() throws {
    func problem(_ options: [String: OptionValue], _ shape: [Int] = [6]) -> String {
      do {
        _ = try ModelZoo.make(ModelSpecification("text-cnn", options, inputShape: shape, classCount: 3))
        return ""
      } catch { return "\(error)" }
    }
    #expect(problem(["vocabulary": 4, "padding": 4]).contains("padding is token 4, but text-cnn has 4 tokens"))
    #expect(problem(["kernels": [0]]).contains("kernels"))
    #expect(problem([:], [3, 8, 8]).contains("takes sequences of tokens"))
    let model = try Self.model().model
    #expect(throws: (any Error).self) { try model(Tensor.zeros([2, 3, 4])) }
  }

  @Test func oneKindOfWindowIsANumber() throws {
    let model = try ModelZoo.make(
      ModelSpecification("text-cnn", ["vocabulary": 9, "kernels": 3, "filters": 2], inputShape: [5], classCount: 3))
    #expect(try model(Tensor.ones([2, 5])).shape == [2, 3])
    #expect(model.parameterCount == 9 * 64 + (2 * 64 * 3 + 2) + (2 * 3 + 3))
  }
}
