import Foundation
import Torch

/// Writing to files that grow line by line or record by record, each part of which is on the disk before work goes on.
enum GrowingFile {
  /// Appends to a file, which is made where there is none.
  ///
  /// - Throws: `FileError`
  static func append(_ data: Data, to path: String) throws {
    try write(data, to: path, flags: O_WRONLY | O_CREAT | O_APPEND)
  }

  /// Replaces what is in a file, in place, so that whoever reads it goes on reading it.
  ///
  /// - Throws: `FileError`
  static func replace(_ data: Data, in path: String) throws {
    try write(data, to: path, flags: O_WRONLY | O_CREAT | O_TRUNC)
  }

  /// Forgets what is behind a place in a file.
  ///
  /// - Throws: `FileError`
  static func cut(_ path: String, at place: Int) throws {
    guard truncate(path, off_t(place)) == 0 else { throw FileError(path: path, code: errno) }
  }

  private static func write(_ data: Data, to path: String, flags: Int32) throws {
    let descriptor = open(path, flags | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw FileError(path: path, code: errno) }
    defer { close(descriptor) }
    try data.withUnsafeBytes { bytes in
      var rest = bytes[...]
      while !rest.isEmpty {
        let part = UnsafeRawBufferPointer(rebasing: rest)
        let count = Foundation.write(descriptor, part.baseAddress, part.count)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { throw FileError(path: path, code: count < 0 ? errno : ENOSPC) }
        rest = rest.dropFirst(count)
      }
    }
    guard fsync(descriptor) == 0 else { throw FileError(path: path, code: errno) }
  }
}
