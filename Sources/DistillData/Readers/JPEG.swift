import CTurboJPEG

extension RawImage {
  /// Decodes a JPEG picture, grey or in colour. Its orientation tag is not looked at.
  static func decodeJPEG(_ bytes: UnsafeRawBufferPointer, file: String) throws -> RawImage {
    guard let decoder = tjInitDecompress() else { throw DataError(file: file, "cannot be decoded: TurboJPEG failed") }
    defer { tjDestroy(decoder) }
    let start = bytes.bindMemory(to: UInt8.self).baseAddress
    let size = UInt(bytes.count)
    func failure() -> DataError {
      let text = tjGetErrorStr2(decoder).map { String(cString: $0) } ?? "unknown error"
      return DataError(file: file, "is a damaged JPEG picture (\(text))", remedy: "Replace it, or take it out")
    }
    var (width, height, sampling, colours) = (Int32(0), Int32(0), Int32(0), Int32(0))
    guard tjDecompressHeader3(decoder, start, size, &width, &height, &sampling, &colours) == 0 else { throw failure() }
    guard width > 0, height > 0 else {
      throw DataError(
        file: file, "is a damaged JPEG picture (there is none in it)", remedy: "Replace it, or take it out")
    }
    // A block of 64 pixels needs a bit, in a progressive picture of one colour.
    try checkSize(width: Int(width), height: Int(height), byteCount: bytes.count, mostPerByte: 1024, file: file)
    guard colours != Int32(TJCS_CMYK.rawValue), colours != Int32(TJCS_YCCK.rawValue) else {
      throw DataError(file: file, "is a JPEG picture in CMYK, which is for printing", remedy: "Convert it to RGB")
    }
    let isGrey = colours == Int32(TJCS_GRAY.rawValue)
    let format = Int32(isGrey ? TJPF_GRAY.rawValue : TJPF_RGB.rawValue)
    let channels = isGrey ? 1 : 3
    var pixels = [UInt8](repeating: 0, count: Int(width) * Int(height) * channels)
    let flags = Int32(TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS)
    let status = tjDecompress2(decoder, start, size, &pixels, width, 0, height, format, flags)
    if status != 0 {
      // Many pictures have superfluous bytes, of which the decoder warns; but one that ends early is not whole.
      let text = tjGetErrorStr2(decoder).map { String(cString: $0) } ?? ""
      let isWarning = tjGetErrorCode(decoder) == Int32(TJERR_WARNING.rawValue)
      guard isWarning, text.contains("extraneous") else { throw failure() }
    }
    return try RawImage(width: Int(width), height: Int(height), channels: channels, pixels: pixels)
  }
}
