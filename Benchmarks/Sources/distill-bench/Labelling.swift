import DistillData
import DistillModels
import Distillation
import Foundation
import Torch
import TorchNN

/// Logits of a ResNet teacher for many images: from the bytes of the data set to a tensor of all logits.
///
/// The teacher is the ResNet-9 that comes with the package, on Fashion-MNIST, or ResNet-56 on images of CIFAR's form.
enum Labelling {
  struct Result: Encodable {
    var program = "distill-labelling"
    var images: Int
    var seconds: Double
    var secondsPerImage: Double
    var batchSize: Int
    /// What the teacher was computed in; with `auto` as a run chooses it, by what it says and how fast.
    var precision: String
    /// What choosing took, which is not in `seconds`; 0 where the precision was given.
    var secondsToChoose: Double
    /// KL(float32 ‖ this) in nats for some of the images, at temperatures 1 and 4, and the share of them with the same
    /// likeliest class.
    var divergences: [Double]
    var agreement: Double
    var peakBytes: Int
    var threads: Int
    var versions: [String: String]
  }

  /// Images by which int8 is calibrated, and as many more by which any precision is judged.
  private static let sample = 512

  static func measure(_ options: Options) throws -> Result {
    try TorchRuntime.setThreadCount(options.threads)
    TorchRuntime.keepFreedMemory()
    let word = options.word("precision", "auto")
    let given = TeacherPrecision(rawValue: word)
    guard given != nil || word == "auto" else {
      let names = ["auto"] + TeacherPrecision.allCases.map(\.rawValue)
      throw UsageError("--precision is one of \(names.joined(separator: ", "))")
    }
    let (model, data, normalization) = try teacher(options)
    let batchSize = try options.integer("batch", 64)
    let count = min(data.count, try options.integer("examples", data.count))
    func loader(_ examples: Range<Int>) throws -> DataLoader {
      var loading = DataLoader.Options(batchSize: batchSize, views: 1, normalization: normalization)
      loading.channelsLast = true
      return try DataLoader(dataset: data, examples: Array(examples), options: loading)
    }
    let seen = try loader(0..<min(count, sample)).batch(ids: Array(0..<min(count, sample))).inputs
    var precision = given ?? .float32
    let choosing = try ContinuousClock().measure {
      if given == nil { precision = try choice(for: model, seen).precision }
    }
    let teacher = try TeacherPrecisionChoice.teacher(model, in: precision, examples: seen)
    // The first batch prepares what the others use.
    _ = try PrecomputedTeacher(computing: teacher, over: loader(0..<min(count, batchSize)))
    let all = try loader(0..<count)
    let seconds = Report.seconds(
      try ContinuousClock().measure { _ = try PrecomputedTeacher(computing: teacher, over: all) })
    let judged = try EvaluationSet(
      data, examples: Array(max(0, count - sample)..<count), normalization: normalization, batchSize: batchSize)
    let fidelity = try TeacherFidelity(
      exact: judged.logits(of: FrozenTeacher(model, folds: false) as any Teacher),
      other: judged.logits(of: teacher as any Teacher), temperatures: [1, 4])
    return Result(
      images: count, seconds: seconds, secondsPerImage: seconds / Double(count), batchSize: batchSize,
      precision: precision.rawValue, secondsToChoose: given == nil ? Report.seconds(choosing) : 0,
      divergences: fidelity.divergences.map(\.mean), agreement: fidelity.topOneAgreement,
      peakBytes: Report.peakBytes, threads: try TorchRuntime.threadCount,
      versions: ["libtorch": try TorchRuntime.version])
  }

  private static func choice(for model: any Layer, _ examples: Tensor) throws -> TeacherPrecisionChoice {
    try TeacherPrecisionChoice(
      for: model, on: examples, temperatures: [1, 4],
      among: try Processor.bfloat16.isEmpty ? [.int8] : [.bfloat16, .int8])
  }

  private static func teacher(_ options: Options) throws -> (any Layer, ArrayDataset, Normalization) {
    switch options.word("teacher", "resnet56") {
    case "resnet56":
      let pair = try Pair(options)
      return (pair.teacher, pair.train, pair.normalization)
    case "resnet9":
      let specification = ModelSpecification("resnet9", [:], inputShape: [1, 28, 28], classCount: 10)
      let model = try ModelZoo.make(specification)
      try model.load(try Checkpoint.read("\(options.folder)/Models/fashion-mnist-resnet9/model.safetensors"))
      let data = try FashionMNIST.load(folder: "\(options.folder)/\(FashionMNIST.defaultFolder)").train
      return (model, data, Normalization(mean: [0.28587595], standardDeviation: [0.35284528]))
    default: throw UsageError("--teacher is resnet9 or resnet56")
    }
  }
}
