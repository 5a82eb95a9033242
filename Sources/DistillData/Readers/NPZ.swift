import CZlib
import Foundation
import Torch

/// Reads NumPy's files of several arrays, `.npz`: zip files of `.npy` files, stored as they are (`numpy.savez`) or
/// deflated (`numpy.savez_compressed`).
public struct NPZ: Sendable {
  private struct Member: Sendable {
    var method: Int
    var checksum: UInt32
    var compressedCount: Int
    var count: Int
    var offset: Int
  }

  public let path: String
  private let bytes: HostBuffer
  private let members: [String: Member]

  /// The names of the arrays, sorted.
  public var names: [String] { members.keys.sorted() }

  /// Reads which arrays there are. The file is mapped.
  ///
  /// - Throws: `DataError` that says what is wrong with the file; nothing in it is trusted.
  public init(_ path: String) throws {
    do { bytes = try HostBuffer(mapping: path) } catch let error as TorchError { throw DataError(error.message) }
    self.path = path
    var directory = ZipDirectory(bytes: UnsafeRawBufferPointer(bytes.bytes), file: path)
    var members: [String: Member] = [:]
    try directory.forEach { entry in
      if entry.name.hasSuffix("data.pkl") {
        throw DataError(
          file: path, "is a file of torch.save, which unpickles what is in it, that is executes it",
          remedy: "Save the tensor from Python with safetensors.torch.save_file, or numpy.save")
      }
      guard entry.name.hasSuffix(".npy") else { return }
      let name = String(entry.name.dropLast(4))
      guard !entry.isEncrypted else { throw DataError(file: path, "holds '\(name)' encrypted") }
      let member = Member(
        method: entry.method, checksum: entry.checksum, compressedCount: entry.compressedCount, count: entry.count,
        offset: entry.offset)
      guard members.updateValue(member, forKey: name) == nil else {
        throw DataError(file: path, "holds two arrays called '\(name)'")
      }
    }
    guard !members.isEmpty else { throw DataError(file: path, "is a zip file without arrays of NumPy (.npy)") }
    self.members = members
    withExtendedLifetime(bytes) {}
  }

  /// An array; nil where there is none of that name. One that is stored as it is stays in the file, a deflated one is
  /// held in memory. The checksum is verified either way.
  public func array(_ name: String) throws -> NumberArray? {
    guard let member = members[name] else { return nil }
    let place = "\(path), array '\(name)'"
    let all = UnsafeRawBufferPointer(bytes.bytes)
    let remedy = "Write or fetch the file again"
    // The local header repeats the name; where its data begin stands only there.
    guard member.offset <= all.count - 30,
      all.loadUnaligned(fromByteOffset: member.offset, as: UInt32.self).littleEndian == 0x0403_4b50
    else { throw DataError(file: place, "is not where the file's directory says", remedy: remedy) }
    func number(_ offset: Int) -> Int {
      Int(all.loadUnaligned(fromByteOffset: member.offset + offset, as: UInt16.self).littleEndian)
    }
    let start = member.offset + 30 + number(26) + number(28)
    guard start <= all.count, member.compressedCount <= all.count - start else {
      throw DataError(file: place, "is cut off", remedy: remedy)
    }
    let range = start..<start + member.compressedCount
    switch member.method {
    case 0:
      guard member.count == member.compressedCount else {
        throw DataError(file: place, "has two lengths: \(member.count) and \(member.compressedCount)", remedy: remedy)
      }
      try verify(UnsafeRawBufferPointer(rebasing: all[range]), member, place)
      return try NPY.read(bytes, range, name: place)
    case 8:
      guard member.count / CompressedFile.highestRatio <= member.compressedCount else {
        throw DataError(
          file: place, "cannot be right: \(member.count) bytes do not fit in \(member.compressedCount) compressed ones",
          remedy: remedy)
      }
      let content = try CompressedFile.content(
        of: UnsafeRawBufferPointer(rebasing: all[range]), count: member.count, file: place, format: .deflate)
      try verify(UnsafeRawBufferPointer(content.bytes), member, place)
      return try NPY.read(content, content.bytes.indices, name: place)
    default:
      throw DataError(
        file: place, "is compressed by the method \(member.method); stored and deflated arrays can be read",
        remedy: "Write it with numpy.savez or numpy.savez_compressed")
    }
  }

  private func verify(_ content: UnsafeRawBufferPointer, _ member: Member, _ place: String) throws {
    var checksum = crc32(0, nil, 0)
    var rest = content[...]
    while !rest.isEmpty {
      let part = UnsafeRawBufferPointer(rebasing: rest.prefix(1 << 30))
      checksum = crc32(checksum, part.bindMemory(to: UInt8.self).baseAddress, UInt32(part.count))
      rest = rest.dropFirst(part.count)
    }
    guard checksum == UInt(member.checksum) else {
      throw DataError(file: place, "is damaged: its checksum is wrong", remedy: "Write or fetch the file again")
    }
  }
}

/// The list of files at the end of a zip file, also of one with more than 4 GiB (zip64).
private struct ZipDirectory {
  struct Entry {
    var name: String
    var isEncrypted: Bool
    var method: Int
    var checksum: UInt32
    var compressedCount: Int
    var count: Int
    var offset: Int
  }

  let bytes: UnsafeRawBufferPointer
  let file: String

  private func damaged(_ what: String) -> DataError {
    DataError(file: file, "is a damaged or truncated zip file (\(what))", remedy: "Write or fetch the file again")
  }

  /// A little-endian number of so many bytes at a place that was checked to be there.
  private func number(_ place: Int, _ count: Int) -> Int {
    var value: UInt64 = 0
    for index in (0..<count).reversed() { value = value << 8 | UInt64(bytes[place + index]) }
    return Int(truncatingIfNeeded: value)
  }

  /// Where the directory is, and how many entries it has.
  private func find() throws -> (start: Int, end: Int, count: Int) {
    guard bytes.count >= 22 else { throw damaged("\(bytes.count) bytes") }
    // Before a comment of at most 65,535 bytes.
    let last = bytes.count - 22
    let found = stride(from: last, through: max(0, last - 65_535), by: -1).first { place in
      number(place, 4) == 0x0605_4b50 && place + 22 + number(place + 20, 2) == bytes.count
    }
    guard let found else { throw damaged("it has no directory") }
    var (count, size, start) = (number(found + 10, 2), number(found + 12, 4), number(found + 16, 4))
    if found >= 20, number(found - 20, 4) == 0x0706_4b50 {
      let large = number(found - 12, 8)
      guard large >= 0, large <= bytes.count - 56, number(large, 4) == 0x0606_4b50 else {
        throw damaged("it has no large directory")
      }
      (count, size, start) = (number(large + 32, 8), number(large + 40, 8), number(large + 48, 8))
    }
    guard start >= 0, size >= 0, start <= found, size <= found - start, count >= 0, count <= size / 46 else {
      throw damaged("its directory is not where it should be")
    }
    return (start, start + size, count)
  }

  mutating func forEach(_ body: (Entry) throws -> Void) throws {
    let (start, end, count) = try find()
    var place = start
    for _ in 0..<count {
      guard place <= end - 46, number(place, 4) == 0x0201_4b50 else { throw damaged("an entry of its directory") }
      let lengths = (name: number(place + 28, 2), extra: number(place + 30, 2), comment: number(place + 32, 2))
      let next = place + 46 + lengths.name + lengths.extra + lengths.comment
      guard next <= end else { throw damaged("an entry of its directory") }
      let nameBytes = bytes[place + 46..<place + 46 + lengths.name]
      var entry = Entry(
        name: String(decoding: nameBytes, as: UTF8.self), isEncrypted: number(place + 8, 2) & 1 != 0,
        method: number(place + 10, 2), checksum: UInt32(truncatingIfNeeded: number(place + 16, 4)),
        compressedCount: number(place + 20, 4), count: number(place + 24, 4), offset: number(place + 42, 4))
      try useLargeNumbers(&entry, place + 46 + lengths.name, lengths.extra)
      guard entry.count >= 0, entry.compressedCount >= 0, (0...bytes.count).contains(entry.offset),
        entry.compressedCount <= bytes.count, entry.count < 1 << 48
      else { throw damaged("the sizes of '\(entry.name)'") }
      try body(entry)
      place = next
    }
  }

  /// Numbers that do not fit in four bytes stand in an extra field, in this order, only those that are needed.
  private func useLargeNumbers(_ entry: inout Entry, _ start: Int, _ length: Int) throws {
    var place = start
    while place + 4 <= start + length {
      let (kind, size) = (number(place, 2), number(place + 2, 2))
      guard place + 4 + size <= start + length else { throw damaged("an extra field of '\(entry.name)'") }
      if kind == 1 {
        var field = place + 4
        for path in [\Entry.count, \Entry.compressedCount, \Entry.offset] where entry[keyPath: path] == 0xffff_ffff {
          guard field + 8 <= place + 4 + size else { throw damaged("the sizes of '\(entry.name)'") }
          entry[keyPath: path] = number(field, 8)
          field += 8
        }
      }
      place += 4 + size
    }
  }
}
