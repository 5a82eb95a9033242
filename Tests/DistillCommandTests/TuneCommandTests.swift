import Foundation
import Testing

/// `distill tune` with the real binary, on the digits.
@Suite("tune")
struct TuneCommandTests {
  private static let recipe = Sample.warmRecipe

  private static let rate = ["--space", "training.optimizer.learning_rate=1e-4..1e-1:log"]
  private static let temperature = ["--space", "terms.0.soft_targets.temperature=1,4,20"]

  private func withRecipe(_ text: String = recipe, _ body: (String) throws -> Void) throws {
    try Sample.withTeacher(text, body)
  }

  private func trials(_ object: [String: Any]) throws -> [[String: Any]] {
    try #require(object["trials"] as? [[String: Any]])
  }

  private func metrics(_ study: String) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: read("\(study)/metrics.json")) as? [String: Any])
  }

  /// All that does not depend on the time.
  private func statistics(_ object: [String: Any]) throws -> String {
    let plain = try trials(object).map { trial in
      var trial = trial
      trial["reports"] = (trial["reports"] as? [[String: Any]])?.map { $0.filter { $0.key != "seconds" } }
      return trial
    }
    let kept: [String: Any] = ["trials": plain, "best": try #require(object["best"])]
    let data = try JSONSerialization.data(withJSONObject: kept, options: [.sortedKeys, .prettyPrinted])
    return String(decoding: data, as: UTF8.self)
  }

  /// The names of the trainings of a study.
  private func trainings(_ study: String) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: "\(study)/trainings")
      .filter { $0.hasSuffix("result.json") || $0.hasSuffix("state.safetensors") }.sorted()
  }

  @Test("A grid tries all combinations, writes the best recipe, and never scores anything on the test split")
  func grid() throws {
    try withRecipe { folder in
      let command =
        ["tune", "recipe.yaml", "--sampler", "grid", "--study", "s", "--space", "student.model.hidden=[4],[16]"]
        + Self.temperature
      let outcome = try Command.run(command + ["--json"], in: folder)
      try #require(outcome.code == 0, "\(outcome.everything)")
      let object = try outcome.object()
      let all = try trials(object)
      #expect(all.count == 6 && all.allSatisfy { $0["state"] as? String == "done" })
      let values = all.compactMap { $0["values"] as? [String: String] }
      #expect(values.map { $0["student.model.hidden"] } == ["[4]", "[4]", "[4]", "[16]", "[16]", "[16]"])
      #expect(values.map { $0["terms.0.soft_targets.temperature"] } == ["1", "4", "20", "1", "4", "20"])

      // Accuracy against temperature, a line for each size of the student.
      let curves = try #require(object["curves"] as? [[String: Any]])
      let bySize = try #require(curves.first { $0["by"] as? String == "student.model.hidden" })
      let lines = try #require(bySize["lines"] as? [[String: Any]])
      #expect(lines.compactMap { $0["value"] as? String } == ["[4]", "[16]"])
      #expect(lines.allSatisfy { ($0["points"] as? [Any])?.count == 3 })

      // The best is the one with the best score.
      let scores = try all.map { trial in
        let reports = try #require(trial["reports"] as? [[String: Any]])
        return try #require((reports.last?["score"] as? [String: Double])?["accuracy"])
      }
      let best = try #require(object["best"] as? Int)
      #expect(scores[best - 1] == scores.max())

      let recipe = String(decoding: try read("\(folder)/s/best.yaml"), as: UTF8.self)
      #expect(recipe.hasPrefix("# Found by distill tune") && recipe.contains("trial \(best) of 6"))
      #expect(recipe.contains("name: warm-tuned"))
      let check = try Command.run(["check", "s/best.yaml"], in: folder)
      #expect(check.code == 0, "\(check.everything)")

      // Nobody looked at the test split.
      for name in try trainings("\(folder)/s") where name.hasSuffix("result.json") {
        let result = try #require(
          try JSONSerialization.jsonObject(with: read("\(folder)/s/trainings/\(name)")) as? [String: Any])
        #expect(result["test"] == nil, "\(name)")
      }
      let files = try FileManager.default.subpathsOfDirectory(atPath: "\(folder)/s")
      #expect(!files.contains { $0.hasSuffix("test.safetensors") })
      #expect(try trainings("\(folder)/s").count == 6, "six students, none alone, and no checkpoint left")
      let cards = try files.filter { $0.hasSuffix("model/README.md") }.map {
        String(decoding: try read("\(folder)/s/\($0)"), as: UTF8.self)
      }
      #expect(cards.count == 6 && cards.allSatisfy { $0.contains("not tested: a search chooses among several") })

      // Again: nothing is trained.
      let jobs = try contents(of: "\(folder)/s/trainings").filter { $0.key.contains("/jobs/") }
      let again = try Command.run(command, in: folder)
      #expect(again.code == 0 && again.output.contains("trial \(best) is best"), "\(again.everything)")
      #expect(try contents(of: "\(folder)/s/trainings").filter { $0.key.contains("/jobs/") } == jobs)
      #expect(again.output.contains("s/report.html") && again.output.contains("s/best.yaml"))

      // A damaged file is refused; without it the study begins anew, and takes over what was trained.
      let database = "\(folder)/s/study.sqlite"
      try write(String(repeating: "no database ", count: 500), to: database)
      let damaged = try Command.run(command, in: folder)
      #expect(damaged.code == 2 && damaged.errors.contains("study.sqlite is no study, or damaged"))
      try FileManager.default.removeItem(atPath: database)
      let anew = try Command.run(command + ["--json"], in: folder)
      #expect(anew.code == 0, "\(anew.everything)")
      #expect(try statistics(anew.object()) == statistics(object))
      #expect(try contents(of: "\(folder)/s/trainings").filter { $0.key.contains("/jobs/") } == jobs)
    }
  }

  @Test("A trial scores what the same training scores in a run")
  func sameAsARun() throws {
    try withRecipe { folder in
      let outcome = try Command.run(
        ["tune", "recipe.yaml", "--sampler", "grid", "--study", "s", "--json"] + Self.temperature, in: folder)
      let object = try outcome.object()
      let ran = try Command.run(
        ["run", "recipe.yaml", "compare=false", "seeds=[1]", "terms.0.soft_targets.temperature=4", "--output", "r"],
        in: folder)
      #expect(ran.code == 0, "\(ran.everything)")
      let job = try #require(
        try FileManager.default.contentsOfDirectory(atPath: "\(folder)/r/jobs").first { $0.hasPrefix("distilled") })
      let result = try #require(
        try JSONSerialization.jsonObject(with: read("\(folder)/r/jobs/\(job)/result.json")) as? [String: Any])
      let validation = try #require(
        (result["outcome"] as? [String: Any])?["validation"] as? [String: Double])
      let reports = try #require(try trials(object)[1]["reports"] as? [[String: Any]])
      #expect(reports.last?["score"] as? [String: Double] == validation)
    }
  }

  @Test("With halving trainings stop at rungs and go on from there; those that went on score as if never stopped")
  func halving() throws {
    try withRecipe { folder in
      let command = ["tune", "recipe.yaml", "training.epochs=9", "--trials", "9", "--sampler", "random"] + Self.rate
      let halved = try Command.run(command + ["--halving", "--study", "h", "--json"], in: folder)
      try #require(halved.code == 0, "\(halved.everything)")
      let whole = try Command.run(command + ["--study", "w", "--json"], in: folder)
      try #require(whole.code == 0, "\(whole.everything)")
      let (some, all) = try (trials(halved.object()), trials(whole.object()))
      #expect(some.count == 9 && all.count == 9)
      #expect(
        some.compactMap { $0["values"] as? [String: String] } == all.compactMap { $0["values"] as? [String: String] })
      let states = some.compactMap { $0["state"] as? String }
      #expect(states.contains("done") && states.count { $0 == "paused" } >= 4, "\(states)")
      for (own, other) in zip(some, all) where own["state"] as? String == "done" {
        let reports = try #require(own["reports"] as? [[String: Any]])
        #expect(reports.compactMap { $0["epoch"] as? Double } == [1, 3, 9])
        let last = try #require((other["reports"] as? [[String: Any]])?.last)
        #expect(reports.last?["score"] as? [String: Double] == last["score"] as? [String: Double])
      }
      // Those that were stopped can go on: their checkpoints are there.
      let checkpoints = try trainings("\(folder)/h").count { $0.hasSuffix("state.safetensors") }
      #expect(checkpoints == states.count { $0 == "paused" })
      let more = try Command.run(["tune", "--resume", "--study", "h", "--trials", "12", "--json"], in: folder)
      #expect(more.code == 0, "\(more.everything)")
      #expect(try trials(more.object()).count == 12)
    }
  }

  @Test("What a run has trained is taken over, and judged at each rung by what it had scored there")
  func takenOver() throws {
    try withRecipe { folder in
      let ran = try Command.run(
        [
          "run", "recipe.yaml", "compare=false", "seeds=[1]", "training.epochs=9", "terms.0.soft_targets.temperature=4",
        ],
        in: folder)
      try #require(ran.code == 0, "\(ran.everything)")
      let command = ["tune", "recipe.yaml", "training.epochs=9", "--sampler", "grid", "--halving"] + Self.temperature
      let with = try Command.run(command + ["--study", "with", "--json"], in: folder)
      let without = try Command.run(command + ["output=elsewhere", "--study", "without", "--json"], in: folder)
      #expect(with.code == 0 && without.code == 0, "\(with.everything) \(without.everything)")
      #expect(try statistics(with.object()) == statistics(without.object()))
      func takenOver(_ study: String) throws -> Int {
        try FileManager.default.subpathsOfDirectory(atPath: "\(folder)/\(study)").count {
          $0.hasSuffix("test.safetensors")
        }
      }
      #expect(try takenOver("with") == 1)
      #expect(try takenOver("without") == 0)
    }
  }

  @Test("Killed and resumed, a search finds what it would have found")
  func interrupted() throws {
    try withRecipe { folder in
      let command =
        ["tune", "recipe.yaml", "training.epochs=30", "--trials", "8", "--startup", "4"] + Self.rate + Self.temperature
      let whole = try Command.run(command + ["--study", "whole"], in: folder)
      try #require(whole.code == 0, "\(whole.everything)")
      var running = try Command.start(command + ["--study", "broken"], in: folder)
      var kills = 0
      for signal in [SIGINT, SIGKILL, SIGKILL] {
        running.wait { hasCheckpoint("\(folder)/broken") }
        usleep(300_000)
        guard running.isRunning else { break }
        running.send(signal)
        let end = try running.wait()
        #expect(end.code == (signal == SIGINT ? 130 : -1), "\(end.everything)")
        if signal == SIGINT { #expect(end.errors.contains("distill tune --resume --study broken")) }
        kills += 1
        running = try Command.start(["tune", "--resume", "--study", "broken"], in: folder)
      }
      let end = try running.wait()
      #expect(end.code == 0, "\(end.everything)")
      #expect(kills >= 2, "it was too short to be killed")
      #expect(try statistics(metrics("\(folder)/broken")) == statistics(metrics("\(folder)/whole")))
    }
  }

  @Test("Several processes share the trials of one study, also when one of them is killed")
  func severalProcesses() throws {
    try withRecipe { folder in
      let command =
        ["tune", "recipe.yaml", "training.epochs=20", "--trials", "9", "--halving", "--study", "s"] + Self.rate
      let running = try (0..<3).map { _ in try Command.start(command, in: folder) }
      running[0].wait { hasCheckpoint("\(folder)/s") }
      running[0].send(SIGKILL)
      let ends = try running.map { try $0.wait() }
      for end in ends.dropFirst() { #expect(end.code == 0, "\(end.everything)") }
      let all = try trials(metrics("\(folder)/s"))
      #expect(all.compactMap { $0["number"] as? Int } == Array(1...9))
      #expect(all.allSatisfy { ["done", "paused"].contains($0["state"] as? String) }, "no trial was lost")
      #expect(all.contains { $0["state"] as? String == "done" })
      // Each trial's rung was told by one of them.
      let told = ends.dropFirst().flatMap { $0.errors.split(separator: "\n") }.filter {
        $0.contains("validation split")
      }
      #expect(Set(told).count == told.count, "\(told.joined(separator: "\n"))")
    }
  }

  @Test("A trial that cannot be trained fails by itself; when none can, the search ends with why")
  func failures() throws {
    try withRecipe { folder in
      let rates = ["--space", "training.optimizer.learning_rate=1e-2,1e30"]
      let some = try Command.run(
        ["tune", "recipe.yaml", "training.optimizer.kind=sgd", "--sampler", "grid", "--study", "some"] + rates,
        in: folder)
      #expect(some.code == 0, "\(some.everything)")
      let all = try trials(metrics("\(folder)/some"))
      #expect(all.compactMap { $0["state"] as? String } == ["done", "failed"])
      #expect((all[1]["message"] as? String)?.contains("finite") ?? false)
      #expect(some.output.contains("1 trial failed"))
      let none = try Command.run(
        [
          "tune", "recipe.yaml", "training.optimizer.kind=sgd", "--sampler", "grid", "--study", "none", "--space",
          "training.optimizer.learning_rate=1e30,2e30,3e30,4e30",
        ], in: folder)
      #expect(none.code == 1 && none.errors.contains("the first 3 trials failed"), "\(none.everything)")
    }
  }

  @Test("After its time a search ends with what it has, and goes on later")
  func timeout() throws {
    try withRecipe { folder in
      let command = ["tune", "recipe.yaml", "training.epochs=20", "--trials", "500", "--study", "s"] + Self.rate
      let start = Date()
      let first = try Command.run(command + ["--timeout", "4s"], in: folder)
      #expect(first.code == 0, "\(first.everything)")
      #expect(Date().timeIntervalSince(start) < 60)
      #expect(first.output.contains("The time was over after"), "\(first.output)")
      let count = try trials(metrics("\(folder)/s")).count
      #expect(count < 500)
      let second = try Command.run(["tune", "--resume", "--study", "s", "--trials", "\(count + 1)"], in: folder)
      #expect(second.code == 0, "\(second.everything)")
      #expect(try trials(metrics("\(folder)/s")).count == count + 1)
    }
  }

  @Test("What is not understood, and what does not fit a study that is there, is refused before anything is done")
  func refusals() throws {
    try withRecipe { folder in
      let first = try Command.run(
        ["tune", "recipe.yaml", "--trials", "1", "--study", "s"] + Self.rate, in: folder)
      #expect(first.code == 0, "\(first.everything)")
      let cases: [(arguments: [String], word: String)] = [
        (["recipe.yaml", "--study", "x"], "--space"), (["recipe.yaml", "recipe.yaml"] + Self.rate, "one recipe"),
        (["recipe.yaml", "--study", "s", "--goal", "loss"] + Self.rate, "what is looked for differs"),
        (["recipe.yaml", "--study", "s"] + Self.temperature, "the space differs"),
        (["recipe.yaml", "--study", "teacher"] + Self.rate, "holds no study"),
        (["--resume"], "--study"), (["--resume", "--study", "nowhere"], "no study in nowhere"),
        (["--resume", "--study", "s", "training.epochs=4"], "'training.epochs=4' does not apply"),
        (["--resume", "--study", "s", "--goal", "loss"], "'--goal' does not apply"),
        (["recipe.yaml", "--timeout", "soon"] + Self.rate, "90s"),
        (["recipe.yaml", "--study", "x", "--first-rung", "2"] + Self.rate, "--first-rung is for --halving"),
        (["recipe.yaml", "--study", "x", "--points", "2"] + Self.rate, "--points is for --sampler grid"),
        (["recipe.yaml", "--study", "x", "--startup", "3", "--sampler", "random"] + Self.rate, "--sampler bayesian"),
        (["recipe.yaml", "--study", "x", "--space", "data.labels=0.1,1"], "the same for all trials"),
        (["recipe.yaml", "--halving", "--study", "x", "--first-rung", "5"] + Self.rate, "no shorter"),
        (["recipe.yaml", "--study", "x", "--space", "training.optimizer.learning_rte=0.1,0.2"], "learning_rate"),
        (["nowhere.yaml"] + Self.rate, "nowhere.yaml"),
      ]
      for (arguments, word) in cases {
        let refused = try Command.run(["tune"] + arguments, in: folder)
        #expect(refused.code == 2 && refused.errors.contains(word), "\(arguments): \(refused.everything)")
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/x"))
      }
    }
  }
}
