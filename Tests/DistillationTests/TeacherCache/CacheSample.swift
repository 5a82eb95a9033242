import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// A teacher whose logits are known: those of a table, by example and view.
final class TableTeacher: Teacher {
  let rows: [[Float]]
  private(set) var calls = 0

  /// - Parameter rows: of view 0, then of view 1, and so on
  init(_ rows: [[Float]]) { self.rows = rows }

  func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
    calls += 1
    let count = rows[0].count
    let numbers = batch.ids.flatMap { rows[batch.teacherView * (rows.count / max(1, views)) + $0] }
    return TeacherTrace(logits: try Tensor(numbers, shape: [batch.ids.count, count]))
  }

  var views = 1
}

/// Teacher caches small enough for a test.
enum CacheSample {
  /// Logits of a size that float16 rounds; the same each time.
  static func table(_ count: Int, classes: Int, seed: UInt64 = 3) -> [[Float]] {
    var random = RandomSource(seed: seed, "table")
    return (0..<count).map { _ in (0..<classes).map { _ in Float(random.uniform() * 12 - 6) } }
  }

  static func loader(_ count: Int, batchSize: Int = 4, examples: [Int]? = nil) throws -> DataLoader {
    var options = DataLoader.Options(batchSize: batchSize, prefetch: 0)
    options.views = 1
    return try DataLoader(
      dataset: TinyData.vectors(count: count), examples: examples ?? Array(0..<count), options: options)
  }

  static func key(classes: Int, weights: String = "weights") -> TeacherCache.Key.Teacher {
    TeacherCache.Key.Teacher(members: [.init(name: "0", weights: weights)], classCount: classes)
  }

  /// A cache of a table in a folder.
  static func label(
    _ rows: [[Float]], in folder: String, _ encoding: LogitEncoding, temperatures: [Double] = [1],
    rowsPerShard: Int? = 3
  ) throws -> TeacherCache {
    try TeacherCache.label(
      with: TableTeacher(rows), over: loader(rows.count), as: key(classes: rows[0].count), in: folder,
      options: .init(logits: encoding, temperatures: temperatures, rowsPerShard: rowsPerShard))
    return try TeacherCache(folder)
  }

  /// What a cache says of all of its examples, in order.
  static func trace(_ cache: TeacherCache) throws -> TeacherTrace {
    let count = cache.key.data.exampleCount
    return try cache.makeTeacher().trace(Batch.fake(count: count))
  }

  static func files(_ folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
  }

  static func shard(_ folder: String, _ index: Int) -> String { "\(folder)/shard-0000\(index).safetensors" }

  /// What an error says.
  static func problem(_ body: () throws -> Void) -> String {
    do { try body() } catch { return "\(error)" }
    return ""
  }
}
