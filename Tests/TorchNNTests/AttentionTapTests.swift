import TestSupport
import Testing
import Torch
import TorchNN

/// What taps find inside attention, against the formulas (scripts/fixtures/sequence_terms.py), and that asking changes
/// nothing.
@Suite struct AttentionTapTests {
  let fixture = try! Fixture("sequence-terms")

  func makeAttention() throws -> MultiHeadAttention {
    let attention = try MultiHeadAttention(4, heads: 2)
    try withoutGradient {
      try attention.inputWeight.copy(from: fixture["taps/weight"])
      try #require(attention.inputBias).copy(from: fixture["taps/bias"])
    }
    return attention
  }

  /// A model that masks, around attention.
  final class Masked: Layer {
    let attention: MultiHeadAttention
    var mask: Tensor?
    var isCausal = false

    init(_ attention: MultiHeadAttention) { self.attention = attention }

    func forward(_ input: Tensor) throws -> Tensor {
      try attention(query: input, key: input, value: input, mask: mask, isCausal: isCausal)
    }
  }

  @Test(arguments: ["queries", "keys", "values", "scores", "probabilities"])
  func tapsFindWhatTheFormulaSays(name: String) throws {
    let trace = try makeAttention().trace(fixture["taps/input"].to(.float32), taps: [Tap(name), Tap(name, .input)])
    try assertClose(trace.activation(at: Tap(name)), fixture["taps/\(name)"], relative: 1e-4, absolute: 1e-5)
    try assertClose(trace.activation(at: Tap(name, .input)), fixture["taps/\(name)"], relative: 1e-4, absolute: 1e-5)
  }

  @Test func causalProbabilitiesSeeNothingLater() throws {
    let model = Masked(try makeAttention())
    model.isCausal = true
    let tap = Tap("attention.probabilities")
    let trace = try model.trace(fixture["taps/input"].to(.float32), taps: [tap])
    try assertClose(trace.activation(at: tap), fixture["taps/causal-probabilities"], relative: 1e-4, absolute: 1e-6)
    model.mask = try Tensor.ones([4, 4], dtype: .bool)
    #expect(throws: TorchError.self) { try model.trace(fixture["taps/input"].to(.float32), taps: [tap]) }
  }

  /// Tapped or not, under any kind of mask, output and gradients are the same.
  @Test(arguments: ["none", "causal", "bool", "additive", "nothing allowed"])
  func tapsChangeNothing(mask: String) throws {
    let model = Masked(try makeAttention())
    let allowed: [Bool] = [true, true, false, true]
    switch mask {
    case "causal": model.isCausal = true
    case "bool": model.mask = try Tensor(allowed, shape: [1, 1, 1, 4])
    case "additive":
      model.mask = try Tensor(allowed.map { $0 ? Float(0.5) : -Float.infinity }, shape: [1, 1, 1, 4])
    case "nothing allowed": model.mask = try Tensor([Bool](repeating: false, count: 4), shape: [1, 1, 1, 4])
    default: break
    }
    func run(_ taps: [Tap]) throws -> (output: Tensor, gradient: Tensor) {
      let input = try fixture["taps/input"].to(.float32).copied().requireGradient()
      let trace = try model.trace(input, taps: taps)
      try trace.output.squared().sum().backward()
      return (trace.output, try #require(input.gradient))
    }
    let plain = try run([])
    for name in ["scores", "probabilities"] {
      let tapped = try run([Tap("attention.\(name)")])
      try assertClose(tapped.output, plain.output, relative: 1e-4, absolute: 1e-5)
      try assertClose(tapped.gradient, plain.gradient, relative: 1e-3, absolute: 1e-4)
    }
  }

  @Test func tapPointsAreNoStateAndNoRow() throws {
    let attention = try makeAttention()
    #expect(
      attention.state.map(\.name) == ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"])
    #expect(!attention.scores.isTapped)
    let error = #expect(throws: TapError.self) { try attention.trace(fixture["taps/input"], taps: [Tap("querys")]) }
    #expect(try #require(error).suggestions.contains("queries"))
  }

  @Test func gradientsGoThroughTaps() throws {
    let input = try fixture["taps/input"].to(.float32).copied().requireGradient()
    let trace = try makeAttention().trace(input, taps: [Tap("probabilities"), Tap("values")])
    try trace.activation(at: Tap("probabilities")).squared().sum().backward(retainGraph: true)
    let first = try #require(input.gradient).copied()
    #expect(try first.norm().item() > 0)
    try trace.activation(at: Tap("values")).squared().sum().backward()
    #expect(try (#require(input.gradient) - first).norm().item() > 0)
  }
}
