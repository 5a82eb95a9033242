/// Student alone, distilled student and teacher on one line: how much of the way distillation went.
struct AccuracyLadder {
  struct Mark {
    var name: String
    var accuracy: Double
    var tone: Tone
  }

  var marks: [Mark]

  func markup() -> Markup? {
    let marks = marks.filter { $0.accuracy.isFinite }.sorted { $0.accuracy < $1.accuracy }
    guard marks.count > 1, let first = marks.first, let last = marks.last, last.accuracy > first.accuracy else {
      return nil
    }
    // The outer two have their labels beside them, which needs some room on both sides.
    let scale = Scale(low: first.accuracy, high: last.accuracy, start: 26, end: 74)
    let line = "46"
    return element(
      "svg",
      [
        "class": "ladder", "height": "72", "role": "img",
        "aria-label": marks.map { "\($0.name) \(Quantity.percent($0.accuracy))" }.joined(separator: ", "),
      ]
    ) {
      element("line", ["class": "rail", "x1": "26%", "x2": "74%", "y1": line, "y2": line])
      if let from = marks.first(where: { $0.tone == .alone }), let to = marks.first(where: { $0.tone == .distilled }) {
        element(
          "line",
          [
            "class": "way tone-distilled", "x1": share(scale(from.accuracy)), "x2": share(scale(to.accuracy)),
            "y1": line, "y2": line,
          ])
      }
      for (index, mark) in marks.enumerated() {
        let x = scale(mark.accuracy)
        element("circle", ["class": "mark \(mark.tone.className)", "cx": share(x), "cy": line, "r": "7"])
        label(mark, x: x, isFirst: index == 0, isLast: index == marks.count - 1)
      }
    }
  }

  private func label(_ mark: Mark, x: Double, isFirst: Bool, isLast: Bool) -> Markup {
    let anchor = isFirst ? "end" : isLast ? "start" : "middle"
    let shift = isFirst ? "-16" : isLast ? "16" : "0"
    let (nameLine, valueLine) = isFirst || isLast ? ("41", "59") : ("10", "28")
    return element("g", ["class": mark.tone.className, "text-anchor": anchor]) {
      element("text", ["class": "name", "x": share(x), "dx": shift, "y": nameLine]) { mark.name }
      element("text", ["class": "number", "x": share(x), "dx": shift, "y": valueLine]) {
        Quantity.percent(mark.accuracy, decimals: 1)
      }
    }
  }
}
