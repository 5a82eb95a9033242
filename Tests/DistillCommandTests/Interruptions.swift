import Foundation
import Testing

@testable import DistillRecipes

// What tests of interrupted runs have in common.

/// The numbers of a run that must be the same: all but times and dates.
func numbers(_ run: String) throws -> String {
  let timed: Set = ["date", "latency_seconds", "images_per_second", "seconds_per_step", "title"]
  func plain(_ value: Any) -> Any {
    if let map = value as? [String: Any] { return map.filter { !timed.contains($0.key) }.mapValues(plain) }
    return (value as? [Any])?.map(plain) ?? value
  }
  let object = try JSONSerialization.jsonObject(with: read("\(run)/metrics.json"))
  let data = try JSONSerialization.data(withJSONObject: plain(object), options: [.sortedKeys, .prettyPrinted])
  return String(decoding: data, as: UTF8.self)
}

/// Whether a training of a run has saved something.
func hasCheckpoint(_ run: String) -> Bool {
  let names = (try? FileManager.default.subpathsOfDirectory(atPath: run)) ?? []
  return names.contains { $0.hasSuffix("checkpoint/state.safetensors") }
}

/// Whether a training, by its folder, has saved something and is not done.
func isAtWork(_ job: String) -> Bool {
  let files = FileManager.default
  return files.fileExists(atPath: "\(job)/checkpoint/state.safetensors")
    && !files.fileExists(atPath: "\(job)/result.json")
}

/// Does the recipe of a folder in `whole`, and in `broken` where it is killed in the middle of a training, a little further
/// each time, and resumed. Numbers, students, events and test outputs of both must be the same.
///
/// - Parameters:
///   - kills: so many at the most
///   - pause: microseconds from a checkpoint to the nth kill
func expectSameWhenKilled(in folder: String, kills most: Int, pause: (Int) -> Int) throws {
  let whole = try Command.run(["run", "--output", "whole"], in: folder)
  try #require(whole.code == 0, "\(whole.everything)")

  var kills = 0
  var running = try Command.start(["run", "--output", "broken"], in: folder)
  while kills < most {
    running.wait { hasCheckpoint("\(folder)/broken") }
    usleep(useconds_t(pause(kills)))
    guard running.isRunning else { break }
    running.send(SIGKILL)
    #expect(try running.wait().code == -1)
    kills += 1
    running = try Command.start(["resume", "broken"], in: folder)
  }
  let end = try running.wait()
  #expect(end.code == 0, "\(end.everything)")
  #expect(kills >= 2, "the run was too short to be killed in the middle")
  #expect(try numbers("\(folder)/broken") == numbers("\(folder)/whole"))
  let weights = try ["whole", "broken"].map { try read("\(folder)/\($0)/student/model.safetensors") }
  #expect(weights[0] == weights[1])
  let names = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/whole/jobs").sorted()
  #expect(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/broken/jobs").sorted() == names)
  for name in names {
    for file in ["model/model.safetensors", "events.jsonl", "test.safetensors"] {
      let pair = try ["whole", "broken"].map { try read("\(folder)/\($0)/jobs/\(name)/\(file)") }
      #expect(pair[0] == pair[1], "\(name)/\(file)")
    }
    let seen = try ["whole", "broken"].map { try curves("\(folder)/\($0)/jobs/\(name)") }
    #expect(seen[0] == seen[1] && !seen[0].isEmpty, "\(name)")
  }
}

/// What TensorBoard sees of a training, without the times: a line for each record.
func curves(_ job: String) throws -> [String] {
  let files = TensorBoardLog.names(in: job)
  try #require(files.count == 1, "\(job): \(files)")
  return try EventRecord.contents(of: read("\(job)/\(files[0])")).map { record in
    let event = try #require(TensorBoardEvent(decoding: record.content))
    return "\(event.step): " + event.scalars.map { "\($0.tag) \($0.value)" }.joined(separator: ", ")
  }
}
