import Torch
import TorchNN

/// The overhaul of feature distillation (OFD): the teacher's responses before its ReLU, of which the positive count in full
/// and the negative only down to a margin, are what the student is drawn to; but never up to a response that the teacher's
/// ReLU would cut anyway.
///
/// With the teacher's response x and a margin m < 0 for each channel the target is t = max(x, m). With the student's
/// response s, seen through a connector r, for each element
///
///     0  where r(s) ≤ t ≤ 0,   (r(s) − t)²  elsewhere
///
/// as the mean over the elements of an example (or their sum), summed over pairs. The connector is a linear map of the
/// channels with batch normalization after it, trained with the student. The margin is the mean of the channel's negative
/// responses, taken from the first batch; 0 for a channel that has none there. Activations are maps `[N, C, H, W]` or
/// `[N, C]`; of maps of different sizes the larger is pooled to the smaller, the teacher's after the margin.
///
/// ## Reference
/// Heo, Kim, Yun, Park, Kwak, Choi: A Comprehensive Overhaul of Feature Distillation. ICCV 2019, arXiv:1904.01866,
/// equations 2 to 5.
public final class FeatureOverhaul: LayerTerm {
  public static let kind = TermKind(
    "feature_overhaul", "the teacher's responses before its ReLU, where they matter (OFD)",
    paper: "Heo et al. 2019, arXiv:1904.01866",
    options: [
      .layers("the layers before their ReLU"),
      .choice("reduction", ElementReduction.mean, "over the elements of an activation; the paper's is the sum"),
    ]
  ) { try FeatureOverhaul(layers: $0.layers(), reduction: $0.choice("reduction")) }

  public let name = "feature_overhaul"
  public let layers: [LayerPair]
  private let reduction: ElementReduction
  private var connectors: LayerAdapters<MarginConnector>?

  /// - Throws: `DistillationError` when there is no pair of layers.
  public init(layers: [LayerPair], reduction: ElementReduction = .mean) throws {
    try requireLayers(layers, for: name)
    self.layers = layers
    self.reduction = reduction
  }

  public var adapter: (any Module)? { connectors }

  public func prepare(_ first: TermInput) throws {
    connectors = LayerAdapters(
      try layers.map { pair in
        let features = try first.features(at: pair, forms: [.maps, .vectors], for: name)
        return MarginConnector(
          connector: try normalizedChannelMap(
            features.form, from: features.studentChannels, to: features.teacherChannels),
          margin: try meanNegativeResponse(features.teacher))
      })
  }

  public func sum(_ input: TermInput) throws -> Tensor {
    let connectors = try requirePrepared(connectors, name)
    return try sumOverPairs(layers) { index, pair in
      let responses = try input.features(at: pair, forms: [.maps, .vectors], for: name)
      let connector = connectors.all[index]
      let features = try FeaturePair(
        term: name, layers: pair, student: responses.student,
        teacher: marginReLU(responses.teacher, margin: connector.margin), forms: [responses.form]
      ).matchedInSpace()
      return try partialDistanceLoss(
        studentResponses: connector.connector(features.student), teacherTargets: features.teacher,
        reduction: reduction
      ).sum
    }
  }
}

/// What brings a student's response to a teacher's channels, and the margins of these.
final class MarginConnector: Module {
  let connector: Sequential
  /// m, `[C]`
  @Buffer var margin: Tensor

  init(connector: Sequential, margin: Tensor) {
    self.connector = connector
    self.margin = margin
  }
}

/// The mean of the negative responses of each channel: `[N, C, ...]` → `[C]`; 0 for a channel that has none.
public func meanNegativeResponse(_ responses: Tensor) throws -> Tensor {
  guard responses.rank >= 2 else {
    throw TorchError(
      operation: "meanNegativeResponse", shapes: [responses.shape], dtypes: [responses.dtype],
      message: "responses must be [N, C] or [N, C, H, W]")
  }
  return try withoutGradient {
    let rows = try responses.precise().transposed(0, 1).flattened(from: 1)
    let isNegative = try rows.isLess(than: 0)
    let count = try isNegative.to(rows.dtype).sum(along: 1).clamped(from: 1)
    return try (rows * isNegative).sum(along: 1) / count
  }
}

/// max(x, m) with a margin m for each channel.
///
/// - Parameters:
///   - responses: x, `[N, C]` or `[N, C, H, W]`
///   - margin: m, `[C]`
public func marginReLU(_ responses: Tensor, margin: Tensor) throws -> Tensor {
  let shape = responses.shape
  guard shape.count == 2 || shape.count == 4, margin.shape == [shape[1]] else {
    throw TorchError(
      operation: "marginReLU", shapes: [shape, margin.shape], dtypes: [responses.dtype, margin.dtype],
      message: "responses must be [N, C] or [N, C, H, W], with one margin for each channel")
  }
  return try responses.maximum(margin.to(responses.dtype).reshaped(shape.count == 4 ? [shape[1], 1, 1] : [shape[1]]))
}

/// (s − t)² where not s ≤ t ≤ 0, as the mean or sum over the elements of each example, summed over examples.
///
/// Computed in float32. No gradient goes to the teacher.
///
/// - Parameters:
///   - studentResponses: s, what a connector makes of the student's responses, `[N, C, H, W]` or `[N, C]`
///   - teacherTargets: t, the teacher's responses after the margin, of the same shape
public func partialDistanceLoss(
  studentResponses: Tensor, teacherTargets: Tensor, reduction: ElementReduction = .mean
) throws -> LossSum {
  try requireOneShape("partialDistanceLoss", studentResponses, teacherTargets)
  let sum = try studentResponses.asLoss { student in
    let targets = try teacherTargets.detached().precise()
    let isSettled = try targets.isGreater(than: 0).not().and(student.isGreater(than: targets).not())
    return try reduction((student - targets).masked(where: isSettled, with: 0).squared())
  }
  return LossSum(sum: sum, count: try studentResponses.size(0))
}
