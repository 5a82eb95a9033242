import Foundation
import Testing

@testable import DistillRecipes

@Suite("Bad input: data")
struct BadDataTests {
  /// The bytes of an IDX file of unsigned bytes.
  private static func idx(_ dimensions: [Int], count: Int? = nil, magic: [UInt8] = [0, 0, 8]) -> Data {
    var bytes = magic + [UInt8(dimensions.count)]
    for size in dimensions { bytes += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> $0) } }
    let total = dimensions.reduce(1, *)
    return Data(bytes + (0..<(count ?? total)).map { UInt8($0 % 10) })
  }

  private static let images = "train-images-idx3-ubyte"
  private static let labels = "train-labels-idx1-ubyte"

  /// A folder of IDX files with 8×8 pictures, of which one file is wrong.
  private static func idxFiles(_ name: String, _ file: String, _ data: Data?, words: [String]? = nil) -> BadInput {
    BadInput(name: name, words: words ?? [file], arguments: ["data={dataset: idx, path: mine}"]) { folder in
      let good = [
        images: idx([40, 8, 8]), labels: idx([40]), "t10k-images-idx3-ubyte": idx([20, 8, 8]),
        "t10k-labels-idx1-ubyte": idx([20]),
      ]
      for (name, content) in good { try write(content, to: "\(folder)/mine/\(name)") }
      if let data {
        try write(data, to: "\(folder)/mine/\(file)")
      } else {
        try FileManager.default.removeItem(atPath: "\(folder)/mine/\(file)")
      }
    }
  }

  private static func table(_ name: String, train: String, test: String, _ words: String...) -> BadInput {
    BadInput(name: name, words: words, arguments: ["data={dataset: csv, path: mine}"]) { folder in
      try write(train, to: "\(folder)/mine/train.csv")
      try write(test, to: "\(folder)/mine/test.csv")
    }
  }

  /// A folder of pictures with the classes `cat` and `dog`.
  private static func pictures(
    _ name: String, size: String = ", image_size: 8", _ words: String...,
    spoil: @escaping @Sendable (_ folder: String) throws -> Void
  ) -> BadInput {
    BadInput(
      name: name, words: words, arguments: ["data={dataset: folder, path: mine, channels: 1\(size)}"]
    ) { folder in
      for split in ["train", "test"] {
        for kind in ["cat", "dog"] {
          for number in 0..<6 {
            try write(picture(side: 8, value: UInt8(number)), to: "\(folder)/mine/\(split)/\(kind)/\(number).png")
          }
        }
      }
      try spoil("\(folder)/mine")
    }
  }

  private static func picture(side: Int, value: UInt8) throws -> Data {
    let pixels = Data(repeating: value, count: side * side)
    let picture = ReportData.Picture(width: side, height: side, channels: 1, pixels: pixels)
    return try #require(InlinePicture.encoded(picture, longestSide: side))
  }

  private static let rows = (0..<40).map { "\($0),\($0 * 2),\($0 % 2)" }.joined(separator: "\n")

  static let cases: [BadInput] = [
    BadInput(name: "no folder", words: ["nowhere"], arguments: ["data={dataset: idx, path: nowhere}"]),
    idxFiles("a file is missing", labels, nil),
    idxFiles("truncated", images, idx([40, 8, 8]).prefix(1_000)),
    idxFiles("too long", images, idx([40, 8, 8]) + Data(repeating: 0, count: 7)),
    idxFiles("wrong magic", images, idx([40, 8, 8], magic: [1, 2, 8])),
    idxFiles("empty file", images, Data()),
    idxFiles("zero examples", images, idx([0, 8, 8])),
    idxFiles("fewer labels than pictures", labels, idx([39])),
    idxFiles("sizes beyond memory", images, idx([0x7fff_ffff, 0x7fff, 0x7fff], count: 64)),
    idxFiles(
      "labels beyond all reason", labels, Data([0, 0, 8, 1, 0, 0, 0, 40] + Array(repeating: 255, count: 40)),
      words: [labels, "255"]),
    idxFiles(
      "one class only", labels, Data([0, 0, 8, 1, 0, 0, 0, 40] + Array(repeating: 0, count: 40)),
      words: ["idx", "1 class;"]),
    BadInput(
      name: "CIFAR labels out of range", words: ["data_batch_1.bin", "200"],
      arguments: ["data={dataset: cifar10, path: mine}"]
    ) { folder in
      var record = Data(repeating: 7, count: 3_073)
      for name in (1...5).map({ "data_batch_\($0).bin" }) + ["test_batch.bin"] {
        record[0] = name == "data_batch_1.bin" ? 200 : 3
        try write(record, to: "\(folder)/mine/\(name)")
      }
    },
    table("a word among numbers", train: "1,2,0\n3,many,1\n", test: rows, "train.csv", "many"),
    table("a short row", train: "1,2,0\n3,1\n", test: rows, "train.csv", "2"),
    table("an empty table", train: "", test: rows, "train.csv"),
    table("other columns in the test part", train: rows, test: "1,2,3,0\n1,2,3,1\n", "test.csv", "columns"),
    BadInput(
      name: "no such column", words: ["train.csv", "kind"],
      arguments: ["data={dataset: csv, path: mine, label_column: kind}"]
    ) { folder in
      for name in ["train", "test"] { try write("a,b,class\n\(rows)", to: "\(folder)/mine/\(name).csv") }
    },
    pictures("an unreadable picture", "broken.png") { try write("none", to: "\($0)/train/cat/broken.png") },
    pictures("a truncated picture", "cut.png") {
      try write(try picture(side: 8, value: 1).prefix(50), to: "\($0)/train/dog/cut.png")
    },
    pictures("a class without pictures", "train/bird") {
      try FileManager.default.createDirectory(atPath: "\($0)/train/bird", withIntermediateDirectories: true)
    },
    pictures("a test class that is unknown", "bird") {
      try write(try picture(side: 8, value: 1), to: "\($0)/test/bird/1.png")
    },
    pictures("pictures of several sizes", size: "", "large.png", "8x8") {
      try write(try picture(side: 16, value: 1), to: "\($0)/train/cat/large.png")
    },
    pictures("pictures of a kind that cannot be read", "x.gif") { try write("GIF89a", to: "\($0)/train/cat/x.gif") },
  ]

  @Test("Refused with one clear message by check and run, and nothing is lost", arguments: cases)
  func refused(input: BadInput) throws { try input.isRefused() }
}
