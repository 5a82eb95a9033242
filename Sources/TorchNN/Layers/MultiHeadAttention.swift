import Torch

/// Attention with several heads: for each head softmax(Q Kᵀ / √d) V, where Q, K and V are its linear maps of query, key
/// and value and d = features / heads; then a linear map of all heads' results together.
///
/// As a layer it attends to its own input: `[N, L, features]` → `[N, L, features]`. Initialized as in PyTorch: the input
/// maps uniform in ±√(6 / (4 · features)), the output map as in `Linear`, biases 0.
///
/// ## Reference
/// Vaswani et al.: Attention Is All You Need. NeurIPS 2017.
public final class MultiHeadAttention: Layer {
  public static let keys = [
    "inputWeight": "in_proj_weight", "inputBias": "in_proj_bias", "outputProjection": "out_proj",
  ]

  /// The maps of query, key and value, one below the other: `[3 · features, features]`.
  @Parameter public var inputWeight: Tensor
  /// `[3 · features]`
  @Parameter public var inputBias: Tensor?
  public let outputProjection: Linear

  public let heads: Int

  public init(_ features: Int, heads: Int, bias: Bool = true) throws {
    guard heads > 0, features > 0, features % heads == 0 else {
      throw TorchError(operation: "MultiHeadAttention", message: "\(heads) heads do not divide \(features) features")
    }
    self.heads = heads
    let bound = (6 / Double(4 * features)).squareRoot()
    inputWeight = try Tensor.empty([3 * features, features]).drawUniform(from: -bound, to: bound)
    inputBias = bias ? try .zeros([3 * features]) : nil
    outputProjection = try Linear(features, features, bias: bias)
    if let bias = outputProjection.bias { try withoutGradient { try bias.fill(0) } }
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    try attend(query: input, key: input, value: input, mask: nil, isCausal: false)
  }

  /// Attends from each row of `query` to the rows of `key` and `value`.
  ///
  /// - Parameters:
  ///   - query: `[N, L, features]`
  ///   - key: `[N, S, features]`
  ///   - value: `[N, S, features]`
  ///   - mask: `[N, heads, L, S]` or a shape that broadcasts to it: true (or 0) where attention is allowed, false (or −∞)
  ///     where it is not. (PyTorch's module of this name takes true for what is not allowed.)
  ///   - isCausal: lets each row attend only to those up to itself; without `mask`
  /// - Returns: `[N, L, features]`
  public func callAsFunction(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor? = nil, isCausal: Bool = false
  ) throws -> Tensor {
    try called(with: query) { try attend(query: query, key: key, value: value, mask: mask, isCausal: isCausal) }
  }

  private func attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor?, isCausal: Bool) throws -> Tensor {
    let features = inputWeight.size(1)
    let given = [query, key, value]
    guard given.allSatisfy({ $0.rank == 3 }) else {
      throw TorchError(
        operation: "attention", shapes: given.map(\.shape), dtypes: given.map(\.dtype),
        message: "query, key and value must be [N, L, \(features)]")
    }
    let inputs: [Tensor]
    if query === key && key === value {
      inputs = try linear(query, weight: inputWeight, bias: inputBias).split(features, along: -1)
    } else {
      let weights = try inputWeight.split(features)
      let biases = try inputBias?.split(features)
      inputs = try zip(given, weights.indices).map { tensor, index in
        try linear(tensor, weight: weights[index], bias: biases?[index])
      }
    }
    // [N, L, heads · d] → [N, heads, L, d]
    let parts = try inputs.map { try $0.reshaped([$0.size(0), $0.size(1), heads, features / heads]).transposed(1, 2) }
    let attended = try scaledDotProductAttention(
      query: parts[0], key: parts[1], value: parts[2], mask: mask, isCausal: isCausal)
    let joined = try attended.transposed(1, 2).flattened(from: 2)
    return try linear(joined, weight: outputProjection.weight, bias: outputProjection.bias)
  }
}

extension MultiHeadAttention: MultiplyAddCounting {
  /// Of attention to its own input.
  public func multiplyAdds(input: [Int], output: [Int]) -> Int {
    let features = inputWeight.size(1)
    let rows = output.reduce(1, *) / features
    return rows * features * (4 * features + 2 * output[1])
  }
}
