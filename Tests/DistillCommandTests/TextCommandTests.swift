import Foundation
import Testing

/// Texts with the binary: whenever it is ended, it goes on to the same numbers; and what the other commands do with texts.
@Suite("Texts with the command", .serialized)
struct TextCommandTests {
  private static let recipe = """
    name: text
    seeds: [1]
    threads: 1
    data: {dataset: text, path: text.txt, length: 24}
    teacher:
      model: {architecture: decoder, depth: 1, width: 16, heads: 2}
      training: {steps: 20, batch_size: 16, optimizer: {kind: adamw, learning_rate: 1e-2}}
    student: {model: {architecture: decoder, depth: 1, width: 8, heads: 2, dropout: 0.1}}
    terms: [{soft_targets: {temperature: 1}}]
    training: {steps: 120, batch_size: 16, checkpoint_every: 5 steps, optimizer: {kind: adamw, learning_rate: 1e-2}}
    stages:
      - {name: tokens, training: {steps: 20}}
      - {name: written, data: {teacher_text: {prompt: 4, temperature: 1}}, terms: [hard_labels]}
      - {name: own, training: {on_policy: {rate: 0.5, prompt: 4}}}
    """

  private func prepare(_ folder: String) throws {
    let line = "the teacher says what a student learns, and the student writes it down.\n"
    try write(String(repeating: line, count: 60), to: "\(folder)/text.txt")
    try write(Self.recipe, to: "\(folder)/recipe.yaml")
  }

  /// Waits until a training of a stage, counted from 1, has saved something, and is not done.
  private func wait(for running: Command.Running, _ run: String, stage: Int) -> Bool {
    running.wait {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(run)/jobs")) ?? []
      return names.contains { $0.contains("-stage-\(stage)-") && isAtWork("\(run)/jobs/\($0)") }
    }
  }

  @Test("Killed while the student learns on the teacher's text and on its own, a run gives the same student")
  func killed() throws {
    try withFolder { folder in
      try prepare(folder)
      let whole = try Command.run(["run", "--output", "whole"], in: folder)
      try #require(whole.code == 0, "\(whole.everything)")
      var running = try Command.start(["run", "--output", "broken"], in: folder)
      var kills: [Int] = []
      for (stage, milliseconds) in [(2, 1), (3, 1), (3, 40)] {
        guard wait(for: running, "\(folder)/broken", stage: stage) else { break }
        usleep(useconds_t(milliseconds * 1_000))
        guard running.isRunning else { break }
        running.send(SIGKILL)
        #expect(try running.wait().code == -1)
        kills.append(stage)
        running = try Command.start(["resume", "broken"], in: folder)
      }
      let end = try running.wait()
      #expect(end.code == 0, "\(end.everything)")
      #expect(Set(kills) == [2, 3], "the run was too short to be killed in both stages: \(kills)")
      #expect(!end.errors.contains("done again") && !end.errors.contains("writes its text again"), "\(end.errors)")
      let names = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/whole/jobs").sorted()
      #expect(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/broken/jobs").sorted() == names)
      for name in names {
        for file in ["model/model.safetensors", "events.jsonl"] {
          #expect(
            try read("\(folder)/whole/jobs/\(name)/\(file)") == read("\(folder)/broken/jobs/\(name)/\(file)"),
            "\(name)/\(file)")
        }
      }
    }
  }

  @Test("evaluate scores tokens, predict goes on with texts, explain says that it cannot")
  func use() throws {
    try withFolder { folder in
      try prepare(folder)
      let text = Self.recipe.replacing(/stages:\n(.*\n?)*/, with: "")
      try write(text, to: "\(folder)/recipe.yaml")
      let run = try Command.run(["run", "--output", "run", "training.steps=10"], in: folder)
      try #require(run.code == 0, "\(run.everything)")
      #expect(run.output.contains("Bits/byte"))

      let evaluated = try Command.run(["evaluate", "run", "--teacher", "run/teacher"], in: folder)
      #expect(evaluated.code == 0 && evaluated.output.contains("bits for a byte"), "\(evaluated.everything)")
      #expect(evaluated.output.contains("perplexity") && !evaluated.output.contains("recall"))
      let scores = try Command.run(
        ["evaluate", "run", "--dataset", "text", "--path", "text.txt", "--json"], in: folder)
      #expect(try scores.object()["token"] as? String == "byte", "\(scores.everything)")

      let written = try Command.run(["predict", "run", "text.txt", "--tokens", "8", "--json"], in: folder)
      let items = try #require(try written.object()["items"] as? [[String: Any]])
      #expect((items[0]["continuation"] as? String)?.isEmpty == false, "\(written.everything)")
      let drawn = ["predict", "run", "text.txt", "--temperature", "2", "--seed"]
      #expect(try Command.run(drawn + ["1"], in: folder).output == Command.run(drawn + ["1"], in: folder).output)
      #expect(try Command.run(drawn + ["1"], in: folder).output != Command.run(drawn + ["2"], in: folder).output)

      try write("", to: "\(folder)/empty.txt")
      for (arguments, expected) in [
        (["predict", "run", "empty.txt"], "is empty"), (["predict", "run", "none.txt"], "is not there"),
        (["predict", "run", "text.txt", "--tokens", "0"], "--tokens is a number from 1 to 24"),
        (["predict", "run", "text.txt", "--tokens", "25"], "--tokens is a number from 1 to 24"),
        (["predict", "run", "text.txt", "--temperature", "-1"], "--temperature is a number from 0 on"),
        (["predict", "run", "--examples", "1"], "says nothing of whole examples"),
        (["explain", "run"], "explain shows what a teacher says of classes"),
        (["evaluate", "run", "--dataset", "digits"], "takes inputs of shape [24]"),
      ] {
        let outcome = try Command.run(arguments, in: folder)
        #expect(outcome.code == 2 && outcome.everything.contains(expected), "\(arguments): \(outcome.everything)")
      }
      let inspected = try Command.run(["inspect", "run/student"], in: folder)
      #expect(inspected.code == 0 && inspected.output.contains("257 classes"), "\(inspected.everything)")
    }
  }
}
