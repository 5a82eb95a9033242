import DistillData
import Torch
import TorchNN

/// Similarity-preserving distillation: two examples that are alike to the teacher are to be alike to the student.
///
/// With the activations of a batch as rows of X `[N, F]` (student) and Y `[N, G]` (teacher), and ρ that brings each row
/// of a matrix to length one,
///
///     1/N² ‖ ρ(X Xᵀ) − ρ(Y Yᵀ) ‖²
///
/// (Frobenius norm). Only N × N similarities are compared, so the shapes of the two activations may differ and no adapter
/// is needed. A row of zeros stays one.
///
/// Takes activations `[N, ...]`, flattened; the layers' losses are added. The value belongs to the batch as a whole and
/// `sum` is N times it: the term sees one batch at a time, so a step put together of several batches has fewer relations
/// than one large batch.
///
/// ## Reference
/// Tung, Mori: Similarity-Preserving Knowledge Distillation. ICCV 2019, arXiv:1907.09682.
public final class SimilarityPreserving: LayerTerm {
  public static let kind = TermKind(
    "similarity_preserving", "which examples of a batch are alike", paper: "Tung and Mori 2019, arXiv:1907.09682",
    options: [.layers("the places whose activations are compared; the paper's is the last before pooling")]
  ) { try SimilarityPreserving(layers: $0.layers()) }

  public let name = "similarity_preserving"
  public let layers: [LayerPair]

  /// - Throws: `DistillationError` when there is no layer.
  public init(layers: [LayerPair]) throws {
    self.layers = layers
    try requireLayers(layers, for: name)
  }

  public func sum(_ input: TermInput) throws -> Tensor {
    try sumOverPairs(layers) { _, pair in
      let vectors = try input.vectors(at: pair, for: name)
      return try similarityPreservingLoss(studentVectors: vectors.student, teacherVectors: vectors.teacher).sum
    }
  }
}

/// The squared difference of the normalized similarity matrices of student and teacher; see `SimilarityPreserving`. The
/// sum is N times the value of the batch.
///
/// - Parameters:
///   - studentVectors: `[N, ...]`
///   - teacherVectors: `[N, ...]`, of the same examples
/// - Throws: `TorchError` when the shapes do not fit.
public func similarityPreservingLoss(studentVectors: Tensor, teacherVectors: Tensor) throws -> LossSum {
  let vectors = try exampleVectors("similarityPreservingLoss", studentVectors, teacherVectors)
  let count = vectors.student.shape[0]
  let sum = try vectors.student.asLoss { student in
    let own = try student.matmul(student.transposed(0, 1)).normalizedVectors()
    let wanted = try vectors.teacher.matmul(vectors.teacher.transposed(0, 1)).normalizedVectors()
    return try (own - wanted).squared().sum() / Double(count)
  }
  return LossSum(sum: sum, count: count)
}
