import DistillData
import Torch
import TorchNN

/// One part of what a student is trained to do: a distillation method, or the labels.
///
/// A term gives the sum of its loss over the examples that count for it, and their number. The objective divides once,
/// by the number in the whole step, so gradient accumulation and a short last batch change nothing.
public protocol Term: AnyObject {
  /// The name under which it is logged, such as `soft_targets`.
  var name: String { get }
  /// Whether it looks at the teacher.
  var needsTeacher: Bool { get }
  /// The activations it wants of the student.
  var studentTaps: [Tap] { get }
  /// The activations it wants of the teacher.
  var teacherTaps: [Tap] { get }
  /// The changed copies of the inputs that it wants student and teacher to see beside the plain ones.
  var transformations: [InputTransformation] { get }
  /// Whether it looks at the student's parameters, which `prepare` gives it then.
  var needsParameters: Bool { get }
  /// Layers of its own between student and teacher, such as a regressor: trained with the student, saved with the
  /// training, and no part of the student afterwards. Nil before `prepare`, for one whose shapes are the taps'.
  var adapter: (any Module)? { get }

  /// Makes what depends on the shapes of the taps. The objective calls it once, before the training, with what a batch
  /// gave; new layers take their numbers from the random stream in force.
  func prepare(_ first: TermInput) throws
  /// The number of examples of a batch that count.
  func count(_ batch: Batch) -> Int
  /// The sum of the loss over them, a scalar in float32.
  func sum(_ input: TermInput) throws -> Tensor
  /// What it is on a batch where logits are never held as a whole; nil, the default, where it needs them.
  func linearTerm(_ batch: Batch, progress: Double) -> LinearTerm?
}

extension Term {
  public var needsTeacher: Bool { true }
  public var studentTaps: [Tap] { [] }
  public var teacherTaps: [Tap] { [] }
  public var transformations: [InputTransformation] { [] }
  public var needsParameters: Bool { false }
  public var adapter: (any Module)? { nil }
  public func prepare(_ first: TermInput) throws {}
  public func count(_ batch: Batch) -> Int { batch.ids.count }
  public func linearTerm(_ batch: Batch, progress: Double) -> LinearTerm? { nil }

  /// Whether it looks at outputs alone. In a batch of sequences each token that counts is an example for it.
  var seesTokens: Bool { studentTaps.isEmpty && teacherTaps.isEmpty }
}

/// What a term sees of a batch.
public struct TermInput {
  public var student: Trace
  /// Nil where no term of the objective needs a teacher.
  public var teacher: TeacherTrace?
  public var batch: Batch
  /// Where the training stands: 0 at the start, 1 at the end. Schedules of temperatures follow it.
  public var progress: Double
  /// What student and teacher gave for the transformed copies that terms want; see `transformed(by:for:)`.
  public var transformed: [InputTransformation: TransformedInput] = [:]
  /// The student's parameters, in `prepare` only.
  public var parameters: [NamedTensor] = []

  public init(student: Trace, teacher: TeacherTrace?, batch: Batch, progress: Double = 0) {
    self.student = student
    self.teacher = teacher
    self.batch = batch
    self.progress = progress
  }

  /// Where the model gives an output for each token of a sequence: outputs `[R, C]` instead of `[N, L, C]`, with a row for
  /// each token that counts, and a batch in which each of these is an example. The objective gives this to terms that
  /// look at outputs alone.
  public func byToken() throws -> TermInput {
    guard let tokens = batch.tokens, batch.predictsTokens else { return self }
    var input = self
    input.batch = batch.byToken
    input.student.output = try tokens.rows(student.output)
    input.teacher = try teacher?.mappingRows(tokens.rows)
    return input
  }

  /// The student's activation at a tap, in float32.
  public func student(at tap: Tap) throws -> Tensor { try student.activation(at: tap).to(.float32) }

  /// The teacher's activation at a tap, in float32, never with a gradient.
  public func teacher(at tap: Tap, for term: String) throws -> Tensor {
    try requireTeacher(for: term).activation(at: tap).to(.float32)
  }

  /// The teacher's trace.
  ///
  /// - Throws: `DistillationError` when there is no teacher.
  public func requireTeacher(for term: String) throws -> TeacherTrace {
    guard let teacher else { throw DistillationError("the term \(term) needs a teacher") }
    return teacher
  }
}
