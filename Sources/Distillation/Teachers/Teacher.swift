import DistillData
import TorchNN

/// Something that knows, and does not learn: a frozen model, an ensemble, or outputs that were computed before.
///
/// A teacher shows no parameters, so that no optimizer can take them; it runs in evaluation mode and without
/// gradient, whatever was done to its model elsewhere.
public protocol Teacher: AnyObject {
  /// What the teacher says of a batch: outputs that never require a gradient.
  func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace

  /// The same, with taps into single members too, by their number. Only a teacher with members has any.
  func trace(_ batch: Batch, taps: [Tap], memberTaps: [Int: [Tap]]) throws -> TeacherTrace

  /// What the teacher says of a batch, before its last layer is computed, for losses that never hold all logits; nil, the
  /// default, for a teacher that gives logits.
  func linearOutput(_ batch: Batch) throws -> LinearOutput?

  /// The names of its members, among which a term can choose; empty for one that has none.
  var memberNames: [String] { get }

  /// Makes sure that it can teach on what a loader shows: outputs that were computed before are those of certain inputs
  /// only.
  ///
  /// - Throws: `DistillationError` that says what differs.
  func requireFit(_ loader: DataLoader) throws

  /// The training begins, or goes on after `step` steps; what `trainingState` holds was put back then. Called once,
  /// before the first step.
  func trainingWillStart(student: any Layer, step: Int) throws

  /// The student took a step: `step` steps have been taken now.
  func studentDidStep(_ student: any Layer, step: Int) throws

  /// What changes in it while the student is trained, for the training's checkpoint; nothing, for most. The names and
  /// shapes are the same all the time.
  var trainingState: [NamedTensor] { get }
}

extension Teacher {
  public func trace(_ batch: Batch, taps: [Tap], memberTaps: [Int: [Tap]]) throws -> TeacherTrace {
    guard memberTaps.isEmpty else { throw DistillationError("the teacher has no members to tap") }
    return try trace(batch, taps: taps)
  }

  public func linearOutput(_ batch: Batch) throws -> LinearOutput? { nil }

  public var memberNames: [String] { [] }

  public func requireFit(_ loader: DataLoader) throws {}

  public func trainingWillStart(student: any Layer, step: Int) throws {}

  public func studentDidStep(_ student: any Layer, step: Int) throws {}

  public var trainingState: [NamedTensor] { [] }

  public func trace(_ batch: Batch) throws -> TeacherTrace { try trace(batch, taps: []) }
}

/// How the members of an ensemble become one teacher.
///
/// The geometric mean of the members' distributions, made to sum to 1 again, is the softmax of their mean logits; so
/// `geometric` and `logits` give the same soft targets and differ only in the logits they show to logit matching.
///
/// ## Reference
/// Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network. arXiv:1503.02531, section 2.
public enum EnsembleAverage: String, Codable, Sendable, CaseIterable {
  /// The arithmetic mean of the members' probabilities.
  case arithmetic
  /// The geometric mean of the members' probabilities, normalized.
  case geometric
  /// The mean of the members' logits.
  case logits
}

/// How much each member of an ensemble counts.
public enum MemberWeighting: Sendable, Equatable {
  /// By its weight, for all examples alike.
  case fixed
  /// For each example by how sure the member is of it:
  ///
  ///     wₘ(x) ∝ wₘ · exp(−sharpness · Hₘ(x)),   Hₘ(x) = −Σ p log p,   p = softmax(vₘ(x))
  ///
  /// where wₘ is its fixed weight and Hₘ the entropy in nats of what it says at temperature 1, whatever the temperature of
  /// the term. At sharpness 0 the weights are the fixed ones; as it grows, the surest member alone counts.
  case confidence(sharpness: Double)
}
