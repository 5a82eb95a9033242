/// A token of a piece of a text: its number, and which of the text's characters it covers.
struct PieceToken: Sendable, Equatable {
  var id: Int32
  var range: Range<Int>
}

/// What makes tokens of a piece of a text.
enum TokenModel: Sendable {
  case wordPiece(WordPiece)
  case bytePairs(BytePairs)
  case words(WholeWords)

  var vocabulary: Vocabulary {
    switch self {
    case .wordPiece(let model): model.vocabulary
    case .bytePairs(let model): model.vocabulary
    case .words(let model): model.vocabulary
    }
  }

  func append(_ text: UnsafeBufferPointer<TextScalar>, _ range: Range<Int>, to tokens: inout [PieceToken]) {
    switch self {
    case .wordPiece(let model): model.append(text, range, to: &tokens)
    case .bytePairs(let model): model.append(text, range, to: &tokens)
    case .words(let model): model.append(text, range, to: &tokens)
    }
  }
}

/// A part of a text in UTF-8, and where each of its characters begins there.
struct WordBytes {
  private(set) var bytes: [UInt8] = []
  private(set) var starts: [Int] = []

  init(_ text: UnsafeBufferPointer<TextScalar>, _ range: Range<Int>) {
    bytes.reserveCapacity(range.count)
    starts.reserveCapacity(range.count + 1)
    for place in range {
      starts.append(bytes.count)
      let value = text[place].value
      if value < 0x80 {
        bytes.append(UInt8(value))
      } else if let scalar = Unicode.Scalar(value), let units = UTF8.encode(scalar) {
        bytes.append(contentsOf: units)
      }
    }
    starts.append(bytes.count)
  }
}

/// The longest token of the vocabulary that a word begins with, then the longest that goes on, and so forth (WordPiece).
///
/// Wu et al.: *Google's Neural Machine Translation System*, [arXiv:1609.08144](https://arxiv.org/abs/1609.08144), 2016.
struct WordPiece: Sendable {
  let vocabulary: Vocabulary
  let unknown: Int32
  /// What tokens begin with that go on with a word: `##`.
  let prefix: [UInt8]
  /// Longer words are unknown.
  let longestWord: Int

  func append(_ text: UnsafeBufferPointer<TextScalar>, _ range: Range<Int>, to tokens: inout [PieceToken]) {
    guard range.count <= longestWord else {
      tokens.append(PieceToken(id: unknown, range: range))
      return
    }
    let word = WordBytes(text, range)
    let first = tokens.count
    let prefixHash = prefix.reduce(vocabulary.emptyHash) { vocabulary.hash($0, and: $1) }
    var hashes: [UInt64] = []
    var candidate: [UInt8] = []
    var place = 0
    while place < range.count {
      // All beginnings of what is left that may be tokens, and their hashes; then the longest that is one.
      let start = word.starts[place]
      var hash = place == 0 ? vocabulary.emptyHash : prefixHash
      candidate.removeAll(keepingCapacity: true)
      if place > 0 { candidate += prefix }
      let prefixLength = candidate.count
      hashes.removeAll(keepingCapacity: true)
      var end = place
      while end < range.count, prefixLength + word.starts[end + 1] - start <= vocabulary.longest {
        for byte in word.bytes[word.starts[end]..<word.starts[end + 1]] {
          hash = vocabulary.hash(hash, and: byte)
          candidate.append(byte)
        }
        hashes.append(hash)
        end += 1
      }
      let found: Int32? = candidate.withUnsafeBufferPointer { candidate in
        while end > place {
          let length = prefixLength + word.starts[end] - start
          if let id = vocabulary.id(
            of: UnsafeBufferPointer(rebasing: candidate[..<length]), hash: hashes[end - place - 1])
          {
            return id
          }
          end -= 1
        }
        return nil
      }
      guard let found else {
        tokens.removeLast(tokens.count - first)
        tokens.append(PieceToken(id: unknown, range: range))
        return
      }
      tokens.append(PieceToken(id: found, range: range.lowerBound + place..<range.lowerBound + end))
      place = end
    }
  }
}

/// Each piece is a token, or unknown.
struct WholeWords: Sendable {
  let vocabulary: Vocabulary
  /// nil: what is unknown is left out.
  let unknown: Int32?

  func append(_ text: UnsafeBufferPointer<TextScalar>, _ range: Range<Int>, to tokens: inout [PieceToken]) {
    guard let id = vocabulary.id(of: WordBytes(text, range).bytes) ?? unknown else { return }
    tokens.append(PieceToken(id: id, range: range))
  }
}
