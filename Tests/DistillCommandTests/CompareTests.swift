import Foundation
import Testing

/// `distill compare` with the real binary, on the digits.
@Suite("compare")
struct CompareTests {
  private static let recipe = Sample.warmRecipe

  /// A folder with a teacher and `recipe.yaml`.
  private func withRecipe(_ text: String = recipe, _ body: (String) throws -> Void) throws {
    try Sample.withTeacher(text, body)
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

  /// The mean loss on the validation split of the trainings in a folder whose names begin so.
  private func validationLoss(_ jobs: String, _ prefix: String) throws -> Double {
    let losses = try FileManager.default.contentsOfDirectory(atPath: jobs).filter { $0.hasPrefix(prefix) }.map { job in
      let result = try JSONSerialization.jsonObject(with: read("\(jobs)/\(job)/result.json")) as? [String: Any]
      let validation = (result?["outcome"] as? [String: Any])?["validation"] as? [String: Any]
      return try #require(validation?["loss"] as? Double)
    }
    return try losses.reduce(0, +) / Double(#require(losses.isEmpty ? nil : losses.count))
  }

  /// A text as if no line of it were broken.
  private func words(_ text: String) -> String { text.split(whereSeparator: \.isWhitespace).joined(separator: " ") }

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
      let names = found.map { "\($0["arm"] ?? "") / \($0["baseline"] ?? "")" }
      #expect(names == ["temperature=1 / alone", "temperature=4 / alone", "temperature=4 / temperature=1"])
      for pair in found {
        let baseline = try #require(pair["baseline"] as? String)
        let values = try difference(pair)
        let bySeed = try #require(values["by_seed"] as? [Double])
        #expect(bySeed.count == 2)
        let mean = try #require(values["mean"] as? Double)
        #expect(abs(mean - (bySeed[0] + bySeed[1]) / 2) < 1e-12)
        // It is the difference of what the runs themselves say.
        let name = try #require(pair["arm"] as? String)
        let accuracies = try [baseline, name].map { wanted in
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
      #expect(words(second.output).contains("3 comparisons, accuracy in points"))
      #expect(words(second.output).contains("temperature=4 against temperature=1 ("), "\(second.output)")
      #expect(second.errors.split(separator: "\n").count { $0.contains("Loading digits") } == 1, "\(second.errors)")

      // Against one of them, by another score.
      let other = try Command.run(
        command + ["--json", "--baseline", "temperature=1", "--metric", "nll"], in: folder)
      let against = try pairs(other.object())
      #expect(against.map { $0["arm"] as? String } == ["alone", "temperature=4"])
      // By that score it chooses too: the loss on the validation split, that the trainings themselves ended with.
      let runs = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/c/runs")
        .filter { $0.hasPrefix("temperature") }.sorted()
      try #require(runs.count == 2)
      let losses = try [(runs[0], "alone"), (runs[0], "distilled"), (runs[1], "distilled")].map { run, arm in
        try validationLoss("\(folder)/c/runs/\(run)/jobs", arm)
      }
      let chosen = try #require(try other.object()["chosen"] as? [String: Any])
      let least = try #require(losses.min())
      #expect(chosen["arm"] as? String == arms[try #require(losses.firstIndex(of: least))]["name"] as? String)
      #expect(abs(try #require(chosen["validation_loss"] as? Double) - least) < 1e-9)
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

  private static let twoTeachers = """
    name: warm
    seeds: [1, 2]
    threads: 1
    data: {dataset: digits}
    teacher:
      model: {architecture: mlp, hidden: [8]}
      training: {epochs: 2, batch_size: 128, optimizer: {kind: adamw, learning_rate: 1e-2}}
    student: {model: {architecture: mlp, hidden: [4]}}
    terms: [{soft_targets: {temperature: 2, weight: 0.9}}, {hard_labels: {weight: 0.1}}]
    training: {epochs: 1, batch_size: 128, optimizer: {kind: adamw, learning_rate: 1e-2}}
    """

  /// The differences of arms to students alone, and what these scored, by the arms' names.
  private func besideTeachers(_ object: [String: Any], _ metric: String) throws -> [String: [Double]] {
    var found: [String: [Double]] = [:]
    let arms = try #require(object["arms"] as? [[String: Any]])
    for pair in try pairs(object) {
      let (arm, baseline) = try (
        #require(pair["arm"] as? String), #require(pair["baseline"] as? String)
      )
      guard baseline.hasPrefix("alone") else { continue }
      let alone = try #require(arms.first { $0["name"] as? String == baseline })
      let scores = try #require(alone["scores"] as? [String: [String: Double]])
      found[arm] = try #require(difference(pair, metric)["by_seed"] as? [Double]) + [#require(scores[metric]?["mean"])]
    }
    return found
  }

  @Test("The student alone is held against each teacher by itself, in whatever order they are named")
  func severalTeachers() throws {
    try withRecipe(Self.twoTeachers) { folder in
      func compare(_ arguments: [String], _ metric: String = "kl") throws -> [String: [Double]] {
        let outcome = try Command.run(["compare", "--metric", metric, "--json"] + arguments, in: folder)
        try #require(outcome.code == 0, "\(outcome.everything)")
        return try besideTeachers(outcome.object(), metric)
      }
      let first = try compare(["recipe.yaml", "--vary", "teacher.model.hidden=[8],[16]", "-o", "x"])
      let second = try compare(["recipe.yaml", "--vary", "teacher.model.hidden=[16],[8]", "-o", "y"])
      #expect(first.count == 2 && first == second)
      #expect(first["hidden=[8]"]?.last != first["hidden=[16]"]?.last, "each has a baseline of its own")
      // The runs say the same of their own teachers.
      let runs = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/x/runs").sorted()
      var own: [Double] = []
      for run in runs {
        let metrics = try #require(
          try JSONSerialization.jsonObject(with: read("\(folder)/x/runs/\(run)/metrics.json")) as? [String: Any])
        own.append(try #require((metrics["alone"] as? [String: Any])?["kl"] as? Double))
      }
      #expect(own.sorted() == first.values.compactMap(\.last).sorted())
      // Runs that are done, in either order.
      let paths = runs.map { "x/runs/\($0)" }
      for metric in ["kl", "agreement"] {
        let read = try compare(paths + ["-o", "z-\(metric)"], metric)
        #expect(try compare(paths.reversed() + ["-o", "w-\(metric)"], metric) == read)
        if metric == "kl" { #expect(Set(read.values) == Set(first.values)) }
      }
      // By the accuracy the student alone is one, whoever taught the others; its teacher is trained once and says so once.
      let all = try Command.run(
        ["compare", "recipe.yaml", "--vary", "teacher.model.hidden=[16],[8]", "-o", "y"], in: folder)
      #expect(words(all.output).contains("hidden=[8] against hidden=[16]"), "\(all.everything)")
      #expect(!all.errors.contains("Training the teacher"), "\(all.errors)")
    }
  }

  @Test("What is the same training counts once")
  func sameTraining() throws {
    try withRecipe { folder in
      try write(Self.recipe.replacing("name: warm", with: "name: like"), to: "\(folder)/other.yaml")
      for (name, arguments) in [
        ("vary", ["recipe.yaml", "--vary", "terms.0.soft_targets.temperature=2,2"]),
        ("twice", ["recipe.yaml", "recipe.yaml"]), ("files", ["recipe.yaml", "other.yaml"]),
      ] {
        let outcome = try Command.run(["compare", "--json", "-o", name] + arguments, in: folder)
        try #require(outcome.code == 0, "\(outcome.everything)")
        let object = try outcome.object()
        let found = try pairs(object)
        #expect(found.count == 1, "\(found.map { $0["arm"] ?? "" })")
        #expect(try #require(object["warnings"] as? [String]).contains { $0.contains("are the same training") })
        #expect(found[0]["corrected_p"] as? Double == (try difference(found[0])["p"] as? Double))
      }
      let files = try Command.run(["compare", "recipe.yaml", "files/runs/like", "-o", "again"], in: folder)
      #expect(files.code == 0 && words(files.output).contains("are the same training"), "\(files.everything)")
    }
  }

  @Test("Many recipes are held against the student alone only, and that is said")
  func manyRecipes() throws {
    try withRecipe { folder in
      let command = [
        "compare", "recipe.yaml", "training.epochs=1", "--vary", "terms.0.soft_targets.temperature=1,2,4,8", "-o", "c",
      ]
      let outcome = try Command.run(command, in: folder)
      let text = words(outcome.output)
      #expect(outcome.code == 0 && text.contains("4 comparisons against alone"), "\(outcome.everything)")
      #expect(text.contains("and not against each other") && text.contains("--baseline NAME"), "\(text)")
    }
  }

  @Test("A baseline that there is none of is noticed before anything is trained; a recipe's file is one")
  func baselines() throws {
    try withRecipe { folder in
      try write(
        Self.recipe.replacing("name: warm", with: "name: hot").replacing("temperature: 2", with: "temperature: 6"),
        to: "\(folder)/b.yaml")
      for wrong in ["hott", "alon", "alone, hot"] {
        let refused = try Command.run(
          ["compare", "recipe.yaml", "b.yaml", "--baseline", wrong, "-o", "c"], in: folder)
        #expect(refused.code == 2 && refused.errors.contains("there is no arm '\(wrong)'"), "\(refused.everything)")
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/c"))
      }
      let outcome = try Command.run(
        ["compare", "recipe.yaml", "b.yaml", "seeds=[1]", "--baseline", "b.yaml", "-o", "c", "--json"], in: folder)
      try #require(outcome.code == 0, "\(outcome.everything)")
      let found = try pairs(outcome.object())
      #expect(found.map { $0["baseline"] as? String } == ["hot", "hot"])
      #expect(found.map { $0["arm"] as? String } == ["alone", "warm"])
    }
  }

  @Test("What the help names as an example is done")
  func helpExample() throws {
    try withRecipe { folder in
      let help = try Command.run(["compare", "--help"], in: folder).output
      let example = try #require(try /key and its values, such as (\S+)\. More/.firstMatch(in: words(help))?.1)
      let outcome = try Command.run(
        ["compare", "recipe.yaml", "seeds=[1]", "training.epochs=1", "--vary", String(example), "-o", "c"], in: folder)
      #expect(outcome.code == 0, "\(outcome.everything)")
    }
  }

  @Test("Seeds that are none are refused as what was typed")
  func seeds() throws {
    try withRecipe { folder in
      for (seeds, word) in [("-1", "--seeds: -1"), ("1,1", "--seeds: 1 is there twice"), ("x", "not 'x'")] {
        let refused = try Command.run(["compare", "recipe.yaml", "--seeds", seeds], in: folder)
        #expect(refused.code == 2 && refused.errors.contains(word), "\(refused.everything)")
        #expect(!refused.errors.contains("argument"))
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
      // What is there and is neither a comparison nor a page stays as it is.
      try write("mine", to: "\(folder)/own/metrics.json")
      for (arguments, word) in [
        (["-o", "own"], "holds no comparison"), (["-o", "refused", "--html", "recipe.yaml"], "is no HTML page"),
        (["-o", "refused", "--html", "own"], "such as own/report.html"),
      ] {
        let before = try contents(of: folder)
        let refused = try Command.run(["compare", "recipe.yaml"] + arguments, in: folder)
        #expect(refused.code == 2 && refused.errors.contains(word), "\(refused.everything)")
        #expect(try contents(of: folder) == before)
      }
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
        running.wait { hasCheckpoint("\(folder)/broken") }
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
