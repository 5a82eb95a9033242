import DistillTokenizers
import Foundation
import Testing

/// What scripts/fixtures/text_tokenizers.py wrote: tokenizers, and what Hugging Face's package makes of 10,000 lines.
struct TokenizerFixture: Decodable, Sendable {
  struct Parts: Decodable, Sendable {
    var texts: [[String]]
    var ranges: [[UInt32]]
    var marks: [[UInt32]]
    var joints: [String]
  }

  struct Configuration: Decodable, Sendable {
    var vocabulary: String
    /// Hashes of eight digits, one after the other: of numbers for each 100 lines, of offsets and of the texts that the
    /// numbers are decoded to for each 1000, of pairs for each 30.
    var ids: String
    var offsets: String
    var texts: String
    var pairs: String
  }

  var parts: Parts
  var lines: String
  var tokenizers: [String: Configuration]

  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures/tokenizers").path

  static func data(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(name)")) }

  static let shared = Result { try JSONDecoder().decode(TokenizerFixture.self, from: data("cases.json")) }

  static let names = [
    "accents", "bert-cased", "bert-uncased", "compatible", "gpt2", "llama2", "llama3", "metaspace", "o200k", "roberta",
  ]

  /// The tokenizer.json of a name.
  ///
  /// - Parameter pairsAsTexts: merges as `"a b"` and not as `["a", "b"]`
  static func json(_ name: String, pairsAsTexts: Bool = false) throws -> Data {
    let cases = try #require(try JSONSerialization.jsonObject(with: data("cases.json")) as? [String: Any])
    let own = try #require((cases["tokenizers"] as? [String: Any])?[name] as? [String: Any])
    var whole = try #require(own["tokenizer"] as? [String: Any])
    var model = try #require(whole["model"] as? [String: Any])
    switch own["vocabulary"] as? String {
    case "words":
      let words = String(decoding: try data("vocab.txt"), as: UTF8.self).split(separator: "\n")
      model["vocab"] = Dictionary(uniqueKeysWithValues: words.enumerated().map { (String($1), $0) })
    case let kind:
      let prefix = kind == "bytes" ? "" : "pieces-"
      model["vocab"] = try JSONSerialization.jsonObject(with: data("\(prefix)vocab.json"))
      let lines = String(decoding: try data("\(prefix)merges.txt"), as: UTF8.self).split(separator: "\n").dropFirst()
      model["merges"] =
        pairsAsTexts
        ? lines.map { String($0) } : lines.map { $0.unicodeScalars.split(separator: " ").map { String($0) } }
    }
    whole["model"] = model
    return try JSONSerialization.data(withJSONObject: whole, options: [.sortedKeys])
  }

  static func tokenizer(_ name: String, pairsAsTexts: Bool = false) throws -> Tokenizer {
    try Tokenizer(json: Array(json(name, pairsAsTexts: pairsAsTexts)), file: "\(name).json")
  }

  /// The lines that the script makes, by the same numbers.
  func line(_ number: Int) -> String {
    var numbers = Numbers(state: UInt64(number))
    _ = numbers.next(2)
    var text = String.UnicodeScalarView()
    func append(_ value: UInt32) { text.append(Unicode.Scalar(value) ?? "\u{D7FF}") }
    func choose<Element>(_ options: [Element]) -> Element { options[numbers.next(options.count)] }
    for place in 0..<1 + numbers.next(9) {
      if place > 0 { text.append(contentsOf: choose(parts.joints).unicodeScalars) }
      var kind = numbers.next(15)
      kind = kind < 5 ? 0 : kind - 4
      if kind < parts.texts.count {
        text.append(contentsOf: choose(parts.texts[kind]).unicodeScalars)
      } else if kind < 9 {
        let range = choose(parts.ranges)
        for _ in 0..<1 + numbers.next(6) { append(range[0] + UInt32(numbers.next(Int(range[1])))) }
      } else if kind == 9 {
        append(97 + UInt32(numbers.next(26)))
        let range = choose(parts.marks)
        for _ in 0..<1 + numbers.next(4) { append(range[0] + UInt32(numbers.next(Int(range[1])))) }
      } else {
        let isAny = numbers.next(2) == 0
        append(UInt32(numbers.next(isAny ? 0x110000 : 0x3000)))
      }
    }
    return String(text)
  }

  /// Hashes of texts, so many of them together, as the script writes them.
  static func hashes(_ texts: [String], every size: Int) -> [String] {
    stride(from: 0, to: texts.count, by: size).map { start in
      let bytes = texts[start..<min(start + size, texts.count)].joined(separator: "\n").utf8
      let hash = bytes.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
      let digits = String(hash >> 32, radix: 16)
      return String(repeating: "0", count: 8 - digits.count) + digits
    }
  }

  /// Which of the hashes differ.
  static func differences(_ texts: [String], every size: Int, from expected: String) -> [Int] {
    let found = hashes(texts, every: size)
    let digits = Array(expected.utf8)
    guard found.count * 8 == digits.count else { return [-1] }
    return found.indices.filter { Array(found[$0].utf8) != Array(digits[8 * $0..<8 * $0 + 8]) }
  }
}

/// Numbers that look random and are the same everywhere.
struct Numbers {
  var state: UInt64

  mutating func next(_ count: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % count
  }
}
