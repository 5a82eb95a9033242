import Torch

/// Keeps the gradients of a float16 training within what float16 can hold: the loss is multiplied by a factor before the
/// backward pass, the gradients are divided by it before the step. A step whose gradients are not finite is left out and
/// halves the factor; after many good ones the factor doubles.
///
/// ## Reference
/// Micikevicius et al.: Mixed Precision Training. 2018, arXiv:1710.03740, section 3.2.
struct LossScale: Codable, Equatable {
  private(set) var factor = 65_536.0
  /// Good steps since the factor last changed.
  private(set) var goodSteps = 0

  static let growthInterval = 2_000
  /// A factor below this tells of a loss that no factor mends.
  static let smallest = 1.0 / 65_536

  /// Divides the gradients by the factor, and chooses the next one.
  ///
  /// - Returns: whether the gradients are finite, so that the step may be taken
  mutating func unscale(_ tensors: [Tensor]) throws -> Bool {
    let gradients = tensors.compactMap(\.gradient)
    guard let first = gradients.first else { return true }
    let isFinite = try withoutGradient {
      // In float32: the squares of float16 gradients would overflow.
      let norms = try norms(gradients).map { try $0.to(.float32) }
      guard try Tensor.stacked(norms).norm().isFinite().all() else { return false }
      try scale(gradients, by: try Tensor.full([], 1 / factor, device: first.device))
      return true
    }
    if isFinite {
      goodSteps += 1
      if goodSteps == Self.growthInterval {
        factor *= 2
        goodSteps = 0
      }
    } else {
      factor /= 2
      goodSteps = 0
    }
    return isFinite
  }
}
