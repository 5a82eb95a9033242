import Foundation
import Torch

/// Reads the binary version of CIFAR-10 and CIFAR-100: records of one label byte, or two, and 3×32×32 pixel bytes.
public enum CIFAR {
  public enum Kind: Sendable {
    /// One label byte, ten classes.
    case ten
    /// A coarse and a fine label byte; the fine one of a hundred classes is taken.
    case hundred

    var labelBytes: Int { self == .ten ? 1 : 2 }
    var classCount: Int { self == .ten ? 10 : 100 }
  }

  public static let classNames10 = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
  ]

  private static let pixelBytes = 3 * 32 * 32

  /// One data set from the records of some files.
  public static func read(
    _ files: [String], kind: Kind, name: String = "cifar", classNames: [String]? = nil
  ) throws -> ArrayDataset {
    let recordBytes = kind.labelBytes + pixelBytes
    let buffers = try files.map { file -> HostBuffer in
      do { return try HostBuffer(mapping: file) } catch let error as TorchError { throw DataError(error.message) }
    }
    defer { withExtendedLifetime(buffers) {} }
    var counts: [Int] = []
    for (file, buffer) in zip(files, buffers) {
      let size = buffer.bytes.count
      guard size >= recordBytes, size % recordBytes == 0 else {
        throw DataError(
          file: file,
          "is truncated, or no file of CIFAR-\(kind.classCount): \(size) bytes are not a whole number of records of "
            + "\(recordBytes) bytes", remedy: "Fetch the binary version again")
      }
      counts.append(size / recordBytes)
    }
    let count = counts.reduce(0, +)
    let pixels = HostBuffer(byteCount: count * pixelBytes)
    var labels: [Int32] = []
    for (file, (buffer, records)) in zip(files, zip(buffers, counts)) {
      for record in 0..<records {
        let bytes = UnsafeMutableRawBufferPointer(
          rebasing: buffer.bytes[record * recordBytes..<(record + 1) * recordBytes])
        let label = bytes[kind.labelBytes - 1]
        guard label < kind.classCount else {
          throw DataError(
            file: file, "record \(record) has the label \(label), but there are \(kind.classCount) classes",
            remedy: "Is it a file of CIFAR-\(kind.classCount)?")
        }
        let start = labels.count * pixelBytes
        UnsafeMutableRawBufferPointer(rebasing: pixels.bytes[start..<start + pixelBytes])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[kind.labelBytes...]))
        labels.append(Int32(label))
      }
    }
    let names = classNames ?? (kind == .ten ? classNames10 : (0..<100).map(String.init))
    return try ArrayDataset(
      name: name, values: pixels, exampleShape: [3, 32, 32], count: count, labels: labels, classNames: names)
  }

  /// The images for training and those for testing from a folder with the files as they are published.
  public static func load(_ kind: Kind, folder: String) throws -> (train: ArrayDataset, test: ArrayDataset) {
    let name = kind == .ten ? "cifar10" : "cifar100"
    let published = "\(folder)/\(kind == .ten ? "cifar-10-batches-bin" : "cifar-100-binary")"
    let place = FileManager.default.fileExists(atPath: published) ? published : folder
    let train = (kind == .ten ? (1...5).map { "data_batch_\($0).bin" } : ["train.bin"])
    let test = [kind == .ten ? "test_batch.bin" : "test.bin"]
    let missing = (train + test).filter { !FileManager.default.fileExists(atPath: "\(place)/\($0)") }
    guard missing.isEmpty else {
      throw DataError(
        file: place, "does not have \(missing.joined(separator: ", "))",
        remedy: "Unpack the binary version of CIFAR-\(kind.classCount) there")
    }
    var names: [String]?
    if kind == .hundred, let text = try? String(contentsOfFile: "\(place)/fine_label_names.txt", encoding: .utf8) {
      let lines = text.split(whereSeparator: \.isNewline).map(String.init)
      if lines.count == 100 { names = lines }
    }
    return (
      try read(train.map { "\(place)/\($0)" }, kind: kind, name: name, classNames: names),
      try read(test.map { "\(place)/\($0)" }, kind: kind, name: "\(name), test part", classNames: names)
    )
  }
}
