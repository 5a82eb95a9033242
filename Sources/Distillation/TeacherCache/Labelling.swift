import DistillData
import Foundation
import Torch
import TorchNN

extension TeacherCache {
  /// What is kept, and how the work is done.
  public struct LabelOptions: Sendable {
    public var logits = LogitEncoding.all(.float16)
    public var features: [CachedFeature] = []
    /// The temperatures at which fidelity is measured; those of the encoding are added.
    public var temperatures: [Double] = [1]
    /// nil: so many that a shard has about 64 MiB.
    public var rowsPerShard: Int?
    /// Whether to wait for other processes that are at work at the last shards, and to take over from those that end
    /// without having finished.
    public var waits = true
    /// Called once, when there is something that is not labelled yet.
    public var begins: @Sendable () -> Void = {}

    public init(
      logits: LogitEncoding = .all(.float16), features: [CachedFeature] = [], temperatures: [Double] = [1],
      rowsPerShard: Int? = nil
    ) {
      self.logits = logits
      self.features = features
      self.temperatures = temperatures
      self.rowsPerShard = rowsPerShard
    }
  }

  /// Where labelling stands.
  public struct LabelProgress: Sendable {
    public var shardCount: Int
    /// Shards that were there before, or that others made.
    public var foundShards: Int
    /// Shards that this call made.
    public var madeShards: Int
    /// Labelled examples of these, each view counted.
    public var madeRows: Int
    /// All rows of the cache.
    public var rowCount: Int
    /// The part of the cache that is done, from 0 to 1.
    public var fraction: Double
    /// Whether all that is left is in the work of others.
    public var isWaiting: Bool
  }

  /// Lets a teacher label all examples of a loader, in all its views, into a folder. What is there is not computed again;
  /// other processes may be at the same work.
  ///
  /// - Parameters:
  ///   - teacherKey: who the teacher is
  ///   - progress: called after each batch, and while waiting; answers whether to go on
  /// - Returns: where labelling stands in the end. The cache is complete unless others are at work and `waits` is false.
  /// - Throws: `TeacherCacheError` when another cache, or something else, is in the folder; `Interrupted` when `progress`
  ///   answers `.stop`: what was finished stays.
  @discardableResult
  public static func label(
    with teacher: any Teacher, over loader: DataLoader, as teacherKey: Key.Teacher, in folder: String,
    options: LabelOptions = LabelOptions(), progress: (LabelProgress) throws -> Answer = { _ in .continue }
  ) throws -> LabelProgress {
    let key = try Key(loader, teacher: teacherKey)
    let request = FeatureRequest(options.features)
    // The shapes of what the teacher says are known by two examples.
    let first = try loader.batch(ids: Array(loader.examples.ascendingSet.prefix(2)))
    let contents = try Contents(
      of: request.trace(teacher, first), logits: options.logits, features: options.features,
      temperatures: options.temperatures)
    let writer = try TeacherCacheWriter(
      folder, key: key, contents: contents, examples: loader.examples, rowsPerShard: options.rowsPerShard,
      batchSize: loader.options.batchSize)
    let plan = writer.description.shards
    var state = LabelProgress(plan)
    if !writer.missingShards.isEmpty { options.begins() }
    while true {
      let shard = try writer.claim()
      let missing = writer.missingShards.count
      state.foundShards = plan.count - missing - state.madeShards
      state.fraction = Double(plan.count - missing) / Double(plan.count)
      guard let shard else {
        state.isWaiting = missing > 0
        if missing == 0 || !options.waits { return state }
        if try progress(state) == .stop { throw Interrupted() }
        usleep(100_000)
        continue
      }
      state.isWaiting = false
      try label(shard, with: teacher, request, over: loader, contents) { rows in
        state.madeRows += rows
        state.fraction += Double(rows) / Double(state.rowCount)
        return try progress(state)
      }
      try shard.finish()
      state.madeShards += 1
    }
  }

  private static func label(
    _ shard: ShardWriter, with teacher: any Teacher, _ request: FeatureRequest, over loader: DataLoader,
    _ contents: Contents, progress: (Int) throws -> Answer
  ) throws {
    let batches = loader.batches(of: shard.ids, view: shard.view)
    while let batch = try batches.next() {
      guard batch.teacherView == shard.view else {
        throw DistillationError(
          "the loader gave view \(batch.teacherView) where view \(shard.view) was to be labelled")
      }
      let start = ContinuousClock.now
      let trace = try request.trace(teacher, batch)
      // On another device the numbers are there once they are on the processor.
      let logits = try trace.memberLogits.map { try $0.detached().to(.cpu, dtype: .float32) }
      let features = try contents.features.map { try trace.activation(of: $0).detached().to(Device.cpu) }
      try shard.append(
        logits: logits, features: features, tokens: batch.predictsTokens ? batch.tokens : nil,
        seconds: (ContinuousClock.now - start) / .seconds(1))
      if try progress(batch.ids.count) == .stop { throw Interrupted() }
    }
  }
}

/// The taps of the features that are to be kept.
private struct FeatureRequest {
  private var taps: [Tap] = []
  private var memberTaps: [Int: [Tap]] = [:]

  init(_ features: [CachedFeature]) {
    for feature in features {
      if let member = feature.member {
        memberTaps[member, default: []].append(feature.tap)
      } else {
        taps.append(feature.tap)
      }
    }
  }

  func trace(_ teacher: any Teacher, _ batch: Batch) throws -> TeacherTrace {
    memberTaps.isEmpty
      ? try teacher.trace(batch, taps: taps) : try teacher.trace(batch, taps: taps, memberTaps: memberTaps)
  }
}

extension TeacherCache.LabelProgress {
  fileprivate init(_ plan: TeacherCache.ShardPlan) {
    self.init(
      shardCount: plan.count, foundShards: 0, madeShards: 0, madeRows: 0, rowCount: plan.views * plan.exampleCount,
      fraction: 0, isWaiting: false)
  }
}
