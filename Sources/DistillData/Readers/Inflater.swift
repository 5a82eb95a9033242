import CZlib
import Foundation
import Torch

/// Reads a file that may be compressed with gzip.
enum CompressedFile {
  /// The most that deflate can make of a byte, roughly; a header that claims more is lying.
  static let highestRatio = 1040

  /// Whether the bytes begin like those of a gzip file.
  static func isCompressed(_ bytes: UnsafeRawBufferPointer) -> Bool {
    bytes.count >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b
  }

  /// The first bytes of a compressed file's content, at most `count` of them.
  static func head(of bytes: UnsafeRawBufferPointer, count: Int, file: String) throws -> [UInt8] {
    let inflater = try Inflater(bytes, file: file)
    let buffer = HostBuffer(byteCount: count)
    let found = try inflater.fill(UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<count]))
    return withExtendedLifetime(buffer) { Array(buffer.bytes[..<found]) }
  }

  /// The whole content, which has to be exactly `count` bytes.
  static func content(
    of bytes: UnsafeRawBufferPointer, count: Int, file: String, format: Inflater.Format = .gzip
  ) throws -> HostBuffer {
    let inflater = try Inflater(bytes, file: file, format: format)
    let buffer = HostBuffer(byteCount: count)
    let found = try inflater.fill(UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<count]))
    guard found == count else {
      throw DataError(
        file: file, "is truncated: its header announces \(count) bytes, but there are \(found)",
        remedy: "Fetch the file again")
    }
    guard try inflater.isAtEnd() else {
      throw DataError(
        file: file, "goes on after the \(count) bytes that its header announces", remedy: "Fetch the file again")
    }
    return buffer
  }
}

/// zlib, over bytes in memory. Understands gzip with any number of members, zlib's own format, and bare deflated data.
final class Inflater {
  enum Format {
    /// Or zlib's own.
    case gzip
    /// Without a head and a checksum, as zip files have them.
    case deflate
  }

  private var stream = z_stream()
  private let file: String
  private let input: UnsafeRawBufferPointer
  private let format: Format
  private var consumed = 0
  private var isFinished = false

  /// - Parameter bytes: have to stay where they are as long as this is used
  init(_ bytes: UnsafeRawBufferPointer, file: String, format: Format = .gzip) throws {
    self.file = file
    self.format = format
    input = bytes
    let window = format == .deflate ? -MAX_WBITS : MAX_WBITS + 32
    let status = inflateInit2_(&stream, window, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    guard status == Z_OK else { throw DataError(file: file, "zlib could not be started (\(status))") }
  }

  deinit { inflateEnd(&stream) }

  /// Writes as much of the content as there is and fits; returns how much that was.
  func fill(_ output: UnsafeMutableRawBufferPointer) throws -> Int {
    var written = 0
    while written < output.count, !isFinished {
      let room = min(output.count - written, 1 << 30)
      let given = min(input.count - consumed, 1 << 30)
      stream.next_in = UnsafeMutablePointer(
        mutating: input.baseAddress.map { ($0 + consumed).assumingMemoryBound(to: UInt8.self) })
      stream.avail_in = UInt32(given)
      stream.next_out = output.baseAddress.map { ($0 + written).assumingMemoryBound(to: UInt8.self) }
      stream.avail_out = UInt32(room)
      let status = inflate(&stream, Z_NO_FLUSH)
      let taken = given - Int(stream.avail_in)
      let made = room - Int(stream.avail_out)
      consumed += taken
      written += made
      switch status {
      case Z_STREAM_END: try beginNextMember()
      case Z_OK: continue
      case Z_BUF_ERROR where taken == 0 && made == 0:
        throw damaged("the compressed data end early, after \(consumed) bytes")
      case Z_BUF_ERROR: continue
      default: throw damaged(stream.msg.map { String(cString: $0) } ?? "zlib's error \(status)")
      }
    }
    return written
  }

  /// Whether there is no more content. Checks the checksum at the end of the compressed data.
  func isAtEnd() throws -> Bool {
    var byte: UInt8 = 0
    return try withUnsafeMutableBytes(of: &byte) { try fill($0) } == 0
  }

  /// gzip files may follow each other in one; anything else after the end is damage.
  private func beginNextMember() throws {
    guard consumed < input.count else {
      isFinished = true
      return
    }
    guard format == .gzip, CompressedFile.isCompressed(UnsafeRawBufferPointer(rebasing: input[consumed...])) else {
      throw damaged("\(input.count - consumed) bytes follow the end of the compressed data")
    }
    inflateReset(&stream)
  }

  private func damaged(_ what: String) -> DataError {
    DataError(file: file, "is damaged or truncated (\(what))", remedy: "Fetch the file again")
  }
}
