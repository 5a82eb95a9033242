import Foundation
import Testing

/// `distill compare` with the real binary, on the digits.
@Suite("compare")
struct CompareTests {
  private static let recipe = """
    name: warm
    seeds: [1, 2]
    threads: 1
    data: {dataset: digits}
    teacher: {weights: teacher}
    student: {model: {architecture: mlp, hidden: [8]}}
    terms:
      - soft_targets: {temperature: 2, weight: 0.9}
      - hard_labels: {weight: 0.1}
    training: {epochs: 2, batch_size: 64, optimizer: {kind: adamw, learning_rate: 1e-2}}
    """

  /// A folder with a teacher and `recipe.yaml`.
  private func withRecipe(_ text: String = recipe, _ body: (String) throws -> Void) throws {
    try Sample.withTeacher { folder in
      try write(text, to: "\(folder)/recipe.yaml")
      try body(folder)
    }
  }

  private func pairs(_ object: [String: Any]) throws -> [[String: Any]] {
    try #require(object["pairs"] as? [[String: Any]])
  }

  private func difference(_ pair: [String: Any], _ metric: String = "accuracy") throws -> [String: Any] {
    try #require((pair["differences"] as? [String: Any])?[metric] as? [String: Any])
  }

  /// The folders of trainings below a folder, by what is in their names before the hash.
  private func trainings(_ folder: String, _ prefix: String) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: folder)
      .filter { $0.hasSuffix("result.json") && $0.contains("/jobs/\(prefix)") }.sorted()
  }

  @Test("Variations of a recipe are trained and held against the student alone, which is trained once")
  func variations() throws {
    try withRecipe { folder in
      let command = ["compare", "recipe.yaml", "--vary", "terms.0.soft_targets.temperature=1,4", "-o", "c"]
      let first = try Command.run(command + ["--json", "--html", "page.html"], in: folder)
      try #require(first.code == 0, "\(first.everything)")
      let object = try first.object()
      #expect(object["schema"] as? Int == 1)
      let arms = try #require(object["arms"] as? [[String: Any]])
      #expect(arms.compactMap { $0["name"] as? String } == ["alone", "temperature=1", "temperature=4"])
      for arm in arms {
        let figures = try #require(arm["figures"] as? [String: Any])
        #expect(try #require(figures["multiply_adds"] as? Int) > 500)
        #expect(try #require(figures["latency_seconds"] as? Double) > 0)
        #expect((arm["recalls"] as? [Double])?.count == 10)
        #expect((arm["seeds"] as? [Any])?.count == 2)
      }
      // Two runs, and the second has the first's student alone.
      #expect(try trainings("\(folder)/c/runs", "alone").count == 4)
      let alone = try trainings("\(folder)/c/runs", "alone-seed-1").map { try read("\(folder)/c/runs/\($0)") }
      #expect(alone.count == 2 && alone[0] == alone[1])
      #expect(first.errors.isEmpty)

      let found = try pairs(object)
      #expect(found.count == 2)
      for pair in found {
        #expect(pair["baseline"] as? String == "alone")
        let values = try difference(pair)
        let bySeed = try #require(values["by_seed"] as? [Double])
        #expect(bySeed.count == 2)
        let mean = try #require(values["mean"] as? Double)
        #expect(abs(mean - (bySeed[0] + bySeed[1]) / 2) < 1e-12)
        // It is the difference of what the runs themselves say.
        let name = try #require(pair["arm"] as? String)
        let accuracies = try ["alone", name].map { wanted in
          let arm = try #require(arms.first { $0["name"] as? String == wanted })
          let scores = try #require(arm["scores"] as? [String: [String: Double]])
          return try #require(scores["accuracy"]?["mean"])
        }
        #expect(abs(accuracies[1] - accuracies[0] - mean) < 1e-12)
        let tests = try #require(pair["mcnemar"] as? [[String: Any]])
        for (test, gain) in zip(tests, bySeed) {
          let counts = try #require(test["test"] as? [String: Any])
          let (own, other) = try (
            #require(counts["only_first"] as? Int), #require(counts["only_second"] as? Int)
          )
          #expect(abs(Double(own - other) / 360 - gain) < 1e-9)
        }
        #expect(values["over_seeds_and_examples"] is [String: Any])
      }
      let page = String(decoding: try read("\(folder)/page.html"), as: UTF8.self)
      #expect(page.contains("cost-multiply-adds") && page.contains("temperature=4"))

      // Again: nothing is trained, and the look at the test split is counted.
      let before = try contents(of: "\(folder)/c/runs")
      let second = try Command.run(command, in: folder)
      #expect(second.code == 0, "\(second.everything)")
      #expect(try contents(of: "\(folder)/c/runs") == before)
      #expect(second.output.contains("used by 6 trained students"), "\(second.output)")
      #expect(second.output.contains("shown 2 times"))
      #expect(second.output.contains("2 comparisons against alone"))

      // Against one of them, by another score.
      let other = try Command.run(
        command + ["--json", "--baseline", "temperature=1", "--metric", "nll"], in: folder)
      let against = try pairs(other.object())
      #expect(against.map { $0["arm"] as? String } == ["alone", "temperature=4"])
      let unknown = try Command.run(command + ["--baseline", "temperature=5"], in: folder)
      #expect(unknown.code == 2 && unknown.errors.contains("did you mean 'temperature="), "\(unknown.errors)")
    }
  }

  @Test("Runs that are done are read and left as they are, and say what they said themselves")
  func finishedRuns() throws {
    let source = try Sample.folder()
    try withFolder { folder in
      try FileManager.default.copyItem(atPath: "\(source)/runs/sample", toPath: "\(folder)/sample")
      let before = try contents(of: "\(folder)/sample")
      let outcome = try Command.run(["compare", "sample/", "--json"], in: folder)
      try #require(outcome.code == 0, "\(outcome.everything)")
      #expect(try contents(of: "\(folder)/sample") == before)
      let pair = try #require(try pairs(outcome.object()).first)
      let gain = try difference(pair)
      let metrics = try #require(
        try JSONSerialization.jsonObject(with: read("\(folder)/sample/metrics.json")) as? [String: Any])
      let own = try #require(metrics["gain"] as? [String: Double])
      for key in ["mean", "low", "high"] {
        #expect(abs(try #require(gain[key] as? Double) - (own[key] ?? .nan)) < 1e-9, "\(key)")
      }
      #expect(FileManager.default.fileExists(atPath: "\(folder)/comparisons/sample/report.html"))

      let one = try Command.run(["compare", "sample", "--seeds", "2", "-o", "one"], in: folder)
      #expect(one.code == 0)
      #expect(one.output.contains("Nothing can be concluded of distilled and alone from 1 seed"), "\(one.output)")
      for (arguments, word) in [
        (["--seeds", "2,9"], "no seed 9"), (["training.epochs=3"], "stay as they are"),
        (["--metric", "kl", "nowhere"], "nowhere"),
      ] {
        let refused = try Command.run(["compare", "sample", "-o", "refused"] + arguments, in: folder)
        #expect(refused.code == 2 && refused.errors.contains(word), "\(refused.everything)")
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/refused"))
      }
    }
  }

  @Test("Other data, another division, other labels and another budget are refused with what differs")
  func refusals() throws {
    try withRecipe { folder in
      for (name, change, word) in [
        ("split", "data.validation=0.3", "data.validation"), ("seed", "seeds=[2, 1]", "first seed"),
        ("labels", "data.labels=0.5", "data.labels"), ("budget", "training.epochs=3", "budget"),
      ] {
        let written = try Command.run(["compare", "recipe.yaml", "--vary", "nonsense", "-o", "x"], in: folder)
        #expect(written.code == 2 && written.errors.contains("--vary"))
        let parts = change.split(separator: "=", maxSplits: 1).map(String.init)
        let original = ["data.validation": "0.1", "seeds": "[1, 2]", "data.labels": "1", "training.epochs": "2"]
        let vary = "\(parts[0])=\(original[parts[0]] ?? ""),\(parts[1])"
        let refused = try Command.run(["compare", "recipe.yaml", "--vary", vary, "-o", name], in: folder)
        #expect(refused.code == 2, "\(refused.everything)")
        #expect(refused.errors.contains(word), "\(refused.errors)")
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/\(name)"), "before anything is done")
      }
      let allowed = try Command.run(
        [
          "compare", "recipe.yaml", "--vary", "training.epochs=1,2", "--allow-different-budgets", "-o", "allowed",
          "seeds=[1]",
        ], in: folder)
      #expect(allowed.code == 0, "\(allowed.everything)")
      #expect(allowed.output.contains("The budgets differ"))
      let page = String(decoding: try read("\(folder)/allowed/report.html"), as: UTF8.self)
      #expect(page.contains("The budgets differ"))
      let alone = try Command.run(["compare", "recipe.yaml", "compare=false", "seeds=[1]", "-o", "single"], in: folder)
      #expect(alone.code == 2 && alone.errors.contains("nothing to hold it against"), "\(alone.everything)")
    }
  }

  @Test("Killed and done again, a comparison says what it would have said")
  func interrupted() throws {
    try withRecipe { folder in
      let command = ["compare", "recipe.yaml", "training.epochs=40", "--vary", "terms.0.soft_targets.temperature=1,8"]
      let whole = try Command.run(command + ["--json", "-o", "whole"], in: folder)
      try #require(whole.code == 0, "\(whole.everything)")
      var running = try Command.start(command + ["--json", "-o", "broken"], in: folder)
      var kills = 0
      for signal in [SIGINT, SIGKILL] {
        let deadline = Date().addingTimeInterval(60)
        while running.isRunning, !hasCheckpoint("\(folder)/broken"), Date() < deadline { usleep(5_000) }
        // The second time it is there from before.
        if signal == SIGKILL { usleep(500_000) }
        guard running.isRunning else { break }
        running.send(signal)
        let end = try running.wait()
        #expect(end.code == (signal == SIGINT ? 130 : -1), "\(end.everything)")
        if signal == SIGINT { #expect(end.errors.contains("The same command goes on")) }
        kills += 1
        running = try Command.start(command + ["--json", "-o", "broken"], in: folder)
      }
      let end = try running.wait()
      #expect(end.code == 0, "\(end.everything)")
      #expect(kills == 2, "it was too short to be interrupted twice")
      #expect(try statistics(end) == statistics(whole))
    }
  }

  @Test("Several processes share the trainings and say the same")
  func severalProcesses() throws {
    try withRecipe { folder in
      let command = [
        "compare", "recipe.yaml", "training.epochs=20", "seeds=[1, 2, 3]", "--vary",
        "terms.0.soft_targets.temperature=1,8", "-o",
      ]
      let whole = try Command.run(command + ["alone", "--json"], in: folder)
      try #require(whole.code == 0, "\(whole.everything)")
      let running = try (0..<3).map { _ in try Command.start(command + ["shared"], in: folder) }
      let ends = try running.map { try $0.wait() }
      for end in ends { #expect(end.code == 0, "\(end.everything)") }
      // Each training was done once: 2 · 3 distilled and 3 alone.
      let done = ends.flatMap { $0.errors.split(separator: "\n") }.filter { $0.contains("on the test split") }
      #expect(done.count { !$0.contains("done before") } == 9, "\(done.joined(separator: "\n"))")
      // One look at the test split, by whichever came first.
      let ledger = String(decoding: try read("\(folder)/shared/test-looks.jsonl"), as: UTF8.self)
      #expect(ledger.split(separator: "\n").count { $0.contains("\"student\"") } == 9)
      let metrics = try #require(
        try JSONSerialization.jsonObject(with: read("\(folder)/shared/metrics.json")) as? [String: Any])
      #expect(try statistics(metrics) == statistics(whole))
      let left = try FileManager.default.subpathsOfDirectory(atPath: "\(folder)/shared").filter {
        $0.hasSuffix(".lock")
      }
      #expect(left.allSatisfy { $0.hasPrefix("runs/") && $0.hasSuffix("/.lock") }, "\(left)")
    }
  }

  private func statistics(_ outcome: Command.Outcome) throws -> String { try statistics(outcome.object()) }

  /// All that does not depend on the time and the place.
  private func statistics(_ object: [String: Any]) throws -> String {
    let arms = try #require(object["arms"] as? [[String: Any]]).map { arm in
      arm.filter { !["figures", "run"].contains($0.key) }
    }
    let kept: [String: Any] = [
      "arms": arms, "pairs": try pairs(object), "conclusion": try #require(object["conclusion"]),
    ]
    let data = try JSONSerialization.data(withJSONObject: kept, options: [.sortedKeys, .prettyPrinted])
    return String(decoding: data, as: UTF8.self)
  }
}
