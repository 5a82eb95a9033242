import Foundation
import Synchronization
import Testing

@testable import DistillRecipes

/// A small run on the digits, as unit tests do it.
enum RunRecipe {
  static func text(compare: Bool = true, training: String = "{epochs: 1, batch_size: 128}", more: String = "") -> String
  {
    """
    name: small
    seeds: [1]
    threads: 1
    compare: \(compare)
    data: {dataset: digits}
    teacher:
      model: {architecture: mlp, hidden: [8]}
      training: {epochs: 1, batch_size: 128}
    student: {model: {architecture: mlp, hidden: [4]}}
    terms: [{soft_targets: {temperature: 2}}]
    training: \(training)
    \(more)
    """
  }

  static func configuration(
    compare: Bool = true, training: String = "{epochs: 1, batch_size: 128}", overrides: [String] = []
  ) throws -> Configuration {
    try Configuration.parse(text: text(compare: compare, training: training), overrides: overrides)
  }

  /// What a run said that is worth knowing.
  final class Notices: Sendable {
    private let texts = Mutex<[String]>([])
    var all: [String] { texts.withLock { $0 } }
    func note(_ event: RunEvent) {
      if case .notice(let text) = event { texts.withLock { $0.append(text) } }
    }
  }

  /// Does the run, and gives the notices.
  @discardableResult
  static func run(
    _ configuration: Configuration, in folder: String, _ start: Experiment.Start = .resuming
  ) throws -> (data: ReportData, notices: [String]) {
    let notices = Notices()
    let data = try Experiment(configuration, folder: RunFolder(folder)) { notices.note($0) }.run(start)
    return (data, notices.all)
  }

  static func withFolder<Value>(_ body: (String) throws -> Value) throws -> Value {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("distill-run-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    return try body(folder)
  }

  /// Calls `body` with a folder and a run that is done in it, made once and copied.
  static func withRun<Value>(_ body: (String) throws -> Value) throws -> Value {
    let source = try made.get()
    return try withFolder { folder in
      try FileManager.default.copyItem(atPath: source, toPath: "\(folder)/run")
      return try body("\(folder)/run")
    }
  }

  private static let place = FileManager.default.temporaryDirectory
    .appendingPathComponent("distill-run-\(ProcessInfo.processInfo.processIdentifier)").path

  private static let made: Result<String, any Error> = Result {
    try? FileManager.default.removeItem(atPath: place)
    atexit { try? FileManager.default.removeItem(atPath: RunRecipe.place) }
    try run(try configuration(), in: place)
    return place
  }

  static func write(_ text: String, to path: String) throws {
    try FileManager.default.createDirectory(
      at: URL(fileURLWithPath: path).deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
  }

  static func read(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

  /// The files of a folder with what is in them, but for the lock.
  static func contents(of folder: String) throws -> [String: Data] {
    var found: [String: Data] = [:]
    for name in try FileManager.default.subpathsOfDirectory(atPath: folder) where !name.hasSuffix(".lock") {
      found[name] = FileManager.default.contents(atPath: "\(folder)/\(name)")
    }
    return found
  }

  static func jobs(in run: String, _ arm: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: "\(run)/jobs").filter { $0.hasPrefix(arm) }
      .map { "\(run)/jobs/\($0)" }
  }
}
