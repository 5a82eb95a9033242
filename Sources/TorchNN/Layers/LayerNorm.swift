import Torch

/// (x − mean) / √(variance + ε) · weight + bias, for each example by itself, over its last dimensions.
///
/// `[..., shape]` → the same shape. Weight starts at 1, bias at 0.
///
/// ## Reference
/// Ba, Kiros, Hinton: Layer Normalization. 2016.
public final class LayerNorm: Layer {
  /// Of the shape that is normalized over.
  @Parameter public var weight: Tensor
  /// Of the shape that is normalized over.
  @Parameter public var bias: Tensor?

  public let shape: [Int]
  public let epsilon: Double

  public init(_ shape: [Int], epsilon: Double = 1e-5, bias: Bool = true) throws {
    self.shape = shape
    self.epsilon = epsilon
    weight = try .ones(shape)
    self.bias = bias ? try .zeros(shape) : nil
  }

  public convenience init(_ features: Int, epsilon: Double = 1e-5, bias: Bool = true) throws {
    try self.init([features], epsilon: epsilon, bias: bias)
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    try layerNorm(input, shape: shape, weight: weight, bias: bias, epsilon: epsilon)
  }
}
