import Foundation
import Testing
import Torch

@testable import DistillData

/// The pixels after `change` of an image.
private func edited(
  _ pixels: [Float], shape: [Int], cover: [Float] = [0, 0, 0], _ change: (inout PixelEditor<Float>) -> Void
) -> [Float] {
  let memory = UnsafeMutablePointer<Float>.allocate(capacity: 2 * pixels.count)
  defer { memory.deallocate() }
  memory.update(from: pixels, count: pixels.count)
  var editor = PixelEditor(memory: memory, shape: shape, cover: cover)
  change(&editor)
  return Array(UnsafeBufferPointer(start: editor.pixels, count: pixels.count))
}

private let small: [Float] = [1, 2, 3, 4, 5, 6]

@Suite struct AugmentationTests {
  @Test func flips() {
    #expect(edited(small, shape: [1, 2, 3]) { $0.flipHorizontally() } == [3, 2, 1, 6, 5, 4])
    #expect(edited(small, shape: [3, 1, 2]) { $0.flipHorizontally() } == [2, 1, 4, 3, 6, 5])
    #expect(edited(small, shape: [2, 3, 1]) { $0.flipHorizontally() } == small)
  }

  @Test func moves() {
    func moved(_ down: Int, _ right: Int, _ fill: EdgeFill) -> [Float] {
      edited(small, shape: [1, 2, 3]) { $0.move(down: down, right: right, fill: fill) }
    }
    #expect(moved(0, 0, .zero) == small)
    #expect(moved(1, 1, .zero) == [0, 0, 0, 0, 1, 2])
    #expect(moved(1, 1, .edge) == [1, 1, 2, 1, 1, 2])
    #expect(moved(-1, -1, .zero) == [5, 6, 0, 0, 0, 0])
    #expect(moved(-1, -1, .edge) == [5, 6, 6, 5, 6, 6])
    #expect(moved(0, 2, .zero) == [0, 0, 1, 0, 0, 4])
    #expect(moved(0, -2, .edge) == [3, 3, 3, 6, 6, 6])
    #expect(edited(small, shape: [2, 1, 3]) { $0.move(down: 0, right: 1, fill: .zero) } == [0, 1, 2, 0, 4, 5])
    #expect(
      edited(small, shape: [1, 2, 3]) {
        $0.move(down: 1, right: 0, fill: .zero)
        $0.move(down: -1, right: 0, fill: .zero)
      } == [1, 2, 3, 0, 0, 0])
  }

  @Test func cuts() {
    let ones = [Float](repeating: 1, count: 32)
    let inside = edited(ones, shape: [2, 4, 4], cover: [7, 8]) { $0.cut(row: 2, column: 1, size: 2, cover: [7, 8]) }
    #expect(
      inside == [
        1, 1, 1, 1, 7, 7, 1, 1, 7, 7, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 8, 8, 1, 1, 8, 8, 1, 1, 1, 1, 1, 1,
      ])
    let corner = edited(Array(ones[..<16]), shape: [1, 4, 4]) { $0.cut(row: 0, column: 3, size: 3, cover: [0]) }
    #expect(corner == [1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1])
    #expect(
      edited(small, shape: [1, 2, 3]) { $0.cut(row: 1, column: 1, size: 9, cover: [0]) }
        == Array(repeating: 0, count: 6))
  }

  @Test func drawsByProbability() throws {
    func flipped(_ probability: Double) throws -> Int {
      let dataset = try ArrayDataset(
        name: "pairs", pixels: (0..<1000).flatMap { _ in [UInt8(0), 255] }, exampleShape: [1, 1, 2])
      let loader = try DataLoader(
        dataset: dataset,
        options: .init(batchSize: 1000, seed: 8, augmentation: [.horizontalFlip(probability: probability)]))
      let batch = try loader.hostBatch(ids: Array(0..<1000))
      let values = floats(batch)
      return stride(from: 0, to: 2000, by: 2).count { values[$0] == 1 }
    }
    #expect(try flipped(0) == 0)
    #expect(try flipped(1) == 1000)
    #expect(try (430...570).contains(flipped(0.5)))
    #expect(try (200...300).contains(flipped(0.25)))
  }

  /// A point in the middle of an image goes to each place within reach, equally often.
  @Test(arguments: [AugmentationStep.paddedCrop(padding: 2), .shift(pixels: 2), .shift(pixels: 2, fill: .edge)])
  func movesEverywhereAlike(step: AugmentationStep) throws {
    var pixels = [UInt8](repeating: 0, count: 49)
    pixels[3 * 7 + 3] = 255
    let dataset = try ArrayDataset(name: "point", pixels: pixels, exampleShape: [1, 7, 7])
    let loader = try DataLoader(dataset: dataset, options: .init(batchSize: 1, seed: 3, augmentation: [step]))
    var counts = [Int](repeating: 0, count: 49)
    for view in 0..<2500 {
      let values = try floats(loader.hostBatch(ids: [0], view: view))
      #expect(values.reduce(0, +) == 1)
      counts[try #require(values.firstIndex(of: 1))] += 1
    }
    for row in 0..<7 {
      for column in 0..<7 {
        let isWithinReach = abs(row - 3) <= 2 && abs(column - 3) <= 2
        // 100 expected, with a standard deviation of 10.
        #expect(isWithinReach ? (55...145).contains(counts[row * 7 + column]) : counts[row * 7 + column] == 0)
      }
    }
  }

  @Test func coversWithTheMeanColour() throws {
    let dataset = try ArrayDataset(
      name: "colours", pixels: Array(repeating: 255, count: 32), exampleShape: [2, 4, 4])
    let options = DataLoader.Options(
      batchSize: 1, augmentation: [.cutout(size: 20)],
      normalization: .init(mean: [0.2, 0.6], standardDeviation: [0.3, 0.4]))
    let batch = try DataLoader(dataset: dataset, options: options).hostBatch(ids: [0])
    #expect(floats(batch).allSatisfy { abs($0) < 1e-6 })
  }

  @Test func drawsBeta() {
    for alpha in [0.2, 1, 2, 8] {
      var random = RandomSource(seed: 1, "beta")
      let draws = (0..<20_000).map { _ in random.beta(alpha) }
      #expect(draws.allSatisfy { (0...1).contains($0) })
      let mean = draws.reduce(0, +) / 20_000
      let variance = draws.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / 20_000
      let expected = 1 / (4 * (2 * alpha + 1))
      #expect(abs(mean - 0.5) < 0.012)
      #expect(abs(variance - expected) < 0.05 * expected)
    }
  }

  /// Images of one value each, so that it is seen which of them went into a mixture.
  private func plainImages() throws -> ArrayDataset {
    try ArrayDataset(
      name: "plain", values: (0..<8).flatMap { Array(repeating: Float($0), count: 50) }, exampleShape: [2, 5, 5],
      labels: Array(0..<8))
  }

  @Test func mixesUp() throws {
    let options = DataLoader.Options(
      batchSize: 8, seed: 4, augmentation: [.mixup(alpha: 0.7)], hiddenLabels: [7])
    let loader = try DataLoader(dataset: plainImages(), examples: [1, 2, 3, 7], options: options)
    var partners: Set<Int> = []
    for view in 0..<30 {
      let batch = try loader.hostBatch(ids: [0, 1, 2, 3, 4], view: view)
      let seconds = try #require(batch.secondLabels)
      let weights = try #require(batch.secondWeights)
      let values = floats(batch)
      for row in 0..<5 {
        let partner = Float(seconds[row] == -1 ? 7 : seconds[row])
        let expected = (1 - weights[row]) * Float(row) + weights[row] * partner
        #expect((0...1).contains(weights[row]))
        #expect(values[row * 50..<(row + 1) * 50].allSatisfy { abs($0 - expected) < 1e-5 })
      }
      #expect(batch.labels == [0, 1, 2, 3, 4])
      partners.formUnion(seconds)
    }
    #expect(partners == [1, 2, 3, -1])
  }

  @Test func cutsAndMixes() throws {
    let options = DataLoader.Options(batchSize: 8, seed: 4, augmentation: [.cutmix(alpha: 1)])
    let loader = try DataLoader(dataset: plainImages(), options: options)
    var shares: Set<Float> = []
    for view in 0..<30 {
      let batch = try loader.hostBatch(ids: Array(0..<8), view: view)
      let seconds = try #require(batch.secondLabels)
      let weights = try #require(batch.secondWeights)
      let values = floats(batch)
      for row in 0..<8 where seconds[row] != row {
        let image = values[row * 50..<(row + 1) * 50]
        #expect(image.allSatisfy { $0 == Float(row) || $0 == Float(seconds[row]) })
        #expect(Float(image.count { $0 == Float(seconds[row]) }) / 50 == weights[row])
        shares.insert(weights[row])
      }
    }
    #expect(shares.count > 5)
  }

  @Test func cutsARectangle() {
    // A quarter of 4×6 pixels around (1, 5): rows 0 and 1, of the columns 4, 5 and 6 the last is outside.
    let mixture = Mixture.rectangle(of: 3, share: 0.25, row: 1, column: 5, height: 4, width: 6)
    #expect(mixture.kind == .rectangle(rows: 0..<2, columns: 4..<6))
    #expect(mixture.weight == 4.0 / 24)
    var first = [Float](repeating: 1, count: 24)
    let second = [Float](repeating: 2, count: 24)
    first.withUnsafeMutableBufferPointer { first in
      second.withUnsafeBufferPointer { second in
        guard let first = first.baseAddress, let second = second.baseAddress else { return }
        mixture.mix(first, second, shape: [1, 4, 6], channelsLast: false)
      }
    }
    #expect(first[..<12] == [1, 1, 1, 1, 2, 2, 1, 1, 1, 1, 2, 2])
    #expect(first[12...].allSatisfy { $0 == 1 })
    let nothing = Mixture.rectangle(of: 3, share: 0, row: 0, column: 0, height: 4, width: 6)
    #expect(nothing.weight == 0)
    let everything = Mixture.rectangle(of: 3, share: 1, row: 2, column: 3, height: 4, width: 6)
    #expect(everything.weight == 1)
  }

  @Test func mixesTables() throws {
    let dataset = try ArrayDataset(name: "table", values: [0, 10, 100, 20], exampleShape: [2], labels: [0, 1])
    let options = DataLoader.Options(batchSize: 2, augmentation: [.mixup(alpha: 1)])
    let batch = try DataLoader(dataset: dataset, options: options).batch(ids: [0])
    let weight = try #require(batch.secondWeights).item()
    let second = Float(try #require(batch.secondLabels).item() * weight)
    let values: [Float] = try batch.inputs.array()
    #expect(abs(values[0] - 100 * second) < 1e-4 && abs(values[1] - (10 + 10 * second)) < 1e-4)
  }

  @Test func isSavedAndNamed() throws {
    let steps: Augmentation = [
      .horizontalFlip(), .paddedCrop(padding: 2), .shift(pixels: 1, fill: .edge), .cutout(size: 8, probability: 0.5),
      .mixup(alpha: 0.2), .cutmix(alpha: 1),
    ]
    let data = try JSONEncoder().encode(steps)
    #expect(try JSONDecoder().decode(Augmentation.self, from: data) == steps)
    #expect(
      steps.identity
        == "augmentation 1: horizontal_flip(probability=0.5), padded_crop(padding=2), shift(pixels=1, fill=edge), "
        + "cutout(size=8, probability=0.5), mixup(alpha=0.2), cutmix(alpha=1.0)")
    #expect(Augmentation().identity == "none")
  }
}
