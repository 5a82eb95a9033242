import DistillTokenizers
import Synchronization
import Torch

/// Texts with a class for each, as rows of tokens: what a model that classifies texts is trained on. Immutable, and in
/// memory.
///
/// An example is `[length]`: the tokens of its text, or of its pair of texts, filled up at the end with the padding token,
/// by which a model knows what is text. A loader leaves out what is padding in all rows of a batch (`textLength(at:)`).
public final class ClassifiedTexts: Dataset {
  public let name: String
  /// How many tokens an example has, padding among them.
  public let length: Int
  public let classNames: [String]
  public let notices: [String]
  /// The token that texts are filled up with.
  public let padding: Int
  /// How many tokens there are to choose from.
  public let vocabularySize: Int
  /// The examples that are to choose by and not to train on, where the files say which these are: the last ones.
  public let heldOut: Range<Int>
  public var count: Int { labels.count }
  public var exampleShape: [Int] { [length] }
  public var isImage: Bool { false }

  /// Of all texts, one after the other.
  private let tokens: [Int32]
  /// Where each text begins, and after the last one its end.
  private let starts: [Int]
  private let labels: [Int32]
  private let hash = Mutex<String?>(nil)

  /// - Parameters:
  ///   - pairs: as many second texts, where pairs are classified
  ///   - labels: the class of each; −1 where it has none
  ///   - classNames: the names of the classes; empty for the numbers that occur, from 0 on
  ///   - length: how many tokens an example has, longer texts are cut; nil: as many as the longest, cut to what the
  ///     tokenizer's model takes
  ///   - heldOut: how many of the last ones are to choose by
  ///   - notices: what a person should know of how they came about
  /// - Throws: `TokenizerError` when texts cannot be cut or filled up, `DataError` when labels do not fit.
  public convenience init(
    name: String, texts: [String], pairs: [String]? = nil, labels: [Int], classNames: [String] = [],
    tokenizer: Tokenizer, length: Int? = nil, heldOut: Int = 0, notices: [String] = []
  ) throws {
    guard let padding = tokenizer.paddingID else {
      throw DataError(
        "\(name): the tokenizer has no token to fill up texts with",
        remedy: "Name one as pad_token in its tokenizer_config.json")
    }
    if let pairs, pairs.count != texts.count {
      throw DataError("\(name): \(texts.count) texts, but \(pairs.count) second ones")
    }
    let around = tokenizer.specialTokenCount(isPair: pairs != nil)
    if let length, length < around + (pairs == nil ? 1 : 2) {
      throw DataError(
        "\(name): \(length) tokens leave no room for a text: the tokenizer puts \(around) around it",
        remedy: "Raise the length")
    }
    // One after the other: rows are kept without what a tokenizer says besides.
    var (tokens, starts, longest, cut): ([Int32], [Int], Int, Int) = ([], [0], 1, 0)
    for index in texts.indices {
      let row = try tokenizer.encode(
        texts[index], pair: pairs?[index], maximumLength: length ?? tokenizer.maximumLength)
      guard row.count > 0 else { throw DataError("\(name): text \(index) has no token") }
      tokens += row.ids.map { Int32(truncatingIfNeeded: $0) }
      starts.append(tokens.count)
      longest = max(longest, row.count)
      if row.count == length { cut += 1 }
    }
    var notices = notices
    if cut * 2 > texts.count {
      notices.append("\(cut) of the \(texts.count) texts of \(name) fill all \(longest) tokens, and may have been cut")
    }
    try self.init(
      name: name, tokens: tokens, starts: starts, labels: labels, classNames: classNames, padding: Int(padding),
      vocabularySize: tokenizer.vocabularySize, length: length ?? longest, heldOut: heldOut, notices: notices)
  }

  private init(
    name: String, tokens: [Int32], starts: [Int], labels: [Int], classNames: [String], padding: Int,
    vocabularySize: Int, length: Int, heldOut: Int, notices: [String]
  ) throws {
    let count = starts.count - 1
    guard count > 0 else { throw DataError("\(name) has no texts") }
    guard zip(starts, starts.dropFirst()).allSatisfy({ $1 - $0 <= length }) else {
      throw DataError("\(name): a text has more than \(length) tokens")
    }
    guard labels.count == count else { throw DataError("\(name): \(count) texts, but \(labels.count) labels") }
    let classNames = classNames.isEmpty ? (0...max(0, labels.max() ?? 0)).map(String.init) : classNames
    if let wrong = labels.firstIndex(where: { $0 < -1 || $0 >= classNames.count }) {
      throw DataError(
        "\(name): text \(wrong) has the label \(labels[wrong]), but there are \(classNames.count) classes")
    }
    // Examples are float32, in which whole numbers are exact up to here.
    guard vocabularySize <= 1 << 24 else {
      throw DataError("\(name): a vocabulary of \(vocabularySize) tokens is too large")
    }
    guard (0...count).contains(heldOut) else { throw DataError("\(name): \(heldOut) of \(count) texts held out") }
    self.name = name
    self.length = length
    self.classNames = classNames
    self.notices = notices
    self.padding = padding
    self.vocabularySize = vocabularySize
    self.heldOut = count - heldOut..<count
    self.tokens = tokens
    self.starts = starts
    self.labels = labels.map { Int32($0) }
  }

  public func label(at index: Int) -> Int { labels.indices.contains(index) ? Int(labels[index]) : -1 }

  public func textLength(at index: Int) -> Int? {
    labels.indices.contains(index) ? starts[index + 1] - starts[index] : nil
  }

  public func read(_ index: Int, into destination: UnsafeMutableBufferPointer<Float>) throws {
    try checkRead(index, into: destination)
    let own = tokens[starts[index]..<starts[index + 1]]
    for (place, token) in own.enumerated() { destination[place] = Float(token) }
    for place in own.count..<length { destination[place] = Float(padding) }
  }

  public var contentHash: String {
    get throws {
      try hash.withLock { known in
        if let known { return known }
        let digest = try SHA256()
        let head =
          "texts \(count) length \(length) padding \(padding) held out \(heldOut.count) classes \(classNames)\n"
        try digest.update(Array(head.utf8))
        try tokens.withUnsafeBytes { try digest.update($0) }
        try starts.withUnsafeBytes { try digest.update($0) }
        try labels.withUnsafeBytes { try digest.update($0) }
        let found = try digest.hex()
        known = found
        return found
      }
    }
  }

  /// Some of the texts, in the order given; none of them held out.
  func selecting(_ examples: [Int], name: String) throws -> ClassifiedTexts {
    var (tokens, starts): ([Int32], [Int]) = ([], [0])
    for index in examples {
      tokens += self.tokens[self.starts[index]..<self.starts[index + 1]]
      starts.append(tokens.count)
    }
    return try ClassifiedTexts(
      name: name, tokens: tokens, starts: starts, labels: examples.map(label), classNames: classNames,
      padding: padding, vocabularySize: vocabularySize, length: length, heldOut: 0, notices: notices)
  }
}
