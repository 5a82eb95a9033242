import Torch

/// x Wᵀ + b.
///
/// `[..., inputFeatures]` → `[..., outputFeatures]`. Initialized as in PyTorch: weight and bias uniform in
/// ±1/√inputFeatures.
public final class Linear: Layer {
  /// `[outputFeatures, inputFeatures]`
  @Parameter public var weight: Tensor
  /// `[outputFeatures]`
  @Parameter public var bias: Tensor?

  public init(_ inputFeatures: Int, _ outputFeatures: Int, bias: Bool = true) throws {
    let bound = 1 / Double(inputFeatures).squareRoot()
    weight = try Tensor.empty([outputFeatures, inputFeatures]).drawUniform(from: -bound, to: bound)
    self.bias = bias ? try Tensor.empty([outputFeatures]).drawUniform(from: -bound, to: bound) : nil
  }

  public func forward(_ input: Tensor) throws -> Tensor { try linear(input, weight: weight, bias: bias) }

  /// max(0, x Wᵀ + b): what this layer and `relu()` after it give. It is one operator, unless somebody wants to see what
  /// comes in between.
  public func followedByReLU(_ input: Tensor) throws -> Tensor {
    if Recorder.current != nil { return try self(input).relu() }
    return try called(with: input) { try linearReLU(input, weight: weight, bias: bias) }
  }
}

extension Linear: MultiplyAddCounting {
  public func multiplyAdds(input: [Int], output: [Int]) -> Int {
    output.dropLast().reduce(1, *) * weight.count
  }
}
