import Testing
import Torch

@testable import DistillData

@Suite struct JoinedDatasetTests {
  private func table(_ name: String, _ values: [Float], _ labels: [Int] = [], _ names: [String] = []) throws
    -> ArrayDataset
  {
    try ArrayDataset(name: name, values: values, exampleShape: [2], labels: labels, classNames: names)
  }

  @Test func putsOneAfterTheOther() throws {
    let first = try table("ours", [1, 2, 3, 4], [0, 1], ["cat", "dog"])
    let second = try table("theirs", [5, 6, 7, 8, 9, 10], [0, 1, 2], ["dog", "fish", "cat"])
    let third = try table("none", [11, 12, 13, 14])
    let joined = try JoinedDataset(
      first, and: [.init(second, labels: .byName), .init(second, examples: [2, 0]), .init(third, labels: .byName)])
    #expect(joined.count == 9)
    #expect(joined.ranges == [0..<2, 2..<5, 5..<7, 7..<9])
    #expect(joined.name == "ours + theirs + theirs + none")
    #expect(joined.classNames == ["cat", "dog"] && !joined.isImage)
    #expect((0..<9).map { joined.label(at: $0) } == [0, 1, 1, -1, 0, -1, -1, -1, -1])
    #expect(joined.label(at: 9) == -1 && joined.label(at: -1) == -1)
    let values = try (0..<9).flatMap { try joined.values(at: $0) }
    #expect(values == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 9, 10, 5, 6, 11, 12, 13, 14])
    #expect(joined.notices.count == 1 && joined.notices[0].contains("ours has no class fish"))
    #expect(message { _ = try joined.values(at: 9) }.contains("no number 9"))
  }

  @Test func oneLoaderShowsThemAll() throws {
    let first = try table("ours", [1, 2, 3, 4], [0, 1], ["cat", "dog"])
    let second = try table("theirs", [5, 6, 7, 8])
    let joined = try JoinedDataset(first, and: [.init(second)], name: "all")
    #expect(joined.name == "all")
    let loader = try DataLoader(
      dataset: joined, options: .init(batchSize: 8, shuffle: true, seed: 3, hiddenLabels: [1]))
    let batch = try loader.hostBatch(ids: [3, 0, 1])
    #expect(batch.labels == [-1, 0, -1])
    #expect(floats(batch) == [7, 8, 1, 2, 3, 4])
    #expect(loader.order(epoch: 1).sorted() == [0, 1, 2, 3])
  }

  /// What the first data set's loader gives, the joined one's gives, bit for bit.
  @Test func theFirstStaysWhatItIs() throws {
    let digits = try Digits.all()
    let joined = try JoinedDataset(digits, and: [.init(digits)])
    var options = DataLoader.Options(batchSize: 4, seed: 2, augmentation: [.horizontalFlip(), .paddedCrop(padding: 1)])
    options.normalization = Normalization(mean: [0.3], standardDeviation: [0.37])
    let ids = [3, 999, 1796]
    let plain = try DataLoader(dataset: digits, options: options).hostBatch(ids: ids)
    let both = try DataLoader(dataset: joined, options: options).hostBatch(ids: ids)
    #expect(floats(plain) == floats(both))
    #expect(plain.labels == both.labels)
  }

  @Test func bringsImagesToOurSize() throws {
    let ours = try ArrayDataset(name: "ours", pixels: [0, 51, 102, 255], exampleShape: [1, 2, 2], labels: [0])
    // Red, green and blue pictures of 4×2 pixels.
    let colour = try ArrayDataset(
      name: "colour",
      values: [
        0, 0.2, 0.4, 0.6, 0, 0.2, 0.4, 0.6, 1, 1, 1, 1, 0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5,
      ], exampleShape: [3, 2, 4], labels: [0])
    let grey = try JoinedDataset(ours, and: [.init(colour)])
    // luma of (0.1, 1, 0.5), (0.5, 1, 0.5), (0.1, 0, 0.5), (0.5, 0, 0.5)
    let expected: [Float] = [0.6739, 0.7935, 0.0869, 0.2065]
    let found = try grey.values(at: 1)
    #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 1e-6 })
    #expect(grey.notices.contains { $0.contains("[3, 2, 4], are brought to") })

    let back = try JoinedDataset(colour, and: [.init(ours)])
    let row: [Float] = [0, 0.05, 0.15, 0.2]
    let low: [Float] = [0.4, 0.55, 0.85, 1]
    let wanted = (0..<3).flatMap { _ in row + low }
    let enlarged = try back.values(at: 1)
    #expect(zip(enlarged, wanted).allSatisfy { abs($0 - $1) < 1e-6 })
    #expect(try back.values(at: 0) == colour.values(at: 0))
  }

  /// The same as the readers of pictures do to a file, but for their rounding to bytes.
  @Test(arguments: [(28, 28), (5, 9), (8, 8), (3, 20)])
  func resizesAsPicturesAreResized(height: Int, width: Int) throws {
    var random = RandomSource(seed: 1, "pixels")
    let pixels = (0..<9 * 11 * 3).map { _ in UInt8(random.below(256)) }
    let raw = try RawImage(width: 11, height: 9, channels: 3, pixels: pixels)
    let theirs = try ArrayDataset(name: "theirs", pixels: raw.planes, exampleShape: [3, 9, 11])
    for channels in [1, 3] {
      let ours = try ArrayDataset(
        name: "ours", pixels: Array(repeating: 0, count: channels * height * width),
        exampleShape: [channels, height, width], labels: [0])
      let joined = try JoinedDataset(ours, and: [.init(theirs)])
      let image = try raw.resized(width: width, height: height).converted(channels: channels)
      let expected = image.planes.map { Float($0) / 255 }
      let found = try joined.values(at: 1)
      #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 1.6 / 255 })
    }
  }

  @Test func theHashCoversAllParts() throws {
    let first = try table("ours", [1, 2, 3, 4], [0, 1], ["cat", "dog"])
    let second = try table("theirs", [5, 6, 7, 8], [0, 1], ["cat", "fish"])
    let changed = try table("theirs", [5, 6, 7, 9], [0, 1], ["cat", "fish"])
    func hash(_ first: any Dataset, _ parts: [JoinedDataset.Part]) throws -> String {
      try JoinedDataset(first, and: parts).contentHash
    }
    let plain = try hash(first, [.init(second)])
    #expect(try plain.count == 64 && hash(first, [.init(second)]) == plain)
    let others = [
      plain, try hash(first, []), try hash(second, [.init(second)]), try hash(first, [.init(changed)]),
      try hash(first, [.init(second, labels: .byName)]), try hash(first, [.init(second, examples: [1, 0])]),
      try hash(first, [.init(second), .init(second)]), try hash(first, [.init(second, examples: [0, 1])]),
    ]
    #expect(Set(others).count == others.count)
  }

  @Test func joinsTexts() throws {
    func text(_ tokens: [Int], _ vocabulary: TextVocabulary = .bytes) throws -> SequenceDataset {
      try SequenceDataset(name: "text", text: tokens, length: 3, vocabulary: vocabulary)
    }
    let joined = try JoinedDataset(
      text([1, 2, 3, 4]), and: [.init(text([5, 6, 7])), .init(text([8, 9]), labels: .byName)])
    #expect(joined.predictsTokens && joined.count == 3)
    #expect(try (0..<3).map { try joined.tokenLabels(at: $0)?.labels } == [[2, 3, 4], [-1, -1, -1], [9, -1, -1]])
    #expect(try joined.tokenLabels(at: 1)?.counts == [true, true, false])
    #expect(try joined.values(at: 1) == [5, 6, 7])
    #expect(message { _ = try joined.tokenLabels(at: 3) }.contains("no number 3"))
    let letters = try text([0, 1], .characters(["a", "b"]))
    #expect(message { _ = try JoinedDataset(text([1, 2]), and: [.init(letters)]) }.contains("one vocabulary"))
    let table = try ArrayDataset(name: "table", values: [1, 2, 3], exampleShape: [3])
    #expect(message { _ = try JoinedDataset(table, and: [.init(letters)]) }.contains("one vocabulary"))
  }

  @Test func refusesWhatDoesNotFit() throws {
    let first = try table("ours", [1, 2], [0], ["cat"])
    let long = try ArrayDataset(name: "long", values: [1, 2, 3], exampleShape: [3])
    let image = try ArrayDataset(name: "image", values: [1, 2], exampleShape: [1, 1, 2], labels: [0])
    let deep = try ArrayDataset(name: "deep", values: [1, 2], exampleShape: [2, 1, 1])
    let strange = try table("strange", [1, 2], [0], ["fish"])
    func refusal(_ first: any Dataset, _ part: JoinedDataset.Part) -> String {
      message { _ = try JoinedDataset(first, and: [part]) }
    }
    #expect(refusal(first, .init(long)).contains("long, [3], cannot be put beside those of ours, [2]"))
    #expect(refusal(first, .init(image)).contains("Only images"))
    #expect(refusal(image, .init(first)).contains("Only images"))
    #expect(refusal(image, .init(deep)).contains("have 2 channels and cannot be brought to the 1 of image"))
    #expect(refusal(first, .init(strange, labels: .byName)).contains("no class in common with ours: fish, not cat"))
    #expect(refusal(first, .init(strange, examples: [1])).contains("no number 1"))
  }

  @Test func readsPicturesWithoutLabels() throws {
    try withFolder { folder in
      try write(png(width: 2, height: 1, channels: 1, [9, 8]), to: "\(folder)/b.png")
      try write(png(width: 2, height: 1, channels: 1, [7, 6]), to: "\(folder)/a/c.png")
      let pictures = try ImageFolder.readUnlabelled(folder, .init(channels: 1))
      #expect(pictures.count == 2 && pictures.classNames.isEmpty && pictures.label(at: 0) == -1)
      #expect(try pictures.values(at: 0) == [Float(7) / 255, Float(6) / 255])
      #expect(
        message { _ = try ImageFolder.readUnlabelled("\(folder)/a", .init(channels: 2)) }.contains("1 or 3 channels"))
    }
    try withFolder { folder in
      #expect(message { _ = try ImageFolder.readUnlabelled(folder) }.contains("has no pictures"))
    }
  }
}
