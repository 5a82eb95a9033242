import Distillation
import Foundation
import Torch

/// The rounds of a training, one JSON object a line, in a file that grows.
///
/// A line is written before the checkpoint that covers it. After a restart the log is cut back to the step of the
/// checkpoint, so that it reads as if nothing had happened.
struct EventLog {
  private let path: String

  init(path: String) { self.path = path }

  /// The rounds so far. A last line that a crash cut short does not count.
  func rounds() -> [Event.Round] {
    guard let data = FileManager.default.contents(atPath: path) else { return [] }
    return data.split(separator: UInt8(ascii: "\n")).compactMap {
      try? ResultJSON.decode(Data($0)) as Event.Round
    }
  }

  /// Forgets what was logged after a step.
  func cut(after step: Int) throws {
    let kept = try rounds().filter { $0.step <= step }.map { try ResultJSON.line($0) }
    try write(Data(kept.joined()), flags: O_WRONLY | O_CREAT | O_TRUNC)
  }

  func append(_ round: Event.Round) throws {
    try write(try ResultJSON.line(round), flags: O_WRONLY | O_CREAT | O_APPEND)
  }

  /// - Throws: `FileError`
  private func write(_ data: Data, flags: Int32) throws {
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
