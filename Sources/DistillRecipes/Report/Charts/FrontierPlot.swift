import Foundation

/// Accuracy against what a model costs, with the frontier: the models that no other one beats in both.
struct FrontierPlot {
  struct Point {
    var name: String
    var tone: Tone
    /// What it costs; larger than 0.
    var cost: Double
    var value: Double
    /// The standard deviation over the seeds.
    var deviation: Double?
    /// Whether no other model beats it in both.
    var isOnFrontier = false
  }

  var id: String
  var title: String
  /// Cheapest first.
  var points: [Point]
  /// How a cost is written.
  var costText: (Double) -> String
  /// How a value is written.
  var valueText: (Double) -> String
  var isShare = true

  private static let width = 460.0
  private static let height = 290.0
  private static let left = 50.0
  private static let right = 14.0
  private static let top = 18.0
  private static let bottom = 34.0

  /// `nil` where there is nothing to draw.
  func markup() -> Markup? {
    guard points.count > 1 else { return nil }
    let costs = points.map { log10($0.cost) }
    let horizontal = Scale(over: costs, start: Self.left, end: Self.width - Self.right, air: 0.12)
    let ends = points.flatMap { [$0.value - ($0.deviation ?? 0), $0.value + ($0.deviation ?? 0)] }
    let vertical = Scale(
      over: ends, start: Self.height - Self.bottom, end: Self.top, air: 0.1, within: isShare ? 0...1 : nil)
    return element("figure", ["class": "chart frontier-chart"]) {
      element("figcaption") { title }
      drawing(id, title: title, description: description(points), width: Self.width, height: Self.height) {
        axes(horizontal, vertical)
        line(through: points.filter(\.isOnFrontier), horizontal, vertical)
        for point in points { mark(point, horizontal, vertical) }
        for (point, place) in zip(points, labels(points, horizontal, vertical)) { label(point, at: place) }
      }
    }
  }

  private func description(_ points: [Point]) -> String {
    points.map { "\($0.name): \(valueText($0.value)) at \(costText($0.cost))." }.joined(separator: " ")
  }

  private func axes(_ horizontal: Scale, _ vertical: Scale) -> Markup {
    element("g", ["class": "axis"]) {
      valueAxis(vertical, ticks: 5, from: Self.left, to: Self.width - Self.right, isShare: isShare)
      for cost in costTicks(horizontal) {
        let x = coordinate(horizontal(log10(cost)))
        element(
          "line", ["x1": x, "x2": x, "y1": coordinate(Self.top), "y2": coordinate(Self.height - Self.bottom)])
        element("text", ["x": x, "y": coordinate(Self.height - 14), "text-anchor": "middle"]) { costText(cost) }
      }
    }
  }

  /// Round numbers: powers of ten, with twice and five times these where there are few.
  private func costTicks(_ scale: Scale) -> [Double] {
    let powers = Int(scale.low.rounded(.down))...Int(scale.high.rounded(.up))
    for factors in [[1.0], [1, 3], [1, 2, 5]] {
      let ticks = powers.flatMap { power in factors.map { $0 * pow(10, Double(power)) } }
        .filter { log10($0) >= scale.low && log10($0) <= scale.high }
      if ticks.count >= 2, ticks.count <= 6 { return ticks }
    }
    // Almost alike: their own costs.
    return [points.first?.cost, points.last?.cost].compactMap(\.self).reduce(into: []) { ticks, cost in
      if ticks.last != cost { ticks.append(cost) }
    }
  }

  private func line(through points: [Point], _ horizontal: Scale, _ vertical: Scale) -> Markup {
    guard points.count > 1 else { return Markup() }
    let places = points.map { "\(coordinate(horizontal(log10($0.cost)))) \(coordinate(vertical($0.value)))" }
    return element("path", ["class": "frontier", "d": "M" + places.joined(separator: "L")])
  }

  private func mark(_ point: Point, _ horizontal: Scale, _ vertical: Scale) -> Markup {
    let (x, y) = (coordinate(horizontal(log10(point.cost))), coordinate(vertical(point.value)))
    return element("g", ["class": point.tone.className]) {
      element("title") {
        "\(point.name)\n\(valueText(point.value))"
          + (point.deviation.map { " ± \(valueText($0))" } ?? "") + "\n\(costText(point.cost))"
      }
      if let deviation = point.deviation, deviation.isFinite {
        element(
          "line",
          [
            "class": "spread", "x1": x, "x2": x, "y1": coordinate(vertical(point.value - deviation)),
            "y2": coordinate(vertical(point.value + deviation)),
          ])
      }
      element("circle", ["class": "mark", "cx": x, "cy": y, "r": "6"])
    }
  }

  /// Beside the marks, moved down where they would lie on each other.
  private func labels(_ points: [Point], _ horizontal: Scale, _ vertical: Scale) -> [(
    x: Double, y: Double, isLeft: Bool
  )] {
    var taken: [(x: Double, y: Double)] = []
    var places = [(x: Double, y: Double, isLeft: Bool)](repeating: (0, 0, false), count: points.count)
    for index in points.indices.sorted(by: { points[$0].value > points[$1].value }) {
      let x = horizontal(log10(points[index].cost))
      var y = vertical(points[index].value)
      while taken.contains(where: { abs($0.x - x) < 110 && abs($0.y - y) < 13 }) { y += 13 }
      taken.append((x, y))
      places[index] = (x, min(y, Self.height - Self.bottom - 2), x > Self.width * 0.62)
    }
    return places
  }

  private func label(_ point: Point, at place: (x: Double, y: Double, isLeft: Bool)) -> Markup {
    element(
      "text",
      [
        "class": "point-name \(point.tone.className)", "x": coordinate(place.x + (place.isLeft ? -10 : 10)),
        // Above the frontier, which comes from the left.
        "y": coordinate(place.y + (place.isLeft ? -11 : 0)), "dy": "0.35em",
        "text-anchor": place.isLeft ? "end" : "start",
      ]
    ) { TextWidth.shortened(point.name, to: 26) }
  }
}
