import Torch

/// x / √(mean of x² + ε) · weight, for each token by itself.
///
/// `[..., features]` → the same shape. Computed in float32 where x is of a smaller type. Weight starts at 1.
///
/// ## Reference
/// Zhang, Sennrich: Root mean square layer normalization. NeurIPS 2019.
public final class RMSNorm: Layer {
  /// `[features]`
  @Parameter public var weight: Tensor
  public let epsilon: Double

  public init(_ features: Int, epsilon: Double = 1e-6) throws {
    weight = try .ones([features])
    self.epsilon = epsilon
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    let precise = input.dtype == .float64 ? input : try input.to(.float32)
    let scale = try (precise.squared().mean(along: -1, keepDimensions: true) + epsilon).squareRoot()
    return try weight * (precise / scale).to(input.dtype)
  }
}
