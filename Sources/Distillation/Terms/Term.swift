import Foundation
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
  /// Trainable tensors of its own, such as a regressor's.
  var adapter: (any Module)? { get }

  /// The number of examples of a batch that count.
  func count(_ batch: Batch) -> Int
  /// The sum of the loss over them, a scalar in float32.
  func sum(_ input: TermInput) throws -> Tensor
}

extension Term {
  public var needsTeacher: Bool { true }
  public var studentTaps: [Tap] { [] }
  public var teacherTaps: [Tap] { [] }
  public var adapter: (any Module)? { nil }
  public func count(_ batch: Batch) -> Int { batch.ids.count }
}

/// What a term sees of a batch.
public struct TermInput {
  public var student: Trace
  /// Nil where no term of the objective needs a teacher.
  public var teacher: TeacherTrace?
  public var batch: Batch
  /// Where the training stands: 0 at the start, 1 at the end. Schedules of temperatures follow it.
  public var progress: Double

  public init(student: Trace, teacher: TeacherTrace?, batch: Batch, progress: Double = 0) {
    self.student = student
    self.teacher = teacher
    self.batch = batch
    self.progress = progress
  }

  /// The teacher's trace.
  ///
  /// - Throws: `DistillationError` when there is no teacher.
  public func requireTeacher(for term: String) throws -> TeacherTrace {
    guard let teacher else { throw DistillationError("the term \(term) needs a teacher") }
    return teacher
  }
}

/// A number that may change while training goes on: constant, or from one value to another.
public struct Ramp: Sendable, Equatable {
  public enum Shape: String, Sendable, Codable, CaseIterable {
    case linear
    case cosine
  }

  public var from: Double
  public var to: Double
  public var shape: Shape

  public init(from: Double, to: Double, shape: Shape = .linear) {
    self.from = from
    self.to = to
    self.shape = shape
  }

  public init(_ value: Double) { self.init(from: value, to: value) }

  /// - Parameter progress: 0 at the start, 1 at the end
  public func value(at progress: Double) -> Double {
    let progress = min(max(progress, 0), 1)
    switch shape {
    case .linear: return from + (to - from) * progress
    case .cosine: return to + (from - to) * (1 + Foundation.cos(.pi * progress)) / 2
    }
  }
}

extension Ramp: ExpressibleByFloatLiteral, ExpressibleByIntegerLiteral {
  public init(floatLiteral value: Double) { self.init(value) }
  public init(integerLiteral value: Int) { self.init(Double(value)) }
}
