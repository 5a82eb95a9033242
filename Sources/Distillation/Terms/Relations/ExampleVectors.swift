import Torch
import TorchNN

// What terms on relations between examples share: each example is one vector, whatever its activation's shape.

extension TermInput {
  /// The activations at a pair of places as one vector for each example, `[N, F]` for the student and `[N, G]` for the
  /// teacher, in float32, the teacher's without history. Maps and sequences are flattened.
  ///
  /// - Throws: `DistillationError` when there is no teacher, an activation has no dimension beside the examples, or the
  ///   examples are not the same; `TapError` when nothing was recorded there.
  func vectors(at layers: LayerPair, for term: String) throws -> (student: Tensor, teacher: Tensor) {
    let student = try student(at: layers.student)
    let teacher = try teacher(at: layers.teacher, for: term).detached()
    for (name, tap, shape) in [("student", layers.student, student.shape), ("teacher", layers.teacher, teacher.shape)]
    where shape.count < 2 || shape.contains(0) {
      throw DistillationError(
        "the term \(term) takes activations [N, ...] with at least one number for each example; the \(name)'s \(tap) "
          + "gives \(shape)")
    }
    guard student.shape[0] == teacher.shape[0] else {
      throw DistillationError(
        "the term \(term) compares the student's \(layers.student) \(student.shape) with the teacher's "
          + "\(layers.teacher) \(teacher.shape): they are not of the same examples")
    }
    return (try student.flattened(from: 1), try teacher.flattened(from: 1))
  }
}

/// Activations `[N, ...]` of student and teacher as vectors `[N, F]` and `[N, G]`, the teacher's without history.
///
/// - Throws: `TorchError` unless both are of the same examples and have at least one number for each.
func exampleVectors(_ loss: String, _ student: Tensor, _ teacher: Tensor) throws -> (student: Tensor, teacher: Tensor) {
  let shapes = [student.shape, teacher.shape]
  guard shapes.allSatisfy({ $0.count >= 2 && !$0.contains(0) }), shapes[0][0] == shapes[1][0] else {
    throw TorchError(
      operation: loss, shapes: shapes, dtypes: [student.dtype, teacher.dtype],
      message: "student and teacher must be [N, ...] with the same number of examples")
  }
  return (try student.flattened(from: 1), try teacher.detached().precise().flattened(from: 1))
}
