extension RawImage {
  /// The picture at another size, without regard to its proportions. Along each side that shrinks, every new pixel is the
  /// mean of the area that it covers; along each side that grows, it is interpolated between its two neighbours.
  public func resized(width newWidth: Int, height newHeight: Int) throws -> RawImage {
    if newWidth == width, newHeight == height { return self }
    let columns = Resampling.positions(from: width, to: newWidth)
    let rows = Resampling.positions(from: height, to: newHeight)
    var narrow = [Float](repeating: 0, count: height * newWidth * channels)
    for row in 0..<height {
      for (column, position) in columns.enumerated() {
        for channel in 0..<channels {
          var sum: Float = 0
          var source = (row * width + position.first) * channels + channel
          for weight in position.weights {
            sum += weight * Float(pixels[source])
            source += channels
          }
          narrow[(row * newWidth + column) * channels + channel] = sum
        }
      }
    }
    let stride = newWidth * channels
    var result = [UInt8](repeating: 0, count: newHeight * stride)
    for (row, position) in rows.enumerated() {
      for column in 0..<stride {
        var sum: Float = 0
        var source = position.first * stride + column
        for weight in position.weights {
          sum += weight * narrow[source]
          source += stride
        }
        result[row * stride + column] = UInt8(min(255, max(0, (sum + 0.5).rounded(.down))))
      }
    }
    return try RawImage(width: newWidth, height: newHeight, channels: channels, pixels: result)
  }
}

/// Along one side: which old pixels make up a new one, and with what weights. The weights sum to 1.
struct Resampling {
  var first: Int
  var weights: [Float]

  static func positions(from old: Int, to new: Int) -> [Resampling] {
    let scale = Double(old) / Double(new)
    return (0..<new).map { index in
      if old > new {
        let (start, end) = (Double(index) * scale, Double(index + 1) * scale)
        let pixels = Int(start)..<min(old, Int(end.rounded(.up)))
        let weights = pixels.map { (min(Double($0 + 1), end) - max(Double($0), start)) / scale }
        // Rounding can leave a sliver of a pixel at the end; what it lacks goes to the others.
        let sum = weights.reduce(0, +)
        return Resampling(first: pixels.lowerBound, weights: weights.map { Float($0 / sum) })
      }
      let centre = min(Double(old - 1), max(0, (Double(index) + 0.5) * scale - 0.5))
      let first = min(Int(centre), max(0, old - 2))
      let share = Float(centre) - Float(first)
      return Resampling(first: first, weights: old == 1 ? [1] : [1 - share, share])
    }
  }
}
