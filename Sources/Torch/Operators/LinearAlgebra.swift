extension Operator {
  fileprivate static let matmul = Operator("aten::matmul")
  fileprivate static let linear = Operator("distill::linear")
  fileprivate static let linearReLU = Operator("distill::linear_relu")
  fileprivate static let symmetricEigenvectors = Operator("aten::linalg_eigh")
  fileprivate static let attention = Operator("aten::scaled_dot_product_attention")
}

extension Tensor {
  /// The matrix product, over the last two dimensions.
  public func matmul(_ other: Tensor) throws -> Tensor { try Dispatcher.call(.matmul, self, other) }

  /// The eigenvalues of symmetric matrices `[..., C, C]`, in rising order, `[..., C]`, and their eigenvectors of length
  /// one, the columns of `[..., C, C]`.
  public func symmetricEigenvectors() throws -> (values: Tensor, vectors: Tensor) {
    try Dispatcher.callTuple(.symmetricEigenvectors, self).pair("linalg_eigh")
  }
}

/// x Wᵀ + b.
///
/// - Parameters:
///   - input: `[..., in]`
///   - weight: `[out, in]`
///   - bias: `[out]`
/// - Returns: `[..., out]`
public func linear(_ input: Tensor, weight: Tensor, bias: Tensor?) throws -> Tensor {
  try Dispatcher.call(.linear, input, weight, bias)
}

/// max(0, x Wᵀ + b), with one node of the graph.
///
/// - Parameters:
///   - input: `[..., in]`
///   - weight: `[out, in]`
///   - bias: `[out]`
/// - Returns: `[..., out]`
public func linearReLU(_ input: Tensor, weight: Tensor, bias: Tensor?) throws -> Tensor {
  try Dispatcher.call(.linearReLU, input, weight, bias)
}

/// softmax(Q Kᵀ / √d + mask) V.
///
/// - Parameters:
///   - query: `[N, heads, L, d]`
///   - key: `[N, heads, S, d]`
///   - value: `[N, heads, S, d]`
///   - mask: `[N, heads, L, S]` or a shape that broadcasts to it: true (or 0) where attention is allowed, false (or −∞)
///     where it is not
/// - Returns: `[N, heads, L, d]`
public func scaledDotProductAttention(
  query: Tensor, key: Tensor, value: Tensor, mask: Tensor? = nil, isCausal: Bool = false
) throws -> Tensor {
  try Dispatcher.call(.attention, query, key, value, mask, 0.0, isCausal)
}
