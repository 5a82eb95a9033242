import Distillation

/// What a model costs on one input.
public enum ComparisonCost: String, Codable, Sendable, CaseIterable {
  case multiplyAdds = "multiply_adds"
  case latency = "latency_seconds"

  func value(_ figures: MetricsFile.Figures) -> Double? {
    switch self {
    case .multiplyAdds: figures.multiplyAdds.map(Double.init)
    case .latency: figures.latencySeconds
    }
  }

  var title: String {
    switch self {
    case .multiplyAdds: "multiply-adds"
    case .latency: "latency"
    }
  }

  func text(_ cost: Double) -> String {
    switch self {
    case .multiplyAdds: Quantity.count(Int(cost.rounded()))
    case .latency: Quantity.seconds(cost)
    }
  }
}

extension ComparisonData {
  /// A model in the figure of scores against costs.
  public struct CostPoint: Codable, Sendable {
    public var name: String
    public var cost: Double
    /// By the metric that was asked for.
    public var score: Double
    /// The standard deviation of the score over the seeds.
    public var deviation: Double?
    /// Whether no model that costs as much or less is as good.
    public var isOnFrontier = false
  }

  /// All models whose cost and score are known, cheapest first. Of teachers only the accuracy is.
  static func costs(
    _ cost: ComparisonCost, arms: [Arm], teachers: [Teacher], metric: ComparisonMetric
  ) -> [CostPoint] {
    var points = arms.compactMap { arm -> CostPoint? in
      guard let cost = cost.value(arm.figures), let score = arm.score(metric) else { return nil }
      return CostPoint(name: arm.name, cost: cost, score: score.mean, deviation: score.deviation)
    }
    if metric == .accuracy {
      points += teachers.compactMap { teacher in
        guard let cost = cost.value(teacher.figures), let accuracy = teacher.accuracy else { return nil }
        return CostPoint(name: teacher.name, cost: cost, score: accuracy)
      }
    }
    return withFrontier(
      points.filter { $0.cost.isFinite && $0.cost > 0 && $0.score.isFinite }, isBetterHigh: metric.isBetterHigh)
  }

  /// The points, cheapest first, with those marked that no cheaper one beats.
  static func withFrontier(_ points: [CostPoint], isBetterHigh: Bool) -> [CostPoint] {
    func isBetter(_ score: Double, than other: Double) -> Bool { isBetterHigh ? score > other : score < other }
    var best: Double?
    return points.sorted { $0.cost != $1.cost ? $0.cost < $1.cost : isBetter($0.score, than: $1.score) }
      .map { point in
        var point = point
        point.isOnFrontier = best.map { isBetter(point.score, than: $0) } ?? true
        if point.isOnFrontier { best = point.score }
        return point
      }
  }
}
