extension PixelEditor {
  /// Covers the square of `size` × `size` pixels around a pixel; what lies outside of the image is cut off.
  ///
  /// ## Reference
  /// DeVries, Taylor: Improved regularization of convolutional neural networks with cutout. 2017. As there, the square
  /// shows the mean colour where inputs are normalized.
  func cut(row: Int, column: Int, size: Int, cover: [Element]) {
    let top = max(0, row - size / 2)
    let bottom = min(height, row - size / 2 + size)
    let left = max(0, column - size / 2)
    let right = min(width, column - size / 2 + size)
    for channel in 0..<channels {
      for covered in top..<bottom {
        (pixels + (channel * height + covered) * width + left).update(repeating: cover[channel], count: right - left)
      }
    }
  }
}
