extension PixelEditor {
  /// Mirrors the image left to right.
  func flipHorizontally() {
    for row in 0..<(channels &* height) {
      var left = pixels + row &* width
      var right = left + (width &- 1)
      while left < right {
        let kept = left.pointee
        left.pointee = right.pointee
        right.pointee = kept
        left += 1
        right -= 1
      }
    }
  }
}
