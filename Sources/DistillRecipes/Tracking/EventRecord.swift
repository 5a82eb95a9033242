import Foundation

/// The records of which TensorBoard's files consist:
///
///     length of the content, 8 bytes · its masked checksum, 4 bytes · the content · its masked checksum, 4 bytes
///
/// with numbers little-endian.
enum EventRecord {
  private static let headSize = 12
  private static let tailSize = 4

  /// A record with this content.
  static func framed(_ content: [UInt8]) -> Data {
    let length = littleEndian(UInt64(content.count))
    let head = length + littleEndian(CRC32C.masked(length))
    return Data(head + content + littleEndian(CRC32C.masked(content)))
  }

  /// The contents of the records in a file, each with the place behind it, up to the first that is cut short or damaged.
  static func contents(of file: Data) -> [(content: [UInt8], end: Int)] {
    let bytes = [UInt8](file)
    var records: [(content: [UInt8], end: Int)] = []
    var start = 0
    while bytes.count - start >= headSize + tailSize {
      let length = bytes[start..<start + 8]
      let size = number(length)
      guard number(bytes[start + 8..<start + headSize]) == UInt64(CRC32C.masked(length)),
        size <= UInt64(bytes.count - start - headSize - tailSize)
      else { break }
      let body = start + headSize
      let end = body + Int(size)
      let content = Array(bytes[body..<end])
      guard number(bytes[end..<end + tailSize]) == UInt64(CRC32C.masked(content)) else { break }
      start = end + tailSize
      records.append((content, start))
    }
    return records
  }

  private static func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}
