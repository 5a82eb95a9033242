extension PixelEditor {
  /// Moves the image; negative numbers move it up and to the left. The part that leaves is lost.
  ///
  /// With black at the sides it is the same as to pad the image on all sides and to cut out a part of the old size, and
  /// so it serves for padded crops as well as for the jitter of Hinton et al. (Distilling the Knowledge in a Neural
  /// Network, 2015, section 3).
  mutating func move(down: Int, right: Int, fill: EdgeFill) {
    if down == 0, right == 0 { return }
    let kept = max(0, width - abs(right))
    let from = max(0, -right)
    let to = max(0, right)
    for channel in 0..<channels {
      let source = pixels + channel * height * width
      let target = other + channel * height * width
      for row in 0..<height {
        let output = target + row * width
        var sourceRow = row - down
        if sourceRow < 0 || sourceRow >= height {
          guard fill == .edge else {
            output.update(repeating: 0, count: width)
            continue
          }
          sourceRow = min(max(sourceRow, 0), height - 1)
        }
        let input = source + sourceRow * width
        (output + to).update(from: input + from, count: kept)
        if right > 0 {
          output.update(repeating: fill == .edge ? input[0] : 0, count: to)
        } else if right < 0 {
          (output + kept).update(repeating: fill == .edge ? input[width - 1] : 0, count: from)
        }
      }
    }
    swapImages()
  }
}
