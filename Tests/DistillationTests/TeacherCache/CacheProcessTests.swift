import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// Several processes at one cache, processes that are killed, and a cache that is larger than the memory there is.
@Suite(.serialized) struct CacheProcessTests {
  /// The program beside these tests.
  private static func path() throws -> String {
    var folders = Bundle.allBundles.filter { $0.bundlePath.hasSuffix(".xctest") }.map {
      URL(fileURLWithPath: $0.bundlePath).deletingLastPathComponent().path
    }
    var folder = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
    for _ in 0..<5 {
      folder.deleteLastPathComponent()
      folders.append(folder.path)
    }
    let found = folders.map { "\($0)/teacher-cache-helper" }.first { FileManager.default.isExecutableFile(atPath: $0) }
    return try #require(found, "there is no teacher-cache-helper in \(folders)")
  }

  private final class Helper {
    let process = Process()
    private let output = Pipe()

    init(_ arguments: [String]) throws {
      process.executableURL = URL(fileURLWithPath: try CacheProcessTests.path())
      process.arguments = arguments
      process.standardOutput = output
      process.standardError = output
      try process.run()
    }

    deinit { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }

    /// Its code and what it said.
    func wait() -> (code: Int32, words: [String]) {
      let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      return (process.terminationStatus, text.split(whereSeparator: \.isWhitespace).map(String.init))
    }
  }

  private static func hashes(_ folder: String) throws -> [String?] {
    try (0..<12).map { index in
      let number = index < 10 ? "0\(index)" : "\(index)"
      return try Checkpoint.read("\(folder)/shard-000\(number).safetensors").metadata["data_sha256"]
    }
  }

  private static func shards(_ folder: String) -> [String] {
    ((try? CacheSample.files(folder)) ?? []).filter { $0.hasPrefix("shard-") }
  }

  private static func marks(_ folder: String, _ names: [String]) throws -> [String] {
    try names.map { name in
      var status = stat()
      guard stat("\(folder)/\(name)", &status) == 0 else { throw DistillationError("\(name) is gone") }
      #if os(Linux)
      return "\(status.st_ino) \(status.st_mtim.tv_sec) \(status.st_mtim.tv_nsec)"
      #else
      return "\(status.st_ino) \(status.st_mtimespec.tv_sec) \(status.st_mtimespec.tv_nsec)"
      #endif
    }
  }

  /// Together they make each shard once, and the cache is the one that a single process makes.
  @Test func processesShareTheWork() throws {
    try withTemporaryFolder { folder in
      let helpers = try (0..<3).map { _ in try Helper(["label", "\(folder)/together", "20"]) }
      let results = helpers.map { $0.wait() }
      #expect(results.allSatisfy { $0.code == 0 }, "\(results)")
      let made = results.compactMap { $0.words.first.flatMap { Int($0) } }
      #expect(made.reduce(0, +) == 12, "\(results)")
      #expect(made.count { $0 > 0 } >= 2, "\(made)")
      #expect(try Helper(["label", "\(folder)/alone", "0"]).wait().code == 0)
      #expect(try Self.hashes("\(folder)/together") == Self.hashes("\(folder)/alone"))
      #expect(try CacheSample.files("\(folder)/together") == CacheSample.files("\(folder)/alone"))
      let cache = try TeacherCache("\(folder)/together")
      try cache.verify()
      #expect(cache.fidelity.exampleCount == 120 && cache.fidelity.rowCount == 120)
      let alone = try TeacherCache("\(folder)/alone").fidelity
      assertClose(
        try #require(cache.fidelity.meanDivergence(at: 1)), try #require(alone.meanDivergence(at: 1)), relative: 1e-9)
    }
  }

  /// After a kill the finished shards are not touched again, what the dead left is cleaned, and a living process takes
  /// over what the dead one was at.
  @Test func killedWorkIsGoneOnWith() throws {
    try withTemporaryFolder { folder in
      let place = "\(folder)/cache"
      let victim = try Helper(["label", place, "200"])
      let end = Date().addingTimeInterval(180)
      while Self.shards(place).count < 3, Date() < end { usleep(5_000) }
      kill(victim.process.processIdentifier, SIGKILL)
      _ = victim.wait()
      let finished = Self.shards(place)
      try #require(finished.count >= 3 && finished.count < 12)
      let before = try Self.marks(place, finished)
      // As a process leaves it that dies while it writes.
      let leftover = "\(place)/.shard-00011.safetensors.4194303.77.tmp"
      try "half".write(toFile: leftover, atomically: false, encoding: .utf8)
      let second = try Helper(["label", place, "0"]).wait()
      #expect(second.words == ["\(12 - finished.count)", "\(finished.count)", "12"], "\(second)")
      #expect(try Self.marks(place, finished) == before)
      #expect(try CacheSample.files(place).filter { $0.hasPrefix(".") }.isEmpty)
      #expect(try Helper(["label", "\(folder)/alone", "0"]).wait().code == 0)
      #expect(try Self.hashes(place) == Self.hashes("\(folder)/alone"))
    }
  }

  @Test func theLivingTakeOverFromTheDead() throws {
    try withTemporaryFolder { folder in
      let place = "\(folder)/cache"
      let victim = try Helper(["label", place, "400"])
      let end = Date().addingTimeInterval(180)
      while (try? CacheSample.files(place))?.contains(where: { $0.hasSuffix(".lock") && $0.hasPrefix(".shard") })
        != true,
        Date() < end
      { usleep(5_000) }
      let other = try Helper(["label", place, "0"])
      while Self.shards(place).count < 11, Date() < end { usleep(5_000) }
      kill(victim.process.processIdentifier, SIGKILL)
      _ = victim.wait()
      let result = other.wait()
      #expect(result.code == 0 && Self.shards(place).count == 12, "\(result)")
    }
  }

  /// The locks keep out another writer in the same process too.
  @Test func aShardIsClaimedOnce() throws {
    try withTemporaryFolder { folder in
      let loader = try CacheSample.loader(10)
      let key = try TeacherCache.Key(loader, teacher: CacheSample.key(classes: 4))
      let contents = try TeacherCache.Contents(logitShape: [4], logits: .all(.float32))
      func writer() throws -> TeacherCacheWriter {
        try TeacherCacheWriter(folder, key: key, contents: contents, examples: loader.examples, rowsPerShard: 4)
      }
      let (first, second) = (try writer(), try writer())
      var claims = [try #require(try first.claim()), try #require(try second.claim()), try #require(try first.claim())]
      #expect(claims.map(\.index) == [0, 1, 2])
      #expect(try first.claim() == nil && second.claim() == nil)
      claims.remove(at: 1)
      #expect(try second.claim()?.index == 1)
      for claim in claims {
        try claim.append(logits: [Tensor.zeros([claim.ids.count, 4])])
        try claim.finish()
      }
      claims = []
      #expect(try second.claim()?.index == 1 && first.missingShards == [1])
    }
  }

  #if os(Linux)
  /// All rows are looked up in mixed order by a process whose own memory may grow by a quarter of the cache.
  @Test func aCacheMayBeLargerThanMemory() throws {
    try withTemporaryFolder { folder in
      let (count, classes) = (8192, 4096)
      let data = try ArrayDataset(
        name: "many", values: (0..<count).map(Float.init), exampleShape: [1],
        labels: (0..<count).map { _ in 0 }, classNames: ["a"])
      let loader = try DataLoader(dataset: data, options: .init(batchSize: 64, views: 1, prefetch: 0))
      let key = try TeacherCache.Key(loader, teacher: CacheSample.key(classes: classes))
      let contents = try TeacherCache.Contents(logitShape: [classes], logits: .all(.float32))
      let writer = try TeacherCacheWriter(
        folder, key: key, contents: contents, examples: loader.examples, rowsPerShard: 512)
      while let shard = try writer.claim() {
        let rows = try Tensor(shard.ids.map { Float($0 % 100) }, shape: [shard.ids.count, 1])
        try shard.append(logits: [rows.broadcast(to: [shard.ids.count, classes])])
        try shard.finish()
      }
      let result = try Helper(["read", folder, "32"]).wait()
      let expected = (0..<count).map { Double($0 % 100) }.reduce(0, +) * Double(classes)
      #expect(result.code == 0 && result.words == ["limited", "\(expected)"], "\(result)")
    }
  }
  #endif
}
