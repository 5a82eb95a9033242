import Foundation
import Synchronization
import Testing
import Torch

@testable import DistillData

/// Ten 1×2×3 images; the first pixel of each is its number.
private func tinyImages(count: Int = 10) throws -> ArrayDataset {
  let pixels = (0..<count).flatMap { id in [id, 10, 20, 30, 40, 50].map { UInt8($0) } }
  return try ArrayDataset(
    name: "tiny", pixels: pixels, exampleShape: [1, 2, 3], labels: (0..<count).map { $0 % 3 })
}

private func allBatches(
  _ loader: DataLoader, epoch: Int, from start: Int = 0
) throws -> [(ids: [Int], labels: [Int], values: [Float])] {
  let batches = loader.batches(epoch: epoch, from: start)
  var found: [(ids: [Int], labels: [Int], values: [Float])] = []
  while let batch = try batches.next() {
    found.append((batch.ids, try batch.labels.array(), try batch.inputs.array()))
  }
  return found
}

@Suite struct LoaderTests {
  @Test func showsEveryExampleOncePerEpoch() throws {
    let dataset = try tinyImages(count: 103)
    let loader = try DataLoader(dataset: dataset, options: .init(batchSize: 10, shuffle: true, seed: 4))
    #expect(loader.batchCount == 11)
    var orders: [[Int]] = []
    for epoch in 0..<3 {
      let batches = try allBatches(loader, epoch: epoch)
      #expect(batches.map(\.ids.count) == Array(repeating: 10, count: 10) + [3])
      let ids = batches.flatMap(\.ids)
      #expect(ids.sorted() == Array(0..<103))
      #expect(batches.flatMap(\.labels) == ids.map { $0 % 3 })
      #expect(batches.flatMap(\.values).enumerated().filter { $0.offset % 6 == 0 }.map { $0.element * 255 }.map {
        Int($0.rounded())
      } == ids)
      orders.append(ids)
    }
    #expect(Set(orders).count == 3)
    #expect(try allBatches(loader, epoch: 1).flatMap(\.ids) == orders[1])
    let other = try DataLoader(dataset: dataset, options: .init(batchSize: 10, shuffle: true, seed: 5))
    #expect(other.order(epoch: 0) != orders[0])
  }

  @Test func orderDoesNotDependOnBatchSize() throws {
    let dataset = try tinyImages(count: 50)
    let orders = try [1, 7, 50, 64].map {
      try allBatches(DataLoader(dataset: dataset, options: .init(batchSize: $0, shuffle: true, seed: 1)), epoch: 2)
        .flatMap(\.ids)
    }
    #expect(Set(orders).count == 1)
  }
}
