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
        for (point, label) in zip(points, labels(points, horizontal, vertical)) { markup(of: label, point) }
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

  // MARK: Names

  private struct Label {
    var x: Double
    var y: Double
    var anchor: String
    var width: Double

    private var left: Double { anchor == "start" ? x : anchor == "end" ? x - width : x - width / 2 }
    private static let halfHeight = 7.0

    func overlaps(_ other: Label) -> Bool {
      left < other.left + other.width && other.left < left + width && abs(y - other.y) < 2 * Self.halfHeight
    }

    func hides(_ place: (x: Double, y: Double)) -> Bool {
      place.x > left - 3 && place.x < left + width + 3 && abs(place.y - y) < Self.halfHeight
    }

    var isInside: Bool {
      left >= FrontierPlot.left && left + width <= FrontierPlot.width && y >= Self.halfHeight
        && y <= FrontierPlot.height - FrontierPlot.bottom
    }
  }

  /// Beside each mark its name, where it hides no mark, no line and no other name, or the least of them.
  private func labels(_ points: [Point], _ horizontal: Scale, _ vertical: Scale) -> [Label] {
    func place(_ point: Point) -> (x: Double, y: Double) { (horizontal(log10(point.cost)), vertical(point.value)) }
    var drawn = points.map(place)
    for point in points {
      guard let deviation = point.deviation, deviation.isFinite else { continue }
      let x = horizontal(log10(point.cost))
      drawn += Self.way(from: (x, vertical(point.value + deviation)), to: (x, vertical(point.value - deviation)))
    }
    let frontier = points.filter(\.isOnFrontier).map(place)
    for (start, end) in zip(frontier, frontier.dropFirst()) { drawn += Self.way(from: start, to: end) }
    var labels: [Label] = []
    for point in points {
      let (x, y) = place(point)
      let width = 6.2 * Double(TextWidth.of(Self.shown(point.name)))
      var places: [Label] = [("start", 10.0, 0.0), ("end", -10, 0), ("middle", 0, -15), ("middle", 0, 15)].map {
        Label(x: x + $1, y: y + $2, anchor: $0, width: width)
      }
      for shift in stride(from: 13, through: 78, by: 6.5) {
        for (anchor, aside) in [("start", 9.0), ("end", -9)] {
          places.append(Label(x: x + aside, y: y - shift, anchor: anchor, width: width))
          places.append(Label(x: x + aside, y: y + shift, anchor: anchor, width: width))
        }
      }
      func harm(_ label: Label) -> Int {
        drawn.count { label.hides($0) } + 50 * labels.count { $0.overlaps(label) } + (label.isInside ? 0 : 200)
      }
      let harms = places.map(harm)
      labels.append(places[harms.firstIndex(of: harms.min() ?? 0) ?? 0])
    }
    return labels
  }

  /// Places along a line, near enough to each other that no name hides the line between two.
  private static func way(
    from start: (x: Double, y: Double), to end: (x: Double, y: Double)
  ) -> [(x: Double, y: Double)] {
    let count = max(2, Int(hypot(end.x - start.x, end.y - start.y) / 5))
    return (0...count).map { step in
      let share = Double(step) / Double(count)
      return (start.x + share * (end.x - start.x), start.y + share * (end.y - start.y))
    }
  }

  private static func shown(_ name: String) -> String { TextWidth.shortened(name, to: 26) }

  private func markup(of label: Label, _ point: Point) -> Markup {
    element(
      "text",
      [
        "class": "point-name \(point.tone.className)", "x": coordinate(label.x), "y": coordinate(label.y),
        "dy": "0.35em", "text-anchor": label.anchor,
      ]
    ) { Self.shown(point.name) }
  }
}
