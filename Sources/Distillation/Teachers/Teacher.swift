import DistillData
import Foundation
import Torch
import TorchNN

/// Something that knows, and does not learn: a frozen model, an ensemble, or outputs that were computed before.
///
/// A teacher shows no parameters, so that no optimizer can take them; it runs in evaluation mode and without
/// gradient, whatever was done to its model elsewhere.
public protocol Teacher: AnyObject {
  /// What the teacher says of a batch: outputs that never require a gradient.
  func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace

  /// Makes sure that it can teach on what a loader shows: outputs that were computed before are those of certain inputs
  /// only.
  ///
  /// - Throws: `DistillationError` that says what differs.
  func requireFit(_ loader: DataLoader) throws
}

extension Teacher {
  public func requireFit(_ loader: DataLoader) throws {}

  public func trace(_ batch: Batch) throws -> TeacherTrace { try trace(batch, taps: []) }
}

/// What a teacher said of a batch: the logits of each of its members, how they are to be averaged, and activations.
public struct TeacherTrace {
  /// The logits of each member, `[N, C]`; one for a single teacher.
  public var memberLogits: [Tensor]
  /// The weight of each member; they sum to 1.
  public var memberWeights: [Double]
  public var average: EnsembleAverage
  public var activations: [Tap: Tensor]

  public init(
    memberLogits: [Tensor], memberWeights: [Double], average: EnsembleAverage, activations: [Tap: Tensor] = [:]
  ) {
    self.memberLogits = memberLogits
    self.memberWeights = memberWeights
    self.average = average
    self.activations = activations
  }

  /// The trace of a single teacher.
  public init(logits: Tensor, activations: [Tap: Tensor] = [:]) {
    self.init(memberLogits: [logits], memberWeights: [1], average: .logits, activations: activations)
  }

  /// - Throws: `TapError` when nothing was recorded there.
  public func activation(at tap: Tap) throws -> Tensor {
    guard let tensor = activations[tap] else { throw TapError(path: tap.path, suggestions: []) }
    return tensor
  }

  /// The logarithms of the soft targets at a temperature, `[N, C]`, in float32.
  ///
  /// For one member log softmax(v / T); for several their average as `EnsembleAverage` says, taken at that temperature.
  public func logSoftTargets(temperature: Double) throws -> Tensor {
    let scaled = try memberLogits.map { try $0.to(.float32) * (1 / temperature) }
    guard scaled.count > 1 else { return try scaled[0].logSoftmax() }
    switch average {
    case .arithmetic:
      let shifted = try zip(scaled, memberWeights).map { try $0.logSoftmax() + Foundation.log($1) }
      return try Tensor.stacked(shifted).logSumExp(along: 0)
    case .geometric, .logits:
      return try weightedSum(scaled).logSoftmax()
    }
  }

  /// One logit per class, `[N, C]`, in float32: what logit matching compares with.
  ///
  /// For the arithmetic mean the logarithm of the mean probability; for the geometric mean the weighted mean of the log
  /// probabilities; for the mean of logits just that.
  public func logits() throws -> Tensor {
    let members = try memberLogits.map { try $0.to(.float32) }
    guard members.count > 1 else { return members[0] }
    switch average {
    case .arithmetic: return try logSoftTargets(temperature: 1)
    case .geometric: return try weightedSum(members.map { try $0.logSoftmax() })
    case .logits: return try weightedSum(members)
    }
  }

  private func weightedSum(_ members: [Tensor]) throws -> Tensor {
    let weighted = try zip(members, memberWeights).map { try $0 * $1 }
    return try Tensor.stacked(weighted).sum(along: 0)
  }
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
