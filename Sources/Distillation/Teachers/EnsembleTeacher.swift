import DistillData
import Foundation
import Torch
import TorchNN

/// Several teachers that teach as one.
///
/// Members may differ in architecture, and may have been trained on other data; those that know a part of the classes
/// only are wrapped in `ClassSubsetTeacher`. A term can choose one of the members (`Objective.Entry.teacher`), and has its
/// layers to tap then.
public final class EnsembleTeacher: Teacher {
  private let members: [any Teacher]
  private let weights: [Double]
  private let average: EnsembleAverage
  private let weighting: MemberWeighting
  public let memberNames: [String]

  /// - Parameters:
  ///   - weights: how much each member counts; equal if nil. They are scaled to sum to 1.
  ///   - weighting: whether they are the weights for all examples, or change with each member's confidence
  ///   - names: by which terms choose members; `0`, `1`, … if nil
  /// - Throws: `DistillationError` when there is no member, or weights or names do not fit.
  public init(
    _ members: [any Teacher], weights: [Double]? = nil, average: EnsembleAverage = .arithmetic,
    weighting: MemberWeighting = .fixed, names: [String]? = nil
  ) throws {
    let given = weights ?? members.map { _ in 1 }
    let total = given.reduce(0, +)
    let names = names ?? members.indices.map(String.init)
    guard !members.isEmpty else { throw DistillationError("an ensemble needs at least one member") }
    guard given.count == members.count else {
      throw DistillationError("an ensemble of \(members.count) members was given \(given.count) weights")
    }
    guard given.allSatisfy({ $0 > 0 && $0.isFinite }), total.isFinite else {
      throw DistillationError("the weights of an ensemble's members must be positive, not \(given)")
    }
    guard names.count == members.count, Set(names).count == names.count else {
      throw DistillationError("an ensemble of \(members.count) members needs a name for each, all different: \(names)")
    }
    if case .confidence(let sharpness) = weighting, !(sharpness >= 0 && sharpness.isFinite) {
      throw DistillationError("the sharpness of an ensemble's weights must be a number of at least 0, not \(sharpness)")
    }
    self.members = members
    self.weights = given.map { $0 / total }
    self.average = average
    self.weighting = weighting
    memberNames = names
  }

  /// Weights for members by what they scored on validation examples, such as their accuracies:
  ///
  ///     wₘ = sₘ^power / Σ s^power
  ///
  /// With power 1 they are proportional to the scores; accuracies lie close together, so that a larger power is needed to
  /// tell good members from very good ones. Power 0 makes them equal.
  ///
  /// - Parameter scores: positive; larger is better. Never those of the test split.
  /// - Throws: `DistillationError` when there is none, one is not positive, or a weight is too small for a number.
  public static func weights(byScore scores: [Double], power: Double = 1) throws -> [Double] {
    guard let largest = scores.max(), scores.allSatisfy({ $0 > 0 && $0.isFinite }) else {
      throw DistillationError("the scores that an ensemble is weighted by must be positive numbers, not \(scores)")
    }
    guard power >= 0, power.isFinite else {
      throw DistillationError("the power of the scores must be a number of at least 0, not \(power)")
    }
    // Divided by the largest, no power overflows.
    let powers = scores.map { Foundation.pow($0 / largest, power) }
    guard powers.allSatisfy({ $0 > 0 }) else {
      throw DistillationError(
        "with power \(power) a member's weight vanishes beside the best one's: leave the member out, or lower the power"
      )
    }
    let total = powers.reduce(0, +)
    return powers.map { $0 / total }
  }

  public func requireFit(_ loader: DataLoader) throws {
    for member in members { try member.requireFit(loader) }
  }

  public func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
    try trace(batch, taps: taps, memberTaps: [:])
  }

  public func trace(_ batch: Batch, taps: [Tap], memberTaps: [Int: [Tap]]) throws -> TeacherTrace {
    // One alone is what all of them have in common.
    guard taps.isEmpty || members.count == 1 else {
      throw DistillationError(
        "an ensemble has no layers in common to tap: terms on layers need a single teacher, or one of the members")
    }
    if let wrong = memberTaps.keys.first(where: { !members.indices.contains($0) }) {
      throw DistillationError("the ensemble of \(members.count) members has no member \(wrong)")
    }
    var traces: [TeacherTrace] = []
    var memberWeights: [Double] = []
    for (index, member) in members.enumerated() {
      let trace = try member.trace(batch, taps: taps + (memberTaps[index] ?? []))
      traces.append(trace)
      memberWeights += trace.memberWeights.map { $0 * weights[index] }
    }
    var all = TeacherTrace(
      memberLogits: traces.flatMap(\.memberLogits), memberWeights: memberWeights, average: average,
      weighting: weighting, memberClasses: traces.flatMap(\.memberClasses))
    all.memberKept = traces.flatMap(\.memberKept)
    _ = try all.classCount()
    if traces.count == 1 { all.activations = traces[0].activations }
    all.memberTraces = traces
    all.memberNames = memberNames
    return all
  }

  public func trainingWillStart(student: any Layer, step: Int) throws {
    for member in members { try member.trainingWillStart(student: student, step: step) }
  }

  public func studentDidStep(_ student: any Layer, step: Int) throws {
    for member in members { try member.studentDidStep(student, step: step) }
  }

  public var trainingState: [NamedTensor] {
    members.enumerated().flatMap { index, member in
      member.trainingState.map { NamedTensor(name: "\(index).\($0.name)", tensor: $0.tensor) }
    }
  }
}
