import Foundation
import Testing
import Torch

@testable import DistillData

@Suite struct DatasetTests {
  @Test func readsBytesAndNumbers() throws {
    let bytes = try ArrayDataset(
      name: "bytes", pixels: [0, 255, 51, 102], exampleShape: [1, 1, 2], labels: [1, -1], classNames: ["a", "b"])
    #expect(bytes.count == 2 && bytes.classCount == 2 && bytes.isImage && bytes.channelCount == 1)
    #expect(try bytes.values(at: 0) == [0, 1])
    #expect(try bytes.values(at: 1) == [0.2, 0.4])
    #expect([-1, 0, 1, 2].map { bytes.label(at: $0) } == [-1, 1, -1, -1])
    let table = try ArrayDataset(name: "table", values: [1, -2, 3.5, 4, 5, 6], exampleShape: [3])
    #expect(try table.values(at: 1) == [4, 5, 6])
    #expect(!table.isImage && table.classCount == 0 && table.label(at: 0) == -1)
    let numbered = try ArrayDataset(name: "n", values: [1, 2, 3], exampleShape: [1], labels: [0, 2, 0])
    #expect(numbered.classNames == ["0", "1", "2"])
  }

  @Test func selects() throws {
    let dataset = try ArrayDataset(
      name: "all", pixels: [1, 2, 3, 4, 5, 6], maximum: 10, exampleShape: [2], labels: [0, 1, 2])
    let chosen = try dataset.selecting([2, 0], name: "some")
    #expect(try chosen.values(at: 0) == [0.5, 0.6])
    #expect(chosen.label(at: 0) == 2 && chosen.label(at: 1) == 0 && chosen.classCount == 3)
    #expect(message { _ = try dataset.selecting([3], name: "x") } == "all has 3 examples, and so no number 3")
  }

  @Test func liesOverAMappedFile() throws {
    try withFolder { (folder: String) throws in
      let numbers: [Float] = [1, 2, 3, 4, 5, 6]
      let path = "\(folder)/numbers"
      try write([9, 9] + numbers.withUnsafeBytes { Array($0) }, to: path)
      let mapped = try HostBuffer(mapping: path)
      let dataset = try ArrayDataset(
        name: "mapped", values: mapped, byteOffset: 2, elementType: .float32, exampleShape: [2], count: 3,
        labels: [0, 1, 0])
      #expect(try (0..<3).flatMap { try dataset.values(at: $0) } == numbers)
      let loader = try DataLoader(dataset: dataset, options: .init(batchSize: 2))
      #expect(try loader.batch(ids: [2, 0]).inputs.array() == [5, 6, 1, 2] as [Float])
      let copy = try ArrayDataset(name: "copy", values: numbers, exampleShape: [2], labels: [0, 1, 0])
      #expect(try copy.contentHash == dataset.contentHash)
    }
  }

  @Test func hashesWhatAModelSees() throws {
    func hash(
      _ pixels: [UInt8] = [1, 2, 3, 4], maximum: Float = 255, shape: [Int] = [1, 1, 2], labels: [Int] = [0, 1],
      names: [String] = ["a", "b"]
    ) throws -> String {
      try ArrayDataset(
        name: UUID().uuidString, pixels: pixels, maximum: maximum, exampleShape: shape, labels: labels,
        classNames: names
      ).contentHash
    }
    let plain = try hash()
    #expect(try plain.count == 64 && hash() == plain)
    let others = [
      plain, try hash([1, 2, 3, 5]), try hash(maximum: 16), try hash(shape: [1, 2, 1]), try hash(shape: [2]),
      try hash(labels: [1, 0]), try hash(labels: [0, -1]), try hash(names: ["a", "c"]),
    ]
    #expect(Set(others).count == others.count)
  }

  @Test func refusesWhatDoesNotFit() {
    func refusal(_ pixels: [UInt8], _ shape: [Int], _ labels: [Int] = [], _ names: [String] = []) -> String {
      message {
        _ = try ArrayDataset(name: "x", pixels: pixels, exampleShape: shape, labels: labels, classNames: names)
      }
    }
    #expect(refusal([], [1]) == "x has no examples")
    #expect(refusal([1, 2, 3], [2]).contains("not a whole number of examples"))
    #expect(refusal([1, 2], [1, 2]).contains("[C, H, W] or [F]"))
    #expect(refusal([1, 2], [1], [0]).contains("2 examples, but 1 labels"))
    #expect(refusal([1, 2], [1], [0, 2], ["a", "b"]).contains("example 1 has the label 2, but there are 2 classes"))
    #expect(refusal([1, 2], [1], [0, -2]).contains("the label -2"))
    #expect(
      message {
        _ = try ArrayDataset(
          name: "x", values: HostBuffer(byteCount: 8), exampleShape: [1 << 40, 1 << 40, 1], count: 9)
      }.contains("do not fit in 8 bytes"))
    #expect(
      message {
        _ = try ArrayDataset(
          name: "x", values: HostBuffer(byteCount: 8), byteOffset: 5, exampleShape: [2], count: 2)
      }.contains("do not fit in 8 bytes"))
  }

  @Test func computesSHA256() throws {
    #expect(
      try SHA256.hex(of: "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      try SHA256.hex(of: [UInt8]()) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    try withFolder { (folder: String) throws in
      let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
      try write(bytes, to: "\(folder)/file")
      #expect(try SHA256.hex(ofFile: "\(folder)/file") == SHA256.hex(of: bytes))
      #expect(message { _ = try SHA256.hex(ofFile: "\(folder)/none") }.contains("none: cannot be opened"))
    }
  }

  @Test func measuresMeanAndDeviation() throws {
    let images = try ArrayDataset(
      name: "images", pixels: [0, 255, 51, 51, 255, 255, 51, 51], exampleShape: [2, 1, 2])
    let measured = try Normalization.measured(on: images)
    #expect(measured.mean == [0.75, 0.2])
    #expect(abs(measured.standardDeviation[0] - Float(0.1875).squareRoot()) < 1e-6)
    #expect(measured.standardDeviation[1] == 1)  // the same everywhere
    #expect(try Normalization.measured(on: images, examples: [0]).mean == [0.5, 0.2])
    let table = try ArrayDataset(name: "table", values: [1, 1000, 3, 1002, 5, 1004], exampleShape: [2])
    let columns = try Normalization.measured(on: table)
    #expect(columns.mean == [3, 1002])
    #expect(columns.standardDeviation.allSatisfy { abs($0 - Float(8.0 / 3).squareRoot()) < 1e-5 })
    let data = try JSONEncoder().encode(columns)
    #expect(try JSONDecoder().decode(Normalization.self, from: data) == columns)
    #expect(String(decoding: data, as: UTF8.self).contains("\"standard_deviation\""))
    #expect(message { _ = try Normalization.measured(on: table, examples: []) }.contains("no examples"))
    #expect(message { _ = try Normalization.measured(on: images, examples: [2]) }.contains("no example 2"))
  }
}

@Suite struct SplitTests {
  private func dataset(_ sizes: [Int]) throws -> ArrayDataset {
    let labels = sizes.enumerated().flatMap { Array(repeating: $0.offset, count: $0.element) }
    var order = Array(labels.indices)
    var random = RandomSource(seed: 1)
    order.shuffle(with: &random)
    return try ArrayDataset(
      name: "labels", values: labels.map { Float($0) }, exampleShape: [1], labels: order.map { labels[$0] })
  }

  private func counts(_ examples: [Int], _ dataset: ArrayDataset) -> [Int] {
    (0..<dataset.classCount).map { label in examples.count { dataset.label(at: $0) == label } }
  }

  @Test func dividesEveryClassAlike() throws {
    let dataset = try dataset([100, 50, 250])
    let (kept, rest) = try Splits.stratified(dataset: dataset, fraction: 0.1, seed: 7)
    #expect(counts(kept, dataset) == [10, 5, 25])
    #expect(counts(rest, dataset) == [90, 45, 225])
    #expect(Set(kept).isDisjoint(with: rest) && Set(kept + rest) == Set(0..<400))
    #expect(kept == kept.sorted() && rest == rest.sorted())
    let again = try Splits.stratified(dataset: dataset, examples: Array((0..<400).reversed()), fraction: 0.1, seed: 7)
    #expect(again.kept == kept && again.rest == rest)
    #expect(try Splits.stratified(dataset: dataset, fraction: 0.1, seed: 8).kept != kept)
    let some = try Splits.stratified(dataset: dataset, examples: rest, count: 36, seed: 7)
    #expect(Set(some.kept).isSubset(of: rest) && some.kept.count == 36)
  }

  @Test func roundsToTheWantedCount() throws {
    let dataset = try dataset([10, 20, 1, 69])
    for count in [0, 1, 3, 4, 5, 33, 50, 99, 100] {
      let (kept, rest) = try Splits.stratified(dataset: dataset, count: count, seed: 3)
      #expect(kept.count == count && rest.count == 100 - count)
      if count >= 4 { #expect(counts(kept, dataset).allSatisfy { $0 >= 1 }) }
    }
    #expect(Splits.shares(of: 7, sizes: [3, 3, 3]) == [3, 2, 2])
    #expect(Splits.shares(of: 3, sizes: [1, 1, 98]) == [1, 1, 1])
    #expect(Splits.shares(of: 2, sizes: [1, 0, 99]) == [1, 0, 1])
  }

  @Test func countsUnlabelledAsAClass() throws {
    let dataset = try ArrayDataset(
      name: "half", values: (0..<40).map { Float($0) }, exampleShape: [1], labels: (0..<40).map { $0 < 20 ? -1 : 0 })
    let (kept, _) = try Splits.stratified(dataset: dataset, fraction: 0.5, seed: 0)
    #expect(kept.count { $0 < 20 } == 10 && kept.count == 20)
  }

  @Test func refusesWhatCannotBe() throws {
    let dataset = try dataset([10])
    #expect(message { _ = try Splits.stratified(dataset: dataset, fraction: 1.5, seed: 0) }.contains("1.5"))
    #expect(message { _ = try Splits.stratified(dataset: dataset, fraction: .nan, seed: 0) }.contains("nan"))
    #expect(message { _ = try Splits.stratified(dataset: dataset, count: 11, seed: 0) }.contains("11 of 10"))
    #expect(
      message { _ = try Splits.stratified(dataset: dataset, examples: [10], count: 1, seed: 0) }.contains(
        "no number 10"))
  }
}
