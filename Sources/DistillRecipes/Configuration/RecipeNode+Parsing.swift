import Foundation
import Yams

extension RecipeNode {
  /// The largest recipe that is read, in bytes.
  static let largestRecipe = 1_000_000
  /// More than any recipe needs, few enough that repeating them inside each other makes nothing large.
  private static let mostAliases = 32
  private static let mostNodes = 50_000
  private static let deepest = 24
  private static let tooDeep = "the recipe is nested too deeply"

  /// Reads one YAML document.
  ///
  /// - Returns: nil when there is nothing in it but comments
  /// - Throws: `RecipeError` when it is not YAML, or more than one document
  static func parse(_ text: String, source: RecipeSource) throws -> RecipeNode? {
    guard text.utf8.count <= largestRecipe else {
      throw RecipeError([
        source.problem(at: nil, nil, "the recipe is larger than 1 MB", hint: "is this the right file?")
      ])
    }
    let text = text.first == "\u{FEFF}" ? String(text.dropFirst()) : text
    try refuseManyAliases(text, source: source)
    let (root, repetitions) = try compose(text, source: source)
    guard let root else { return nil }
    var conversion = Conversion(source: source, repetitions: repetitions)
    let node = conversion.convert(root, depth: 0)
    guard conversion.problems.isEmpty else { throw RecipeError(conversion.problems) }
    return node
  }

  // MARK: - Repeated keys

  private static let mostRepetitions = 50

  /// A key that its map has already.
  private struct Repetition {
    var key: String
    var firstLine: Int
    var line: Int
    var column: Int

    var message: String { "the key '\(key)' is there twice" }
    var hint: String { "it stands in line \(firstLine) already; keep one of them" }
  }

  /// Yams' tree of a text. Yams stops at the first key that its map has already; so that all are found, each is replaced
  /// by a stand-in as long as it (a character for private use, over and over), and the text is read again.
  ///
  /// - Returns: the tree, and which keys the stand-ins in it stand for, by their character
  private static func compose(
    _ text: String, source: RecipeSource
  ) throws -> (root: Node?, repetitions: [Unicode.Scalar: Repetition]) {
    var text = text
    var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map {
      Array($0.unicodeScalars)
    }
    var standIns = (0xE000...0xF8FF).lazy.compactMap(Unicode.Scalar.init).makeIterator()
    var repetitions: [Unicode.Scalar: Repetition] = [:]
    while true {
      do {
        return (try Parser(yaml: text, encoding: .utf8).singleRoot(), repetitions)
      } catch let error as YamlError {
        guard case .duplicatedKeysInMapping(let keys, let context) = error, let key = keys.first,
          repetitions.count < mostRepetitions, let place = repetition(of: key, after: context.mark, in: lines),
          let standIn = standIns.next()
        else {
          let found = repetitions.values.sorted { ($0.line, $0.column) < ($1.line, $1.column) }
          throw RecipeError(
            found.map { source.problem(at: $0.line, $0.column, $0.message, hint: $0.hint) }
              + [problem(for: error, text: text, source: source)])
        }
        lines[place.line].replaceSubrange(place.columns, with: place.columns.map { _ in standIn })
        text = lines.map { String(String.UnicodeScalarView($0)) }.joined(separator: "\n")
        repetitions[standIn] = Repetition(
          key: key, firstLine: context.mark.line, line: place.line + 1, column: place.columns.lowerBound + 1)
      }
    }
  }

  /// Yams tells where a repeated key stands first; this looks for the next place: further on in the same line, in the same
  /// braces, or below in the same column. Lines and columns count from 0.
  private static func repetition(
    of key: String, after mark: Mark, in lines: [[Unicode.Scalar]]
  ) -> (line: Int, columns: Range<Int>)? {
    let spellings = [key, "\"\(key)\"", "'\(key)'"].map { Array($0.unicodeScalars) }
    func columns(at column: Int, of line: [Unicode.Scalar]) -> Range<Int>? {
      let rest = line.dropFirst(column)
      let found = spellings.first { spelling in
        rest.starts(with: spelling) && rest.dropFirst(spelling.count).first { $0 != " " } == ":"
      }
      return found.map { column..<(column + $0.count) }
    }
    let first = mark.line - 1
    let lead = mark.column - 1
    guard lines.indices.contains(first), lines[first].count > lead else { return nil }
    var depth = 0
    var quote: Unicode.Scalar?
    var last: Unicode.Scalar = " "  // that is no space
    for (column, scalar) in lines[first].enumerated().dropFirst(lead) where depth >= 0 {
      if let open = quote {
        if scalar == open { quote = nil }
      } else if column > lead, depth == 0, last == ",", let columns = columns(at: column, of: lines[first]) {
        return (first, columns)
      } else {
        switch scalar {
        case "{", "[": depth += 1
        case "}", "]": depth -= 1
        case "\"", "'": if ",:{[ ".unicodeScalars.contains(last) { quote = scalar }
        default: break
        }
      }
      if scalar != " " { last = scalar }
    }
    for (index, line) in lines.enumerated().dropFirst(first + 1) where line.prefix(lead).allSatisfy({ $0 == " " }) {
      if let columns = columns(at: lead, of: line) { return (index, columns) }
    }
    return nil
  }

  private static func refuseManyAliases(_ text: String, source: RecipeSource) throws {
    var count = 0
    for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated()
    where line.contains("*") && !line.drop(while: \.isWhitespace).hasPrefix("#") {
      count += line.matches(of: /(^|[\s,\[{:])\*[^\s,\[\]{}]/).count
      if count > mostAliases {
        throw RecipeError([
          source.problem(
            at: index + 1, 1, "more than \(mostAliases) aliases (*name)", hint: "write repeated parts out")
        ])
      }
    }
  }

  /// From Yams' nodes to ours: aliases are written out, merge keys (`<<`) applied.
  private struct Conversion {
    let source: RecipeSource
    /// The keys that stand-ins stand for.
    let repetitions: [Unicode.Scalar: Repetition]
    private var reported: Set<Unicode.Scalar> = []
    var problems: [RecipeError.Problem] = []
    var count = 0

    init(source: RecipeSource, repetitions: [Unicode.Scalar: Repetition]) {
      self.source = source
      self.repetitions = repetitions
    }

    mutating func convert(_ node: Node, depth: Int) -> RecipeNode {
      count += 1
      let location = location(of: node)
      guard count <= mostNodes, depth <= deepest else {
        if problems.isEmpty {
          report(location, count > mostNodes ? "the recipe is too large with its aliases written out" : tooDeep)
        }
        return RecipeNode(.list([]), location: location)
      }
      switch node {
      case .scalar(let scalar):
        check(tag: scalar.tag, at: location)
        let isPlain = scalar.style == .plain && scalar.tag.rawValue != Self.tag("str")
        return RecipeNode(.scalar(scalar.string, isQuoted: !isPlain), location: location)
      case .sequence(let sequence):
        check(tag: sequence.tag, at: location)
        return RecipeNode(.list(sequence.map { convert($0, depth: depth + 1) }), location: location)
      case .mapping(let mapping):
        check(tag: mapping.tag, at: location)
        return RecipeNode(.map(entries(of: mapping, depth: depth)), location: location)
      case .alias(let alias):
        report(location, "the alias *\(alias.anchor.rawValue) names nothing")
        return RecipeNode(.list([]), location: location)
      }
    }

    private mutating func entries(of mapping: Node.Mapping, depth: Int) -> [Entry] {
      var entries: [Entry] = []
      var merged: [Entry] = []
      for (key, value) in mapping {
        guard case .scalar(let scalar) = key else {
          report(location(of: key), "a key must be a word, not \(key.mapping != nil ? "a map" : "a list")")
          continue
        }
        let keyLocation = location(of: key)
        let isRepeated = reportRepetition(scalar.string, keyLocation)
        let converted = convert(value, depth: depth + 1)
        if scalar.string == "<<", scalar.style == .plain {
          for node in converted.items ?? [converted] {
            guard let given = node.entries else {
              report(keyLocation, "'<<' takes a map, not \(node.shown)")
              continue
            }
            merged += given.filter { entry in !merged.contains { $0.key == entry.key } }
          }
        } else if entries.contains(where: { $0.key == scalar.string }) {
          // To Yams the number 1 and the text "1" are two keys.
          report(keyLocation, "the key '\(scalar.string)' is there twice")
        } else if !isRepeated {
          entries.append(Entry(key: scalar.string, keyLocation: keyLocation, value: converted))
        }
      }
      return entries + merged.filter { entry in !entries.contains { $0.key == entry.key } }
    }

    /// Whether a key is a stand-in; reports for what. (A map that aliases repeat is converted more than once.)
    private mutating func reportRepetition(_ key: String, _ location: RecipeLocation) -> Bool {
      guard let standIn = key.unicodeScalars.first, let repetition = repetitions[standIn] else { return false }
      if reported.insert(standIn).inserted { report(location, repetition.message, hint: repetition.hint) }
      return true
    }

    private func location(of node: Node) -> RecipeLocation {
      RecipeLocation(source: source, line: node.mark?.line ?? 1, column: node.mark?.column ?? 1)
    }

    private mutating func report(_ location: RecipeLocation, _ message: String, hint: String? = nil) {
      problems.append(source.problem(at: location.line, location.column, message, hint: hint))
    }

    private static func tag(_ name: String) -> String { "tag:yaml.org,2002:\(name)" }

    private static let knownTags = Set(
      ["str", "int", "float", "bool", "null", "map", "seq", "merge", "value", "timestamp"].map(tag))

    /// A recipe is plain data: tags that ask for a type of some program are refused.
    private mutating func check(tag: Tag, at location: RecipeLocation) {
      let name = tag.rawValue
      guard !name.isEmpty, name != "!", !Self.knownTags.contains(name) else { return }
      let shown = name.replacing("tag:yaml.org,2002:", with: "!!")
      report(location, "the tag \(shown) means nothing in a recipe", hint: "leave it out")
    }
  }

  // MARK: - Not YAML

  private static func problem(for error: YamlError, text: String, source: RecipeSource) -> RecipeError.Problem {
    switch error {
    case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _):
      return syntaxProblem(problem, context: context, mark: mark, source: source)
    case .composer(_, let problem, let mark, _):
      if problem.contains("another document") {
        return source.problem(
          at: mark.line, mark.column, "a second document begins here", hint: "a recipe is one document: one file each")
      }
      return source.problem(
        at: mark.line, mark.column, "this alias names no anchor before it",
        hint: "write &name at the part to repeat; a text that begins with * needs quotes")
    case .duplicatedKeysInMapping(let keys, let context):
      return source.problem(
        at: context.mark.line, context.mark.column, "the key '\(keys.first ?? "")' is there twice",
        hint: "keep one of them")
    case .reader(let problem, let offset, _, _):
      let position = offset.flatMap { text.index(text.startIndex, offsetBy: $0, limitedBy: text.endIndex) }
      let before = text[..<(position ?? text.startIndex)]
      let line = before.count(where: \.isNewline) + 1
      let column = before.reversed().prefix { !$0.isNewline }.reduce(0) { $0 + $1.unicodeScalars.count } + 1
      return source.problem(at: line, column, "not readable as text: \(problem)")
    default:
      return source.problem(at: nil, nil, "not readable as YAML: \(error)")
    }
  }

  private static func syntaxProblem(
    _ problem: String, context: YamlError.Context?, mark: Mark, source: RecipeSource
  ) -> RecipeError.Problem {
    if problem.hasPrefix("Maximum nesting level") {
      return source.problem(at: mark.line, mark.column, tooDeep)
    }
    let line = source.lines.indices.contains(mark.line - 1) ? source.lines[mark.line - 1] : ""
    var hint: String?
    if line.prefix(while: \.isWhitespace).contains("\t") {
      hint = "indent with spaces, not tabs"
    } else if problem.contains("mapping values are not allowed") {
      hint = "a text with ': ' in it needs quotes; otherwise the indentation is off"
    } else if let context, context.mark.line != mark.line, source.hasLines {
      hint = "it belongs to what begins in line \(context.mark.line)"
    }
    let while_ = context.map { " \($0.text)" } ?? ""
    return source.problem(at: mark.line, mark.column, "not YAML: \(problem)\(while_)", hint: hint)
  }
}
