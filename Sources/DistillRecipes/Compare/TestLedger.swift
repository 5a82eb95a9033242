import DistillData
import Foundation
import Torch

/// The file `test-looks.jsonl` of a comparison: a line for each student that was scored on the test split, and for each
/// time that its scores were shown. Whoever looks often enough finds a gain by luck, so it is counted.
struct TestLedger {
  struct Entry: Codable, Equatable {
    enum Kind: String, Codable {
      /// A student was scored, at the end of its training.
      case student
      /// The scores were shown.
      case report
    }

    var kind: Kind
    var date: Date
    /// The student; or how many arms were shown.
    var what: String
    /// Of the training, or of all that were shown.
    var identity: String
  }

  let path: String

  /// A last line that a crash cut short does not count.
  func entries() -> [Entry] {
    guard let data = FileManager.default.contents(atPath: path) else { return [] }
    return data.split(separator: UInt8(ascii: "\n")).compactMap { try? ResultJSON.decode(Data($0)) }
  }

  /// Writes down that the scores of these students are shown now, and counts.
  ///
  /// - Parameters:
  ///   - students: by the identities of their trainings
  ///   - start: when the command began; what another process of it has shown since counts as the same look
  func note(students: [(what: String, identity: String)], arms: Int, since start: Date) throws
    -> ComparisonData.TestLooks
  {
    var entries = entries()
    for student in students where !entries.contains(where: { $0.kind == .student && $0.identity == student.identity }) {
      entries.append(Entry(kind: .student, date: Date(), what: student.what, identity: student.identity))
    }
    let shown = try SHA256.hex(of: Set(students.map(\.identity)).sorted().joined(separator: "\n"))
    // Dates are written in whole seconds.
    let isShown = entries.contains { $0.kind == .report && $0.identity == shown && $0.date > start }
    if !isShown { entries.append(Entry(kind: .report, date: Date(), what: counted(arms, "arm"), identity: shown)) }
    try AtomicFile.write(Data(try entries.map { try ResultJSON.line($0) }.joined()), to: path)
    return ComparisonData.TestLooks(
      students: entries.count { $0.kind == .student }, reports: entries.count { $0.kind == .report })
  }
}
