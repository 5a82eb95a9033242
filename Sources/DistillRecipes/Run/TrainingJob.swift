import DistillData
import Distillation

/// One training of a run: of a setting and a seed the student alone, or a stage of the distilled one's; or the teacher's.
struct TrainingJob: Sendable {
  enum Arm: String, Codable, Sendable {
    case teacher
    /// Made of the teacher, for some classes.
    case specialist
    /// The student on the labels alone.
    case alone
    case distilled
  }

  var setting: String
  var arm: Arm
  var seed: Int
  /// The recipe as it is for the setting and the stage.
  var configuration: Configuration
  /// The training examples that it is shown.
  let examples: [Int]
  /// Those of them whose labels it may see.
  let labelled: [Int]
  var budget: Budget
  /// What it is a stage of; nil where there are no stages.
  var stage: StagePlace?
  /// The classes of a specialist, and where the teacher is that it is made of.
  var specialist: SpecialistSource?
  /// Whether it is one of many to choose among: nothing of it is ever scored on the test split.
  var isForChoosing = false
  /// A hash of all that the training depends on: the same only where all of it is the same.
  let identity: String

  init(
    setting: String, arm: Arm, seed: Int, configuration: Configuration, examples: [Int], labelled: [Int],
    budget: Budget, stage: StagePlace? = nil, specialist: SpecialistSource? = nil, dependencies: [String]
  ) throws {
    self.setting = setting
    self.arm = arm
    self.seed = seed
    self.configuration = configuration
    self.examples = examples
    self.labelled = labelled
    self.budget = budget
    self.stage = stage
    self.specialist = specialist
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

  /// The seed of the order, the dropout and the adapters: other ones in each stage.
  var streamSeed: UInt64 { randomSeed &+ UInt64(stage?.number ?? 0) << 32 }

  /// Whether its student is one of the run's results, to be tested: not one that another stage goes on with, nor one that
  /// others are to be chosen before.
  var isTested: Bool { !isForChoosing && arm != .specialist && stage?.isLast ?? true }

  /// By what the biases of classes that its student has not seen are corrected in the end.
  var correctBias: Configuration.BiasSource {
    switch arm {
    case .teacher, .specialist: .none
    case .alone: training.correctBias
    case .distilled: stage?.isGoneOnWith ?? false ? .none : training.correctBias
    }
  }

  /// A name for people.
  var name: String {
    if let specialist { return "specialist \(specialist.number)" }
    return [setting, arm.rawValue, "seed \(seed)", stage?.name ?? ""].filter { !$0.isEmpty }.joined(separator: ", ")
  }

  /// The name of the training's folder. Trainings that are the same share one.
  var folderName: String { "\(folderPrefix)\(identity.prefix(10))" }

  /// What the folders of this training begin with, whatever the recipe was.
  var folderPrefix: String {
    let stage = (stage?.number).flatMap { $0 > 0 ? "stage-\($0 + 1)-" : nil } ?? ""
    return "\(arm.rawValue)-seed-\(seed)-\(stage)"
  }

  /// What a teacher writes for it; nil where it is shown the data's own text.
  var teacherText: Configuration.WrittenText? { arm == .distilled ? configuration.data.teacherText : nil }

  /// The text that its student writes itself; nil where it writes none.
  var onPolicy: Configuration.OwnText? { arm == .distilled ? configuration.training.onPolicy : nil }

  /// The students that it trains together with its own; nil where there are none.
  var peers: [Configuration.Peer]? {
    guard arm == .distilled, let peers = configuration.teacher?.peers, !peers.isEmpty else { return nil }
    return peers
  }

  /// The mean of the student's past that teaches it.
  var mean: Configuration.MeanOfStudent? { arm == .distilled ? configuration.teacher?.mean : nil }

  var training: Configuration.Training {
    switch arm {
    case .distilled: configuration.training
    case .alone: configuration.alone
    case .teacher: configuration.teacher?.training ?? configuration.training
    case .specialist: configuration.teacher?.specialists?.training ?? configuration.training
    }
  }
}

/// Where a training stands among the stages of a student.
struct StagePlace: Sendable {
  var name: String
  var number: Int
  /// The one after which the student is done, and tested.
  var isLast: Bool
  /// Whether another stage goes on with its student.
  var isGoneOnWith = false
  /// The training whose student goes on here; nil where it begins.
  var before: TrainingReference?
  /// The trainings whose students teach here, by the names of their stages.
  var teachers: [String: TrainingReference]
  /// The stream of its random weights, where it begins.
  var initialization: String

  /// The trainings that must be done first.
  var needs: [String] { ([before].compactMap(\.self) + teachers.values).map(\.identity) }
}

/// Another training that one builds on.
struct TrainingReference: Sendable {
  var identity: String
  var folderName: String

  init(_ job: TrainingJob) {
    identity = job.identity
    folderName = job.folderName
  }
}

/// What came out of a training: the file `result.json`.
struct TrainingResult: Codable, Sendable {
  var identity: String
  var outcome: Outcome
  /// On the test split, looked at once; nil where another stage follows.
  var test: Metrics?
  /// Of the examples whose labels it was shown; nil where it has no test score either, and of texts.
  var trainingAccuracy: Double?
  /// The identity of the teacher whose agreement and divergence are in `test`; nil: there was none.
  var besideTeacher: String?
  /// What was done to its biases; nil: nothing.
  var correctedBias: CorrectedBias?
  var seconds: Double
  /// Of the steps since it began, or last went on; nil where none was left.
  var secondsPerStep: Double?
  /// What it scored where it is known: on the test split, otherwise on the validation split.
  var score: RunEvent.Score {
    test.map { .test($0.accuracy) } ?? outcome.validation.map { .validation($0.accuracy) } ?? .none
  }

  /// A hash over each of the files that the training left, by its name in the training's folder.
  var files: [String: String]
}
