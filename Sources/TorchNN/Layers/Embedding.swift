import Torch

/// A row of numbers for each of `count` things, such as the words of a vocabulary.
///
/// Whole numbers `[...]` → `[..., features]`. Initialized as in PyTorch: drawn from the normal distribution. The row at
/// `paddingIndex` starts at zero and has no gradient.
public final class Embedding: Layer {
  /// `[count, features]`
  @Parameter public var weight: Tensor

  public let paddingIndex: Int?

  public init(_ count: Int, _ features: Int, paddingIndex: Int? = nil) throws {
    if let paddingIndex, !(0..<max(count, 0)).contains(paddingIndex) {
      throw TorchError(operation: "Embedding", message: "no row \(paddingIndex) among \(count) to pad with")
    }
    self.paddingIndex = paddingIndex
    weight = try Tensor.empty([count, features]).drawNormal()
    if let paddingIndex { try withoutGradient { try weight.selected(0, paddingIndex).fill(0) } }
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    try embedding(input, weight: weight, paddingIndex: paddingIndex)
  }
}
