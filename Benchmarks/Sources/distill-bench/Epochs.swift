import DistillData
import Distillation
import Torch
import TorchNN
import TorchOptim

/// The distillation that all programs do: SGD with momentum, temperature 4, α = 0.9, from the same weights.
enum Epochs {
  struct Result: Encodable {
    var program: String
    var secondsPerEpoch: Double
    var secondsPerStep: Double
    var epochSeconds: [Double]
    var precomputeSeconds: Double
    var peakBytes: Int
    /// The memory that the pixels take, of the peak.
    var dataBytes: Int
    /// The mean of the loss over the last epoch, or over the timed steps.
    var loss: Double
    /// On the test split.
    var accuracy: Double
    var steps: Int
    var threads: Int
    /// The student's precision, whether its images have the channels of a pixel side by side, and by which times.
    var choice: PrecisionChoice
    /// What choosing them by timing took, before anything else.
    var choosingSeconds: Double
    var versions: [String: String]
  }

  static func measure(_ options: Options) throws -> Result {
    try TorchRuntime.setThreadCount(options.threads)
    TorchRuntime.keepFreedMemory()
    let clock = ContinuousClock()
    let pair = try Pair(options)
    var loading = DataLoader.Options(
      batchSize: try options.integer("batch", 128), shuffle: true, seed: 1, views: 1,
      normalization: pair.normalization)
    let examples = Array(0..<min(pair.train.count, try options.integer("examples", pair.train.count)))
    var choice = PrecisionChoice(computation: Computation())
    let choosingSeconds = Report.seconds(try clock.measure { choice = try choose(options, pair, loading) })
    let computation = choice.computation
    loading.channelsLast = computation.channelsLast
    if computation.channelsLast { try pair.student.useChannelsLast() }
    let loader = try DataLoader(dataset: pair.train, examples: examples, options: loading)

    let frozen = try frozenTeacher(options, pair, loader)
    var teacher: any Teacher = frozen
    var precomputeSeconds = 0.0
    if options.mode.hasSuffix("precomputed") {
      loading.batchSize = 250
      loading.prefetch = 2
      loading.shuffle = false
      let wide = try DataLoader(dataset: pair.train, examples: examples, options: loading)
      precomputeSeconds = Report.seconds(
        try clock.measure { teacher = try PrecomputedTeacher(computing: frozen, over: wide) })
    }
    let optimizer = try SGD(pair.student.namedParameters, learningRate: 0.05, momentum: 0.9)

    func train(steps: Int, _ listener: (Event) -> Answer) throws {
      var training = Trainer.Options(steps: steps)
      training.keep = .last
      training.precision = computation.precision
      let trainer = try Trainer(
        student: pair.student, teacher: teacher, objective: .weightedAverage(alpha: 0.9, temperature: 4),
        optimizer: optimizer, schedule: .constant, loader: loader, options: training)
      _ = try trainer.run(listener)
    }

    try train(steps: pair.warmUpSteps) { _ in .continue }
    let steps = try options.integer("steps", try options.epochs * loader.batchCount)
    var epochSeconds: [Double] = []
    var loss = 0.0
    var start = clock.now
    try train(steps: steps) { event in
      switch event {
      case .started: start = clock.now
      case .round(let round):
        epochSeconds.append(Report.seconds(clock.now - start))
        loss = round.loss
        start = clock.now
      default: break
      }
      return .continue
    }
    let roundSteps = min(steps, loader.batchCount)
    let secondsPerStep = Report.median(epochSeconds) / Double(roundSteps)
    let test = try EvaluationSet(pair.test, examples: Array(pair.tested), normalization: pair.normalization)
    return Result(
      program: "distill-\(options.mode)", secondsPerEpoch: secondsPerStep * Double(loader.batchCount),
      secondsPerStep: secondsPerStep, epochSeconds: epochSeconds, precomputeSeconds: precomputeSeconds,
      peakBytes: Report.peakBytes, dataBytes: pair.train.count * pair.train.exampleShape.reduce(1, *), loss: loss,
      accuracy: try test.score(pair.student).accuracy, steps: steps, threads: try TorchRuntime.threadCount,
      choice: choice, choosingSeconds: choosingSeconds, versions: ["libtorch": try TorchRuntime.version])
  }

  private static func frozenTeacher(_ options: Options, _ pair: Pair, _ loader: DataLoader) throws -> FrozenTeacher {
    guard let precision = TeacherPrecision(rawValue: options.word("teacher-precision", "float32")) else {
      let names = TeacherPrecision.allCases.map(\.rawValue)
      throw UsageError("--teacher-precision is one of \(names.joined(separator: ", "))")
    }
    let examples = Array(loader.examples.prefix(512))
    return try TeacherPrecisionChoice.teacher(pair.teacher, in: precision, examples: loader.batch(ids: examples).inputs)
  }

  /// How the student is computed, as a run chooses it with `precision: auto` and `channels_last: auto`. What the options
  /// name stays.
  private static func choose(_ options: Options, _ pair: Pair, _ loading: DataLoader.Options) throws
    -> PrecisionChoice
  {
    let isResNet = pair.train.exampleShape[0] == 3
    let word = options.word("precision", isResNet && options.mode.hasSuffix("precomputed") ? "auto" : "float32")
    guard let given = word == "auto" ? .float32 : Precision(rawValue: word), given != .float16 else {
      throw UsageError("--precision is float32, bfloat16 or auto")
    }
    let precisions: [Precision] =
      word == "auto" ? [.float32] + (try Processor.bfloat16.isEmpty ? [] : [.bfloat16]) : [given]
    let ways = precisions.flatMap { precision in
      (isResNet ? [false, true] : [false]).map { Computation(precision, channelsLast: $0) }
    }
    guard ways.count > 1 else { return PrecisionChoice(computation: ways[0]) }
    let examples = Array(0..<loading.batchSize)
    let loader = try DataLoader(dataset: pair.train, examples: examples, options: loading)
    return try PrecisionChoice(
      among: ways, inputs: loader.batch(ids: examples).inputs, makeModel: pair.makeStudent)
  }
}
