import Foundation
import Synchronization
import Testing
import Torch

@testable import DistillData

/// Images of 1×2×3 pixels; the first pixel of each is its number.
func tinyImages(_ count: Int) throws -> ArrayDataset {
  let pixels = (0..<count).flatMap { id in [id, 10, 20, 30, 40, 50].map { UInt8($0) } }
  return try ArrayDataset(name: "tiny", pixels: pixels, exampleShape: [1, 2, 3], labels: (0..<count).map { $0 % 3 })
}

/// What a batch holds, as plain values.
private struct Content: Equatable {
  var ids: [Int]
  var labels: [Int]
  var values: [Float]
  var view: Int
  var secondLabels: [Int]?
  var secondWeights: [Float]?

  init(_ batch: HostBatch) {
    ids = batch.ids
    labels = batch.labels
    values = floats(batch)
    view = batch.view
    secondLabels = batch.secondLabels
    secondWeights = batch.secondWeights
  }
}

private func contents(_ loader: DataLoader, epoch: Int, from start: Int = 0) throws -> [Content] {
  let batches = loader.batches(epoch: epoch, from: start)
  var found: [Content] = []
  while let batch = try batches.nextHostBatch() { found.append(Content(batch)) }
  return found
}

/// Counts how often it is read, and fails at one example.
private final class WatchedDataset: Dataset {
  let name = "watched"
  let count = 100
  let exampleShape = [2]
  let classNames = ["only"]
  let contentHash = ""
  let bad: Int
  let reads = Atomic<Int>(0)

  init(bad: Int = -1) { self.bad = bad }

  func label(at index: Int) -> Int { 0 }

  func read(_ index: Int, into destination: UnsafeMutableBufferPointer<Float>) throws {
    reads.add(1, ordering: .relaxed)
    if index == bad { throw DataError(file: "example \(index)", "is unreadable") }
    destination.update(repeating: Float(index))
  }
}

@Suite struct LoaderTests {
  @Test func showsEveryExampleOncePerEpoch() throws {
    let loader = try DataLoader(dataset: tinyImages(103), options: .init(batchSize: 10, shuffle: true, seed: 4))
    #expect(loader.batchCount == 11)
    var orders: [[Int]] = []
    for epoch in 0..<3 {
      let batches = try contents(loader, epoch: epoch)
      #expect(batches.map(\.ids.count) == Array(repeating: 10, count: 10) + [3])
      let ids = batches.flatMap(\.ids)
      #expect(ids.sorted() == Array(0..<103))
      #expect(batches.flatMap(\.labels) == ids.map { $0 % 3 })
      let values = batches.flatMap(\.values)
      #expect(stride(from: 0, to: values.count, by: 6).map { values[$0] } == ids.map { Float($0) / 255 })
      orders.append(ids)
    }
    #expect(Set(orders).count == 3)
    #expect(try contents(loader, epoch: 1).flatMap(\.ids) == orders[1])
    let other = try DataLoader(dataset: tinyImages(103), options: .init(batchSize: 10, shuffle: true, seed: 5))
    #expect(other.order(epoch: 0) != orders[0])
  }

  @Test func keepsTheOrderWithoutShuffle() throws {
    let loader = try DataLoader(dataset: tinyImages(9), examples: [7, 2, 5], options: .init(batchSize: 2))
    #expect(try contents(loader, epoch: 3).map(\.ids) == [[7, 2], [5]])
  }

  @Test func orderDoesNotDependOnBatchSize() throws {
    let orders = try [1, 7, 50, 64].map { size in
      try contents(DataLoader(dataset: tinyImages(50), options: .init(batchSize: size, shuffle: true)), epoch: 2)
        .flatMap(\.ids)
    }
    #expect(Set(orders).count == 1)
  }

  @Test func shuffleIsFair() throws {
    let loader = try DataLoader(dataset: tinyImages(5), options: .init(batchSize: 5, shuffle: true, seed: 9))
    var counts = [[Int]](repeating: [Int](repeating: 0, count: 5), count: 5)
    for epoch in 0..<2000 {
      for (place, id) in loader.order(epoch: epoch).enumerated() { counts[id][place] += 1 }
    }
    // 400 expected, with a standard deviation of 18.
    #expect(counts.joined().allSatisfy { (310...490).contains($0) })
  }

  @Test func makesTensors() throws {
    let loader = try DataLoader(
      dataset: tinyImages(5), examples: [4, 1], options: .init(batchSize: 8, hiddenLabels: [4]))
    let batches = loader.batches(epoch: 0)
    let batch = try #require(try batches.next())
    #expect(try batches.next() == nil)
    #expect(batch.inputs.shape == [2, 1, 2, 3])
    #expect(batch.inputs.dtype == .float32)
    #expect(batch.labels.dtype == .int64)
    #expect(try batch.labels.array(of: Int.self) == [-1, 1])
    #expect(batch.labelledCount == 1)
    #expect(batch.secondLabels == nil && batch.secondWeights == nil)
    let expected = [4, 10, 20, 30, 40, 50, 1, 10, 20, 30, 40, 50].map { Float($0) / 255 }
    #expect(try batch.inputs.array() == expected)
  }

  @Test func resumesInTheMiddle() throws {
    let options = DataLoader.Options(
      batchSize: 8, shuffle: true, seed: 2, augmentation: [.horizontalFlip(), .mixup(alpha: 1)])
    let loader = try DataLoader(dataset: tinyImages(50), options: options)
    let whole = try contents(loader, epoch: 3)
    for start in 0...7 { #expect(try contents(loader, epoch: 3, from: start) == Array(whole[start...])) }
  }

  @Test func isTheSameWhateverTheThreads() throws {
    func all(prefetch: Int?, workers: Int) throws -> [Content] {
      let options = DataLoader.Options(
        batchSize: 8, shuffle: true, seed: 2,
        augmentation: [.horizontalFlip(), .paddedCrop(padding: 1), .cutout(size: 1), .cutmix(alpha: 1)],
        prefetch: prefetch, workers: workers)
      return try contents(DataLoader(dataset: tinyImages(200), options: options), epoch: 1)
    }
    let plain = try all(prefetch: 0, workers: 1)
    #expect(plain.count == 25)
    for (prefetch, workers) in [(1, 1), (8, 1), (8, 3), (2, 5), (100, 4), (nil, 2)] {
      #expect(try all(prefetch: prefetch, workers: workers) == plain)
    }
  }

  /// Large enough that libtorch's threads share a batch that is made when it is wanted.
  @Test("A batch is the same whoever makes it", arguments: [TeacherView.same, .plain, .other])
  func isTheSameWhoeverMakesIt(teacherView: TeacherView) throws {
    let size = 3 * 32 * 32
    let data = try ArrayDataset(
      name: "noise", pixels: (0..<60 * size).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) },
      exampleShape: [3, 32, 32], labels: (0..<60).map { $0 % 7 })
    func all(prefetch: Int?) throws -> [[[UInt8]]] {
      var options = DataLoader.Options(
        batchSize: 16, shuffle: true, seed: 2,
        augmentation: [.horizontalFlip(), .paddedCrop(padding: 4), .mixup(alpha: 1)],
        normalization: .init(mean: [0.4, 0.5, 0.6], standardDeviation: [0.2, 0.3, 0.25]), prefetch: prefetch,
        channelsLast: true)
      options.teacherView = teacherView
      let batches = try DataLoader(dataset: data, options: options).batches(epoch: 1)
      var found: [[[UInt8]]] = []
      while let batch = try batches.nextHostBatch() {
        found.append([Array(batch.inputs.bytes), Array(batch.teacherInputs?.bytes ?? .init(start: nil, count: 0))])
      }
      return found
    }
    let ahead = try all(prefetch: 2)
    #expect(ahead.count == 4)
    #expect(try all(prefetch: 0) == ahead)
    #expect(try all(prefetch: nil) == ahead)
  }

  @Test func repeatsViews() throws {
    func loader(views: Int?) throws -> DataLoader {
      let options = DataLoader.Options(
        batchSize: 64, seed: 5, augmentation: [.shift(pixels: 1), .horizontalFlip()], views: views)
      return try DataLoader(dataset: tinyImages(64), options: options)
    }
    let two = try loader(views: 2)
    let epochs = try (0..<4).map { try contents(two, epoch: $0) }
    #expect(epochs[0] == epochs[2] && epochs[1] == epochs[3])
    #expect(epochs[0][0].values != epochs[1][0].values)
    #expect(epochs.map { $0[0].view } == [0, 1, 0, 1])
    let fresh = try loader(views: nil)
    let views = try (0..<4).map { try contents(fresh, epoch: $0)[0] }
    #expect(Set(views.map(\.values)).count == 4)
    #expect(views.map(\.view) == [0, 1, 2, 3])
    #expect(views[1] == epochs[1][0])
    // An example's view is the same in whatever batch it is, and whether or not an epoch shows it.
    let alone = try fresh.hostBatch(ids: [17, 3], view: 1)
    #expect(Content(alone).values == Array(views[1].values[17 * 6..<18 * 6] + views[1].values[3 * 6..<4 * 6]))
  }

  @Test func seedsDiffer() throws {
    let batches = try [UInt64(1), 2].map { seed in
      let options = DataLoader.Options(batchSize: 64, seed: seed, augmentation: [.horizontalFlip()])
      return try contents(DataLoader(dataset: tinyImages(64), options: options), epoch: 0)
    }
    #expect(batches[0][0].values != batches[1][0].values)
  }

  @Test func normalizesBytesAndNumbersAlike() throws {
    let pixels: [UInt8] = [0, 51, 102, 255, 0, 255, 128, 1]
    let normalization = Normalization(mean: [0.2, 0.5], standardDeviation: [0.4, 0.25])
    let options = DataLoader.Options(batchSize: 1, normalization: normalization)
    let bytes = try ArrayDataset(name: "bytes", pixels: pixels, exampleShape: [2, 2, 2])
    let numbers = try ArrayDataset(name: "numbers", values: pixels.map { Float($0) / 255 }, exampleShape: [2, 2, 2])
    let first = try Content(DataLoader(dataset: bytes, options: options).hostBatch(ids: [0])).values
    #expect(try Content(DataLoader(dataset: numbers, options: options).hostBatch(ids: [0])).values == first)
    let expected: [Float] = [-0.5, 0, 0.5, 2, -2, 2, (128 / 255 - 0.5) / 0.25, (1 / 255 - 0.5) / 0.25]
    #expect(zip(first, expected).allSatisfy { abs($0 - $1) < 1e-6 })
  }

  @Test func laysChannelsLast() throws {
    let dataset = try ArrayDataset(
      name: "colours", pixels: (0..<48).map { UInt8($0 * 5) }, exampleShape: [3, 2, 4], labels: [0, 1])
    for step in [[], [AugmentationStep.cutmix(alpha: 1), .horizontalFlip()]] {
      let batches = try [false, true].map { last in
        let options = DataLoader.Options(
          batchSize: 2, seed: 6, augmentation: Augmentation(step),
          normalization: .init(mean: [0.1, 0.2, 0.3], standardDeviation: [0.5, 1, 2]), channelsLast: last)
        return try DataLoader(dataset: dataset, options: options).batch(ids: [1, 0])
      }
      #expect(batches[0].inputs.strides == [24, 8, 4, 1])
      #expect(batches[1].inputs.strides == [24, 1, 12, 3])
      #expect(batches[1].inputs.shape == [2, 3, 2, 4])
      #expect(try batches[0].inputs.array(of: Float.self) == batches[1].inputs.array())
    }
  }

  @Test(arguments: [0, 1, 4]) func handsOnErrors(prefetch: Int) throws {
    let loader = try DataLoader(
      dataset: WatchedDataset(bad: 25), options: .init(batchSize: 10, prefetch: prefetch, workers: 2))
    let batches = loader.batches(epoch: 0)
    #expect(try batches.next()?.ids.first == 0)
    #expect(try batches.next()?.ids.first == 10)
    #expect(message { _ = try batches.next() } == "example 25: is unreadable")
    #expect(try batches.next() == nil)
  }

  /// The threads rest when enough is ready, and go on when most of it was handed out: not at every batch, since to wake a
  /// thread costs more than to make a small batch.
  @Test func makesOnlyAFewAhead() throws {
    let dataset = WatchedDataset()
    let loader = try DataLoader(dataset: dataset, options: .init(batchSize: 5, prefetch: 3, workers: 2))
    let batches = loader.batches(epoch: 0)
    /// What was read when the threads have to wait.
    func readsAtRest(_ expected: Int) -> Int {
      func reads() -> Int { dataset.reads.load(ordering: .relaxed) }
      let deadline = Date(timeIntervalSinceNow: 5)
      while reads() < expected, Date() < deadline { Thread.sleep(forTimeInterval: 0.005) }
      Thread.sleep(forTimeInterval: 0.05)
      return reads()
    }
    #expect(readsAtRest(15) == 15)
    #expect(try batches.next()?.ids == [0, 1, 2, 3, 4])
    #expect(readsAtRest(15) == 15)
    #expect(try batches.next()?.ids == [5, 6, 7, 8, 9])
    #expect(readsAtRest(25) == 25)
    #expect(try batches.next()?.ids == [10, 11, 12, 13, 14])
  }

  @Test(arguments: [1, 3]) func endsItsThreadsWhenLetGo(workers: Int) throws {
    let loader = try DataLoader(dataset: tinyImages(200), options: .init(batchSize: 2, prefetch: 4, workers: workers))
    for taken in [0, 1, 3, 100] {
      var batches: DataLoader.Batches? = loader.batches(epoch: 0)
      let held = try #require(batches?.stillHeld)
      #expect(held() != nil)
      for _ in 0..<taken { _ = try batches?.next() }
      batches = nil
      let deadline = Date(timeIntervalSinceNow: 5)
      while held() != nil, Date() < deadline { Thread.sleep(forTimeInterval: 0.002) }
      #expect(held() == nil)
    }
  }

  @Test func namesWhatItsViewsDependOn() throws {
    func identity(_ change: (inout DataLoader.Options) -> Void, examples: [Int] = [0, 1, 2]) throws -> String {
      var options = DataLoader.Options(batchSize: 2)
      change(&options)
      return try DataLoader(dataset: tinyImages(4), examples: examples, options: options).inputIdentity
    }
    let plain = try identity { _ in }
    #expect(plain == "none")
    #expect(
      try identity {
        $0.seed = 3; $0.batchSize = 1; $0.shuffle = true
      } == plain)
    let flip = try identity { $0.augmentation = [.horizontalFlip()] }
    let others = [
      plain, flip,
      try identity {
        $0.augmentation = [.horizontalFlip()]; $0.seed = 1
      },
      try identity { $0.augmentation = [.horizontalFlip(probability: 0.25)] },
      try identity { $0.normalization = .init(mean: [0.5], standardDeviation: [1]) },
      try identity { $0.augmentation = [.mixup(alpha: 1)] },
      try identity({ $0.augmentation = [.mixup(alpha: 1)] }, examples: [0, 1]),
    ]
    #expect(Set(others).count == others.count)
    #expect(try identity({ $0.augmentation = [.horizontalFlip()] }, examples: [0, 1]) == flip)
  }

  @Test func refusesOptionsThatMakeNoSense() throws {
    let dataset = try tinyImages(4)
    func refusal(examples: [Int] = [0, 1], _ change: (inout DataLoader.Options) -> Void) -> String {
      var options = DataLoader.Options(batchSize: 2)
      change(&options)
      return message { _ = try DataLoader(dataset: dataset, examples: examples, options: options) }
    }
    #expect(refusal { $0.batchSize = 0 }.contains("a batch of 0 examples"))
    #expect(refusal { $0.prefetch = -1 }.contains("-1 batches"))
    #expect(refusal { $0.workers = 0 }.contains("worker"))
    #expect(refusal { $0.views = 0 }.contains("0 views"))
    #expect(refusal(examples: []) { _ in }.contains("no examples of tiny"))
    #expect(refusal(examples: [4]) { _ in }.contains("no number 4"))
    #expect(refusal { $0.hiddenLabels = [9] }.contains("no example 9"))
    #expect(refusal { $0.normalization = .init(mean: [0, 0], standardDeviation: [1]) }.contains("2 means"))
    #expect(refusal { $0.normalization = .init(mean: [0], standardDeviation: [0]) }.contains("above 0"))
    #expect(refusal { $0.augmentation = [.shift(pixels: 2)] }.contains("from 0 to 1"))
    #expect(refusal { $0.augmentation = [.horizontalFlip(probability: 2)] }.contains("probability"))
    #expect(refusal { $0.augmentation = [.cutout(size: 0)] }.contains("at least 1"))
    #expect(refusal { $0.augmentation = [.mixup(alpha: 0)] }.contains("alpha"))
    let loader = try DataLoader(dataset: dataset, options: .init(batchSize: 2))
    #expect(message { _ = try loader.hostBatch(ids: [-1]) }.contains("no number -1"))
    #expect(message { _ = try loader.hostBatch(ids: []) }.contains("needs examples"))
    let table = try ArrayDataset(name: "table", values: [1, 2], exampleShape: [2])
    let options = DataLoader.Options(batchSize: 1, augmentation: [.horizontalFlip()])
    #expect(message { _ = try DataLoader(dataset: table, options: options) }.contains("works on images"))
  }
}
