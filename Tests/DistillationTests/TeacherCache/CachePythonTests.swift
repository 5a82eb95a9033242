import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// The program of `Guides/TeacherCache.md`, as it stands there, reads what we wrote.
@Suite struct CachePythonTests {
  /// A Python that has NumPy.
  static let python: String? = ["python3", "/usr/bin/python3"].first {
    run($0, ["-c", "import hashlib, numpy; hashlib.file_digest"])?.status == 0
  }

  private static func run(_ program: String, _ arguments: [String]) -> (status: Int32, output: String)? {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    guard (try? process.run()) != nil else { return nil }
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }

  /// The lines that the page's program prints for a cache, split into numbers.
  private func print(_ folder: String, after lines: String = "") throws -> [[Double]] {
    let page = URL(fileURLWithPath: fixtureFolder).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Guides/TeacherCache.md")
    let program = try #require(
      try String(contentsOf: page, encoding: .utf8).firstMatch(of: /```python\n((?s:.*?))```/)
    ).1
    let python = try #require(Self.python)
    let result = try #require(Self.run(python, ["-c", program + lines, folder]))
    try #require(result.status == 0, "\(result.output)")
    return result.output.split(separator: "\n").map { $0.split(separator: " ").compactMap { Double($0) } }
  }

  @Test(
    .enabled(if: python != nil, "no Python with NumPy here"),
    arguments: [
      LogitEncoding.all(.float32), .all(.float16), .all(.bfloat16),
      .topK(.init(k: 3, temperatures: [2, 4])), .topK(.init(k: 5, temperatures: [2], values: .bfloat16)),
    ])
  func logitsAreThose(_ encoding: LogitEncoding) throws {
    try withTemporaryFolder { folder in
      let cache = try CacheSample.label(CacheSample.table(7, classes: 5), in: folder, encoding)
      let temperature = if case .topK(let kept) = encoding { kept.temperatures[0] } else { 1.0 }
      let expected = try CacheSample.trace(cache).logSoftTargets(temperature: temperature)
      let lines = try print(folder)
      #expect(lines.map(\.[0]) == [Double](repeating: 0, count: 7) && lines.map(\.[1]) == (0..<7).map { Double($0) })
      try assertClose(
        Tensor(lines.flatMap { $0.dropFirst(2).map(Float.init) }, shape: [7, 5]), expected, relative: 1e-5,
        absolute: 1e-5)
    }
  }

  @Test(.enabled(if: python != nil, "no Python with NumPy here"), arguments: [1.0, 0.5])
  func drawnClassesAreThose(_ power: Double) throws {
    try withTemporaryFolder { folder in
      let encoding = LogitEncoding.sampled(
        .init(count: 3, temperature: 2, proposalPower: power, seed: 4, values: .float32))
      let table = CacheSample.table(7, classes: 5)
      let cache = try CacheSample.label(table, in: folder, encoding)
      let drawn = try #require(try CacheSample.trace(cache).memberKept[0])
      let classes: [Int64] = try drawn.classes.array()
      let whole = try CacheSample.label(table, in: "\(folder)/whole", .all(.float32))
      let exact = try CacheSample.trace(whole).logSoftTargets(temperature: 2).floats()
      for (row, line) in try print(folder).enumerated() {
        let own = Set(classes[row * 3..<row * 3 + 3].map(Int.init))
        #expect(line.count == 7 && line[1] == Double(row))
        for (number, value) in line.dropFirst(2).enumerated() {
          #expect(own.contains(number) ? abs(value - Double(exact[row * 5 + number])) < 1e-5 : value.isNaN)
        }
      }
    }
  }

  @Test(
    .enabled(if: python != nil, "no Python with NumPy here"),
    arguments: [FeatureEncoding.float32, .float16, .int8])
  func layersAreThose(_ encoding: FeatureEncoding) throws {
    try withTemporaryFolder { folder in
      let model = try withRandomStream(try RandomStream(seed: 5, name: "init")) {
        try Sequential {
          Flatten()
          try Linear(64, 6)
          try Linear(6, 4)
        }
      }
      let loader = try DataLoader(
        dataset: TinyData.images(count: 5), options: .init(batchSize: 5, augmentation: [.horizontalFlip()], views: 2))
      let tap = Tap(model.namedModules.map(\.path).first { $0.hasSuffix("1") } ?? "")
      try TeacherCache.label(
        with: FrozenTeacher(model), over: loader, as: CacheSample.key(classes: 4), in: folder,
        options: .init(features: [CachedFeature(tap, encoding: encoding)], rowsPerShard: 3))
      let lines = try print(
        folder,
        after: """
          for path in sorted(glob.glob(folder + "/shard-*.safetensors")):
              for row in feature(read_shard(path)[1], 0):
                  print(*row)
          """)
      let views: [Double] = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
      let examples: [Double] = [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
      #expect(lines.prefix(10).map(\.[0]) == views && lines.prefix(10).map(\.[1]) == examples)
      let teacher = try TeacherCache(folder).makeTeacher()
      let expected = try (0..<2).map { view in
        try teacher.trace(try loader.batch(ids: Array(0..<5), view: view), taps: [tap]).activations[tap]
      }
      let found = lines.dropFirst(10).flatMap { $0.map(Float.init) }
      try assertClose(
        Tensor(found, shape: [10, 6]), Tensor.concatenated(expected.compactMap(\.self), along: 0), relative: 1e-6,
        absolute: 1e-6)
    }
  }
}
