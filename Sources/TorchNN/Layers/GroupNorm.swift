import Torch

/// (x − mean) / √(variance + ε) · weight + bias, for each example and each group of channels by itself.
///
/// `[N, channels, ...]` → the same shape. Weight starts at 1, bias at 0.
///
/// ## Reference
/// Wu, He: Group Normalization. ECCV 2018.
public final class GroupNorm: Layer {
  /// `[channels]`
  @Parameter public var weight: Tensor
  /// `[channels]`
  @Parameter public var bias: Tensor

  public let groups: Int
  public let epsilon: Double

  public init(_ channels: Int, groups: Int, epsilon: Double = 1e-5) throws {
    guard groups > 0, channels % groups == 0 else {
      throw TorchError(operation: "GroupNorm", message: "\(groups) groups do not divide \(channels) channels")
    }
    self.groups = groups
    self.epsilon = epsilon
    weight = try .ones([channels])
    bias = try .zeros([channels])
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    try groupNorm(input, groups: groups, weight: weight, bias: bias, epsilon: epsilon)
  }
}
