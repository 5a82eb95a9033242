import DistillData
import Torch
import TorchNN

/// Activation statistics: the mean and the variance of each of the student's channels are drawn to the teacher's, wherever
/// in an image or sequence the activity is.
///
/// For each pair of layers, `[N, C, H, W]`, `[N, L, C]` or `[N, C]`, with mean μ and variance σ² of each channel over the
/// batch and all its places,
///
///     N / C · Σ over channels of ((μ − μ′)² + (σ² − σ′²)²)
///
/// summed over pairs. Both layers must have the same number of channels. For sequences only tokens that count do.
///
/// It is a loss of a batch as a whole, counted N times: with gradient accumulation each part has statistics of its own, and
/// so the result changes a little with the size of the parts.
///
/// ## Reference
/// These statistics as a loss: Yin et al.: Dreaming to Distill. CVPR 2020. arXiv:1912.08795, equation 4, there to make
/// images that fit a teacher, and with the norms of the differences rather than the means of their squares. Li et al.:
/// Demystifying Neural Style Transfer. IJCAI 2017. arXiv:1701.01036, section 4.2.
public final class ActivationStatistics: LayerTerm {
  public static let kind = TermKind(
    "activation_statistics", "the mean and variance of the teacher's channels",
    paper: "Yin et al. 2020, arXiv:1912.08795; Li et al. 2017, arXiv:1701.01036",
    options: [.layers("layers of the student with those of the teacher, of as many channels")]
  ) { try ActivationStatistics(layers: $0.layers()) }

  public let name = "activation_statistics"
  public let layers: [LayerPair]

  /// - Throws: `DistillationError` when there is no pair.
  public init(layers: [LayerPair]) throws {
    guard !layers.isEmpty else {
      throw DistillationError("the term activation_statistics needs at least one pair of layers")
    }
    self.layers = layers
  }

  public func sum(_ input: TermInput) throws -> Tensor {
    guard input.batch.tokens?.count != 0 else { return try Tensor.zeros([], device: input.student.output.device) }
    return try layers.map { pair in
      let student = try channelRows(try input.student(at: pair.student), at: pair.student, input.batch)
      let teacher = try channelRows(try input.teacher(at: pair.teacher, for: name), at: pair.teacher, input.batch)
      guard try student.size(1) == teacher.size(1) else {
        throw DistillationError(
          "activation_statistics: \(pair.student) has \(try student.size(1)) channels, the teacher's \(pair.teacher) "
            + "\(try teacher.size(1))")
      }
      return try activationStatisticsLoss(studentRows: student, teacherRows: teacher)
    }.total() * Double(count(input.batch))
  }
}

/// The activations with a row for each place, `[rows, C]`; in sequences, for each token that counts.
private func channelRows(_ activations: Tensor, at tap: Tap, _ batch: Batch) throws -> Tensor {
  let shape = activations.shape
  switch shape.count {
  case 2: return activations
  case 3:
    guard let tokens = batch.tokens else { return try activations.flattened(from: 0, to: 1) }
    return try tokens.rows(activations)
  case 4: return try activations.permuted([0, 2, 3, 1]).flattened(from: 0, to: 2)
  default:
    throw DistillationError("statistics need [N, C, H, W], [N, L, C] or [N, C]; the activation at \(tap) is \(shape)")
  }
}

/// The mean over channels of (μ − μ′)² + (σ² − σ′²)², a scalar; variances divide by the number of rows.
///
/// Computed in float32. No gradient goes to the teacher.
///
/// - Parameters:
///   - studentRows: `[rows, C]`
///   - teacherRows: `[rows, C]`, not necessarily as many rows
public func activationStatisticsLoss(studentRows: Tensor, teacherRows: Tensor) throws -> Tensor {
  let shapes = [studentRows.shape, teacherRows.shape]
  guard shapes.allSatisfy({ $0.count == 2 && $0[0] > 0 }), shapes[0][1] == shapes[1][1] else {
    throw TorchError(
      operation: "activationStatisticsLoss", shapes: shapes, dtypes: [studentRows.dtype, teacherRows.dtype],
      message: "activations must be [rows, channels] with the same channels and at least one row")
  }
  return try studentRows.asLoss { student in
    let teacher = try teacherRows.detached().precise()
    let means = try student.mean(along: 0) - teacher.mean(along: 0)
    let variances = try student.variance(along: 0, correction: 0) - teacher.variance(along: 0, correction: 0)
    return try (means.squared() + variances.squared()).mean()
  }
}
