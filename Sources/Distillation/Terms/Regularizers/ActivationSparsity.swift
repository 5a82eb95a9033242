import DistillData
import Torch
import TorchNN

/// Activation sparsity: a penalty on the sizes of activations, which makes many of them zero.
///
/// For each tap and each example the mean of |a| over all its elements; for sequences over the tokens that count. Summed
/// over taps. The gradient of an activation that is exactly zero is zero.
///
/// ## Reference
/// Glorot, Bordes, Bengio: Deep Sparse Rectifier Neural Networks. AISTATS 2011, section 3.
public final class ActivationSparsity: Term {
  public static let kind = TermKind(
    "activation_sparsity", "activations that are zero: the mean of their sizes", paper: "Glorot et al. 2011",
    needsTeacher: false, options: [.taps("taps", "where the activations count")]
  ) { try ActivationSparsity(taps: $0.taps("taps")) }

  public let name = "activation_sparsity"
  public let studentTaps: [Tap]

  /// - Throws: `DistillationError` when there is no tap.
  public init(taps: [Tap]) throws {
    guard !taps.isEmpty else { throw DistillationError("the term activation_sparsity needs at least one tap") }
    studentTaps = taps
  }

  public var needsTeacher: Bool { false }

  public func sum(_ input: TermInput) throws -> Tensor {
    try studentTaps.map { tap in
      let activations = try input.student(at: tap)
      guard activations.rank >= 2 else {
        throw DistillationError("activations must be [N, ...]; those at \(tap) are \(activations.shape)")
      }
      let mask = input.batch.tokens?.mask
      let isByToken = activations.rank >= 3 && mask?.shape == Array(activations.shape.prefix(2))
      return try activationSparsity(activations: activations, mask: isByToken ? mask : nil).sum
    }.total()
  }
}

/// The mean of |a| for each example, summed over examples.
///
/// Computed in float32.
///
/// - Parameters:
///   - activations: a, `[N, ...]`
///   - mask: `[N, L]`, not 0 where a token counts, for activations `[N, L, ...]`; an example without any counts 0
public func activationSparsity(activations: Tensor, mask: Tensor? = nil) throws -> LossSum {
  let shape = activations.shape
  guard shape.count >= 2, mask.map({ shape.count >= 3 && $0.shape == Array(shape.prefix(2)) }) ?? true else {
    throw TorchError(
      operation: "activationSparsity", shapes: [shape] + (mask.map { [$0.shape] } ?? []), dtypes: [activations.dtype],
      message: "activations must be [N, ...], and with a mask [N, L] they must be [N, L, ...]")
  }
  let sum = try activations.asLoss { activations in
    let sizes = try activations.absolute()
    guard let mask else { return try sizes.flattened(from: 1).mean(along: 1).sum() }
    let perToken = try sizes.flattened(from: 2).mean(along: 2)
    return try perToken.meanOverTokens(mask.differs(from: 0).to(activations.dtype)).sum()
  }
  return LossSum(sum: sum, count: shape[0])
}
