import DistillData
import Foundation
import Torch

/// What a teacher said of every example and view of a transfer set, kept in files, so that it is asked once.
///
/// A cache is a folder: `cache.json` says what it is of (`Key`), what is kept of each example (`Contents`), and how the
/// rows are divided among shards (`ShardPlan`); each shard is a file in the format safetensors, complete by being there.
/// `label` makes one, with any number of processes at a time; `makeTeacher` gives the teacher whose outputs it holds.
public final class TeacherCache: Sendable {
  public let folder: String
  public let description: Description
  let shards: [CacheShard]
  let codec: OutputCodec
  let rows: ExampleRows
  /// Whether a shard's checksum is computed when it is used for the first time.
  let verifies: Bool

  /// Opens a cache that is complete. Its files are mapped, not read; sizes and heads are checked now, the checksum of a
  /// shard when it is used for the first time.
  ///
  /// - Parameter verifies: false: checksums are not computed, for whoever just called `verify`
  /// - Throws: `TeacherCacheError`
  public init(_ folder: String, verifies: Bool = true) throws {
    let (description, hash) = try Description.read(folder)
    let codec = OutputCodec(description.contents)
    let missing = Self.missingShards(folder, description.shards)
    guard missing.isEmpty else { throw Self.incomplete(folder, description.shards, missing) }
    let shards = try (0..<description.shards.count).map {
      try CacheShard($0, of: folder, description, cacheHash: hash, codec: codec)
    }
    let plan = description.shards
    if plan.lastExample - plan.firstExample == plan.exampleCount - 1 {
      rows = ExampleRows(first: plan.firstExample, count: plan.exampleCount)
    } else {
      var ids: [Int] = []
      ids.reserveCapacity(plan.exampleCount)
      for shard in shards.prefix(plan.perView) {
        for id in shard.ids {
          guard ids.last.map({ $0 < id }) ?? true else {
            throw TeacherCacheError(
              folder, "\(ShardPlan.fileName(of: shard.index)) is damaged: its examples are not in rising order",
              remedy: "delete it and label again")
          }
          ids.append(id)
        }
      }
      rows = ExampleRows(ids)
    }
    self.folder = folder
    self.description = description
    self.shards = shards
    self.codec = codec
    self.verifies = verifies
  }

  public var key: Key { description.key }

  /// How near what was kept is to what the teacher said, over all shards.
  public var fidelity: Fidelity {
    shards.map(\.fidelity).reduce(Fidelity(description.contents), +)
  }

  /// Bytes of all files but `cache.json`.
  public var byteCount: Int { fidelity.byteCount }

  /// Computes the checksum of every shard, and sees that all rows are of the examples that the key names.
  ///
  /// - Parameter progress: called after each shard with the part that is done
  /// - Throws: `TeacherCacheError` for the first shard that is damaged; `Interrupted` when `progress` answers `.stop`.
  public func verify(_ progress: (Double) -> Answer = { _ in .continue }) throws {
    for shard in shards {
      try shard.verify(rows, firstRow: description.shards.rows(of: shard.index).lowerBound, again: true)
      if progress(Double(shard.index + 1) / Double(shards.count)) == .stop { throw Interrupted() }
    }
    let ids = shards.prefix(description.shards.perView).flatMap(\.ids)
    let found = try Key.Data(name: key.data.name, contentHash: key.data.contentHash, examples: ids)
    guard found == key.data else {
      throw TeacherCacheError(
        folder, "its examples are not those that its key names", remedy: "label again into another folder")
    }
  }

  /// - Throws: `TeacherCacheError` that says what differs, unless these outputs can be used where those of `wanted` are.
  public func requireKey(_ wanted: Key) throws {
    let obstacles = key.obstacles(to: wanted)
    guard obstacles.isEmpty else {
      throw TeacherCacheError(
        folder: folder, problems: obstacles.map { "it does not fit: \($0)" }, remedy: "label again into another folder")
    }
  }

  /// The teacher whose outputs these are. Any number of them may look up at a time, each on its thread.
  public func makeTeacher() -> PrecomputedTeacher { PrecomputedTeacher(OutputsInShards(self), of: self) }

  // MARK: What is there

  /// What a folder holds, complete or not.
  public struct Status: Sendable {
    public var description: Description
    /// The numbers of the shards that are missing.
    public var missing: [Int]

    public var isComplete: Bool { missing.isEmpty }
  }

  /// Whether there is a cache in a folder, complete or not.
  public static func exists(in folder: String) -> Bool {
    FileManager.default.fileExists(atPath: FilePath.joined(folder, Description.fileName))
  }

  /// - Throws: `TeacherCacheError` when a folder holds something, and no cache.
  public static func requireNothingElse(in folder: String) throws {
    guard !exists(in: folder) else { return }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    let foreign = names.filter { !$0.hasPrefix(".") }.sorted()
    guard foreign.isEmpty else {
      throw TeacherCacheError(
        folder, "the folder holds something else (\(foreign.prefix(3).joined(separator: ", ")))",
        remedy: "name another one: nothing in it is touched")
    }
  }

  /// - Throws: `TeacherCacheError` when the folder holds no cache.
  public static func status(of folder: String) throws -> Status {
    let description = try Description.read(folder).description
    return Status(description: description, missing: missingShards(folder, description.shards))
  }

  private static func missingShards(_ folder: String, _ plan: ShardPlan) -> [Int] {
    let names = Set((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
    return (0..<plan.count).filter { !names.contains(ShardPlan.fileName(of: $0)) }
  }

  private static func incomplete(_ folder: String, _ plan: ShardPlan, _ missing: [Int]) -> TeacherCacheError {
    let such = missing.prefix(3).map(ShardPlan.fileName).joined(separator: ", ") + (missing.count > 3 ? ", …" : "")
    return TeacherCacheError(
      folder, "\(missing.count) of its \(plan.count) shards are missing: \(such)",
      remedy: "label again to make what is missing; nothing else is computed again")
  }
}
