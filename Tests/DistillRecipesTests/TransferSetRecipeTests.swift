import DistillData
import Distillation
import Foundation
import Testing
import Torch

@testable import DistillRecipes

/// The section `data` of a recipe, as far as it says what a student is distilled on.
@Suite("Transfer sets in recipes")
struct TransferSetRecipeTests {
  private func text(
    _ data: String, dataset: String = "digits", training: String = "epochs: 1", seeds: String = "[1]",
    compare: Bool = true, more: String = ""
  ) -> String {
    """
    name: small
    seeds: \(seeds)
    threads: 1
    compare: \(compare)
    data: {dataset: \(dataset), validation: 0.2\(data.isEmpty ? "" : ", ")\(data)}
    teacher: {model: {architecture: mlp, hidden: [16]}, training: {epochs: 3, batch_size: 32}}
    student: {model: {architecture: mlp, hidden: [8]}}
    terms: [{soft_targets: {temperature: 2}}]
    training: {batch_size: 64, \(training)}
    \(more)
    """
  }

  private func recipe(
    _ data: String, dataset: String = "digits", training: String = "epochs: 1", seeds: String = "[1]",
    compare: Bool = true, more: String = ""
  ) throws -> Configuration {
    try Configuration.parse(
      text: text(data, dataset: dataset, training: training, seeds: seeds, compare: compare, more: more))
  }

  private func plan(_ recipe: Configuration) throws -> (RunPlan, Materials) {
    let materials = try Materials(recipe)
    return (try RunPlan(recipe, materials: materials, teacherHashes: []), materials)
  }

  private func message(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "nothing was thrown"
    } catch { return "\(error)" }
  }

  /// A folder with a table of two classes, and `more.csv` beside it.
  private func withTable<Value>(_ body: (String) throws -> Value) throws -> Value {
    try RunRecipe.withFolder { folder in
      func rows(_ count: Int, from start: Int, hasClass: Bool) -> String {
        (start..<start + count).map { index in
          let x = Double((index * 37) % 101) / 100
          let y = Double((index * 53) % 103) / 100
          return "\(x),\(y),\(index % 3)" + (hasClass ? "," + (x + y > 1 ? "high" : "low") : "")
        }.joined(separator: "\n")
      }
      try RunRecipe.write("x,y,colour,class\n" + rows(60, from: 0, hasClass: true), to: "\(folder)/table/train.csv")
      try RunRecipe.write("x,y,colour,class\n" + rows(30, from: 60, hasClass: true), to: "\(folder)/table/test.csv")
      try RunRecipe.write("x,y,colour\n" + rows(20, from: 90, hasClass: false), to: "\(folder)/more.csv")
      try RunRecipe.write("x,y,colour,class\n" + rows(20, from: 110, hasClass: true), to: "\(folder)/labelled.csv")
      return try body(folder)
    }
  }

  // MARK: Reading

  @Test(
    "Every key reads as it was printed, in stages too",
    arguments: [
      "fraction: 0.5, fractions: {'1': 0.2, '7': 0}, leave_out: ['3']",
      "leave_out: 3, augmentation: [{shift: 1}], teacher_view: plain",
      "also: [{dataset: mnist, labels: by_name, examples: 100}, {path: pictures}, {path: a.csv, label_column: c}]",
    ])
  func printing(_ data: String) throws {
    let more = """
      stages:
        - {name: first, data: {leave_out: ['5']}}
        - {name: second, data: {fraction: 1, fractions: {}, leave_out: [], also: [], teacher_view: same}}
      """
    for more in ["", more] {
      let made = try recipe(data, training: "epochs: 1, correct_bias: labels", more: more)
      let again = try Configuration.parse(text: made.yaml)
      #expect(again == made)
      #expect(again.data == made.data && again.training == made.training && again.alone == made.alone)
      #expect(again.stages.map(\.configuration.data) == made.stages.map(\.configuration.data))
      #expect(again.stages.map(\.configuration.training) == made.stages.map(\.configuration.training))
    }
  }

  @Test("MUNGE and the correction read as they were printed; the student alone takes over what it can")
  func printingOfOthers() throws {
    let munge = "path: x, munge: {factor: 3, swap_probability: 0.1, local_variance: 2.5, nominal: [colour, 2]}"
    let made = try recipe(munge, dataset: "csv", training: "epochs: 1, correct_bias: prior")
    #expect(try Configuration.parse(text: made.yaml) == made)
    #expect(made.data.munge?.nominal == ["colour", "2"])
    #expect(made.training.correctBias == .prior && made.alone.correctBias == .none)
    let labels = try recipe("leave_out: ['3']", training: "epochs: 1, correct_bias: labels")
    #expect(
      labels.alone.correctBias == .labels && labels.teacher?.training?.correctBias == Configuration.BiasSource.none)
    let without = try recipe(
      "leave_out: ['3']", training: "epochs: 1, correct_bias: labels", more: "alone: {correct_bias: none}")
    #expect(without.alone.correctBias == .none)
    #expect(try Configuration.parse(text: without.yaml).alone == without.alone)
    // A stage takes it back.
    let stages = try recipe(
      "leave_out: ['3']", training: "epochs: 1, correct_bias: labels",
      more: "stages: [{name: a, training: {correct_bias: none}}, {name: b}]")
    #expect(
      try Configuration.parse(text: stages.yaml).stages.map(\.configuration.training.correctBias) == [.none, .labels])
  }

  @Test("What is wrong with a transfer set is said")
  func problems() {
    let cases = [
      ("fraction: 0", "data.fraction must be a number above 0"),
      ("fractions: {'1': 2}", "data.fractions.1 must be a number from 0 to 1"),
      ("fractions: [1]", "data.fractions must be a map"),
      ("fractions: {'3': 1}, leave_out: ['3']", "both name '3'"),
      ("leave_out: ['3', '3']", "names '3' twice"),
      ("also: [{}]", "says neither dataset nor path"),
      ("also: [{dataset: digits}]", "is the recipe's own data set"),
      ("also: [{dataset: mnits}]", "did you mean 'mnist'?"),
      ("also: [{dataset: csv}]", "data.also[0].path is missing"),
      ("also: [{dataset: mnist, label_column: c}]", "data.also[0].label_column is for CSV files"),
      ("also: [{path: x, labels: all}]", "must be by_name or unused"),
      ("also: [{path: x, examples: 0}]", "data.also[0].examples must be a whole number"),
      ("munge: {}", "data.munge is for the dataset 'csv', not 'digits'"),
      ("teacher_view: none", "data.teacher_view must be same, plain or other"),
    ]
    for (data, expected) in cases {
      let said = message { _ = try recipe(data) }
      #expect(said.contains(expected), "\(data): \(said)")
    }
    let ofText = message {
      _ = try recipe("path: x, leave_out: [a]", dataset: "text")
    }
    #expect(ofText.contains("data.leave_out is for data with classes"), "\(ofText)")
    let trainings = [
      ("correct_bias: prior", "teacher: {mean: {}}", "no teacher is there before the training"),
      ("correct_bias: best", "", "must be none, labels or prior"),
    ]
    for (training, teacher, expected) in trainings {
      var text = text("leave_out: ['3']", training: "epochs: 1, \(training)")
      if !teacher.isEmpty { text = text.replacing(/teacher: \{model.*/, with: teacher) }
      let said = message { _ = try Configuration.parse(text: text) }
      #expect(said.contains(expected), "\(training): \(said)")
    }
    let alone = message {
      _ = try recipe("leave_out: ['3']", more: "alone: {correct_bias: prior}")
    }
    #expect(alone.contains("the student alone has no teacher whose prediction"))
    let teacher = message {
      _ = try Configuration.parse(
        text: text("leave_out: ['3']").replacing("{epochs: 3,", with: "{epochs: 3, correct_bias: labels,"))
    }
    #expect(teacher.contains("a teacher sees all classes"))
    let without = message {
      _ = try Configuration.parse(
        text: text("leave_out: ['3']", training: "epochs: 1, correct_bias: labels")
          .replacing("validation: 0.2", with: "validation: 0"))
    }
    #expect(without.contains("training.correct_bias needs validation examples"))
  }

  @Test("What only the data knows: classes, columns, sets that do not fit, nothing left")
  func problemsOfData() throws {
    let digits = (0...9).map { "'\($0)'" }.joined(separator: ", ")
    let cases = [
      ("leave_out: [three]", "data.leave_out names 'three', which is no class of digits"),
      ("fractions: {'33': 0.5}", "did you mean '3'?"),
      ("leave_out: [\(digits)]", "data.leave_out leaves no class to train on"),
      ("also: [{path: /nowhere}]", "data.also: "),
    ]
    for (data, expected) in cases {
      let said = message {
        let (recipe, materials) = (try recipe(data), try Materials(try recipe(data)))
        _ = try materials.examples(recipe.data, seed: 1)
      }
      #expect(said.contains(expected), "\(data): \(said)")
    }
    try withTable { folder in
      let table = "path: \(folder)/table"
      let wrong = message {
        _ = try Materials(try recipe("\(table), munge: {nominal: [color]}", dataset: "csv"))
      }
      #expect(wrong.contains("no input column 'color'; did you mean 'colour'?"), "\(wrong)")
      let other = message { _ = try Materials(try recipe("also: [{path: \(folder)/more.csv}]")) }
      #expect(other.contains("cannot be put beside those of digits"), "\(other)")
      let own = message {
        _ = try Materials(
          try recipe("\(table), also: [{path: \(folder)/table/train.csv, labels: by_name}]", dataset: "csv"))
      }
      #expect(own.contains("is the recipe's own data set"), "\(own)")
    }
  }

  // MARK: What is shown

  @Test("Left-out classes and fractions hold for both students; the division and the teacher stay as they are")
  func choice() throws {
    let made = try recipe("leave_out: ['3'], fractions: {'1': 0.5}, labels: 0.5", seeds: "[1, 2]")
    let (plan, materials) = try plan(made)
    let (plain, all) = try self.plan(try recipe(""))
    #expect(materials.split == all.split)
    #expect(plain.jobs.count == 2)
    func count(_ label: Int, _ examples: [Int]) -> Int { examples.count { materials.train.label(at: $0) == label } }
    for job in plan.jobs {
      #expect(count(3, job.examples) == 0)
      #expect(Set(job.examples).isSubset(of: materials.split.train))
    }
    let distilled = plan.jobs.filter { $0.arm == .distilled }
    #expect(distilled[0].examples == distilled[1].examples)
    #expect(count(1, distilled[0].examples) == Int((Double(count(1, materials.split.train)) / 2).rounded()))
    #expect(count(5, distilled[0].examples) == count(5, materials.split.train))
    let alone = plan.jobs.filter { $0.arm == .alone }
    #expect(alone[0].examples == distilled[0].labelled && alone[0].examples != alone[1].examples)
    #expect(alone[0].budget == distilled[0].budget)
    let teacher = try TrainingJob(teacherOf: made, materials: materials)
    #expect(teacher.examples == materials.split.train)
  }

  @Test("Parts of all stages and settings are joined once; each stage shows its own, by the same numbers")
  func joined() throws {
    try withTable { folder in
      let made = try recipe(
        "path: \(folder)/table", dataset: "csv", seeds: "[1, 2]",
        more: """
          stages:
            - {name: far, data: {also: [{path: \(folder)/more.csv}]}}
            - {name: near, data: {also: [{path: \(folder)/more.csv}, {path: \(folder)/labelled.csv, labels: by_name}]}}
            - {name: own, data: {munge: {factor: 2, nominal: [colour]}}}
          """)
      let (plan, materials) = try plan(made)
      let rows = materials.split.train.count
      #expect(materials.parts.map(\.range) == [60..<80, 80..<100, 100..<100 + 2 * rows])
      #expect(materials.joined.count == 100 + 2 * rows)
      let stages = plan.jobs.filter { $0.arm == .distilled && $0.seed == 1 }
      #expect(stages.map { Set($0.examples).subtracting(materials.split.train).count } == [20, 40, 2 * rows])
      #expect(stages[0].labelled == materials.split.train)
      #expect(stages[1].labelled == materials.split.train + Array(80..<100))
      #expect(stages[2].labelled == materials.split.train)
      // The recipe's own data has none of them: the student alone keeps to it.
      let alone = try #require(plan.jobs.first { $0.arm == .alone })
      #expect(alone.examples == materials.split.train)
      // Labels that may be seen are the student's alone too.
      let labelled = try recipe(
        "path: \(folder)/table, also: [{path: \(folder)/labelled.csv, labels: by_name}, {path: \(folder)/more.csv}]",
        dataset: "csv")
      let (other, beside) = try self.plan(labelled)
      #expect(try #require(other.jobs.first { $0.arm == .alone }).examples.count == rows + 20)
      #expect(beside.joined.label(at: 60) >= 0 && beside.joined.label(at: 80) == -1)
    }
  }

  @Test("A text beside a text is read by the vocabulary of the first")
  func texts() throws {
    try RunRecipe.withFolder { folder in
      let first = (0..<40).map { "abc abd acd bcd \($0 % 4) " }.joined()
      try RunRecipe.write(first, to: "\(folder)/first.txt")
      try RunRecipe.write(String(first.reversed()), to: "\(folder)/second.txt")
      let made = try Configuration.parse(
        text: """
          seeds: [1]
          data: {dataset: text, path: \(folder)/first.txt, unit: characters, length: 8, also: [{path: \(folder)/second.txt}]}
          student: {model: {architecture: decoder, width: 8, depth: 1, heads: 2}}
          teacher: {model: {architecture: decoder, width: 8, depth: 1, heads: 2}, training: {epochs: 1}}
          training: {epochs: 1}
          """)
      let (plan, materials) = try plan(made)
      #expect(materials.parts.count == 1 && materials.parts[0].range.count > 10)
      let distilled = try #require(plan.jobs.first { $0.arm == .distilled })
      #expect(distilled.examples.count == materials.split.train.count + materials.parts[0].range.count)
    }
  }

  @Test("MUNGE makes rows of what the transfer set shows: of the labelled ones alone, for each seed its own")
  func munge() throws {
    try withTable { folder in
      let data = "path: \(folder)/table, munge: {factor: 3, nominal: [colour]}"
      let (_, all) = try plan(try recipe(data, dataset: "csv", seeds: "[1, 2]"))
      #expect(all.parts.map(\.range.count) == [3 * all.split.train.count])
      let few = try recipe(data + ", labels: 0.25, transfer: labelled", dataset: "csv", seeds: "[1, 2]")
      let (plan, materials) = try plan(few)
      #expect(materials.parts.count == 2)
      let jobs = plan.jobs.filter { $0.arm == .distilled }
      for job in jobs { #expect(job.examples.count == job.labelled.count * 4) }
      #expect(Set(jobs[0].examples).isDisjoint(with: Set(jobs[1].examples).subtracting(materials.split.train)))
      // A nominal column keeps to the numbers that were there.
      let colours = try Set(materials.parts[0].range.map { try materials.joined.values(at: $0)[2] })
      #expect(colours.isSubset(of: [0, 1, 2]))
      #expect(throws: RunError.self) {
        let one = try recipe("path: \(folder)/table, munge: {}, labels: 0.02, transfer: labelled", dataset: "csv")
        _ = try Materials(one)
      }
    }
  }

  // MARK: Identities

  @Test("What changes the transfer set changes the distilled student's identity; the student alone keeps its own")
  func identities() throws {
    try withTable { folder in
      func identities(_ data: String, training: String = "epochs: 1") throws -> (alone: String, distilled: String) {
        let made = try recipe("path: \(folder)/table" + data, dataset: "csv", training: training)
        let jobs = try plan(made).0.jobs
        return (
          try #require(jobs.first { $0.arm == .alone }).identity,
          try #require(jobs.first { $0.arm == .distilled }).identity
        )
      }
      // The same number of steps, so that the budget is no difference.
      let steps = "steps: 10"
      let plain = try identities("", training: steps)
      let more = try identities(", also: [{path: \(folder)/more.csv}]", training: steps)
      let munge = try identities(", munge: {factor: 2}", training: steps)
      let view = try identities(", teacher_view: plain, augmentation: [{mixup: 1}]", training: steps)
      let same = try identities(", augmentation: [{mixup: 1}]", training: steps)
      #expect(Set([plain, more, munge, view, same].map(\.distilled)).count == 5)
      #expect(view.alone == same.alone)
      let labelled = try identities(", also: [{path: \(folder)/labelled.csv, labels: by_name}]", training: steps)
      #expect(labelled.alone != plain.alone)
      let left = try identities(", leave_out: [low]", training: steps)
      #expect(left.alone != plain.alone && left.distilled != plain.distilled)
      let corrected = try identities(", leave_out: [low]", training: "\(steps), correct_bias: labels")
      #expect(corrected.alone != left.alone && corrected.distilled != left.distilled)
      // What is in a file counts, not where it is.
      let path = "\(folder)/other.csv"
      try FileManager.default.copyItem(atPath: "\(folder)/more.csv", toPath: path)
      #expect(try identities(", also: [{path: \(path)}]", training: steps).distilled == more.distilled)
      try RunRecipe.write("x,y,colour\n1,1,1\n0,0,1", to: path)
      #expect(try identities(", also: [{path: \(path)}]", training: steps).distilled != more.distilled)
    }
  }

  @Test("Files in data.also are inputs: named by their keys, and in full in the run's recipe")
  func files() throws {
    let made = try recipe(
      "also: [{dataset: fashion-mnist}, {path: pictures}]", more: "settings: [{name: a, set: {data.also: [{path: b}]}}]"
    )
    #expect(made.files.map(\.key) == ["data.also[1].path"])
    let base = FileManager.default.currentDirectoryPath
    let yaml = made.yamlWithAbsoluteFiles
    for path in ["pictures", "b", FashionMNIST.defaultFolder] { #expect(yaml.contains("\(base)/\(path)"), "\(path)") }
    let again = try Configuration.parse(text: yaml)
    #expect(again.data.also[0].path == "\(base)/\(FashionMNIST.defaultFolder)")
    #expect(try made.identity(of: [.data]) == again.identity(of: [.data]))
  }
}
