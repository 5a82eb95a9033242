import DistillTokenizers
import Foundation
import Testing

/// The files of model folders: those that are known, and those that are not.
@Suite struct TokenizerFileTests {
  private func write(_ text: String, _ path: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
  }

  private func copy(_ name: String, to path: String) throws {
    try FileManager.default.copyItem(atPath: "\(TokenizerFixture.folder)/\(name)", toPath: path)
  }

  private let lines = ["The café's 中文 [MASK] newer?", "don't  <mask> 12 😀", "", "ΣΊΣΥΦΟΣ\u{0}\u{7}"]

  @Test func aVocabularyOfWords() throws {
    try withTemporaryFolder { folder in
      try copy("vocab.txt", to: "\(folder)/vocab.txt")
      var tokenizer = try Tokenizer(folder: folder)
      let expected = try TokenizerFixture.tokenizer("bert-uncased")
      #expect(try tokenizer.encode(lines).ids == expected.encode(lines).ids)
      #expect(tokenizer.paddingID == 0 && tokenizer.maximumLength == nil)
      try write(
        """
        {"do_lower_case": false, "model_max_length": 256, "padding_side": "left", "truncation_side": "left",
        "tokenizer_class": "BertTokenizer", "cls_token": {"content": "[CLS]", "lstrip": false}, "pad_token": "[MASK]"}
        """, "\(folder)/tokenizer_config.json")
      tokenizer = try Tokenizer(folder: folder)
      let cased = try TokenizerFixture.tokenizer("bert-cased")
      #expect(try tokenizer.encode(lines, padding: .none).ids == cased.encode(lines, padding: .none).ids)
      #expect(tokenizer.maximumLength == 256 && tokenizer.paddingSide == .left && tokenizer.truncationSide == .left)
      #expect(tokenizer.paddingID == tokenizer.id(of: "[MASK]"))
      // Accents stay where the settings say so, and Chinese is not split.
      try write(
        #"{"strip_accents": false, "tokenize_chinese_chars": false, "model_max_length": 1e30}"#,
        "\(folder)/tokenizer_config.json")
      tokenizer = try Tokenizer(folder: folder)
      #expect(try tokenizer.encode(lines[0]).ids != expected.encode(lines[0]).ids && tokenizer.maximumLength == nil)
    }
  }

  @Test func aVocabularyWithMerges() throws {
    try withTemporaryFolder { folder in
      try copy("vocab.json", to: "\(folder)/vocab.json")
      try copy("merges.txt", to: "\(folder)/merges.txt")
      let plain = try Tokenizer(folder: folder)
      let expected = try TokenizerFixture.tokenizer("gpt2")
      let other = lines.map { $0.replacingOccurrences(of: "new", with: "") }
      #expect(try plain.encode(other, padding: .none).ids == expected.encode(other, padding: .none).ids)
      try write(#"{"model_type": "roberta"}"#, "\(folder)/config.json")
      let roberta = try Tokenizer(folder: folder)
      #expect(
        try roberta.encode("a", pair: "b").typeIDs.allSatisfy { $0 == 0 }
          && roberta.paddingID == roberta.id(of: "<pad>"))
      #expect(try roberta.encode("a", pair: "b").ids.count { $0 == roberta.id(of: "</s>") } == 3)
      #expect(try roberta.encode("a <mask>").ids.count == 4)
      try write(#"{"tokenizer_class": "CLIPTokenizer"}"#, "\(folder)/tokenizer_config.json")
      #expect(throws: TokenizerError.self) { try Tokenizer(folder: folder) }
      try write(
        #"{"tokenizer_class": "RobertaTokenizerFast", "add_prefix_space": true}"#, "\(folder)/tokenizer_config.json")
      #expect(try Tokenizer(folder: folder).encode("a").ids == roberta.encode(" a").ids)
      try write("#version: 0.2\nno such tokens\n", "\(folder)/merges.txt")
      #expect(throws: TokenizerError.self) { try Tokenizer(folder: folder) }
    }
  }

  @Test func aWholeFileIsPreferredAndTheSettingsHold() throws {
    try withTemporaryFolder { folder in
      try TokenizerFixture.json("gpt2").write(to: URL(fileURLWithPath: "\(folder)/tokenizer.json"))
      try write("nonsense", "\(folder)/vocab.txt")
      #expect(try Tokenizer(folder: folder).paddingID == Tokenizer(folder: folder).id(of: "<pad>"))
      try write(#"{"pad_token": "<|endoftext|>"}"#, "\(folder)/special_tokens_map.json")
      let tokenizer = try Tokenizer(folder: folder)
      #expect(tokenizer.paddingID == tokenizer.id(of: "<|endoftext|>"))
    }
    try withTemporaryFolder { folder in
      try write("", "\(folder)/spiece.model")
      let error = #expect(throws: TokenizerError.self) { try Tokenizer(folder: folder) }
      #expect("\(try #require(error))".contains("spiece.model"))
    }
  }

  /// What a file asks for and is not known here is named.
  @Test(arguments: [
    ("normalizer", #"{"type": "Precompiled", "precompiled_charsmap": "AA"}"#, "Precompiled"),
    ("normalizer", #"{"type": "NFC", "form": 2}"#, "form"),
    (
      "normalizer", #"{"type": "Sequence", "normalizers": [{"type": "Nmt"}]}"#,
      "normalizer.normalizers[0]: a normalizer of the type Nmt"
    ),
    ("pre_tokenizer", #"{"type": "UnicodeScripts"}"#, "UnicodeScripts"),
    (
      "pre_tokenizer", #"{"type": "Split", "pattern": {"Regex": "\\p{Han}"}, "behavior": "Isolated", "invert": false}"#,
      "Han"
    ),
    ("pre_tokenizer", #"{"type": "Split", "pattern": {"String": "a"}, "behavior": "Gone", "invert": false}"#, "Gone"),
    ("pre_tokenizer", "[]", "type"),
    ("post_processor", #"{"type": "TemplateProcessing", "single": [{"Sequence": {"id": "B"}}], "pair": []}"#, "B"),
    (
      "post_processor", #"{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<x>"}}], "pair": []}"#,
      "<x>"
    ),
    ("decoder", #"{"type": "CTC"}"#, "CTC"),
    ("model", #"{"type": "Unigram", "vocab": []}"#, "Unigram"),
    ("model", #"{"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}"#, "merge 1"),
    ("model", #"{"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.1}"#, "dropout"),
    ("model", #"{"type": "BPE", "vocab": {"a": -1}, "merges": []}"#, "number of the token a"),
    ("model", #"{"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "[UNK]"}"#, "[UNK]"),
    (
      "model", #"{"type": "WordPiece", "vocab": {"[UNK]": 0}, "max_input_chars_per_word": 1e9}"#,
      "max_input_chars_per_word"
    ),
    ("added_tokens", #"[{"content": "x", "id": 77}]"#, "77"),
    ("version", #""2.0""#, "2.0"),
    ("lattice", "{}", "lattice"),
  ])
  func whatIsNotKnownIsRefusedByName(_ key: String, _ value: String, _ named: String) throws {
    let model = #""model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0}}"#
    let json = key == "model" ? "{\"model\": \(value)}" : "{\(model), \"\(key)\": \(value)}"
    let error = #expect(throws: TokenizerError.self) { try Tokenizer(json: Array(json.utf8), file: "tokenizer.json") }
    let text = "\(try #require(error))"
    #expect(text.contains(named) && text.hasPrefix("tokenizer.json"), "\(text)")
  }

  @Test(arguments: [
    "", "{", "[]", "{}", "nul", "\u{FEFF}{}", #"{"model": "#, #"{"a": "\x"}"#, #"{"a": "\ud800"}"#,
    #"{"a": "\ud800\u0041"}"#,
    "{\"a\": \"\n\"}", "{\"a\" 1}", "{\"a\": 1e999}", "{\"a\": --1}", "{} {}", #"{"model": {"type": 5}}"#,
    String(repeating: "[", count: 100_000), String(repeating: #"{"a":"#, count: 100_000),
  ])
  func damagedFilesAreRefused(_ json: String) {
    #expect(throws: TokenizerError.self) { try Tokenizer(json: Array(json.utf8)) }
  }

  /// Files that ask for a text without end.
  @Test func textsDoNotGrowWithoutEnd() throws {
    let model = #""model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0}}"#
    let double = #"{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}"#
    let growing = Array(repeating: double, count: 60).joined(separator: ", ")
    let bytes = Array(repeating: #"{"type": "ByteLevel", "use_regex": false}"#, count: 60).joined(separator: ", ")
    for part in [
      "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [\(growing)]}",
      "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\(bytes)]}",
    ] {
      let tokenizer = try Tokenizer(json: Array("{\(model), \(part)}".utf8))
      #expect(throws: TokenizerError.self) { try tokenizer.encode(String(repeating: "aé", count: 100)) }
    }
    let decoder = try Tokenizer(
      json: Array(
        #"{"model": {"type": "WordLevel", "vocab": {"a": 0}}, "decoder": {"type": "Sequence", "decoders": [\#(growing)]}}"#
          .utf8))
    #expect(throws: TokenizerError.self) { try decoder.decode([0, 0]) }
  }

  /// Files with bytes changed, left out and put in, and random bytes, are refused or read, and never a trap.
  @Test(arguments: TokenizerFixture.names)
  func changedFilesAreNoTrap(_ name: String) throws {
    let whole = Array(try TokenizerFixture.json(name))
    // The vocabulary is the most of a file and the least of its structure: what is changed is mostly the rest.
    let text = String(decoding: whole, as: UTF8.self)
    let start = try #require(text.range(of: "\"vocab\""))
    let vocabulary = text[..<start.lowerBound].utf8.count..<whole.count - 400
    var numbers = Numbers(state: UInt64(name.utf8.count))
    var readable = 0
    for round in 0..<60 {
      var bytes = whole
      for _ in 0..<1 + numbers.next(4) where !bytes.isEmpty {
        var place = numbers.next(bytes.count)
        if vocabulary.contains(place), round % 4 != 0 { place = numbers.next(min(vocabulary.lowerBound, bytes.count)) }
        switch numbers.next(5) {
        case 0: bytes[place] = UInt8(numbers.next(256))
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(Array("{}[],:\"\\019".utf8)[numbers.next(11)], at: place)
        case 3: if round % 5 == 0 { bytes.removeLast(bytes.count - place) }
        default: bytes[place] = bytes[numbers.next(bytes.count)]
        }
      }
      guard let tokenizer = try? Tokenizer(json: bytes) else { continue }
      readable += 1
      for line in lines {
        if let row = try? tokenizer.encode(line, pair: lines[0], maximumLength: 40) {
          _ = try? tokenizer.decode(row.ids)
        }
      }
    }
    #expect(readable > 0)
    for length in [0, 1, 10, 1000] {
      let bytes = (0..<length).map { _ in UInt8(numbers.next(256)) }
      #expect(throws: TokenizerError.self) { try Tokenizer(json: bytes) }
    }
  }
}
