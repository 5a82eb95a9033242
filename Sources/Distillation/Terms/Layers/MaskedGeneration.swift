import DistillData
import Torch
import TorchNN

/// Masked generative distillation (MGD): from a part of the student's features, a small block is to generate all of the
/// teacher's.
///
/// The student's map is brought to the teacher's channels by a 1×1 convolution (left out where they are as many), a
/// random part of it is put to zero, and two 3×3 convolutions with a ReLU between them generate a map, which is compared
/// with the teacher's:
///
///     Σ ( G(mask · align(S)) − T )²
///
/// Convolutions and block are trained with the student. What is masked is drawn anew for each example and each step:
/// whole channels, as the authors do for classification, or places, as the paper writes it and the authors do for
/// detection and segmentation. The masks come from a random stream of the term's own, whose seed and position are part of
/// the training's state.
///
/// Takes maps `[N, C, H, W]`; the larger of two sizes is pooled to the smaller. Summed over examples and layers; the loss
/// of an example is the sum over its elements, as in the paper, or their mean.
///
/// ## Reference
/// Yang, Li, Shao, Shi, Yuan, Yuan: Masked Generative Distillation. ECCV 2022, arXiv:2205.01529.
public final class MaskedGeneration: LayerTerm {
  /// What is masked together.
  public enum Unit: String, Sendable, CaseIterable {
    /// A channel, at all places.
    case channels
    /// A place, in all channels.
    case places
  }

  public static let kind = TermKind(
    "masked_generation", "the teacher's features, generated from a part of the student's",
    paper: "Yang et al. 2022, arXiv:2205.01529",
    options: [
      .layers("the places whose maps are compared; the paper's is the last before pooling"),
      .choice("mask", Unit.channels, "what is masked together"),
      .number("fraction", 0.15, .fractionBelowOne, "how much is masked; 0.65 in the paper for places in detection"),
      .choice("reduction", ElementReduction.sum, "what is done with the elements of an example"),
    ]
  ) {
    try MaskedGeneration(
      layers: $0.layers(), mask: $0.choice("mask"), fraction: $0.number("fraction"), reduction: $0.choice("reduction"))
  }

  public let name = "masked_generation"
  public let layers: [LayerPair]
  private let unit: Unit
  private let fraction: Double
  private let reduction: ElementReduction
  private var generators: MaskedGenerators?

  /// - Throws: `DistillationError` when there is no layer, or the fraction is not in 0 ..< 1.
  public init(
    layers: [LayerPair], mask: Unit = .channels, fraction: Double = 0.15, reduction: ElementReduction = .sum
  ) throws {
    guard (0..<1).contains(fraction) else {
      throw DistillationError("the masked fraction must be at least 0 and less than 1, not \(fraction)")
    }
    self.layers = layers
    unit = mask
    self.fraction = fraction
    self.reduction = reduction
    try requireLayers(layers, for: name)
  }

  public var adapter: (any Module)? { generators }

  public func prepare(_ first: TermInput) throws {
    generators = try MaskedGenerators(
      try layers.map { pair in
        let features = try first.features(at: pair, for: name)
        return try MapGenerator(from: features.studentChannels, to: features.teacherChannels)
      })
  }

  public func sum(_ input: TermInput) throws -> Tensor {
    let generators = try requirePrepared(generators, name)
    let stream = try generators.nextStream()
    return try sumOverPairs(layers) { index, pair in
      let features = try input.features(at: pair, for: name).matchedInSpace()
      let shape = features.teacher.shape
      let masked = unit == .channels ? [shape[0], shape[1], 1, 1] : [shape[0], 1, shape[2], shape[3]]
      let mask = try withRandomStream(stream) { try Tensor.empty(masked).drawBernoulli(1 - fraction) }
      let generated = try generators.all[index](features.student, mask: mask.to(features.student.device))
      return try generatedMapLoss(generatedMap: generated, teacherMap: features.teacher, reduction: reduction).sum
    }
  }
}

/// The squared difference of a generated map from the teacher's; see `MaskedGeneration`. Summed over examples. No gradient
/// goes to the teacher.
///
/// - Parameters:
///   - generatedMap: `[N, C, H, W]`
///   - teacherMap: of the same shape
/// - Throws: `TorchError` when the shapes do not fit.
public func generatedMapLoss(
  generatedMap: Tensor, teacherMap: Tensor, reduction: ElementReduction = .sum
) throws -> LossSum {
  try requireMaps("generatedMapLoss", generatedMap, teacherMap)
  try requireOneShape("generatedMapLoss", generatedMap, teacherMap)
  let sum = try generatedMap.asLoss { try reduction(($0 - teacherMap.detached().precise()).squared()) }
  return LossSum(sum: sum, count: generatedMap.shape[0])
}

/// Generates a map like the teacher's from a masked one of the student.
public final class MapGenerator: Module {
  /// To the teacher's channels; nil where the student has as many.
  let align: Conv2d?
  let generation: Sequential

  public init(from studentChannels: Int, to teacherChannels: Int) throws {
    align = studentChannels == teacherChannels ? nil : try Conv2d(studentChannels, teacherChannels, kernel: 1)
    generation = try Sequential {
      try Conv2d(teacherChannels, teacherChannels, kernel: 3, padding: 1)
      ReLU()
      try Conv2d(teacherChannels, teacherChannels, kernel: 3, padding: 1)
    }
  }

  /// - Parameters:
  ///   - map: the student's, `[N, C, H, W]`
  ///   - mask: 0 where nothing of it is seen, 1 elsewhere: `[N, C', 1, 1]` or `[N, 1, H, W]`, C' the teacher's channels
  /// - Returns: `[N, C', H, W]`
  public func callAsFunction(_ map: Tensor, mask: Tensor) throws -> Tensor {
    try generation((align.map { try $0(map) } ?? map) * mask)
  }
}

/// The generators of all layers, and the random stream that the masks come from.
private final class MaskedGenerators: Module {
  static var keys: [String: String] { ["all": ""] }

  let all: [MapGenerator]
  /// What the masks' streams are seeded with.
  @Buffer var seed: Tensor
  /// How many batches have been masked.
  @Buffer var masked: Tensor

  init(_ all: [MapGenerator]) throws {
    self.all = all
    seed = try Tensor.empty([], dtype: .float64).drawUniform(from: 0, to: 0x1p53).to(.int64)
    masked = try .zeros([], dtype: .int64)
  }

  /// A stream for the masks of one batch: the seed and the number of the batch say which.
  func nextStream() throws -> RandomStream {
    let number = Int(try masked.item())
    try masked.add(1)
    return try RandomStream(seed: UInt64(try seed.item()), name: "mask.\(number)")
  }
}
