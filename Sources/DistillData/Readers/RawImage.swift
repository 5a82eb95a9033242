import Foundation
import Torch

/// A picture as it comes from a file: bytes, with the channels of a pixel side by side.
public struct RawImage: Sendable, Equatable {
  /// The largest picture that is accepted, in pixels. A small file can claim to be larger than memory.
  public static let largest = 1 << 26

  public let width: Int
  public let height: Int
  /// 1 for grey, 3 for red, green and blue.
  public let channels: Int
  /// Row by row.
  public let pixels: [UInt8]

  /// - Throws: `DataError` when there are too many or too few pixels.
  public init(width: Int, height: Int, channels: Int, pixels: [UInt8]) throws {
    guard width > 0, height > 0, channels == 1 || channels == 3, pixels.count == width * height * channels else {
      throw DataError("\(pixels.count) bytes are no picture of \(width)×\(height) pixels with \(channels) channels")
    }
    self.width = width
    self.height = height
    self.channels = channels
    self.pixels = pixels
  }

  /// Reads a PNG or JPEG file; which of them it is, its first bytes tell.
  ///
  /// - Throws: `DataError` that names the file when it cannot be read, is damaged, or is too large.
  public static func read(_ path: String) throws -> RawImage {
    let buffer: HostBuffer
    do { buffer = try HostBuffer(mapping: path) } catch let error as TorchError { throw DataError(error.message) }
    return try withExtendedLifetime(buffer) { try decode(UnsafeRawBufferPointer(buffer.bytes), file: path) }
  }

  /// Decodes the bytes of a PNG or JPEG file.
  package static func decode(_ bytes: UnsafeRawBufferPointer, file: String) throws -> RawImage {
    if bytes.starts(with: [0x89, 0x50, 0x4e, 0x47]) { return try decodePNG(bytes, file: file) }
    if bytes.starts(with: [0xff, 0xd8, 0xff]) { return try decodeJPEG(bytes, file: file) }
    throw DataError(file: file, "is neither a PNG nor a JPEG picture", remedy: "Convert it, or take it out")
  }

  /// Throws unless a picture of this size is accepted, and can be in so many bytes.
  ///
  /// - Parameter mostPerByte: how many pixels its format can have in a byte at most
  static func checkSize(width: Int, height: Int, byteCount: Int, mostPerByte: Int, file: String) throws {
    guard width > 0, height > 0, width <= largest / height else {
      throw DataError(file: file, "claims to have \(width)×\(height) pixels; at most \(largest) are accepted")
    }
    guard width * height / mostPerByte <= byteCount else {
      throw DataError(
        file: file, "cannot be right: it claims to have \(width)×\(height) pixels in \(byteCount) bytes",
        remedy: "Replace it, or take it out")
    }
  }

  /// The picture in grey (the luma of ITU-R BT.601) or in colour.
  public func converted(channels wanted: Int) throws -> RawImage {
    if wanted == channels { return self }
    switch wanted {
    case 1:
      var grey = [UInt8](repeating: 0, count: width * height)
      for index in grey.indices {
        let red = 19595 * Int(pixels[3 * index])
        let green = 38470 * Int(pixels[3 * index + 1])
        let blue = 7471 * Int(pixels[3 * index + 2])
        grey[index] = UInt8((red + green + blue + 0x8000) >> 16)
      }
      return try RawImage(width: width, height: height, channels: 1, pixels: grey)
    case 3:
      return try RawImage(width: width, height: height, channels: 3, pixels: pixels.flatMap { [$0, $0, $0] })
    default: throw DataError("pictures have 1 or 3 channels, not \(wanted)")
    }
  }

  /// The bytes as `[C, H, W]`.
  public var planes: [UInt8] {
    if channels == 1 { return pixels }
    var planes = [UInt8](repeating: 0, count: pixels.count)
    for channel in 0..<channels {
      for pixel in 0..<(width * height) {
        planes[channel * width * height + pixel] = pixels[pixel * channels + channel]
      }
    }
    return planes
  }
}
