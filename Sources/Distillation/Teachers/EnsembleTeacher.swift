import DistillData
import Torch
import TorchNN

/// Several teachers that teach as one.
public final class EnsembleTeacher: Teacher {
  private let members: [any Teacher]
  private let weights: [Double]
  private let average: EnsembleAverage

  /// - Parameter weights: how much each member counts; equal if nil. They are scaled to sum to 1.
  /// - Throws: `DistillationError` when there is no member, or the weights do not fit.
  public init(_ members: [any Teacher], weights: [Double]? = nil, average: EnsembleAverage = .arithmetic) throws {
    let given = weights ?? members.map { _ in 1 }
    let total = given.reduce(0, +)
    guard !members.isEmpty else { throw DistillationError("an ensemble needs at least one member") }
    guard given.count == members.count else {
      throw DistillationError("an ensemble of \(members.count) members was given \(given.count) weights")
    }
    guard given.allSatisfy({ $0 > 0 && $0.isFinite }), total.isFinite else {
      throw DistillationError("the weights of an ensemble's members must be positive, not \(given)")
    }
    self.members = members
    self.weights = given.map { $0 / total }
    self.average = average
  }

  public func requireFit(_ loader: DataLoader) throws {
    for member in members { try member.requireFit(loader) }
  }

  public func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
    guard taps.isEmpty else {
      throw DistillationError("an ensemble has no layers in common to tap: terms on layers need a single teacher")
    }
    var logits: [Tensor] = []
    var memberWeights: [Double] = []
    for (member, weight) in zip(members, weights) {
      let trace = try member.trace(batch)
      logits += trace.memberLogits
      memberWeights += trace.memberWeights.map { $0 * weight }
    }
    let classCounts = try logits.map { try $0.size(-1) }
    guard Set(classCounts).count == 1 else {
      throw DistillationError("the ensemble's members give different numbers of classes: \(classCounts)")
    }
    return TeacherTrace(memberLogits: logits, memberWeights: memberWeights, average: average)
  }
}
