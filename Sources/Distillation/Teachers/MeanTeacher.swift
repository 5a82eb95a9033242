import DistillData
import Torch
import TorchNN

/// A teacher that is the student's own past: its weights are an exponential moving average of the student's.
///
/// After the student's step number t
///
///     θ′ ← a θ′ + (1 − a) θ,   a = min(decay, 1 − 1 / (t + 1))
///
/// so that in the beginning, when the student gets better fast, it is the plain mean of all weights so far, and the first
/// random ones are soon forgotten. Running statistics of batch normalization are averaged in the same way; whole numbers
/// are copied. Before the first step it takes over the student's weights.
///
/// The average teaches: it runs in evaluation mode, without gradient, and no optimizer sees it. What makes the student
/// differ from it is dropout and the noise of single steps. The paper compares probabilities with a squared distance whose
/// weight rises in the first part of the training; soft targets with `weight: Ramp(from: 0, to: 1)` are the counterpart.
///
/// Its weights are part of the training's checkpoint. `model` holds them afterwards, and often is the better model to
/// keep.
///
/// ## Reference
/// Tarvainen, Valpola: Mean teachers are better role models: Weight-averaged consistency targets improve semi-supervised
/// deep learning results. NIPS 2017, arXiv:1703.01780.
public final class MeanTeacher: Teacher {
  /// The average.
  public let model: any Layer
  private let frozen: FrozenTeacher
  private let decay: Double

  /// - Parameters:
  ///   - model: another model of the student's architecture, on its device; its weights are overwritten
  ///   - decay: the largest a, from 0 up to 1: at 0 the teacher is the student, at 1 the mean of all it ever was
  /// - Throws: `DistillationError` when the decay is out of range.
  public init(_ model: any Layer, decay: Double = 0.999, precision: Precision = .float32) throws {
    guard (0...1).contains(decay) else {
      throw DistillationError("the decay of a mean teacher must lie between 0 and 1, not \(decay)")
    }
    self.model = model
    self.decay = decay
    // It changes with every step.
    frozen = FrozenTeacher(model, precision: precision, folds: false)
  }

  public func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace { try frozen.trace(batch, taps: taps) }

  public func linearOutput(_ batch: Batch) throws -> LinearOutput? { try frozen.linearOutput(batch) }

  public func trainingWillStart(student: any Layer, step: Int) throws {
    guard student !== model else {
      throw DistillationError("a mean teacher needs a model of its own: it was given the student's")
    }
    let pairs = try self.pairs(with: student)
    if step == 0 { try withoutGradient { for pair in pairs { try pair.own.copy(from: pair.students) } } }
  }

  public func studentDidStep(_ student: any Layer, step: Int) throws {
    let factor = min(decay, 1 - 1 / Double(step + 1))
    try withoutGradient {
      for pair in try pairs(with: student) {
        if pair.own.dtype.isFloatingPoint {
          try pair.own.multiply(by: factor)
          try pair.own.add(pair.students, scale: 1 - factor)
        } else {
          try pair.own.copy(from: pair.students)
        }
      }
    }
  }

  public var trainingState: [NamedTensor] { model.state }

  /// The tensors of both, found once: the walk over a model is too slow for every step.
  private var known: (student: ObjectIdentifier, pairs: [Pair])?

  private struct Pair {
    let own: Tensor
    let students: Tensor
  }

  private func pairs(with student: any Layer) throws -> [Pair] {
    if let known, known.student == ObjectIdentifier(student) { return known.pairs }
    let own = model.state
    let others = student.state
    guard own.map(\.name) == others.map(\.name), zip(own, others).allSatisfy({ $0.tensor.shape == $1.tensor.shape })
    else {
      throw DistillationError("a mean teacher must have the architecture of the student: their parameters differ")
    }
    let pairs = zip(own, others).map { Pair(own: $0.tensor, students: $1.tensor) }
    known = (ObjectIdentifier(student), pairs)
    return pairs
  }
}
