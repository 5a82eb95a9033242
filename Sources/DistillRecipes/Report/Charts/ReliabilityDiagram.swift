import Distillation

/// How often predictions of a confidence are right: bars on the diagonal mean that the model can be taken at its word.
struct ReliabilityDiagram {
  var id: String
  var title: String
  var tone: Tone
  var bins: [Metrics.ReliabilityBin]
  var calibrationError: Double?

  private static let left = 34.0
  private static let top = 8.0
  private static let size = 200.0
  private static let strip = 34.0

  func markup() -> Markup? {
    let bins = bins.filter { $0.count > 0 && $0.accuracy.isFinite && $0.confidence.isFinite && $0.upper > $0.lower }
    guard !bins.isEmpty else { return nil }
    let width = Self.left + Self.size + 8
    let height = Self.top + Self.size + 12 + Self.strip + 22
    let horizontal = Scale(low: 0, high: 1, start: Self.left, end: Self.left + Self.size)
    let vertical = Scale(low: 0, high: 1, start: Self.top + Self.size, end: Self.top)
    return element("figure", ["class": "reliability \(tone.className)"]) {
      element("figcaption") {
        title
        element("span", ["class": "aside"]) { "ECE " + Quantity.percent(calibrationError) }
      }
      drawing(id, title: "Reliability of \(title)", description: description(bins), width: width, height: height) {
        grid(horizontal, vertical)
        for bin in bins { bar(bin, horizontal, vertical) }
        element(
          "line",
          [
            "class": "diagonal", "x1": coordinate(horizontal(0)), "y1": coordinate(vertical(0)),
            "x2": coordinate(horizontal(1)), "y2": coordinate(vertical(1)),
          ])
        counts(bins, horizontal, from: Self.top + Self.size + 12)
      }
    }
  }

  private func description(_ bins: [Metrics.ReliabilityBin]) -> String {
    bins.map {
      "Confidence \(Quantity.percent($0.confidence, decimals: 0)): \(Quantity.percent($0.accuracy, decimals: 0)) right."
    }.joined(separator: " ")
  }

  private func grid(_ horizontal: Scale, _ vertical: Scale) -> Markup {
    element("g", ["class": "axis"]) {
      for value in [0, 0.5, 1] {
        let y = coordinate(vertical(value))
        element("line", ["x1": coordinate(horizontal(0)), "x2": coordinate(horizontal(1)), "y1": y, "y2": y])
        element("text", ["x": coordinate(Self.left - 6), "y": y, "dy": "0.35em", "text-anchor": "end"]) {
          Quantity.number(value * 100, decimals: 0)
        }
        element(
          "text",
          [
            "x": coordinate(horizontal(value)), "y": coordinate(Self.top + Self.size + 12 + Self.strip + 16),
            "text-anchor": value == 1 ? "end" : value == 0 ? "start" : "middle",
          ]
        ) { Quantity.number(value * 100, decimals: 0) + (value == 1 ? "%" : "") }
      }
    }
  }

  private func bar(_ bin: Metrics.ReliabilityBin, _ horizontal: Scale, _ vertical: Scale) -> Markup {
    let (x, end) = (horizontal(bin.lower) + 1, horizontal(min(bin.upper, 1)) - 1)
    let y = vertical(min(max(bin.accuracy, 0), 1))
    let ideal = coordinate(vertical(min(max(bin.confidence, 0), 1)))
    return element("g") {
      element("title") {
        "\(Quantity.integer(bin.count)) predictions\nmean confidence \(Quantity.percent(bin.confidence, decimals: 1))\n"
          + "right \(Quantity.percent(bin.accuracy, decimals: 1))"
      }
      element(
        "rect",
        [
          "class": "bar", "x": coordinate(x), "width": coordinate(max(0.5, end - x)), "y": coordinate(y),
          "height": coordinate(vertical(0) - y),
        ])
      element("line", ["class": "ideal", "x1": coordinate(x), "x2": coordinate(end), "y1": ideal, "y2": ideal])
    }
  }

  /// How many predictions each bin has.
  private func counts(_ bins: [Metrics.ReliabilityBin], _ horizontal: Scale, from top: Double) -> Markup {
    let most = Double(bins.map(\.count).max() ?? 1)
    return element("g", ["class": "counts"]) {
      for bin in bins {
        let (x, end) = (horizontal(bin.lower) + 1, horizontal(min(bin.upper, 1)) - 1)
        let height = max(1, Double(bin.count) / most * Self.strip)
        element(
          "rect",
          [
            "x": coordinate(x), "width": coordinate(max(0.5, end - x)), "y": coordinate(top + Self.strip - height),
            "height": coordinate(height),
          ])
      }
    }
  }
}
