import Foundation

/// Pictures as PNG files, stored without compression: the pictures of a report are small, and so is this code.
enum InlinePicture {
  /// A grey or RGB picture; `nil` where its bytes do not fit its size. Large pictures are made smaller, since the
  /// report shows them small.
  static func encoded(_ picture: ReportData.Picture, longestSide: Int = 128) -> Data? {
    let (width, height, channels) = (picture.width, picture.height, picture.channels)
    guard width > 0, height > 0, channels == 1 || channels == 3, width <= 1 << 15, height <= 1 << 15,
      picture.pixels.count == width * height * channels
    else { return nil }
    let pixels = [UInt8](picture.pixels)
    let factor = max(1, (max(width, height) + longestSide - 1) / longestSide)
    let (columns, rows) = (max(1, width / factor), max(1, height / factor))
    var lines: [UInt8] = []
    lines.reserveCapacity(rows * (columns * channels + 1))
    for row in 0..<rows {
      lines.append(0)
      for column in 0..<columns {
        for channel in 0..<channels {
          var sum = 0
          var count = 0
          for y in (row * factor)..<min(height, (row + 1) * factor) {
            for x in (column * factor)..<min(width, (column + 1) * factor) {
              sum += Int(pixels[(y * width + x) * channels + channel])
              count += 1
            }
          }
          lines.append(UInt8(sum / max(1, count)))
        }
      }
    }
    return file(width: columns, height: rows, colourType: channels == 1 ? 0 : 2, palette: nil, lines: lines)
  }

  /// A heat map of one colour whose opacity is the value, from 0 (transparent) to 1.
  static func heatMap(_ values: [[Double]], red: UInt8, green: UInt8, blue: UInt8) -> Data? {
    guard let width = values.first?.count, width > 0 else { return nil }
    var lines: [UInt8] = []
    for row in values {
      lines.append(0)
      for column in 0..<width {
        let value = column < row.count && row[column].isFinite ? min(max(row[column], 0), 1) : 0
        lines.append(UInt8((value * 255).rounded()))
      }
    }
    let palette = (colours: (0..<256).flatMap { _ in [red, green, blue] }, alpha: [UInt8](0...255))
    return file(width: width, height: values.count, colourType: 3, palette: palette, lines: lines)
  }

  /// The bytes as an address that needs no file.
  static func address(_ data: Data) -> String { "data:image/png;base64," + data.base64EncodedString() }

  // MARK: The file format

  private static func file(
    width: Int, height: Int, colourType: UInt8, palette: (colours: [UInt8], alpha: [UInt8])?, lines: [UInt8]
  ) -> Data {
    var file: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
    file += chunk("IHDR", bigEndian(UInt32(width)) + bigEndian(UInt32(height)) + [8, colourType, 0, 0, 0])
    if let palette {
      file += chunk("PLTE", palette.colours)
      file += chunk("tRNS", palette.alpha)
    }
    file += chunk("IDAT", stored(lines))
    file += chunk("IEND", [])
    return Data(file)
  }

  private static func chunk(_ kind: String, _ content: [UInt8]) -> [UInt8] {
    let body = Array(kind.utf8) + content
    return bigEndian(UInt32(content.count)) + body + bigEndian(crc32(body))
  }

  /// A zlib stream of stored blocks, each of at most 65,535 bytes.
  private static func stored(_ bytes: [UInt8]) -> [UInt8] {
    var stream: [UInt8] = [0x78, 0x01]
    var start = 0
    repeat {
      let end = min(bytes.count, start + 65_535)
      let size = UInt16(end - start)
      stream.append(end == bytes.count ? 1 : 0)
      stream += [UInt8(size & 0xFF), UInt8(size >> 8), UInt8(~size & 0xFF), UInt8(~size >> 8)]
      stream += bytes[start..<end]
      start = end
    } while start < bytes.count
    return stream + bigEndian(adler32(bytes))
  }

  private static func bigEndian(_ value: UInt32) -> [UInt8] {
    [UInt8(value >> 24), UInt8(value >> 16 & 0xFF), UInt8(value >> 8 & 0xFF), UInt8(value & 0xFF)]
  }

  private static let crcTable: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0xEDB8_8320 ^ (value >> 1) : value >> 1 }
  }

  private static func crc32(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(0xFFFF_FFFF) { crcTable[Int(($0 ^ UInt32($1)) & 0xFF)] ^ ($0 >> 8) }
  }

  private static func adler32(_ bytes: [UInt8]) -> UInt32 {
    var (low, high): (UInt32, UInt32) = (1, 0)
    for byte in bytes {
      low = (low + UInt32(byte)) % 65_521
      high = (high + low) % 65_521
    }
    return high << 16 | low
  }
}
