import DistillData
import Torch
import TorchNN

/// L1: a penalty on the sizes of the student's weights, which makes many of them zero, or nearly.
///
///     Σ |w|
///
/// over the weights (not the biases and not the parameters of normalization) of the modules that are named, or all. It
/// does not depend on the batch or its size: the term gives count × this, and the objective divides by the count. The
/// gradient of a weight that is exactly zero is zero.
///
/// ## Reference
/// Tibshirani: Regression Shrinkage and Selection via the Lasso. Journal of the Royal Statistical Society B, 1996.
public final class L1Penalty: Term {
  public static let kind = TermKind(
    "l1_penalty", "weights that are zero: the sum of their sizes", paper: "Tibshirani 1996", needsTeacher: false,
    options: [.penalizedModules]
  ) { L1Penalty(modules: $0.penalizedModules) }

  public let name = "l1_penalty"
  private var parameters: PenalizedParameters

  /// - Parameter modules: those whose weights count; all if empty
  public init(modules: [Tap] = []) { parameters = PenalizedParameters(of: modules, term: "l1_penalty") }

  public var needsTeacher: Bool { false }
  public var needsParameters: Bool { true }

  public func prepare(_ first: TermInput) throws { try parameters.prepare(first) }

  public func sum(_ input: TermInput) throws -> Tensor {
    try parameters.sum(count: count(input.batch)) { try $0.absolute().sum() }
  }
}
