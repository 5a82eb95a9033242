/// An end of a text.
public enum TextSide: String, Sendable {
  case left
  case right
}

/// Which of two texts is cut where both together are too long.
public enum Truncation: Sendable {
  /// The longer one, until both are equally long; then both.
  case longestFirst
  case onlyFirst
  case onlySecond
}

/// How far rows are filled up with the padding token.
public enum Padding: Sendable, Equatable {
  case none
  /// To the length of the longest row.
  case longest
  /// To the next multiple of a number that is not below the longest row.
  case multiple(of: Int)
  case length(Int)
}

/// The tokens of a text, or of a pair of texts.
public struct EncodedText: Sendable, Equatable {
  /// The number of each token.
  public var ids: [Int64] = []
  /// 1 where a token counts, 0 where it is padding.
  public var attentionMask: [Int64] = []
  /// Which of two texts a token belongs to, as the model wants it: mostly 0 and 1.
  public var typeIDs: [Int64] = []
  /// Whether a token was put there: special ones such as `[CLS]`, and padding.
  public var isAdded: [Bool] = []
  /// The Unicode scalars of its text that each token stands for, as Python counts; empty, at 0, where it was put there. See
  /// `ranges(in:)`.
  public var offsets: [Range<Int>] = []

  /// How many tokens there are, padding among them.
  public var count: Int { ids.count }

  /// The parts of a text that the tokens stand for. For a pair, `offsets` of tokens of the second are in the second.
  public func ranges(in text: String) -> [Range<String.Index>] {
    let places = Array(text.unicodeScalars.indices) + [text.endIndex]
    return offsets.map { places[min($0.lowerBound, places.count - 1)]..<places[min($0.upperBound, places.count - 1)] }
  }

  mutating func append(_ id: Int64, type: Int64, isAdded: Bool, offsets place: Range<Int> = 0..<0, mask: Int64 = 1) {
    ids.append(id)
    attentionMask.append(mask)
    typeIDs.append(type)
    self.isAdded.append(isAdded)
    offsets.append(place)
  }

  mutating func pad(to length: Int, with id: Int64, type: Int64, on side: TextSide) {
    guard count < length else { return }
    var padding = EncodedText()
    for _ in count..<length { padding.append(id, type: type, isAdded: true, mask: 0) }
    self = side == .right ? self + padding : padding + self
  }

  static func + (first: EncodedText, second: EncodedText) -> EncodedText {
    EncodedText(
      ids: first.ids + second.ids, attentionMask: first.attentionMask + second.attentionMask,
      typeIDs: first.typeIDs + second.typeIDs, isAdded: first.isAdded + second.isAdded,
      offsets: first.offsets + second.offsets)
  }
}

/// The tokens of several texts, row by row.
public struct EncodedBatch: Sendable, Equatable {
  public var rows: [EncodedText]

  public init(rows: [EncodedText]) { self.rows = rows }

  /// The number of each token, row by row.
  public var ids: [[Int64]] { rows.map(\.ids) }
  /// 1 where a token counts, 0 where it is padding.
  public var attentionMask: [[Int64]] { rows.map(\.attentionMask) }
  public var typeIDs: [[Int64]] { rows.map(\.typeIDs) }

  public var count: Int { rows.count }

  /// The length of the longest row; 0 where there is none.
  public var length: Int { rows.map(\.count).max() ?? 0 }

  /// Whether all rows are of one length, so that they can be a matrix.
  public var isRectangular: Bool { rows.allSatisfy { $0.count == length } }
}
