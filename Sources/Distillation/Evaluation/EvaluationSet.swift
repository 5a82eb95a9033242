import DistillData
import Torch
import TorchNN

/// Examples on which models are scored: always in order, without augmentation, in evaluation mode, without gradient.
public struct EvaluationSet {
  private let loader: DataLoader
  /// The true class of each example, −1 where it is not known.
  public let labels: [Int]

  /// - Parameters:
  ///   - examples: which ones of the data set; all if nil
  ///   - normalization: what the model was trained with
  public init(
    _ dataset: any Dataset, examples: [Int]? = nil, normalization: Normalization?, device: Device = .cpu,
    batchSize: Int = 500, channelsLast: Bool = false
  ) throws {
    let examples = examples ?? Array(0..<dataset.count)
    var options = DataLoader.Options(batchSize: batchSize)
    options.normalization = normalization
    options.device = device
    options.channelsLast = channelsLast
    loader = try DataLoader(dataset: dataset, examples: examples, options: options)
    labels = examples.map { dataset.label(at: $0) }
  }

  public var count: Int { labels.count }

  /// The logits of a model for all examples, `[N, C]`, in float32, on the CPU.
  ///
  /// Every module's own mode is put back afterwards.
  public func logits(of model: any Layer) throws -> Tensor {
    try model.withMode(training: false) {
      try logits { try model($0.inputs) }
    }
  }

  /// The logits of a teacher for all examples, `[N, C]`, in float32, on the CPU.
  public func logits(of teacher: any Teacher) throws -> Tensor {
    try logits { try teacher.trace($0).logits() }
  }

  private func logits(_ forward: (Batch) throws -> Tensor) throws -> Tensor {
    try withoutGradient {
      var rows: [Tensor] = []
      try forEachBatch { rows.append(try forward($0).to(Device.cpu, dtype: .float32)) }
      guard !rows.isEmpty else { throw DistillationError("there are no examples to evaluate on") }
      return try Tensor.concatenated(rows)
    }
  }

  /// Shows all examples, in order.
  func forEachBatch(_ body: (Batch) throws -> Void) throws {
    let batches = loader.batches(epoch: 0)
    while let batch = try batches.next() { try body(batch) }
  }

  /// Accuracy and negative log-likelihood of a model: what validation looks at.
  public func score(_ model: any Layer) throws -> ValidationScore {
    let metrics = try Metrics(logits: try logits(of: model), labels: labels)
    return ValidationScore(accuracy: metrics.accuracy, loss: metrics.negativeLogLikelihood)
  }
}
