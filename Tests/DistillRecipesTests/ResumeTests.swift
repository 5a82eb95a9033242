import Distillation
import Foundation
import Testing

@testable import DistillRecipes

@Suite("Damaged run folders", .serialized)
struct ResumeTests {
  @Test(
    "A damaged or missing file of a training that was done: it is done again, and said",
    arguments: [
      ("alone", "model/model.safetensors"), ("alone", "model/config.json"), ("distilled", "test.safetensors"),
      ("distilled", "result.json"), ("teacher", "model/model.safetensors"),
    ], [true, false])
  func damaged(what: (arm: String, file: String), isDeleted: Bool) throws {
    try RunRecipe.withRun { run in
      let job = try #require(RunRecipe.jobs(in: run, what.arm).first)
      let file = "\(job)/\(what.file)"
      let before = try RunRecipe.read(file)
      let teacher = try RunRecipe.read("\(run)/teacher/model.safetensors")
      if isDeleted {
        try FileManager.default.removeItem(atPath: file)
      } else {
        try before.prefix(before.count / 2).write(to: URL(fileURLWithPath: file))
      }
      let notices = try RunRecipe.run(try RunRecipe.configuration(), in: run).notices
      // Without its result a training was never done: that is no damage.
      if what.file != "result.json" || !isDeleted {
        #expect(notices.contains { $0.contains(what.file) && $0.contains("done again") }, "\(notices)")
      }
      if what.file == "result.json" {
        #expect(try ResultJSON.decode(RunRecipe.read(file)) as TrainingResult? != nil)
      } else {
        #expect(try RunRecipe.read(file) == before)
      }
      #expect(try RunRecipe.read("\(run)/teacher/model.safetensors") == teacher)
    }
  }

  @Test("A missing model card is written again, and nothing else is done")
  func missingCard() throws {
    try RunRecipe.withRun { run in
      let cards = try ["teacher", "alone", "distilled"].map {
        "\(try #require(try RunRecipe.jobs(in: run, $0).first))/model/README.md"
      }
      let before = try RunRecipe.contents(of: "\(run)/jobs")
      for card in cards { try FileManager.default.removeItem(atPath: card) }
      let notices = try RunRecipe.run(try RunRecipe.configuration(), in: run).notices
      #expect(notices.filter { $0.contains("README.md was missing") }.count == 3)
      #expect(try RunRecipe.contents(of: "\(run)/jobs") == before)
    }
  }

  @Test("A damaged state of a training: it begins again, and that is said", arguments: ["", "cut", "not safetensors"])
  func damagedCheckpoint(damage: String) throws {
    try RunRecipe.withRun { run in
      let job = try #require(RunRecipe.jobs(in: run, "alone").first)
      let weights = try RunRecipe.read("\(job)/model/model.safetensors")
      try FileManager.default.removeItem(atPath: "\(job)/result.json")
      let state = damage == "cut" ? weights.prefix(weights.count / 2) : Data(damage.utf8)
      try state.write(to: URL(fileURLWithPath: "\(job)/checkpoint/state.safetensors"))
      let notices = try RunRecipe.run(try RunRecipe.configuration(), in: run).notices
      #expect(notices.contains { $0.contains("state.safetensors is damaged") && $0.contains("from the start") })
      #expect(try RunRecipe.read("\(job)/model/model.safetensors") == weights)
    }
  }

  @Test("An altered recipe: which trainings that costs is said")
  func alteredRecipe() throws {
    try RunRecipe.withRun { run in
      let same = try RunRecipe.run(try RunRecipe.configuration(), in: run).notices
      #expect(!same.contains { $0.contains("done anew") })
      let changed = try RunRecipe.configuration(overrides: ["terms.0.soft_targets.temperature=3"])
      let notices = try RunRecipe.run(changed, in: run).notices
      let notice = try #require(notices.first { $0.contains("done anew") })
      #expect(notice.contains("terms changed") && notice.contains("1 of 2 trainings"))
      #expect(notice.contains("distilled, seed 1") && !notice.contains("alone, seed 1"))
      // Another seed costs nothing that was there.
      let more = try RunRecipe.run(try RunRecipe.configuration(overrides: ["seeds=[1, 2]"]), in: run).notices
      #expect(!more.contains { $0.contains("done anew") && $0.contains("seed 2") })
    }
  }

  @Test("With another teacher the student alone is not trained again, and is scored beside the new one")
  func otherTeacher() throws {
    func besideTeacher(_ data: ReportData) throws -> [Double?] {
      let scores = try #require(data.settings[0].arms.first { $0.kind == .alone }?.seeds.first?.scores)
      return [scores.divergence, scores.agreement, scores.accuracy]
    }
    try RunRecipe.withRun { run in
      let (same, other) = try (
        RunRecipe.configuration(), RunRecipe.configuration(overrides: ["teacher.model.hidden=[16]"])
      )
      let before = try besideTeacher(RunRecipe.run(same, in: run).data)
      let (data, notices) = try RunRecipe.run(other, in: run)
      #expect(!notices.contains { $0.contains("alone, seed 1") && $0.contains("done anew") })
      let changed = try besideTeacher(data)
      #expect(changed[0] != before[0] && changed[2] == before[2])
      #expect(try besideTeacher(RunRecipe.run(other, in: "\(run)-fresh").data) == changed)
      #expect(try besideTeacher(RunRecipe.run(same, in: run).data) == before)
      // What was written before scores were said to be beside a teacher is computed again.
      let alone = try #require(RunRecipe.jobs(in: run, "alone").first)
      let text = String(decoding: try RunRecipe.read("\(alone)/result.json"), as: UTF8.self)
      let old = text.replacing(/"besideTeacher":"[0-9a-f]*",/, with: "")
        .replacing(/"teacherDivergence":[-0-9.e]*/, with: "\"teacherDivergence\":9")
      #expect(old != text)
      try RunRecipe.write(old, to: "\(alone)/result.json")
      #expect(try besideTeacher(RunRecipe.run(same, in: run).data) == before)
    }
  }

  @Test("Without a comparison the only student is the distilled one")
  func notCompared() throws {
    try RunRecipe.withFolder { folder in
      let data = try RunRecipe.run(try RunRecipe.configuration(compare: false), in: "\(folder)/run").data
      #expect(data.settings[0].arms.map(\.kind) == [.distilled])
      let metrics = try MetricsFile(decoding: RunRecipe.read("\(folder)/run/metrics.json"))
      #expect(metrics.alone == nil && metrics.gain == nil)
      #expect(metrics.distilled?.scores.accuracy != nil)
    }
  }
}
