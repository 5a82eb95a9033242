import Foundation

/// Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017): 70,000 grey images of clothes, 28×28 pixels, in ten classes.
public enum FashionMNIST {
  public static let classNames = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
  ]

  /// Where it is looked for when no folder is named.
  public static let defaultFolder = "data/fashion-mnist"

  /// The SHA-256 of each file once decompressed, so that a file compressed by somebody else is as good.
  static let sums = [
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
  ]

  static let remedy = "Get it with `distill datasets fetch fashion-mnist` or `scripts/datasets fashion-mnist`"

  /// The images for training and those for testing, after a check of the files' checksums.
  ///
  /// - Throws: `DataError` that names every file that is missing, or the one that is damaged.
  public static func load(folder: String = defaultFolder) throws -> (train: ArrayDataset, test: ArrayDataset) {
    do {
      return try MNISTFolder.load(folder, name: "fashion-mnist", classNames: classNames) { path, bytes in
        let name = URL(fileURLWithPath: path).lastPathComponent.replacingOccurrences(of: ".gz", with: "")
        guard try SHA256.hex(of: bytes) == sums[name] else {
          throw DataError(file: path, "is not Fashion-MNIST's file, or is damaged: its checksum differs")
        }
      }
    } catch var error as DataError {
      error.remedy = remedy
      throw error
    }
  }
}

/// A folder with four IDX files that are called as MNIST's are, each compressed or not.
enum MNISTFolder {
  static func load(
    _ folder: String, name: String, classNames: [String]?,
    verify: (String, UnsafeRawBufferPointer) throws -> Void = { _, _ in }
  ) throws -> (train: ArrayDataset, test: ArrayDataset) {
    let parts = ["train", "t10k"]
    let files = parts.map { part in
      ["\(part)-images-idx3-ubyte", "\(part)-labels-idx1-ubyte"].map { find($0, in: folder) }
    }
    let missing = zip(parts, files).flatMap { part, found in
      zip(["\(part)-images-idx3-ubyte", "\(part)-labels-idx1-ubyte"], found).filter { $0.1 == nil }.map(\.0)
    }
    guard missing.isEmpty else {
      throw DataError(file: folder, "does not have \(missing.joined(separator: ", ")), each plain or with .gz")
    }
    let found = files.map { $0.compactMap { $0 } }
    let train = try IDX.read(
      images: found[0][0], labels: found[0][1], name: name, classNames: classNames, verify: verify)
    if classNames == nil { try checkLabels(of: train, file: found[0][1]) }
    return (
      train,
      try IDX.read(
        images: found[1][0], labels: found[1][1], name: "\(name), test part", classNames: classNames, verify: verify)
    )
  }

  /// One number that is far off would otherwise make a model of many classes that never occur.
  private static func checkLabels(of train: ArrayDataset, file: String) throws {
    let labels = (0..<train.count).map { train.label(at: $0) }
    let different = Set(labels).count
    let missing = train.classCount - different
    guard missing > max(10, different), let highest = labels.max(), let place = labels.firstIndex(of: highest) else {
      return
    }
    throw DataError(
      file: file,
      "label \(place) is \(highest), but only \(different) different labels occur: \(missing) classes would have no example",
      remedy: "Mend the label, or number the classes from 0 on")
  }

  /// The path of the file, uncompressed or compressed; some call it `images.idx3-ubyte`.
  private static func find(_ name: String, in folder: String) -> String? {
    let spellings = [name, name.replacingOccurrences(of: "-idx", with: ".idx")]
    return spellings.flatMap { ["\(folder)/\($0)", "\(folder)/\($0).gz"] }
      .first { FileManager.default.fileExists(atPath: $0) }
  }
}
