import Torch

// Activations as layers. All keep the shape of what comes in.

/// max(0, x).
public final class ReLU: Layer {
  public init() {}
  public func forward(_ input: Tensor) throws -> Tensor { try input.relu() }
}

/// min(max(0, x), 6).
public final class ReLU6: Layer {
  public init() {}
  public func forward(_ input: Tensor) throws -> Tensor { try input.relu6() }
}

/// x where it is positive, `slope` · x elsewhere.
public final class LeakyReLU: Layer {
  public let slope: Double

  public init(slope: Double = 0.01) { self.slope = slope }

  public func forward(_ input: Tensor) throws -> Tensor { try input.leakyReLU(slope: slope) }
}

/// x Φ(x), Φ the normal distribution; or the approximation of it through tanh that some models were trained with.
public final class GELU: Layer {
  public let isApproximate: Bool

  public init(approximate: Bool = false) { isApproximate = approximate }

  public func forward(_ input: Tensor) throws -> Tensor { try input.gelu(approximate: isApproximate) }
}

/// x σ(x).
public final class SiLU: Layer {
  public init() {}
  public func forward(_ input: Tensor) throws -> Tensor { try input.silu() }
}

/// σ(x) = 1 / (1 + exp −x).
public final class Sigmoid: Layer {
  public init() {}
  public func forward(_ input: Tensor) throws -> Tensor { try input.sigmoid() }
}

/// tanh x.
public final class Tanh: Layer {
  public init() {}
  public func forward(_ input: Tensor) throws -> Tensor { try input.tanh() }
}

/// x min(max(0, x + 3), 6) / 6.
public final class HardSwish: Layer {
  public init() {}
  public func forward(_ input: Tensor) throws -> Tensor { try input.hardSwish() }
}

/// min(max(0, x + 3), 6) / 6.
public final class HardSigmoid: Layer {
  public init() {}
  public func forward(_ input: Tensor) throws -> Tensor { try input.hardSigmoid() }
}

/// x where it is positive, `alpha` · (exp x − 1) elsewhere.
public final class ELU: Layer {
  public let alpha: Double

  public init(alpha: Double = 1) { self.alpha = alpha }

  public func forward(_ input: Tensor) throws -> Tensor { try input.elu(alpha: alpha) }
}

/// log(1 + exp x).
public final class Softplus: Layer {
  public init() {}
  public func forward(_ input: Tensor) throws -> Tensor { try input.softplus() }
}

/// exp(xᵢ) / Σⱼ exp(xⱼ) along a dimension. Losses take logits, so a model for training ends without it.
public final class Softmax: Layer {
  public let dimension: Int

  public init(along dimension: Int = -1) { self.dimension = dimension }

  public func forward(_ input: Tensor) throws -> Tensor { try input.softmax(along: dimension) }
}
