import DistillData
import Torch
import TorchNN

/// L2: a penalty on the squares of the student's weights, which keeps them small.
///
///     ½ Σ w²
///
/// over the weights (not the biases and not the parameters of normalization) of the modules that are named, or all. Its
/// gradient is w, so that with SGD a weight of λ is a weight decay of λ; with Adam it is not, since Adam scales gradients.
/// It does not depend on the batch or its size: the term gives count × this, and the objective divides by the count.
///
/// ## Reference
/// Krogh, Hertz: A Simple Weight Decay Can Improve Generalization. NeurIPS 1991.
public final class L2Penalty: Term {
  public static let kind = TermKind(
    "l2_penalty", "small weights: half the sum of their squares", paper: "Krogh and Hertz 1991", needsTeacher: false,
    options: [.penalizedModules]
  ) { L2Penalty(modules: $0.penalizedModules) }

  public let name = "l2_penalty"
  private var parameters: PenalizedParameters

  /// - Parameter modules: those whose weights count; all if empty
  public init(modules: [Tap] = []) { parameters = PenalizedParameters(of: modules, term: "l2_penalty") }

  public var needsTeacher: Bool { false }
  public var needsParameters: Bool { true }

  public func prepare(_ first: TermInput) throws { try parameters.prepare(first) }

  public func sum(_ input: TermInput) throws -> Tensor {
    try parameters.sum(count: count(input.batch)) { try $0.squared().sum() * 0.5 }
  }
}
