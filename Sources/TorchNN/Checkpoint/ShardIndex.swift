import Foundation
import Torch

/// The list of a model in several files, as Hugging Face's libraries write it: which of them, the shards, has which tensor.
///
///     {"metadata": {"total_size": 548105171}, "weight_map": {"wte.weight": "model-00001-of-00002.safetensors", …}}
///
/// Shards lie beside the list. A name that leads to another folder is refused, and so is a link that does, except into the
/// folder where Hugging Face's cache keeps the contents of a model's files (`blobs`, to which all names there are links).
struct ShardIndex {
  private static let mostShards = 10_000
  /// Of a list; one for 100,000 tensors has some megabytes.
  private static let mostBytes = 256 << 20

  /// The shards, sorted.
  private(set) var files: [String] = []
  /// The names of the tensors that each has.
  private let names: [String: Set<String>]
  private let path: String

  /// Whether bytes begin as a JSON object with something in it does.
  static func begins(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let marks = bytes.lazy.filter { ![0x20, 0x09, 0x0a, 0x0d].contains($0) }
    return marks.prefix(2).elementsEqual("{\"".utf8)
  }

  /// - Parameter path: of the list; the shards are looked for in its folder
  init(_ bytes: UnsafeRawBufferPointer, path: String) throws {
    func fail(_ problem: String) -> CheckpointError { CheckpointError(path: path, problem: problem) }
    guard bytes.count <= Self.mostBytes else { throw fail("it has \(bytes.count) bytes, which no list of shards has") }
    let json: JSON
    do { json = try JSON(parsing: bytes) } catch let error as JSON.SyntaxError {
      throw fail("its JSON is damaged: \(error.problem) at byte \(error.offset); fetch or write it again")
    }
    guard case .object(let members) = json, let map = members.first(where: { $0.key == "weight_map" }) else {
      throw fail("it is JSON, but no list of shards: it has no weight_map")
    }
    guard case .object(let pairs) = map.value, !pairs.isEmpty else {
      throw fail("its weight_map is not an object of names of files")
    }
    var names: [String: Set<String>] = [:]
    for (tensor, value) in pairs {
      guard case .string(let file) = value else {
        throw fail("weight_map says no file for '\(tensor.prefix(200))'")
      }
      if names[file] == nil { try Self.check(name: file, fail) }
      names[file, default: []].insert(tensor)
      guard names.count <= Self.mostShards else { throw fail("it names more than \(Self.mostShards) files") }
    }
    self.path = path
    self.names = names
    files = names.keys.sorted().map { FilePath.joined(FilePath.folder(of: path), $0) }
  }

  /// A name alone, that leads nowhere else.
  private static func check(name: String, _ fail: (String) -> CheckpointError) throws {
    let shown = "the file '\(name.prefix(200))' that it names"
    guard !name.isEmpty, name.utf8.count <= 255, !name.utf8.contains(0) else { throw fail("\(shown) cannot be one") }
    guard name != ".", name != "..", !name.utf8.contains(UInt8(ascii: "/")) else {
      throw fail("\(shown) is not beside it: a list may lead to no other folder. Do not use it")
    }
  }

  /// All tensors of all shards.
  func read() throws -> Checkpoint {
    func fail(_ problem: String) -> CheckpointError { CheckpointError(path: path, problem: problem) }
    var tensors: [NamedTensor] = []
    var seen: Set<String> = []
    for file in files {
      try checkPlace(of: file)
      let shard = try Self.shard(file)
      let wanted = names[FilePath.name(of: file)] ?? []
      let found = Set(shard.tensors.map(\.name))
      if let missing = wanted.subtracting(found).min() {
        throw fail(
          "the tensor '\(missing.prefix(200))' is not in \(file), where it should be: fetch the files again, all of one model"
        )
      }
      for named in shard.tensors where !seen.insert(named.name).inserted {
        throw fail("the tensor '\(named.name.prefix(200))' is in \(file) and in another file: fetch the files again")
      }
      tensors += shard.tensors
    }
    return Checkpoint(tensors: tensors)
  }

  private static func shard(_ file: String) throws -> Checkpoint {
    let buffer = try Checkpoint.map(file)
    let isIndex = try withExtendedLifetime(buffer) {
      try Checkpoint.format(of: UnsafeRawBufferPointer(buffer.bytes), path: file) == .index
    }
    guard !isIndex else { throw CheckpointError(path: file, problem: "it is a list of shards, named by another one") }
    return try Checkpoint.read(file)
  }

  /// Throws where a link leads to another folder.
  private func checkPlace(of file: String) throws {
    let folder = FilePath.folder(of: path)
    guard let here = RegularFile.place(of: folder), let there = RegularFile.place(of: file) else {
      throw CheckpointError(
        path: path, problem: "the file \(file) that it names is missing: fetch all files of the model")
    }
    let place = FilePath.folder(of: there)
    let blobs = FilePath.joined(FilePath.folder(of: FilePath.folder(of: here)), "blobs")
    let isInCache = FilePath.name(of: FilePath.folder(of: here)) == "snapshots" && place == blobs
    guard place == here || isInCache else {
      throw CheckpointError(
        path: path,
        problem:
          "the file \(file) that it names is a link to \(there), out of its folder, and not followed: put the file "
          + "itself there")
    }
  }
}
