import Distillation

/// Which classes gained, from the share of each class that was recognised by the student alone and distilled.
struct ClassGains {
  var data: ReportData
  var alone: ReportData.Arm
  var distilled: ReportData.Arm

  /// More classes than this are cut to those that gained and lost most.
  private static let mostRows = 40

  private struct Row {
    var index: Int
    var before: Double
    var after: Double
    var count: Int
    var gain: Double { after - before }
  }

  func markup() -> Markup? {
    let all = zip(alone.classScores, distilled.classScores).enumerated().compactMap { index, pair -> Row? in
      guard pair.0.recall.isFinite, pair.1.recall.isFinite else { return nil }
      return Row(index: index, before: pair.0.recall, after: pair.1.recall, count: pair.1.count)
    }.sorted { $0.gain > $1.gain }
    guard !all.isEmpty else { return nil }
    let half = Self.mostRows / 2
    let rows = all.count > Self.mostRows ? Array(all.prefix(half)) + Array(all.suffix(half)) : all
    let scale = Scale(over: rows.flatMap { [$0.before, $0.after] }, start: 3, end: 97, air: 0.02, within: 0...1)
    return element("div") {
      element("p", ["class": "hint"]) {
        "The share of each class that is recognised, from alone to distilled; largest gain first."
          + (all.count > rows.count
            ? " Of \(Quantity.integer(all.count)) classes, the \(half) that gained most and the \(half) that "
              + "gained least." : "")
      }
      element("table", ["class": "classes"]) {
        element("thead") {
          element("tr") {
            element("th", ["scope": "col"]) { "Class" }
            element("th", ["scope": "col", "class": "plot"]) {
              "\(Quantity.percent(scale.low, decimals: 0))"
              element("span") { Quantity.percent(scale.high, decimals: 0) }
            }
            element("th", ["scope": "col", "class": "number wide"]) { alone.name }
            element("th", ["scope": "col", "class": "number wide"]) { distilled.name }
            element("th", ["scope": "col", "class": "number"]) { "Gain" }
          }
        }
        element("tbody") { for row in rows { line(row, scale) } }
      }
    }
  }

  private func line(_ row: Row, _ scale: Scale) -> Markup {
    let name = data.className(row.index)
    let (from, to) = (share(scale(row.before)), share(scale(row.after)))
    let note =
      "\(name)\n\(alone.name) \(Quantity.percent(row.before, decimals: 1))\n"
      + "\(distilled.name) \(Quantity.percent(row.after, decimals: 1))\n\(Quantity.integer(row.count)) examples"
    return element("tr") {
      element("th", ["scope": "row"]) { name }
      element("td", ["class": "plot"]) {
        element("svg", ["height": "22", "aria-hidden": "true"]) {
          element("title") { note }
          element("rect", ["class": "catch", "width": "100%", "height": "22"])
          element("line", ["class": "rail", "x1": "0%", "x2": "100%", "y1": "11", "y2": "11"])
          element("line", ["class": "way", "x1": from, "x2": to, "y1": "11", "y2": "11"])
          element("circle", ["class": "mark tone-alone", "cx": from, "cy": "11", "r": "4.5"])
          element("circle", ["class": "mark tone-distilled", "cx": to, "cy": "11", "r": "4.5"])
        }
      }
      element("td", ["class": "number wide"]) { Quantity.percent(row.before, decimals: 1) }
      element("td", ["class": "number wide"]) { Quantity.percent(row.after, decimals: 1) }
      element("td", ["class": "number"]) { element("b") { Quantity.points(row.gain) } }
    }
  }
}
