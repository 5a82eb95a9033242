import DistillData
import Foundation
import Synchronization
import Torch
import TorchNN

/// One file of a teacher cache, mapped and not read: only what is looked up comes into memory, and the system takes it
/// out again when memory is short.
final class CacheShard: Sendable {
  let index: Int
  let fidelity: TeacherCache.Fidelity
  private let folder: String
  private let file: MappedFile
  private let rowCount: Int
  /// Where each column begins.
  private let starts: [Int]
  private let dataStart: Int
  private let dataHash: String
  private let isVerified: Mutex<Bool>

  static let formatName = "distill teacher cache shard"

  /// Opens a shard and checks everything about it but its data.
  ///
  /// - Parameter cacheHash: the SHA-256 of `cache.json`
  /// - Throws: `TeacherCacheError` that says what to do.
  init(_ index: Int, of folder: String, _ description: TeacherCache.Description, cacheHash: String, codec: OutputCodec)
    throws
  {
    let name = TeacherCache.ShardPlan.fileName(of: index)
    func damaged(_ problem: String) -> TeacherCacheError { Self.damaged(folder, index, problem) }
    do { file = try MappedFile(FilePath.joined(folder, name)) } catch let error as FileError {
      guard error.code == ENOENT else { throw damaged("it cannot be read: \(error.reason)") }
      throw TeacherCacheError(
        folder, "\(name) is missing", remedy: "label again to make what is missing; nothing else is computed again")
    }
    let bytes = file.bytes
    guard bytes.count >= 8 else { throw damaged("it is cut off") }
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard length <= UInt64(bytes.count - 8), length <= UInt64(SafetensorsHeader.maximumByteCount) else {
      throw damaged("it is cut off, or no safetensors file")
    }
    dataStart = 8 + Int(length)
    let header: SafetensorsHeader
    do {
      header = try SafetensorsHeader(
        reading: UnsafeRawBufferPointer(rebasing: bytes[8..<dataStart]), dataByteCount: bytes.count - dataStart,
        path: name)
    } catch let error as CheckpointError {
      throw damaged(error.problem)
    }
    let metadata = header.metadata
    guard metadata["format"] == Self.formatName else { throw damaged("it is no shard of a teacher cache") }
    guard metadata["version"] == "\(TeacherCache.Description.currentVersion)" else {
      throw damaged("it has another version of the format")
    }
    guard try metadata["metadata_sha256"] == Self.hash(of: metadata) else { throw damaged("its metadata are damaged") }
    guard metadata["cache"] == cacheHash else {
      throw damaged("it belongs to another cache, or \(TeacherCache.Description.fileName) was changed since")
    }
    let rows = description.shards.rows(of: index)
    guard metadata["shard"] == "\(index)", metadata["view"] == "\(description.shards.view(of: index))",
      metadata["first_row"] == "\(rows.lowerBound)", metadata["row_count"] == "\(rows.count)"
    else { throw damaged("it is another shard of the cache, under a wrong name") }
    guard let dataHash = metadata["data_sha256"],
      let fidelity = metadata["fidelity"].flatMap({
        try? JSONDecoder().decode(TeacherCache.Fidelity.self, from: Data($0.utf8))
      })
    else { throw damaged("its metadata are not complete") }
    let entries = Dictionary(uniqueKeysWithValues: header.entries.map { ($0.name, $0) })
    guard entries.count == codec.columns.count else { throw damaged("it has other tensors than the cache") }
    let dataStart = dataStart
    starts = try codec.columns.map { column in
      guard let entry = entries[column.name], entry.dtype == column.type, entry.shape == [rows.count] + column.shape
      else { throw damaged("its tensor '\(column.name)' is not what the cache says") }
      return dataStart + entry.start
    }
    self.index = index
    self.folder = folder
    self.fidelity = fidelity
    self.dataHash = dataHash
    rowCount = rows.count
    isVerified = Mutex(false)
  }

  /// Where a column's rows begin, for as long as this is held.
  func start(of column: Int) -> UnsafeRawPointer? { file.bytes.baseAddress.map { $0 + starts[column] } }

  /// The number of the example of each row.
  var ids: [Int] {
    guard let start = start(of: 0) else { return [] }
    return (0..<rowCount).map { Int(Int64(littleEndian: (start + 8 * $0).loadUnaligned(as: Int64.self))) }
  }

  /// Makes sure, once, that its bytes are those that were written, and its rows those of the right examples.
  ///
  /// - Parameter again: whether to look even if it was done before
  /// - Throws: `TeacherCacheError` that says what to do.
  func verify(_ rows: ExampleRows, firstRow: Int, again: Bool = false) throws {
    try isVerified.withLock { isVerified in
      guard again || !isVerified else { return }
      guard try SHA256.hex(of: UnsafeRawBufferPointer(rebasing: file.bytes[dataStart...])) == dataHash else {
        throw Self.damaged(folder, index, "its data are not those that were written")
      }
      for (place, id) in ids.enumerated() where rows.row(of: id) != firstRow + place {
        throw Self.damaged(folder, index, "its row \(place) is of example \(id), where another belongs")
      }
      isVerified = true
    }
  }

  /// Over all metadata but itself: `key=value` and a line feed for each, in the order of the keys.
  static func hash(of metadata: [String: String]) throws -> String {
    let lines = metadata.filter { $0.key != "metadata_sha256" }.sorted { $0.key < $1.key }
    return try SHA256.hex(of: lines.map { "\($0.key)=\($0.value)\n" }.joined())
  }

  private static func damaged(_ folder: String, _ index: Int, _ problem: String) -> TeacherCacheError {
    let name = TeacherCache.ShardPlan.fileName(of: index)
    return TeacherCacheError(
      folder, "\(name) cannot be used: \(problem)",
      remedy: "delete \(FilePath.joined(folder, name)) and label again: only that shard is computed")
  }
}

/// A whole file, mapped for reading only.
final class MappedFile: @unchecked Sendable {
  let bytes: UnsafeRawBufferPointer

  /// - Throws: `FileError`
  init(_ path: String) throws {
    func fail(_ code: Int32) -> FileError { FileError(path: path, reason: String(cString: strerror(code)), code: code) }
    let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { throw fail(errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw fail(errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw FileError(path: path, reason: RegularFile.refusal) }
    let size = Int(status.st_size)
    guard size > 0 else {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    guard let memory = mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0), memory != MAP_FAILED else {
      throw fail(errno)
    }
    bytes = UnsafeRawBufferPointer(start: memory, count: size)
  }

  deinit {
    if let start = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: start), bytes.count) }
  }
}
