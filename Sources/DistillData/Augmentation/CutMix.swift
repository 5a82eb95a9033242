extension Mixture {
  /// A rectangle of about a `share` of the image around a pixel. What lies outside of the image is cut off, and the
  /// weight is what then remains.
  ///
  /// ## Reference
  /// Yun et al.: CutMix: Regularization strategy to train strong classifiers with localizable features. ICCV 2019.
  static func rectangle(
    of partner: Int, share: Double, row: Int, column: Int, height: Int, width: Int
  ) -> Mixture {
    let rowCount = Int(Double(height) * share.squareRoot())
    let columnCount = Int(Double(width) * share.squareRoot())
    let rows = max(0, row - rowCount / 2)..<min(height, row - rowCount / 2 + rowCount)
    let columns = max(0, column - columnCount / 2)..<min(width, column - columnCount / 2 + columnCount)
    return Mixture(
      partner: partner, weight: Float(rows.count * columns.count) / Float(height * width),
      kind: .rectangle(rows: rows, columns: columns))
  }

  /// Copies a rectangle from `second` to `first`.
  static func paste(
    _ first: UnsafeMutablePointer<Float>, _ second: UnsafePointer<Float>, rows: Range<Int>, columns: Range<Int>,
    shape: [Int], channelsLast: Bool
  ) {
    let planes = channelsLast ? 1 : shape[0]
    let values = channelsLast ? shape[0] : 1  // of one pixel, side by side
    for plane in 0..<planes {
      for row in rows {
        let start = ((plane * shape[1] + row) * shape[2] + columns.lowerBound) * values
        (first + start).update(from: second + start, count: columns.count * values)
      }
    }
  }
}
