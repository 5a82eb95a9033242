/// How pictures of a folder are brought to one size where that is not by the mean of areas.
public struct PictureFit: Sendable, Equatable {
  /// What the shorter side is brought to before the middle is cut out; nil: the whole picture is brought to the size.
  public var shorterSide: Int?
  public var interpolation: RawImage.Interpolation

  public init(shorterSide: Int? = nil, interpolation: RawImage.Interpolation) {
    self.shorterSide = shorterSide
    self.interpolation = interpolation
  }
}

/// How a picture is brought to the size that a model of another library knows: as Pillow and torchvision do it, to one level
/// of 255.
extension RawImage {
  public enum Interpolation: String, Sendable, CaseIterable {
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

  /// The shorter side brought to `shorterSide`, and the middle cut out; or, without it, the whole picture brought to the size
  /// without regard to its proportions. What is cut out beyond the picture is black.
  ///
  /// - Throws: `DataError` when the picture would become too large.
  public func prepared(
    height newHeight: Int, width newWidth: Int, shorterSide: Int?, interpolation: Interpolation
  ) throws -> RawImage {
    guard let shorterSide else {
      return try resized(width: newWidth, height: newHeight, interpolation: interpolation)
    }
    let isTall = height > width
    let long = Double(shorterSide) * Double(max(width, height)) / Double(min(width, height))
    guard shorterSide > 0, long * Double(shorterSide) <= Double(Self.largest) else {
      throw DataError("a picture of \(width)×\(height) cannot be brought to a shorter side of \(shorterSide)")
    }
    let longer = Int(long)
    let whole = try resized(
      width: isTall ? shorterSide : longer, height: isTall ? longer : shorterSide, interpolation: interpolation)
    return try whole.middle(height: newHeight, width: newWidth)
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

  /// The middle of the picture, filled up with black where it is smaller.
  private func middle(height newHeight: Int, width newWidth: Int) throws -> RawImage {
    // torchvision rounds halves to the even number where it cuts, and down where it fills up.
    func start(_ old: Int, _ new: Int) -> Int {
      old < new ? -((new - old) / 2) : Int((Double(old - new) / 2).rounded(.toNearestOrEven))
    }
    let (top, left) = (start(height, newHeight), start(width, newWidth))
    var result = [UInt8](repeating: 0, count: newHeight * newWidth * channels)
    for row in max(0, -top)..<max(max(0, -top), min(newHeight, height - top)) {
      for column in max(0, -left)..<max(max(0, -left), min(newWidth, width - left)) {
        for channel in 0..<channels {
          result[(row * newWidth + column) * channels + channel] =
            pixels[((row + top) * width + column + left) * channels + channel]
        }
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
