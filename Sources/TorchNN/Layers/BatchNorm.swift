import Torch

/// (x − mean) / √(variance + ε) · weight + bias, for each channel.
///
/// `[N, features, ...]` of any rank → the same shape. While it is trained, mean and variance are those of the batch, and
/// the running ones move towards them by `momentum`; in evaluation the running ones are used. Weight starts at 1, bias
/// at 0.
///
/// ## Reference
/// Ioffe, Szegedy: Batch Normalization. ICML 2015.
public final class BatchNorm: Layer, ModeDependent {
  public static let keys = ["runningVariance": "running_var", "batchCount": "num_batches_tracked"]

  /// `[features]`
  @Parameter public var weight: Tensor
  /// `[features]`
  @Parameter public var bias: Tensor
  /// `[features]`
  @Buffer public var runningMean: Tensor
  /// `[features]`
  @Buffer public var runningVariance: Tensor
  /// How many batches the running mean and variance have seen.
  @Buffer public var batchCount: Tensor

  public let epsilon: Double
  public let momentum: Double
  public var isTraining = true

  public init(_ features: Int, epsilon: Double = 1e-5, momentum: Double = 0.1) throws {
    self.epsilon = epsilon
    self.momentum = momentum
    weight = try .ones([features])
    bias = try .zeros([features])
    runningMean = try .zeros([features])
    runningVariance = try .ones([features])
    batchCount = try .zeros([], dtype: .int64)
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    try countBatch(input)
    return try batchNorm(
      input, weight: weight, bias: bias, runningMean: runningMean, runningVariance: runningVariance,
      isTraining: isTraining, momentum: momentum, epsilon: epsilon)
  }

  /// max(0, y + residual) with y of this layer: what it, an addition and `relu()` after it give. While it is trained, it
  /// is one operator, unless somebody wants to see what comes in between.
  ///
  /// - Parameter residual: of the shape of `input`
  public func followedByReLU(_ input: Tensor, adding residual: Tensor? = nil) throws -> Tensor {
    guard isTraining, !(Recorder.current?.watches(self) ?? false) else {
      let output = try self(input)
      return try (residual.map { try output + $0 } ?? output).relu()
    }
    return try called(with: input) {
      try countBatch(input)
      return try batchNormReLU(
        input, adding: residual, weight: weight, bias: bias, runningMean: runningMean,
        runningVariance: runningVariance, momentum: momentum, epsilon: epsilon)
    }
  }

  /// Counts the batch while the layer is trained.
  private func countBatch(_ input: Tensor) throws {
    if isTraining {
      let shape = input.shape
      guard shape.count < 2 || input.count > shape[1] else {
        throw TorchError(
          operation: "BatchNorm", shapes: [shape], dtypes: [input.dtype],
          message: "one value per channel has no variance to train on; use a larger batch, or drop the last one")
      }
      try batchCount.add(1)
    }
  }
}
