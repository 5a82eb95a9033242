import DistillData
import DistillRuntime
import Distillation
import Foundation
import Synchronization
import Testing
import Torch
import TorchNN

@testable import DistillRecipes

/// Whole runs on a small text: every way to distill a model that writes.
@Suite("Runs on texts", .serialized)
struct TextRunTests {
  private static let words = [
    "the", "teacher", "says", "what", "a", "student", "learns", "and", "writes", "it", "down",
  ]

  /// A text that has something to be learnt.
  static func write(to path: String, sentences: Int = 60) throws {
    var random = RandomSource(seed: 4, "words")
    let text = (0..<sentences).map { _ in
      (0..<8).map { _ in words[Int(random.next() % UInt64(words.count))] }.joined(separator: " ") + ".\n"
    }.joined()
    try RunRecipe.write(text, to: path)
  }

  static func text(
    _ data: String = "", training: String = "", terms: String = "[{soft_targets: {temperature: 1}}, hard_labels]",
    depth: Int = 1, compare: Bool = false, more: String = ""
  ) -> String {
    """
    name: text
    seeds: [1]
    threads: 1
    compare: \(compare)
    data: {dataset: text, path: FOLDER/text.txt, length: 16\(data.isEmpty ? "" : ", \(data)")}
    teacher:
      model: {architecture: decoder, depth: \(2 * depth), width: 16, heads: 2}
      training: {steps: 12, batch_size: 8, optimizer: {kind: adamw, learning_rate: 1e-2}}
    student: {model: {architecture: decoder, depth: \(depth), width: 8, heads: 2, dropout: 0.1}}
    terms: \(terms)
    training: {steps: 8, batch_size: 8, checkpoint_every: 2 steps, optimizer: {kind: adamw, learning_rate: 1e-2}\(training.isEmpty ? "" : ", \(training)")}
    \(more)
    """
  }

  private func withText<Value>(_ body: (String) throws -> Value) throws -> Value {
    try RunRecipe.withFolder { folder in
      try Self.write(to: "\(folder)/text.txt")
      return try body(folder)
    }
  }

  private func configuration(_ text: String, in folder: String) throws -> Configuration {
    try Configuration.parse(text: text.replacing("FOLDER", with: folder))
  }

  private func run(_ text: String, in folder: String, to name: String = "run") throws -> ReportData {
    try RunRecipe.run(try configuration(text, in: folder), in: "\(folder)/\(name)").data
  }

  private func texts(_ run: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: "\(run)/texts")) ?? []).map { "\(run)/texts/\($0)" }
  }

  // MARK: What comes out

  @Test("Token by token: bits, perplexity and accuracy of tokens; no pictures, no confusions, no classes")
  func tokenByToken() throws {
    try withText { folder in
      let data = try run(Self.text(compare: true), in: folder)
      #expect(data.token == "byte")
      #expect(data.similarities.isEmpty && data.examples.isEmpty)
      let (alone, distilled) = (data.settings[0].arms[0], data.settings[0].arms[1])
      for arm in [alone, distilled] {
        #expect(arm.confusion.isEmpty && arm.classScores.isEmpty)
        let scores = try #require(arm.seeds.first?.scores)
        let nll = try #require(scores.negativeLogLikelihood)
        #expect(abs(try #require(scores.bitsPerToken) - nll / log(2)) < 1e-12)
        #expect(abs(try #require(scores.perplexity) - exp(nll)) < 1e-9)
        #expect(scores.agreement != nil && scores.divergence != nil)
      }
      #expect(data.teacher?.scores.bitsPerToken != nil && data.teacher?.confusion.isEmpty == true)
      let file = try MetricsFile(decoding: RunRecipe.read("\(folder)/run/metrics.json"))
      #expect(file.token == "byte" && file.distilled?.scores.bitsPerToken == distilled.seeds[0].scores.bitsPerToken)
      #expect(file.alone?.scores.perplexity != nil && file.teacher?.scores.perplexity != nil)
      let page = try String(contentsOfFile: "\(folder)/run/report.html", encoding: .utf8)
      #expect(page.contains("Bits/byte") && page.contains("Perplexity"))
      #expect(!page.contains("id=\"similarity\"") && !page.contains("Confusions"))
      let table = ComparisonTable(data.settings[0], teacher: data.teacher, token: data.token)
      #expect(table.columns.contains { $0.title == "Bits/byte" })
      #expect(table.rows.allSatisfy { $0.cells.count == table.columns.count })
      // The outputs for all tokens are not kept.
      #expect(
        try RunRecipe.jobs(in: "\(folder)/run", "").allSatisfy {
          !FileManager.default.fileExists(atPath: "\($0)/test.safetensors")
        })
      // It is done: nothing is trained again.
      let again = try RunRecipe.run(try configuration(Self.text(compare: true), in: folder), in: "\(folder)/run")
      #expect(again.notices.allSatisfy { !$0.contains("again") })
    }
  }

  @Test("With another teacher, what the student alone scores beside it is computed from the student")
  func otherTeacher() throws {
    try withText { folder in
      let text = Self.text(compare: true)
      let other = text.replacing("depth: 2, width: 16", with: "depth: 2, width: 24")
      #expect(other != text)
      func alone(_ data: ReportData) throws -> ReportData.Scores {
        try #require(data.settings[0].baseline).seeds[0].scores
      }
      let before = try alone(run(text, in: folder))
      let after = try alone(run(other, in: folder))
      #expect(after.divergence != before.divergence && after.accuracy == before.accuracy)
      #expect(try alone(run(other, in: folder, to: "fresh")) == after)
    }
  }

  @Test("The test split's bits are those of a plain sum over its tokens")
  func bits() throws {
    try withText { folder in
      let data = try run(Self.text(terms: "[hard_labels]"), in: folder)
      let (model, description) = try ModelFolder("\(folder)/run/student").load()
      #expect(TextVocabulary(names: description.labels) == .bytes)
      let test = try TextFiles.load("\(folder)/text.txt", length: 16).test
      var (sum, count) = (0.0, 0)
      for index in 0..<test.count {
        let labels = try #require(try test.tokenLabels(at: index))
        let logits = try model(Tensor(try test.values(at: index), shape: [1, 16])).to(.float64).logSoftmax()
        let values = try logits.doubles()
        for place in labels.counts.indices where labels.counts[place] {
          sum -= values[place * 257 + labels.labels[place]]
          count += 1
        }
      }
      let bits = try #require(data.settings[0].arms[0].seeds[0].scores.bitsPerToken)
      #expect(abs(bits - sum / Double(count) / log(2)) < 1e-5)
    }
  }

  @Test("Characters: the vocabulary is in the model folder")
  func characters() throws {
    try withText { folder in
      let data = try run(Self.text("unit: characters", terms: "[hard_labels]"), in: folder)
      #expect(data.token == "character")
      let description = try ModelFolder("\(folder)/run/student").description()
      let vocabulary = try #require(TextVocabulary(names: description.labels))
      #expect(vocabulary == (try TextFiles.load("\(folder)/text.txt", unit: .characters, length: 16).train.vocabulary))
      // Another text is read by it.
      try RunRecipe.write(
        String(repeating: "another text, with öther characters. ", count: 20), to: "\(folder)/other.txt")
      let result = try ModelEvaluation(
        model: "\(folder)/run", on: DataChoice(dataset: "text", path: "\(folder)/other.txt"),
        teacher: "\(folder)/run/teacher")
      #expect(result.token == "character" && result.classes.isEmpty && result.confusion.isEmpty)
      #expect(result.scores.bitsPerToken != nil && result.scores.agreement != nil)
    }
  }

  @Test("Precomputed and live teachers give the same students")
  func precomputed() throws {
    try withText { folder in
      let live = try run(
        Self.text().replacing("teacher:\n", with: "teacher:\n  precompute: false\n"), in: folder, to: "live")
      let kept = try run(
        Self.text().replacing("teacher:\n", with: "teacher:\n  precompute: true\n"), in: folder, to: "kept")
      let pair = [live, kept].compactMap { $0.settings[0].arms[0].seeds[0].scores.bitsPerToken }
      #expect(pair.count == 2 && abs(pair[0] - pair[1]) < 1e-4)
    }
  }

  @Test(
    "Every other term for sequences",
    arguments: [
      "{top_k_soft_targets: {temperature: 1}}", "{sampled_soft_targets: {}}",
      "{hidden_states: {layers: {map: every 2, student: 'transformer.h.{}', teacher: 'transformer.h.{}'}}}",
      "{attention_maps: {layers: [{student: transformer.h.0.attn.scores, teacher: transformer.h.1.attn.scores}]}}",
      "{soft_targets: {temperature: 1, divergence: reverse}}",
    ])
  func terms(_ term: String) throws {
    try withText { folder in
      let text = Self.text(terms: "[\(term), hard_labels]", depth: term.contains("map:") ? 2 : 1)
      let recipe = try configuration(text, in: folder)
      let check = Preflight.of(recipe, folder: "\(folder)/run")
      // The teacher is not trained yet, but fits.
      #expect(!check.hasProblems, "\(check.findings)")
      #expect(check.estimate != nil)
      let data = try RunRecipe.run(recipe, in: "\(folder)/run").data
      #expect(data.settings[0].arms[0].seeds.count == 1)
    }
  }

  // MARK: What the teacher writes

  @Test("The teacher's text is written once, kept, and the students learn from it")
  func written() throws {
    try withText { folder in
      let text = Self.text(
        "teacher_text: {prompt: 4, temperature: 1}", terms: "[hard_labels]", compare: true,
        more:
          "settings: [{name: a}, {name: b, set: {terms: [soft_targets, hard_labels]}}, {name: c, set: {data.teacher_text: null}}]"
      )
      let data = try run(text, in: folder)
      #expect(texts("\(folder)/run").count == 1)
      let accuracies = data.settings.map { $0.arms[1].seeds[0].scores.negativeLogLikelihood }
      #expect(Set(accuracies).count == 3)
      // The student alone sees the data, whatever the teacher writes.
      #expect(Set(data.settings.map { $0.arms[0].seeds[0].scores.negativeLogLikelihood }).count == 1)
      #expect(try RunRecipe.jobs(in: "\(folder)/run", "alone").count == 1)
      #expect(data.settings[0].description.contains("the teacher goes on after the first 4 bytes of each"))

      // The file holds what a teacher writes, after the beginnings of the examples.
      let file = try Checkpoint.read(texts("\(folder)/run")[0])
      let lengths: [Int] = try #require(file["lengths"]).array()
      let tokens: [Int] = try #require(file["tokens"]).array()
      let materials = try Materials(try configuration(text, in: folder))
      #expect(lengths.count == materials.split.train.count)
      var start = 0
      for (id, length) in zip(materials.split.train, lengths) {
        let own = try #require(materials.train as? SequenceDataset).sequence(at: id).tokens
        #expect(Array(tokens[start..<start + min(4, own.count)]) == Array(own.prefix(4)))
        #expect(length <= 17)
        start += length
      }
    }
  }

  @Test("A damaged text is found and written again; a whole one is not")
  func damaged() throws {
    try withText { folder in
      let text = Self.text("teacher_text: {prompt: 4, beam: 2}", terms: "[hard_labels]")
      let run = "\(folder)/run"
      _ = try self.run(text, in: folder)
      let path = try #require(texts(run).first)
      let whole = try RunRecipe.read(path)
      let student = try RunRecipe.read("\(run)/student/model.safetensors")
      func again() throws -> [String] {
        for job in try RunRecipe.jobs(in: run, "distilled") { try FileManager.default.removeItem(atPath: job) }
        let notices = try RunRecipe.run(try configuration(text, in: folder), in: run).notices
        #expect(try RunRecipe.read(path) == whole)
        #expect(try RunRecipe.read("\(run)/student/model.safetensors") == student)
        return notices.filter { $0.contains("writes its text again") }
      }
      #expect(try again().isEmpty)
      var other = whole
      other[other.count - 3] ^= 1
      for bad in [other, whole.prefix(100), Data(), Data("text".utf8)] {
        try bad.write(to: URL(fileURLWithPath: path))
        #expect(try again().count == 1)
      }
    }
  }

  @Test("Stages: token by token, on the teacher's text, on its own; the teacher may be the student of a stage")
  func stages() throws {
    try withText { folder in
      let data = try run(
        Self.text(
          compare: true,
          more: """
            stages:
              - {name: tokens}
              - {name: text, data: {teacher_text: {prompt: 4}}, terms: [hard_labels]}
              - {name: assistant, student: {model: {architecture: decoder, depth: 1, width: 16, heads: 2}}}
              - {name: assisted, from: text, teacher: {stage: assistant}, data: {teacher_text: {prompt: 6, temperature: 1}}}
              - {name: own, training: {on_policy: {rate: 1, prompt: 4, start: 4 steps}}, terms: [{soft_targets: {temperature: 1}}]}
            """), in: folder)
      #expect(texts("\(folder)/run").count == 2)
      #expect(data.settings[0].stages.count == 5)
      #expect(data.settings[0].stages[4].description.contains("on its own text in 100"))
      #expect(data.settings[0].stages.allSatisfy { $0.validationAccuracy != nil })
    }
  }

  // MARK: What the student writes

  @Test("On-policy: rate 0 changes nothing, rate 1 does; the data's start is the data's")
  func ownText() throws {
    try withText { folder in
      func student(_ training: String) throws -> Data {
        let name = UUID().uuidString
        _ = try run(
          Self.text(training: training).replacing("teacher:\n", with: "teacher:\n  precompute: false\n"), in: folder,
          to: name)
        return try RunRecipe.read("\(folder)/\(name)/student/model.safetensors")
      }
      let plain = try student("")
      #expect(try student("on_policy: {rate: 0, prompt: 4}") == plain)
      #expect(try student("on_policy: {rate: 1, prompt: 4, start: 8 steps}") == plain)
      let own = try student("on_policy: {rate: 1, prompt: 4}")
      #expect(own != plain)
      #expect(try student("on_policy: {rate: 1, prompt: 4}") == own)
      #expect(try student("on_policy: {rate: 1, prompt: 4, temperature: 0.2}") != own)
    }
  }

  @Test("Stopped in the middle of writing steps, a training goes on bit for bit; so does one on the teacher's text")
  func resumed() throws {
    for (data, training) in [
      ("", "on_policy: {rate: 0.7, prompt: 4}"), ("teacher_text: {prompt: 4, temperature: 1}", ""),
    ] {
      try withText { folder in
        let recipe = try configuration(Self.text(data, training: training), in: folder)
        _ = try RunRecipe.run(recipe, in: "\(folder)/whole")
        let run = "\(folder)/broken"
        // The second checkpoint, after four steps, is copied away, and put back as if the process had ended then.
        let kept = Mutex<(count: Int, job: String?)>((0, nil))
        let copy: RunObserver = { event in
          guard case .training(_, .checkpointed(let path)) = event,
            let job = try? RunRecipe.jobs(in: run, "distilled").first, path.hasPrefix(job)
          else { return }
          kept.withLock {
            $0.count += 1
            guard $0.count == 2 else { return }
            try? FileManager.default.copyItem(atPath: path, toPath: "\(folder)/state")
            $0.job = job
          }
        }
        _ = try Experiment(recipe, folder: RunFolder(run), observer: copy).run()
        let job = try #require(kept.withLock { $0.job })
        try FileManager.default.removeItem(atPath: "\(job)/result.json")
        try FileManager.default.removeItem(atPath: "\(run)/metrics.json")
        try FileManager.default.createDirectory(atPath: "\(job)/checkpoint", withIntermediateDirectories: true)
        try? FileManager.default.removeItem(atPath: "\(job)/checkpoint/state.safetensors")
        try FileManager.default.moveItem(atPath: "\(folder)/state", toPath: "\(job)/checkpoint/state.safetensors")
        for text in texts(run) { try FileManager.default.removeItem(atPath: text) }
        let start = Mutex<Int?>(nil)
        _ = try Experiment(recipe, folder: RunFolder(run)) { event in
          if case .training(_, .started(let step, _)) = event { start.withLock { $0 = step } }
        }.run()
        #expect(start.withLock { $0 } == 4)
        #expect(
          try RunRecipe.read("\(run)/student/model.safetensors")
            == RunRecipe.read("\(folder)/whole/student/model.safetensors"))
      }
    }
  }

  // MARK: Identity

  @Test("What a training depends on is in its identity, and nothing else")
  func identity() throws {
    try withText { folder in
      func identities(_ text: String) throws -> [TrainingJob.Arm: String] {
        let recipe = try configuration(text, in: folder)
        let plan = try RunPlan(recipe, materials: try Materials(recipe), teacherHashes: ["teacher"])
        return Dictionary(plan.jobs.map { ($0.arm, $0.identity) }) { first, _ in first }
      }
      let plain = try identities(Self.text(compare: true))
      var seen = [plain[.distilled]]
      for (data, training) in [
        ("teacher_text: {prompt: 4}", ""), ("teacher_text: {prompt: 5}", ""),
        ("teacher_text: {prompt: 4, beam: 2}", ""),
        ("teacher_text: {prompt: 4, temperature: 1}", ""), ("", "on_policy: {}"), ("", "on_policy: {rate: 0.1}"),
        ("", "on_policy: {prompt: 3}"), ("", "on_policy: {temperature: 2}"), ("", "on_policy: {start: 2 steps}"),
      ] {
        let own = try identities(Self.text(data, training: training, compare: true))
        #expect(own[.alone] == plain[.alone])
        #expect(!seen.contains(own[.distilled]), "\(data) \(training)")
        seen.append(own[.distilled])
      }
      #expect(try identities(Self.text("unit: characters", compare: true))[.alone] != plain[.alone])
      #expect(try identities(Self.text("test_fraction: 0.2", compare: true))[.alone] != plain[.alone])
    }
  }

  // MARK: Check, and bad files

  @Test("Check tells the text, the teacher in bits, and what writing costs")
  func check() throws {
    try withText { folder in
      let text = Self.text(
        "teacher_text: {prompt: 4, beam: 3}",
        more:
          "settings: [{name: a}, {name: b, set: {data.teacher_text: null, training.on_policy: {rate: 0.5, prompt: 4}}}]"
      )
      let recipe = try configuration(text, in: folder)
      let before = Preflight.of(recipe, folder: "\(folder)/run")
      #expect(!before.hasProblems, "\(before.findings)")
      #expect(before.findings.contains { $0.text.contains("texts of 16 bytes, 257 tokens") })
      #expect(!before.findings.contains { $0.text.contains("classes are") || $0.text.contains("belongs to") })
      #expect((before.estimate?.teacherSeconds ?? 0) > 0)
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/run"))
      _ = try RunRecipe.run(recipe, in: "\(folder)/run")
      let known = try Configuration.parse(
        text: text.replacing("FOLDER", with: folder).replacing(
          /teacher:\n(.*\n){2}/, with: "teacher: {weights: \(folder)/run/teacher}\n"))
      let after = Preflight.of(known, folder: "\(folder)/other")
      #expect(!after.hasProblems, "\(after.findings)")
      #expect(after.findings.contains { $0.text.contains("bits for a byte of") }, "\(after.findings)")
    }
  }

  @Test("Files that are no text to learn from are told")
  func badFiles() throws {
    try RunRecipe.withFolder { folder in
      func message(_ data: String = "") throws -> String {
        do {
          _ = try run(Self.text(data), in: folder)
          return "no problem"
        } catch { return "\(error)" }
      }
      #expect(try message().contains("text.txt does not exist"))
      try RunRecipe.write("", to: "\(folder)/text.txt")
      #expect(try message().contains("too few for windows of 16"))
      try RunRecipe.write("short", to: "\(folder)/text.txt")
      #expect(try message().contains("too few for windows of 16"))
      try Data((0..<4_000).map { UInt8(truncatingIfNeeded: $0 * 7 + $0 / 3) })
        .write(to: URL(fileURLWithPath: "\(folder)/text.txt"))
      #expect(try message("unit: characters").contains("is not UTF-8"))
      // By bytes anything is a text.
      #expect(try message() == "no problem")
      try FileManager.default.removeItem(atPath: "\(folder)/text.txt")
      try FileManager.default.createDirectory(atPath: "\(folder)/text.txt", withIntermediateDirectories: true)
      #expect(try message().contains("has no texts"))
    }
  }
}
