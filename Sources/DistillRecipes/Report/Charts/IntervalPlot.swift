/// Gains with their intervals, one below the other on one axis, with zero marked.
struct IntervalPlot {
  struct Row {
    var name: String
    var detail: String
    var tone: Tone
    var interval: ReportData.Interval
    var seedCount = 1
  }

  var rows: [Row]

  func markup() -> Markup? {
    let rows = rows.filter { $0.interval.mean.isFinite }
    guard !rows.isEmpty else { return nil }
    let values = rows.flatMap { [$0.interval.mean, $0.interval.low, $0.interval.high] }.filter(\.isFinite)
    let scale = Scale(over: (values + [0]).map { $0 * 100 }, start: 3, end: 97, air: 0.1)
    let ticks = scale.ticks(6)
    return element("div", ["class": "intervals", "role": "list"]) {
      for row in rows {
        element("div", ["class": "interval \(row.tone.className)", "role": "listitem"]) {
          element("div", ["class": "what"]) {
            element("b") { row.name }
            element("span") { row.detail }
          }
          drawing(row, scale, ticks)
          element("div", ["class": "value"]) {
            let decimals = Quantity.gainDecimals(row.interval)
            element("b") { Quantity.points(row.interval.mean, decimals: decimals) }
            element("span") {
              Quantity.bounds(row.interval)
                ?? (row.seedCount > 1 ? "seeds alike: no interval" : "one seed: no interval")
            }
          }
        }
      }
      element("div", ["class": "interval ticks", "aria-hidden": "true"]) {
        element("div", ["class": "what"])
        element("svg", ["height": "20"]) {
          for tick in ticks {
            element("text", ["x": share(scale(tick)), "y": "14", "text-anchor": "middle"]) {
              tick == 0 ? "0" : signed(tick, decimals: Scale.decimals(ticks))
            }
          }
        }
        element("div", ["class": "value"]) { "points" }
      }
    }
  }

  private func signed(_ value: Double, decimals: Int) -> String {
    (value > 0 ? "+" : "") + Quantity.number(value, decimals: decimals)
  }

  private func drawing(_ row: Row, _ scale: Scale, _ ticks: [Double]) -> Markup {
    let interval = row.interval
    let middle = share(scale(interval.mean * 100))
    return element(
      "svg", ["height": "44", "role": "img", "aria-label": "\(row.name): \(Quantity.gain(interval)) points"]
    ) {
      for tick in ticks {
        let x = share(scale(tick))
        element("line", ["class": tick == 0 ? "zero" : "grid", "x1": x, "x2": x, "y1": "0", "y2": "44"])
      }
      if interval.low.isFinite, interval.high.isFinite {
        let (low, high) = (scale(interval.low * 100), scale(interval.high * 100))
        element("line", ["class": "whisker", "x1": share(low), "x2": share(high), "y1": "22", "y2": "22"])
        for end in [low, high] {
          element("line", ["class": "whisker end", "x1": share(end), "x2": share(end), "y1": "17", "y2": "27"])
        }
      }
      element("circle", ["class": "mark", "cx": middle, "cy": "22", "r": "5.5"])
    }
  }
}
