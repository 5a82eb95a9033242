import Distillation
import Foundation

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
      try? JSONDecoder().decode(Event.Round.self, from: Data($0))
    }
  }

  /// Forgets what was logged after a step.
  func cut(after step: Int) throws {
    let kept = try rounds().filter { $0.step <= step }.map { try Self.line($0) }
    try write(Data(kept.joined()), flags: O_WRONLY | O_CREAT | O_TRUNC)
  }

  func append(_ round: Event.Round) throws {
    try write(try Self.line(round), flags: O_WRONLY | O_CREAT | O_APPEND)
  }

  private static func line(_ round: Event.Round) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(round) + [UInt8(ascii: "\n")]
  }

  private func write(_ data: Data, flags: Int32) throws {
    let descriptor = open(path, flags | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw RunError("\(path) cannot be written: \(String(cString: strerror(errno)))", kind: .failure)
    }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    do {
      try file.write(contentsOf: data)
      try file.synchronize()
    } catch {
      throw RunError("\(path) cannot be written: \(reason(error))", kind: .failure)
    }
  }
}
