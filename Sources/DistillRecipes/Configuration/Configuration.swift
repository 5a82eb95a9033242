import DistillData
import DistillModels
import DistillPrograms
import Distillation

/// A recipe: what is to be distilled from what, on which data, and how. Read from YAML, checked, with every default
/// filled in.
public struct Configuration: Sendable, Equatable {
  /// A word for the run; the recipe's file name if not given.
  public var name: String
  public var description: String?
  /// One comparison is run for each; their spread gives the interval.
  public var seeds: [Int]
  /// `cpu`, `cuda`, `cuda:1` or `mps`.
  public var device: String
  /// Of each job; nil leaves the choice to the program.
  public var threads: Int?
  /// Jobs that run at the same time.
  public var parallel: Int
  /// The run folder; nil for `runs/` and the name: see `outputFolder`.
  public var output: String?
  /// Whether the same student is also trained alone, on the same budget.
  public var compare: Bool
  public var data: Data
  public var teacher: Teacher?
  public var student: Student
  /// What the student is trained to do.
  public var terms: [Term]
  /// α of the weighted average α · soft + (1 − α) · hard, where the recipe gives that instead of weights. The terms'
  /// weights are set from it.
  public var alpha: Double?
  /// How the student is trained.
  public var training: Training
  /// How the same student is trained alone: as `training`, but for what the recipe says otherwise.
  public var alone: Training
  /// What is done one after the other; empty where it is all one. See `sequence`.
  public var stages: [Stage]
  /// Named variants; empty for one run of the recipe as it is.
  public var settings: [Setting]
  /// What is not wrong, but worth a second look.
  public var warnings: [RecipeError.Problem]
  /// The tree this was read from, for the settings.
  var tree: RecipeNode
  /// What a run chose where the recipe leaves it open; for the settings too.
  var chosen: ChosenPrecisions?

  /// Equal when all that a run depends on is equal.
  public static func == (first: Configuration, second: Configuration) -> Bool { first.node == second.node }
}

// MARK: - Data

extension Configuration {
  /// Where the examples come from, and what is done to them.
  public struct Data: Sendable, Equatable {
    /// A name from the catalog, among them the kinds of one's own files: `idx`, `csv`, `folder`.
    public var dataset: String
    public var path: String?
    /// The side of the square that pictures in a folder are brought to; nil when all have one size.
    public var imageSize: Int?
    /// How pictures in a folder are brought to it; nil: by the mean of areas, without regard to proportions.
    public var fit: PictureFit?
    /// Of pictures in a folder: 1 for grey, 3 for colour.
    public var channels: Int
    /// The column of a file that holds the class.
    public var labelColumn: String?
    /// What is held out of the training examples to choose by, class by class in proportion.
    public var validation: Amount
    /// The part of the training examples whose labels may be seen, class by class in proportion.
    public var labels: Double
    public var transfer: Transfer
    /// The part of the training examples that there is, class by class: of each class that `fractions` does not name.
    public var fraction: Double
    /// The part of the training examples of a class, by the class's name.
    public var fractions: [String: Double]
    /// The names of classes that neither the distilled student nor the student alone sees an example of.
    public var leaveOut: [String]
    /// Other examples that the student is distilled on.
    public var also: [Addition]
    /// Rows that are made up of those of a table.
    public var munge: Munge?
    /// What the teacher sees of an example that the student sees augmented.
    public var teacherView: TeacherView
    /// How a text is read; nil for data that is none.
    public var text: TextForm?
    /// How texts with a class for each are read; nil for other data.
    public var labelledText: LabelledTextForm?
    /// The part for testing, where the files do not say which it is.
    public var testFraction: Double
    /// What the teacher writes for the student to be distilled on; nil: the data's own examples are shown.
    public var teacherText: WrittenText?
    public var normalize: Normalization
    public var augmentation: [Augmentation]
    /// K fixed augmented views of each example, labelled once by the teacher; nil for a new one every time.
    public var views: Int?
  }

  /// A number of examples, as a fraction of all or as it is.
  public enum Amount: Sendable, Equatable {
    case fraction(Double)
    case count(Int)

    public var isNone: Bool { self == .fraction(0) || self == .count(0) }

    /// How many of `total` examples.
    public func count(of total: Int) -> Int {
      switch self {
      case .fraction(let fraction): Int((Double(total) * fraction).rounded())
      case .count(let count): min(count, total)
      }
    }
  }

  /// The examples that the student is distilled on.
  public enum Transfer: String, Sendable, Codable, CaseIterable {
    /// All training examples, with label or without.
    case all
    /// Only those with a label.
    case labelled
  }

  /// Other examples: those of a data set of the catalog, or of a folder of pictures or a table.
  public struct Addition: Sendable, Equatable {
    /// A name from the catalog, whose training examples these are.
    public var dataset: String?
    /// Where they are; without `dataset` a folder of pictures, in whatever folders, or a CSV file.
    public var path: String?
    /// Of a CSV file: the column that holds the class.
    public var labelColumn: String?
    public var labels: JoinedDataset.LabelUse
    /// How many of them, drawn at random; nil: all.
    public var examples: Int?
  }

  /// MUNGE: rows that are made of pairs of near ones.
  public struct Munge: Sendable, Equatable {
    /// How many rows are made for each that there is.
    public var factor: Int
    public var swapProbability: Double
    public var localVariance: Double
    /// The names, or the numbers from 1 on, of columns whose numbers stand for names.
    public var nominal: [String]
  }

  /// What the shift of the biases of classes that a student has never seen goes by.
  public enum BiasSource: String, Sendable, Codable, CaseIterable {
    /// They stay as they are.
    case none
    /// The labels of the validation examples.
    case labels
    /// What the teacher says of the validation examples, whose labels are not looked at.
    case prior
  }

  public enum Normalization: Sendable, Equatable {
    /// Mean 0 and standard deviation 1 by channel, measured on the training split.
    case measured
    case none
    /// Given by channel.
    case given(mean: [Double], standardDeviation: [Double])
  }

  /// A change to training examples, drawn anew for each.
  public struct Augmentation: Sendable, Equatable {
    public enum Kind: String, Sendable, Codable, CaseIterable {
      /// Left to right, with this probability.
      case flip
      /// Padded by so many pixels on each side, and cropped back at a random place.
      case crop
      /// A square of so many pixels is blanked.
      case cutout
      /// Moved by up to so many pixels.
      case shift
      /// Two examples are mixed, in a proportion drawn from Beta(α, α).
      case mixup
      /// A rectangle comes from another example, its area drawn from Beta(α, α).
      case cutmix
    }

    public var kind: Kind
    public var value: Double
    /// Of shift: what comes in at the side.
    public var fill: EdgeFill
    /// Of cutout: the part of the examples in which a square is blanked.
    public var probability: Double

    public init(_ kind: Kind, _ value: Double, fill: EdgeFill = .zero, probability: Double = 1) {
      self.kind = kind
      self.value = value
      self.fill = fill
      self.probability = probability
    }
  }
}

// MARK: - Models

extension Configuration {
  /// An architecture and its options, such as `{architecture: resnet9, widths: [32, 64]}`.
  public struct Model: Sendable, Equatable {
    public var architecture: String
    /// All of the architecture's.
    public var options: [String: OptionValue]

    public init(architecture: String, options: [String: OptionValue] = [:]) {
      self.architecture = architecture
      self.options = options
    }

    /// The model for examples of a shape and a number of classes, which a recipe leaves to the data.
    public func specification(inputShape: [Int], classCount: Int) -> ModelSpecification {
      ModelSpecification(architecture, options, inputShape: inputShape, classCount: classCount)
    }
  }

  /// Who teaches: models whose weights are there or that are trained first, the student's own past, or other students that
  /// are trained together with it.
  public struct Teacher: Sendable, Equatable {
    /// One, or those of an ensemble; none where the teacher is made of students.
    public var members: [Member]
    /// How an ensemble's outputs become one.
    public var average: EnsembleAverage
    public var weighting: Weighting
    public var noise: Noise?
    /// The mean of the student's own past teaches.
    public var mean: MeanOfStudent?
    /// Students that are trained with the student teach it, and it teaches them.
    public var peers: [Peer]
    /// Whether the outputs are computed once and kept.
    public var precompute: Precompute
    /// What it is computed in while it teaches; nil: chosen once its weights are there.
    public var precision: TeacherPrecision?
    /// What was chosen for its members, by the hash of their weights.
    var chosenPrecisions: [String: TeacherPrecision] = [:]
    /// A folder with outputs that `distill label` kept, which teach instead of the model.
    public var cache: String?
    /// How the teacher is trained when its weights do not exist; nil: it must exist.
    public var training: Training?
    /// Models that are made of it, each for some classes that it takes for each other, and that teach beside it.
    public var specialists: Specialists?

    public var isEnsemble: Bool { members.count > 1 || peers.count > 1 }

    /// Whether terms can choose one of several.
    var hasNames: Bool { members.count > 1 || !peers.isEmpty }

    /// The names by which terms choose one of several.
    var names: [String] {
      peers.isEmpty ? members.enumerated().map { $1.name ?? $1.stage ?? "\($0)" } : peers.map(\.name)
    }
  }

  /// A teacher, or one of an ensemble.
  public struct Member: Sendable, Equatable {
    /// By which terms choose it.
    public var name: String?
    /// May be left out where `weights` is a model folder, which says it.
    public var model: Model?
    /// A file of weights or a model folder.
    public var weights: String?
    /// How `weights` is used where it is a model as a whole: TorchScript, a package of AOTInductor, or ONNX.
    public var program = Program()
    /// The stage whose student it is, instead of model and weights.
    public var stage: String?
    /// How much the member counts in an ensemble.
    public var weight: Double
    /// The name of the class of each of its outputs, nil for an output that is no class of the data; nil: all classes of
    /// the data, in order.
    public var classes: [String?]?
    /// How the model calls classes of the data, where these are found by the names in its `config.json`; a class that is not
    /// among them is called as in the data. nil: classes are not found by name.
    public var ownNames: [String: String]?

    /// Whether its outputs are not just the classes of the data in their order.
    var hasOtherClasses: Bool { classes != nil || ownNames != nil }
  }

  /// What is said of a file that is a model as a whole.
  public struct Program: Sendable, Equatable {
    /// Whether code in the file may be executed.
    public var isTrusted = false
    /// Which of its outputs are the logits.
    public var output = OutputChoice.automatic
    /// Whether these are probabilities.
    public var givesProbabilities = false
  }

  /// How much each member of an ensemble counts.
  public enum Weighting: Sendable, Equatable {
    /// As its weight says.
    case fixed
    /// By its accuracy on the validation examples, raised to a power, times its weight.
    case score(power: Double)
    /// For each example by how sure it is.
    case confidence(sharpness: Double)
  }

  /// Specialists that a run makes of the teacher, who is the generalist then.
  public struct Specialists: Sendable, Equatable {
    /// How many there are; nil where their classes are given.
    public var count: Int?
    /// The names of the classes of each; nil where they are found from what the generalist takes for each other.
    public var classes: [[String]]?
    /// The part of the examples that it is trained on that is of its own classes.
    public var share: Double
    /// How many of the generalist's likeliest classes decide which of them are asked.
    public var candidates: Int
    /// How each is trained.
    public var training: Training
  }

  /// Noise on the teacher's logits.
  public struct Noise: Sendable, Equatable {
    public var kind: NoisyTeacher.Kind
    public var standardDeviation: Double
    /// Of the examples whose logits get noise.
    public var share: Double
  }

  /// A teacher that is the mean of the student's past.
  public struct MeanOfStudent: Sendable, Equatable {
    public var decay: Double
    /// Which of the two is validated, kept and tested.
    public var result: Result

    public enum Result: String, Sendable, Codable, CaseIterable {
      case student
      case mean
    }
  }

  /// A student that is trained together with the student.
  public struct Peer: Sendable, Equatable {
    public var name: String
    /// The student's where it is left out.
    public var model: Model?
    /// Weights to start from.
    public var weights: String?
    /// What it learns; the recipe's terms where it is left out.
    public var terms: [Term]?
  }

  public enum Precompute: String, Sendable, Codable, CaseIterable {
    /// Where it saves time and fits into memory.
    case auto
    case always = "true"
    case never = "false"
  }
}

// MARK: - Terms

extension Configuration {
  /// One part of the objective: a method of `TermCatalog` with its options, all of them.
  public struct Term: Sendable, Equatable {
    /// As recipes spell it: `soft_targets`.
    public let name: String
    public let needsTeacher: Bool
    public internal(set) var options: [String: TermValue]
    public var weight: Ramp
    /// When it begins to count.
    public var start: Moment
    /// When it no longer counts; nil: it does to the end.
    public var end: Moment?
    /// The member of the teacher that it learns from; nil: all of them together.
    public var teacher: String?

    /// - Parameter options: those that are not given take their defaults
    public init(
      _ kind: TermKind, _ options: [String: TermValue] = [:], weight: Ramp = 1, start: Moment = 0, end: Moment? = nil
    ) {
      name = kind.name
      needsTeacher = kind.needsTeacher
      let defaults = kind.options.compactMap { option in option.default.map { (option.name, $0) } }
      self.options = options.merging(defaults) { given, _ in given }
      self.weight = weight
      self.start = start
      self.end = end
      teacher = nil
    }

    /// Whether it teaches the student's outputs something, and not its layers or parameters alone.
    var looksAtOutputs: Bool {
      (try? entry().term).map { $0.studentTaps.isEmpty && !$0.needsParameters } ?? true
    }

    /// The highest temperature that the teacher's probabilities are looked at with; nil where they are not.
    var highestTemperature: Double? {
      guard needsTeacher, case .ramp(let temperature) = options["temperature"] else { return nil }
      return temperature.largest
    }
  }
}

// MARK: - Training

extension Configuration {
  /// How a model is trained.
  public struct Training: Sendable, Equatable {
    public var length: Length
    public var batchSize: Int
    /// Batches whose gradients make one step.
    public var accumulation: Int
    public var precision: Precision
    public var channelsLast: Bool
    /// Whether the run chooses them when it begins; `precision` and `channelsLast` are then what holds until it has.
    public var choosesPrecision: Bool
    public var choosesChannelsLast: Bool
    public var optimizer: Optimizer
    public var schedule: Schedule
    /// The parts of the student that are trained.
    public var parts: TrainedParts
    /// The largest norm of all gradients together; nil: not clipped.
    public var clipNorm: Double?
    public var keep: Trainer.Keep
    /// What `keep: best` and `early_stop` go by.
    public var metric: Trainer.Metric
    /// Epochs without improvement after which the training ends; nil: never before its time.
    public var earlyStop: Int?
    public var checkpointEvery: CheckpointInterval
    /// Of a teacher, or of the student alone. When the student is distilled, the term `hard_labels` has its own.
    public var labelSmoothing: Double
    /// Of a teacher, or of the student alone, where it is not the data's; nil: the data's.
    public var augmentation: [Augmentation]?
    /// By what the biases of classes that were left out are corrected, once the training is over.
    public var correctBias: BiasSource
    /// The student's own text, on which it learns in a part of the steps; nil: it writes none.
    public var onPolicy: OwnText?
  }

  public enum Length: Sendable, Equatable {
    case epochs(Int)
    case steps(Int)
  }

  public enum CheckpointInterval: Sendable, Equatable {
    case epoch
    case steps(Int)
  }

  /// An optimizer and its options; those of other kinds have no effect.
  public struct Optimizer: Sendable, Equatable {
    public enum Kind: String, Sendable, Codable, CaseIterable {
      case sgd
      case adam
      case adamw
    }

    public var kind: Kind
    public var learningRate: Double
    public var weightDecay: Double
    /// SGD's.
    public var momentum: Double
    /// SGD's.
    public var dampening: Double
    /// SGD's.
    public var nesterov: Bool
    /// Adam's and AdamW's β₁ and β₂.
    public var betas: [Double]
    /// Adam's and AdamW's.
    public var epsilon: Double
    /// Adam's and AdamW's.
    public var amsgrad: Bool

    /// PyTorch's defaults.
    public init(_ kind: Kind) {
      self.kind = kind
      learningRate = 1e-3
      weightDecay = kind == .adamw ? 1e-2 : 0
      momentum = 0
      dampening = 0
      nesterov = false
      betas = [0.9, 0.999]
      epsilon = 1e-8
      amsgrad = false
    }
  }

  /// How the learning rate changes; the options of other kinds have no effect.
  public struct Schedule: Sendable, Equatable {
    public enum Kind: String, Sendable, Codable, CaseIterable {
      case constant
      case step
      case multiStep = "multi_step"
      case cosine
      case oneCycle = "one_cycle"
    }

    public var kind: Kind
    /// The part of all steps in which the learning rate climbs first, in a line.
    public var warmup: Double
    /// The fraction of the learning rate that the climb begins with.
    public var warmupFrom: Double
    /// Of `step`: epochs from one drop to the next.
    public var every: Int
    /// Of `multi_step`: the epochs in which the rate drops.
    public var milestones: [Int]
    /// Of `step` and `multi_step`: what the rate is multiplied with.
    public var gamma: Double
    /// Of `cosine`: the last rate, as a fraction of the learning rate.
    public var minimum: Double
    /// Of `one_cycle`: the part of the steps in which the rate climbs.
    public var climb: Double
    /// Of `one_cycle`: the first rate is the learning rate divided by this.
    public var divisor: Double
    /// Of `one_cycle`: the last rate is the first divided by this.
    public var finalDivisor: Double

    public init(_ kind: Kind) {
      self.kind = kind
      warmup = 0
      warmupFrom = 0.1
      every = 10
      milestones = []
      gamma = 0.1
      minimum = 0
      climb = 0.3
      divisor = 25
      finalDivisor = 10_000
    }
  }
}

// MARK: - Settings

extension Configuration {
  /// A named variant of the recipe.
  public struct Setting: Sendable, Equatable {
    public var name: String
    /// Dotted paths with their values, in order.
    var changes: [Change]

    struct Change: Sendable, Equatable {
      var path: String
      var value: RecipeNode
    }
  }
}
