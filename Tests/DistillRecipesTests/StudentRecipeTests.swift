import DistillModels
import DistillRuntime
import Distillation
import Foundation
import Testing
import Torch
import TorchNN

@testable import DistillRecipes

@Suite("Students in recipes")
struct StudentRecipeTests {
  private func recipe(
    _ student: String, terms: String = "[{soft_targets: {temperature: 2}}]", teacher: String? = nil, more: String = ""
  ) throws -> Configuration {
    let made = teacher ?? "{model: {architecture: mlp, hidden: [8, 8, 8, 8]}, training: {epochs: 1, batch_size: 128}}"
    return try Configuration.parse(
      text: """
        name: small
        seeds: [1]
        threads: 1
        data: {dataset: digits}
        teacher: \(made)
        student: \(student)
        terms: \(terms)
        training: {epochs: 1, batch_size: 128}
        \(more)
        """)
  }

  @Test(
    "Every way to start reads as it was printed",
    arguments: [
      "{model: {architecture: mlp, hidden: [8, 8]}, copy: hidden.0}",
      "{model: {architecture: mlp, hidden: [8, 8]}, copy: [output, {student: hidden.0, teacher: hidden.3}]}",
      "{model: {architecture: mlp, hidden: [8, 8]}, copy: {map: every 2, student: 'hidden.{}', teacher: 'hidden.{}'}}",
      "{model: {architecture: mlp, hidden: [8, 8]}, copy: [{map: '0:2, 1:3', student: 'hidden.{}', teacher: 'hidden.{}'}]}",
      "{model: {architecture: mlp, hidden: [4, 4, 4, 4]}, prune: l2}",
      "{model: {architecture: mlp, hidden: [4]}, classifier: teacher, reduction: 4}",
    ])
  func printing(_ student: String) throws {
    let made = try recipe(student)
    let again = try Configuration.parse(text: made.yaml)
    #expect(again == made && again.student == made.student)
  }

  @Test("What is wrong with a start is said")
  func problems() throws {
    let mlp = "model: {architecture: mlp, hidden: [8, 8]}"
    let cases: [(student: String, teacher: String?, expected: String)] = [
      ("{\(mlp), copy: []}", nil, "student.copy is empty"),
      ("{\(mlp), copy: {student: a}}", nil, "student.copy.teacher is missing"),
      ("{\(mlp), copy: {map: third, student: 'a.{}', teacher: 'a.{}'}}", nil, "must be a map of layers"),
      ("{\(mlp), prune: l3}", nil, "did you mean 'l1'"),
      ("{\(mlp), weights: x, prune: l1}", nil, "are both there"),
      ("{\(mlp), weights: x, classifier: teacher}", nil, "is of no use with the teacher's classifier"),
      ("{model: {architecture: reused-classifier}}", nil, "would be a random one"),
      ("{\(mlp), prune: l1}", "{mean: {}}", "this one is made of students"),
      ("{\(mlp), copy: output}", "{members: [{weights: a}, {weights: b}]}", "an ensemble"),
      ("{\(mlp), copy: output}", "null", "takes from the teacher, and there is none"),
    ]
    for (student, teacher, expected) in cases {
      let error = #expect(throws: RecipeError.self) {
        try recipe(student, terms: teacher == "null" ? "[hard_labels]" : "[soft_targets]", teacher: teacher)
      }
      #expect("\(error.map { "\($0)" } ?? "")".contains(expected), "\(student): \(error.map { "\($0)" } ?? "")")
    }
  }

  /// What a distilled student begins with, after a run has trained the teacher.
  private func firstStudents(_ recipe: Configuration, in run: String) throws -> [TrainingJob.Arm: any Layer] {
    let materials = try Materials(recipe.data, seed: recipe.dataSeed)
    let runner = TrainingRunner(
      materials: materials, teacherTestLogits: nil, device: .cpu, folder: RunFolder(run), observer: { _ in })
    let jobs = try RunPlan(recipe, materials: materials, teacherHashes: ["t"]).jobs
    return try Dictionary(
      uniqueKeysWithValues: jobs.map { ($0.arm, try runner.makeStudent($0, try runner.specification(of: $0))) })
  }

  private func tensor(_ model: any Module, _ name: String) throws -> [Double] {
    try #require(model.state.first { $0.name == name }).tensor.to(.float32).doubles()
  }

  @Test("Layers by a map: student alone and distilled start with the teacher's every second layer")
  func copying() throws {
    try RunRecipe.withFolder { folder in
      let made = try recipe(
        "{model: {architecture: mlp, hidden: [8, 8]}, "
          + "copy: [output, {student: hidden.0, teacher: hidden.0}, {student: hidden.1, teacher: hidden.3}]}")
      let data = try RunRecipe.run(made, in: "\(folder)/run").data
      #expect(data.settings[0].arms.count == 2)
      let teacher = try ModelFolder("\(folder)/run/teacher").load().model
      let students = try firstStudents(made, in: "\(folder)/run")
      for student in students.values {
        for (own, others) in [("hidden.0", "hidden.0"), ("hidden.1", "hidden.3"), ("output", "output")] {
          for name in ["weight", "bias"] {
            let key = try #require(student.state.first { $0.name.hasPrefix(own) && $0.name.hasSuffix(name) }?.name)
            let source = key.replacing(own, with: others)
            #expect(try tensor(student, key) == tensor(teacher, source))
          }
        }
      }
      #expect(students.count == 2)
      // Both depend on the teacher's weights.
      let materials = try Materials(made.data, seed: made.dataSeed)
      let plans = try ["a", "b"].map { try RunPlan(made, materials: materials, teacherHashes: [$0]) }
      for (first, second) in zip(plans[0].jobs, plans[1].jobs) { #expect(first.identity != second.identity) }
    }
  }

  @Test("Pruned: the teacher's largest channels; a copy that does not fit is told before the teacher is trained")
  func pruning() throws {
    try RunRecipe.withFolder { folder in
      let made = try recipe("{model: {architecture: mlp, hidden: [4, 8, 8, 8]}, prune: l1}")
      try RunRecipe.run(made, in: "\(folder)/run")
      let teacher = try ModelFolder("\(folder)/run/teacher").load().model
      let student = try ModelZoo.make(made.studentSpecification(inputShape: [1, 8, 8], classCount: 10))
      let choices = try Pruning.start(student: student, fromTeacher: teacher, by: .l1)
      #expect(choices.count == 1)
      let first = try #require(try firstStudents(made, in: "\(folder)/run")[.distilled])
      for named in student.state { #expect(try tensor(first, named.name) == named.tensor.to(.float32).doubles()) }
      for (student, expected) in [
        ("{model: {architecture: mlp, hidden: [9, 8, 8, 8]}, prune: l1}", "student.prune"),
        ("{model: {architecture: mlp, hidden: [8]}, copy: hidden.7}", "hidden.7"),
        ("{model: {architecture: mlp, hidden: [4]}, copy: hidden.0}", "student.copy"),
      ] {
        let error = #expect(throws: RunError.self) { try RunRecipe.run(try recipe(student), in: "\(folder)/other") }
        #expect("\(error.map { "\($0)" } ?? "")".contains(expected), "\(error.map { "\($0)" } ?? "")")
        let preflight = Preflight.of(try recipe(student), folder: "\(folder)/other")
        #expect(preflight.findings.contains { $0.mark == .problem && $0.text.contains(expected) })
      }
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/other/teacher"))
    }
  }

  @Test("The teacher's classifier: the distilled student ends in it, untrained; the student alone has its own")
  func reusedClassifier() throws {
    try RunRecipe.withFolder { folder in
      let made = try recipe(
        "{model: {architecture: convnet, widths: [4, 8]}, classifier: teacher}", terms: "[reused_classifier]",
        teacher: "{model: {architecture: convnet, widths: [8, 16]}, training: {epochs: 1, batch_size: 128}}",
        more: "stages: [{name: a}, {name: b}]")
      let data = try RunRecipe.run(made, in: "\(folder)/run").data
      #expect(data.settings[0].student.architecture == "reused-classifier")
      let teacher = try ModelFolder("\(folder)/run/teacher").load().model
      let student = try ModelFolder("\(folder)/run/student").load().model
      #expect(try tensor(student, "teacher_classifier.weight") == tensor(teacher, "classifier.weight"))
      let alone = try #require(try RunRecipe.jobs(in: "\(folder)/run", "alone").first)
      #expect(try ModelFolder("\(alone)/model").description().model.architecture == "convnet")
    }
  }

  @Test(
    "A start from a teacher that is still to be trained can be checked, with its cost",
    arguments: ["copy: [output, {student: hidden.1, teacher: hidden.3}]", "prune: l2"])
  func checked(start: String) throws {
    let hidden = start.hasPrefix("prune") ? "[4, 4, 4, 4]" : "[8, 8]"
    try RunRecipe.withFolder { folder in
      let made = try recipe("{model: {architecture: mlp, hidden: \(hidden)}, \(start)}")
      let found = Preflight.of(made, folder: "\(folder)/run")
      #expect(!found.hasProblems, "\(found.findings)")
      #expect(found.estimate != nil)
    }
  }

  @Test("Terms on numbered layers by a map are the terms on its pairs")
  func layerMaps() throws {
    let terms = { (layers: String) in "[{hints: {layers: \(layers)}}, soft_targets]" }
    let map = "{map: every 2, student: 'hidden.{}', teacher: 'hidden.{}'}"
    let pairs = "[{student: hidden.0, teacher: hidden.1}, {student: hidden.1, teacher: hidden.3}]"
    let student = "{model: {architecture: mlp, hidden: [4, 4]}}"
    let made = try recipe(student, terms: terms(map))
    #expect(try Configuration.parse(text: made.yaml) == made)
    try RunRecipe.withFolder { folder in
      let runs = try [map, pairs].enumerated().map { index, layers in
        try RunRecipe.run(try recipe(student, terms: terms(layers)), in: "\(folder)/\(index)").data
      }
      let scores = runs.map { $0.settings[0].arms[1].seeds[0].scores }
      #expect(scores[0] == scores[1])
      let wrong = try recipe(student, terms: terms("{map: every 3, student: 'hidden.{}', teacher: 'hidden.{}'}"))
      let error = #expect(throws: RunError.self) { try RunRecipe.run(wrong, in: "\(folder)/wrong") }
      #expect("\(error.map { "\($0)" } ?? "")".contains("hints.layers: every 3 layers of a teacher with 4"))
      #expect(
        Preflight.of(wrong, folder: "\(folder)/wrong").findings.contains {
          $0.mark == .problem && $0.text.contains("every 3 layers")
        })
    }
  }
}
