import DistillData
import Torch
import TorchNN

/// Be your own teacher: classifiers on the student's shallow layers learn from the labels and from the student's own output,
/// and so the shallow layers learn what the deep ones know.
///
/// Each exit i has layers of its own: a linear map of the channels (for maps a 1×1 convolution), batch normalization, ReLU,
/// the mean over all places, which gives its features Fᵢ, and a linear classifier, which gives its logits zᵢ. With the
/// student's output z, the label y and the deepest features F, the loss of an example is the sum over exits of
///
///     (1 − α) · CE(zᵢ, y) + α · T² KL(softmax(z / T) ‖ softmax(zᵢ / T)) + λ ‖Fᵢ − F‖²
///
/// where no gradient goes through z and F: the deepest exit teaches. It learns from the labels by a term of its own,
/// `HardLabels`. An example without a label has no first part. λ counts only where the place of the deepest features is
/// given; they are the means over all places there, and the exits' features are made of that size. The authors use λ 0.03.
///
/// Takes vectors `[N, C]`, sequences `[N, L, D]` and maps `[N, C, H, W]`, and an output `[N, C]`. The exits are trained with
/// the student and left behind with the training. They normalize over the batch at hand: a batch of one example does not
/// count.
///
/// ## Reference
/// Zhang, Song, Gao, Chen, Bao, Ma: Be Your Own Teacher: Improve the Performance of Convolutional Neural Networks via Self
/// Distillation. ICCV 2019, arXiv:1905.08094.
public final class SelfDistillation: Term {
  public static let kind = TermKind(
    "self_distillation", "exits on shallow layers that learn from the student's own output",
    paper: "Be your own teacher: Zhang et al. 2019, arXiv:1905.08094", needsTeacher: false,
    options: [
      .taps("exits", "the places of the exits in the student"),
      .number("alpha", 0.3, .fraction, "the share of the student's output in what an exit learns"),
      .ramp("temperature", 3, .positive, "softens both distributions"),
      .number("feature_weight", 0, .factor, "how much the distance from the deepest features counts"),
      TermOption(
        name: "deepest", form: .taps, default: nil, isRequired: false,
        meaning: "the place of the deepest features, one; needed where feature_weight is above 0"),
    ]
  ) { options in
    let deepest = options.values["deepest"] == nil ? [] : try options.taps("deepest")
    guard deepest.count <= 1 else {
      throw DistillationError("deepest of the term self_distillation must be one place, not \(deepest.count)")
    }
    return try SelfDistillation(
      exits: options.taps("exits"), alpha: options.number("alpha"), temperature: options.ramp("temperature"),
      featureWeight: options.number("feature_weight"), deepest: deepest.first)
  }

  public let name = "self_distillation"
  private let exits: [Tap]
  private let alpha: Double
  private let temperature: Ramp
  private let featureWeight: Double
  private let deepest: Tap?
  private let labels: HardLabels
  private var layers: LayerAdapters<SelfDistillationExit>?

  /// - Parameters:
  ///   - exits: the places of the exits
  ///   - alpha: α, from 0 to 1
  ///   - temperature: T
  ///   - featureWeight: λ
  ///   - deepest: where the deepest features are
  /// - Throws: `DistillationError` when there is no exit, a number is out of range, or λ is given without `deepest`.
  public init(
    exits: [Tap], alpha: Double = 0.3, temperature: Ramp = 3, featureWeight: Double = 0, deepest: Tap? = nil
  ) throws {
    guard !exits.isEmpty, Set(exits).count == exits.count else {
      throw DistillationError("the term self_distillation needs at least one exit, and each once")
    }
    guard (0...1).contains(alpha) else {
      throw DistillationError("alpha of the term self_distillation must lie between 0 and 1, not \(alpha)")
    }
    try requireFactor("feature_weight", featureWeight, of: "self_distillation")
    guard featureWeight == 0 || deepest != nil else {
      throw DistillationError(
        "the term self_distillation needs deepest, the place of the features that exits learn from")
    }
    self.exits = exits
    self.alpha = alpha
    self.temperature = try temperature.asTemperature()
    self.featureWeight = featureWeight
    self.deepest = featureWeight > 0 ? deepest : nil
    labels = try HardLabels()
  }

  public var needsTeacher: Bool { false }
  public var studentTaps: [Tap] { exits + (deepest.map { [$0] } ?? []) }
  public var adapter: (any Module)? { layers }

  public func count(_ batch: Batch) -> Int { batch.count > 1 ? batch.count : 0 }

  public func prepare(_ first: TermInput) throws {
    let output = first.student.output.shape
    guard output.count == 2 else {
      throw DistillationError("the term self_distillation takes an output [examples, classes], not \(output)")
    }
    let width = try deepest.map { try pooled(first, at: $0).size(1) }
    layers = LayerAdapters(
      try exits.map { tap in
        let (form, activation) = try feature(first, at: tap)
        let channels = try activation.size(form.channelDimension)
        return try SelfDistillationExit(form, channels: channels, features: width ?? channels, classes: output[1])
      })
  }

  public func sum(_ input: TermInput) throws -> Tensor {
    let layers = try requirePrepared(layers, name).all
    let output = try input.student.output.detached()
    let deepest = try deepest.map { try pooled(input, at: $0).detached() }
    let temperature = temperature.value(at: input.progress)
    return try sumOverPairs(exits) { index, tap in
      let (form, activation) = try feature(input, at: tap)
      let exit = try layers[index](activation, form)
      let divergence = try softTargetLoss(
        studentLogits: exit.logits, teacherLogits: output, temperature: temperature)
      var loss = try divergence.sum * alpha
      if alpha < 1 {
        let labelled = TermInput(student: Trace(output: exit.logits), teacher: nil, batch: input.batch)
        loss = try loss + labels.sum(labelled) * (1 - alpha)
      }
      if let deepest { loss = try loss + (exit.features - deepest).squared().sum() * featureWeight }
      return loss
    }
  }

  private func feature(_ input: TermInput, at tap: Tap) throws -> (FeatureForm, Tensor) {
    let activation = try input.student(at: tap)
    guard let form = FeatureForm(rawValue: activation.rank) else {
      throw DistillationError(
        "the term self_distillation takes activations [N, C], [N, L, D] or [N, C, H, W]; the student's \(tap) gives "
          + "\(activation.shape)")
    }
    return (form, activation)
  }

  private func pooled(_ input: TermInput, at tap: Tap) throws -> Tensor {
    let (form, activation) = try feature(input, at: tap)
    return try meanOverPlaces(activation, form)
  }
}

/// A classifier on a shallow layer.
final class SelfDistillationExit: Module {
  let map: any Layer
  let norm: BatchNorm
  let classifier: Linear

  init(_ form: FeatureForm, channels: Int, features: Int, classes: Int) throws {
    map = try channelMap(form, from: channels, to: features, bias: false)
    norm = try BatchNorm(features)
    classifier = try Linear(features, classes)
  }

  func callAsFunction(_ activation: Tensor, _ form: FeatureForm) throws -> (features: Tensor, logits: Tensor) {
    // Batch normalization counts channels in the second dimension.
    var mapped = try map(activation)
    if form == .sequences { mapped = try mapped.transposed(1, 2) }
    var active = try norm.followedByReLU(mapped)
    if form == .sequences { active = try active.transposed(1, 2) }
    let features = try meanOverPlaces(active, form)
    return (features, try classifier(features))
  }
}
