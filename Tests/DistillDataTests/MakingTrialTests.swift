import Foundation
import Synchronization
import Testing
import Torch

@testable import DistillData

/// Examples that take some time to read.
private final class SlowDataset: Dataset {
  let name = "slow"
  let count: Int
  let exampleShape = [2]
  let classNames = ["only"]
  let contentHash = ""
  private let seconds: Double
  private let readers = Mutex<Set<ObjectIdentifier>>([])

  init(count: Int, seconds: Double) {
    self.count = count
    self.seconds = seconds
  }

  /// How many threads have read.
  var readerCount: Int { readers.withLock { $0.count } }

  func label(at index: Int) -> Int { 0 }

  func read(_ index: Int, into destination: UnsafeMutableBufferPointer<Float>) throws {
    _ = readers.withLock { $0.insert(ObjectIdentifier(Thread.current)) }
    Thread.sleep(forTimeInterval: seconds)
    destination.update(repeating: Float(index))
  }
}

@Suite struct MakingTrialTests {
  /// Plays a block of a trial, each of whose batches takes so long.
  private func play(_ trial: MakingTrial, batches: Int = 64, milliseconds: (MakingTrial.Way) -> Int) {
    var block = trial.nextBlock(ofEpochWith: batches)
    repeat { Thread.sleep(forTimeInterval: Double(milliseconds(block.way)) / 1000) } while !block.noteHandedOut()
  }

  @Test("Blocks of both ways are timed in turn; the faster way is kept")
  func keepsTheFasterWay() {
    for faster in [MakingTrial.Way.whenWanted, .ahead] {
      let trial = MakingTrial()
      var ways: [MakingTrial.Way] = []
      while trial.result == nil {
        ways.append(trial.nextBlock(ofEpochWith: 12).way)
        play(trial, batches: 12) { $0 == faster ? 1 : 4 }
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

  @Test("A loader with data that is slow to read ends up with threads of its own, and shows the same batches")
  func loaderLearns() throws {
    let data = SlowDataset(count: 96, seconds: 0.002)
    let options = DataLoader.Options(batchSize: 1, shuffle: true, seed: 3, workers: 2)
    let loader = try DataLoader(dataset: data, options: options)
    for epoch in 0..<2 {
      let batches = loader.batches(epoch: epoch)
      var ids: [Int] = []
      while let batch = try batches.nextHostBatch() {
        ids += batch.ids
        let values = batch.inputs.bytes.bindMemory(to: Float.self)
        #expect(Array(values) == batch.ids.flatMap { [Float($0), Float($0)] })
        Thread.sleep(forTimeInterval: 0.002)
      }
      #expect(ids == loader.order(epoch: epoch))
    }
    #expect(data.readerCount > 1)
    // The thread that asks waits for each example where it reads itself; otherwise it finds them ready.
    let start = ContinuousClock.now
    let batches = loader.batches(epoch: 2)
    var asking = Duration.zero
    while true {
      let asked = ContinuousClock.now
      guard try batches.nextHostBatch() != nil else { break }
      asking += .now - asked
      Thread.sleep(forTimeInterval: 0.002)
    }
    #expect(asking < (.now - start) / 2)
  }
}
