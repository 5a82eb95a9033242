import Foundation

/// Scores against the values of one thing: a dot for each trial, and lines where values come again.
struct SlicePlot {
  struct Dot {
    /// From 0 to 1 across the plot.
    var place: Double
    var value: Double
    /// What is shown when it is pointed at.
    var note: String
    var isBest: Bool
    /// Whether it was trained to the end.
    var isWhole: Bool
  }

  /// Through means, with a band from the lowest to the highest.
  struct Line {
    var name: String
    var tone: Tone
    var points: [(place: Double, mean: Double, low: Double, high: Double)]
  }

  var id: String
  var title: String
  var dots: [Dot] = []
  var lines: [Line] = []
  /// Places from 0 to 1 with what stands there.
  var marks: [(place: Double, text: String)]
  /// How a score is written.
  var text: (Double) -> String
  var isShare: Bool
  var description: String

  private static let width = 340.0
  private static let height = 226.0
  private static let left = 44.0
  private static let right = 12.0
  private static let top = 10.0
  private static let bottom = 30.0

  /// `nil` where there is nothing to draw.
  func markup() -> Markup? {
    let dots = self.dots.filter { $0.value.isFinite && $0.place.isFinite }
    let lines = self.lines.filter { !$0.points.isEmpty }
    guard !dots.isEmpty || !lines.isEmpty else { return nil }
    let values = dots.map(\.value) + lines.flatMap { $0.points.flatMap { [$0.low, $0.high] } }
    let vertical = Scale(
      over: values, start: Self.height - Self.bottom, end: Self.top, air: 0.08, within: isShare ? 0...1 : nil)
    return element("figure", ["class": "chart"]) {
      element("figcaption") { title }
      drawing(id, title: title, description: description, width: Self.width, height: Self.height) {
        axes(vertical)
        for line in lines { band(line, vertical) }
        for line in lines { stroke(line, vertical) }
        for dot in dots.sorted(by: { !$0.isBest && $1.isBest }) { mark(dot, vertical) }
      }
      if lines.count > 1 { legend(lines) }
    }
  }

  private func x(_ place: Double) -> Double {
    Self.left + 8 + min(max(place, 0), 1) * (Self.width - Self.right - Self.left - 16)
  }

  private func axes(_ vertical: Scale) -> Markup {
    element("g", ["class": "axis"]) {
      valueAxis(vertical, ticks: 4, from: Self.left, to: Self.width - Self.right, isShare: isShare)
      for mark in marks {
        element(
          "text",
          [
            "x": coordinate(x(mark.place)), "y": coordinate(Self.height - 10),
            "text-anchor": mark.place > 0.97 && mark.text.count > 5 ? "end" : "middle",
          ]
        ) { Self.short(mark.text) }
      }
    }
  }

  private static func short(_ text: String) -> String { text.count > 12 ? "\(text.prefix(11))…" : text }

  private func band(_ line: Line, _ vertical: Scale) -> Markup {
    guard line.points.count > 1, line.points.contains(where: { $0.high > $0.low }) else { return Markup() }
    let upper = line.points.map { "\(coordinate(x($0.place))) \(coordinate(vertical($0.high)))" }
    let lower = line.points.reversed().map { "\(coordinate(x($0.place))) \(coordinate(vertical($0.low)))" }
    return element(
      "path",
      ["class": "band \(line.tone.className)", "d": "M" + (upper + lower).joined(separator: "L") + "Z"])
  }

  private func stroke(_ line: Line, _ vertical: Scale) -> Markup {
    let places = line.points.map { "\(coordinate(x($0.place))) \(coordinate(vertical($0.mean)))" }
    return element("g", ["class": line.tone.className]) {
      element("path", ["class": "stroke \(line.tone.className)", "d": "M" + places.joined(separator: "L")])
      for point in line.points {
        element("g") {
          element("title") { "\(line.name.isEmpty ? "" : line.name + "\n")\(text(point.mean))" }
          element(
            "circle",
            [
              "class": "dot \(line.tone.className)", "cx": coordinate(x(point.place)),
              "cy": coordinate(vertical(point.mean)), "r": "3.5",
            ])
        }
      }
    }
  }

  private func mark(_ dot: Dot, _ vertical: Scale) -> Markup {
    element("g", ["class": dot.isBest ? "tone-distilled" : "tone-teacher"]) {
      element("title") { dot.note }
      element(
        "circle",
        [
          "class": dot.isBest ? "mark" : dot.isWhole ? "trial-dot" : "trial-dot early",
          "cx": coordinate(x(dot.place)), "cy": coordinate(vertical(dot.value)), "r": dot.isBest ? "6" : "4",
        ])
    }
  }

  private func legend(_ lines: [Line]) -> Markup {
    element("ul", ["class": "legend"]) {
      for line in lines {
        element("li", ["class": line.tone.className]) {
          element("span", ["class": "swatch", "aria-hidden": "true"])
          line.name
        }
      }
    }
  }
}
