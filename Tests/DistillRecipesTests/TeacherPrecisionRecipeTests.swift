import Distillation
import Foundation
import Synchronization
import Testing
import Torch

@testable import DistillRecipes

@Suite("The teacher's precision in recipes", .serialized)
struct TeacherPrecisionRecipeTests {
  /// Counts which teachers are measured, and lets `fastest` win where it is among the ways.
  private final class Stopwatch: Sendable {
    private let seen = Mutex<[[TeacherPrecision]]>([])
    var measured: [[TeacherPrecision]] { seen.withLock { $0 } }

    func conditions(
      fastest: TeacherPrecision, threshold: Int = 0, units: Processor.BFloat16 = .avx512
    ) -> PrecisionChooser.Conditions {
      var conditions = PrecisionChooser.Conditions()
      conditions.teacherThreshold = threshold
      conditions.units = { units }
      conditions.measureTeacher = { model, sample, temperatures, ways in
        self.seen.withLock { $0.append(ways) }
        // The real model and examples, whatever their times are.
        var choice = try TeacherPrecisionChoice(for: model, on: sample, temperatures: temperatures, among: ways)
        for index in choice.trials.indices {
          choice.trials[index].seconds = choice.trials[index].precision == fastest ? 0.01 : 0.03
        }
        choice.precision = ways.contains(fastest) ? fastest : .float32
        return choice
      }
      return conditions
    }
  }

  @discardableResult
  private func with<Value>(_ conditions: PrecisionChooser.Conditions, _ body: () throws -> Value) throws -> Value {
    try PrecisionChooser.Conditions.$current.withValue(conditions, operation: body)
  }

  private func kept(in path: String) throws -> [ChosenPrecisions.TeacherChoice] {
    let file: ChosenPrecisions = try ResultJSON.decode(RunRecipe.read(path))
    return file.teachers
  }

  private func job(in folder: String) throws -> String { try #require(RunRecipe.jobs(in: folder, "distilled").first) }
  private func name(_ path: String) -> String { String(path.split(separator: "/").last ?? "") }

  @Test("The recipe: auto where nothing is said; printed and read again; nonsense is refused")
  func roundTrip() throws {
    let plain = try RunRecipe.configuration()
    #expect(plain.teacher?.precision == nil)
    #expect(plain.yaml.contains("precompute: auto\n  precision: auto"))
    #expect(try Configuration.parse(text: plain.yaml) == plain)
    for precision in [TeacherPrecision.float32, .bfloat16, .int8] {
      let given = try RunRecipe.configuration(overrides: ["teacher.precision=\(precision.rawValue)"])
      #expect(given.teacher?.precision == precision)
      #expect(try Configuration.parse(text: given.yaml) == given)
      #expect(given != plain)
    }
    func problem(_ overrides: [String]) -> String {
      do {
        _ = try RunRecipe.configuration(overrides: overrides)
        return ""
      } catch { return "\(error)" }
    }
    #expect(problem(["teacher.precision=float16"]).contains("auto, float32, bfloat16 or int8"))
    #expect(problem(["teacher.precision=int8", "device=cuda"]).contains("int8 is for cpu"))
    #expect(
      problem(["teacher={peers: [{name: second}], precision: int8}"])
        .contains("teacher.precision has no effect: what students say is known in their step only"))
    #expect(
      problem(["teacher={cache: somewhere, precision: int8}"])
        .contains("teacher.precision has no effect: what teacher.cache holds was computed before"))
    let cached = try RunRecipe.configuration(overrides: ["teacher={cache: somewhere}"])
    #expect(try Configuration.parse(text: cached.yaml) == cached)
  }

  @Test("Small teachers answer in the student's precision, and nothing is measured")
  func small() throws {
    try RunRecipe.withFolder { folder in
      let watch = Stopwatch()
      let conditions = watch.conditions(
        fastest: .bfloat16, threshold: PrecisionChooser.Conditions.standard.teacherThreshold)
      let (data, notices) = try with(conditions) { try RunRecipe.run(try RunRecipe.configuration(), in: folder) }
      #expect(watch.measured.isEmpty)
      #expect(!notices.contains { $0.contains("teaches") })
      #expect(!data.manifest.contains { $0.name.contains("teaches") })
      #expect(try kept(in: "\(folder)/precision.json").isEmpty)
      // The same training as one whose recipe says so.
      let given = try RunRecipe.configuration(overrides: ["teacher.precision=float32"])
      try RunRecipe.run(given, in: "\(folder)/given")
      #expect(try name(job(in: folder)) == name(job(in: "\(folder)/given")))
    }
  }

  @Test("What is chosen is told once, kept, and not measured again; the same training as one that says so")
  func chosen() throws {
    try RunRecipe.withFolder { folder in
      let watch = Stopwatch()
      let recipe = try RunRecipe.configuration()
      let first = try with(watch.conditions(fastest: .bfloat16)) { try RunRecipe.run(recipe, in: folder) }
      // The teacher alone is judged, once its weights are there.
      #expect(watch.measured == [[.bfloat16, .int8]])
      let told = first.notices.filter { $0.hasPrefix("precision in which the teacher teaches: bfloat16: 3") }
      #expect(told.count == 1 && told[0].contains("as fast as float32, KL "), "\(first.notices)")
      #expect(told.first?.contains("at temperature 1, ") ?? false)
      #expect(first.data.manifest.contains { $0.name == "precision in which the teacher teaches" })
      let file = try RunRecipe.read("\(folder)/precision.json")
      let choice = try #require(try kept(in: "\(folder)/precision.json").first)
      #expect(choice.choice.precision == .bfloat16 && choice.reason == .measured)
      #expect(choice.choice.trials.compactMap(\.fidelity).allSatisfy { $0.divergences.map(\.temperature) == [1, 2] })

      // Now float32 would win, and there is one seed more.
      let seeds = try RunRecipe.configuration(overrides: ["seeds=[1, 2]"])
      let again = try with(watch.conditions(fastest: .float32)) { try RunRecipe.run(seeds, in: folder) }
      #expect(watch.measured.count == 1)
      #expect(!again.notices.contains { $0.contains("teaches") })
      #expect(try RunRecipe.read("\(folder)/precision.json") == file)

      let given = try RunRecipe.configuration(overrides: ["teacher.precision=bfloat16"])
      let other = try with(watch.conditions(fastest: .float32)) {
        try RunRecipe.run(given, in: "\(folder)/given").data
      }
      #expect(watch.measured.count == 1)
      #expect(
        other.manifest.contains {
          $0.name == "precision in which the teacher teaches" && $0.value == "bfloat16, as the recipe says"
        })
      let seen = try [folder, "\(folder)/given"].map { try job(in: $0) }
      #expect(name(seen[0]) == name(seen[1]))
      #expect(
        try RunRecipe.read("\(seen[0])/model/model.safetensors") == RunRecipe.read("\(seen[1])/model/model.safetensors")
      )

      // Another temperature, by which nobody looked: judged anew.
      let hotter = try RunRecipe.configuration(overrides: ["terms=[{soft_targets: {temperature: 6}}]"])
      try with(watch.conditions(fastest: .bfloat16)) { try RunRecipe.run(hotter, in: folder) }
      #expect(watch.measured.count == 2)
    }
  }

  @Test("A teacher in int8 is another training than one in float32, and the same every time")
  func int8() throws {
    try RunRecipe.withFolder { folder in
      let recipe = try RunRecipe.configuration(overrides: ["teacher.precision=int8"])
      try RunRecipe.run(recipe, in: "\(folder)/a")
      try RunRecipe.run(recipe, in: "\(folder)/b")
      try RunRecipe.run(try RunRecipe.configuration(overrides: ["teacher.precision=float32"]), in: "\(folder)/c")
      let jobs = try ["a", "b", "c"].map { try job(in: "\(folder)/\($0)") }
      let weights = try jobs.map { try RunRecipe.read("\($0)/model/model.safetensors") }
      #expect(name(jobs[0]) == name(jobs[1]) && weights[0] == weights[1])
      #expect(name(jobs[0]) != name(jobs[2]) && weights[0] != weights[2])
    }
  }

  @Test("Each member of an ensemble has its own precision")
  func members() throws {
    try RunRecipe.withRun { folder in
      let recipe = try RunRecipe.configuration(overrides: [
        "teacher={members: [{name: large, weights: \(folder)/teacher}, {name: little, weights: \(folder)/student}]}"
      ])
      let watch = Stopwatch()
      var conditions = watch.conditions(fastest: .int8)
      let measure = conditions.measureTeacher
      conditions.measureTeacher = { model, sample, temperatures, ways in
        // The one with four hidden units stays as it is.
        var choice = try measure(model, sample, temperatures, ways)
        if model.parameters.contains(where: { $0.shape == [4, 64] }) { choice.precision = .float32 }
        return choice
      }
      let (_, notices) = try with(conditions) { try RunRecipe.run(recipe, in: "\(folder)/ensemble") }
      #expect(watch.measured.count == 2)
      #expect(
        notices.contains { $0.hasPrefix("precision in which the teacher's member 'large' teaches: int8: ") },
        "\(notices)")
      #expect(
        notices.contains {
          $0.hasPrefix("precision in which the teacher's member 'little' teaches: float32: nothing cheaper")
        })
      #expect(
        try kept(in: "\(folder)/ensemble/precision.json").map(\.choice.precision) == [.int8, .float32])
    }
  }

  @Test("An ensemble whose members all chose int8 is the same training as one whose recipe says int8")
  func alikeMembers() throws {
    try RunRecipe.withRun { folder in
      func recipe(_ more: String = "") throws -> Configuration {
        try RunRecipe.configuration(overrides: [
          "teacher={members: [{name: large, weights: \(folder)/teacher}, {name: little, weights: \(folder)/student}]"
            + "\(more)}"
        ])
      }
      let watch = Stopwatch()
      try with(watch.conditions(fastest: .int8)) { try RunRecipe.run(try recipe(), in: "\(folder)/chosen") }
      #expect(try kept(in: "\(folder)/chosen/precision.json").map(\.choice.precision) == [.int8, .int8])
      try RunRecipe.run(try recipe(", precision: int8"), in: "\(folder)/given")
      let jobs = try ["chosen", "given"].map { try job(in: "\(folder)/\($0)") }
      #expect(name(jobs[0]) == name(jobs[1]))
      #expect(
        try RunRecipe.read("\(jobs[0])/model/model.safetensors") == RunRecipe.read("\(jobs[1])/model/model.safetensors")
      )
    }
  }

  @Test("Choices of a run that says nothing of teachers hold; a file that cannot be read is named, and nothing is run")
  func otherFiles() throws {
    try RunRecipe.withRun { folder in
      let path = "\(folder)/precision.json"
      let before = try #require(try ChosenPrecisions.read(path))
      #expect(!before.choices.isEmpty)
      var old = try #require(try JSONSerialization.jsonObject(with: RunRecipe.read(path)) as? [String: Any])
      #expect(old.removeValue(forKey: "teachers") != nil)
      try JSONSerialization.data(withJSONObject: old).write(to: URL(fileURLWithPath: path))
      #expect(try ChosenPrecisions.read(path) == ChosenPrecisions(choices: before.choices))
      #expect(try ChosenPrecisions.read("\(folder)/none.json") == nil)

      let recipe = try RunRecipe.configuration()
      try RunRecipe.write("{\"choices\": [", to: path)
      #expect {
        try RunRecipe.run(recipe, in: folder)
      } throws: { error in
        "\(error)".contains("\(path), in which precisions were chosen before, cannot be read: it is no JSON")
      }
      let problems = Preflight.of(recipe, folder: folder).findings.filter { $0.mark == .problem }
      #expect(problems.map(\.subject) == ["precision"])
      #expect(try RunRecipe.read(path) == Data("{\"choices\": [".utf8))
    }
  }

  @Test("Check says what the teacher would be computed in and what that costs, and warns where it costs much")
  func check() throws {
    try RunRecipe.withRun { folder in
      func findings(_ overrides: [String], _ conditions: PrecisionChooser.Conditions) throws -> [Preflight.Finding] {
        let recipe = try RunRecipe.configuration(overrides: ["teacher={weights: \(folder)/teacher}"] + overrides)
        return try with(conditions) {
          Preflight.of(recipe, folder: "\(folder)/checked").findings
            .filter { $0.subject == "precision" && $0.text.contains("teach") }
        }
      }
      let watch = Stopwatch()
      #expect(try findings([], PrecisionChooser.Conditions()).isEmpty)
      let timed = try findings([], watch.conditions(fastest: .int8))
      #expect(timed.count == 1 && timed[0].text.hasPrefix("the teacher teaches in int8: 3"), "\(timed)")
      #expect(timed.first?.text.hasSuffix("the run looks again") ?? false)
      let given = try findings(["teacher.precision=int8"], watch.conditions(fastest: .float32))
      #expect(
        given.count == 1 && given[0].text.hasPrefix("the teacher teaches in int8, as the recipe says: KL "), "\(given)")
      #expect(
        try findings(["teacher.precision=float32"], watch.conditions(fastest: .int8)).map(\.text)
          == ["the teacher teaches in float32, as the recipe says"])
      #expect(watch.measured.count == 1)
    }
  }

  @Test("Labels say what the precision costs; all processes that label into a folder take the first one's choice")
  func labels() throws {
    try RunRecipe.withRun { folder in
      let recipe = try RunRecipe.configuration(overrides: ["teacher={weights: \(folder)/teacher}"])
      let watch = Stopwatch()
      let made = try with(watch.conditions(fastest: .bfloat16)) {
        try Labelling(recipe).make(in: "\(folder)/labels", Labelling.Options())
      }
      #expect(made.precision == "bfloat16" && watch.measured.count == 1)
      let cost = try #require(made.precisionCosts.first)
      #expect(made.precisionCosts.count == 1 && cost.precision == .bfloat16)
      #expect(cost.fidelity.worstMean > 0 && cost.fidelity.worstMean < 0.01)
      // Another one begins when float32 would win.
      let again = try with(watch.conditions(fastest: .float32)) {
        try Labelling(recipe).make(in: "\(folder)/labels", Labelling.Options())
      }
      #expect(again.precision == "bfloat16" && again.madeShards == 0 && watch.measured.count == 1)
      // A recipe that says another precision is refused the cache.
      let other = try RunRecipe.configuration(overrides: [
        "teacher={weights: \(folder)/teacher, precision: float32, cache: \(folder)/labels}"
      ])
      #expect {
        try RunRecipe.run(other, in: "\(folder)/refused")
      } throws: { error in
        "\(error)".contains("the teacher was computed in bfloat16, not float32")
      }
      let same = try RunRecipe.configuration(overrides: [
        "teacher={weights: \(folder)/teacher, cache: \(folder)/labels}"
      ])
      try RunRecipe.run(same, in: "\(folder)/taught")
      let plain = try Labelling(
        try RunRecipe.configuration(overrides: [
          "teacher={weights: \(folder)/teacher, precision: float32}"
        ])
      ).make(in: "\(folder)/exact", Labelling.Options())
      #expect(plain.precision == "float32" && plain.precisionCosts.isEmpty)
    }
  }
}
