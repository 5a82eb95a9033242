import Foundation
import Testing

@Suite("check")
struct CheckTests {
  private func findings(_ outcome: Command.Outcome) throws -> [(mark: String, subject: String, text: String)] {
    let list = try #require(try outcome.object()["findings"] as? [[String: Any]])
    return list.map { ($0["mark"] as? String ?? "", $0["subject"] as? String ?? "", $0["text"] as? String ?? "") }
  }

  @Test("A good recipe: every subject is looked at, nothing is written, exit code 0")
  func good() throws {
    try Sample.withTeacher { folder in
      let before = try contents(of: folder)
      let outcome = try Command.run(["check", "recipe.yaml", "--json"], in: folder)
      #expect(outcome.code == 0, "\(outcome.everything)")
      let findings = try findings(outcome)
      let subjects = Set(findings.map(\.subject))
      #expect(
        subjects.isSuperset(of: [
          "recipe", "run folder", "device", "data", "teacher", "student", "memory", "time",
        ]))
      #expect(findings.allSatisfy { $0.mark == "good" }, "\(findings)")
      let sample = try #require(try outcome.object()["teacher_sample"] as? [String: Any])
      #expect(try #require(sample["accuracy"] as? Double) > 0.9)
      #expect(sample["count"] as? Int == 144)
      let estimate = try #require(try outcome.object()["estimate"] as? [String: Any])
      #expect(estimate["trainings"] as? Int == 4)
      // 1,293 examples in batches of 64, once, for two seeds and two arms
      #expect(estimate["steps"] as? Int == 84)
      #expect(try #require(estimate["seconds"] as? Double) > 0)
      #expect(try contents(of: folder) == before)
    }
  }

  @Test("The text has a mark for each line, and quiet only says what deserves a look")
  func text() throws {
    try Sample.withTeacher { folder in
      let full = try Command.run(["check"], in: folder)
      #expect(full.code == 0)
      #expect(full.errors.isEmpty)
      let lines = full.output.split(separator: "\n")
      #expect(lines.last == "No problems.")
      #expect(lines.dropLast().allSatisfy { $0.hasPrefix("+ ") })
      let quiet = try Command.run(["check", "--quiet"], in: folder)
      #expect(quiet.code == 0)
      #expect(quiet.everything.isEmpty)
      let warned = try Command.run(["check", "--quiet", "seeds=[1]"], in: folder)
      #expect(warned.code == 0)
      #expect(warned.output.hasPrefix("! recipe"))
    }
  }

  @Test("Terms on layers: paths that are not there, layers that do not fit, and how large the terms begin")
  func terms() throws {
    try Sample.withTeacher { folder in
      func check(_ terms: String) throws -> Command.Outcome {
        try Command.run(["check", "--json", "terms=\(terms)"], in: folder)
      }
      let wrong = try check("[{hints: {layers: [{student: hiden.0, teacher: hidden.0}]}}, hard_labels]")
      #expect(wrong.code == 2)
      let path = try #require(try findings(wrong).first { $0.mark == "problem" })
      #expect(path.subject == "terms" && path.text.contains("'hiden.0'") && path.text.contains("hidden.0"))

      // 8 hidden units against 64: this method has no layer between them.
      let unlike = try check("[{activation_statistics: {layers: [hidden.0]}}, hard_labels]")
      #expect(unlike.code == 2)
      #expect(try findings(unlike).contains { $0.mark == "problem" && $0.subject == "terms" && $0.text.contains("8") })

      let good = try check("[{hints: {layers: [hidden.0], weight: 0.5}}, {hard_labels: {weight: 1}}]")
      #expect(good.code == 0, "\(good.everything)")
      let sizes = try #require(try good.object()["term_sizes"] as? [[String: Any]])
      #expect(sizes.map { $0["term"] as? String } == ["hints", "hard_labels"])
      let values = try sizes.map { try #require($0["value"] as? Double) }
      let weighted = try sizes.map { try #require($0["weighted"] as? Double) }
      #expect(values.allSatisfy { $0 > 0 } && abs(weighted[0] - values[0] / 2) < 1e-6 && weighted[1] == values[1])
      let huge = try check("[{hints: {layers: [hidden.0], weight: 1e6}}, {hard_labels: {weight: 1}}]")
      #expect(try findings(huge).contains { $0.mark == "warning" && $0.text.contains("hard_labels hardly counts") })
    }
  }

  @Test("A run finds out what its terms lack before it trains anything")
  func runChecksTerms() throws {
    try Sample.withTeacher { folder in
      for (terms, word) in [
        ("[{hints: {layers: [hidden.7]}}, hard_labels]", "terms[0] (hints) wants of the student"),
        ("[{attention_transfer: {layers: [hidden.0]}}, hard_labels]", "attention_transfer takes activations"),
      ] {
        let outcome = try Command.run(["run", "terms=\(terms)", "--output", "new"], in: folder)
        #expect(outcome.code == 2 && outcome.errors.contains(word), "\(outcome.everything)")
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/new"))
      }
    }
  }

  @Test("A damaged mark of a run is called that")
  func damagedMark() throws {
    try withFolder { folder in
      try write("name: x", to: "\(folder)/run/recipe.yaml")
      try write("{}", to: "\(folder)/run/run.json")
      let outcome = try Command.run(["resume", "run"], in: folder)
      #expect(outcome.code == 2 && outcome.errors.contains("run/run.json, by which a run is known, is damaged"))
    }
  }

  @Test("All problems are named at once")
  func several() throws {
    try Sample.withTeacher { folder in
      try write("file", to: "\(folder)/occupied")
      let outcome = try Command.run(
        [
          "check", "recipe.yaml", "--json", "device=cuda:7", "output=occupied/runs", "student.weights=nothere",
          "teacher.precompute=true", "data.augmentation=[{flip: 0.5}]",
        ], in: folder)
      #expect(outcome.code == 2)
      let problems = try findings(outcome).filter { $0.mark == "problem" }
      #expect(Set(problems.map(\.subject)) == ["device", "run folder", "student", "teacher"], "\(problems)")
      #expect(try outcome.object()["estimate"] == nil)
    }
  }

  @Test("Data that is missing does not hide missing weights")
  func dataAndWeights() throws {
    try withFolder { folder in
      try write(Sample.recipeWithTeacher, to: "\(folder)/recipe.yaml")
      let outcome = try Command.run(["check", "data.dataset=mnist", "student.weights=alsonot"], in: folder)
      #expect(outcome.code == 2)
      for word in ["data/mnist", "teacher does not exist", "alsonot"] { #expect(outcome.output.contains(word)) }
    }
  }

  @Test("How a teacher is asked is told of one that can be asked")
  func missingTeacher() throws {
    try Sample.withTeacher { folder in
      for (name, isThere) in [("teacher", true), ("nowhere", false)] {
        // Often enough that asking it once is worth its memory.
        let arguments = ["check", "--json", "training.epochs=10", "teacher.weights=\(name)"]
        let found = try findings(try Command.run(arguments, in: folder)).filter { $0.subject == "teacher" }
        #expect(found.contains { $0.mark == "problem" } == !isThere, "\(found)")
        #expect(found.contains { $0.text.contains("asked once") } == isThere, "\(found)")
      }
    }
  }

  @Test("A teacher that is still to be trained is timed all the same")
  func untrained() throws {
    try withFolder { folder in
      try write(Sample.recipe, to: "\(folder)/recipe.yaml")
      let outcome = try Command.run(["check", "--json"], in: folder)
      #expect(outcome.code == 0, "\(outcome.everything)")
      let estimate = try #require(try outcome.object()["estimate"] as? [String: Any])
      #expect(try #require(estimate["teacher_seconds"] as? Double) > 0)
      #expect(try findings(outcome).contains { $0.text.contains("the run trains it first") })
    }
  }

  @Test("Few labels, unbalanced batches and large students are warned of")
  func warnings() throws {
    try Sample.withTeacher { folder in
      let outcome = try Command.run(
        [
          "check", "--json", "data.labels=0.01", "data.transfer=labelled", "training.batch_size=512",
          "student.model.hidden=[256]",
        ], in: folder)
      #expect(outcome.code == 0, "\(outcome.everything)")
      let warnings = try findings(outcome).filter { $0.mark == "warning" }.map(\.text)
      for word in ["13 labels to learn from", "batch_size is 512", "Nothing is saved"] {
        #expect(warnings.contains { $0.contains(word) }, "\(word) in \(warnings)")
      }
    }
  }

  @Test("The teacher is also asked about the augmented views that it will label")
  func views() throws {
    try Sample.withTeacher { folder in
      let outcome = try Command.run(
        ["check", "--json", "data.augmentation=[{shift: 3}]", "data.views=2"], in: folder)
      let sample = try #require(try outcome.object()["teacher_sample"] as? [String: Any])
      let plain = try #require(sample["accuracy"] as? Double)
      let augmented = try #require(sample["augmented_accuracy"] as? Double)
      #expect(augmented < plain - 0.2)
      #expect(try findings(outcome).contains { $0.mark == "warning" && $0.text.contains("strange to it") })
    }
  }

  @Test("A teacher shown other inputs than it knows is warned of; one that guesses is a problem")
  func otherInputs() throws {
    try Sample.withTeacher { folder in
      let other = try Command.run(["check", "--json", "data.normalize=false"], in: folder)
      #expect(try findings(other).contains { $0.mark == "warning" && $0.text.contains("data.normalize") })

      // The classes in another order than the data's.
      let path = "\(folder)/teacher/config.json"
      var description = try #require(try JSONSerialization.jsonObject(with: read(path)) as? [String: Any])
      description["labels"] = (0..<10).reversed().map { "\($0)" }
      try write(try JSONSerialization.data(withJSONObject: description), to: path)
      let order = try Command.run(["check", "--json"], in: folder)
      #expect(order.code == 2)
      #expect(try findings(order).contains { $0.mark == "problem" && $0.text.contains("another order") })
    }
  }

  @Test("Trap 22: label smoothing of the teacher shows in its certainty")
  func smoothing() throws {
    try withFolder { folder in
      try write(Sample.recipe, to: "\(folder)/recipe.yaml")
      // A warning already where the recipe says so, and a suspicion where only the weights can tell.
      let train = try Command.run(
        [
          "train", "--output", "smoothed", "teacher.training.label_smoothing=0.2", "teacher.training.epochs=60",
          "teacher.training.optimizer.learning_rate=1e-2",
        ], in: folder)
      #expect(train.code == 0, "\(train.everything)")
      try write(
        Sample.recipeWithTeacher.replacingOccurrences(of: "weights: teacher", with: "weights: smoothed/teacher"),
        to: "\(folder)/recipe.yaml")
      let check = try Command.run(["check", "--json"], in: folder)
      #expect(check.code == 0)
      #expect(
        try findings(check).contains { $0.mark == "warning" && $0.text.contains("label smoothing") },
        "\(check.output)")
    }
  }

  @Test("Settings may not change what all of them share")
  func settings() throws {
    try Sample.withTeacher { folder in
      let text =
        Sample.recipeWithTeacher + """

          settings:
            - name: plain
            - name: more held out
              set: {data.validation: 0.4}
          """
      try write(text, to: "\(folder)/recipe.yaml")
      for command in ["check", "run"] {
        let outcome = try Command.run([command], in: folder)
        #expect(outcome.code == 2)
        #expect(outcome.everything.contains("more held out"))
        #expect(outcome.everything.contains("data.validation"))
      }
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/runs"))
    }
  }
}
