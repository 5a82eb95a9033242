import Foundation
import Testing

/// Recipes of stages, with the binary: whenever it is ended, it goes on to the same numbers.
@Suite("Stages: interrupted = uninterrupted", .serialized)
struct StageCommandTests {
  /// An assistant that the teacher teaches, hints for the lower half, and soft targets from the assistant.
  private static let recipe = """
    name: staged
    seeds: [1, 2]
    threads: 1
    parallel: 2
    data: {dataset: digits, augmentation: [{shift: 1}], views: 2}
    teacher: {weights: teacher}
    student: {model: {architecture: mlp, hidden: [64, 32], dropout: 0.2}}
    terms:
      - soft_targets: {temperature: 2, weight: 0.9}
      - hard_labels: {weight: 0.1}
    training:
      epochs: 40
      batch_size: 128
      optimizer: {kind: adamw, learning_rate: 3e-3}
      checkpoint_every: 7 steps
    stages:
      - name: assistant
        student: {model: {architecture: mlp, hidden: [96], dropout: 0.1}}
      - name: hints
        terms: [{hints: {layers: [{student: hidden.0, teacher: hidden.0}]}}]
        training: {only: [hidden.0]}
      - name: last
        teacher: {stage: assistant}
    """

  /// The folders of a stage's trainings, counted from 1.
  private func folders(_ run: String, stage: Int) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(run)/jobs")) ?? []
    return names.filter { name in
      guard name.hasPrefix("distilled") else { return false }
      return (name.firstMatch(of: /stage-(\d+)-/).flatMap { Int($0.1) } ?? 1) == stage
    }.sorted().map { "\(run)/jobs/\($0)" }
  }

  private func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

  /// Waits until a training of a stage is at work and has saved something.
  private func wait(for running: Command.Running, _ run: String, stage: Int) {
    running.wait { folders(run, stage: stage).contains(where: isAtWork) }
  }

  /// Numbers, students, events and test outputs of two runs.
  private func expectSame(_ first: String, _ second: String) throws {
    #expect(try numbers(first) == numbers(second))
    #expect(try read("\(first)/student/model.safetensors") == read("\(second)/student/model.safetensors"))
    let names = try FileManager.default.contentsOfDirectory(atPath: "\(first)/jobs").sorted()
    #expect(try FileManager.default.contentsOfDirectory(atPath: "\(second)/jobs").sorted() == names)
    for name in names {
      for file in ["model/model.safetensors", "events.jsonl", "test.safetensors"] {
        let pair = [first, second].map { FileManager.default.contents(atPath: "\($0)/jobs/\(name)/\(file)") }
        #expect(pair[0] == pair[1], "\(name)/\(file)")
        #expect(pair[0] != nil || file == "test.safetensors", "\(name)/\(file)")
      }
    }
  }

  @Test("Killed in every stage, and killed again, a run gives the same numbers, students and events")
  func killed() throws {
    try Sample.withTeacher { folder in
      try write(Self.recipe, to: "\(folder)/recipe.yaml")
      let whole = try Command.run(["run", "--output", "whole"], in: folder)
      try #require(whole.code == 0, "\(whole.everything)")

      var kills: [Int] = []
      var running = try Command.start(["run", "--output", "broken"], in: folder)
      for (stage, milliseconds) in [(1, 5), (1, 60), (2, 5), (2, 60), (3, 5), (3, 60)] {
        wait(for: running, "\(folder)/broken", stage: stage)
        usleep(useconds_t(milliseconds * 1_000))
        guard running.isRunning else { break }
        running.send(SIGKILL)
        #expect(try running.wait().code == -1)
        kills.append(stage)
        running = try Command.start(["resume", "broken"], in: folder)
      }
      let end = try running.wait()
      #expect(end.code == 0, "\(end.everything)")
      #expect(Set(kills) == [1, 2, 3], "the run was too short to be killed in every stage: \(kills)")
      #expect(!end.errors.contains("done again") && !end.errors.contains("done anew"), "\(end.errors)")
      try expectSame("\(folder)/whole", "\(folder)/broken")
    }
  }

  @Test("Ctrl-C in a middle stage ends with 130, says where it stands, and is gone on with")
  func interrupted() throws {
    try Sample.withTeacher { folder in
      try write(Self.recipe, to: "\(folder)/recipe.yaml")
      let whole = try Command.run(["run", "--output", "whole"], in: folder)
      try #require(whole.code == 0, "\(whole.everything)")
      let running = try Command.start(["run", "--output", "broken"], in: folder)
      wait(for: running, "\(folder)/broken", stage: 2)
      running.send(SIGINT)
      let outcome = try running.wait()
      #expect(outcome.code == 130, "\(outcome.everything)")
      #expect(outcome.errors.contains("distill resume broken"))
      #expect(folders("\(folder)/broken", stage: 1).contains { exists("\($0)/result.json") })
      #expect(folders("\(folder)/broken", stage: 3).allSatisfy { !exists("\($0)/result.json") })

      let state = try Command.run(["inspect", "broken", "--json"], in: folder)
      let run = try #require(try state.object()["run"] as? [String: Any])
      let trainings = try #require(run["trainings"] as? [[String: Any]])
      func states(_ stage: String) -> [String] {
        trainings.filter { ($0["name"] as? String)?.hasSuffix(", \(stage)") == true }
          .compactMap { $0["state"] as? String }
      }
      #expect(states("assistant").contains("done") && states("hints").contains("interrupted"), "\(state.output)")
      #expect(states("last").allSatisfy { $0 != "done" } && states("last").count == 2)

      let end = try Command.run(["resume", "broken", "--quiet"], in: folder)
      #expect(end.code == 0, "\(end.everything)")
      try expectSame("\(folder)/whole", "\(folder)/broken")
    }
  }

  @Test("A middle stage whose model is gone is done again before anything goes on with it")
  func damaged() throws {
    try Sample.withTeacher { folder in
      let short = Self.recipe.replacingOccurrences(of: "epochs: 40", with: "epochs: 2")
      try write(short, to: "\(folder)/recipe.yaml")
      try #require(try Command.run(["run", "--output", "whole"], in: folder).code == 0)
      try FileManager.default.copyItem(atPath: "\(folder)/whole", toPath: "\(folder)/broken")
      for stage in [1, 2] {
        let job = try #require(folders("\(folder)/broken", stage: stage).first)
        try FileManager.default.removeItem(atPath: "\(job)/model")
      }
      for job in folders("\(folder)/broken", stage: 3) { try FileManager.default.removeItem(atPath: job) }
      let outcome = try Command.run(["resume", "broken"], in: folder)
      #expect(outcome.code == 0, "\(outcome.everything)")
      for name in ["assistant", "hints"] { #expect(outcome.errors.contains(", \(name)' is done again")) }
      try expectSame("\(folder)/whole", "\(folder)/broken")
    }
  }

  @Test("The recipes of stages that come with the program are good, and the quickest one runs")
  func recipes() throws {
    try withFolder { folder in
      let list = try Command.run(["recipes", "list", "--json"], in: folder)
      let names = try #require(try list.json() as? [[String: Any]]).compactMap { $0["name"] as? String }
        .filter { $0.hasPrefix("stages-") }
      #expect(
        names == ["assistants", "born-again", "fine-tune", "fitnets", "linear-probe"].map { "stages-\($0)-digits" })
      for name in names {
        #expect(try Command.run(["recipes", "copy", name], in: folder).code == 0)
        let check = try Command.run(["check", "\(name).yaml"], in: folder)
        #expect(check.code == 0, "\(check.everything)")
        #expect(check.output.contains("No problems."), "\(check.output)")
        // Assistants are shown too.
        let inspection = try Command.run(["inspect", "\(name).yaml"], in: folder)
        #expect(inspection.code == 0 && inspection.output.contains("student: mlp"), "\(inspection.everything)")
        #expect(inspection.output.contains("student in '") == (name == "stages-assistants-digits"))
      }
      let run = try Command.run(
        ["run", "stages-fine-tune-digits.yaml", "--json", "seeds=[1]", "--output", "run"], in: folder)
      #expect(run.code == 0, "\(run.everything)")
      let settings = try #require(try run.object()["settings"] as? [[String: Any]])
      let stages = try #require(settings.first?["stages"] as? [[String: Any]])
      #expect(stages.compactMap { $0["name"] as? String } == ["soft targets", "labels"])
      let explained = try Command.run(["explain", "run"], in: folder)
      #expect(explained.code == 0, "\(explained.everything)")
    }
  }
}
