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
      try? ResultJSON.decode(Data($0)) as Event.Round
    }
  }

  /// Forgets what was logged after a step.
  func cut(after step: Int) throws {
    let kept = try rounds().filter { $0.step <= step }.map { try ResultJSON.line($0) }
    try GrowingFile.replace(Data(kept.joined()), in: path)
  }

  func append(_ round: Event.Round) throws { try GrowingFile.append(try ResultJSON.line(round), to: path) }
}
