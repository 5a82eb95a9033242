import DistillData
import DistillModels
import DistillRuntime
import Distillation
import Foundation
import Testing
import TestSupport
import Torch
import TorchNN

@testable import DistillRecipes

@Suite("Teachers in recipes")
struct TeacherRecipeTests {
  private func text(_ teacher: String, terms: String = "[{soft_targets: {temperature: 2}}]", more: String = "")
    -> String
  {
    """
    name: small
    seeds: [1]
    threads: 1
    data: {dataset: digits, validation: 0.2}
    teacher: \(teacher)
    student: {model: {architecture: mlp, hidden: [4]}}
    terms: \(terms)
    training: {epochs: 1, batch_size: 128}
    \(more)
    """
  }

  private func recipe(_ teacher: String, terms: String = "[{soft_targets: {temperature: 2}}]") throws -> Configuration {
    try Configuration.parse(text: text(teacher, terms: terms))
  }

  /// Model folders `a`, `b` with all ten classes and `odd` with three outputs, each with random weights.
  private func withModels<Value>(_ body: (String) throws -> Value) throws -> Value {
    try RunRecipe.withFolder { folder in
      for (index, (name, classes)) in [("a", 10), ("b", 10), ("odd", 3)].enumerated() {
        let specification = ModelSpecification("mlp", ["hidden": [6]], inputShape: [1, 8, 8], classCount: classes)
        let model = try withRandomStream(try RandomStream(seed: UInt64(index + 1))) {
          try ModelZoo.make(specification)
        }
        let labels = (0..<classes).map { "\($0)" }
        try ModelFolder("\(folder)/\(name)").save(
          model, ModelFolder.Description(model: specification, labels: labels, normalization: nil), card: "")
      }
      return try body(folder)
    }
  }

  private func maker(_ recipe: Configuration, _ folder: String) throws -> (TeacherMaker, Materials) {
    let materials = try Materials(recipe.data, seed: recipe.dataSeed)
    let teacher = try #require(recipe.teacher)
    return (
      try TeacherMaker(teacher, folder: RunFolder("\(folder)/run"), materials: materials, device: .cpu), materials
    )
  }

  @Test(
    "Every kind of teacher reads as it was printed",
    arguments: [
      "{members: [{name: x, weights: a, weight: 2}, {weights: b, classes: ['0', null, '3']}], weighting: score}",
      "{members: [{weights: a}, {weights: b}], weighting: {confidence: {sharpness: 3}}, average: logits}",
      "{members: [{weights: a}, {weights: b}], weighting: {score: {power: 8}}, noise: {share: 1}}",
      "{weights: a, noise: {kind: additive, standard_deviation: 2}}", "{mean: {decay: 0.5, result: mean}}",
      "{mean: {}}",
      "{peers: [{}, {name: x, model: {architecture: mlp}, terms: [hard_labels]}, {weights: a}]}",
    ])
  func printing(_ teacher: String) throws {
    let made = try recipe(teacher)
    let again = try Configuration.parse(text: made.yaml)
    #expect(again == made)
    #expect(again.teacher == made.teacher)
  }

  @Test("What is wrong with a teacher is said")
  func problems() throws {
    let cases = [
      ("{mean: {}, peers: [{}]}", "teacher.peers and teacher.mean are both there"),
      ("{mean: {}, weights: a}", "teacher.weights and teacher.mean are both there"),
      ("{mean: {decay: 2}}", "teacher.mean.decay must be a number from 0 to 1"),
      ("{mean: {}, noise: {}}", "teacher.noise has no effect"),
      ("{peers: []}", "teacher.peers is empty"),
      ("{peers: [{name: student}]}", "cannot be called 'student'"),
      ("{peers: [{name: a}, {name: a}]}", "have the name 'a'"),
      ("{members: [{weights: a, name: '1'}, {weights: b}]}", "have the name '1'"),
      ("{members: [{weights: a, classes: [null]}]}", "names no class"),
      ("{members: [{weights: a}], weighting: best}", "must be fixed, score or confidence"),
      ("{members: [{weights: a}], weighting: {score: {}, confidence: {}}}", "must be one way to weigh"),
      ("{weights: a, noise: {share: 2}}", "teacher.noise.share must be a number from 0 to 1"),
    ]
    for (teacher, expected) in cases {
      let error = #expect(throws: RecipeError.self) { try recipe(teacher) }
      #expect("\(error.map { "\($0)" } ?? "")".contains(expected), "\(teacher): \(error.map { "\($0)" } ?? "")")
    }
    let choices = [
      (
        "{members: [{name: a, weights: a}, {weights: b}]}", "[{soft_targets: {teacher: c}}]",
        "no member 'c'; there are a, 1"
      ),
      ("{weights: a}", "[{soft_targets: {teacher: a}}]", "and there is one teacher"),
      ("{members: [{weights: a}, {weights: b}]}", "[soft_targets, {hard_labels: {teacher: '0'}}]", "has no effect"),
    ]
    for (teacher, terms, expected) in choices {
      let error = #expect(throws: RecipeError.self) { try recipe(teacher, terms: terms) }
      #expect("\(error.map { "\($0)" } ?? "")".contains(expected), "\(teacher): \(error.map { "\($0)" } ?? "")")
    }
    let patient = text("{peers: [{}]}").replacing("batch_size: 128}", with: "batch_size: 128, early_stop: 2}")
    #expect(throws: RecipeError.self) { try Configuration.parse(text: patient) }
  }

  @Test("Weights by score: the validation accuracies, raised to the power, times the members' own weights")
  func scores() throws {
    try withModels { folder in
      let members = "members: [{weights: \(folder)/a}, {weights: \(folder)/b, weight: 3}]"
      let (maker, materials) = try maker(try recipe("{\(members), weighting: {score: {power: 2}}}"), folder)
      let set = try materials.evaluationSet(
        materials.train, examples: materials.split.validation, device: .cpu, channelsLast: false)
      let accuracies = try maker.members.map { try set.score(try maker.makeModel($0)).accuracy }
      #expect(accuracies[0] != accuracies[1])
      let raw = zip(accuracies, [1.0, 3.0]).map { $0 * $0 * $1 }
      let teacher = try maker.makeTeacher()
      var options = DataLoaderOptions.plain(materials)
      options.batchSize = 4
      let batch = try DataLoaderOptions.batch(materials, options)
      let weights = try teacher.trace(batch).memberWeights
      for (weight, expected) in zip(weights, raw) { #expect(abs(weight - expected / (raw[0] + raw[1])) < 1e-9) }
    }
  }

  @Test("A member that knows some classes: by their names; what it says counts for these")
  func classes() throws {
    try withModels { folder in
      let names = try Materials(try recipe("{mean: {}}").data, seed: 1).train.classNames
      let odd = "{weights: \(folder)/odd, classes: ['\(names[7])', null, '\(names[2])']}"
      let (maker, materials) = try maker(try recipe("{members: [{weights: \(folder)/a}, \(odd)]}"), folder)
      #expect(maker.members[1].classes == [7, nil, 2])
      let trace = try maker.makeTeacher().trace(DataLoaderOptions.batch(materials, DataLoaderOptions.plain(materials)))
      #expect(trace.memberClasses[1]?.classes == [7, 2])
      #expect(throws: RunError.self) {
        try self.maker(try recipe("{members: [{weights: \(folder)/odd, classes: [a, b]}, {weights: x}]}"), folder)
      }
      let wrong = #expect(throws: RunError.self) {
        try self.maker(try recipe("{members: [{weights: \(folder)/odd, classes: [nine, null, null]}]}"), folder)
      }
      #expect("\(wrong.map { "\($0)" } ?? "")".contains("knows a class 'nine', which the data has not"))
      let without = #expect(throws: RunError.self) { try self.maker(try recipe("{weights: \(folder)/odd}"), folder) }
      #expect("\(without.map { "\($0)" } ?? "")".contains("by the class of each of its outputs"))
    }
  }

  @Test("An ensemble run: noise, a member chosen by a term, layers of a member; disagreement is reported")
  func ensemble() throws {
    try withModels { folder in
      let teacher =
        "{members: [{name: a, weights: \(folder)/a}, {name: b, weights: \(folder)/b}], weighting: confidence, "
        + "noise: {share: 1, standard_deviation: 0.5}}"
      let terms = "[{soft_targets: {teacher: b}}, {hints: {layers: [hidden.0], teacher: a}}]"
      let data = try RunRecipe.run(try recipe(teacher, terms: terms), in: "\(folder)/run").data
      let disagreement = try #require(data.teacher?.disagreement)
      #expect(disagreement.topOne > 0 && disagreement.jensenShannon > 0)
      let metrics = try MetricsFile(decoding: RunRecipe.read("\(folder)/run/metrics.json"))
      #expect(metrics.teacher?.disagreement?.topOne == disagreement.topOne)
      let preflight = Preflight.of(try recipe(teacher, terms: terms), folder: "\(folder)/other")
      // That they guess is found, and nothing else.
      #expect(preflight.findings.filter { $0.mark == .problem }.allSatisfy { $0.text.contains("guessing") })
      #expect(preflight.findings.contains { $0.text.contains("name different classes first for") })
      // A member's layer that is not there is told before the run.
      let missing = Preflight.of(
        try recipe(teacher, terms: "[{hints: {layers: [hidden.7], teacher: a}}]"), folder: "\(folder)/other")
      #expect(missing.findings.contains { $0.mark == .problem && $0.text.contains("hidden.7") })
    }
  }

  @Test("A mean teacher: the student or the mean is kept, and a run that is whole is not done again")
  func mean() throws {
    try RunRecipe.withFolder { folder in
      let terms = "[{soft_targets: {temperature: 1, weight: {from: 0, to: 1}}}, {hard_labels: {weight: 1}}]"
      let student = try RunRecipe.run(try recipe("{mean: {decay: 0.9}}", terms: terms), in: "\(folder)/s").data
      let mean = try RunRecipe.run(
        try recipe("{mean: {decay: 0.9, result: mean}}", terms: terms), in: "\(folder)/m"
      ).data
      #expect(student.teacher == nil)
      let scores = [student, mean].map { $0.settings[0].arms[1].seeds[0].scores.negativeLogLikelihood }
      #expect(scores[0] != scores[1])
      let before = try RunRecipe.contents(of: "\(folder)/m/jobs")
      try RunRecipe.run(try recipe("{mean: {decay: 0.9, result: mean}}", terms: terms), in: "\(folder)/m")
      #expect(try RunRecipe.contents(of: "\(folder)/m/jobs") == before)
    }
  }

  @Test("Peers: other architectures, objectives of their own; one alone that learns from labels is the joint training")
  func peers() throws {
    try RunRecipe.withFolder { folder in
      let terms = "[{soft_targets: {temperature: 1, teacher: large}}, hard_labels]"
      let peers =
        "{peers: [{name: large, model: {architecture: mlp, hidden: [32]}, terms: [hard_labels]}, {name: twin, terms: "
        + "[soft_targets, hard_labels]}]}"
      let made = try recipe(peers, terms: terms)
      let preflight = Preflight.of(made, folder: "\(folder)/other")
      #expect(!preflight.hasProblems, "\(preflight.findings.filter { $0.mark == .problem })")
      let data = try RunRecipe.run(made, in: "\(folder)/run").data
      #expect(data.settings[0].arms[1].seeds[0].curve.count == 1)
      #expect(
        data.settings[0].arms[1].seeds[0].curve[0].lossParts.map(\.name).sorted() == ["hard labels", "soft targets"])
    }
  }
}

/// Batches as the run shows them, without augmentation.
private enum DataLoaderOptions {
  static func plain(_ materials: Materials) -> DataLoader.Options {
    var options = DataLoader.Options(batchSize: 8)
    options.normalization = materials.normalization
    return options
  }

  static func batch(_ materials: Materials, _ options: DataLoader.Options) throws -> Batch {
    let loader = try DataLoader(
      dataset: materials.train, examples: Array(materials.split.train.prefix(options.batchSize)), options: options)
    return try loader.batch(ids: loader.examples)
  }
}
