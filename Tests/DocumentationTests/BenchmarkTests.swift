import Foundation
import Testing

/// What the documents say of speed is what `Benchmarks/results.json` says.
@Suite struct BenchmarkTests {
  private struct Results: Decodable {
    struct Group: Decodable {
      var rounds: [[String: Measured]]
    }

    /// The numbers that a program printed; what it printed besides is left out.
    struct Measured: Decodable {
      var numbers: [String: Double] = [:]

      struct Key: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
      }

      init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        for key in container.allKeys { numbers[key.stringValue] = try? container.decode(Double.self, forKey: key) }
      }
    }

    struct Row: Decodable {
      var id: String
      var work: String
      var against: String
      var program: String
      var their_program: String?
      var ours: Double
      var theirs: Double?
      var ratio: Double?
      var ratio_range: [Double]?
      var at_least: Double?
      var limit: Double?
      var met: Bool?
    }

    var groups: [String: Group]
    var rows: [Row]
  }

  private static func results() throws -> Results {
    try JSONDecoder().decode(Results.self, from: Data(try Package.text("Benchmarks/results.json").utf8))
  }

  private static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
  }

  /// The page, the picture and the README's table are what the script makes of the results.
  @Test func documentsAreThoseThatTheScriptWrites() throws {
    let result = try run(
      "/usr/bin/env", ["python3", "-B", "Benchmarks/run", "--render", "--check"], in: Package.root)
    #expect(result.status == 0, "\(result.output)\(result.errors)")
  }

  /// Ratios are medians of what programs printed, divided; their range is that of the rounds; goals are compared with them.
  @Test func ratiosAreThoseOfTheMeasurements() throws {
    let results = try Self.results()
    #expect(!results.rows.isEmpty)
    for row in results.rows {
      let group = results.groups.values.first { $0.rounds.first?[row.program] != nil }
      let rounds = try #require(group, "\(row.id)").rounds
      /// Whether a field of the program has this median.
      func isMeasured(_ value: Double, of program: String) -> Bool {
        let keys = rounds[0][program]?.numbers.keys.map { $0 } ?? []
        return keys.contains { key in
          abs(Self.median(rounds.compactMap { $0[program]?.numbers[key] }) - value) <= 1e-9 * abs(value)
        }
      }
      #expect(isMeasured(row.ours, of: row.program), "\(row.id)")
      if let theirs = row.theirs, let ratio = row.ratio, let range = row.ratio_range {
        #expect(isMeasured(theirs, of: try #require(row.their_program)), "\(row.id)")
        #expect(abs(ratio - theirs / row.ours) < 1e-9 * ratio, "\(row.id)")
        #expect(range.count == 2 && range[0] <= range[1], "\(row.id)")
        if let goal = row.at_least { #expect(row.met == (ratio >= goal), "\(row.id)") }
      } else {
        #expect(row.met == (row.ours < (try #require(row.limit))), "\(row.id)")
      }
    }
  }

  /// Every row with a goal is on the page and in the README, with the ratio that was measured.
  @Test func everyGoalIsInTheDocuments() throws {
    for row in try Self.results().rows where row.met != nil {
      var shown = ""
      if let ratio = row.ratio {
        let isPart = row.id.hasPrefix("mlp-products")
        let number = isPart ? 1 / ratio : ratio
        shown = String(format: isPart || number < 10 ? "%.2f×" : "%.1f×", number)
      }
      for document in ["README.md", "Benchmarks/RESULTS.md"] {
        let lines = try Package.text(document).split(separator: "\n")
        #expect(
          lines.contains { $0.hasPrefix("| \(row.work) | \(row.against) |") && (shown.isEmpty || $0.contains(shown)) },
          "\(document) lacks \(row.work), \(shown)")
      }
    }
  }

  /// What is declared measures something that there is: the peers' scripts, and modes of ours.
  @Test func declaredProgramsExist() throws {
    let list = """
      import sys
      sys.dont_write_bytecode = True
      sys.path.insert(0, "Benchmarks")
      from harness import catalog
      programs = [program for group in catalog.groups(2).values() for program in group]
      names = [program.name for program in programs]
      assert len(set(names)) == len(names)
      rows = catalog.rows()
      assert len({row.id for row in rows}) == len(rows)
      for row in rows:
        assert all(name in names for name in row.ours + row.theirs), row
      for program in programs: print(program.command[1])
      """
    let result = try run("/usr/bin/env", ["python3", "-c", list], in: Package.root)
    #expect(result.status == 0, "\(result.errors)")
    let benchmark = try Package.text("Benchmarks/Sources/distill-bench/Benchmark.swift")
    for word in result.output.split(separator: "\n").map(String.init) where !word.hasSuffix("/distill") {
      if word.hasSuffix(".py") {
        #expect(FileManager.default.fileExists(atPath: word), "\(word)")
      } else {
        #expect(benchmark.contains("name: \"\(word)\""), "distill-bench has no mode \(word)")
      }
    }
  }
}
