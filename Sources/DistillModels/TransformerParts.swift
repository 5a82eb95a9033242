import Torch
import TorchNN

// What the transformers of the zoo have in common.

/// The function between the two maps of a transformer's layer.
struct TransformerActivation {
  static let words = ["gelu", "gelu-tanh", "relu", "silu"]

  private let name: String

  init(_ name: String) { self.name = name }

  func callAsFunction(_ input: Tensor) throws -> Tensor {
    switch name {
    case "gelu-tanh": try input.gelu(approximate: true)
    case "relu": try input.relu()
    case "silu": try input.silu()
    default: try input.gelu()
    }
  }
}

/// Attention of a text to itself, with a map each for queries, keys and values, and none for what comes out.
///
/// Taps find `queries`, `keys` and `values` (`[N, L, width]`, the heads side by side), `scores` and `probabilities` (`[N,
/// heads, L, L]`) under it.
public final class SeparateAttention: Layer {
  public let query: Linear
  public let key: Linear
  public let value: Linear
  public let queries = TapPoint()
  public let keys = TapPoint()
  public let values = TapPoint()
  /// Q Kᵀ / √d, before the mask
  public let scores = TapPoint()
  /// Their softmax under the mask
  public let probabilities = TapPoint()
  public let heads: Int

  init(_ builder: ModelBuilder, _ width: Int, heads: Int) throws {
    query = try builder.initialized(width, width)
    key = try builder.initialized(width, width)
    value = try builder.initialized(width, width)
    self.heads = heads
  }

  public func forward(_ input: Tensor) throws -> Tensor { try attend(input, mask: nil) }

  /// - Parameter mask: a shape that broadcasts to `[N, heads, L, L]`: true where attention is allowed
  func callAsFunction(_ input: Tensor, mask: Tensor?) throws -> Tensor {
    try called(with: input) { try attend(input, mask: mask) }
  }

  private func attend(_ input: Tensor, mask: Tensor?) throws -> Tensor {
    let mapped = try [query, key, value].map { try linear(input, weight: $0.weight, bias: $0.bias) }
    for (point, tensor) in zip([queries, keys, values], mapped) { try point.record(tensor) }
    let parts = try mapped.map {
      try $0.reshaped([$0.size(0), $0.size(1), heads, $0.size(2) / heads]).transposed(1, 2)
    }
    let attended = try attention(
      query: parts[0], key: parts[1], value: parts[2], mask: mask, scores: scores, probabilities: probabilities)
    return try attended.transposed(1, 2).flattened(from: 2)
  }
}

extension SeparateAttention: MultiplyAddCounting {
  public func multiplyAdds(input: [Int], output: [Int]) throws -> Int {
    guard output.count == 3 else {
      throw TorchError(operation: "attention", message: "the output must be [N, L, width], not \(output)")
    }
    return output[0] * output[1] * output[2] * (3 * output[2] + 2 * output[1])
  }
}

/// Attention of a text or image to itself, with one map for queries, keys and values side by side, and one for what comes
/// out. Keys as in timm.
///
/// Taps find the same under it as under `SeparateAttention`.
public final class JoinedAttention: Layer {
  public let qkv: Linear
  public let proj: Linear
  public let queries = TapPoint()
  public let keys = TapPoint()
  public let values = TapPoint()
  /// Q Kᵀ / √d
  public let scores = TapPoint()
  /// Their softmax
  public let probabilities = TapPoint()
  public let heads: Int

  init(_ builder: ModelBuilder, _ width: Int, heads: Int) throws {
    qkv = try builder.initialized(width, 3 * width)
    proj = try builder.initialized(width, width)
    self.heads = heads
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    let joined = try linear(input, weight: qkv.weight, bias: qkv.bias)
    let width = try joined.size(-1) / 3
    let mapped = try joined.split(width, along: -1)
    for (point, tensor) in zip([queries, keys, values], mapped) { try point.record(tensor) }
    let parts = try mapped.map { try $0.reshaped([$0.size(0), $0.size(1), heads, width / heads]).transposed(1, 2) }
    let attended = try attention(
      query: parts[0], key: parts[1], value: parts[2], scores: scores, probabilities: probabilities)
    return try linear(attended.transposed(1, 2).flattened(from: 2), weight: proj.weight, bias: proj.bias)
  }
}

extension JoinedAttention: MultiplyAddCounting {
  public func multiplyAdds(input: [Int], output: [Int]) throws -> Int {
    guard output.count == 3 else {
      throw TorchError(operation: "attention", message: "the output must be [N, L, width], not \(output)")
    }
    return output[0] * output[1] * output[2] * (4 * output[2] + 2 * output[1])
  }
}

extension ModelBuilder {
  func layerNorm(_ features: Int, epsilon: Double) throws -> LayerNorm {
    try count([2, features])
    return try LayerNorm(features, epsilon: epsilon)
  }

  /// Drawn from the normal distribution; the row of `padding` is zero.
  func embedding(
    _ count: Int, _ features: Int, standardDeviation: Double, padding: Int? = nil
  ) throws -> Embedding {
    try self.count([count, features])
    let layer = try Embedding(count, features, paddingIndex: padding)
    try layer.weight.drawNormal(standardDeviation: standardDeviation)
    if let padding { try withoutGradient { try layer.weight.selected(0, padding).fill(0) } }
    return layer
  }

  /// A linear layer as transformers begin: drawn from the normal distribution, biases 0.
  func initialized(_ input: Int, _ output: Int, bias: Bool = true, standardDeviation: Double = 0.02) throws -> Linear {
    try count([input, output])
    let layer = try Linear(input, output, bias: bias)
    try layer.weight.drawNormal(standardDeviation: standardDeviation)
    if let bias = layer.bias { try withoutGradient { try bias.fill(0) } }
    return layer
  }
}
