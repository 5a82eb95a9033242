import Foundation

/// Makes the batches of one epoch on threads of its own, a few ahead of the one that is wanted.
///
/// Threads hold it, it does not hold them: once it is stopped and its threads are done, it is gone.
final class BatchProducer: @unchecked Sendable {
  private let make: @Sendable (Int) throws -> HostBatch
  private let end: Int
  private let ahead: Int
  /// Guards everything below.
  private let condition = NSCondition()
  /// The next batch that a thread is to make.
  private var claimed: Int
  /// The next batch that is to be handed out.
  private var wanted: Int
  private var ready: [Int: Result<HostBatch, any Error>] = [:]
  private var isStopped = false
  /// Whether enough were ready, so that the threads rest until most of them are handed out: to wake a thread for each
  /// batch costs a small model more than to make the batch. Threads that are slower than the training never rest.
  private var isResting = false

  /// - Parameters:
  ///   - ahead: how many batches may be ready or in the making; 0 to make each when it is wanted, without a thread
  ///   - make: makes the batch with a number; called on any thread
  init(from start: Int, to end: Int, ahead: Int, workers: Int, make: @escaping @Sendable (Int) throws -> HostBatch) {
    self.make = make
    self.end = end
    self.ahead = ahead
    claimed = start
    wanted = start
    guard ahead > 0 else { return }
    for _ in 0..<min(workers, ahead, end - start) {
      let thread = Thread { self.work() }
      thread.name = "data loader"
      thread.start()
    }
  }

  /// The next batch; nil after the last one.
  ///
  /// - Throws: what making it threw. There are no more batches then.
  func next() throws -> HostBatch? {
    let result: Result<HostBatch, any Error>
    if ahead == 0 {
      guard !isStopped, wanted < end else { return nil }
      result = Result { try make(wanted) }
      wanted += 1
    } else {
      condition.lock()
      guard !isStopped, wanted < end else {
        condition.unlock()
        return nil
      }
      while ready[wanted] == nil { condition.wait() }
      result = ready.removeValue(forKey: wanted) ?? .failure(DataError("the data loader lost batch \(wanted)"))
      wanted += 1
      if isResting, claimed <= wanted + max(1, ahead / 4) {
        isResting = false
        condition.broadcast()
      }
      condition.unlock()
    }
    if case .failure = result { stop() }
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

  private func work() {
    while let number = claim() {
      let result = Result { try make(number) }
      condition.lock()
      if !isStopped { ready[number] = result }
      condition.broadcast()
      condition.unlock()
    }
  }

  /// The number of a batch to make; waits while enough are ready, and is nil when there is no more to do.
  private func claim() -> Int? {
    condition.lock()
    defer { condition.unlock() }
    while !isStopped, claimed < end {
      if claimed >= wanted + ahead { isResting = true }
      guard isResting else { break }
      condition.wait()
    }
    guard !isStopped, claimed < end else { return nil }
    defer { claimed += 1 }
    return claimed
  }
}
