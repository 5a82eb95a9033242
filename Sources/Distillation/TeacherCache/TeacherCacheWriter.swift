import DistillData
import Foundation
import Torch
import TorchNN

/// Makes a cache, shard by shard, or goes on with one. Any number of writers, in as many processes, may work at one cache
/// at a time: each shard is claimed by a lock, which is let go when its process ends, however it ends; a shard that is
/// there is done, and nobody touches it again.
public final class TeacherCacheWriter {
  public let folder: String
  /// What is written down in the folder.
  public let description: TeacherCache.Description
  /// The examples, in rising order.
  public let examples: [Int]
  fileprivate let hash: String
  fileprivate let codec: OutputCodec
  /// The shards before this one are there.
  private var next = 0

  /// Begins a cache in a folder, which is made, or goes on with the one that is there.
  ///
  /// - Parameters:
  ///   - examples: the numbers of the examples of the key, in any order
  ///   - rowsPerShard: nil: so many that a shard has about 64 MiB
  ///   - batchSize: of which a shard has whole ones, where nobody says its rows and they fit
  /// - Throws: `TeacherCacheError` that says what differs when another cache is there, or something else;
  ///   `DistillationError` when key, contents and examples do not fit together; `FileError`.
  public init(
    _ folder: String, key: TeacherCache.Key, contents: TeacherCache.Contents, examples: [Int], rowsPerShard: Int? = nil,
    batchSize: Int = 1
  ) throws {
    let ids = examples.ascendingSet
    guard let first = ids.first, let last = ids.last, first >= 0 else {
      throw DistillationError("a teacher cache needs examples, numbered from 0 on")
    }
    let data = try TeacherCache.Key.Data(name: key.data.name, contentHash: key.data.contentHash, examples: ids)
    guard data == key.data else { throw DistillationError("the examples of a teacher cache are not those of its key") }
    guard contents.classCount == key.teacher.classCount else {
      throw DistillationError(
        "the teacher has \(contents.classCount) outputs, and \(key.teacher.classCount) classes were announced")
    }
    guard rowsPerShard ?? 1 > 0, key.views > 0 else {
      throw DistillationError("a shard has at least one row, and an example at least one view")
    }
    let codec = OutputCodec(contents)
    var fitting = max(1, min(1 << 20, Self.shardByteCount / codec.rowByteCount))
    if batchSize > 1, fitting > batchSize { fitting -= fitting % batchSize }
    let wanted = TeacherCache.Description(
      key: key, contents: contents,
      shards: TeacherCache.ShardPlan(
        rowsPerShard: min(rowsPerShard ?? fitting, ids.count), views: key.views, exampleCount: ids.count,
        firstExample: first, lastExample: last))
    (description, hash) = try Self.begin(wanted, in: folder)
    self.folder = folder
    self.examples = ids
    self.codec = codec
    try removeLocksOfTheDead()
  }

  static let shardByteCount = 64 << 20
  private static let lockName = ".cache.lock"

  /// Writes the description, or reads the one that is there.
  private static func begin(
    _ wanted: TeacherCache.Description, in folder: String
  ) throws -> (TeacherCache.Description, String) {
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      // What is thrown does not always hold the system's reason.
      if mkdir(folder, 0o777) != 0 {
        let code = errno
        throw code == EEXIST
          ? FileError(
            path: folder, reason: BrokenLink.problem(at: folder) ?? "it is a file; choose another name", code: code)
          : FileError(path: folder, code: code)
      }
    }
    let path = FilePath.joined(folder, TeacherCache.Description.fileName)
    // One at a time, so that there is one description, and everybody reads it whole.
    let lock = try FileLock.take(FilePath.joined(folder, lockName), waits: true)
    defer { withExtendedLifetime(lock) {} }
    if !FileManager.default.fileExists(atPath: path) {
      try TeacherCache.requireNothingElse(in: folder)
      try AtomicFile.write(try wanted.json(), to: path)
    }
    let (found, hash) = try TeacherCache.Description.read(folder)
    let differences = found.differences(from: wanted)
    guard differences.isEmpty else {
      throw TeacherCacheError(
        folder: folder, problems: differences.map { "it is another cache: \($0)" },
        remedy: "name another folder, or delete this one")
    }
    return (found, hash)
  }

  /// The numbers of the shards that are not there yet; others may be at work at them.
  public var missingShards: [Int] {
    (0..<description.shards.count).filter { !isThere($0) }
  }

  /// A shard that is missing and that nobody is at work at; nil where there is none.
  ///
  /// - Throws: `FileError` when the folder cannot be written.
  public func claim() throws -> ShardWriter? {
    while next < description.shards.count, isThere(next) { next += 1 }
    for shard in next..<max(next, description.shards.count) where !isThere(shard) {
      let name = TeacherCache.ShardPlan.fileName(of: shard)
      guard let lock = try FileLock.take(FilePath.joined(folder, ".\(name).lock"), waits: false) else { continue }
      if isThere(shard) { continue }
      removeLeftovers(of: name)
      return ShardWriter(shard, of: self, lock: lock)
    }
    return nil
  }

  fileprivate func isThere(_ shard: Int) -> Bool {
    FileManager.default.fileExists(atPath: path(of: shard))
  }

  fileprivate func path(of shard: Int) -> String {
    FilePath.joined(folder, TeacherCache.ShardPlan.fileName(of: shard))
  }

  /// A process that ends between writing a shard and letting go of its lock leaves the lock's file, which nobody asks for
  /// again.
  private func removeLocksOfTheDead() throws {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    where name.hasPrefix(".shard-") && name.hasSuffix(".lock") {
      let shard = String(name.dropFirst().dropLast(".lock".count))
      guard FileManager.default.fileExists(atPath: FilePath.joined(folder, shard)) else { continue }
      // Deleted when it is let go; where somebody holds it, by them.
      _ = try FileLock.take(FilePath.joined(folder, name), waits: false)
    }
  }

  /// Whoever holds the lock of a shard is the only one to write it: temporary files of it are those of dead writers.
  private func removeLeftovers(of name: String) {
    for found in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    where found.hasPrefix(".\(name).") && found.hasSuffix(".tmp") {
      unlink(FilePath.joined(folder, found))
    }
  }
}

/// A shard in the making: `append` its examples in order, then `finish`. If it is let go before, nothing was written, and
/// somebody else can claim it.
public final class ShardWriter {
  public let index: Int
  /// The view of the examples that is to be labelled.
  public let view: Int
  /// The examples, in rising order.
  public let ids: [Int]
  private let writer: TeacherCacheWriter
  private let lock: FileLock
  private let buffers: [HostBuffer]
  private var filled = 0
  private var fidelity: TeacherCache.Fidelity

  fileprivate init(_ index: Int, of writer: TeacherCacheWriter, lock: FileLock) {
    let plan = writer.description.shards
    let ids = Array(writer.examples[plan.rows(of: index)])
    self.index = index
    view = plan.view(of: index)
    self.ids = ids
    self.writer = writer
    self.lock = lock
    buffers = writer.codec.columns.map { HostBuffer(byteCount: ids.count * $0.rowByteCount) }
    fidelity = TeacherCache.Fidelity(writer.description.contents)
  }

  /// What the teacher said of the next examples of `ids`.
  ///
  /// - Parameters:
  ///   - logits: of each member, `[N, C]` or `[N, L, C]`
  ///   - features: of each feature, `[N, ...]`
  ///   - tokens: those that count, where the outputs are those of tokens: fidelity is about them
  ///   - seconds: that the teacher took
  /// - Throws: `DistillationError` when there are too many, their shapes are not those of the cache, they are not finite,
  ///   or they do not fit the encoding.
  public func append(
    logits: [Tensor], features: [Tensor] = [], tokens: Tokens? = nil, seconds: Double = 0
  ) throws {
    let count = logits.first?.shape.first ?? 0
    guard count > 0, filled + count <= ids.count else {
      throw DistillationError("\(count) rows do not fit into a shard of \(ids.count) that has \(filled)")
    }
    let codec = writer.codec
    let part = Array(ids[filled..<filled + count])
    let encoded = try codec.encode(ids: part, view: view, logits: logits, features: features)
    let columns = [try Tensor(part.map { Int64($0) })] + encoded
    for (index, column) in columns.enumerated() {
      let size = codec.columns[index].rowByteCount
      try column.withBytes { bytes in
        UnsafeMutableRawBufferPointer(rebasing: buffers[index].bytes[(filled * size)...]).copyMemory(from: bytes)
      }
    }
    let structure = codec.contents.structure
    let decoded = try logits.indices.map { member in try codec.logits(of: member) { columns[$0] } }
    try fidelity.add(
      exact: structure.trace(
        logits: logits.map { try $0.detached().to(.cpu, dtype: .float32) }, kept: logits.map { _ in nil }),
      kept: structure.trace(logits: decoded.map(\.logits), kept: decoded.map(\.kept)),
      exactFeatures: features, keptFeatures: features.indices.map { index in try codec.feature(index) { columns[$0] } },
      tokens: tokens)
    fidelity.exampleCount += count
    fidelity.byteCount += count * codec.rowByteCount
    fidelity.teacherSeconds += seconds
    filled += count
  }

  /// Writes the shard: under another name first, synced, then renamed, so that it is there as a whole or not at all.
  ///
  /// - Throws: `DistillationError` when rows are missing, `FileError` when it cannot be written.
  public func finish() throws {
    guard filled == ids.count else {
      throw DistillationError("a shard of \(ids.count) rows cannot be finished with \(filled)")
    }
    // In the order in which a safetensors file of ours has them: larger elements first.
    let columns = writer.codec.columns.enumerated().sorted {
      (-$0.element.type.byteCount, $0.offset) < (-$1.element.type.byteCount, $1.offset)
    }
    let data = try SHA256()
    var tensors: [NamedTensor] = []
    for (index, column) in columns {
      try data.update(UnsafeRawBufferPointer(buffers[index].bytes))
      tensors.append(
        NamedTensor(
          name: column.name,
          tensor: try Tensor(buffers[index], shape: [ids.count] + column.shape, dtype: column.type)))
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    var metadata = [
      "format": CacheShard.formatName,
      "version": "\(TeacherCache.Description.currentVersion)",
      "cache": writer.hash,
      "shard": "\(index)",
      "view": "\(view)",
      "first_row": "\(writer.description.shards.rows(of: index).lowerBound)",
      "row_count": "\(ids.count)",
      "data_sha256": try data.hex(),
      "fidelity": String(decoding: try encoder.encode(fidelity), as: UTF8.self),
    ]
    metadata["metadata_sha256"] = try CacheShard.hash(of: metadata)
    try Checkpoint.write(tensors, metadata: metadata, to: writer.path(of: index))
  }
}
