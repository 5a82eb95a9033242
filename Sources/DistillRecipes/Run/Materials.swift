import DistillData
import Distillation
import Foundation
import Torch

/// The data of a recipe, loaded and divided. The test split is only looked at when a training is over.
struct Materials: Sendable {
  let train: any Dataset
  let test: any Dataset
  /// The examples that may be trained on, and those by which models are chosen.
  let split: Split
  let normalization: Normalization?
  /// The training data and, after it, the parts.
  var joined: any Dataset
  var parts: [TransferPart] = []
  /// Of the division, and of all else that is drawn once for the whole run.
  let seed: UInt64

  /// - Parameter seed: of the division into training and validation examples
  /// - Throws: `DataError`, `RunError`
  init(_ configuration: Configuration.Data, seed: UInt64) throws {
    (train, test) = try Self.load(configuration)
    joined = train
    self.seed = seed
    guard train.classCount >= 2 else {
      throw RunError(
        "\(train.name) has \(train.classCount == 1 ? "1 class" : "no classes"); at least two are needed to tell examples "
          + "apart")
    }
    let (validation, training) = try Self.divided(train, configuration, seed: seed)
    guard !training.isEmpty else {
      throw RunError(
        "data.validation holds out all \(train.count) examples of \(train.name): nothing is left to train on")
    }
    split = Split(train: training, validation: validation)
    switch configuration.normalize {
    case .none: normalization = nil
    case .measured: normalization = try Normalization.measured(on: train, examples: training)
    case .given(let mean, let deviation):
      normalization = Normalization(mean: mean.map { Float($0) }, standardDeviation: deviation.map { Float($0) })
    }
  }

  /// The examples to choose by and those to train on: as the files say, or drawn.
  private static func divided(
    _ train: any Dataset, _ configuration: Configuration.Data, seed: UInt64
  ) throws -> (validation: [Int], training: [Int]) {
    if let texts = train as? ClassifiedTexts, !texts.heldOut.isEmpty {
      return (Array(texts.heldOut), Array(0..<texts.heldOut.lowerBound))
    }
    let (validation, training) = try Splits.stratified(
      dataset: train, count: configuration.validation.count(of: train.count), seed: seed)
    return (validation, training)
  }

  private static func load(_ configuration: Configuration.Data) throws -> (any Dataset, any Dataset) {
    if let path = configuration.path, !FileManager.default.fileExists(atPath: path) {
      throw RunError("data.path: \(path) does not exist\(whereLookedFor(path))")
    }
    var options = DatasetOptions()
    options.imageSize = configuration.imageSize
    options.fit = configuration.fit
    options.channels = configuration.channels
    options.labelColumn = configuration.labelColumn
    options.use(configuration.text)
    options.testFraction = configuration.testFraction
    options.labelledTexts = try configuration.labelledText?
      .reader(labels: configuration.labelColumn ?? "label", testFraction: configuration.testFraction)
    return try DatasetCatalog.load(name: configuration.dataset, folder: configuration.path, options: options)
  }

  /// How far the members of an ensemble differ about examples to train on or to choose by.
  func disagreement(of teacher: any Teacher, examples: [Int], device: Device) throws -> MemberDisagreement {
    var options = DataLoader.Options(batchSize: min(250, scoringBatch))
    options.normalization = normalization
    options.device = device
    let loader = try DataLoader(dataset: train, examples: examples, options: options)
    var sum = MemberDisagreement(jensenShannon: 0, topOne: 0, count: 0)
    let batches = loader.batches(epoch: 0)
    while let batch = try batches.next() { sum = sum + (try teacher.trace(batch).disagreement()) }
    return sum
  }

  func evaluationSet(
    _ dataset: any Dataset, examples: [Int]? = nil, device: Device, channelsLast: Bool
  ) throws -> EvaluationSet {
    try EvaluationSet(
      dataset, examples: examples, normalization: normalization, device: device,
      batchSize: train.predictsTokens ? scoringBatch : nil, channelsLast: channelsLast)
  }
}

extension MemberDisagreement {
  /// Such as `name different classes first for 3.1 % of 500 examples (Jensen-Shannon divergence 0.021)`.
  var words: String {
    "name different classes first for \(Quantity.percent(topOne)) of \(counted(count, "example")) (Jensen-Shannon "
      + "divergence \(Quantity.plain(jensenShannon)))"
  }
}
