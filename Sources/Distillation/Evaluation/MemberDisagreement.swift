import Foundation
import Torch

/// How far the members of an ensemble differ: there is nothing to gain from members that say the same.
///
/// Compared is what each says at temperature 1 of the classes that all of them know, made to sum to 1 over these.
public struct MemberDisagreement: Codable, Sendable, Equatable {
  /// The mean over examples of the Jensen-Shannon divergence of the members, in nats:
  ///
  ///     Σ wₘ KL(pₘ ‖ p̄) = H(p̄) − Σ wₘ H(pₘ),   p̄ = Σ wₘ pₘ
  ///
  /// with the members' fixed weights w. It is 0 where all agree, and at most the entropy of the weights: log 2 for two.
  public var jensenShannon: Double
  /// The part of the examples for which not all members name the same class first.
  public var topOne: Double
  /// The number of examples.
  public var count: Int

  public init(jensenShannon: Double, topOne: Double, count: Int) {
    self.jensenShannon = jensenShannon
    self.topOne = topOne
    self.count = count
  }

  /// Of the examples of both.
  public static func + (left: MemberDisagreement, right: MemberDisagreement) -> MemberDisagreement {
    let count = left.count + right.count
    let share = Double(left.count) / Double(max(1, count))
    return MemberDisagreement(
      jensenShannon: left.jensenShannon * share + right.jensenShannon * (1 - share),
      topOne: left.topOne * share + right.topOne * (1 - share), count: count)
  }
}

extension TeacherTrace {
  /// How far the members differ about the examples of the batch; where outputs are those of tokens, about the tokens.
  ///
  /// - Throws: `DistillationError` when there is one member only, or there are no two classes that all of them know.
  public func disagreement() throws -> MemberDisagreement {
    guard memberLogits.count > 1 else {
      throw DistillationError("disagreement is between members: the teacher has one only")
    }
    if let kept = memberKept.compactMap(\.self).first {
      throw kept.refusal(of: "how far members differ is measured on all of their logits")
    }
    let count = try classCount()
    let common = memberClasses.compactMap { $0.map { Set($0.classes) } }
      .reduce(Set(0..<count)) { $0.intersection($1) }.sorted()
    guard common.count > 1 else {
      throw DistillationError("the ensemble's members cannot be compared: no two classes are known to all of them")
    }
    return try withoutGradient {
      let logs = try zip(memberLogits, memberClasses).map { logits, classes in
        var places = common
        if let classes { places = common.compactMap { classes.classes.firstIndex(of: $0) } }
        let known = try Tensor(places).to(logits.device)
        return try logits.to(.float64).gathered(known, along: -1).logSoftmax().reshaped([-1, common.count])
      }
      let weights = try Tensor(memberWeights.map { Foundation.log($0) }, shape: [logs.count, 1, 1])
        .to(logs[0].device)
      let stacked = try Tensor.stacked(logs)
      let mean = try (stacked + weights).logSumExp(along: 0, keepDimensions: true)
      let divergence = try ((weights + stacked).exponential() * (stacked - mean)).sum()
      let winners = try stacked.argumentOfMaximum(along: -1)
      let lowest = try winners.minimum(along: 0)
      let differ = try winners.maximum(along: 0).equals(lowest).not().to(.float64).sum()
      let rows = try stacked.size(1)
      let total = Double(max(1, rows))
      return MemberDisagreement(
        // Rounding can leave a divergence of zero a little below.
        jensenShannon: max(0, try divergence.item() / total), topOne: try differ.item() / total, count: rows)
    }
  }
}

extension EvaluationSet {
  /// How far the members of an ensemble differ about all examples.
  ///
  /// - Throws: `DistillationError` when the teacher has no members, or there is nothing to compare.
  public func disagreement(of teacher: any Teacher) throws -> MemberDisagreement {
    var sum = MemberDisagreement(jensenShannon: 0, topOne: 0, count: 0)
    try forEachBatch { sum = sum + (try teacher.trace($0).disagreement()) }
    return sum
  }
}
