import DistillData
import Foundation
import Torch
import TorchNN

/// Examples on which models are scored: always in order, without augmentation, in evaluation mode, without gradient.
public struct EvaluationSet {
  private let loader: DataLoader
  private let options: DataLoader.Options
  private let givenBatchSize: Int?
  /// The true class of each example, −1 where it is not known; for sequences with a label for each token those of the
  /// tokens that count, one sequence after the other.
  public let labels: [Int]

  /// - Parameters:
  ///   - examples: which ones of the data set; all if nil
  ///   - normalization: what the model was trained with
  ///   - batchSize: nil: as `batchSize(for:)` says; 500 where a teacher is asked
  public init(
    _ dataset: any Dataset, examples: [Int]? = nil, normalization: Normalization?, device: Device = .cpu,
    batchSize: Int? = nil, channelsLast: Bool = false
  ) throws {
    let examples = examples ?? Array(0..<dataset.count)
    // Large batches, of which one ahead is enough.
    var options = DataLoader.Options(batchSize: batchSize ?? 500, prefetch: 1)
    options.normalization = normalization
    options.device = device
    options.channelsLast = channelsLast
    self.options = options
    givenBatchSize = batchSize
    loader = try DataLoader(dataset: dataset, examples: examples, options: options)
    labels =
      dataset.predictsTokens
      ? try examples.flatMap { try dataset.tokenLabels(at: $0)?.counted ?? [] }
      : examples.map { dataset.label(at: $0) }
  }

  /// The number of examples, or of tokens that count.
  public var count: Int { labels.count }

  /// The logits of a model for all examples, `[N, C]`, in float32, on the CPU; for sequences those of all tokens that
  /// count, `[R, C]`.
  ///
  /// Every module's own mode is put back afterwards.
  public func logits(of model: any Layer) throws -> Tensor {
    try model.withMode(training: false) {
      try logits(loader(for: model)) { try model($0.inputs) }
    }
  }

  /// The logits of a teacher, in the same way.
  public func logits(of teacher: any Teacher) throws -> Tensor {
    try logits(loader) { try teacher.trace($0).logits() }
  }

  /// How many examples a model is shown at a time: so many that its largest activation has 8 MiB on a processor, at
  /// least 32 and at most 512. Matrix products want large batches, but what does not fit into the caches takes longer to
  /// move than to compute: a ResNet-20 for 32×32 pixels answers 100 at a time almost twice as fast as 500, and three times
  /// as fast as 1,000. Other devices take 256 MiB and up to 2,048.
  public func batchSize(for model: any Layer) -> Int {
    guard givenBatchSize == nil, let rows = try? model.summary(inputShape: loader.dataset.exampleShape).rows else {
      return options.batchSize
    }
    let largest = 4 * (rows.map { $0.outputShape.reduce(1, *) }.max() ?? 1)
    let (bytes, most) = options.device.kind == .cpu ? (8 << 20, 512) : (256 << 20, 2_048)
    return min(most, max(32, bytes / max(1, largest)))
  }

  private func loader(for model: any Layer) throws -> DataLoader {
    var options = options
    options.batchSize = batchSize(for: model)
    return try DataLoader(dataset: loader.dataset, examples: loader.examples, options: options)
  }

  private func logits(_ loader: DataLoader, _ forward: (Batch) throws -> Tensor) throws -> Tensor {
    try withoutGradient {
      var rows: [Tensor] = []
      try forEachBatch(of: loader) { rows.append(try Self.rows(forward($0), of: $0).to(Device.cpu, dtype: .float32)) }
      guard !rows.isEmpty else { throw DistillationError("there are no examples to evaluate on") }
      return try Tensor.concatenated(rows)
    }
  }

  /// Shows all examples, in order.
  func forEachBatch(_ body: (Batch) throws -> Void) throws { try forEachBatch(of: loader, body) }

  private func forEachBatch(of loader: DataLoader, _ body: (Batch) throws -> Void) throws {
    let batches = loader.batches(epoch: 0)
    while let batch = try batches.next() { try body(batch) }
  }

  /// Accuracy and negative log-likelihood of a model: what validation looks at. For sequences both are means over the
  /// tokens that count. The logits are looked at batch by batch and never all there, and a device is waited for once.
  public func score(_ model: any Layer) throws -> ValidationScore {
    let sums = try Tensor.zeros([2], dtype: .float64, device: options.device)
    var count = 0
    try model.withMode(training: false) {
      try withoutGradient {
        let highest = labels.max() ?? -1
        try forEachBatch(of: loader(for: model)) { batch in
          let logits = try Self.rows(model(batch.inputs), of: batch).to(.float64)
          guard logits.rank == 2, highest < logits.shape[1] else {
            throw DistillationError("label \(highest) is none of the classes of logits of shape \(logits.shape)")
          }
          let loss = try logits.crossEntropySum(labels: batch.labels, ignoredLabel: -1)
          let correct = try logits.argumentOfMaximum(along: 1).equals(batch.labels).to(.float64).sum()
          try sums.add(Tensor.stacked([loss, correct]))
          count += batch.labelledCount
        }
      }
    }
    let found: [Double] = try sums.array()
    let (loss, correct) = (found[0], found[1])
    guard loss.isFinite else {
      throw DistillationError("the model's logits are not finite numbers: its weights or its inputs are damaged")
    }
    let total = Double(max(1, count))
    return ValidationScore(accuracy: correct / total, loss: loss / total)
  }

  /// The outputs that count, `[R, C]`, where there is one for each token of a sequence.
  static func rows(_ output: Tensor, of batch: Batch) throws -> Tensor {
    guard let tokens = batch.tokens, batch.predictsTokens else { return output }
    return try tokens.rows(output)
  }
}

extension ValidationScore {
  /// exp(loss): among how many equally likely classes one could choose with the same loss. For models that predict tokens.
  public var perplexity: Double { exp(loss) }

  /// The loss in bits: of a text read by bytes, how many a byte of it takes.
  public var bits: Double { loss / log(2) }
}
