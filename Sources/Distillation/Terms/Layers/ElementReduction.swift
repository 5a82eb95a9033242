import Torch

/// What is done with the elements of an example's activation.
public enum ElementReduction: String, Sendable, CaseIterable {
  /// Their mean: a weight then means about the same at layers of every size.
  case mean
  /// Their sum, as most papers write it.
  case sum

  /// Over the elements of each example, summed over the examples `[N, ...]`.
  func callAsFunction(_ elements: Tensor) throws -> Tensor {
    let shape = elements.shape
    let sum = try elements.sum()
    return self == .sum ? sum : try sum / Double(max(1, shape.dropFirst().reduce(1, *)))
  }
}
