/// A text that recipe nodes come from: a file, or an argument of the command line.
final class RecipeSource: Sendable {
  let name: String
  /// Whether lines and columns mean something to the reader.
  let hasLines: Bool
  let lines: [Substring]

  init(file name: String, text: String) {
    self.name = name
    hasLines = true
    lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
  }

  init(argument: String) {
    name = "argument '\(argument)'"
    hasLines = false
    lines = []
  }

  func problem(
    at line: Int?, _ column: Int?, path: String = "", _ message: String, hint: String? = nil,
    severity: RecipeError.Problem.Severity = .error
  ) -> RecipeError.Problem {
    let line = hasLines ? line : nil
    let text = line.flatMap { lines.indices.contains($0 - 1) ? String(lines[$0 - 1]) : nil }
    return RecipeError.Problem(
      severity: severity, file: name, line: line, column: line == nil ? nil : column, path: path, message: message,
      hint: hint, sourceLine: text)
  }
}

/// Where a node stands.
struct RecipeLocation: Sendable {
  var source: RecipeSource
  var line: Int
  var column: Int
}

/// A recipe as a tree: scalars, lists and maps, each knowing where it was written. Nodes made by the program stand
/// nowhere.
struct RecipeNode: Sendable {
  struct Entry: Sendable {
    var key: String
    var keyLocation: RecipeLocation?
    var value: RecipeNode
  }

  enum Content: Sendable {
    case scalar(String, isQuoted: Bool)
    case list([RecipeNode])
    case map([Entry])
  }

  var content: Content
  var location: RecipeLocation?

  init(_ content: Content, location: RecipeLocation? = nil) {
    self.content = content
    self.location = location
  }
}

extension RecipeNode: Equatable {
  /// Whether both say the same, wherever they stand.
  static func == (first: RecipeNode, second: RecipeNode) -> Bool {
    switch (first.content, second.content) {
    case (.scalar(let a, let aQuoted), .scalar(let b, let bQuoted)): a == b && aQuoted == bQuoted
    case (.list(let a), .list(let b)): a == b
    case (.map(let a), .map(let b)):
      a.count == b.count && zip(a, b).allSatisfy { $0.key == $1.key && $0.value == $1.value }
    default: false
    }
  }
}

// MARK: - Making nodes

extension RecipeNode {
  static let null = RecipeNode(.scalar("null", isQuoted: false))

  static func text(_ text: String) -> RecipeNode { RecipeNode(.scalar(text, isQuoted: !isPlain(text))) }
  static func text(_ text: String?) -> RecipeNode { text.map { .text($0) } ?? .null }
  static func flag(_ flag: Bool) -> RecipeNode { RecipeNode(.scalar(flag ? "true" : "false", isQuoted: false)) }
  static func int(_ value: Int) -> RecipeNode { RecipeNode(.scalar(String(value), isQuoted: false)) }
  static func int(_ value: Int?) -> RecipeNode { value.map { .int($0) } ?? .null }
  static func number(_ value: Double?) -> RecipeNode { value.map { .number($0) } ?? .null }
  static func list(_ nodes: [RecipeNode]) -> RecipeNode { RecipeNode(.list(nodes)) }

  /// 4 for 4.0, and an exponent in the form that every YAML reader takes for a number.
  static func number(_ value: Double) -> RecipeNode {
    if let whole = Int(exactly: value), abs(whole) < 1_000_000_000 { return .int(whole) }
    let text = "\(value)"
    let isShort = text.contains("e") && !text.contains(".")
    return RecipeNode(.scalar(isShort ? text.replacing("e", with: ".0e") : text, isQuoted: false))
  }

  /// A map in this order; entries whose node is nil are left out.
  static func map(_ entries: KeyValuePairs<String, RecipeNode?>) -> RecipeNode {
    RecipeNode(.map(entries.compactMap { key, value in value.map { Entry(key: key, keyLocation: nil, value: $0) } }))
  }

  /// Whether a text means itself when written without quotes.
  private static func isPlain(_ text: String) -> Bool {
    guard let first = text.unicodeScalars.first, let last = text.unicodeScalars.last else { return false }
    let mayBegin = first.properties.isAlphabetic || "/._0123456789".unicodeScalars.contains(first)
    guard mayBegin, last != " ", last != ":" else { return false }
    let allowed = text.unicodeScalars.allSatisfy {
      $0.properties.isAlphabetic || $0.properties.numericType != nil || " /._+-()=%~^*".unicodeScalars.contains($0)
    }
    let node = RecipeNode(.scalar(text, isQuoted: false))
    return allowed && !node.isNull && node.flagValue == nil && node.numberValue == nil
      && !text.unicodeScalars.allSatisfy { "0123456789-.+_eE".unicodeScalars.contains($0) }
  }
}

// MARK: - Looking at nodes

extension RecipeNode {
  var entries: [Entry]? { if case .map(let entries) = content { entries } else { nil } }
  var items: [RecipeNode]? { if case .list(let items) = content { items } else { nil } }

  var plain: String? { if case .scalar(let text, isQuoted: false) = content { text } else { nil } }

  var isNull: Bool { plain.map { ["", "~", "null", "Null", "NULL"].contains($0) } ?? false }

  var flagValue: Bool? {
    guard let plain else { return nil }
    if ["true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"].contains(plain) { return true }
    if ["false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"].contains(plain) { return false }
    return nil
  }

  /// Whole numbers, with underscores between digits allowed.
  var isWholeNumber: Bool {
    guard let plain = plain?.utf8 else { return false }
    let digits = plain.first.map(Self.isSign) ?? false ? plain.dropFirst() : plain[...]
    return digits.first.map(Self.isDigit) ?? false && digits.allSatisfy { Self.isDigit($0) || $0 == UInt8(ascii: "_") }
  }

  /// Nil too for whole numbers beyond 64 bits.
  var intValue: Int? {
    guard let plain, isWholeNumber else { return nil }
    return Int(plain.replacing("_", with: ""))
  }

  /// A finite number, also in forms such as `1e-3` that YAML 1.1 takes for a text.
  var numberValue: Double? {
    // Asked of every text, so that the pattern, which takes its time, is left to the few with underscores. Without these
    // Swift reads the same, and beyond it only names (nan) and hexadecimal digits, which have other letters.
    guard let plain, plain.utf8.allSatisfy({ Self.isDigit($0) || Self.isSign($0) || "._eE".utf8.contains($0) }),
      !plain.contains("_")
        || plain.wholeMatch(of: /[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?/) != nil
    else { return nil }
    return Double(plain.replacing("_", with: "")).flatMap { $0.isFinite ? $0 : nil }
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
  private static func isSign(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") }

  subscript(key: String) -> RecipeNode? { entries?.first { $0.key == key }?.value }

  /// For messages: `'abc'`, `a list`, `a map`, `nothing`.
  var shown: String {
    switch content {
    case .list: return "a list"
    case .map: return "a map"
    case .scalar(let text, let isQuoted):
      if isNull { return "nothing" }
      let short = text.count > 40 ? text.prefix(40) + "…" : text[...]
      return isQuoted ? "the text \"\(short)\"" : "'\(short)'"
    }
  }
}
