import Foundation
import Torch

/// Reads IDX files, the format of MNIST and of data sets made like it: plain, which are mapped, or compressed with gzip.
///
/// A file is two zero bytes, the type of its numbers, the number of dimensions, each dimension's size as a big-endian
/// 32-bit number, and then the numbers.
public enum IDX {
  /// What a file says and holds.
  struct File {
    var dimensions: [Int]
    /// The whole file, decompressed.
    var buffer: HostBuffer
    /// Where the numbers begin.
    var byteOffset: Int

    /// The numbers, copied.
    var numbers: [UInt8] { withExtendedLifetime(buffer) { Array(buffer.bytes[byteOffset...]) } }
  }

  /// A data set from a file with images and one with their labels.
  ///
  /// Images are `[N, H, W]`, or `[N, C, H, W]` with 1, 3 or 4 channels, of unsigned bytes; labels are `[N]`.
  ///
  /// - Parameters:
  ///   - labels: nil when there are none
  ///   - classNames: nil for the numbers that occur
  ///   - verify: is called with each file's path and its decompressed bytes before they are believed
  public static func read(
    images: String, labels: String?, name: String? = nil, classNames: [String]? = nil,
    verify: (String, UnsafeRawBufferPointer) throws -> Void = { _, _ in }
  ) throws -> ArrayDataset {
    let imageFile = try read(images, verify: verify)
    let dimensions = imageFile.dimensions
    let channels = dimensions.count == 4 ? dimensions[1] : 1
    guard dimensions.count == 3 || dimensions.count == 4 else {
      throw DataError(
        file: images, "has the dimensions \(dimensions), but images are [N, H, W] or [N, C, H, W]",
        remedy: dimensions.count == 1 ? "Is it the file with the labels?" : nil)
    }
    guard [1, 3, 4].contains(channels) else {
      throw DataError(file: images, "has images with \(channels) channels; they can have 1, 3 or 4, as [N, C, H, W]")
    }
    var numbers: [Int32] = []
    if let labels {
      let labelFile = try read(labels, verify: verify)
      guard labelFile.dimensions.count == 1 else {
        throw DataError(
          file: labels, "has the dimensions \(labelFile.dimensions), but labels are [N]",
          remedy: labelFile.dimensions.count == 3 ? "Is it the file with the images?" : nil)
      }
      guard labelFile.dimensions[0] == dimensions[0] else {
        throw DataError(
          file: labels, "has \(labelFile.dimensions[0]) labels, but \(images) has \(dimensions[0]) images",
          remedy: "Take both files from the same data set")
      }
      numbers = labelFile.numbers.map { Int32($0) }
      if let classNames, let wrong = numbers.firstIndex(where: { $0 >= classNames.count }) {
        throw DataError(
          file: labels, "label \(wrong) is \(numbers[wrong]), but there are only \(classNames.count) classes")
      }
    }
    let fileName = URL(fileURLWithPath: images).lastPathComponent
    return try ArrayDataset(
      name: name ?? fileName, values: imageFile.buffer, byteOffset: imageFile.byteOffset,
      exampleShape: [channels] + dimensions.suffix(2), count: dimensions[0], labels: numbers,
      classNames: classNames ?? [])
  }

  /// One file of unsigned bytes.
  static func read(_ path: String, verify: (String, UnsafeRawBufferPointer) throws -> Void) throws -> File {
    let mapped: HostBuffer
    do { mapped = try HostBuffer(mapping: path) } catch let error as TorchError {
      throw DataError(file: nil, error.message)
    }
    defer { withExtendedLifetime(mapped) {} }
    let bytes = UnsafeRawBufferPointer(mapped.bytes)
    guard CompressedFile.isCompressed(bytes) else {
      let size = try sizeOfFile(path)
      let header = try Header(Array(bytes.prefix(min(size, Header.longest))), file: path)
      let expected = header.byteCount
      guard size >= expected else {
        throw DataError(
          file: path, "is truncated: \(header.dimensions) numbers need \(expected) bytes, but there are \(size)",
          remedy: "Fetch the file again")
      }
      guard size == expected else {
        throw DataError(
          file: path, "goes on after the \(expected) bytes that its header announces: there are \(size)",
          remedy: "Fetch the file again")
      }
      try verify(path, bytes)
      return File(dimensions: header.dimensions, buffer: mapped, byteOffset: header.length)
    }
    let header = try Header(CompressedFile.head(of: bytes, count: Header.longest, file: path), file: path)
    guard header.byteCount / CompressedFile.highestRatio <= bytes.count else {
      throw DataError(
        file: path, "cannot be right: \(header.dimensions) numbers do not fit in \(bytes.count) compressed bytes",
        remedy: "Fetch the file again")
    }
    let buffer = try CompressedFile.content(of: bytes, count: header.byteCount, file: path)
    try withExtendedLifetime(buffer) { try verify(path, UnsafeRawBufferPointer(buffer.bytes)) }
    return File(dimensions: header.dimensions, buffer: buffer, byteOffset: header.length)
  }

  private static func sizeOfFile(_ path: String) throws -> Int {
    var status = stat()
    guard stat(path, &status) == 0 else {
      throw DataError(file: path, "cannot be read: \(String(cString: strerror(errno)))")
    }
    return Int(status.st_size)
  }

  private struct Header {
    /// The length of a header with the most dimensions that are understood.
    static let longest = 20

    let dimensions: [Int]
    /// In bytes.
    let length: Int
    /// Of the whole file.
    let byteCount: Int

    init(_ bytes: [UInt8], file: String) throws {
      guard bytes.count >= 4 else {
        throw DataError(file: file, "is no IDX file: it has only \(bytes.count) bytes", remedy: "Fetch the file again")
      }
      guard bytes[0] == 0, bytes[1] == 0 else {
        let found = bytes[..<4].map { String($0, radix: 16) }.joined(separator: " ")
        throw DataError(
          file: file, "is no IDX file: it begins with the bytes \(found) instead of 0 0 8 and the number of dimensions")
      }
      guard bytes[2] == 8 else {
        let types: [UInt8: String] = [9: "int8", 11: "int16", 12: "int32", 13: "float32", 14: "float64"]
        let type = types[bytes[2]] ?? "of the unknown type \(bytes[2])"
        throw DataError(file: file, "has numbers \(type); only unsigned bytes (type 8) are supported")
      }
      let rank = Int(bytes[3])
      guard (1...4).contains(rank) else {
        throw DataError(file: file, "has \(rank) dimensions; from 1 to 4 are supported")
      }
      length = 4 + 4 * rank
      guard bytes.count >= length else {
        throw DataError(
          file: file, "is truncated: its header needs \(length) bytes, but there are \(bytes.count)",
          remedy: "Fetch the file again")
      }
      dimensions = (0..<rank).map { index in
        bytes[4 + 4 * index..<8 + 4 * index].reduce(0) { $0 << 8 | Int($1) }
      }
      guard dimensions.allSatisfy({ $0 > 0 }) else {
        throw DataError(file: file, "is empty: its dimensions are \(dimensions)")
      }
      guard let elements = product(dimensions), elements < 1 << 48 else {
        throw DataError(file: file, "has impossible dimensions: \(dimensions)")
      }
      byteCount = length + elements
    }
  }
}
