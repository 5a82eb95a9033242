import Foundation
import Synchronization
import Testing

@testable import Torch

private struct Failure: Error, Equatable {
  var first: Int
}

@Suite struct SharedWorkTests {
  @Test("Every thing is done once, in parts that are large enough", arguments: [0, 1, 2, 7, 64, 1000], [1, 3, 64])
  func doesEverything(count: Int, grain: Int) throws {
    let parts = Mutex<[Range<Int>]>([])
    try TorchRuntime.share(count, grain: grain) { part in parts.withLock { $0.append(part) } }
    let found = parts.withLock { $0 }.sorted { $0.lowerBound < $1.lowerBound }
    #expect(found.flatMap { Array($0) } == Array(0..<count))
    #expect(found.dropLast().allSatisfy { $0.count >= grain })
  }

  @Test func usesTheThreadsThatCompute() throws {
    guard try TorchRuntime.threadCount > 1 else { return }
    let threads = Mutex<Set<ObjectIdentifier>>([])
    try TorchRuntime.share(64, grain: 1) { _ in
      _ = threads.withLock { $0.insert(ObjectIdentifier(Thread.current)) }
    }
    #expect(threads.withLock { $0.count } > 1)
  }

  @Test("Of several failures the first is told, and everything else is done all the same") func failures() throws {
    let done = Atomic<Int>(0)
    #expect(throws: Failure(first: 0)) {
      try TorchRuntime.share(100, grain: 1) { part in
        done.add(part.count, ordering: .relaxed)
        throw Failure(first: part.lowerBound)
      }
    }
    #expect(done.load(ordering: .relaxed) == 100)
  }
}
