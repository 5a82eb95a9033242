import DistillTokenizers
import Foundation
import Testing
import Torch

@testable import DistillData

/// Texts with a class for each, from files to batches.
@Suite struct LabelledTextTests {
  /// Numbers of words: `?` 0, padding 1, then `a` to `e`.
  static let words = """
    {"model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "[PAD]": 1, "a": 2, "b": 3, "c": 4, "d": 5, "e": 6}},
    "pre_tokenizer": {"type": "WhitespaceSplit"}}
    """

  /// Calls `body` with a folder that has a tokenizer and these files, and with what reads it.
  private func with<Result>(
    _ files: [String: String], columns: TextColumns = TextColumns(), length: Int = 4,
    _ body: (String, LabelledTexts) throws -> Result
  ) throws -> Result {
    try withFolder { folder in
      try write(Self.words, to: "\(folder)/tokenizer.json")
      for (name, text) in files { try write(text, to: "\(folder)/\(name)") }
      return try body(folder, LabelledTexts(columns: columns, tokenizer: folder, length: length, testFraction: 0.25))
    }
  }

  private func tokens(_ data: ClassifiedTexts) throws -> [[Float]] {
    try (0..<data.count).map { try data.values(at: $0) }
  }

  @Test func aFolderHasTablesForTrainingAndTesting() throws {
    let files = [
      "train.csv": "text,label,other\na b,yes,1\n\"c, \"\"d\"\"\",no,2\n\ne,yes,3\n",
      "test.csv": "label,text\nno,a b c d e\n",
    ]
    try with(files) { folder, reader in
      let (train, test) = try reader.load(folder)
      #expect(train.classNames == ["no", "yes"] && test.classNames == ["no", "yes"])
      #expect(train.count == 3 && train.exampleShape == [4] && train.heldOut.isEmpty && !train.isImage)
      // Words in quotation marks, and with a comma, are unknown.
      #expect(try tokens(train) == [[2, 3, 1, 1], [0, 0, 1, 1], [6, 1, 1, 1]])
      #expect((0..<3).map { train.label(at: $0) } == [1, 0, 1] && test.label(at: 0) == 0)
      #expect(try tokens(test) == [[2, 3, 4, 5]])
      #expect((0..<3).map { train.textLength(at: $0) } == [2, 2, 1] && train.textLength(at: 3) == nil)
      #expect(test.notices.count == 1 && test.notices[0].contains("1 of the 1 texts"))
      #expect(train.padding == 1 && train.vocabularySize == 7)
    }
  }

  @Test func linesOfJSONMayHoldPairsAndNumbersAsClasses() throws {
    let lines = """
      {"first": "a", "second": "b c", "class": 10, "more": [1, {"x": null}]}

      {"class": 9, "second": "e", "first": "d\\u0020a"}
      """
    let columns = TextColumns(text: "first", pair: "second", label: "class")
    try with(["train.jsonl": lines, "test.jsonl": lines], columns: columns) { folder, reader in
      let train = try reader.load(folder).train
      // By value, not by letters.
      #expect(train.classNames == ["9", "10"] && (0..<2).map { train.label(at: $0) } == [1, 0])
      #expect(try tokens(train) == [[2, 3, 4, 1], [5, 2, 6, 1]])
    }
  }

  @Test func textsToChooseByAreTheLastOnes() throws {
    let files = [
      "train.csv": "text,label\na,x\nb,y\n", "test.csv": "text,label\nc,x\n",
      "validation.jsonl": #"{"text": "d", "label": "y"}"#,
    ]
    try with(files) { folder, reader in
      let train = try reader.load(folder).train
      #expect(train.heldOut == 2..<3 && train.count == 3)
      #expect(try train.values(at: 2) == [5, 1, 1, 1])
    }
  }

  @Test func oneFileIsDividedClassByClass() throws {
    let rows = (0..<40).map { "\($0 % 2 == 0 ? "a" : "b") \(Array("abcde")[$0 % 5]),\($0 % 2 == 0 ? "even" : "odd")" }
    try with(["all.csv": "text,label\n" + rows.joined(separator: "\n")]) { folder, reader in
      let (train, test) = try reader.load("\(folder)/all.csv")
      #expect(train.count == 30 && test.count == 10)
      #expect((0..<10).count { test.label(at: $0) == 0 } == 5)
      let again = try reader.load("\(folder)/all.csv")
      #expect(try again.train.contentHash == train.contentHash && again.test.contentHash == test.contentHash)
      #expect(try tokens(test) == tokens(again.test))
    }
  }

  @Test func whatIsInItIsInItsHash() throws {
    func hash(_ train: String, length: Int = 4) throws -> String {
      try with(["train.csv": train, "test.csv": "text,label\na,x\n"], length: length) {
        try $1.load($0).train.contentHash
      }
    }
    let first = try hash("text,label\na,x\nb,y\n")
    #expect(try hash("text,label,more\na,x,1\nb,y,2\n") == first)
    let others = try [
      hash("text,label\na,x\na,y\n"), hash("text,label\na,y\nb,x\n"), hash("text,label\na,x\nb,z\n"),
      hash("text,label\na,x\nb,y\n", length: 5), hash("text,label\na b,x\n[PAD],y\n"),
    ]
    #expect(Set(others + [first]).count == 6)
  }

  @Test func aLengthHasRoomForText() throws {
    let around = #"""
      "post_processor": {"type": "BertProcessing", "sep": ["[PAD]", 1], "cls": ["?", 0]}, "model"
      """#
    let texts = "text,label\na,x\nb,y\n"
    try with(["train.csv": texts, "test.csv": texts]) { folder, form in
      try write(
        Self.words.replacingOccurrences(of: "\"model\"", with: around), to: "\(folder)/tokenizer.json")
      var form = form
      form.length = 2
      #expect(
        message { _ = try form.load(folder) }.contains("2 tokens leave no room for a text: the tokenizer puts 2 around")
      )
      form.length = 3
      #expect(try tokens(form.load(folder).train) == [[0, 2, 1], [0, 3, 1]])
    }
  }

  @Test(
    "A bad file is named, with its lines",
    arguments: [
      (
        "train.csv", "text,class\na,x\n",
        #"has no column called "label". Line 1 has to name the columns; it says text, class"#
      ),
      ("train.csv", "text,text,label\na,b,x\n", #"several columns called "text""#),
      (
        "train.csv", "text,label\na,x\n \t,y\nb,\n",
        "2 problems:\nline 3 has an empty \"text\"\nline 4 has an empty \"label\""
      ),
      ("train.csv", "text,label\na,x\nb\n", "line 3 has 1 cells, but line 1 has 2"),
      ("train.csv", "text,label\n", "has no rows"), ("train.csv", "", "is empty"),
      ("train.csv", "text,label\n\"a,x\n", "line 2 has a quotation mark that is never closed"),
      (
        "test.csv", "text,label\na,x\nb,z\n",
        #"line 3 has the label "z", which is not a known class. The classes are x, y"#
      ),
      (
        "train.jsonl", "{\"text\": \"a\", \"label\": \"x\"}\n[1]\n{\"text\": 1.5, \"label\": \"x\"}\n",
        "line 2 is no JSON object"
      ),
      ("train.jsonl", "{\"text\": \"a\"}\n", "line 1 has no \"label\""),
      ("train.jsonl", "{\"text\": [\"a\"], \"label\": \"x\"}\n", "line 1 has no \"text\", or it is no text"),
    ])
  func problems(_ name: String, _ text: String, _ expected: String) throws {
    var files = ["train.csv": "text,label\na,x\nb,y\n", "test.csv": "text,label\na,x\n"]
    if name == "train.jsonl" { files["train.csv"] = nil }
    files[name] = text
    try with(files) { folder, reader in
      let words = message { _ = try reader.load(folder) }
      #expect(words.contains(expected) && words.contains(name), "\(words)")
    }
  }

  @Test func whatIsNoUTF8IsNamedByItsLine() throws {
    try with(["test.csv": "text,label\na,x\n"]) { folder, reader in
      try write(Array("text,label\na,x\n".utf8) + [0x63, 0xe9, 0x2c, 0x78, 10], to: "\(folder)/train.csv")
      #expect(message { _ = try reader.load(folder) }.contains("train.csv: line 3 is not UTF-8"))
    }
  }

  @Test func filesThatAreMissingOrTooManyAreNamed() throws {
    let table = "text,label\na,x\nb,y\n"
    try with([:]) { folder, reader in
      #expect(message { _ = try reader.load(folder) }.contains("has neither train.csv nor train.jsonl"))
      #expect(message { _ = try reader.load("\(folder)/none.csv") }.contains("is not there"))
      #expect(message { _ = try reader.load("\(folder)/tokenizer.json") }.contains("neither a table nor lines of JSON"))
    }
    try with(["train.csv": table]) { folder, reader in
      #expect(message { _ = try reader.load(folder) }.contains("has neither test.csv nor test.jsonl"))
    }
    try with(["train.csv": table, "train.jsonl": "", "test.csv": table]) { folder, reader in
      #expect(message { _ = try reader.load(folder) }.contains("has train.csv and train.jsonl"))
    }
  }

  @Test func textsWithoutClassesCanBeRead() throws {
    try with(["more.csv": "text\na\nb c\n"], columns: TextColumns(label: nil)) { folder, reader in
      let data = try reader.loadTraining("\(folder)/more.csv")
      #expect(data.count == 2 && data.label(at: 0) == -1 && data.label(at: 1) == -1)
    }
  }

  // MARK: Batches

  private func data(_ texts: [String], length: Int) throws -> ClassifiedTexts {
    try ClassifiedTexts(
      name: "texts", texts: texts, labels: texts.map { _ in 0 }, tokenizer: Tokenizer(json: Array(Self.words.utf8)),
      length: length)
  }

  private func text(_ count: Int) -> String { Array(repeating: "a", count: count).joined(separator: " ") }

  @Test(
    "A batch is as long as its longest text, in steps of 8 or an eighth of the whole",
    arguments: [
      ([3, 5], 64, 8), ([3, 8], 64, 8), ([9, 1], 64, 16), ([64, 1], 64, 64), ([3], 4, 4), ([20], 256, 32), ([1], 12, 8),
    ])
  func trimming(_ lengths: [Int], _ whole: Int, _ expected: Int) throws {
    let data = try data(lengths.map(text), length: whole)
    var options = DataLoader.Options(batchSize: 8)
    let batch = try DataLoader(dataset: data, options: options).hostBatch(ids: Array(lengths.indices))
    #expect(batch.shape == [lengths.count, expected] && batch.textLengths == lengths)
    let rows = floats(batch)
    for (row, length) in lengths.enumerated() {
      let own = rows[row * expected..<(row + 1) * expected]
      #expect(own.prefix(length).allSatisfy { $0 == 2 } && own.dropFirst(length).allSatisfy { $0 == 1 })
    }
    options.trimsTexts = false
    let plain = try DataLoader(dataset: data, options: options).batch(ids: Array(lengths.indices))
    #expect(plain.inputs.shape == [lengths.count, whole] && plain.tokens?.count == lengths.reduce(0, +))
  }

  @Test func losesNothingButPadding() throws {
    let data = try data([text(3), "b c d e"], length: 32)
    let batch = try DataLoader(dataset: data, options: .init(batchSize: 2)).batch(ids: [1, 0])
    #expect(try batch.inputs.array(of: Float.self) == [3, 4, 5, 6, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1])
    // Which tokens count is said, and outputs are of texts, not of tokens.
    #expect(
      try batch.tokens?.mask.array(of: Bool.self).map { $0 ? 1 : 0 } == [
        1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0,
      ])
    #expect(!batch.predictsTokens && batch.labels.shape == [2])
  }

  @Test func tokensAreNotNormalized() throws {
    var options = DataLoader.Options(batchSize: 1)
    options.normalization = Normalization(mean: [0], standardDeviation: [2])
    let data = try data(["a"], length: 2)
    #expect(throws: DataError.self) { try DataLoader(dataset: data, options: options) }
  }

  @Test func textsBesideOthersAreTrimmedToo() throws {
    let (first, second) = (try data([text(3)], length: 32), try data([text(12), "b"], length: 32))
    let joined = try JoinedDataset(first, and: [.init(second, labels: .unused)])
    let loader = try DataLoader(dataset: joined, options: .init(batchSize: 2))
    #expect(try loader.hostBatch(ids: [0, 2]).shape == [2, 8] && loader.hostBatch(ids: [1, 2]).shape == [2, 16])
    #expect(joined.label(at: 1) == -1)
  }
}
