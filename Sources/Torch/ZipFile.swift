/// What is wrong with a zip file, in words that go on after its path.
package struct ZipError: Error {
  package var problem: String
}

/// The list of what a zip file holds, also of one with more than 4 GiB (zip64). Everything that the file says of itself is
/// checked: names that come twice, contents that lie over each other or beyond the file, and heads that say other things
/// than the list are refused. Nothing is read or decompressed here.
///
/// ## Reference
/// PKWARE, APPNOTE.TXT: .ZIP File Format Specification 6.3
package struct ZipFile {
  package struct Entry: Sendable {
    package var name: String
    /// 0: stored as it is; 8: deflated.
    package var method: Int
    /// CRC-32 of the content.
    package var checksum: UInt32
    /// Bytes of the content, once decompressed.
    package var count: Int
    package var isEncrypted: Bool
    /// Where its bytes lie in the file.
    package var range: Range<Int>
  }

  /// In the order of the list.
  package private(set) var entries: [Entry] = []

  /// Whether bytes begin as zip files do.
  package static func begins(_ bytes: UnsafeRawBufferPointer) -> Bool { bytes.starts(with: [0x50, 0x4b, 0x03, 0x04]) }

  private let bytes: UnsafeRawBufferPointer

  /// - Parameter bytes: the whole file
  /// - Throws: `ZipError`
  package init(_ bytes: UnsafeRawBufferPointer) throws {
    self.bytes = bytes
    let (start, end, count) = try find()
    entries.reserveCapacity(count)
    var place = start
    var heads: [(offset: Int, end: Int)] = []
    for _ in 0..<count {
      let (entry, head, next) = try entry(at: place, end: end)
      guard entry.range.upperBound <= start else {
        throw Self.damaged("'\(Self.shown(entry.name))' lies over its directory")
      }
      heads.append((head, entry.range.upperBound))
      entries.append(entry)
      place = next
    }
    guard place == end else { throw Self.damaged("its directory has \(end - place) bytes too many") }
    try checkOverlaps(heads)
    var names: Set<String> = []
    for entry in entries where !names.insert(entry.name).inserted {
      throw Self.damaged("it holds two files called '\(Self.shown(entry.name))'")
    }
  }

  private static func damaged(_ what: String) -> ZipError {
    ZipError(problem: "is a damaged or truncated zip file (\(what))")
  }

  private static func shown(_ name: String) -> String { String(name.prefix(100)) }

  /// A little-endian number of so many bytes at a place that was checked to be there; negative where it has a 64th bit.
  private func number(_ place: Int, _ count: Int) -> Int {
    var value: UInt64 = 0
    for index in (0..<count).reversed() { value = value << 8 | UInt64(bytes[place + index]) }
    return Int(truncatingIfNeeded: value)
  }

  /// Where the list is, and how many entries it has.
  private func find() throws -> (start: Int, end: Int, count: Int) {
    guard bytes.count >= 22 else { throw Self.damaged("\(bytes.count) bytes") }
    // Before a comment of at most 65,535 bytes.
    let last = bytes.count - 22
    let found = stride(from: last, through: max(0, last - 65_535), by: -1).first { place in
      number(place, 4) == 0x0605_4b50 && place + 22 + number(place + 20, 2) == bytes.count
    }
    guard let found else { throw Self.damaged("it has no directory") }
    var (count, size, start) = (number(found + 10, 2), number(found + 12, 4), number(found + 16, 4))
    if found >= 20, number(found - 20, 4) == 0x0706_4b50 {
      let large = number(found - 12, 8)
      guard large >= 0, large <= bytes.count - 56, number(large, 4) == 0x0606_4b50 else {
        throw Self.damaged("it has no large directory")
      }
      (count, size, start) = (number(large + 32, 8), number(large + 40, 8), number(large + 48, 8))
    }
    guard start >= 0, size >= 0, start <= found, size <= found - start, count >= 0, count <= size / 46 else {
      throw Self.damaged("its directory is not where it should be")
    }
    return (start, start + size, count)
  }

  private func entry(at place: Int, end: Int) throws -> (entry: Entry, head: Int, next: Int) {
    guard place <= end - 46, number(place, 4) == 0x0201_4b50 else { throw Self.damaged("an entry of its directory") }
    let lengths = (name: number(place + 28, 2), extra: number(place + 30, 2), comment: number(place + 32, 2))
    let next = place + 46 + lengths.name + lengths.extra + lengths.comment
    guard next <= end else { throw Self.damaged("an entry of its directory") }
    let nameBytes = UnsafeRawBufferPointer(rebasing: bytes[place + 46..<place + 46 + lengths.name])
    guard let name = String(validating: nameBytes, as: UTF8.self) else { throw Self.damaged("a name that is no text") }
    var sizes = Sizes(count: number(place + 24, 4), stored: number(place + 20, 4), offset: number(place + 42, 4))
    try useLargeNumbers(&sizes, place + 46 + lengths.name, lengths.extra, name)
    let method = number(place + 10, 2)
    guard sizes.count >= 0, sizes.count < 1 << 48, sizes.stored >= 0, sizes.offset >= 0,
      sizes.offset <= bytes.count - 30, sizes.stored <= bytes.count, method != 0 || sizes.count == sizes.stored
    else { throw Self.damaged("the sizes of '\(Self.shown(name))'") }
    // The head before the content repeats the name; where the content begins stands only there.
    let head = sizes.offset
    let nameLength = number(head + 26, 2)
    let start = head + 30 + nameLength + number(head + 28, 2)
    guard number(head, 4) == 0x0403_4b50, start <= bytes.count, sizes.stored <= bytes.count - start else {
      throw Self.damaged("'\(Self.shown(name))' is not where its directory says")
    }
    guard nameLength == lengths.name, bytes[head + 30..<head + 30 + nameLength].elementsEqual(nameBytes) else {
      throw Self.damaged("'\(Self.shown(name))' is called otherwise in its directory")
    }
    let entry = Entry(
      name: name, method: method, checksum: UInt32(truncatingIfNeeded: number(place + 16, 4)), count: sizes.count,
      isEncrypted: number(place + 8, 2) & 1 != 0, range: start..<start + sizes.stored)
    return (entry, head, next)
  }

  private struct Sizes {
    var count: Int
    var stored: Int
    var offset: Int
  }

  /// Numbers that do not fit in four bytes stand in an extra field, in this order, only those that are needed.
  private func useLargeNumbers(_ sizes: inout Sizes, _ start: Int, _ length: Int, _ name: String) throws {
    var place = start
    while place + 4 <= start + length {
      let (kind, size) = (number(place, 2), number(place + 2, 2))
      guard place + 4 + size <= start + length else {
        throw Self.damaged("an extra field of '\(Self.shown(name))'")
      }
      if kind == 1 {
        var field = place + 4
        for path in [\Sizes.count, \Sizes.stored, \Sizes.offset] where sizes[keyPath: path] == 0xffff_ffff {
          guard field + 8 <= place + 4 + size else { throw Self.damaged("the sizes of '\(Self.shown(name))'") }
          sizes[keyPath: path] = number(field, 8)
          field += 8
        }
      }
      place += 4 + size
    }
  }

  /// One compressed block that many names share is how a small file claims to be huge.
  private func checkOverlaps(_ heads: [(offset: Int, end: Int)]) throws {
    let sorted = heads.indices.sorted { heads[$0].offset < heads[$1].offset }
    for (first, second) in zip(sorted, sorted.dropFirst()) where heads[first].end > heads[second].offset {
      let (one, other) = (Self.shown(entries[first].name), Self.shown(entries[second].name))
      throw Self.damaged("'\(one)' and '\(other)' lie over each other")
    }
  }
}
