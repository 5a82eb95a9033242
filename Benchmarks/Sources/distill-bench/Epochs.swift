import DistillData
import DistillModels
import Distillation
import Torch
import TorchNN
import TorchOptim

/// The distillation that all programs do: a 784-1200-1200-10 teacher and a 784-300-300-10 student on Fashion-MNIST,
/// batches of 128, SGD, temperature 4, α = 0.9, from the same weights.
enum Epochs {
  struct Result: Encodable {
    var program: String
    var secondsPerEpoch: Double
    var epochSeconds: [Double]
    var precomputeSeconds: Double
    var peakBytes: Int
    var accuracy: Double
    var epochs: Int
    var threads: Int
    var versions: [String: String]
  }

  private static let warmUpSteps = 20

  static func measure(_ options: Benchmark.Options) throws -> Result {
    try TorchRuntime.setThreadCount(options.threads)
    TorchRuntime.keepFreedMemory()
    let clock = ContinuousClock()
    let normalization = Normalization(mean: [0.2860], standardDeviation: [0.3530])
    let data = try FashionMNIST.load(folder: "\(options.folder)/\(FashionMNIST.defaultFolder)")
    var loading = DataLoader.Options(batchSize: 128, shuffle: true, seed: 1, views: 1, normalization: normalization)
    let loader = try DataLoader(dataset: data.train, options: loading)

    let student = try model("student", hidden: [300, 300], options)
    let frozen = FrozenTeacher(try model("teacher", hidden: [1200, 1200], options))
    var teacher: any Teacher = frozen
    var precomputeSeconds = 0.0
    if options.mode == "precomputed" {
      loading.batchSize = 1000
      loading.shuffle = false
      let wide = try DataLoader(dataset: data.train, options: loading)
      precomputeSeconds = Report.seconds(
        try clock.measure { teacher = try PrecomputedTeacher(computing: frozen, over: wide) })
    }
    let optimizer = try SGD(student.namedParameters, learningRate: 0.05, momentum: 0.9)

    func train(steps: Int, _ listener: (Event) -> Answer) throws {
      var training = Trainer.Options(steps: steps)
      training.keep = .last
      let trainer = try Trainer(
        student: student, teacher: teacher, objective: .weightedAverage(alpha: 0.9, temperature: 4),
        optimizer: optimizer, schedule: .constant, loader: loader, options: training)
      _ = try trainer.run(listener)
    }

    try train(steps: warmUpSteps) { _ in .continue }
    var epochSeconds: [Double] = []
    var start = clock.now
    try train(steps: options.epochs * loader.batchCount) { event in
      switch event {
      case .started: start = clock.now
      case .round:
        epochSeconds.append(Report.seconds(clock.now - start))
        start = clock.now
      default: break
      }
      return .continue
    }
    let test = try EvaluationSet(data.test, normalization: normalization)
    let accuracy = try test.score(student).accuracy
    return Result(
      program: "distill-\(options.mode)", secondsPerEpoch: Report.median(epochSeconds), epochSeconds: epochSeconds,
      precomputeSeconds: precomputeSeconds, peakBytes: Report.peakBytes, accuracy: accuracy,
      epochs: options.epochs, threads: try TorchRuntime.threadCount, versions: ["libtorch": try TorchRuntime.version])
  }

  /// A network with the weights that all programs begin with.
  private static func model(_ name: String, hidden: [Int], _ options: Benchmark.Options) throws -> any Layer {
    let model = try ModelZoo.make(
      ModelSpecification("mlp", ["hidden": .integers(hidden)], inputShape: [1, 28, 28], classCount: 10))
    try model.load(try Checkpoint.read("\(options.folder)/data/benchmark/\(name).safetensors"))
    return model
  }
}
