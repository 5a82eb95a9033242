/// How pictures are brought to the size of a model's inputs where that is not by the mean of areas.
public struct PictureFit: Sendable, Codable, Equatable {
  /// What the shorter side is brought to before the middle is cut out; nil: the whole picture is brought to the size.
  public var shorterSide: Int?
  public var interpolation: RawImage.Interpolation

  public init(shorterSide: Int? = nil, interpolation: RawImage.Interpolation) {
    self.shorterSide = shorterSide
    self.interpolation = interpolation
  }

  private enum CodingKeys: String, CodingKey {
    case shorterSide = "shorter_side"
    case interpolation
  }
}

extension RawImage {
  /// The picture at a size: as `fit` says, or, where it says nothing, by the mean of areas without regard to proportions.
  ///
  /// With a shorter side that is brought to it, and the middle cut out; what is cut out beyond the picture is black.
  /// Otherwise the whole picture is brought to the size.
  ///
  /// - Throws: `DataError` when the picture would become too large.
  public func fitted(height newHeight: Int, width newWidth: Int, _ fit: PictureFit?) throws -> RawImage {
    guard let fit else { return try resized(width: newWidth, height: newHeight) }
    guard let shorterSide = fit.shorterSide else {
      return try resized(width: newWidth, height: newHeight, interpolation: fit.interpolation)
    }
    let isTall = height > width
    let long = Double(shorterSide) * Double(max(width, height)) / Double(min(width, height))
    guard shorterSide > 0, long * Double(shorterSide) <= Double(Self.largest) else {
      throw DataError("a picture of \(width)×\(height) cannot be brought to a shorter side of \(shorterSide)")
    }
    let longer = Int(long)
    let whole = try resized(
      width: isTall ? shorterSide : longer, height: isTall ? longer : shorterSide, interpolation: fit.interpolation)
    return try whole.middle(height: newHeight, width: newWidth)
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
}
