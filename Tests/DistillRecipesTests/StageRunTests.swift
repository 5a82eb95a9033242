import DistillRuntime
import Distillation
import Foundation
import Synchronization
import Testing

@testable import DistillRecipes

/// Whole runs of recipes with stages: what is kept, what is done again, who is asked.
@Suite("Runs of stages", .serialized)
struct StageRunTests {
  /// Three stages: an assistant, hints from the teacher, soft targets from the assistant.
  private static let stages = """
    stages:
      - {name: assistant, student: {model: {architecture: mlp, hidden: [6]}}}
      - {name: hints, terms: [{hints: {layers: [hidden.0]}}]}
      - {name: last, teacher: {stage: assistant}}
    """

  private static func recipe(_ overrides: [String] = []) throws -> Configuration {
    try Configuration.parse(text: RunRecipe.text(more: stages), overrides: overrides)
  }

  /// The folders of a run's distilled trainings, in the order of their stages.
  private static func folders(_ run: String) throws -> [String] {
    let names = try FileManager.default.contentsOfDirectory(atPath: "\(run)/jobs").filter { $0.hasPrefix("distilled") }
    func number(_ name: String) -> Int {
      name.firstMatch(of: /stage-(\d+)-/).flatMap { Int($0.1) } ?? 1
    }
    return names.sorted { (number($0), $0) < (number($1), $1) }.map { "\(run)/jobs/\($0)" }
  }

  private static let made: Result<String, any Error> = Result {
    let place = FileManager.default.temporaryDirectory
      .appendingPathComponent("distill-stages-\(ProcessInfo.processInfo.processIdentifier)").path
    try? FileManager.default.removeItem(atPath: place)
    atexit {
      try? FileManager.default.removeItem(
        at: FileManager.default.temporaryDirectory
          .appendingPathComponent("distill-stages-\(ProcessInfo.processInfo.processIdentifier)"))
    }
    try RunRecipe.run(try recipe(), in: place)
    return place
  }

  private static func withRun<Value>(_ body: (String) throws -> Value) throws -> Value {
    let source = try made.get()
    return try RunRecipe.withFolder { folder in
      try FileManager.default.copyItem(atPath: source, toPath: "\(folder)/run")
      return try body("\(folder)/run")
    }
  }

  /// What a run says while it labels with a teacher, and its notices.
  private final class Listener: Sendable {
    private let texts = Mutex<[String]>([])
    var labellings: [String] { texts.withLock { $0.filter { $0.hasPrefix("Labelling") } } }
    func note(_ event: RunEvent) {
      if case .stage(let text) = event { texts.withLock { $0.append(text) } }
    }
  }

  private func labellings(_ more: String, seeds: String = "[1]") throws -> [String] {
    let listener = Listener()
    let text = RunRecipe.text(compare: false, more: more).replacing("seeds: [1]", with: "seeds: \(seeds)")
    try RunRecipe.withFolder { folder in
      _ = try Experiment(try Configuration.parse(text: text), folder: RunFolder("\(folder)/run")) { listener.note($0) }
        .run()
    }
    return listener.labellings
  }

  // MARK: What a run leaves

  @Test("The student of the run is that of the last stage; only it was tested")
  func student() throws {
    try Self.withRun { run in
      let jobs = try Self.folders(run)
      #expect(jobs.count == 3)
      let kept = try RunRecipe.read("\(run)/student/model.safetensors")
      #expect(try kept == RunRecipe.read("\(jobs[2])/model/model.safetensors"))
      #expect(try kept != RunRecipe.read("\(jobs[1])/model/model.safetensors"))
      #expect(jobs.map { FileManager.default.fileExists(atPath: "\($0)/test.safetensors") } == [false, false, true])
      for job in jobs.dropLast() {
        let result: TrainingResult = try ResultJSON.decode(RunRecipe.read("\(job)/result.json"))
        #expect(result.test == nil && result.outcome.validation != nil)
        let card = String(decoding: try RunRecipe.read("\(job)/model/README.md"), as: UTF8.self)
        #expect(card.contains("not tested") && card.contains("validation split") && !card.contains("on the test split"))
      }
    }
  }

  @Test("A stage begins with the weights that the one before kept, and the assistant with its own")
  func beginnings() throws {
    try RunRecipe.withFolder { folder in
      // A learning rate that changes next to nothing: what a stage begins with is what it ends with.
      let made = try Configuration.parse(
        text: RunRecipe.text(
          compare: false, training: "{epochs: 1, batch_size: 128, keep: last}",
          more: """
            stages:
              - {name: a}
              - {name: b, training: {optimizer: {kind: sgd, learning_rate: 1e-30}}}
              - {name: c, from: start, training: {optimizer: {kind: sgd, learning_rate: 1e-30}}}
              - {name: d, from: a, training: {optimizer: {kind: sgd, learning_rate: 1e-30}}}
            """))
      try RunRecipe.run(made, in: "\(folder)/run")
      let weights = try Self.folders("\(folder)/run").map { try RunRecipe.read("\($0)/model/model.safetensors") }
      #expect(weights[1] == weights[0] && weights[3] == weights[0])
      #expect(weights[2] != weights[0])
    }
  }

  @Test("What one stage freezes, the next one trains")
  func frozen() throws {
    try RunRecipe.withFolder { folder in
      let made = try Configuration.parse(
        text: RunRecipe.text(
          compare: false,
          more: """
            stages:
              - {name: a, training: {only: [output], keep: last, optimizer: {kind: adamw, weight_decay: 0.5}}}
              - {name: b, training: {only: [hidden], keep: last, optimizer: {kind: adamw, weight_decay: 0.5}}}
              - {name: c, training: {keep: last}}
            """))
      try RunRecipe.run(made, in: "\(folder)/run")
      let models = try Self.folders("\(folder)/run").map { try ModelFolder("\($0)/model").load().model }
      func bytes(_ model: Int, _ part: String) throws -> [[UInt8]] {
        try models[model].namedParameters.filter { $0.name.hasPrefix(part) }
          .map { try $0.tensor.withBytes { Array($0) } }
      }
      #expect(try bytes(1, "output") == bytes(0, "output") && bytes(1, "hidden") != bytes(0, "hidden"))
      #expect(try bytes(2, "output") != bytes(1, "output") && bytes(2, "hidden") != bytes(1, "hidden"))
    }
  }

  // MARK: Damage

  @Test(
    "A damaged or missing file of a stage: it is done again to the same bits, and nothing takes its place",
    arguments: ["model/model.safetensors", "model/config.json", "result.json"], [0, 1])
  func damaged(file: String, stage: Int) throws {
    for isDeleted in [true, false] {
      for isLastDone in [true, false] {
        try Self.withRun { run in
          let jobs = try Self.folders(run)
          let before = try jobs.map { try RunRecipe.read("\($0)/model/model.safetensors") }
          let events = try jobs.map { try RunRecipe.read("\($0)/events.jsonl") }
          let path = "\(jobs[stage])/\(file)"
          if isDeleted {
            try FileManager.default.removeItem(atPath: path)
          } else {
            try Data("x".utf8).write(to: URL(fileURLWithPath: path))
          }
          // What depends on it is still to be done.
          if !isLastDone { try FileManager.default.removeItem(atPath: "\(jobs[2])/result.json") }
          let notices = try RunRecipe.run(try Self.recipe(), in: run).notices
          if file != "result.json" || !isDeleted {
            #expect(notices.contains { $0.contains(file) && $0.contains("done again") }, "\(notices)")
            let name = ["assistant", "hints"][stage]
            #expect(notices.contains { $0.contains("distilled, seed 1, \(name)") }, "\(notices)")
          }
          #expect(try jobs.map { try RunRecipe.read("\($0)/model/model.safetensors") } == before)
          #expect(try jobs.map { try RunRecipe.read("\($0)/events.jsonl") } == events)
        }
      }
    }
  }

  // MARK: Altered recipes

  @Test("An altered later stage does not cost the earlier ones; an altered earlier one costs all that build on it")
  func altered() throws {
    try Self.withRun { run in
      func notice(_ overrides: [String]) throws -> String {
        let notices = try RunRecipe.run(try Self.recipe(overrides), in: run).notices
        return notices.first { $0.contains("done anew") } ?? ""
      }
      let jobs = try Self.folders(run)
      let dates = try jobs.map { try Self.date("\($0)/result.json") }

      // The budget is that of the student alone, too, where the length of a stage changes: here it does not.
      let last = try notice(["stages.2.terms=[{soft_targets: {temperature: 3}}]"])
      #expect(last.contains("stages changed") && last.contains("1 of 4 trainings"), "\(last)")
      #expect(last.contains("distilled, seed 1, last") && !last.contains("hints") && !last.contains("assistant"))
      #expect(try jobs.map { try Self.date("\($0)/result.json") } == dates)

      let assistant = try notice(["stages.0.student.model.hidden=[7]"])
      #expect(assistant.contains("2 of 4 trainings"), "\(assistant)")
      #expect(assistant.contains("seed 1, assistant") && assistant.contains("seed 1, last"))
      #expect(!assistant.contains("hints"))

      let hints = try notice(["stages.1.terms=[{hints: {layers: [hidden.0], weight: 2}}]"])
      #expect(hints.contains("2 of 4 trainings") && hints.contains("seed 1, hints") && hints.contains("seed 1, last"))
      #expect(!hints.contains("assistant"))

      // As it was: nothing is left to do.
      #expect(try notice([]) == "")
      #expect(try jobs.map { try Self.date("\($0)/result.json") } == dates)
    }
  }

  private static func date(_ path: String) throws -> Date {
    try #require(try FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date)
  }

  @Test("Stages whose places differ are other trainings; a recipe of one stage is the recipe without stages")
  func identities() throws {
    func identities(_ stages: String) throws -> [String] {
      let recipe = try Configuration.parse(text: RunRecipe.text(compare: false, more: stages))
      return try RunPlan(recipe, materials: Materials(recipe.data, seed: 1), teacherHashes: []).jobs.map(\.identity)
    }
    #expect(try identities("stages: [{name: only}]") == identities(""))
    // The assistant before it changes the order in which the student sees the examples.
    let after = try identities("stages: [{student: {model: {architecture: mlp, hidden: [6]}}}, {name: only}]")
    #expect(try after.last != identities("").last)
    // Begun anew, it has other random weights.
    let twice = try identities("stages: [{name: a}, {name: b, from: start}]")
    #expect(Set(twice).count == 2)
  }

  // MARK: The teacher's outputs

  @Test("A teacher that stages share labels once for all with the same inputs")
  func labelsOnce() throws {
    #expect(
      try labellings("stages: [{name: a}, {name: b, data: {labels: 0.5}}, {name: c, training: {epochs: 2}}]").count == 1
    )
    // Views of a stage are labelled by themselves; where they are drawn anew all the time nothing is.
    let views = try labellings(
      """
      stages:
        - {name: a, data: {augmentation: [{shift: 1}], views: 2}, training: {epochs: 2}}
        - {name: b, data: {augmentation: [{shift: 1}], views: 3}, training: {epochs: 3}}
        - {name: c, data: {augmentation: [{shift: 1}]}}
        - {name: d}
        - {name: e, data: {augmentation: [{shift: 1}], views: 2}, training: {epochs: 2}}
        - {name: f, data: {augmentation: [{shift: 1}], views: 4}, training: {epochs: 3}}
      """)
    // Fewer inputs are shown in f than there would be to label.
    #expect(views.count == 3 && Set(views).count == 3, "\(views)")
    // Terms on layers want the teacher itself, and labels none.
    #expect(try labellings("stages: [{terms: [{hints: {layers: [hidden.0]}}]}, {terms: [hard_labels]}]").isEmpty)
  }

  @Test("A student that teaches labels once for each seed, and once for all stages that it teaches")
  func assistantsLabel() throws {
    let made = try labellings(
      """
      stages:
        - {name: assistant, student: {model: {architecture: mlp, hidden: [6]}}}
        - {name: b, teacher: {stage: assistant}}
        - {name: c, teacher: {stage: assistant}, training: {epochs: 2}}
      """, seeds: "[1, 2]")
    #expect(made.count == 1 + 2, "\(made)")
  }

  // MARK: Report

  @Test("metrics.json and the report have every stage, with what it did")
  func report() throws {
    try Self.withRun { run in
      let metrics = try MetricsFile(decoding: RunRecipe.read("\(run)/metrics.json"))
      let stages = try #require(metrics.settings[0].stages)
      #expect(stages.map(\.name) == ["assistant", "hints", "last"])
      #expect(stages.allSatisfy { $0.steps == 11 && $0.validationAccuracy != nil })
      let html = String(decoding: try RunRecipe.read("\(run)/report.html"), as: UTF8.self)
      for text in [
        "<h3>Stages</h3>", "soft targets; from the teacher; trains another mlp", "soft targets; from assistant",
        "goes on after hints",
      ] { #expect(html.contains(text), "\(text)") }
    }
  }

  @Test("A run whose teachers are in stages alone: reported without one, and explained by the last of them")
  func teacherOnlyInStages() throws {
    let text = RunRecipe.text(
      more: """
        stages:
          - {name: big, student: {model: {architecture: mlp, hidden: [16]}}, terms: [hard_labels]}
          - {name: small, teacher: {stage: big}}
        """
    ).replacing(/teacher:\n.*\n.*\n/, with: "")
    let recipe = try Configuration.parse(text: text)
    #expect(recipe.teacher == nil)
    try RunRecipe.withFolder { folder in
      let run = "\(folder)/run"
      let data = try RunRecipe.run(recipe, in: run).data
      #expect(data.teacher == nil && data.settings[0].stages.count == 2)
      let explained = try Explanation(run)
      #expect(explained.teacherAccuracy > 0 && !explained.examples.isEmpty)
      // It is the student of the first stage who speaks.
      let big = try ModelEvaluation(
        model: "\(try Self.folders(run)[0])/model", on: DataChoice(dataset: "digits"))
      #expect(abs(try #require(big.scores.accuracy) - explained.teacherAccuracy) < 1e-6)
      try FileManager.default.removeItem(atPath: try Self.folders(run)[0])
      let error = #expect(throws: RunError.self) { try Explanation(run) }
      #expect(error?.description.contains("the stage 'big'") == true)
    }
  }

  @Test("inspect shows assistants, teachers of stages, and every training of a run")
  func inspection() throws {
    try Self.withRun { run in
      let roles = try Inspection("\(run)/recipe.yaml").models.map(\.role)
      #expect(roles == ["teacher", "student in 'assistant'", "student"])
      let trainings = try #require(try Inspection(run).run).trainings
      #expect(
        trainings.map(\.name) == [
          "teacher", "alone, seed 1", "distilled, seed 1, assistant", "distilled, seed 1, hints",
          "distilled, seed 1, last",
        ])
      #expect(trainings.allSatisfy { $0.state == .done })
      #expect(trainings.map { $0.accuracy != nil } == [true, true, false, false, true])
    }
  }

  // MARK: Check

  @Test("check sizes the terms of each stage, sums the costs over stages, and names the stage of every problem")
  func check() throws {
    try Self.withRun { run in
      // With a teacher that is there, its terms have a size.
      let recipe = try Self.recipe(["teacher={weights: \(run)/teacher}"])
      try RunRecipe.withFolder { folder in
        let found = Preflight.of(recipe, folder: "\(folder)/new")
        #expect(!found.hasProblems, "\(found.findings)")
        #expect(found.termSizes?.map(\.setting) == ["assistant", "hints"])
        #expect(
          found.findings.contains { $0.subject == "student" && $0.text.hasPrefix("in the stage 'assistant': mlp") })
        // Alone twice as long as a stage, and three stages.
        #expect(found.estimate?.trainings == 4 && found.estimate?.steps == 22 + 3 * 11)
      }
    }
    let cases: [(String, String, String)] = [
      ("{training: {only: [hiden]}}", "student", "in the stage 'last': training.only: the student has no part 'hiden'"),
      ("{training: {freeze: [output, hidden]}}", "student", "in the stage 'last': training.freeze: nothing of the"),
      (
        "{terms: [{hints: {layers: [hidden.7]}}]}", "terms",
        "in the stage 'last': terms[0] (hints) wants of the student"
      ),
      ("{teacher: {weights: nowhere}}", "teacher", "in the stage 'last': nowhere does not exist"),
      ("{teacher: {members: [{weights: nowhere}, {stage: stage 1}]}}", "teacher", "in the stage 'last': nowhere does"),
      (
        "{teacher: {weights: nowhere}, terms: [hard_labels]}", "teacher",
        "in the stage 'last': nowhere does not exist"
      ),
      ("{data: {labels: 1e-9}}", "data", "data.labels: 1e-09 of 1293 examples is none"),
    ]
    for (stage, subject, expected) in cases {
      let text = RunRecipe.text(
        more: "stages: [{}, \(stage.replacing("{", with: "{name: last, ", maxReplacements: 1))]")
      let recipe = try Configuration.parse(text: text)
      try RunRecipe.withFolder { folder in
        let problems = Preflight.of(recipe, folder: "\(folder)/new").findings.filter { $0.mark == .problem }
        #expect(problems.contains { $0.subject == subject && $0.text.contains(expected) }, "\(problems)")
        // A run says the same before it writes anything.
        let error = #expect(throws: RunError.self) { try RunRecipe.run(recipe, in: "\(folder)/new") }
        #expect(error?.description.contains(expected) == true, "\(error?.description ?? "")")
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/new"))
      }
    }
  }

  @Test("The weights of a stage's teacher that are gone are not replaced by those of the run's own teacher")
  func missingTeacher() throws {
    try RunRecipe.withFolder { folder in
      let source = try Self.made.get()
      try FileManager.default.copyItem(atPath: "\(source)/teacher", toPath: "\(folder)/other")
      let recipe = try Configuration.parse(
        text: RunRecipe.text(
          compare: false, more: "stages: [{name: a}, {name: b, teacher: {weights: \(folder)/other}}]"))
      try RunRecipe.run(recipe, in: "\(folder)/run")
      try FileManager.default.removeItem(atPath: "\(folder)/other")
      let before = try RunRecipe.contents(of: "\(folder)/run")
      let error = #expect(throws: RunError.self) { try RunRecipe.run(recipe, in: "\(folder)/run") }
      #expect(error?.description.contains("in the stage 'b'") == true)
      #expect(error?.description.contains("other does not exist") == true)
      #expect(try RunRecipe.contents(of: "\(folder)/run") == before)
    }
  }

  // MARK: Settings

  @Test("Settings change stages by their numbers, or all of them")
  func settings() throws {
    let recipe = try Configuration.parse(
      text: RunRecipe.text(
        more: """
          stages: [{name: a}, {name: b}]
          settings:
            - {name: as it is}
            - {name: longer, set: {stages.0.training.epochs: 3}}
            - {name: bracketed, set: {"stages[0].training.epochs": 3}}
            - {name: others, set: {stages: [{name: x}]}}
            - {name: none, set: {stages: null}}
            - {name: below, set: {training.epochs: 5}}
          """))
    let made = try recipe.resolvedSettings().map(\.configuration)
    #expect(made.map { $0.stages.map(\.name) } == [["a", "b"], ["a", "b"], ["a", "b"], ["x"], [], ["a", "b"]])
    #expect(made[1].stages.map(\.configuration.training.length) == [.epochs(3), .epochs(1)])
    #expect(made[2].stages == made[1].stages)
    #expect(made[5].stages.map(\.configuration.training.length) == [.epochs(5), .epochs(5)])
    for (change, expected) in [
      ("stages.2.training.epochs: 3", "no item 2"), ("stages.a.training.epochs: 3", "stages is a list"),
      ("stages.0.training.epochs: 0", "in the stage 'a': training.epochs"), ("stages.0.name: b", "the name 'b'"),
      ("stages.0.data.validation: 0.2", "cannot differ"),
    ] {
      let error = #expect(throws: RecipeError.self) {
        try Configuration.parse(
          text: RunRecipe.text(more: "stages: [{name: a}, {name: b}]\nsettings: [{name: s, set: {\(change)}}]"))
      }
      #expect(error?.description.contains(expected) == true, "\(error?.description ?? "")")
    }
  }

  @Test("A stage takes back what the recipe freezes, and its resolved recipe says so")
  func takenBack() throws {
    let recipe = try Configuration.parse(
      text: RunRecipe.text(
        training: "{epochs: 1, only: [output, hidden], freeze: [hidden]}",
        more: "stages: [{name: probe}, {name: all, training: {only: null, freeze: []}}]"))
    let parts = recipe.stages.map(\.configuration.training.parts)
    #expect(parts == [TrainedParts(trained: ["output", "hidden"], frozen: ["hidden"]), .all])
    let again = try Configuration.parse(text: recipe.yaml)
    #expect(again == recipe && again.stages[1].configuration.training.parts == .all)
    // They are the student's parts: another network has others.
    #expect(recipe.teacher?.training?.parts == .all)
  }
}
