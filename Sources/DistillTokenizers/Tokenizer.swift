/// Makes tokens of texts, and texts of tokens, as Hugging Face's `tokenizers` does with the same files.
///
///     let tokenizer = try Tokenizer(folder: "MiniLM")
///     let batch = try tokenizer.encode(["A text.", "Another one."], maximumLength: 128)
///
/// A value; threads may share it.
public struct Tokenizer: Sendable {
  let normalizer: Normalizer?
  let preTokenizer: PreTokenizer?
  let model: TokenModel
  let postProcessor: PostProcessor
  let decoder: TokenDecoder?
  /// Looked for in the text as it is, and in the text as it is normalized.
  private let plainTokens: AddedTokens
  private let normalizedTokens: AddedTokens
  /// Added tokens by number, as they are decoded.
  private let addedNames: [Int64: String]
  private let addedIDs: [[UInt8]: Int64]
  private let specialNames: Set<[UInt8]>

  /// The tokens that were added to those of the model, special ones among them.
  public let addedTokens: [AddedToken]
  /// The token that rows are filled up with; nil where the files name none.
  public var paddingID: Int64?
  /// The type of the tokens that rows are filled up with.
  public var paddingType: Int64 = 0
  public var paddingSide = TextSide.right
  public var truncationSide = TextSide.right
  /// How many tokens the model takes at most, where the files say so. It holds only where `maximumLength:` asks for it.
  public var maximumLength: Int?

  /// - Throws: `TokenizerError` when an added token cannot be normalized.
  init(
    normalizer: Normalizer?, preTokenizer: PreTokenizer?, model: TokenModel, postProcessor: PostProcessor,
    decoder: TokenDecoder?, addedTokens: [AddedToken]
  ) throws {
    self.normalizer = normalizer
    self.preTokenizer = preTokenizer
    self.model = model
    self.postProcessor = postProcessor
    self.decoder = decoder
    self.addedTokens = addedTokens
    var plain = AddedTokens()
    var normalized = AddedTokens()
    var names: [Int64: String] = [:]
    var ids: [[UInt8]: Int64] = [:]
    for token in addedTokens {
      var text = NormalizedText(token.content)
      if token.isNormalized {
        try normalizer?.apply(to: &text)
        normalized.insert(token, as: text.scalars.map(\.value))
      } else {
        plain.insert(token, as: text.scalars.map(\.value))
      }
      names[token.id] = text.text
      ids[Array(token.content.utf8)] = token.id
    }
    plainTokens = plain
    normalizedTokens = normalized
    addedNames = names
    addedIDs = ids
    specialNames = Set(addedTokens.filter(\.isSpecial).map { Array($0.content.utf8) })
  }

  // MARK: Tokens

  /// One more than the highest number that `encode` gives: the rows that an embedding needs.
  public var vocabularySize: Int {
    let others = addedTokens.map(\.id) + postProcessor.addedIDs + [paddingID].compactMap { $0 }
    return Int(max(Int64(model.vocabulary.highest), others.max() ?? -1)) + 1
  }

  /// The number of a token; nil where there is none of that name.
  public func id(of token: String) -> Int64? {
    addedIDs[Array(token.utf8)] ?? model.vocabulary.id(of: token).map { Int64($0) }
  }

  /// The token of a number; nil where there is none.
  public func token(of id: Int64) -> String? {
    addedNames[id] ?? Int32(exactly: id).flatMap { model.vocabulary.token(of: $0) }
  }

  // MARK: Texts to tokens

  /// The tokens of a text, or of two.
  ///
  /// - Parameters:
  ///   - pair: a second text, behind the first
  ///   - maximumLength: how many tokens there may be, special ones included; nil: as many as there are
  ///   - truncation: which of two texts is cut where there are more
  ///   - padding: `.longest` changes nothing for one text
  ///   - addsSpecialTokens: whether tokens such as `[CLS]` are put around the texts
  /// - Throws: `TokenizerError` when the length leaves no room for special tokens, when only the text that is not there
  ///   may be cut, or when padding is asked for and there is no token for it.
  public func encode(
    _ text: String, pair: String? = nil, maximumLength: Int? = nil, truncation: Truncation = .longestFirst,
    padding: Padding = .none, addsSpecialTokens: Bool = true
  ) throws -> EncodedText {
    let batch = try encode(
      [text], pairs: pair.map { [$0] }, maximumLength: maximumLength, truncation: truncation, padding: padding,
      addsSpecialTokens: addsSpecialTokens)
    return batch.rows[0]
  }

  /// How many tokens are put around a text, or around and between the texts of a pair.
  public func specialTokenCount(isPair: Bool) -> Int { postProcessor.addedCount(isPair: isPair) }

  /// The tokens of several texts, or pairs of texts, in rows of one length. The parameters are those of a single text.
  ///
  /// - Parameter pairs: as many second texts
  public func encode(
    _ texts: [String], pairs: [String]? = nil, maximumLength: Int? = nil, truncation: Truncation = .longestFirst,
    padding: Padding = .longest, addsSpecialTokens: Bool = true
  ) throws -> EncodedBatch {
    if let pairs, pairs.count != texts.count {
      throw TokenizerError("\(texts.count) texts cannot be paired with \(pairs.count)")
    }
    var room: Int?
    if let maximumLength {
      let added = addsSpecialTokens ? specialTokenCount(isPair: pairs != nil) : 0
      guard maximumLength >= max(added, 0) else {
        throw TokenizerError(
          "\(maximumLength) tokens are too few for a text: \(added) of them are put around it",
          remedy: "Raise the maximum length")
      }
      room = maximumLength - added
    }
    var batch = EncodedBatch(rows: [])
    batch.rows.reserveCapacity(texts.count)
    for (place, text) in texts.enumerated() {
      // What is certain to be cut off a text alone need not be looked for; of two, the longer one is cut first.
      let limit = truncationSide == .right && pairs == nil && truncation != .onlySecond ? room : nil
      var first = try tokens(of: text, limit: limit)
      var second = try pairs.map { try tokens(of: $0[place], limit: nil) }
      if let room { try truncate(&first, &second, to: room, truncation) }
      batch.rows.append(joined(&first, &second, addsSpecialTokens: addsSpecialTokens))
    }
    try pad(&batch, padding)
    return batch
  }

  /// The tokens of a text alone.
  private func tokens(of text: String, limit: Int?) throws -> TextTokens {
    guard text.utf8.count < Int(Int32.max) / 4 else {
      throw TokenizerError("a text of \(text.utf8.count) bytes is too long")
    }
    var pieces = TextPieces()
    let whole = NormalizedText(text).scalars
    if !whole.isEmpty {
      try plainTokens.split(whole) { range, token in
        if let token { return pieces.append(whole[range], token: token) }
        var part = NormalizedText(Array(whole[range]))
        try normalizer?.apply(to: &part)
        normalizedTokens.split(part.scalars) { pieces.append(part.scalars[$0], token: $1) }
      }
    }
    pieces.limit = NormalizedText.limit(pieces.scalars.count)
    try preTokenizer?.apply(to: &pieces)
    var found: [PieceToken] = []
    pieces.scalars.withUnsafeBufferPointer { scalars in
      for piece in pieces.pieces {
        if let limit, found.count >= limit { break }
        if let token = piece.token {
          found.append(PieceToken(id: token, range: piece.range))
        } else {
          model.append(scalars, piece.range, to: &found)
        }
      }
    }
    return tokens(found, in: pieces.scalars)
  }

  private func tokens(_ found: [PieceToken], in scalars: [TextScalar]) -> TextTokens {
    var tokens = TextTokens()
    tokens.ids = found.map { Int64($0.id) }
    tokens.offsets = found.map { token in
      let start = Int(scalars[token.range.lowerBound].start)
      return start..<max(start, Int(scalars[token.range.upperBound - 1].end))
    }
    if postProcessor.trimsOffsets {
      let characters = Characters.all
      let space = ByteAlphabet.characters[32]
      func isSpace(_ scalar: TextScalar) -> Bool {
        scalar.value == space || characters.isIn(CharacterTables.whitespace, scalar.value)
      }
      tokens.leadingSpaces = found.map { scalars[$0.range].prefix(while: isSpace).count }
      tokens.trailingSpaces = found.map { scalars[$0.range].reversed().prefix(while: isSpace).count }
    } else {
      tokens.leadingSpaces = Array(repeating: 0, count: found.count)
      tokens.trailingSpaces = tokens.leadingSpaces
    }
    return tokens
  }

  private func truncate(
    _ first: inout TextTokens, _ second: inout TextTokens?, to room: Int, _ truncation: Truncation
  ) throws {
    let (firstCount, secondCount) = (first.count, second?.count ?? 0)
    guard firstCount + secondCount > room else { return }
    guard room > 0 else {
      first.truncate(to: 0, from: truncationSide)
      second?.truncate(to: 0, from: truncationSide)
      return
    }
    switch truncation {
    case .longestFirst:
      guard second != nil else { return first.truncate(to: room, from: truncationSide) }
      let least = min(firstCount, secondCount)
      var shorter = least
      var longer = least > room ? least : max(least, room - least)
      if shorter + longer > room {
        shorter = room / 2
        longer = shorter + room % 2
      }
      let isFirstLonger = firstCount > secondCount
      first.truncate(to: isFirstLonger ? longer : shorter, from: truncationSide)
      second?.truncate(to: isFirstLonger ? shorter : longer, from: truncationSide)
    case .onlyFirst:
      guard secondCount < room else {
        throw TokenizerError("the second text alone has \(secondCount) tokens, and there is room for \(room)")
      }
      first.truncate(to: room - secondCount, from: truncationSide)
    case .onlySecond:
      guard second != nil else {
        throw TokenizerError("only the second text may be cut, but there is one text", remedy: "Give a pair")
      }
      guard firstCount < room else {
        throw TokenizerError("the first text alone has \(firstCount) tokens, and there is room for \(room)")
      }
      second?.truncate(to: room - firstCount, from: truncationSide)
    }
  }

  private func joined(
    _ first: inout TextTokens, _ second: inout TextTokens?, addsSpecialTokens: Bool
  ) -> EncodedText {
    postProcessor.trim(&first)
    if var tokens = second {
      postProcessor.trim(&tokens)
      second = tokens
    }
    var row = EncodedText()
    for part in postProcessor.parts(isPair: second != nil) {
      switch part {
      case .text(let isSecond, let type):
        guard let tokens = isSecond ? second : first else { continue }
        for place in 0..<tokens.count {
          row.append(tokens.ids[place], type: type, isAdded: false, offsets: tokens.offsets[place])
        }
      case .tokens(let ids, let type):
        guard addsSpecialTokens else { continue }
        for id in ids { row.append(id, type: type, isAdded: true) }
      }
    }
    return row
  }

  private func pad(_ batch: inout EncodedBatch, _ padding: Padding) throws {
    var length = batch.length
    switch padding {
    case .none: return
    case .longest: break
    case .multiple(let number):
      guard number > 0, number < 1 << 30 else {
        throw TokenizerError("rows cannot be multiples of \(number) tokens long")
      }
      length = (length + number - 1) / number * number
    case .length(let given):
      guard given < 1 << 30 else { throw TokenizerError("rows of \(given) tokens are too long") }
      guard length <= given else {
        let place = batch.rows.firstIndex { $0.count == length } ?? 0
        throw TokenizerError(
          "row \(place) has \(length) tokens and does not fit in \(given)", remedy: "Give a maximum length, too")
      }
      length = given
    }
    guard batch.rows.contains(where: { $0.count < length }) else { return }
    guard let paddingID else {
      throw TokenizerError("the tokenizer has no token to fill rows up with", remedy: "Set its paddingID")
    }
    for place in batch.rows.indices {
      batch.rows[place].pad(to: length, with: paddingID, type: paddingType, on: paddingSide)
    }
  }

  // MARK: Tokens to texts

  /// The text that tokens stand for. Numbers that stand for nothing are left out.
  ///
  /// - Parameter skipsSpecialTokens: whether tokens such as `[CLS]` are left out
  /// - Throws: `TokenizerError` when a pattern of the files takes too long.
  public func decode(_ ids: [Int64], skipsSpecialTokens: Bool = true) throws -> String {
    let tokens = ids.compactMap { token(of: $0) }.filter {
      !skipsSpecialTokens || !specialNames.contains(Array($0.utf8))
    }
    guard let decoder else { return tokens.joined(separator: " ") }
    return try decoder.decode(tokens).reduce(into: "") { $0 += $1 }
  }
}
