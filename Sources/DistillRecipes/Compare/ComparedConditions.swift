import DistillData
import Distillation
import Foundation

/// What has to be the same of all that is compared, so that a difference is that of the training.
struct ComparedConditions {
  /// A run as people know it.
  let name: String
  let data: Materials
  let dataSeed: UInt64
  /// The part of the labels that may be seen.
  let labels: Double
  /// Of the distilled student, with all that it goes through.
  let budget: (steps: Int, examples: Int)

  /// - Parameter name: of the run, and of the setting where there are several
  init(_ name: String, _ setting: RunPlan.Setting, _ materials: Materials) {
    self.name = name
    data = materials
    dataSeed = setting.configuration.dataSeed
    labels = setting.configuration.data.labels
    budget = setting.shown
  }

  /// Budgets that differ by no more than this are the same: the last batch of an epoch may be short.
  static let budgetTolerance = 0.05

  /// What of the data and its division is not as it is in another run; empty where all is.
  func differences(from other: Self) throws -> [String] {
    var found: [String] = []
    func add(_ what: String, _ own: String, _ others: String) {
      found.append("\(what): \(own) in '\(name)', \(others) in '\(other.name)'")
    }
    if try data.train.contentHash != other.data.train.contentHash {
      add("the training data", data.train.words, other.data.train.words)
    }
    if try data.test.contentHash != other.data.test.contentHash {
      add("the test data", data.test.words, other.data.test.words)
    }
    guard found.isEmpty else { return found }
    if data.split != other.data.split {
      let (own, others) = (data.split.validation.count, other.data.split.validation.count)
      add(
        "the division into training and validation examples (data.validation, and the first seed)",
        "\(Quantity.integer(own)) held out, seed \(dataSeed)",
        "\(Quantity.integer(others)) held out, seed \(other.dataSeed)")
    }
    if labels != other.labels {
      add("the labelled part (data.labels)", Quantity.plain(labels), Quantity.plain(other.labels))
    }
    return found
  }

  /// How the budget differs from that of another run; nil where it does not.
  func budgetDifference(from other: Self) -> String? {
    guard !Self.isSame(budget.examples, other.budget.examples) else { return nil }
    return "'\(name)' is shown \(Quantity.integer(budget.examples)) examples in \(counted(budget.steps, "step")), and "
      + "'\(other.name)' \(Quantity.integer(other.budget.examples)) in \(counted(other.budget.steps, "step"))"
  }

  private static func isSame(_ first: Int, _ second: Int) -> Bool {
    abs(Double(first - second)) <= budgetTolerance * Double(max(first, second))
  }
}

extension TrainingJob {
  /// The steps of the training, and the examples that it is shown, each as often as it is.
  var shown: (steps: Int, examples: Int) {
    (budget.steps, budget.steps * training.batchSize * training.accumulation)
  }
}

extension RunPlan.Setting {
  /// The steps and the examples of the distilled student of the first seed, over all stages that it goes through.
  var shown: (steps: Int, examples: Int) {
    guard let seed = configuration.seeds.first else { return (0, 0) }
    return lineage(seed: seed).map(\.shown).reduce((0, 0)) { ($0.0 + $1.steps, $0.1 + $1.examples) }
  }
}

extension Dataset {
  /// Such as `digits, 360 examples`.
  fileprivate var words: String { "\(name), \(counted(count, "example"))" }
}
