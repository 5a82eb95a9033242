/// Pictures at another size by interpolation: as Pillow and torchvision do it, to one level of 255.
extension RawImage {
  public enum Interpolation: String, Sendable, Codable, CaseIterable {
    /// A triangle around each new pixel.
    case bilinear
    /// The cubic function with a = −0.5.
    case bicubic

    /// Half the width of the function.
    fileprivate var support: Double { self == .bilinear ? 1 : 2 }

    fileprivate func weight(_ distance: Double) -> Double {
      let x = abs(distance)
      switch self {
      case .bilinear: return max(0, 1 - x)
      case .bicubic:
        let a = -0.5
        if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
        return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
      }
    }
  }

  /// The picture at another size, each new pixel a sum over those around it, weighed by the function, which is as wide as a
  /// new pixel where the picture shrinks.
  public func resized(
    width newWidth: Int, height newHeight: Int, interpolation: Interpolation
  ) throws -> RawImage {
    if newWidth == width, newHeight == height { return self }
    guard newWidth > 0, newHeight > 0, max(height, newHeight) <= Self.largest / newWidth else {
      throw DataError("a picture of \(width)×\(height) cannot be brought to \(newWidth)×\(newHeight) pixels")
    }
    let columns = Self.filters(from: width, to: newWidth, interpolation)
    let rows = Self.filters(from: height, to: newHeight, interpolation)
    // First along the rows and then down the columns, with bytes in between.
    var narrow = [UInt8](repeating: 0, count: height * newWidth * channels)
    for row in 0..<height {
      for (column, filter) in columns.enumerated() {
        for channel in 0..<channels {
          narrow[(row * newWidth + column) * channels + channel] = filter.sum { place in
            pixels[(row * width + place) * channels + channel]
          }
        }
      }
    }
    let stride = newWidth * channels
    var result = [UInt8](repeating: 0, count: newHeight * stride)
    for (row, filter) in rows.enumerated() {
      for column in 0..<stride {
        result[row * stride + column] = filter.sum { place in narrow[place * stride + column] }
      }
    }
    return try RawImage(width: newWidth, height: newHeight, channels: channels, pixels: result)
  }

  /// Which pixels make up a new one, with whole weights of 22 bits.
  private struct Filter {
    var first: Int
    var weights: [Int]

    static let bits = 22

    func sum(_ pixel: (Int) -> UInt8) -> UInt8 {
      var sum = 1 << (Self.bits - 1)
      for (index, weight) in weights.enumerated() { sum += weight * Int(pixel(first + index)) }
      return UInt8(max(0, min(255, sum >> Self.bits)))
    }
  }

  private static func filters(from old: Int, to new: Int, _ interpolation: Interpolation) -> [Filter] {
    let scale = Double(old) / Double(new)
    let spread = max(1, scale)
    let support = interpolation.support * spread
    return (0..<new).map { index in
      let centre = (Double(index) + 0.5) * scale
      let first = max(0, Int(centre - support + 0.5))
      let end = max(first + 1, min(old, Int(centre + support + 0.5)))
      let weights = (first..<end).map { interpolation.weight((Double($0) - centre + 0.5) / spread) }
      let sum = weights.reduce(0, +)
      return Filter(
        first: first,
        weights: weights.map { weight in
          let scaled = weight / (sum == 0 ? 1 : sum) * Double(1 << Filter.bits)
          return Int(scaled < 0 ? scaled - 0.5 : scaled + 0.5)
        })
    }
  }
}
