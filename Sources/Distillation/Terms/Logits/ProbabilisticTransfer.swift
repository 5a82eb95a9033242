import DistillData
import Torch
import TorchNN

/// Probabilistic knowledge transfer (PKT): which examples of a batch are alike should be the same for student and
/// teacher.
///
/// With the student's features xᵢ and the teacher's yᵢ (logits, or the activations of a pair of layers, flattened; their
/// sizes may differ) and the kernel K(a, b) = ½ (1 + cos(a, b)),
///
///     Σᵢ Σ over j ≠ i of pⱼᵢ (log pⱼᵢ − log qⱼᵢ)
///     pⱼᵢ = K(yᵢ, yⱼ) / Σ over k ≠ i of K(yᵢ, yₖ),   qⱼᵢ the same of x
///
/// The objective divides by N. The other examples of the batch are what an example is compared with: the loss sees one
/// batch at a time, so that gradient accumulation and the size of the batch change it, and with fewer than three
/// examples it is 0. Every example counts, with and without a label. Several pairs of layers are added up.
///
/// ## Reference
/// Passalis, Tefas: Learning Deep Representations with Probabilistic Knowledge Transfer. ECCV 2018, arXiv:1803.10837.
public final class ProbabilisticTransfer: LayerTerm {
  public static let kind = TermKind(
    "probabilistic_transfer", "which examples of a batch are alike, by logits or at layers",
    paper: "PKT: Passalis and Tefas 2018, arXiv:1803.10837",
    options: [
      TermOption(
        name: "layers", form: .layers, default: nil, isRequired: false,
        meaning: "the places whose activations are compared; without it the logits")
    ]
  ) { options in
    guard case .layers(let pairs)? = options.values["layers"] else { return ProbabilisticTransfer() }
    return ProbabilisticTransfer(layers: pairs)
  }

  public let name = "probabilistic_transfer"
  public let layers: [LayerPair]

  /// - Parameter layers: the places that are compared; empty: the logits
  public init(layers: [LayerPair] = []) { self.layers = layers }

  public func sum(_ input: TermInput) throws -> Tensor {
    guard let first = layers.first else {
      let teacher = try input.requireTeacher(for: name).logits()
      return try probabilisticTransferLoss(student: input.student.output, teacher: teacher).sum
    }
    return try layers.dropFirst().reduce(try sum(input, at: first)) { try $0 + sum(input, at: $1) }
  }

  private func sum(_ input: TermInput, at pair: LayerPair) throws -> Tensor {
    let student = try input.student(at: pair.student)
    let teacher = try input.teacher(at: pair.teacher, for: name)
    guard student.rank >= 2, teacher.rank >= 2, student.shape[0] == teacher.shape[0] else {
      throw DistillationError(
        """
        \(name) at \(pair) compares examples: activations must be [examples, ...], with as many examples in both, but \
        have the shapes \(student.shape) and \(teacher.shape)
        """)
    }
    return try probabilisticTransferLoss(student: student, teacher: teacher).sum
  }
}

/// The loss of `ProbabilisticTransfer`, summed over the examples of one batch. Computed in float32 and log space; no
/// gradient goes to the teacher, and none to features that are all zero, which have cosine 0 with everything. The kernel
/// is at least 1e-7.
///
/// - Parameters:
///   - student: x, `[N, ...]`
///   - teacher: y, `[N, ...]`; its other sizes may differ
public func probabilisticTransferLoss(student: Tensor, teacher: Tensor) throws -> LossSum {
  let shapes = [student.shape, teacher.shape]
  guard shapes.allSatisfy({ $0.count >= 2 }), shapes[0][0] == shapes[1][0] else {
    throw TorchError(
      operation: "probabilisticTransferLoss", shapes: shapes, dtypes: [student.dtype, teacher.dtype],
      message: "features must be [examples, ...], with as many examples in both")
  }
  let count = shapes[0][0]
  let sum = try student.asLoss { features in
    guard count > 1 else { return try features.sum() * 0 }
    let isSelf = try Tensor.identity(count, device: features.device).to(.bool)
    let student = try logNeighbours(features, except: isSelf)
    let teacher = try logNeighbours(teacher.detached().precise(), except: isSelf)
    return try (teacher.exponential() * (teacher - student)).sum()
  }
  return LossSum(sum: sum, count: count)
}

/// `[N, N]`: the logarithm of each example's distribution over the others; 0 on the diagonal.
private func logNeighbours(_ features: Tensor, except isSelf: Tensor) throws -> Tensor {
  let flat = try features.flattened(from: 1)
  let squares = try flat.squared().sum(along: 1, keepDimensions: true)
  let isPresent = try squares.isGreater(than: 0)
  let unit = try flat * isPresent / isPresent.choose(squares, squares.onesLike()).squareRoot()
  let kernel = try ((unit.matmul(unit.transposed(0, 1)) + 1) * 0.5).clamped(from: 1e-7)
  return try kernel.logarithm().masked(where: isSelf, with: -.infinity).logSoftmax().masked(where: isSelf, with: 0)
}
