/// A square of classes by classes: what is on the diagonal stays quiet, what is beside it is coloured.
struct HeatMap {
  struct Cell {
    /// From 0 to 1: how strongly the cell is coloured.
    var strength: Double
    /// A few characters, or nothing.
    var text: String
    /// The whole story, shown when pointed at.
    var note: String
  }

  var id: String
  var title: String
  var description: String
  var tone: Tone
  var labels: [String]
  var cell: (_ row: Int, _ column: Int) -> Cell

  /// Up to so many classes every cell is drawn; beyond, the matrix becomes one picture, and then a list.
  static let largestDrawn = 20
  static let largestPictured = 100

  func markup() -> Markup? {
    let count = labels.count
    guard count > 1, count <= Self.largestPictured else { return nil }
    return element("figure", ["class": "heat \(tone.className)"]) {
      element("figcaption") { title }
      count <= Self.largestDrawn ? drawn() : pictured()
    }
  }

  private func drawn() -> Markup {
    let count = labels.count
    let names = labels.map { TextWidth.shortened($0, to: 12) }
    let longest = names.map { TextWidth.of($0) }.max() ?? 0
    let gutter = Double(longest) * 5.7 + 10
    let size = max(15, min(44, 290 / Double(count)))
    let side = gutter + size * Double(count)
    return drawing(id, title: title, description: description, width: side + 1, height: side + 1) {
      element("g", ["class": "names"]) {
        for (index, name) in names.enumerated() {
          let middle = coordinate(gutter + (Double(index) + 0.5) * size)
          element("text", ["x": coordinate(gutter - 6), "y": middle, "dy": "0.35em", "text-anchor": "end"]) { name }
          element("text", ["transform": "translate(\(middle) \(coordinate(gutter - 6))) rotate(-90)", "dy": "0.35em"]) {
            name
          }
        }
      }
      for row in 0..<count {
        for column in 0..<count { square(row, column, gutter: gutter, size: size) }
      }
    }
  }

  private func square(_ row: Int, _ column: Int, gutter: Double, size: Double) -> Markup {
    let cell = cell(row, column)
    let (x, y) = (gutter + Double(column) * size, gutter + Double(row) * size)
    let strength = cell.strength.isFinite ? min(max(cell.strength, 0), 1) : 0
    let isDiagonal = row == column
    return element(
      "g", ["class": isDiagonal ? "same" : strength > 0.78 ? "cell strong" : strength > 0.58 ? "cell middling" : "cell"]
    ) {
      element("title") { cell.note }
      element(
        "rect",
        [
          "x": coordinate(x + 0.75), "y": coordinate(y + 0.75), "width": coordinate(size - 1.5),
          "height": coordinate(size - 1.5), "rx": "2.5",
          "fill-opacity": isDiagonal ? nil : coordinate(0.03 + 0.97 * strength),
        ])
      if !cell.text.isEmpty, size >= 22 {
        element("text", ["x": coordinate(x + size / 2), "y": coordinate(y + size / 2), "dy": "0.35em"]) { cell.text }
      }
    }
  }

  private func pictured() -> Markup? {
    let count = labels.count
    let values = (0..<count).map { row in (0..<count).map { row == $0 ? 0 : cell(row, $0).strength } }
    let colour: (UInt8, UInt8, UInt8) = tone == .alone ? (0xD0, 0x6A, 0x1B) : (0x2B, 0x7B, 0xD1)
    guard let data = InlinePicture.heatMap(values, red: colour.0, green: colour.1, blue: colour.2) else { return nil }
    return element("img", ["class": "matrix", "alt": "\(title). \(description)", "src": InlinePicture.address(data)])
  }
}
