import Torch

/// All dimensions but the first made one: `[N, ...]` → `[N, features]`, in row-major order whatever the layout in memory.
public final class Flatten: Layer {
  public init() {}
  public func forward(_ input: Tensor) throws -> Tensor { try input.flattened(from: 1) }
}
