import CPNG

extension RawImage {
  /// Decodes a PNG picture of any kind. What is transparent shows white; grey pictures stay grey.
  static func decodePNG(_ bytes: UnsafeRawBufferPointer, file: String) throws -> RawImage {
    var image = png_image()
    image.version = UInt32(PNG_IMAGE_VERSION)
    defer { png_image_free(&image) }
    func failure() -> DataError {
      let text = withUnsafeBytes(of: image.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      return DataError(
        file: file, "is a damaged PNG picture (\(text))", remedy: "Replace it, or take it out")
    }
    guard png_image_begin_read_from_memory(&image, bytes.baseAddress, bytes.count) != 0 else { throw failure() }
    let (width, height) = (Int(image.width), Int(image.height))
    // Deflated at best, and with the fewest bits for a pixel that the header allows.
    let bits = bytes.count > 25 ? max(1, Int(bytes[24])) * (bytes[25] & 2 != 0 && bytes[25] & 1 == 0 ? 3 : 1) : 8
    try checkSize(
      width: width, height: height, byteCount: bytes.count, mostPerByte: CompressedFile.highestRatio * 8 / bits + 8,
      file: file)
    let isColour = image.format & UInt32(PNG_FORMAT_FLAG_COLOR) != 0
    image.format = isColour ? UInt32(PNG_FORMAT_FLAG_COLOR) : 0
    image.flags |= UInt32(PNG_IMAGE_FLAG_16BIT_sRGB)
    var background = png_color(red: 255, green: 255, blue: 255)
    let channels = isColour ? 3 : 1
    var pixels = [UInt8](repeating: 0, count: width * height * channels)
    guard png_image_finish_read(&image, &background, &pixels, 0, nil) != 0 else { throw failure() }
    return try RawImage(width: width, height: height, channels: channels, pixels: pixels)
  }
}
