import Testing

@testable import DistillTokenizers

/// Patterns that do not look at case, `(?i)`. What is in which group was asked of Hugging Face's `tokenizers`.
@Suite struct CaseTests {
  private static func set(_ pattern: String) throws -> PatternSet {
    var parser = PatternParser(pattern)
    _ = try parser.parse()
    return try #require(parser.sets.first)
  }

  private static func characters(_ set: PatternSet, among text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.filter { set.contains($0.value) }))
  }

  @Test(
    arguments: [
      ("(?i)s", "sSſß", "sSſ"), ("(?i)[s]", "sSſß", "sSſ"), ("(?i)ſ", "sSſ", "sSſ"),
      ("(?i)k", "kK\u{212A}", "kK\u{212A}"),
      ("(?i)σ", "ςσΣ", "ςσΣ"), ("(?i)Ω", "ωΩ\u{2126}", "ωΩ\u{2126}"), ("(?i)µ", "µμΜ", "µμΜ"), ("(?i)ß", "ßẞsS", "ßẞ"),
      ("(?i)İ", "iİIı", "İ"), ("(?i)i", "iİIı", "iI"), ("(?i)[à-þ]", "éÉÿŸß", "éÉ"), ("(?i)[^a]", "aAbB", "bB"),
      ("(?i)[\\p{Lu}]", "aAǆǅ1", "aAǆǅ"), ("(?i)[^\\P{Lu}]", "aA1", ""), ("(?i)1", "1", "1"), ("s", "sSſ", "s"),
    ])
  func holds(_ pattern: String, _ text: String, _ expected: String) throws {
    #expect(Self.characters(try Self.set(pattern), among: text) == expected)
  }

  /// The sign for Kelvin, the one for Ångström and the capital ß lie far behind the beginning of the range.
  @Test func wideRanges() throws {
    let text = "kKåÅßzZ"
    #expect(Self.characters(try Self.set("(?i)[\\x{100}-\\x{10FFFF}]"), among: text) == "kKåÅß")
    #expect(Self.characters(try Self.set("[\\x{100}-\\x{10FFFF}]"), among: text) == "")
    #expect(Self.characters(try Self.set("(?i)[^\\x{100}-\\x{10FFFF}]"), among: text) == "zZ")
  }

  /// Each range would be gone through from beginning to end, and all letters for each of its characters.
  @Test func manyWideRanges() throws {
    let set = try Self.set("(?i)[" + String(repeating: "b-\u{10FFFF}", count: 6_000) + "]")
    #expect(Self.characters(set, among: "ABkK@") == "BkK")
    var parser = PatternParser("(?i)" + String(repeating: "[b-\u{10FFFF}]", count: 3_000))
    _ = try parser.parse()
    #expect(parser.sets.count == 3_000 && parser.sets.allSatisfy { $0.contains(0x42) && !$0.contains(0x41) })
  }
}

@Suite struct JSONValueTests {
  private static func value(_ text: String) throws -> JSONValue { try JSONValue(parsing: Array(text.utf8)) }

  @Test func charactersByTheirNumbers() throws {
    guard case .string(let text) = try Self.value("\"\\u00e9\\ud83d\\ude00\\u0000\\uffff\"") else {
      Issue.record("no text")
      return
    }
    #expect(Array(text.unicodeScalars) == ["é", "\u{1F600}", "\u{0}", "\u{FFFF}"])
    for half in ["\\ud83d", "\\ude00", "\\ud83dx", "\\ud83d\\u0041", "\\ud83d\\ud83d"] {
      #expect(throws: TokenizerError.self) { try Self.value("\"\(half)\"") }
    }
  }

  /// As Python's reader has it, and Hugging Face's.
  @Test func theLastOfTwoKeysCounts() throws {
    let value = try Self.value("{\"a\": 1, \"b\": 2, \"a\": 3, \"c\": 4, \"c\": null}")
    guard case .number(3)? = value["a"], case .number(2)? = value["b"] else {
      Issue.record("\(value)")
      return
    }
    #expect(value["c"]?.isNull == true)
    let model = "{\"type\": \"BPE\", \"vocab\": {\"x\": 9}, \"merges\": [], \"vocab\": {\"a\": 7, \"b\": 1, \"a\": 0}}"
    let tokenizer = try Tokenizer(json: Array("{\"model\": \(model)}".utf8))
    #expect(tokenizer.id(of: "a") == 0 && tokenizer.id(of: "b") == 1 && tokenizer.id(of: "x") == nil)
    #expect(tokenizer.token(of: 0) == "a" && tokenizer.token(of: 7) == nil)
  }
}
