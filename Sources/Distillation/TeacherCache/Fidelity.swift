import DistillData
import Foundation
import Torch

extension TeacherCache {
  /// How near what was kept is to what the teacher said, and what it cost; measured while labelling, shard by shard.
  ///
  /// Of sequences it is about the tokens that count.
  public struct Fidelity: Codable, Equatable, Sendable {
    /// KL(exact ‖ kept) in nats at a temperature.
    public struct Divergence: Codable, Equatable, Sendable {
      public var temperature: Double
      public var sum: Double
      public var maximum: Double
    }

    /// Of a layer.
    public struct FeatureError: Codable, Equatable, Sendable {
      public var squaredError: Double
      public var squaredNorm: Double

      /// √(Σ (kept − exact)² / Σ exact²)
      public var relative: Double { squaredNorm > 0 ? (squaredError / squaredNorm).squareRoot() : 0 }

      private enum CodingKeys: String, CodingKey {
        case squaredError = "squared_error"
        case squaredNorm = "squared_norm"
      }
    }

    /// Labelled examples, each view counted.
    public var exampleCount = 0
    /// Examples or tokens that the numbers below are about.
    public var rowCount = 0
    public var divergences: [Divergence] = []
    /// Rows where the likeliest class of what was kept is the teacher's.
    public var topOneAgreements = 0
    /// The sum over the rows of the probability, at the first temperature, of the classes that were kept; of drawn ones at
    /// the temperature of the draws.
    public var keptMass = 0.0
    public var features: [FeatureError] = []
    /// Of all tensors.
    public var byteCount = 0
    /// Seconds that the teacher took.
    public var teacherSeconds = 0.0

    private enum CodingKeys: String, CodingKey {
      case exampleCount = "example_count"
      case rowCount = "row_count"
      case divergences
      case topOneAgreements = "top_one_agreements"
      case keptMass = "kept_mass"
      case features
      case byteCount = "byte_count"
      case teacherSeconds = "teacher_seconds"
    }

    init(_ contents: Contents) {
      divergences = contents.temperatures.map { Divergence(temperature: $0, sum: 0, maximum: 0) }
      features = contents.features.map { _ in FeatureError(squaredError: 0, squaredNorm: 0) }
    }

    /// The mean of KL(exact ‖ kept) at a temperature, in nats; nil where it was not measured, as for drawn classes, which
    /// are no distribution.
    public func meanDivergence(at temperature: Double) -> Double? {
      divergences.first { $0.temperature == temperature }.map { $0.sum / Double(max(1, rowCount)) }
    }

    /// The share of the rows whose likeliest class is the teacher's.
    public var topOneAgreement: Double { Double(topOneAgreements) / Double(max(1, rowCount)) }
    public var meanKeptMass: Double { keptMass / Double(max(1, rowCount)) }
    public var bytesPerExample: Double { Double(byteCount) / Double(max(1, exampleCount)) }

    /// Of the examples of both; of one cache.
    public static func + (left: Fidelity, right: Fidelity) -> Fidelity {
      var sum = left
      sum.exampleCount += right.exampleCount
      sum.rowCount += right.rowCount
      for (index, other) in right.divergences.enumerated() where sum.divergences.indices.contains(index) {
        sum.divergences[index].sum += other.sum
        sum.divergences[index].maximum = max(sum.divergences[index].maximum, other.maximum)
      }
      sum.topOneAgreements += right.topOneAgreements
      sum.keptMass += right.keptMass
      for (index, other) in right.features.enumerated() where sum.features.indices.contains(index) {
        sum.features[index].squaredError += other.squaredError
        sum.features[index].squaredNorm += other.squaredNorm
      }
      sum.byteCount += right.byteCount
      sum.teacherSeconds += right.teacherSeconds
      return sum
    }

    /// Counts rows in.
    ///
    /// - Parameters:
    ///   - exact: what the teacher said
    ///   - kept: what would be read back
    ///   - tokens: those that count, where the outputs are those of tokens
    mutating func add(
      exact: TeacherTrace, kept: TeacherTrace, exactFeatures: [Tensor], keptFeatures: [Tensor], tokens: Tokens?
    ) throws {
      try withoutGradient {
        var (exact, kept) = (exact, kept)
        if let tokens, exact.memberLogits.allSatisfy({ $0.rank == 3 }) {
          (exact, kept) = (try exact.mappingRows(tokens.rows), try kept.mappingRows(tokens.rows))
        }
        let temperatures = divergences.map(\.temperature)
        for (index, temperature) in temperatures.enumerated() {
          let own = try exact.logSoftTargets(temperature: temperature)
          let others = try kept.logSoftTargets(temperature: temperature)
          // Rounding can leave a divergence of zero a little below.
          let rows = try (own.exponential() * (own - others)).sum(along: -1).flattened().clamped(from: 0)
          if index == 0 { try count(own, others) }
          guard rows.count > 0 else { continue }
          divergences[index].sum += try rows.to(.float64).sum().item()
          divergences[index].maximum = max(divergences[index].maximum, try rows.maximum(along: 0).item())
        }
        if let drawn = kept.memberKept.first ?? nil, case .drawn(let temperature, _, let weights) = drawn.others {
          try count(drawn, weights, exact.logSoftTargets(temperature: temperature))
        } else {
          keptMass += try exact.massOfKept(in: kept, temperature: temperatures.first ?? 1)
        }
        for (index, pair) in zip(exactFeatures, keptFeatures).enumerated() {
          let values = try pair.0.to(.cpu, dtype: .float64)
          features[index].squaredError += try (values - pair.1.to(.float64)).squared().sum().item()
          features[index].squaredNorm += try values.squared().sum().item()
        }
      }
    }

    private mutating func count(_ own: Tensor, _ others: Tensor) throws {
      rowCount += own.count / max(1, try own.size(-1))
      guard own.count > 0 else { return }
      topOneAgreements += try own.sameWinners(as: others)
    }

    /// Of drawn classes the one with the largest weight in all is the likeliest.
    private mutating func count(_ drawn: KeptLogits, _ weights: Tensor?, _ own: Tensor) throws {
      rowCount += own.count / max(1, try own.size(-1))
      guard own.count > 0 else { return }
      let classCount = drawn.classCount
      let rows = try own.reshaped([-1, classCount])
      let classes = try drawn.classes.reshaped([rows.size(0), -1])
      let numbers: [Int64] = try classes.array()
      let shares = try weights?.floats()
      let samples = try classes.size(1)
      var winners: [Int64] = []
      for row in 0..<(try rows.size(0)) {
        var totals: [Int64: Float] = [:]
        for place in row * samples..<(row + 1) * samples { totals[numbers[place], default: 0] += shares?[place] ?? 1 }
        winners.append(totals.max { ($0.value, -$0.key) < ($1.value, -$1.key) }?.key ?? 0)
      }
      let best: [Int64] = try rows.argumentOfMaximum(along: -1).array()
      topOneAgreements += zip(winners, best).count { $0 == $1 }
      // Each class once: 1 where it was drawn.
      let mask = try Tensor.zeros(rows.shape).overwritten(at: classes, along: -1, with: 1)
      keptMass += try (rows.exponential() * mask).to(.float64).sum().item()
    }
  }
}

extension Tensor {
  /// In how many rows `[..., C]` the largest element stands in the same place.
  fileprivate func sameWinners(as other: Tensor) throws -> Int {
    Int(
      try argumentOfMaximum(along: -1).equals(other.argumentOfMaximum(along: -1)).to(.float64).sum().item())
  }
}

extension TeacherTrace {
  /// The sum over the rows of the probability of the classes that were kept, the weighted mean of the members'.
  fileprivate func massOfKept(in kept: TeacherTrace, temperature: Double) throws -> Double {
    var total = 0.0
    for (member, weight) in memberWeights.enumerated() {
      let log = try (memberLogits[member].to(.cpu, dtype: .float32) * (1 / temperature)).logSoftmax()
      if let classes = kept.memberKept[member]?.classes {
        total += weight * (try log.picked(classes, along: -1).exponential().to(.float64).sum().item())
      } else {
        total += weight * Double(log.count / max(1, try log.size(-1)))
      }
    }
    return total
  }
}
