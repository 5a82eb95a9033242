import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// Caches that fit and caches that do not, whole ones and damaged ones.
@Suite struct TeacherCacheTests {
  private let rows = CacheSample.table(10, classes: 4)

  private func refusal(_ folder: String) -> String {
    CacheSample.problem { _ = try CacheSample.trace(TeacherCache(folder)) }
  }

  // MARK: Rows

  /// Numbers of examples with gaps, near and far, are found as those without.
  @Test(arguments: [[3, 4, 5, 6, 7], [9, 0, 2, 7, 30], [1, 5000, 40_000]]) func rowsAreFoundByExample(examples: [Int])
    throws
  {
    try withTemporaryFolder { folder in
      let count = 40_001
      let data = try ArrayDataset(
        name: "numbers", values: (0..<count).map(Float.init), exampleShape: [1],
        labels: (0..<count).map { _ in 0 }, classNames: ["a", "b"])
      let loader = try DataLoader(
        dataset: data, examples: examples, options: .init(batchSize: 2, views: 1, prefetch: 0))
      let model = Flatten()
      try TeacherCache.label(
        with: FrozenTeacher(model), over: loader, as: CacheSample.key(classes: 1), in: folder,
        options: .init(logits: .all(.float32), rowsPerShard: 2))
      let cache = try TeacherCache(folder)
      try cache.verify()
      let teacher = cache.makeTeacher()
      let wanted = examples.reversed() + [examples[1]]
      #expect(try teacher.trace(Batch.fake(ids: Array(wanted))).logits().floats() == wanted.map(Float.init))
      for stranger in [8, examples.max()! + 1, 39_999] {
        let problem = CacheSample.problem { _ = try teacher.trace(Batch.fake(ids: [stranger])) }
        #expect(problem == "example \(stranger) was not labelled by the teacher")
      }
      let more = try DataLoader(
        dataset: data, examples: examples + [8, 39_999], options: .init(batchSize: 2, views: 1, prefetch: 0))
      let problem = CacheSample.problem { try teacher.requireFit(more) }
      #expect(problem.contains("2 of the \(examples.count + 2) examples") && problem.contains("such as number 8"))
      try teacher.requireFit(loader)
    }
  }

  @Test func outputsOfTokensAreKept() throws {
    try withTemporaryFolder { folder in
      let (train, _) = try TinyText.data()
      let model = try TinyText.model()
      let loader = try DataLoader(dataset: train, options: .init(batchSize: 8, views: 1))
      let classes = TinyText.vocabulary.count
      let batch = try loader.batch(ids: [4, 0, 9])
      let other = try TinyText.model(seed: 2)
      let student = Trace(output: try other(batch.inputs))
      let kept = LogitEncoding.TopK(k: 3, temperatures: [2], values: .float32)
      let encodings: [LogitEncoding] = [.all(.float32), .topK(kept)]
      for (index, encoding) in encodings.enumerated() {
        let place = "\(folder)/\(index)"
        try TeacherCache.label(
          with: FrozenTeacher(model), over: loader, as: CacheSample.key(classes: classes), in: place,
          options: .init(logits: encoding, temperatures: [2], rowsPerShard: 5))
        let cache = try TeacherCache(place)
        let objective = try Objective([.init(TopKSoftTargets(k: 2, temperature: 2))])
        let teachers: [any Teacher] = [FrozenTeacher(model), cache.makeTeacher()]
        let values = try teachers.map { teacher -> Double in
          let value = try objective.evaluate(student: student, teacher: teacher.trace(batch), batch: batch)
          return try #require(value).total.item()
        }
        assertClose(values[1], values[0], relative: 1e-4)
        #expect(cache.fidelity.exampleCount == train.count && cache.fidelity.rowCount > train.count)
      }
      let drawn = LogitEncoding.sampled(.init(count: 4, temperature: 1, values: .float32))
      try TeacherCache.label(
        with: FrozenTeacher(model), over: loader, as: CacheSample.key(classes: classes), in: "\(folder)/drawn",
        options: .init(logits: drawn))
      let objective = try Objective([.init(SampledSoftTargets(samples: 4))])
      let taught = try TeacherCache("\(folder)/drawn").makeTeacher().trace(batch)
      let value = try #require(try objective.evaluate(student: student, teacher: taught, batch: batch))
      #expect(try value.total.item().isFinite)
    }
  }

  // MARK: Files that are not what they should be

  @Test func everyFlippedByteIsSeen() throws {
    try withTemporaryFolder { folder in
      _ = try CacheSample.label(rows, in: folder, .topK(.init(k: 2, temperatures: [1])))
      let path = CacheSample.shard(folder, 1)
      let whole = try Data(contentsOf: URL(fileURLWithPath: path))
      let head = Int(whole.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
      for place in stride(from: 0, to: whole.count, by: 7) {
        var damaged = whole
        damaged[place] ^= 0x04
        try damaged.write(to: URL(fileURLWithPath: path))
        let problem = refusal(folder)
        #expect(problem.contains("shard-00001.safetensors"), "byte \(place)")
        #expect(problem.contains("delete") && problem.contains("label again"), "byte \(place): \(problem)")
        if place >= 8 + head { #expect(problem.contains("its data are not those that were written")) }
      }
      // What was not looked at was not read, unless it is asked for.
      var damaged = whole
      damaged[whole.count - 1] ^= 1
      try damaged.write(to: URL(fileURLWithPath: path))
      let cache = try TeacherCache(folder)
      _ = try cache.makeTeacher().trace(Batch.fake(ids: [0, 9]))
      #expect(CacheSample.problem { try cache.verify() }.contains("shard-00001"))
      #expect(CacheSample.problem { _ = try cache.makeTeacher().trace(Batch.fake(ids: [4])) }.contains("shard-00001"))
      _ = try TeacherCache(folder, verifies: false).makeTeacher().trace(Batch.fake(ids: [4]))
    }
  }

  @Test func cutOffForeignMissingAndMisplacedShardsAreRefused() throws {
    try withTemporaryFolder { folder in
      _ = try CacheSample.label(rows, in: folder, .all(.float32))
      _ = try CacheSample.label(CacheSample.table(10, classes: 4, seed: 7), in: "\(folder)/.other", .all(.float16))
      let path = CacheSample.shard(folder, 2)
      let whole = try Data(contentsOf: URL(fileURLWithPath: path))
      func refusal(with data: Data) throws -> String {
        try data.write(to: URL(fileURLWithPath: path))
        return self.refusal(folder)
      }
      for length in [0, 5, 60, whole.count / 2, whole.count - 1] {
        #expect(try refusal(with: whole.prefix(length)).contains("shard-00002.safetensors cannot be used"))
      }
      #expect(try refusal(with: whole + Data([0])).contains("cannot be used"))
      let text = try refusal(with: Data("a text that somebody put here".utf8))
      #expect(text.contains("it is cut off, or no safetensors file; delete \(path) and label again: only that shard"))
      let foreign = try Data(contentsOf: URL(fileURLWithPath: CacheSample.shard("\(folder)/.other", 2)))
      #expect(try refusal(with: foreign).contains("it belongs to another cache"))
      let neighbour = try Data(contentsOf: URL(fileURLWithPath: CacheSample.shard(folder, 1)))
      #expect(try refusal(with: neighbour).contains("another shard of the cache, under a wrong name"))
      try Checkpoint.write([NamedTensor(name: "x", tensor: Tensor.zeros([1]))], to: path)
      #expect(self.refusal(folder).contains("it is no shard of a teacher cache"))

      try FileManager.default.removeItem(atPath: path)
      #expect(self.refusal(folder).contains("1 of its 4 shards are missing: shard-00002.safetensors; label again"))
      #expect(try TeacherCache.status(of: folder).missing == [2])
      // The remedy helps, and computes that shard alone.
      let teacher = TableTeacher(rows)
      let done = try TeacherCache.label(
        with: teacher, over: CacheSample.loader(10), as: CacheSample.key(classes: 4), in: folder,
        options: .init(logits: .all(.float32), rowsPerShard: 3))
      #expect(done.madeShards == 1 && done.foundShards == 3 && done.madeRows == 3 && teacher.calls == 2)
      #expect(self.refusal(folder).isEmpty)
      try TeacherCache(folder).verify()
    }
  }

  @Test func descriptionsThatAreDamagedAreRefused() throws {
    try withTemporaryFolder { folder in
      _ = try CacheSample.label(rows, in: folder, .all(.float32))
      let path = "\(folder)/cache.json"
      let whole = try String(contentsOfFile: path, encoding: .utf8)
      func refusal(_ change: (String) -> String) throws -> String {
        try change(whole).write(toFile: path, atomically: true, encoding: .utf8)
        return self.refusal(folder)
      }
      #expect(try refusal { _ in "" }.contains("damaged, or another program's"))
      #expect(try refusal { String($0.dropLast(20)) }.contains("damaged"))
      #expect(try refusal { $0.replacing("\"version\" : 1", with: "\"version\" : 2") }.contains("version 2"))
      #expect(try refusal { $0.replacing("rows_per_shard", with: "rows") }.contains("'rows_per_shard' is missing"))
      #expect(try refusal { $0.replacing("\"rows_per_shard\" : 3", with: "\"rows_per_shard\" : 0") }.contains("shards"))
      #expect(try refusal { $0.replacing("\"F32\"", with: "\"F99\"") }.contains("damaged"))
      // Still a description, but not the one that the shards were made for.
      let other = try refusal { $0.replacing("\"precision\" : \"float32\"", with: "\"precision\" : \"bfloat16\"") }
      #expect(other.contains("cache.json was changed since"))
      try FileManager.default.removeItem(atPath: path)
      #expect(self.refusal(folder).contains("cache.json is missing"))
    }
  }

  @Test func foldersOfOthersAreLeftAlone() throws {
    try withTemporaryFolder { folder in
      try "mine".write(toFile: "\(folder)/letter.txt", atomically: true, encoding: .utf8)
      let problem = CacheSample.problem { _ = try CacheSample.label(rows, in: folder, .all(.float32)) }
      #expect(problem.contains("the folder holds something else (letter.txt); name another one"))
      #expect(try CacheSample.files(folder) == ["letter.txt"])
      for (place, words) in [("letter.txt", "it is a file"), ("letter.txt/x", "letter.txt is not a folder")] {
        let problem = CacheSample.problem { _ = try CacheSample.label(rows, in: "\(folder)/\(place)", .all(.float32)) }
        #expect(problem.contains(words), "\(problem)")
      }
    }
  }

  // MARK: Labelling

  @Test func aListenerCanStopAndWhatWasFinishedStays() throws {
    try withTemporaryFolder { folder in
      let options = TeacherCache.LabelOptions(logits: .all(.float16), rowsPerShard: 3)
      let teacher = TableTeacher(rows)
      #expect(throws: Interrupted.self) {
        try TeacherCache.label(
          with: teacher, over: CacheSample.loader(10), as: CacheSample.key(classes: 4), in: folder, options: options
        ) { $0.madeRows > 6 ? .stop : .continue }
      }
      #expect(try TeacherCache.status(of: folder).missing == [2, 3])
      #expect(try CacheSample.files(folder).filter { $0.contains(".tmp") }.isEmpty)
      var fractions: [Double] = []
      try TeacherCache.label(
        with: teacher, over: CacheSample.loader(10), as: CacheSample.key(classes: 4), in: folder, options: options
      ) {
        fractions.append($0.fraction)
        return .continue
      }
      #expect(fractions == fractions.sorted() && fractions[0] > 0.5 && fractions.last! < 1.001)
      #expect(try CacheSample.files(folder).filter { $0.hasPrefix(".") }.isEmpty)
    }
  }

  /// Rows that come from elsewhere, such as a file of another program.
  @Test func rowsCanBeBroughtFromElsewhere() throws {
    try withTemporaryFolder { folder in
      let loader = try CacheSample.loader(10)
      let key = try TeacherCache.Key(
        loader,
        teacher: .init(members: [.init(name: "api", weights: "file")], mode: "imported", precision: "", classCount: 4))
      let contents = try TeacherCache.Contents(logitShape: [4], logits: .all(.float32))
      let writer = try TeacherCacheWriter(
        folder, key: key, contents: contents, examples: loader.examples, rowsPerShard: 4)
      #expect(writer.missingShards == [0, 1, 2])
      while let shard = try writer.claim() {
        let values = shard.ids.flatMap { rows[$0] }
        #expect(throws: DistillationError.self) { try shard.finish() }
        #expect(throws: DistillationError.self) { try shard.append(logits: [Tensor.zeros([1, 5])]) }
        #expect(throws: DistillationError.self) { try shard.append(logits: [Tensor.zeros([99, 4])]) }
        try shard.append(logits: [Tensor(values, shape: [shard.ids.count, 4])])
        try shard.finish()
      }
      let teacher = try TeacherCache(folder).makeTeacher()
      #expect(try teacher.trace(Batch.fake(ids: [7, 2])).logits().floats() == rows[7] + rows[2])
      try teacher.requireFit(loader)
    }
  }

  @Test func whatDoesNotFitTogetherIsRefused() throws {
    try withTemporaryFolder { folder in
      let loader = try CacheSample.loader(10)
      let contents = try TeacherCache.Contents(logitShape: [4], logits: .all(.float32))
      func problem(classes: Int = 4, examples: [Int]? = nil, rows: Int? = nil) -> String {
        CacheSample.problem {
          _ = try TeacherCacheWriter(
            folder, key: .init(loader, teacher: CacheSample.key(classes: classes)), contents: contents,
            examples: examples ?? loader.examples, rowsPerShard: rows)
        }
      }
      #expect(problem(classes: 5).contains("the teacher has 4 outputs, and 5 classes were announced"))
      #expect(problem(examples: [1, 2]).contains("not those of its key"))
      #expect(problem(examples: []).contains("needs examples"))
      #expect(problem(rows: 0).contains("at least one row"))
      var options = DataLoader.Options(batchSize: 4, augmentation: [.shift(pixels: 1)], prefetch: 0)
      options.views = nil
      let fresh = try DataLoader(dataset: TinyData.images(count: 4), options: options)
      #expect(
        CacheSample.problem { _ = try TeacherCache.Key(fresh, teacher: CacheSample.key(classes: 2)) }
          .contains("a new view of each example in each epoch"))
    }
  }
}
