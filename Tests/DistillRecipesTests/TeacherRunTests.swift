import DistillData
import DistillModels
import DistillRuntime
import Distillation
import Foundation
import Synchronization
import Testing
import Torch
import TorchNN

@testable import DistillRecipes

/// Runs whose teachers are ensembles, students, or differ from setting to setting.
@Suite struct TeacherRunTests {
  private func recipe(
    _ teacher: String, terms: String = "[{soft_targets: {temperature: 2}}, hard_labels]", settings: [String] = [],
    overrides: [String] = []
  ) throws -> Configuration {
    let text = """
      name: small
      seeds: [1]
      threads: 1
      data: {dataset: digits, validation: 0.2}
      teacher: \(teacher)
      student: {model: {architecture: mlp, hidden: [4]}}
      terms: \(terms)
      training: {epochs: 1, batch_size: 128}

      """
    let variants = settings.enumerated().map { "  - {name: setting \($0), set: \($1)}\n" }.joined()
    return try Configuration.parse(
      text: text + (settings.isEmpty ? "" : "settings:\n\(variants)"), overrides: overrides)
  }

  /// Model folders `a` and `b` with all ten classes, `odd` with three outputs, and `colour` for other pictures.
  private func withModels<Value>(_ body: (String) throws -> Value) throws -> Value {
    try RunRecipe.withFolder { folder in
      let kinds = [("a", 10, 1, 6), ("b", 10, 1, 9), ("odd", 3, 1, 6), ("colour", 10, 3, 6)]
      for (index, (name, classes, channels, width)) in kinds.enumerated() {
        let specification = ModelSpecification(
          "mlp", ["hidden": .integers([width])], inputShape: [channels, 8, 8], classCount: classes)
        let model = try withRandomStream(try RandomStream(seed: UInt64(index + 1))) {
          try ModelZoo.make(specification)
        }
        try ModelFolder("\(folder)/\(name)").save(
          model,
          ModelFolder.Description(
            model: specification, labels: (0..<classes).map { "\($0)" }, normalization: nil), card: "")
      }
      return try body(folder)
    }
  }

  private static func problems() throws -> [[String]] {
    let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Fixtures/teacher-problems.txt")
    return try String(contentsOf: file, encoding: .utf8).split(separator: "\n").filter { !$0.hasPrefix("#") }
      .map { $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init) }
  }

  @Test("Odd teachers: one clear message for each") func problems() throws {
    let cases = try Self.problems()
    #expect(cases.count >= 120)
    for line in cases {
      try #require(line.count == 3, "\(line)")
      let terms = line[1].isEmpty ? "[{soft_targets: {temperature: 2}}, hard_labels]" : line[1]
      let error = #expect(throws: RecipeError.self, "\(line[0])") { try recipe(line[0], terms: terms) }
      let said = error?.problems.map(\.message) ?? []
      #expect(said.count == 1 && said[0].contains(line[2]), "\(line[0]) \(line[1]): \(said), not \(line[2])")
    }
  }

  /// What only shows once data and models are there, in `check` and in `run`, which touches nothing before.
  @Test("Models that do not fit: one clear message, before anything is written") func models() throws {
    try withModels { folder in
      let a = "{weights: \(folder)/a}"
      func odd(_ classes: String) -> String { "{name: odd, weights: \(folder)/odd, classes: \(classes)}" }
      let soft = "[soft_targets]"
      let cases = [
        ("{members: [\(a), {weights: \(folder)/none}]}", soft, "none does not exist"),
        ("{members: [\(a), {weights: /dev/zero}]}", soft, "not a regular file"),
        (
          "{members: [\(a), {weights: \(folder)/odd}]}", soft,
          "odd/model.safetensors knows 3 classes, but the data has 10"
        ),
        (
          "{members: [\(a), {weights: \(folder)/colour}]}", soft,
          "colour/model.safetensors takes inputs of shape [3, 8, 8]"
        ),
        ("{members: [\(a), \(odd("['0']"))]}", soft, "has 3 outputs, but classes are given for 1"),
        ("{members: [\(a), \(odd("['0', '1', nine]"))]}", soft, "knows a class 'nine', which the data has not"),
        ("{members: [\(a), \(odd("['0', '1', '22']"))]}", soft, "did you mean '2'? The data's classes are"),
        ("{members: [\(odd("['0', '1', '2']"))]}", soft, "no member of the teacher knows the classes 3, 4, 5"),
        (
          "{members: [\(a), \(odd("['0', null, '2']"))]}", "[{soft_targets: {teacher: odd}}]",
          "chooses a member that does not know all classes"
        ),
        ("{peers: [{name: x, weights: \(folder)/none}]}", soft, "the peer 'x': "),
        ("{peers: [{name: x, weights: \(folder)/odd}]}", soft, "the peer 'x': "),
        ("{peers: [{name: x, weights: \(folder)/colour}]}", soft, "the peer 'x': "),
        (
          "{peers: [{name: x, weights: \(folder)/a, model: {architecture: mlp, hidden: [3]}}]}", soft,
          "the peer 'x': "
        ),
        (
          "{peers: [{name: x, terms: [{hints: {layers: [hidden.9]}}]}]}", soft,
          "terms[0] (hints) wants of the student: no module 'hidden.9'"
        ),
        ("{mean: {}}", "[{hints: {layers: [hidden.9]}}]", "no module 'hidden.9'"),
        (
          "{weights: \(folder)/a, precompute: true}", "[{hints: {layers: [hidden.0]}}]",
          "teacher.precompute: true keeps the teacher's logits"
        ),
      ]
      for (teacher, terms, expected) in cases {
        let made = try recipe(teacher, terms: terms)
        let found = Preflight.of(made, folder: "\(folder)/run").findings.filter { $0.mark == .problem }
        #expect(found.contains { $0.text.contains(expected) }, "\(teacher): \(found)")
        #expect(Set(found.map(\.text)).count == found.count, "\(teacher): \(found)")
      }
      for (teacher, terms, expected) in cases.dropLast() {
        let error = #expect(throws: (any Error).self) {
          try RunRecipe.run(try recipe(teacher, terms: terms), in: "\(folder)/run")
        }
        #expect("\(error.map { "\($0)" } ?? "")".contains(expected), "\(teacher): \(error.map { "\($0)" } ?? "")")
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/run"))
      }
    }
  }

  @Test("A single peer can be chosen by its name, and its layers; the peer can choose the student") func onePeer()
    throws
  {
    try RunRecipe.withFolder { folder in
      let made = try recipe(
        "{peers: [{name: x, terms: [{soft_targets: {teacher: student}}, hard_labels]}]}",
        terms:
          "[{soft_targets: {teacher: x}}, {hints: {layers: [hidden.0], teacher: x}}, {hints: {layers: [hidden.0]}}]")
      let found = Preflight.of(made, folder: "\(folder)/other").findings.filter { $0.mark == .problem }
      #expect(found.isEmpty, "\(found)")
      let parts = try RunRecipe.run(made, in: "\(folder)/run").data.settings[0].arms[1].seeds[0].curve[0].lossParts
      #expect(parts.count >= 2 && parts.allSatisfy { $0.value.isFinite })
    }
  }

  @Test("The loss of a step with peers is the formula") func lossOfPeers() throws {
    try RunRecipe.withFolder { folder in
      let made = try recipe(
        "{peers: [{name: x, model: {architecture: mlp, hidden: [7]}}, {name: y, terms: [hard_labels]}]}",
        terms: "[{soft_targets: {temperature: 1, weight: 0.7}}, {hard_labels: {weight: 1}}]",
        overrides: ["compare=false", "training={steps: 1, batch_size: 32}"])
      let materials = try Materials(made.data, seed: made.dataSeed)
      let job = try #require(try RunPlan(made, materials: materials, teacherHashes: []).jobs.first)
      let runner = TrainingRunner(
        materials: materials, teacherTestLogits: nil, device: .cpu, folder: RunFolder("\(folder)/run"),
        observer: { _ in })
      let batch = try #require(try runner.makeLoader(job).batches(epoch: 0).next())
      let logits = try withoutGradient {
        let peers = try #require(made.teacher).peers
        let own = try runner.specification(of: job)
        let models =
          [try runner.makeStudent(job, own)]
          + (try peers.map { peer in
            try runner.makeModel(
              job, try peer.specification(student: made.student, inputShape: [1, 8, 8], classCount: 10),
              stream: "peer.\(peer.name)")
          })
        return try models.map { try $0(batch.inputs) }
      }
      // p̄ is the mean of the others' probabilities.
      let others = try (logits[1].softmax() + logits[2].softmax()) * 0.5
      let divergence = try (others * (others.logarithm() - logits[0].logSoftmax())).sum(along: 1).mean().item()
      let labels = try crossEntropy(logits: logits[0], labels: batch.labels).mean.item()
      var rounds: [Event.Round] = []
      _ = try runner.prepare(job, checkpoint: nil, makeTeacher: { nil }).run { event in
        if case .round(let round) = event { rounds.append(round) }
        return .continue
      }
      let parts = try #require(rounds.first?.parts)
      #expect(rounds.count == 1 && parts.count == 2)
      let soft = try #require(parts.first { $0.key.contains("soft") }?.value)
      let hard = try #require(parts.first { $0.key.contains("hard") }?.value)
      #expect(abs(soft - 0.7 * divergence) < 1e-5, "\(soft), \(0.7 * divergence)")
      #expect(abs(hard - labels) < 1e-5, "\(hard), \(labels)")
    }
  }

  @Test("The mean of the weights can be the result without teaching") func onlyTheMean() throws {
    try RunRecipe.withFolder { folder in
      let plain = try recipe("{mean: {decay: 0.9}}", terms: "[hard_labels]", overrides: ["compare=false"])
      let mean = try recipe(
        "{mean: {decay: 0.9, result: mean}}", terms: "[hard_labels]", overrides: ["compare=false"])
      #expect(plain.warnings.contains { $0.message.contains("no term uses the teacher") })
      #expect(!mean.warnings.contains { $0.message.contains("no term uses the teacher") })
      let scores = try [(plain, "p"), (mean, "m")].map {
        try RunRecipe.run($0, in: "\(folder)/\($1)").data.settings[0].arms[0].seeds[0].scores.negativeLogLikelihood
      }
      #expect(scores[0] != scores[1])
    }
  }

  // MARK: What a change does again

  @Test("Another noise, weighting, decay or peer's term is another distilled training; the student alone stays")
  func identities() throws {
    try withModels { folder in
      let members = "members: [{weights: \(folder)/a}, {weights: \(folder)/b}]"
      let families = [
        [
          "{\(members)}", "{\(members), weighting: score}", "{\(members), weighting: {score: {power: 2}}}",
          "{\(members), weighting: confidence}", "{\(members), weighting: {confidence: {sharpness: 2}}}",
          "{\(members), average: logits}", "{\(members), noise: {}}", "{\(members), noise: {share: 0.6}}",
          "{\(members), noise: {kind: additive}}", "{\(members), noise: {standard_deviation: 0.2}}",
          "{members: [{weights: \(folder)/a, weight: 2}, {weights: \(folder)/b}]}",
          "{members: [{weights: \(folder)/b}, {weights: \(folder)/a}]}",
        ],
        ["{mean: {}}", "{mean: {decay: 0.9}}", "{mean: {result: mean}}"],
        [
          "{peers: [{}]}", "{peers: [{}, {}]}", "{peers: [{terms: [hard_labels]}]}",
          "{peers: [{terms: [{hard_labels: {weight: 2}}]}]}", "{peers: [{model: {architecture: mlp, hidden: [5]}}]}",
          "{peers: [{weights: \(folder)/a}]}", "{peers: [{weights: \(folder)/b}]}",
        ],
      ]
      var alone: Set<String> = []
      var distilled: [String] = []
      for teacher in families.joined() {
        let made = try recipe(teacher)
        let materials = try Materials(made.data, seed: made.dataSeed)
        let hashes = try TeacherMaker(
          try #require(made.teacher), folder: RunFolder("\(folder)/run"), materials: materials, device: .cpu
        ).hashes()
        for job in try RunPlan(made, materials: materials, teacherHashes: hashes).jobs {
          if job.arm == .alone { alone.insert(job.identity) } else { distilled.append(job.identity) }
        }
      }
      #expect(alone.count == 1)
      #expect(distilled.count == families.joined().count && Set(distilled).count == distilled.count)
    }
  }

  /// What a run labelled, in the words that it said so.
  private final class Labellings: Sendable {
    private let texts = Mutex<[String]>([])
    var all: [String] { texts.withLock { $0 } }
    func note(_ event: RunEvent) {
      if case .stage(let text) = event, text.hasPrefix("Labelling") { texts.withLock { $0.append(text) } }
    }
  }

  @Test("Settings may change all of the teacher but what the run trains; outputs that are the same are computed once")
  func settings() throws {
    try withModels { folder in
      let members = "[{weights: \(folder)/a}, {weights: \(folder)/b}]"
      let teachers = [
        "{}", "{teacher.weighting: score}", "{teacher.weighting: confidence}", "{teacher.noise: {share: 1}}",
        "{teacher.average: logits}", "{teacher: {weights: \(folder)/b}}", "{teacher: {mean: {decay: 0.5}}}",
        "{teacher: {peers: [{}]}}", "{teacher: {members: [{weights: \(folder)/a, weight: 5}, {weights: \(folder)/b}]}}",
      ]
      let made = try recipe("{members: \(members)}", settings: teachers)
      let labellings = Labellings()
      let data = try Experiment(made, folder: RunFolder("\(folder)/run")) { labellings.note($0) }.run()
      #expect(data.settings.count == teachers.count)
      // The ensemble once, and the single member once.
      #expect(labellings.all.count == 2, "\(labellings.all)")
      // Each of them learnt something else.
      let losses = data.settings.map { $0.arms[1].seeds[0].scores.negativeLogLikelihood }
      #expect(Set(losses).count == losses.count, "\(losses)")
      // The same as in a run of its own, and the teacher of the report is the recipe's.
      for (index, own) in [
        (2, "{members: \(members), weighting: confidence}"), (1, "{members: \(members), weighting: score}"),
        (5, "{weights: \(folder)/b}"),
      ] {
        let single = try RunRecipe.run(try recipe(own), in: "\(folder)/\(index)").data
        #expect(single.settings[0].arms[1].seeds[0].scores.negativeLogLikelihood == losses[index])
        #expect(
          single.settings[0].arms[0].seeds[0].scores.accuracy == data.settings[0].arms[0].seeds[0].scores.accuracy)
      }
      let plain = try RunRecipe.run(try recipe("{members: \(members)}"), in: "\(folder)/plain").data
      #expect(data.teacher?.scores.negativeLogLikelihood == plain.teacher?.scores.negativeLogLikelihood)
      #expect(data.teacher?.disagreement?.jensenShannon == plain.teacher?.disagreement?.jensenShannon)
      // Nothing is left to do.
      let before = try RunRecipe.contents(of: "\(folder)/run/jobs")
      try RunRecipe.run(made, in: "\(folder)/run")
      #expect(try RunRecipe.contents(of: "\(folder)/run/jobs") == before)
      let found = Preflight.of(made, folder: "\(folder)/other")
      #expect(!found.findings.contains { $0.mark == .problem && !$0.text.contains("guessing") }, "\(found.findings)")
    }
  }

  @Test("What the run trains itself is the same for all settings") func settingsOfATrainedTeacher() throws {
    let teacher = "{model: {architecture: mlp, hidden: [8]}, training: {epochs: 1}}"
    let fine = try recipe(teacher, settings: ["{teacher: {peers: [{}]}}", "{teacher: {mean: {}}}", "{}"])
    #expect(try fine.problemsOfSettings(fine.resolvedSettings().map { ($0.name ?? "", $0.configuration) }) == [])
    for change in [
      "{teacher.training.epochs: 2}", "{teacher.model.hidden: [9]}", "{teacher: {weights: somewhere}}",
    ] {
      let wrong = try recipe(teacher, settings: [change])
      let problems = try wrong.problemsOfSettings(wrong.resolvedSettings().map { ($0.name ?? "", $0.configuration) })
      #expect(problems.count == 1 && problems[0].contains("changes teacher"), "\(change): \(problems)")
    }
  }

  @Test("check counts what peers cost") func costOfPeers() throws {
    try RunRecipe.withFolder { folder in
      let memory = try ["{mean: {}}", "{peers: [{model: {architecture: mlp, hidden: [4000]}}]}"].map { teacher in
        try #require(Preflight.of(try recipe(teacher), folder: "\(folder)/run").estimate).memoryBytes
      }
      // Weights, gradients, the best so far, each of 4000 · 74 numbers.
      #expect(memory[1] - memory[0] > 3 * 4 * 4_000 * 74, "\(memory)")
    }
  }
}
