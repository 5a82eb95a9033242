import Foundation
import Testing

@testable import DistillRecipes
@testable import Distillation

@Suite("The parts of a run")
struct RunPartsTests {
  private func training(_ text: String) throws -> Configuration.Training {
    try RunRecipe.configuration(training: text).training
  }

  @Test(
    "So many rounds at the most, however many epochs", arguments: [(1, 1), (100, 1), (101, 2), (250, 3), (1000, 10)])
  func rounds(epochs: Int, perRound: Int) throws {
    let budget = Budget(try training("{epochs: \(epochs), batch_size: 10}"), exampleCount: 95)
    #expect(budget.stepsPerEpoch == 10)
    #expect(budget.steps == 10 * epochs)
    #expect(budget.stepsPerRound == 10 * perRound)
    #expect(epochs / perRound <= Budget.mostRounds)
  }

  @Test("Steps instead of epochs; a step of several batches")
  func steps() throws {
    let budget = Budget(try training("{steps: 25, batch_size: 10, accumulation: 2}"), exampleCount: 95)
    #expect(budget == Budget(try training("{steps: 25, batch_size: 20}"), exampleCount: 95))
    #expect(budget.steps == 25 && budget.stepsPerEpoch == 5 && budget.stepsPerRound == 5)
  }

  @Test("The training accuracy is the model's on the examples whose labels it was shown")
  func trainingAccuracy() throws {
    try RunRecipe.withRun { run in
      let metrics = try MetricsFile(decoding: RunRecipe.read("\(run)/metrics.json"))
      let seed = try #require(metrics.settings.first?.arms.first { $0.name == "distilled" }?.seeds.first)
      let own = try #require(try ModelEvaluation(model: run, on: DataChoice(split: .train)).scores.accuracy)
      let accuracy = try #require(seed.trainingAccuracy)
      #expect(abs(accuracy - own) < 1e-12)
      #expect(accuracy != seed.scores.accuracy && accuracy != seed.validationAccuracy)
    }
  }

  /// A recipe counts in epochs, the trainer in rounds: patience is never shorter than what the recipe says.
  @Test("Early stop is counted in epochs", arguments: [(50, 7, 7), (250, 6, 2), (250, 7, 3), (1000, 1, 1)])
  func earlyStop(epochs: Int, patience: Int, rounds: Int) throws {
    let training = try training("{epochs: \(epochs), batch_size: 10, early_stop: \(patience)}")
    let budget = Budget(training, exampleCount: 95)
    let options = training.trainerOptions(budget, seed: 1)
    #expect(options.earlyStop == rounds)
    #expect(rounds * budget.stepsPerRound >= patience * budget.stepsPerEpoch)
  }

  @Test("A checkpoint every epoch, also where a round is longer, or every so many steps")
  func checkpoints() throws {
    let every = try training("{epochs: 250, batch_size: 10}")
    let budget = Budget(every, exampleCount: 95)
    #expect(budget.stepsPerRound == 30)
    #expect(every.trainerOptions(budget, seed: 1).checkpointInterval == 10)
    let seven = try training("{epochs: 250, batch_size: 10, checkpoint_every: 7 steps}")
    #expect(seven.trainerOptions(budget, seed: 1).checkpointInterval == 7)
  }

  private func plan(_ settings: String) throws -> RunPlan {
    let recipe = try Configuration.parse(text: RunRecipe.text(more: "settings:\n\(settings)"))
    let materials = try Materials(recipe.data, seed: recipe.dataSeed)
    return try RunPlan(recipe, materials: materials, teacherHashes: ["t"])
  }

  @Test("Settings that differ in the training alone do not share it; those that are the same do")
  func identities() throws {
    let different = try plan(
      """
        - {name: a, set: {training.optimizer.learning_rate: 0.1}}
        - {name: b, set: {training.optimizer.learning_rate: 0.01}}
      """)
    #expect(different.settings.count == 2)
    #expect(different.jobs.count == 4)
    #expect(Set(different.jobs.filter { $0.arm == .alone }.map(\.identity)).count == 2)
    let terms = try plan(
      """
        - {name: a, set: {terms: [{soft_targets: {temperature: 2}}]}}
        - {name: b, set: {terms: [{soft_targets: {temperature: 4}}]}}
      """)
    #expect(terms.jobs.filter { $0.arm == .alone }.count == 1)
    #expect(terms.jobs.filter { $0.arm == .distilled }.count == 2)
    #expect(terms.settings[0].jobs[0].identity == terms.settings[1].jobs[0].identity)
    let labels = try plan("  - {name: a, set: {data.labels: 0.5}}\n  - {name: b, set: {data.labels: 1}}")
    #expect(labels.jobs.count == 4)
  }

  @Test("Which trainings an altered recipe makes out of date")
  func outdated() throws {
    let plan = try plan("  - {name: a, set: {training.epochs: 1}}")
    let (alone, distilled) = (plan.jobs[0].folderName, plan.jobs[1].folderName)
    #expect(plan.jobs(outdatedIn: []).isEmpty)
    #expect(plan.jobs(outdatedIn: [alone, distilled]).isEmpty)
    #expect(plan.jobs(outdatedIn: [alone, "distilled-seed-1-0123456789"]).map(\.folderName) == [distilled])
    #expect(plan.jobs(outdatedIn: [alone, "distilled-seed-2-0123456789"]).isEmpty)
  }

  private func round(_ number: Int) -> Event.Round {
    Event.Round(
      round: number, step: 10 * number, epoch: Double(number), learningRate: 0.1, loss: 1, parts: ["hard labels": 1],
      validation: nil, isBest: true)
  }

  @Test("The log of a training: cut back, and with a last line that was torn")
  func eventLog() throws {
    try RunRecipe.withFolder { folder in
      let log = EventLog(path: "\(folder)/events.jsonl")
      #expect(log.rounds().isEmpty)
      for number in 1...4 { try log.append(round(number)) }
      #expect(log.rounds() == (1...4).map(round))
      try log.cut(after: 25)
      #expect(log.rounds() == [round(1), round(2)])
      let whole = try RunRecipe.read("\(folder)/events.jsonl")
      #expect(whole.split(separator: UInt8(ascii: "\n")).count == 2 && whole.last == UInt8(ascii: "\n"))
      // The process was killed in the middle of a line.
      try whole.dropLast(20).write(to: URL(fileURLWithPath: "\(folder)/events.jsonl"))
      #expect(log.rounds() == [round(1)])
      // What a restart does: the rest of the line goes, so that the next one begins on its own.
      try log.cut(after: 20)
      try log.append(round(2))
      #expect(log.rounds() == [round(1), round(2)])
      #expect(try RunRecipe.read("\(folder)/events.jsonl") == whole)
      let error = try #require(throws: (any Error).self) { try EventLog(path: "\(folder)/no/log").append(round(1)) }
      #expect("\(error)".contains("there is no folder"))
    }
  }

  @Test("Numbers that are not finite survive files, dates have one form, lines are lines")
  func json() throws {
    struct Sample: Codable, Equatable {
      var date = Date(timeIntervalSince1970: 1_700_000_000)
      var someValue = -Double.infinity
      var path = "a/b"
    }
    let line = String(decoding: try ResultJSON.line(Sample()), as: UTF8.self)
    #expect(line == #"{"date":"2023-11-14T22:13:20Z","path":"a/b","someValue":"-Infinity"}"# + "\n")
    let pretty = try ResultJSON.pretty(Sample())
    #expect(pretty.split(separator: UInt8(ascii: "\n")).count == 5)
    #expect(try ResultJSON.decode(pretty) == Sample())
    #expect(String(decoding: try ResultJSON.encode(Sample()), as: UTF8.self).contains("\"some_value\""))
  }
}
