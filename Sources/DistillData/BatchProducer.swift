import Foundation

/// Makes the batches of one epoch: each when it is wanted, or on threads of its own, a few ahead of the one that is wanted.
///
/// Threads hold it, it does not hold them: once it is stopped and its threads are done, it is gone.
final class BatchProducer: @unchecked Sendable {
  private let make: @Sendable (_ number: Int, _ isShared: Bool) throws -> HostBatch
  private let end: Int
  private let ahead: Int
  private let workers: Int
  /// What finds out whether threads of its own pay.
  private let trial: MakingTrial?
  private let batchCount: Int
  private var block: MakingTrial.Block?
  /// Guards everything below.
  private let condition = NSCondition()
  /// The next batch that a thread is to make; those before it are made, or in the making.
  private var claimed: Int
  /// The next batch that is to be handed out.
  private var wanted: Int
  private var ready: [Int: Result<HostBatch, any Error>] = [:]
  private var isStopped = false
  /// The threads that may claim batches: each time that threads are started they have another number. nil: there are none.
  private var crew: Int?
  private var crews = 0
  /// Whether enough were ready, so that the threads rest until most of them are handed out: to wake a thread for each
  /// batch costs a small model more than to make the batch. Threads that are slower than the training never rest.
  private var isResting = false

  /// - Parameters:
  ///   - ahead: how many batches may be ready or in the making; 0 to make each when it is wanted, without a thread
  ///   - trial: decides, block by block, whether any are made ahead
  ///   - make: makes the batch with a number, on any thread; shared with libtorch's threads if it is made when wanted
  init(
    from start: Int, to end: Int, ahead: Int, workers: Int, trial: MakingTrial? = nil,
    make: @escaping @Sendable (_ number: Int, _ isShared: Bool) throws -> HostBatch
  ) {
    self.make = make
    self.end = end
    self.ahead = ahead
    self.workers = min(workers, ahead, end - start)
    self.trial = trial
    batchCount = end - start
    claimed = start
    wanted = start
    block = trial?.nextBlock(ofEpochWith: batchCount)
    if block?.way ?? .ahead == .ahead { startThreads() }
  }

  /// The next batch; nil after the last one.
  ///
  /// - Throws: what making it threw. There are no more batches then.
  func next() throws -> HostBatch? {
    guard let result = take() else { return nil }
    if case .failure = result { stop() }
    if block?.noteHandedOut() == true { beginBlock() }
    return try result.get()
  }

  /// Ends the threads, each after the batch that it is making.
  func stop() {
    condition.lock()
    isStopped = true
    ready.removeAll()
    condition.broadcast()
    condition.unlock()
  }

  private func take() -> Result<HostBatch, any Error>? {
    condition.lock()
    guard !isStopped, wanted < end else {
      condition.unlock()
      return nil
    }
    let number = wanted
    wanted += 1
    if crew == nil, number >= claimed {
      claimed = wanted
      condition.unlock()
      return Result { try make(number, true) }
    }
    defer { condition.unlock() }
    while ready[number] == nil { condition.wait() }
    if isResting, claimed <= wanted + max(1, ahead / 4) {
      isResting = false
      condition.broadcast()
    }
    return ready.removeValue(forKey: number)
  }

  /// Goes on in the way of the trial's next block.
  private func beginBlock() {
    block = trial?.nextBlock(ofEpochWith: batchCount)
    guard let way = block?.way else { return }
    condition.lock()
    let hasThreads = crew != nil
    if way == .whenWanted, hasThreads {
      crew = nil
      condition.broadcast()
    }
    condition.unlock()
    if way == .ahead, !hasThreads { startThreads() }
  }

  private func startThreads() {
    guard workers > 0 else { return }
    condition.lock()
    crews += 1
    crew = crews
    isResting = false
    let number = crews
    condition.unlock()
    for _ in 0..<workers {
      let thread = Thread { self.work(number) }
      thread.name = "data loader"
      thread.start()
    }
  }

  private func work(_ crew: Int) {
    while let number = claim(crew) {
      let result = Result { try make(number, false) }
      condition.lock()
      if !isStopped { ready[number] = result }
      condition.broadcast()
      condition.unlock()
    }
  }

  /// The number of a batch to make; waits while enough are ready, and is nil when there is no more to do.
  private func claim(_ crew: Int) -> Int? {
    condition.lock()
    defer { condition.unlock() }
    while isAtWork(crew) {
      if claimed >= wanted + ahead { isResting = true }
      guard isResting else { break }
      condition.wait()
    }
    guard isAtWork(crew) else { return nil }
    defer { claimed += 1 }
    return claimed
  }

  private func isAtWork(_ crew: Int) -> Bool { !isStopped && claimed < end && self.crew == crew }
}
