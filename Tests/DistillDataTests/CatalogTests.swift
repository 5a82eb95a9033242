import Foundation
import Testing
import Torch

@testable import DistillData

private let packageFolder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent().path
private let fashionFolder = "\(packageFolder)/data/fashion-mnist"
private let hasFashion = FileManager.default.fileExists(atPath: "\(fashionFolder)/train-images-idx3-ubyte.gz")

@Suite struct CatalogTests {
  @Test func hasTheDigits() throws {
    let all = try Digits.all()
    #expect(all.count == 1797 && all.exampleShape == [1, 8, 8] && all.classCount == 10)
    #expect((0..<12).map { all.label(at: $0) } == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    #expect(try all.values(at: 0)[..<16].map { $0 * 16 } == [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0])
    let counts = (0..<10).map { label in (0..<all.count).count { all.label(at: $0) == label } }
    #expect(counts == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
  }

  @Test func dividesTheDigitsForGood() throws {
    let parts = try DatasetCatalog.load(name: "digits")
    #expect(parts.train.count == 1437 && parts.test.count == 360)
    let counts = (0..<10).map { label in (0..<360).count { parts.test.label(at: $0) == label } }
    #expect(counts.allSatisfy { (35...37).contains($0) })
    #expect(try parts.test.contentHash == DatasetCatalog.load(name: "digits").test.contentHash)
    // Every image is in one of the two parts.
    let all = try Digits.all()
    func sorted(_ dataset: any Dataset) throws -> [[Float]] {
      try (0..<dataset.count).map { try dataset.values(at: $0) }
    }
    let divided = try sorted(parts.train) + sorted(parts.test)
    #expect(try Set(divided) == Set(sorted(all)))
  }

  @Test(.enabled(if: hasFashion, "Fashion-MNIST is not here; scripts/datasets fashion-mnist gets it"))
  func readsFashionMNIST() throws {
    let parts = try DatasetCatalog.load(name: "fashion-mnist", folder: fashionFolder)
    #expect(parts.train.count == 60_000 && parts.test.count == 10_000)
    #expect(parts.train.exampleShape == [1, 28, 28])
    #expect((0..<10).map { parts.train.label(at: $0) } == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5])
    #expect((0..<10).map { parts.test.label(at: $0) } == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7])
    #expect(parts.train.classNames[9] == "Ankle boot")
    let normalization = try Normalization.measured(on: parts.train)
    #expect(abs(normalization.mean[0] - 0.2860) < 1e-4 && abs(normalization.standardDeviation[0] - 0.3530) < 1e-4)
    let (few, rest) = try Splits.stratified(dataset: parts.train, fraction: 0.03, seed: 0)
    #expect(few.count == 1800 && rest.count == 58_200)
    #expect((0..<10).allSatisfy { label in few.count { parts.train.label(at: $0) == label } == 180 })
  }

  @Test func namesDamagedFashionFiles() throws {
    try withFolder { (folder: String) throws in
      let names = [
        "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
      ]
      let missing = message { _ = try FashionMNIST.load(folder: folder) }
      #expect(names.allSatisfy { missing.contains($0) } && missing.contains("scripts/datasets fashion-mnist"))
      for name in names {
        let bytes = name.contains("labels") ? idx([1], [3]) : idx([1, 2, 2], [1, 2, 3, 4])
        try write(gzip(bytes), to: "\(folder)/\(name).gz")
      }
      let wrong = message { _ = try FashionMNIST.load(folder: folder) }
      #expect(wrong.contains("train-images-idx3-ubyte.gz: is not Fashion-MNIST's file, or is damaged"))
      #expect(wrong.contains("distill datasets fetch fashion-mnist"))
      // As MNIST, whose sums are not checked, the same files are accepted.
      let mnist = try DatasetCatalog.load(name: "mnist", folder: folder)
      #expect(mnist.train.label(at: 0) == 3 && mnist.test.exampleShape == [1, 2, 2])
      let own = try DatasetCatalog.load(
        name: "idx", folder: folder, options: .init(classNames: ["a", "b", "c", "d"]))
      #expect(own.train.classNames == ["a", "b", "c", "d"])
      try write(Array(gzip(idx([1, 2, 2], [1, 2, 3, 4])).dropLast(9)), to: "\(folder)/t10k-images-idx3-ubyte.gz")
      let cut = message { _ = try DatasetCatalog.load(name: "mnist", folder: folder) }
      #expect(cut.contains("t10k-images-idx3-ubyte.gz: is damaged or truncated"))
    }
  }

  @Test func readsOnesOwnData() throws {
    try withFolder { (folder: String) throws in
      try write("x,y,kind\n1,2,b\n3,4,a\n", to: "\(folder)/train.csv")
      try write("x,y,kind\n5,6,b\n", to: "\(folder)/test.csv")
      let tables = try DatasetCatalog.load(name: "csv", folder: folder, options: .init(labelColumn: "kind"))
      #expect(tables.test.label(at: 0) == 1 && tables.test.classNames == ["a", "b"])
      try write("x,kind\n5,b\n", to: "\(folder)/test.csv")
      let narrow = message { _ = try DatasetCatalog.load(name: "csv", folder: folder) }
      #expect(narrow.contains("test.csv: has 1 columns besides the label, but train.csv has 2"))
      for (path, value) in [("train/a/1.png", UInt8(10)), ("train/b/1.png", 20), ("test/b/1.png", 30)] {
        try write(png(width: 2, height: 2, channels: 1, Array(repeating: value, count: 4)), to: "\(folder)/\(path)")
      }
      let pictures = try DatasetCatalog.load(
        name: "folder", folder: folder, options: .init(imageSize: 4, channels: 1))
      #expect(pictures.train.count == 2 && pictures.test.label(at: 0) == 1)
      #expect(try pictures.test.values(at: 0) == Array(repeating: 30 / 255, count: 16))
    }
  }

  @Test func knowsItsNames() {
    let unknown = message { _ = try DatasetCatalog.load(name: "imagenet") }
    #expect(unknown.contains("no data set called imagenet") && unknown.contains("fashion-mnist, digits"))
    #expect(message { _ = try DatasetCatalog.load(name: "csv") }.contains("train.csv, test.csv"))
    #expect(Set(DatasetCatalog.entries.map(\.name)).count == DatasetCatalog.entries.count)
    #expect(DatasetCatalog.entries.allSatisfy { !$0.summary.isEmpty && !$0.source.isEmpty && !$0.licence.isEmpty })
  }
}
