import DistillTokenizers
import Torch

extension ArrayDataset {
  /// Texts with a class for each, as rows of tokens: what a model that classifies texts is trained on.
  ///
  /// Each text is tokenized once. An example is its tokens, `[T]`, filled up with the tokenizer's padding token, by which a
  /// model knows what is text.
  ///
  /// - Parameters:
  ///   - pairs: as many second texts, where a pair is classified
  ///   - labels: the class of each; −1 where it has none
  ///   - length: T; nil: that of the longest row, cut to what the tokenizer's model takes. Longer texts are cut
  /// - Throws: `TokenizerError` when a row cannot be cut or filled up, `DataError` when labels do not fit.
  public convenience init(
    name: String, texts: [String], pairs: [String]? = nil, labels: [Int], classNames: [String] = [],
    tokenizer: Tokenizer, length: Int? = nil
  ) throws {
    guard !texts.isEmpty else { throw DataError("\(name) has no texts") }
    guard labels.count == texts.count else {
      throw DataError("\(name): \(texts.count) texts, but \(labels.count) labels")
    }
    // Examples are float32, in which whole numbers are exact up to here.
    guard tokenizer.vocabularySize <= 1 << 24 else {
      throw DataError("\(name): a vocabulary of \(tokenizer.vocabularySize) tokens is too large")
    }
    let batch = try tokenizer.encode(
      texts, pairs: pairs, maximumLength: length ?? tokenizer.maximumLength,
      padding: length.map { .length($0) } ?? .longest)
    guard batch.length > 0 else { throw DataError("\(name): none of its texts has a token") }
    try self.init(
      name: name, values: batch.rows.flatMap { $0.ids.map { Float($0) } }, exampleShape: [batch.length], labels: labels,
      classNames: classNames)
  }
}
