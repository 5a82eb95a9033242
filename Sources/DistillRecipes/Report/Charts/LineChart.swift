/// Lines over epochs, each the mean over seeds with a band from the lowest to the highest seed.
struct LineChart {
  struct Point {
    var x: Double
    var mean: Double
    var low: Double
    var high: Double
  }

  struct Line {
    var name: String
    var tone: Tone
    var points: [Point]
  }

  var id: String
  var title: String
  var lines: [Line]
  /// How a value is written beside the axis and in the notes.
  var isShare: Bool
  /// What the horizontal axis counts.
  var unit = "epoch"

  private static let width = 340.0
  private static let height = 214.0
  private static let left = 42.0
  private static let right = 10.0
  private static let top = 10.0
  private static let bottom = 26.0

  /// `nil` where there is nothing to draw.
  func markup() -> Markup? {
    let lines = drawable
    guard !lines.isEmpty else { return nil }
    let points = lines.flatMap(\.points)
    let limits: ClosedRange<Double>? = isShare ? 0...1 : nil
    let horizontal = Scale(
      over: points.map(\.x), start: Self.left, end: Self.width - Self.right, air: points.count > 1 ? 0 : 0.06)
    let vertical = Scale(
      over: points.flatMap { [$0.low, $0.high] }, start: Self.height - Self.bottom, end: Self.top, within: limits)
    return element("figure", ["class": "chart"]) {
      element("figcaption") { title }
      drawing(id, title: title, description: description(lines), width: Self.width, height: Self.height) {
        axes(horizontal, vertical)
        for line in lines { band(line, horizontal, vertical) }
        for line in lines { stroke(line, horizontal, vertical) }
        notes(lines, horizontal)
      }
    }
  }

  /// The lines with finite points only, and no more points than can be told apart.
  private var drawable: [Line] {
    lines.compactMap { line in
      var points = line.points.filter { $0.mean.isFinite && $0.low.isFinite && $0.high.isFinite && $0.x.isFinite }
      let step = max(1, points.count / 300)
      if step > 1 {
        points = points.indices.filter { $0.isMultiple(of: step) || $0 == points.count - 1 }.map { points[$0] }
      }
      return points.isEmpty ? nil : Line(name: line.name, tone: line.tone, points: points)
    }
  }

  private func text(_ value: Double) -> String {
    isShare ? Quantity.percent(value) : Quantity.number(value, decimals: abs(value) < 10 ? 3 : 1)
  }

  private func description(_ lines: [Line]) -> String {
    lines.compactMap { line in
      guard let first = line.points.first, let last = line.points.last else { return nil }
      return "\(line.name): \(text(first.mean)) at \(unit) \(Quantity.plain(first.x)), "
        + "\(text(last.mean)) at \(unit) \(Quantity.plain(last.x))."
    }.joined(separator: " ")
  }

  private func axes(_ horizontal: Scale, _ vertical: Scale) -> Markup {
    let columns = horizontal.ticks(5).filter { $0 == $0.rounded() }
    return element("g", ["class": "axis"]) {
      valueAxis(vertical, ticks: 4, from: Self.left, to: Self.width - Self.right, isShare: isShare)
      for value in columns {
        element(
          "text",
          [
            "x": coordinate(horizontal(value)), "y": coordinate(Self.height - 8),
            "text-anchor": horizontal(value) > Self.width - 24 ? "end" : "middle",
          ]
        ) { Quantity.plain(value) }
      }
    }
  }

  private func band(_ line: Line, _ horizontal: Scale, _ vertical: Scale) -> Markup {
    guard line.points.count > 1, line.points.contains(where: { $0.high > $0.low }) else { return Markup() }
    let upper = line.points.map { "\(coordinate(horizontal($0.x))) \(coordinate(vertical($0.high)))" }
    let lower = line.points.reversed().map { "\(coordinate(horizontal($0.x))) \(coordinate(vertical($0.low)))" }
    let path = "M" + (upper + lower).joined(separator: "L") + "Z"
    return element("path", ["class": "band \(line.tone.className)", "d": path])
  }

  private func stroke(_ line: Line, _ horizontal: Scale, _ vertical: Scale) -> Markup {
    let places = line.points.map { "\(coordinate(horizontal($0.x))) \(coordinate(vertical($0.mean)))" }
    var result = element("path", ["class": "stroke \(line.tone.className)", "d": "M" + places.joined(separator: "L")])
    if let last = line.points.last {
      result.append(
        element(
          "circle",
          [
            "class": "dot \(line.tone.className)", "cx": coordinate(horizontal(last.x)),
            "cy": coordinate(vertical(last.mean)), "r": "3",
          ]))
    }
    return result
  }

  /// One strip for each epoch that shows its values when pointed at.
  private func notes(_ lines: [Line], _ horizontal: Scale) -> Markup {
    let places = Set(lines.flatMap { $0.points.map(\.x) }).sorted()
    guard places.count > 1, places.count <= 130 else { return Markup() }
    return element("g", ["class": "notes"]) {
      for (index, x) in places.enumerated() {
        let before = index > 0 ? (places[index - 1] + x) / 2 : x
        let after = index + 1 < places.count ? (places[index + 1] + x) / 2 : x
        element(
          "rect",
          [
            "x": coordinate(horizontal(before)), "width": coordinate(horizontal(after) - horizontal(before)),
            "y": coordinate(Self.top), "height": coordinate(Self.height - Self.top - Self.bottom),
          ]
        ) { element("title") { note(lines, at: x) } }
      }
    }
  }

  private func note(_ lines: [Line], at x: Double) -> String {
    let values = lines.compactMap { line -> String? in
      guard let point = line.points.first(where: { $0.x == x }) else { return nil }
      let range = point.high > point.low ? " (\(text(point.low)) to \(text(point.high)))" : ""
      return "\(line.name) \(text(point.mean))\(range)"
    }
    return (["\(unit) \(Quantity.plain(x))"] + values).joined(separator: "\n")
  }
}
