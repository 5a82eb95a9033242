import Foundation
import Synchronization
import Testing
import Torch

@testable import DistillData

/// A clock that goes on when it is told to.
private final class HandClock: Sendable {
  private let instant = Mutex(ContinuousClock.now)
  var now: ContinuousClock.Instant { instant.withLock { $0 } }
  func goOn(_ duration: Duration) { instant.withLock { $0 += duration } }
}

@Suite struct MakingTrialTests {
  @Test("Blocks of both ways are timed in turn; the faster way is kept")
  func keepsTheFasterWay() {
    for faster in [MakingTrial.Way.whenWanted, .ahead] {
      let clock = HandClock()
      let trial = MakingTrial { clock.now }
      var ways: [MakingTrial.Way] = []
      while trial.result == nil {
        var block = trial.nextBlock(ofEpochWith: 12)
        ways.append(block.way)
        repeat { clock.goOn(.milliseconds(block.way == faster ? 1 : 4)) } while !block.noteHandedOut()
      }
      // Four times as slow is told by one block of each.
      #expect(ways == [.whenWanted, .ahead])
      #expect(trial.result == faster)
      var block = trial.nextBlock(ofEpochWith: 12)
      #expect(block.way == faster)
      let ends = (0..<100).map { _ in block.noteHandedOut() }
      #expect(!ends.contains(true))
    }
  }

  @Test("Threads of their own must be clearly faster, and one disturbed block counts for nothing")
  func weighsTimes() {
    func result(whenWanted: [Int], ahead: [Int]) -> MakingTrial.Way? {
      let trial = MakingTrial()
      for time in whenWanted { trial.note(.whenWanted, .microseconds(time)) }
      for time in ahead { trial.note(.ahead, .microseconds(time)) }
      return trial.result
    }
    #expect(result(whenWanted: [100], ahead: []) == nil)
    #expect(result(whenWanted: [100], ahead: [80]) == nil)
    #expect(result(whenWanted: [100], ahead: [125]) == nil)
    #expect(result(whenWanted: [100], ahead: [79]) == .ahead)
    #expect(result(whenWanted: [100], ahead: [126]) == .whenWanted)
    #expect(result(whenWanted: [100, 100], ahead: [100]) == nil)
    #expect(result(whenWanted: [100, 100], ahead: [100, 100]) == .whenWanted)
    #expect(result(whenWanted: [100, 100], ahead: [96, 96]) == .whenWanted)
    #expect(result(whenWanted: [100, 100], ahead: [94, 94]) == .ahead)
    #expect(result(whenWanted: [100, 900], ahead: [120, 110]) == .whenWanted)
    #expect(result(whenWanted: [100, 100], ahead: [900, 50]) == .ahead)
  }

  @Test("An epoch of a few batches is not timed: they are made ahead") func shortEpochs() {
    let trial = MakingTrial()
    var block = trial.nextBlock(ofEpochWith: 3)
    #expect(block.way == .ahead)
    let ends = (0..<100).map { _ in block.noteHandedOut() }
    #expect(!ends.contains(true))
  }

  @Test("Batches are made in the way of each block, and in the end in the faster one", arguments: [true, false])
  func producerFollows(isFasterAhead: Bool) throws {
    let clock = HandClock()
    let trial = MakingTrial { clock.now }
    let data = try tinyImages(200)
    let whole = try DataLoader(dataset: data, options: .init(batchSize: 2, prefetch: 0))
    let plain = whole.batches(epoch: 0)
    var sources: [HostBatch] = []
    while let batch = try plain.nextHostBatch() { sources.append(batch) }
    // Who made a batch: libtorch's threads together, or one of the producer's.
    let isShared = Mutex<[Int: Bool]>([:])
    let producer = BatchProducer(from: 0, to: sources.count, ahead: 4, workers: 2, trial: trial) {
      [sources] number, shared in
      isShared.withLock { $0[number] = shared }
      return sources[number]
    }
    var ids: [Int] = []
    var number = 0
    while let batch = try producer.next() {
      ids += batch.ids
      let wasAhead = isShared.withLock { $0[number] } == false
      clock.goOn(.milliseconds(wasAhead == isFasterAhead ? 1 : 4))
      number += 1
    }
    #expect(ids == Array(0..<200))
    #expect(trial.result == (isFasterAhead ? .ahead : .whenWanted))
    let ways = isShared.withLock { found in (0..<sources.count).compactMap { found[$0] } }
    #expect(ways.count == sources.count)
    #expect(ways.contains(true) && ways.contains(false), "both were tried")
    #expect(ways.suffix(50).allSatisfy { $0 == !isFasterAhead })
  }

  @Test("Whoever makes them, a loader shows the same batches") func sameBatches() throws {
    func shown(prefetch: Int?) throws -> [[Int]] {
      let loader = try DataLoader(
        dataset: tinyImages(96),
        options: .init(batchSize: 1, shuffle: true, seed: 3, prefetch: prefetch, workers: 2))
      return try (0..<2).flatMap { epoch -> [[Int]] in
        let batches = loader.batches(epoch: epoch)
        var found: [[Int]] = []
        while let batch = try batches.nextHostBatch() {
          found.append(batch.ids + batch.inputs.bytes.bindMemory(to: Float.self).map { Int($0) })
        }
        return found
      }
    }
    let tried = try shown(prefetch: nil)
    #expect(tried.count == 192)
    #expect(try tried == shown(prefetch: 0))
    #expect(try tried == shown(prefetch: 4))
  }
}
