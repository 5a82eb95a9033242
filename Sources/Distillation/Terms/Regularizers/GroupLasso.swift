import DistillData
import Torch
import TorchNN

/// Group lasso: a penalty on the lengths of whole filters, which makes whole filters zero, so that they can be cut out.
///
///     Σ over groups of ‖w_g‖
///
/// For a weight `[out, in, ...]` the groups are the filters w[o] (`output`), the input channels w[:, i] (`input`), or both,
/// added up. With `scaledBySize` each length is multiplied by the square root of how many weights the group has, as
/// statisticians do; the paper below does not. It does not depend on the batch or its size: the term gives count × this,
/// and the objective divides by the count. The gradient of a group that is all zero is zero.
///
/// ## Reference
/// Wen, Wu, Wang, Chen, Li: Learning Structured Sparsity in Deep Neural Networks. NeurIPS 2016. arXiv:1608.03665, equation
/// 2. Yuan, Lin: Model selection and estimation in regression with grouped variables. 2006.
public final class GroupLasso: Term {
  public static let kind = TermKind(
    "group_lasso", "whole filters that are zero: the sum of their lengths", paper: "Wen et al. 2016, arXiv:1608.03665",
    needsTeacher: false,
    options: [
      .penalizedModules,
      .choice("groups", Groups.output, "what becomes zero together: filters, input channels, or each of both"),
      .flag("scaled_by_size", false, "multiply the length of a group by the root of its size"),
    ]
  ) {
    GroupLasso(
      modules: $0.penalizedModules, groups: try $0.choice("groups"), scaledBySize: try $0.flag("scaled_by_size"))
  }

  /// The weights that become zero together.
  public enum Groups: String, Sendable, CaseIterable {
    case output
    case input
    case both
  }

  public let name = "group_lasso"
  private var parameters: PenalizedParameters
  private let groups: Groups
  private let scaledBySize: Bool

  /// - Parameter modules: those whose weights count; all if empty
  public init(modules: [Tap] = [], groups: Groups = .output, scaledBySize: Bool = false) {
    parameters = PenalizedParameters(of: modules, term: "group_lasso")
    self.groups = groups
    self.scaledBySize = scaledBySize
  }

  public var needsTeacher: Bool { false }
  public var needsParameters: Bool { true }

  public func prepare(_ first: TermInput) throws { try parameters.prepare(first) }

  public func sum(_ input: TermInput) throws -> Tensor {
    try parameters.sum(count: count(input.batch)) { weight in
      try groupLasso(weight: weight, groups: groups, scaledBySize: scaledBySize)
    }
  }
}

/// Σ over groups of ‖w_g‖, a scalar.
///
/// - Parameter weight: `[out, in, ...]`
public func groupLasso(
  weight: Tensor, groups: GroupLasso.Groups = .output, scaledBySize: Bool = false
) throws -> Tensor {
  guard weight.rank >= 2 else {
    throw TorchError(
      operation: "groupLasso", shapes: [weight.shape], dtypes: [weight.dtype],
      message: "a weight must be [out, in, ...]")
  }
  func lengths(_ weight: Tensor) throws -> Tensor {
    let rows = try weight.flattened(from: 1)
    let sum = try rows.norm(along: 1).sum()
    return scaledBySize ? try sum * Double(rows.size(1)).squareRoot() : sum
  }
  switch groups {
  case .output: return try lengths(weight)
  case .input: return try lengths(weight.transposed(0, 1))
  case .both: return try lengths(weight) + lengths(weight.transposed(0, 1))
  }
}
