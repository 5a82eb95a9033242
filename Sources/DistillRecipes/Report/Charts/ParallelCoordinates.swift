import Foundation

/// One vertical axis for each thing that was chosen, and the last one for what came of it; every trial is a line across
/// all of them.
struct ParallelCoordinates {
  struct Axis {
    var name: String
    /// Places from 0 at the bottom to 1 at the top, with what stands there.
    var marks: [(place: Double, text: String)]
  }

  struct Line {
    /// What is shown when it is pointed at.
    var note: String
    /// A place on each axis, nil where it has none, and the line ends.
    var places: [Double?]
    /// How good it is, from 0 to 1.
    var rank: Double
    var isBest: Bool
    /// Whether it was trained to the end.
    var isWhole: Bool
  }

  var id: String
  var title: String
  var axes: [Axis]
  var lines: [Line]
  var description: String

  private static let width = 960.0
  private static let height = 320.0
  private static let side = 74.0
  private static let top = 34.0
  private static let bottom = 16.0

  /// `nil` where there is nothing to draw.
  func markup() -> Markup? {
    guard axes.count > 1, !lines.isEmpty else { return nil }
    return element("figure", ["class": "chart parallel"]) {
      element("figcaption") { title }
      scrolling(title) {
        drawing(id, title: title, description: description, width: Self.width, height: Self.height) {
          // The better ones last, so that they lie on top.
          for line in lines.sorted(by: { ($0.isBest ? 2 : $0.rank) < ($1.isBest ? 2 : $1.rank) }) { stroke(line) }
          for (index, axis) in axes.enumerated() { rail(axis, index) }
        }
      }
    }
  }

  private func x(_ index: Int) -> Double {
    Self.side + Double(index) / Double(axes.count - 1) * (Self.width - 2 * Self.side)
  }

  private func y(_ place: Double) -> Double {
    let (low, high) = (Self.height - Self.bottom, Self.top)
    return low + min(max(place.isFinite ? place : 0, 0), 1) * (high - low)
  }

  private func stroke(_ line: Line) -> Markup {
    let places = line.places.enumerated().compactMap { index, place in
      place.map { "\(coordinate(x(index))) \(coordinate(y($0)))" }
    }
    guard places.count > 1 else { return Markup() }
    let kind =
      line.isBest ? "trial best tone-distilled" : line.isWhole ? "trial tone-teacher" : "trial early tone-teacher"
    return element("g", ["class": kind]) {
      element("title") { line.note }
      element(
        "path",
        [
          "class": "way", "d": "M" + places.joined(separator: "L"),
          "stroke-opacity": line.isBest ? "1" : coordinate(0.12 + 0.58 * min(max(line.rank, 0), 1)),
        ])
      // Wider than the line, to be met by the pointer.
      element("path", ["class": "reach", "d": "M" + places.joined(separator: "L")])
    }
  }

  private func rail(_ axis: Axis, _ index: Int) -> Markup {
    let place = coordinate(x(index))
    let isLast = index == axes.count - 1
    return element("g", ["class": "axis"]) {
      element("line", ["class": "rail", "x1": place, "x2": place, "y1": coordinate(y(0)), "y2": coordinate(y(1))])
      element(
        "text",
        [
          "class": "name", "x": place, "y": coordinate(Self.top - 18),
          "text-anchor": index == 0 ? "start" : isLast ? "end" : "middle",
        ]
      ) { Self.short(axis.name) }
      for mark in axis.marks {
        element(
          "text",
          [
            "x": coordinate(x(index) + (isLast ? 7 : -7)), "y": coordinate(y(mark.place)), "dy": "0.35em",
            "text-anchor": isLast ? "start" : "end",
          ]
        ) { Self.short(mark.text, most: 11) }
      }
    }
  }

  private static func short(_ text: String, most: Int = 22) -> String {
    text.count <= most ? text : "\(text.prefix(most - 1))…"
  }
}
