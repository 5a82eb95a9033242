import DistillRecipes

/// Pictures and bars made of characters.
enum TextPicture {
  /// A grey picture, 0 to 255. A character is about twice as high as wide, so that small pictures get two for each pixel and
  /// large ones one for two rows.
  static func lines(_ picture: [[Int]], _ terminal: Terminal) -> [String] {
    guard let width = picture.first?.count, width > 0 else { return [] }
    let ramp = Array(terminal.usesUnicode ? " ░▒▓█" : " .:-=+*#%@")
    func character(_ value: Int) -> Character { ramp[min(ramp.count - 1, max(0, value * ramp.count / 256))] }
    if width <= 16 {
      return picture.map { row in String(row.flatMap { [character($0), character($0)] }) }
    }
    let step = max(1, (width + 39) / 40)
    return stride(from: 0, to: picture.count, by: 2 * step).map { top in
      let rows = picture[top..<min(picture.count, top + 2 * step)]
      return String(
        stride(from: 0, to: width, by: step).map { left in
          let values = rows.flatMap { $0[left..<min(width, left + step)] }
          return character(values.reduce(0, +) / max(1, values.count))
        })
    }
  }

  /// A bar for a share from 0 to 1, to an eighth of a character where the terminal can.
  static func bar(_ share: Double, width: Int, _ terminal: Terminal) -> String {
    let share = share.isFinite ? min(1, max(0, share)) : 0
    guard terminal.usesUnicode else {
      return String(repeating: "#", count: Int((share * Double(width)).rounded()))
    }
    let eighths = Int((share * Double(width) * 8).rounded())
    let rest = eighths % 8
    return String(repeating: "█", count: eighths / 8) + (rest > 0 ? String(Array("▏▎▍▌▋▊▉")[rest - 1]) : "")
  }
}
