import Foundation
import TestSupport
import Testing
import Torch

/// The memory of small tensors is reused, by threads of their own.
struct SmallTensorTests {
  private struct Box: @unchecked Sendable {
    var tensors: [Tensor]
  }

  /// Below, at and above each size of block.
  private static let counts = [1, 15, 16, 17, 32, 33, 64, 127, 128, 129, 1024, 2048, 2049, 4095, 4096, 4097, 8192]

  private static func made(_ round: Int) throws -> [Tensor] {
    try counts.map { try Tensor.full([$0], Double(round * 100_000 + $0), dtype: .float32) }
  }

  private static func holds(_ tensor: Tensor, _ round: Int) throws -> Bool {
    let expected = Float(round * 100_000 + tensor.count)
    return try tensor.floats().allSatisfy { $0 == expected }
  }

  @Test func noTwoLiveTensorsShareABlock() throws {
    var live: [[Tensor]] = []
    for round in 0..<100 {
      live.append(try Self.made(round))
      // Half of the older ones go, so that their blocks are given out again.
      if round % 2 == 1 { live[round / 2] = [] }
    }
    for (round, tensors) in live.enumerated() {
      for tensor in tensors { #expect(try Self.holds(tensor, round), "\(tensor.count) of round \(round)") }
    }
  }

  @Test func memoryLiesOnBoundariesOf64Bytes() throws {
    for round in 0..<3 {
      for tensor in try Self.made(round) {
        let address = try tensor.withBytes { Int(bitPattern: $0.baseAddress) }
        #expect(address % 64 == 0, "\(tensor.count) elements at \(address)")
      }
    }
  }

  @Test func tensorsMayBeFreedOnAnotherThreadAndOutliveTheirOwn() throws {
    let second = Box(tensors: try Self.made(2))
    nonisolated(unsafe) var emptied = Box(tensors: try Self.made(1))
    nonisolated(unsafe) var fromThread = Box(tensors: [])
    let thread = Thread {
      emptied.tensors = []
      // More than a thread keeps of one size.
      let many = (0..<200).compactMap { try? Tensor.full([16], Double($0), dtype: .float32) }
      fromThread.tensors = (try? Self.made(3)) ?? []
      _ = many.count
    }
    thread.start()
    while !thread.isFinished { usleep(1000) }
    for _ in 0..<3 { _ = try Self.made(4) }
    #expect(fromThread.tensors.count == Self.counts.count)
    for tensor in fromThread.tensors { #expect(try Self.holds(tensor, 3)) }
    for tensor in second.tensors { #expect(try Self.holds(tensor, 2)) }
  }
}
