import Torch
import TorchNN

/// Flow of the solution procedure (FSP): how the student gets from one layer to a later one is drawn to how the teacher
/// does.
///
/// Between two layers of one network with the maps F, `[C, H, W]`, and G, `[C', H, W]`, the flow is the matrix of inner
/// products of their channels, `[C, C']`:
///
///     Mᵢⱼ = 1 / (H W) Σ over positions of Fᵢ Gⱼ
///
/// For each example and each two layers the loss is (M_student − M_teacher)², as the mean over the matrix or as its sum;
/// summed over the pairs of layers. Within a network the larger map is pooled to the smaller one by its maxima. Student
/// and teacher may work at different sizes, but their channels must agree.
///
/// ## Reference
/// Yim, Joo, Bae, Kim: A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer Learning.
/// CVPR 2017.
public final class FlowOfSolution: LayerTerm {
  /// Which layers a flow lies between.
  public enum Pairing: String, Sendable, CaseIterable {
    /// The first and the second, the second and the third, and so on.
    case consecutive
    /// The first and the second, the third and the fourth, and so on.
    case inTwos = "in_twos"
  }

  public static let kind = TermKind(
    "flow_of_solution", "how the teacher gets from one layer to another (FSP)", paper: "Yim et al., CVPR 2017",
    options: [
      .layers("the layers between which the flows lie, in their order"),
      .choice("pairing", Pairing.consecutive, "a flow from each layer to the next, or within each two of them"),
      .choice("reduction", ElementReduction.mean, "over the elements of a flow's matrix; the paper's is the sum"),
    ]
  ) {
    try FlowOfSolution(layers: $0.layers(), pairing: $0.choice("pairing"), reduction: $0.choice("reduction"))
  }

  public let name = "flow_of_solution"
  public let layers: [LayerPair]
  private let flows: [(from: LayerPair, to: LayerPair)]
  private let reduction: ElementReduction

  /// - Throws: `DistillationError` when there are fewer than two layers, or an odd number of them is to be taken in twos.
  public init(layers: [LayerPair], pairing: Pairing = .consecutive, reduction: ElementReduction = .mean) throws {
    guard layers.count >= 2 else {
      throw DistillationError("the term \(name) needs at least two layers; a flow lies between two")
    }
    guard pairing == .consecutive || layers.count.isMultiple(of: 2) else {
      throw DistillationError(
        "the term \(name) takes its layers in twos; \(layers.count) is an odd number. Use pairing: consecutive")
    }
    self.layers = layers
    self.reduction = reduction
    flows = stride(from: 0, to: layers.count - 1, by: pairing == .consecutive ? 1 : 2).map {
      (layers[$0], layers[$0 + 1])
    }
  }

  public func prepare(_ first: TermInput) throws {
    for pair in layers { _ = try features(first, pair) }
  }

  public func sum(_ input: TermInput) throws -> Tensor {
    try sumOverPairs(flows) { _, flow in
      let first = try features(input, flow.from)
      let second = try features(input, flow.to)
      return try flowLoss(
        studentMaps: (first.student, second.student), teacherMaps: (first.teacher, second.teacher),
        reduction: reduction
      ).sum
    }
  }

  private func features(_ input: TermInput, _ pair: LayerPair) throws -> FeaturePair {
    let features = try input.features(at: pair, for: name)
    try features.requireSameChannels("this method has no layer between them, so choose layers of the same width")
    return features
  }
}

/// The squared difference of two flows, as the mean or sum over their matrix, summed over examples; see `FlowOfSolution`.
///
/// Computed in float32. No gradient goes to the teacher.
///
/// - Parameters:
///   - studentMaps: of two layers of the student, `[N, C, H, W]` and `[N, C', H', W']`
///   - teacherMaps: of two layers of the teacher with the same channels C and C'; the sizes may be others
public func flowLoss(
  studentMaps: (Tensor, Tensor), teacherMaps: (Tensor, Tensor), reduction: ElementReduction = .mean
) throws -> LossSum {
  let maps = [studentMaps.0, studentMaps.1, teacherMaps.0, teacherMaps.1]
  try requireMaps("flowLoss", studentMaps.0, studentMaps.1, teacherMaps.0, teacherMaps.1)
  let shapes = maps.map(\.shape)
  guard shapes[0][1] == shapes[2][1], shapes[1][1] == shapes[3][1] else {
    throw TorchError(
      operation: "flowLoss", shapes: shapes, dtypes: maps.map(\.dtype),
      message: "student and teacher must have the same channels at both layers")
  }
  let sum = try studentMaps.0.asLoss { first in
    let student = try flow(first, studentMaps.1.precise())
    let teacher = try flow(teacherMaps.0.detached().precise(), teacherMaps.1.detached().precise())
    return try reduction((student - teacher).squared())
  }
  return LossSum(sum: sum, count: shapes[0][0])
}

/// `[N, C, H, W]`, `[N, C', H', W']` → `[N, C, C']`
private func flow(_ first: Tensor, _ second: Tensor) throws -> Tensor {
  let sizes = (Array(first.shape.suffix(2)), Array(second.shape.suffix(2)))
  let smaller = zip(sizes.0, sizes.1).map { min($0, $1) }
  let from = sizes.0 == smaller ? first : try first.adaptiveMaxPool2d(smaller)
  let to = sizes.1 == smaller ? second : try second.adaptiveMaxPool2d(smaller)
  let products = try from.flattened(from: 2).matmul(to.flattened(from: 2).transposed(1, 2))
  return try products / Double(smaller.reduce(1, *))
}
