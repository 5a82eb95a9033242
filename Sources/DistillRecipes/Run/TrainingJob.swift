import DistillData
import Distillation

/// One training of a run: an arm of a setting with a seed, or the teacher's.
struct TrainingJob: Sendable {
  enum Arm: String, Codable, Sendable {
    case teacher
    /// The student on the labels alone.
    case alone
    case distilled
  }

  var setting: String
  var arm: Arm
  var seed: Int
  /// The recipe as it is for the setting.
  var configuration: Configuration
  /// The training examples that it is shown.
  let examples: [Int]
  /// Those of them whose labels it may see.
  let labelled: [Int]
  var budget: Budget
  /// A hash of all that the training depends on: the same only where all of it is the same.
  let identity: String

  init(
    setting: String, arm: Arm, seed: Int, configuration: Configuration, examples: [Int], labelled: [Int],
    budget: Budget, dependencies: [String]
  ) throws {
    self.setting = setting
    self.arm = arm
    self.seed = seed
    self.configuration = configuration
    self.examples = examples
    self.labelled = labelled
    self.budget = budget
    identity = try SHA256.hex(of: dependencies.joined(separator: "\n"))
  }

  /// The training of a recipe's teacher.
  init(teacherOf configuration: Configuration, materials: Materials) throws {
    let examples = materials.split.train
    try self.init(
      setting: "", arm: .teacher, seed: configuration.seeds.first ?? 0, configuration: configuration,
      examples: examples, labelled: examples,
      budget: Budget(configuration.teacher?.training ?? configuration.training, exampleCount: examples.count),
      dependencies: [
        configuration.identity(of: [.data, .teacher]), "\(configuration.dataSeed)", materials.train.contentHash,
      ])
  }

  /// The seed of all that is random in it.
  var randomSeed: UInt64 { UInt64(bitPattern: Int64(seed)) }

  /// A name for people.
  var name: String { [setting, arm.rawValue, "seed \(seed)"].filter { !$0.isEmpty }.joined(separator: ", ") }

  /// The name of the training's folder. Trainings that are the same share one.
  var folderName: String { "\(arm.rawValue)-seed-\(seed)-\(identity.prefix(10))" }

  var training: Configuration.Training {
    switch arm {
    case .distilled: configuration.training
    case .alone: configuration.alone
    case .teacher: configuration.teacher?.training ?? configuration.training
    }
  }
}

/// What came out of a training: the file `result.json`.
struct TrainingResult: Codable, Sendable {
  var identity: String
  var outcome: Outcome
  /// On the test split, looked at once.
  var test: Metrics
  var seconds: Double
  /// Of the steps since it began, or last went on; nil where none was left.
  var secondsPerStep: Double?
  /// A hash over each of the files that the training left, by its name in the training's folder.
  var files: [String: String]
}
