import Torch
import TorchNN

/// Hints: an activation in the middle of the student, seen through a regressor, is drawn to one in the teacher.
///
/// For each example and pair of layers, with the student's activation s, the teacher's t and the regressor r,
///
///     ½ ‖r(s) − t‖²
///
/// as the mean over the elements of t (or their sum), summed over pairs. The regressor is a linear map of the channels: a
/// 1×1 convolution for maps `[N, C, H, W]`, a linear layer for `[N, C]` and `[N, L, D]`. It is trained with the student.
/// Of maps of different sizes the larger is pooled to the smaller first.
///
/// ## Reference
/// Romero, Ballas, Kahou, Chassang, Gatta, Bengio: FitNets: Hints for Thin Deep Nets. ICLR 2015, arXiv:1412.6550,
/// equation 3.
public final class Hints: LayerTerm {
  /// Where there is a regressor.
  public enum Regressor: String, Sendable, CaseIterable {
    /// Where student and teacher have different numbers of channels.
    case auto
    /// Nowhere: the channels must agree.
    case none
    /// At all pairs.
    case always
  }

  public static let kind = TermKind(
    "hints", "the teacher's activations, through a regressor", paper: "FitNets: Romero et al. 2015, arXiv:1412.6550",
    options: [
      .layers("what in the student is compared with what in the teacher"),
      .choice("regressor", Regressor.auto, "a linear map of the channels: where they differ, nowhere, or everywhere"),
      .choice("reduction", ElementReduction.mean, "over the elements of an activation; the paper's is the sum"),
    ]
  ) {
    try Hints(layers: $0.layers(), regressor: $0.choice("regressor"), reduction: $0.choice("reduction"))
  }

  public let name = "hints"
  public let layers: [LayerPair]
  private let regressor: Regressor
  private let reduction: ElementReduction
  private var regressors: LayerAdapters<Sequential>?

  /// - Throws: `DistillationError` when there is no pair of layers.
  public init(layers: [LayerPair], regressor: Regressor = .auto, reduction: ElementReduction = .mean) throws {
    try requireLayers(layers, for: name)
    self.layers = layers
    self.regressor = regressor
    self.reduction = reduction
  }

  public var adapter: (any Module)? { regressors }

  public func prepare(_ first: TermInput) throws {
    regressors = LayerAdapters(
      try layers.map { pair in
        let features = try features(first, pair)
        let channels = (student: features.studentChannels, teacher: features.teacherChannels)
        if regressor == .none { try features.requireSameChannels("use regressor: auto") }
        guard regressor == .always || channels.student != channels.teacher else { return Sequential([]) }
        return Sequential([try channelMap(features.form, from: channels.student, to: channels.teacher)])
      })
  }

  public func sum(_ input: TermInput) throws -> Tensor {
    let regressors = try requirePrepared(regressors, name)
    return try sumOverPairs(layers) { index, pair in
      let features = try features(input, pair)
      return try hintLoss(
        studentFeatures: regressors.all[index](features.student), teacherFeatures: features.teacher,
        reduction: reduction
      ).sum
    }
  }

  private func features(_ input: TermInput, _ pair: LayerPair) throws -> FeaturePair {
    try input.features(at: pair, forms: [.maps, .sequences, .vectors], for: name).matchedInSpace()
  }
}

/// ½ (s − t)², as the mean or sum over the elements of each example, summed over examples.
///
/// Computed in float32. No gradient goes to the teacher.
///
/// - Parameters:
///   - studentFeatures: s, `[N, C]`, `[N, L, D]` or `[N, C, H, W]`; what a regressor makes of the student's activation
///   - teacherFeatures: t, of the same shape
public func hintLoss(
  studentFeatures: Tensor, teacherFeatures: Tensor, reduction: ElementReduction = .mean
) throws -> LossSum {
  try requireOneShape("hintLoss", studentFeatures, teacherFeatures)
  let sum = try studentFeatures.asLoss { student in
    try reduction((student - teacherFeatures.detached().precise()).squared()) * 0.5
  }
  return LossSum(sum: sum, count: try studentFeatures.size(0))
}
