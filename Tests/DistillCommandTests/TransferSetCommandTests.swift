import Foundation
import Testing

/// A class left out, and other data beside, with the binary.
@Suite("Transfer sets: interrupted = uninterrupted", .serialized)
struct TransferSetCommandTests {
  private static let recipe = """
    name: transfer
    seeds: [1, 2]
    threads: 1
    parallel: 2
    data:
      dataset: digits
      leave_out: ["3"]
      also: [{path: pictures}]
      augmentation: [{shift: 1}]
      teacher_view: plain
    teacher: {weights: teacher}
    student: {model: {architecture: mlp, hidden: [32]}}
    terms: [{soft_targets: {temperature: 2}}]
    training:
      epochs: 60
      batch_size: 64
      optimizer: {kind: adamw, learning_rate: 3e-3}
      checkpoint_every: 7 steps
      correct_bias: prior
    """

  /// A grey picture of 1×1 pixel, which is brought to the size of the digits.
  private static let picture = Data(
    base64Encoded: "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")

  private func prepare(_ folder: String) throws {
    try write(Self.recipe, to: "\(folder)/recipe.yaml")
    try FileManager.default.createDirectory(atPath: "\(folder)/pictures/some", withIntermediateDirectories: true)
    try #require(Self.picture).write(to: URL(fileURLWithPath: "\(folder)/pictures/some/one.png"))
  }

  private func files(_ run: String) throws -> [String: Data] {
    var found: [String: Data] = [:]
    for name in try FileManager.default.subpathsOfDirectory(atPath: "\(run)/jobs")
    where ["model.safetensors", "events.jsonl", "test.safetensors"].contains(where: name.hasSuffix) {
      found[name] = FileManager.default.contents(atPath: "\(run)/jobs/\(name)")
    }
    return found
  }

  @Test("Killed and gone on with, a run corrects the same biases by the same numbers, once")
  func killed() throws {
    try Sample.withTeacher { folder in
      try prepare(folder)
      let whole = try Command.run(["run", "--output", "whole"], in: folder)
      try #require(whole.code == 0, "\(whole.everything)")
      var kills = 0
      var running = try Command.start(["run", "--output", "broken"], in: folder)
      let jobs = "\(folder)/broken/jobs"
      while kills < 3 {
        let isThere = running.wait {
          ((try? FileManager.default.contentsOfDirectory(atPath: jobs)) ?? []).contains { isAtWork("\(jobs)/\($0)") }
        }
        guard isThere else { break }
        usleep(30_000)
        guard running.isRunning else { break }
        running.send(SIGKILL)
        _ = try running.wait()
        kills += 1
        running = try Command.start(["resume", "broken"], in: folder)
      }
      let end = try running.wait()
      #expect(end.code == 0, "\(end.everything)")
      #expect(kills > 0)
      let (first, second) = (try files("\(folder)/whole"), try files("\(folder)/broken"))
      #expect(Set(first.keys) == Set(second.keys) && first.count == 12)
      for (name, data) in first { #expect(second[name] == data, "\(name)") }
      let model = try #require(first.keys.first { $0.hasPrefix("distilled") && $0.hasSuffix("model.safetensors") })
      let cards = try ["whole", "broken"].map { run in
        let folder = "\(folder)/\(run)/jobs/\((model as NSString).deletingLastPathComponent)"
        return try String(contentsOfFile: "\(folder)/README.md", encoding: .utf8)
          .split(separator: "\n").first { $0.contains("it had the bias of '3' shifted by") }
      }
      #expect(cards[0] != nil && cards[0] == cards[1])
      // The recipe in the run folder finds the pictures from wherever it is gone on with.
      let recipe = try String(contentsOfFile: "\(folder)/whole/recipe.yaml", encoding: .utf8)
      #expect(recipe.contains("\(folder)/pictures") || recipe.contains("/pictures"))
    }
  }

  @Test("check tells what the student sees, and how that differs from what the teacher knows")
  func check() throws {
    try Sample.withTeacher { folder in
      try prepare(folder)
      let outcome = try Command.run(["check"], in: folder)
      #expect(outcome.code == 0, "\(outcome.everything)")
      #expect(outcome.output.contains("1 example of pictures, none labelled"), "\(outcome.output)")
      #expect(outcome.output.contains("no example of '3'; biases are corrected in the end"), "\(outcome.output)")
      let wrong = try Command.run(["check", "data.leave_out=[three]"], in: folder)
      #expect(wrong.code != 0 && wrong.everything.contains("data.leave_out names 'three'"), "\(wrong.everything)")
    }
  }
}
