import Distillation
import Foundation
import Synchronization
import Testing
import Torch

@testable import DistillRecipes

@Suite("Precision in recipes", .serialized)
struct PrecisionTests {
  /// Counts what is measured, and lets `fastest` win.
  private final class Stopwatch: Sendable {
    private let seen = Mutex<[[Computation]]>([])
    var measured: [[Computation]] { seen.withLock { $0 } }

    func conditions(
      fastest: Computation, threshold: Int = 0, units: Processor.BFloat16 = .avx512
    ) -> PrecisionChooser.Conditions {
      var conditions = PrecisionChooser.Conditions()
      conditions.threshold = threshold
      conditions.units = { units }
      conditions.measure = { ways, inputs, makeModel in
        self.seen.withLock { $0.append(ways) }
        // The real models and batches, whatever their times are.
        var choice = try PrecisionChoice(among: ways, inputs: inputs, seconds: 0, makeModel: makeModel)
        for index in choice.trials.indices {
          choice.trials[index].seconds = choice.trials[index].computation == fastest ? 0.01 : 0.03
        }
        choice.computation = ways.contains(fastest) ? fastest : ways[0]
        return choice
      }
      return conditions
    }
  }

  @discardableResult
  private func with<Value>(_ conditions: PrecisionChooser.Conditions, _ body: () throws -> Value) throws -> Value {
    try PrecisionChooser.Conditions.$current.withValue(conditions, operation: body)
  }

  private func kept(in folder: String) throws -> ChosenPrecisions {
    try ResultJSON.decode(RunRecipe.read("\(folder)/precision.json"))
  }

  private let half = Computation(.bfloat16)

  @Test("The recipe: auto is what holds where nothing is said, and is printed and read again")
  func roundTrip() throws {
    let plain = try RunRecipe.configuration()
    #expect(plain.training.choosesPrecision && plain.training.choosesChannelsLast)
    #expect(plain.yaml.contains("precision: auto") && plain.yaml.contains("channels_last: auto"))
    #expect(try Configuration.parse(text: plain.yaml) == plain)
    let given = try RunRecipe.configuration(overrides: ["training.precision=bfloat16", "training.channels_last=true"])
    #expect(!given.training.choosesPrecision && !given.training.choosesChannelsLast)
    #expect((given.training.precision, given.training.channelsLast) == (.bfloat16, true))
    #expect(try Configuration.parse(text: given.yaml) == given)
    // The student alone has what the distilled one has, unless it says otherwise, and may take it back.
    #expect(!given.alone.choosesPrecision && given.alone.precision == .bfloat16)
    let back = try RunRecipe.configuration(
      overrides: ["training.precision=bfloat16", "alone.precision=auto", "training.channels_last=false"])
    #expect(back.alone.choosesPrecision && !back.alone.choosesChannelsLast)
    #expect(try Configuration.parse(text: back.yaml) == back)
  }

  @Test("Small models are not timed, and compute in float32")
  func small() throws {
    try RunRecipe.withFolder { folder in
      let watch = Stopwatch()
      let conditions = watch.conditions(fastest: half, threshold: PrecisionChooser.Conditions.standard.threshold)
      let (data, notices) = try with(conditions) { try RunRecipe.run(try RunRecipe.configuration(), in: folder) }
      #expect(watch.measured.isEmpty)
      #expect(!notices.contains { $0.contains("precision") })
      let choices = try kept(in: folder).choices
      #expect(choices.map(\.role) == ["teacher", "student"])
      #expect(choices.allSatisfy { $0.reason == .small && $0.choice.computation == Computation() })
      #expect(
        data.manifest.contains { $0.name == "precision of the student" && $0.value.hasPrefix("float32: a batch") })
      // (64 · 4 + 4 · 10) · 128
      #expect(choices.last?.multiplyAdds == 296 * 128)
    }
  }

  @Test("A recipe of small models gives the same numbers as one that says float32, in the same trainings")
  func sameAsFloat32() throws {
    try RunRecipe.withRun { folder in
      let fixed = try RunRecipe.configuration(overrides: ["training.precision=float32", "training.channels_last=false"])
      let before = try RunRecipe.contents(of: "\(folder)/jobs")
      try RunRecipe.run(fixed, in: folder)
      #expect(try RunRecipe.contents(of: "\(folder)/jobs") == before)
    }
  }

  @Test("What is chosen is told once, kept, and not measured again: not for a new seed, nor when a training goes on")
  func kept() throws {
    try RunRecipe.withFolder { folder in
      let watch = Stopwatch()
      let recipe = try RunRecipe.configuration()
      let first = try with(watch.conditions(fastest: half)) { try RunRecipe.run(recipe, in: folder) }
      // The teacher and the student, who is the same alone and distilled.
      #expect(watch.measured == [[Computation(), half], [Computation(), half]])
      #expect(
        first.notices.contains {
          $0.hasPrefix("precision of the student: bfloat16: 3") && $0.contains("as fast as float32")
        }, "\(first.notices)")
      #expect(first.data.manifest.contains { $0.name == "precision of the student" && $0.value.contains("bfloat16") })
      let file = try RunRecipe.read("\(folder)/precision.json")
      let job = try #require(RunRecipe.jobs(in: folder, "distilled").first)
      let weights = try RunRecipe.read("\(job)/model/model.safetensors")
      let jobs = try RunRecipe.contents(of: "\(folder)/jobs")

      // Now float32 would win, and the training is done again.
      try FileManager.default.removeItem(atPath: "\(job)/result.json")
      let other = watch.conditions(fastest: Computation())
      let again = try with(other) { try RunRecipe.run(recipe, in: folder) }
      #expect(watch.measured.count == 2)
      #expect(!again.notices.contains { $0.contains("precision") })
      #expect(try RunRecipe.read("\(folder)/precision.json") == file)
      #expect(try RunRecipe.read("\(job)/model/model.safetensors") == weights)

      let seeds = try RunRecipe.configuration(overrides: ["seeds=[1, 2]"])
      try with(other) { try RunRecipe.run(seeds, in: folder) }
      #expect(watch.measured.count == 2)
      let after = try RunRecipe.contents(of: "\(folder)/jobs")
      #expect(jobs.filter { $0.key.hasSuffix("model.safetensors") }.allSatisfy { after[$0.key] == $0.value })

      // A run elsewhere chooses anew, and computes something else.
      try with(other) { try RunRecipe.run(recipe, in: "\(folder)/elsewhere") }
      #expect(watch.measured.count == 4)
      let same = try #require(RunRecipe.jobs(in: "\(folder)/elsewhere", "distilled").first)
      #expect(name(same) != name(job))
      #expect(try RunRecipe.read("\(same)/model/model.safetensors") != weights)
    }
  }

  private func name(_ path: String) -> String { String(path.split(separator: "/").last ?? "") }

  @Test("What the recipe says holds, and nothing is measured")
  func given() throws {
    try RunRecipe.withFolder { folder in
      let watch = Stopwatch()
      let recipe = try RunRecipe.configuration(
        overrides: ["training.precision=bfloat16", "training.channels_last=false"])
      let data = try with(watch.conditions(fastest: Computation())) { try RunRecipe.run(recipe, in: folder).data }
      #expect(watch.measured.isEmpty)
      #expect(data.manifest.contains { $0.name == "precision" && $0.value == "bfloat16, as the recipe says" })
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/precision.json"))
      // The same training as one in which it was chosen.
      let automatic = try RunRecipe.configuration()
      try with(watch.conditions(fastest: half)) { try RunRecipe.run(automatic, in: "\(folder)/chosen") }
      let jobs = try [folder, "\(folder)/chosen"].map { try #require(RunRecipe.jobs(in: $0, "distilled").first) }
      #expect(name(jobs[0]) == name(jobs[1]))
      #expect(
        try RunRecipe.read("\(jobs[0])/model/model.safetensors") == RunRecipe.read("\(jobs[1])/model/model.safetensors")
      )
    }
  }

  @Test("A processor without bfloat16 never chooses it; of convolutions the order in memory is still timed")
  func processorWithout() throws {
    let convolutions = ["student={model: {architecture: convnet, widths: [4]}}"]
    let cases: [(Processor.BFloat16, [String], [Computation])] = [
      ([], [], []),
      ([], convolutions, [Computation(), Computation(channelsLast: true)]),
      ([], convolutions + ["training.channels_last=true"], []),
      (.amx, [], [Computation(), half]),
      (.arm, convolutions + ["training.channels_last=false"], [Computation(), half]),
      (
        .avx512, convolutions,
        [
          Computation(), Computation(channelsLast: true), half, Computation(.bfloat16, channelsLast: true),
        ]
      ),
      (.avx512, convolutions + ["training.precision=bfloat16"], [half, Computation(.bfloat16, channelsLast: true)]),
    ]
    for (units, overrides, expected) in cases {
      let recipe = try RunRecipe.configuration(overrides: overrides)
      let watch = Stopwatch()
      let choices = try with(watch.conditions(fastest: half, units: units)) {
        try PrecisionChooser(
          configuration: recipe, materials: Materials(recipe.data, seed: recipe.dataSeed), device: .cpu
        ).choose(ChosenPrecisions()).new
      }
      let student = try #require(choices.last)
      #expect(student.role == "student")
      #expect(student.choice.trials.isEmpty == expected.isEmpty, "\(overrides)")
      if !expected.isEmpty { #expect(watch.measured.last == expected, "\(units) \(overrides)") }
      if expected.isEmpty, units.isEmpty { #expect(student.choice.computation.precision == .float32) }
    }
  }

  @Test("Settings and stages share the choice of a model; a setting that says its own keeps it")
  func settings() throws {
    let text =
      RunRecipe.text(more: "settings: [{name: a}, {name: b, set: {training.precision: float32}}]")
      + "\n"
    let recipe = try Configuration.parse(text: text)
    let watch = Stopwatch()
    let all = try with(watch.conditions(fastest: half)) {
      try PrecisionChooser(
        configuration: recipe, materials: Materials(recipe.data, seed: recipe.dataSeed), device: .cpu
      ).choose(ChosenPrecisions()).all
    }
    let settled = try recipe.applying(all).resolvedSettings().map(\.configuration.training.precision)
    #expect(settled == [.bfloat16, .float32])
  }

  @Test("Check says in what the run would compute, and why")
  func check() throws {
    try RunRecipe.withFolder { folder in
      func words(_ overrides: [String], _ conditions: PrecisionChooser.Conditions) throws -> [String] {
        try with(conditions) {
          Preflight.of(try RunRecipe.configuration(overrides: overrides), folder: "\(folder)/run").findings
            .filter { $0.subject == "precision" && $0.mark == .good }.map(\.text)
        }
      }
      let watch = Stopwatch()
      let small = try words([], PrecisionChooser.Conditions())
      #expect(small.count == 2 && small.allSatisfy { $0.contains("float32: a batch takes") }, "\(small)")
      let timed = try words([], watch.conditions(fastest: half))
      #expect(timed.last?.hasPrefix("student: bfloat16: ") ?? false, "\(timed)")
      #expect(timed.last?.hasSuffix("the run times it again") ?? false)
      let without = try words([], watch.conditions(fastest: half, units: []))
      #expect(without.last == "student: float32: this processor has no instructions for bfloat16")
      #expect(
        try words(["training.precision=float32", "training.channels_last=true"], watch.conditions(fastest: half))
          == ["float32 with channels last, as the recipe says"])
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/run/precision.json"))
      try with(watch.conditions(fastest: half)) {
        try RunRecipe.run(try RunRecipe.configuration(), in: "\(folder)/run")
      }
      let kept = try words([], watch.conditions(fastest: Computation()))
      #expect(kept.last?.hasSuffix("kept in the run folder") ?? false, "\(kept)")
    }
  }
}
