import Torch

/// Brings examples to the training thread, batch by batch.
///
/// The order of the examples is a function of the seed and the epoch; the pixels of an example are a function of the
/// seed, its number, and the view. Neither depends on the batch size, on how many batches are made ahead, or on where an
/// epoch is begun, so an interrupted run goes on exactly where it was.
public final class DataLoader: Sendable {
  public struct Options: Sendable {
    public var batchSize: Int
    /// Whether each epoch has an order of its own; otherwise the order is that of the examples given.
    public var shuffle: Bool
    public var seed: UInt64
    /// The seed of the augmented views, where several loaders with orders of their own are to show the same pixels; nil:
    /// `seed`.
    public var augmentationSeed: UInt64?
    public var augmentation: Augmentation
    /// How many augmented views of each example there are: epoch `e` shows view `e % views`, so that a teacher can label
    /// each view once. nil: every epoch shows a new one.
    public var views: Int?
    public var normalization: Normalization?
    /// How many batches are made ahead on threads of their own; 0 makes each when it is asked for, on the threads that
    /// compute. nil: eight, if timing in the first epoch finds that to be faster. The batches are the same whatever it is.
    public var prefetch: Int?
    /// How many threads make batches ahead. The batches are the same whatever it is.
    public var workers: Int
    /// The examples whose label is withheld (−1 in a batch).
    public var hiddenLabels: Set<Int>
    public var device: Device
    /// Whether images lie in memory with the channels of a pixel side by side.
    public var channelsLast: Bool
    /// What a teacher sees of the examples.
    public var teacherView = TeacherView.same
    /// Whether a batch of texts is only as long as its longest text, more or less. What was kept of hidden states is of the
    /// whole length.
    public var trimsTexts = true

    public init(
      batchSize: Int, shuffle: Bool = false, seed: UInt64 = 0, augmentation: Augmentation = [], views: Int? = nil,
      normalization: Normalization? = nil, prefetch: Int? = nil, workers: Int = 1, hiddenLabels: Set<Int> = [],
      device: Device = .cpu, channelsLast: Bool = false
    ) {
      self.batchSize = batchSize
      self.shuffle = shuffle
      self.seed = seed
      self.augmentation = augmentation
      self.views = views
      self.normalization = normalization
      self.prefetch = prefetch
      self.workers = workers
      self.hiddenLabels = hiddenLabels
      self.device = device
      self.channelsLast = channelsLast
    }
  }

  public let dataset: any Dataset
  /// The examples that an epoch shows.
  public let examples: [Int]
  public let options: Options
  private let maker: BatchMaker
  /// Finds out whether batches are made ahead; nil where the options say it.
  private let trial: MakingTrial?

  /// - Parameter examples: the numbers of the examples that an epoch shows
  /// - Throws: `DataError` when an option makes no sense, or not with this data.
  public init(dataset: any Dataset, examples: [Int], options: Options) throws {
    guard options.batchSize >= 1 else { throw DataError("a batch of \(options.batchSize) examples is not possible") }
    if let prefetch = options.prefetch, prefetch < 0 { throw DataError("\(prefetch) batches cannot be made ahead") }
    guard options.workers >= 1 else { throw DataError("a loader needs at least one worker, not \(options.workers)") }
    if let views = options.views, views < 1 { throw DataError("\(views) views of each example are not possible") }
    guard !examples.isEmpty else { throw DataError("no examples of \(dataset.name) were chosen") }
    for id in examples where id < 0 || id >= dataset.count {
      throw DataError("\(dataset.name) has \(dataset.count) examples, and so no number \(id)")
    }
    self.dataset = dataset
    self.examples = examples
    self.options = options
    maker = try BatchMaker(dataset: dataset, examples: examples, options: options)
    trial = options.prefetch == nil ? MakingTrial() : nil
  }

  /// Of all examples of a data set.
  public convenience init(dataset: any Dataset, options: Options) throws {
    try self.init(dataset: dataset, examples: Array(0..<dataset.count), options: options)
  }

  /// The number of batches of an epoch; the last one may be short.
  public var batchCount: Int { (examples.count - 1) / options.batchSize + 1 }

  /// The view of each example that an epoch shows.
  public func view(epoch: Int) -> Int { options.views.map { epoch % $0 } ?? epoch }

  /// The numbers of the examples in the order of an epoch.
  public func order(epoch: Int) -> [Int] {
    guard options.shuffle else { return examples }
    var order = examples
    var random = RandomSource(seed: options.seed, "order", UInt64(epoch))
    order.shuffle(with: &random)
    return order
  }

  /// The batches of an epoch in order, from number `batch` on. Threads of their own, where there are any,
  /// begin to make them at once.
  public func batches(epoch: Int, from batch: Int = 0) -> Batches {
    batches(of: order(epoch: epoch), view: view(epoch: epoch), from: batch)
  }

  /// Given examples in one of their views, batch after batch, in the order given.
  public func batches(of ids: [Int], view: Int, from batch: Int = 0) -> Batches {
    let maker = maker
    let size = options.batchSize
    let count = (ids.count + size - 1) / size
    let producer = BatchProducer(
      from: min(max(0, batch), count), to: count, ahead: options.prefetch ?? 8, workers: options.workers, trial: trial
    ) { number, isShared in
      try maker.make(Array(ids[number * size..<min(ids.count, (number + 1) * size)]), view: view, isShared: isShared)
    }
    return Batches(producer, device: options.device)
  }

  /// Given examples as a batch, whether or not an epoch shows them.
  public func hostBatch(ids: [Int], view: Int = 0) throws -> HostBatch {
    guard !ids.isEmpty, view >= 0 else { throw DataError("a batch needs examples, and a view from 0 on") }
    return try maker.make(ids, view: view)
  }

  /// Given examples as a batch of tensors, whether or not an epoch shows them.
  public func batch(ids: [Int], view: Int = 0) throws -> Batch {
    try Batch(hostBatch(ids: ids, view: view), device: options.device)
  }

  /// How many different views of each example a teacher sees: 1 where it sees them plain; nil: a new one in each epoch.
  public var teacherViews: Int? { options.teacherViews }

  /// What is done to the examples before a teacher sees them: augmentation, seed, normalization, and where examples are
  /// mixed those among which partners are chosen.
  public var teacherInputs: InputIdentity {
    get throws {
      let view = options.effectiveTeacherView
      let augmentation = view == .plain ? Augmentation(options.augmentation.mixing) : options.augmentation
      return InputIdentity(
        augmentation: augmentation.identity, isDrawnForTeacher: view == .other,
        seed: augmentation.isEmpty ? nil : options.augmentationSeed ?? options.seed,
        normalization: options.normalization,
        partners: augmentation.mixing.isEmpty ? nil : try examples.withUnsafeBytes { try SHA256.hex(of: $0) })
    }
  }

  /// `teacherInputs` as a text: the same for loaders that show a teacher the same pixels.
  public var inputIdentity: String { get throws { try teacherInputs.description } }

  /// The batches of one epoch, one after the other. When it is let go, its threads end.
  public final class Batches {
    private let producer: BatchProducer
    private let device: Device

    init(_ producer: BatchProducer, device: Device) {
      self.producer = producer
      self.device = device
    }

    deinit { producer.stop() }

    /// The next batch; nil after the last one.
    ///
    /// - Throws: `DataError` or `TorchError` when it could not be made. There are no more batches then.
    public func next() throws -> Batch? { try nextHostBatch().map { try Batch($0, device: device) } }

    /// The next batch as plain memory; nil after the last one.
    public func nextHostBatch() throws -> HostBatch? { try producer.next() }

    /// Gives what its threads hold, for as long as there are any or this is held.
    var stillHeld: () -> BatchProducer? { { [weak producer] in producer } }
  }
}
