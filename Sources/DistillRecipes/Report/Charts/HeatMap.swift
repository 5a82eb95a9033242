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
    let names = labels.map { shortened($0, to: 12) }
    let longest = names.map { displayWidth($0) }.max() ?? 0
    let gutter = Double(longest) * 5.7 + 10
    let size = max(15, min(44, 290 / Double(count)))
    let side = gutter + size * Double(count)
    let box = "0 0 \(coordinate(side + 1)) \(coordinate(side + 1))"
    return element("svg", ["viewBox": box, "role": "img", "aria-labelledby": "\(id)-t \(id)-d"]) {
      element("title", ["id": "\(id)-t"]) { title }
      element("desc", ["id": "\(id)-d"]) { description }
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
    return element("g", ["class": isDiagonal ? "same" : strength > 0.55 ? "cell strong" : "cell"]) {
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

/// The text cut to so many columns, with an ellipsis for what is gone.
func shortened(_ text: String, to columns: Int) -> String {
  guard displayWidth(text) > columns else { return text }
  var result = ""
  var width = 0
  for character in text {
    let next = displayWidth(String(character))
    if width + next > columns - 1 { break }
    result.append(character)
    width += next
  }
  return result.trimmingTrailingSpace() + "…"
}

/// How wide a text is, in columns of a narrow letter; letters of Chinese, Japanese and Korean take two.
func displayWidth(_ text: String) -> Int {
  text.reduce(0) { width, character in
    guard let scalar = character.unicodeScalars.first?.value else { return width }
    let isWide =
      (0x1100...0x115F).contains(scalar) || (0x2E80...0xA4CF).contains(scalar) || (0xAC00...0xD7A3).contains(scalar)
      || (0xF900...0xFAFF).contains(scalar) || (0xFE30...0xFE6F).contains(scalar) || (0xFF00...0xFF60).contains(scalar)
      || (0x1F300...0x1FAFF).contains(scalar) || (0x20000...0x3FFFD).contains(scalar)
    return width + (isWide ? 2 : 1)
  }
}

extension String {
  fileprivate func trimmingTrailingSpace() -> String {
    var text = self
    while text.last?.isWhitespace == true { text.removeLast() }
    return text
  }
}
