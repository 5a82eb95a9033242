import Synchronization

/// Finds out by timing who should make the batches of a training: the threads that compute, each when it is wanted, or
/// threads of their own, ahead.
///
/// Where the threads that compute have all processors, threads of their own take turns with them, and everybody waits for
/// the one that is not running. Where a processor is idle, what they do costs nothing. So some blocks of batches are made
/// in each way, in turn, and timed with all that a training does between them.
final class MakingTrial: Sendable {
  enum Way: Sendable {
    case whenWanted
    case ahead
  }

  /// By how much threads of their own have to be faster: they take memory for what is ahead.
  private static let worthwhile = 1.05
  /// Blocks of each way. The faster of them counts, for the other one may have been disturbed.
  private static let blocks = 2
  /// By how much one way has to be faster for a single block of each to tell: what is that slow is not tried again.
  private static let evident = 1.25

  /// Of each block that came to its end, how long a batch took.
  private let times = Mutex<[Way: [Duration]]>([:])

  /// The clock by which blocks are timed.
  private let now: @Sendable () -> ContinuousClock.Instant

  init(now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }) { self.now = now }

  /// What was found; nil as long as it is not known.
  var result: Way? {
    times.withLock { times in
      guard let whenWanted = times[.whenWanted]?.min(), let ahead = times[.ahead]?.min() else { return nil }
      let isEvident = max(whenWanted, ahead) > min(whenWanted, ahead) * Self.evident
      guard isEvident || times.values.allSatisfy({ $0.count >= Self.blocks }) else { return nil }
      return whenWanted > ahead * Self.worthwhile ? .ahead : .whenWanted
    }
  }

  /// The next block of an epoch with so many batches.
  func nextBlock(ofEpochWith batches: Int) -> Block {
    if let result { return Block(way: result) }
    let (skipped, timed) = (min(4, batches / 4), min(12, batches / 2))
    guard skipped > 0 else { return Block(way: .ahead) }
    let way = times.withLock {
      $0[.whenWanted, default: []].count <= $0[.ahead, default: []].count ? Way.whenWanted : .ahead
    }
    return Block(way: way, trial: self, skipped: skipped, timed: timed)
  }

  func note(_ way: Way, _ time: Duration) {
    times.withLock { $0[way, default: []].append(time) }
  }

  /// Batches that are made in one way.
  struct Block {
    let way: Way
    /// Who is told how long they took; nil: nobody, and the block has no end.
    private let trial: MakingTrial?
    /// Batches that are not timed: at first there are none ahead.
    private let skipped: Int
    private let timed: Int
    private var handedOut = 0
    private var start: ContinuousClock.Instant?

    fileprivate init(way: Way, trial: MakingTrial? = nil, skipped: Int = 0, timed: Int = 0) {
      self.way = way
      self.trial = trial
      self.skipped = skipped
      self.timed = timed
    }

    /// Notes that a batch is handed out. Gives whether the block has come to its end.
    mutating func noteHandedOut() -> Bool {
      guard let trial else { return false }
      handedOut += 1
      if handedOut == skipped { start = trial.now() }
      guard handedOut == skipped + timed, let start else { return false }
      trial.note(way, (trial.now() - start) / timed)
      return true
    }
  }
}
