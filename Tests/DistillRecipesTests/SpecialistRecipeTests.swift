import DistillRuntime
import Distillation
import Foundation
import Testing
import Torch
import TorchNN

@testable import DistillRecipes

@Suite("Specialists in recipes")
struct SpecialistRecipeTests {
  private func recipe(_ specialists: String, terms: String = "[{soft_targets: {temperature: 2}}]") throws
    -> Configuration
  {
    try Configuration.parse(
      text: """
        name: small
        seeds: [1]
        threads: 1
        data: {dataset: digits, validation: 0.2}
        teacher:
          model: {architecture: mlp, hidden: [12]}
          training: {epochs: 3, batch_size: 128}
          specialists: \(specialists)
        student: {model: {architecture: mlp, hidden: [4]}}
        terms: \(terms)
        training: {epochs: 1, batch_size: 128}
        """)
  }

  @Test(
    "What is read is what is printed; they begin as the teacher's training",
    arguments: ["{}", "{count: 3, share: 0.4, candidates: 2}", "{classes: [['0', '1'], ['8']], training: {epochs: 1}}"])
  func printing(_ specialists: String) throws {
    let made = try recipe(specialists)
    #expect(try Configuration.parse(text: made.yaml) == made)
    #expect(made.teacher?.specialists?.training.batchSize == 128)
  }

  @Test("What is wrong with them is said")
  func problems() throws {
    let cases = [
      ("{count: 3, classes: [['1']]}", "are both there"), ("{classes: []}", "must name the classes of each"),
      ("{classes: [[]]}", "must name the classes of each"), ("{share: 1}", "teacher.specialists.share must be"),
      ("{count: 0}", "teacher.specialists.count must be"), ("{nonsense: 1}", "unknown key 'nonsense'"),
    ]
    for (specialists, expected) in cases {
      let error = #expect(throws: RecipeError.self) { try recipe(specialists) }
      #expect("\(error.map { "\($0)" } ?? "")".contains(expected), "\(specialists): \(error.map { "\($0)" } ?? "")")
    }
    let layers = #expect(throws: RecipeError.self) { try recipe("{}", terms: "[{hints: {layers: [hidden.0]}}]") }
    #expect("\(layers.map { "\($0)" } ?? "")".contains("specialists have none in common"))
  }

  @Test(
    "Classes that are none, or all there are, are told when the generalist is there",
    arguments: [
      ("{classes: [['nine']]}", "'nine', which is no class of the data"),
      ("{count: 11}", "10 classes cannot be put into 11"),
      ("{classes: [['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']]}", "leave some for the dustbin"),
    ])
  func impossible(specialists: String, expected: String) throws {
    try RunRecipe.withFolder { folder in
      let error = #expect(throws: RunError.self) { try RunRecipe.run(try recipe(specialists), in: "\(folder)/run") }
      #expect("\(error.map { "\($0)" } ?? "")".contains(expected), "\(error.map { "\($0)" } ?? "")")
    }
  }

  @Test("A run makes them of the generalist, asks all together, and says which classes each knows")
  func run() throws {
    try RunRecipe.withFolder { folder in
      let made = try recipe("{count: 2, training: {epochs: 2}}")
      let data = try RunRecipe.run(made, in: "\(folder)/run").data
      let records = try #require(try SpecialistRecord.all(in: RunFolder("\(folder)/run")))
      #expect(records.count == 2)
      #expect(Set(records.flatMap(\.classes)) == Set(0..<10) && records.flatMap(\.classes).count == 10)
      #expect(data.teacher?.specialists == records.map(\.names))
      let metrics = try MetricsFile(decoding: RunRecipe.read("\(folder)/run/metrics.json"))
      #expect(metrics.teacher?.specialists == records.map(\.names))
      // The dustbin's correction is that of the shares; half of the examples are of its own classes.
      let materials = try Materials(made.data, seed: made.dataSeed)
      let labels = materials.split.train.map { materials.train.label(at: $0) }
      for record in records where record.dustbinCorrection != 0 {
        let share = Double(labels.count { record.classes.contains($0) }) / Double(labels.count)
        #expect(abs(record.dustbinCorrection - log((1 - share) / share)) < 0.05)
      }
      // Nothing is done again, and a missing list is made again.
      let before = try RunRecipe.contents(of: "\(folder)/run/jobs")
      try FileManager.default.removeItem(atPath: "\(folder)/run/specialists.json")
      try RunRecipe.run(made, in: "\(folder)/run")
      #expect(try RunRecipe.contents(of: "\(folder)/run/jobs") == before)
      // Other specialists are other soft targets: the distilled student is another one, the student alone is not.
      let plans = try [made, try recipe("{count: 2, share: 0.3, training: {epochs: 2}}")].map { recipe in
        try RunPlan(recipe, materials: materials, teacherHashes: [])
      }
      #expect(plans[0].jobs[0].identity == plans[1].jobs[0].identity)
      #expect(plans[0].jobs[1].identity != plans[1].jobs[1].identity)
    }
  }

  @Test("It begins with the generalist's weights, and its last layer says what the generalist says of its classes")
  func firstWeights() throws {
    try RunRecipe.withRun { run in
      let folder = ModelFolder("\(run)/teacher")
      let description = try folder.description()
      let source = SpecialistSource(
        number: 1, classes: try SpecialistClasses([3, 7], of: 10), generalist: folder.weights,
        specification: description.model)
      let (before, after) = (try Checkpoint.read(folder.weights), try source.firstWeights())
      let changed = zip(before.tensors, after.tensors).filter { $0.tensor.shape != $1.tensor.shape }.map(\.0.name)
      #expect(changed == ["output.weight", "output.bias"])
      let weight = try #require(after.tensors.first { $0.name == "output.weight" }).tensor
      let own = try #require(before.tensors.first { $0.name == "output.weight" }).tensor
      #expect(weight.shape[0] == 3)
      for (row, index) in [3, 7].enumerated() {
        #expect(
          try weight.sliced(0, from: row, to: row + 1).doubles()
            == own.to(.float32).sliced(0, from: index, to: index + 1)
            .doubles())
      }
    }
  }
}
