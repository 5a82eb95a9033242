import Foundation
import Testing

@testable import DistillTokenizers

/// What a tokenizer promises beside being equal to another.
@Suite struct TokenizerTests {
  @Test func aBatchHasRowsOfOneLength() throws {
    let tokenizer = try TokenizerFixture.tokenizer("bert-uncased")
    let batch = try tokenizer.encode(["The teacher.", "A"])
    #expect(batch.isRectangular && batch.count == 2 && batch.length == batch.rows[0].count)
    #expect(batch.ids[1].first == tokenizer.id(of: "[CLS]") && batch.ids[1].count { $0 == 2 } == 1)
    #expect(batch.ids[1].last == 0 && batch.attentionMask[1].last == 0 && batch.rows[1].isAdded.last == true)
    #expect(batch.attentionMask[0].allSatisfy { $0 == 1 })
    #expect(try tokenizer.encode(["The teacher.", "A"], padding: .none).length == batch.length)
    #expect(try tokenizer.encode(["A"], padding: .multiple(of: 8)).length == 8)
    #expect(try tokenizer.encode(["A"], padding: .length(16)).length == 16)
    #expect(try tokenizer.encode([]).ids == [])
    #expect(try tokenizer.encode("").ids == [1, 2])
    #expect(try tokenizer.encode("", addsSpecialTokens: false).ids == [])
  }

  @Test func rangesAreThePartsOfTheText() throws {
    let text = "Ein Großvater — 👩‍👩‍👧 naïve café"
    for name in ["bert-cased", "gpt2"] {
      let tokenizer = try TokenizerFixture.tokenizer(name)
      let row = try tokenizer.encode(text, addsSpecialTokens: false)
      let parts = row.ranges(in: text).map { String(text[$0]) }
      let joined = parts.reduce(into: "") { joined, part in if !joined.hasSuffix(part) { joined += part } }
      #expect(parts.contains { $0.contains("n") } && !joined.isEmpty)
      for (id, part) in zip(row.ids, parts) {
        let token = try #require(tokenizer.token(of: id))
        if token.allSatisfy({ $0.isASCII && $0.isLetter }) {
          #expect(token == part.trimmingCharacters(in: .whitespaces))
        }
      }
    }
  }

  @Test func problemsAreSaid() throws {
    var tokenizer = try TokenizerFixture.tokenizer("bert-uncased")
    func problem(_ body: () throws -> Void) -> String {
      do { try body() } catch { return "\(error)" }
      return ""
    }
    #expect(problem { _ = try tokenizer.encode("a", maximumLength: 1) }.contains("too few"))
    #expect(problem { _ = try tokenizer.encode("a b", maximumLength: 3, truncation: .onlySecond) }.contains("pair"))
    #expect(problem { _ = try tokenizer.encode(["a"], pairs: []) }.contains("paired"))
    #expect(problem { _ = try tokenizer.encode(["a b c"], padding: .length(3)) }.contains("row 0"))
    #expect(problem { _ = try tokenizer.encode(["a"], padding: .multiple(of: 0)) }.contains("multiples"))
    tokenizer.paddingID = nil
    #expect(problem { _ = try tokenizer.encode(["a", "a b"]) }.contains("paddingID"))
    #expect(problem { _ = try Tokenizer(folder: "/nowhere") }.contains("there is no tokenizer"))
    #expect(problem { _ = try Tokenizer(file: "/nowhere.json") }.contains("no such file"))
    #expect(problem { _ = try Tokenizer(file: "/dev/zero") }.contains("not a regular file"))
  }

  @Test func tokensAndNumbers() throws {
    let tokenizer = try TokenizerFixture.tokenizer("bert-uncased")
    #expect(tokenizer.id(of: "[CLS]") == 1 && tokenizer.token(of: 1) == "[CLS]")
    #expect(
      tokenizer.id(of: "no such token") == nil && tokenizer.token(of: -1) == nil && tokenizer.token(of: .max) == nil)
    let own = try #require(tokenizer.id(of: "newword"))
    #expect(tokenizer.vocabularySize == Int(own) + 1 && tokenizer.addedTokens.count == 6)
    #expect(try tokenizer.encode("a NewWord, newwords").ids.count { $0 == own } == 1)
    #expect(try tokenizer.decode([1, own, 2, 99_999, -5]) == "newword")
    #expect(try tokenizer.decode([1, own, 2], skipsSpecialTokens: false) == "[CLS] newword [SEP]")
  }

  /// Swift holds "é" and "e\u{301}" to be equal; a vocabulary may have both.
  @Test func tokensAreToldApartByTheirBytes() throws {
    let json = """
      {"model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "\\u00e9": 1, "e\\u0301": 2, "\\u212b": 3,
      "\\ud83d\\ude00": 4}}, "pre_tokenizer": {"type": "WhitespaceSplit"}}
      """
    let tokenizer = try Tokenizer(json: Array(json.utf8))
    #expect(try tokenizer.encode("\u{e9} e\u{301} \u{212b} \u{c5} 😀").ids == [1, 2, 3, 0, 4])
    #expect(try Array(tokenizer.decode([2]).unicodeScalars).count == 2)
  }

  /// Long words, long spaces and what looks for the end of them: time is that of the length.
  @Test(.timeLimit(.minutes(2)), arguments: ["bert-uncased", "gpt2", "llama3", "llama2", "compatible"])
  func longTextsAreNoTrap(_ name: String) throws {
    let tokenizer = try TokenizerFixture.tokenizer(name)
    for unit in ["a", " ", "'", "ab", "\u{301}\u{323}", " \n", "中", "<"] {
      _ = try tokenizer.encode(String(repeating: unit, count: 20_000))
    }
  }

  @Test func bytePairsAreTheSameInFewAndInMany() throws {
    let tokenizer = try TokenizerFixture.tokenizer("llama2")
    // Without a pattern a text is one piece: alone it is joined by looking at all pairs, in a long one by a queue.
    let word = "distillation"
    let once = try tokenizer.encode(word, addsSpecialTokens: false).ids
    let often = try tokenizer.encode(String(repeating: word + " ", count: 40), addsSpecialTokens: false).ids
    #expect(once.count < word.count && Array(often.prefix(once.count)) == once)
  }

  // MARK: Expressions

  private func matches(_ pattern: String, _ text: String) throws -> [String] {
    let scalars = NormalizedText(text).scalars
    return try TextPattern.expression(RegularExpression(pattern)).matches(in: scalars, scalars.indices)
      .filter(\.isMatch).map { String(scalars[$0.range]) }
  }

  @Test func expressions() throws {
    #expect(try matches("a|ab", "abab") == ["a", "a"])
    #expect(try matches("(?:a|b)+c", "ababc abc") == ["ababc", "abc"])
    #expect(try matches("a{2,3}", "aaaaaa") == ["aaa", "aaa"])
    #expect(try matches("a{2,3}?", "aaaaaa") == ["aa", "aa", "aa"])
    #expect(try matches("a++b|a", "aab") == ["aab"])
    #expect(try matches("a++a|b", "aab") == ["b"])
    #expect(try matches("(?i:'S)|x", "'s 'S '\u{17F} X x") == ["'s", "'S", "'\u{17F}", "x"])
    #expect(try matches("(?i)k", "kK\u{212A}") == ["k", "K", "\u{212A}"])
    #expect(try matches("\\s+(?!\\S)|\\s+", "a   b  ") == ["  ", " ", "  "])
    #expect(try matches("(?<=a)b", "abcb") == ["b"])
    #expect(try matches("(?<!a)b", "abcb") == ["b"])
    #expect(try matches("[^\\W\\d_]+", "ab1_c") == ["ab", "c"])
    #expect(try matches("[a\\-z]+", "a-z b") == ["a-z"])
    #expect(try matches("\\x{41}\\u0042", "AB") == ["AB"])
    #expect(try matches("^a|b$", "a\nab\nb") == ["a", "a", "b", "b"])
    #expect(try matches("\\bon\\b", "on only on") == ["on", "on"])
    #expect(try matches(".", "a\nb") == ["a", "b"])
    #expect(try matches("x*", "axx") == ["", "xx"])
    #expect(try matches("\\p{^L}\\P{L}", "12a34") == ["12", "34"])
  }

  @Test(arguments: [
    "a(b", "a)", "[", "[a", "[]a]", "[[a]b]", "[a&&b]", "(?<n>a)", "\\1", "\\p{Han}", "\\p", "\\", "*", "a{3,2}",
    "(a*)*",
    "(?<=a+)b", "(?x)a", "[b-a]", "\\x{FFFFFFFF}", "\\k", "a{2}+", "(((a{1000}){1000}){1000})",
    "((((((){1000}){1000}){1000}){1000}){1000})", String(repeating: "(", count: 5000), "\\R", "\\X", "[\\d-z-\\w]",
  ])
  func expressionsThatAreNotKnownAreRefused(_ pattern: String) {
    #expect(throws: TokenizerError.self) { try RegularExpression(pattern) }
  }

  @Test func anExpressionThatTakesTooLongIsGivenUp() throws {
    let text = String(repeating: "a", count: 400)
    #expect(throws: TokenizerError.self) { try matches("(?:a|aa)+b", text) }
    #expect(throws: TokenizerError.self) { try matches("(?:a+)+b", text) }
  }
}
