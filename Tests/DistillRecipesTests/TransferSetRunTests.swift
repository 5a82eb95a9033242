import DistillData
import DistillRuntime
import Distillation
import Foundation
import Synchronization
import Testing
import Torch

@testable import DistillRecipes

/// Whole runs on transfer sets: corrected biases, joined parts, what the teacher sees, what check says.
@Suite("Runs on transfer sets", .serialized)
struct TransferSetRunTests {
  private func recipe(
    _ data: String, dataset: String = "digits", teacher: String = "", training: String = "epochs: 2",
    compare: Bool = false, more: String = ""
  ) throws -> Configuration {
    let teacher = teacher.isEmpty ? "{model: {architecture: mlp, hidden: [32]}, training: {epochs: 8}}" : teacher
    return try Configuration.parse(
      text: """
        name: small
        seeds: [1]
        threads: 1
        compare: \(compare)
        data: {dataset: \(dataset), validation: 0.2\(data.isEmpty ? "" : ", ")\(data)}
        teacher: \(teacher)
        student: {model: {architecture: mlp, hidden: [16]}}
        terms: [{soft_targets: {temperature: 1}}]
        training: {batch_size: 32, optimizer: {kind: adamw, learning_rate: 3e-3}, \(training)}
        \(more)
        """)
  }

  private func result(_ run: String, _ arm: String = "distilled") throws -> TrainingResult {
    try ResultJSON.decode(RunRecipe.read("\(try #require(RunRecipe.jobs(in: run, arm).first))/result.json"))
  }

  /// What a run says that it does.
  private final class Listener: Sendable {
    private let texts = Mutex<[String]>([])
    var labellings: [String] { texts.withLock { $0.filter { $0.hasPrefix("Labelling") } } }
    func note(_ event: RunEvent) {
      if case .stage(let text) = event { texts.withLock { $0.append(text) } }
    }
  }

  private func labellings(_ recipe: Configuration, in folder: String) throws -> [String] {
    let listener = Listener()
    _ = try Experiment(recipe, folder: RunFolder(folder)) { listener.note($0) }.run()
    return listener.labellings
  }

  // MARK: Classes left out

  @Test(
    "A class left out: its bias is what is corrected, before the test; done again it is the same",
    arguments: ["labels", "prior"])
  func correction(source: String) throws {
    try RunRecipe.withFolder { folder in
      let plain = try recipe("leave_out: ['3']", training: "epochs: 20")
      let corrected = try recipe("leave_out: ['3']", training: "epochs: 20, correct_bias: \(source)")
      try RunRecipe.run(plain, in: "\(folder)/plain")
      let (data, notices) = try RunRecipe.run(corrected, in: "\(folder)/corrected")
      let (before, after) = (try result("\(folder)/plain"), try result("\(folder)/corrected"))
      #expect(before.correctedBias == nil)
      let done = try #require(after.correctedBias)
      #expect(done.classes == ["3"] && done.source.rawValue == source && done.shift > 0)
      #expect(done.validationBefore == before.outcome.validation?.accuracy)
      // The paper's threes: hardly any before, most of them after.
      let recall = try [before, after].map { try #require($0.test).perClass[3].recall }
      #expect(recall[1] > recall[0] + 0.1, "\(recall)")
      let (first, second) = (try #require(before.test).accuracy, try #require(after.test).accuracy)
      #expect(second > first)
      if source == "labels" { #expect(try #require(done.validationAfter) > #require(done.validationBefore)) }
      // The weights are the same but for one number.
      let models = try ["plain", "corrected"].map { name in
        try ModelFolder("\(try #require(RunRecipe.jobs(in: "\(folder)/\(name)", "distilled").first))/model").load()
          .model
      }
      for (mine, other) in zip(models[0].namedParameters, models[1].namedParameters) {
        let difference: [Float] = try (other.tensor - mine.tensor).array()
        let changed = difference.indices.filter { difference[$0] != 0 }
        #expect(changed == (mine.name == "output.bias" ? [3] : []), "\(mine.name)")
        if let first = changed.first { #expect(abs(Double(difference[first]) - done.shift) < 1e-5) }
      }
      // It is told.
      let card = try #require(RunRecipe.jobs(in: "\(folder)/corrected", "distilled").first) + "/model/README.md"
      #expect(String(decoding: try RunRecipe.read(card), as: UTF8.self).contains(done.sentence))
      let description = data.settings[0].description
      #expect(description.contains("none of '3'") && description.contains("Student distilled: never having seen that"))
      #expect(notices.contains { $0.contains("hardly any example of the transfer set for '3'") }, "\(notices)")
      // Nothing is done again, and from nothing it is the same.
      let files = try RunRecipe.contents(of: "\(folder)/corrected/jobs")
      try RunRecipe.run(corrected, in: "\(folder)/corrected")
      #expect(try RunRecipe.contents(of: "\(folder)/corrected/jobs") == files)
      try FileManager.default.removeItem(atPath: card)
      try RunRecipe.run(corrected, in: "\(folder)/corrected")
      #expect(try RunRecipe.contents(of: "\(folder)/corrected/jobs") == files)
      try FileManager.default.removeItem(
        atPath: "\(try #require(RunRecipe.jobs(in: "\(folder)/corrected", "distilled").first))/result.json")
      try RunRecipe.run(corrected, in: "\(folder)/corrected")
      let again = try result("\(folder)/corrected")
      #expect(again.correctedBias == done && again.test == after.test && again.files == after.files)
    }
  }

  @Test("Where stages follow, the student is corrected when it is done, and so is an assistant")
  func correctionInStages() throws {
    try RunRecipe.withFolder { folder in
      let made = try recipe(
        "leave_out: ['3']", training: "epochs: 2, correct_bias: labels", compare: true,
        more: """
          stages:
            - {name: assistant, student: {model: {architecture: mlp, hidden: [20]}}}
            - {name: first}
            - {name: second, teacher: {stage: assistant}}
          """)
      try RunRecipe.run(made, in: "\(folder)/run")
      func corrected(_ stage: Int) throws -> Bool {
        let jobs = try RunRecipe.jobs(in: "\(folder)/run", "distilled")
        let job = try #require(
          jobs.first { ($0.firstMatch(of: /stage-(\d)-/).flatMap { Int($0.1) } ?? 1) == stage })
        let result: TrainingResult = try ResultJSON.decode(RunRecipe.read("\(job)/result.json"))
        return result.correctedBias != nil
      }
      #expect(try [1, 2, 3].map(corrected) == [true, false, true])
      #expect(try result("\(folder)/run", "alone").correctedBias != nil)
    }
  }

  @Test("A classifier without a bias of its own is found before the run")
  func withoutBias() throws {
    let made = try recipe("leave_out: ['3']", training: "epochs: 1, correct_bias: labels")
    let text = made.yaml.replacing(
      /student:\n  model: \{architecture: mlp[^\n]*/,
      with: "student: {model: {architecture: mlp, hidden: [32]}, classifier: teacher}")
    try RunRecipe.withFolder { folder in
      let preflight = Preflight.of(try Configuration.parse(text: text), folder: "\(folder)/run")
      #expect(
        preflight.findings.contains { $0.mark == .problem && $0.text.contains("training.correct_bias") },
        "\(preflight.findings)")
    }
  }

  // MARK: Other data

  /// 30 grey pictures of noise, in a folder without classes.
  private func writePictures(_ folder: String) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    var random = RandomSource(seed: 5, "pictures")
    for number in 0..<30 {
      let pixels = (0..<64).map { _ in UInt8(random.next() & 255) }
      let picture = ReportData.Picture(width: 8, height: 8, channels: 1, pixels: Data(pixels))
      try #require(InlinePicture.encoded(picture)).write(to: URL(fileURLWithPath: "\(folder)/\(number).png"))
    }
  }

  @Test("Unlabelled pictures of another kind: labelled by the teacher once, told by check, manifest and report")
  func pictures() throws {
    try RunRecipe.withFolder { folder in
      try writePictures("\(folder)/noise")
      let made = try recipe("also: [{path: \(folder)/noise, examples: 20}]")
      let listener = try labellings(made, in: "\(folder)/run")
      let train = try Materials(made).split.train.count
      #expect(listener == ["Labelling \(train + 20) inputs with the teacher"])
      let manifest = String(decoding: try RunRecipe.read("\(folder)/run/manifest.json"), as: UTF8.self)
      #expect(manifest.contains("noise, 20 examples"))
      let preflight = Preflight.of(made, folder: "\(folder)/other")
      #expect(!preflight.hasProblems, "\(preflight.findings.filter { $0.mark == .problem })")
      #expect(preflight.findings.contains { $0.text.contains("20 examples of noise, none labelled") })
      #expect((preflight.estimate?.memoryBytes ?? 0) > 0)
      // The teacher beside whose weights stands what it was trained on.
      let weights = try recipe("leave_out: ['7']", teacher: "{weights: \(folder)/run/teacher}")
      let known = Preflight.of(weights, folder: "\(folder)/other").findings.map(\.text)
      #expect(
        known.contains { $0.contains("for '7', which is") && $0.contains("what the teacher was trained on") },
        "\(known)")
      try FileManager.default.copyItem(atPath: "\(folder)/run/teacher", toPath: "\(folder)/unknown")
      let brought = try recipe("leave_out: ['7']", teacher: "{weights: \(folder)/unknown}")
      let unknown = Preflight.of(brought, folder: "\(folder)/other").findings.map(\.text)
      #expect(unknown.contains { $0.contains("What the teacher was trained on is not known") }, "\(unknown)")
      // Replaced, the folder would take its pictures along.
      let inside = try recipe("also: [{path: \(folder)/run/jobs}]")
      #expect(throws: (any Error).self) { try RunRecipe.run(inside, in: "\(folder)/run", .overwriting) }
    }
  }

  @Test("A part that one stage shows is labelled for it, and changes nothing for another")
  func stages() throws {
    try RunRecipe.withFolder { folder in
      try writePictures("\(folder)/noise")
      let with = try recipe(
        "", more: "stages: [{name: own}, {name: more, data: {also: [{path: \(folder)/noise}]}}]")
      let without = try recipe("", more: "stages: [{name: own}, {name: more}]")
      try RunRecipe.run(with, in: "\(folder)/with")
      try RunRecipe.run(without, in: "\(folder)/without")
      func jobs(_ run: String) throws -> [String] {
        try RunRecipe.jobs(in: "\(folder)/\(run)", "distilled").map { ($0 as NSString).lastPathComponent }.sorted()
      }
      let (first, second) = (try jobs("with"), try jobs("without"))
      // The first stage is the same training.
      #expect(Set(first).intersection(second).count == 1)
      let same = try #require(Set(first).intersection(second).first)
      #expect(
        try RunRecipe.read("\(folder)/with/jobs/\(same)/model/model.safetensors")
          == RunRecipe.read("\(folder)/without/jobs/\(same)/model/model.safetensors"))
    }
  }

  @Test("MUNGE on a small table: the student learns from rows made up, and a run done again gives the same")
  func munge() throws {
    try RunRecipe.withFolder { folder in
      func rows(_ range: Range<Int>) -> String {
        "x,y,class\n"
          + range.map { index in
            let x = Double((index * 37) % 101) / 100
            let y = Double((index * 53) % 103) / 100
            return "\(x),\(y),\(x + y > 1 ? "high" : "low")"
          }.joined(separator: "\n")
      }
      try RunRecipe.write(rows(0..<100), to: "\(folder)/table/train.csv")
      try RunRecipe.write(rows(100..<200), to: "\(folder)/table/test.csv")
      let made = try recipe(
        "path: \(folder)/table, labels: 0.2, transfer: labelled, munge: {factor: 5}", dataset: "csv", compare: true)
      try RunRecipe.run(made, in: "\(folder)/a")
      try RunRecipe.run(made, in: "\(folder)/b")
      #expect(try result("\(folder)/a").files == result("\(folder)/b").files)
      let (data, _) = try RunRecipe.run(made, in: "\(folder)/a")
      #expect(data.settings[0].description.contains("80 examples are of train.csv, munged"))
      #expect(!Preflight.of(made, folder: "\(folder)/c").hasProblems)
    }
  }

  // MARK: What the teacher sees

  @Test("A plain view is labelled once though the student sees new pixels all the time; it is another training")
  func plainView() throws {
    try RunRecipe.withFolder { folder in
      let augmentation = "augmentation: [{shift: 1}]"
      let same = try recipe(augmentation)
      let plain = try recipe("\(augmentation), teacher_view: plain")
      let other = try recipe("\(augmentation), teacher_view: other")
      #expect(try labellings(same, in: "\(folder)/same").isEmpty)
      let count = try Materials(plain).split.train.count
      #expect(try labellings(plain, in: "\(folder)/plain") == ["Labelling \(count) inputs with the teacher"])
      #expect(try labellings(other, in: "\(folder)/other").isEmpty)
      let weights = try ["same", "plain", "other"].map {
        try result("\(folder)/\($0)").files["model/model.safetensors"]
      }
      #expect(Set(weights).count == 3)
      // The teacher running live on plain images says the same.
      let live = try recipe("\(augmentation), teacher_view: plain")
        .yaml.replacing("precompute: auto", with: "precompute: false")
      try RunRecipe.run(try Configuration.parse(text: live), in: "\(folder)/live")
      let scores = try ["plain", "live"].map { try #require(result("\(folder)/\($0)").test).negativeLogLikelihood }
      #expect(abs(scores[0] - scores[1]) < 1e-3)
      // Trap 7: that these are not the pixels that were labelled is told once, by the run and before it.
      for (recipe, name, count) in [(same, "same", 0), (plain, "plain", 1), (other, "other", 0)] {
        let (_, notices) = try RunRecipe.run(recipe, in: "\(folder)/\(name)")
        #expect(notices.count { $0.contains("labels other pixels than the student sees") } == count, "\(notices)")
        let warnings = Preflight.of(recipe, folder: "\(folder)/check").findings.filter { $0.mark == .warning }
        #expect(warnings.count { $0.text.contains("labels other pixels than the student sees") } == count)
      }
      // It may be insisted on.
      let always = try recipe("\(augmentation), teacher_view: plain").yaml
        .replacing("precompute: auto", with: "precompute: true")
      #expect(!Preflight.of(try Configuration.parse(text: always), folder: "\(folder)/x").hasProblems)
    }
  }
}
