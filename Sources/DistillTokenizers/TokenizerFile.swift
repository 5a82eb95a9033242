/// A part of a tokenizer's file: its value, and where it stands. What is not known is refused by name.
struct FilePart {
  let value: JSONValue
  /// Where it stands, as `normalizer.normalizers[1]`.
  let path: String
  let file: String?

  func problem(_ text: String, remedy: String? = nil) -> TokenizerError {
    TokenizerError(file: file, "\(path.isEmpty ? "" : "\(path): ")\(text)", remedy: remedy)
  }

  /// What stands behind a key; nil where nothing does, or null.
  func part(_ key: String) -> FilePart? {
    guard let value = value[key], !value.isNull else { return nil }
    return FilePart(value: value, path: path.isEmpty ? key : "\(path).\(key)", file: file)
  }

  func needed(_ key: String) throws -> FilePart {
    guard let part = part(key) else { throw problem("there is no \(key)") }
    return part
  }

  /// - Throws: `TokenizerError` when there are other keys than these and `type`.
  func allow(_ keys: String...) throws {
    guard case .object(let entries) = value else { throw problem("this must be an object, not \(value.kind)") }
    for entry in entries where entry.key != "type" && !keys.contains(entry.key) && !entry.value.isNull {
      throw problem("\(entry.key) is not known here")
    }
  }

  func string() throws -> String {
    guard case .string(let text) = value else { throw problem("this must be a text, not \(value.kind)") }
    return text
  }

  func bool() throws -> Bool {
    guard case .bool(let flag) = value else { throw problem("this must be true or false, not \(value.kind)") }
    return flag
  }

  func integer(_ range: ClosedRange<Int> = 0...Int(Int32.max)) throws -> Int {
    guard case .number(let number) = value, let integer = Int(exactly: number), range.contains(integer) else {
      throw problem("this must be a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return integer
  }

  func list() throws -> [FilePart] {
    guard case .array(let values) = value else { throw problem("this must be a list, not \(value.kind)") }
    return values.enumerated().map { FilePart(value: $1, path: "\(path)[\($0)]", file: file) }
  }

  func string(_ key: String, or standard: String) throws -> String { try part(key)?.string() ?? standard }
  func bool(_ key: String, or standard: Bool) throws -> Bool { try part(key)?.bool() ?? standard }

  /// One character.
  func character() throws -> UInt32 {
    let values = try string().values
    guard values.count == 1 else { throw problem("this must be one character") }
    return values[0]
  }

  var type: String {
    get throws { try needed("type").string() }
  }

  /// Adds where it is to an error that only says what.
  func locate<Result>(_ body: () throws -> Result) throws -> Result {
    do { return try body() } catch let error as TokenizerError where error.file == nil {
      throw problem(error.problem, remedy: error.remedy)
    }
  }
}

// MARK: The parts of tokenizer.json

extension Tokenizer {
  /// A tokenizer of the content of a `tokenizer.json`.
  ///
  /// - Parameters:
  ///   - json: the file's bytes
  ///   - file: what errors call it
  /// - Throws: `TokenizerError` when it is damaged, or asks for what is not known here.
  public init(json: [UInt8], file: String? = nil) throws {
    let root = FilePart(value: try JSONValue(parsing: json, file: file), path: "", file: file)
    try root.allow(
      "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder",
      "model")
    if let version = try root.part("version")?.string(), version != "1.0" {
      throw root.problem("version \(version) of the format is not known here")
    }
    let model = try TokenModel(root.needed("model"))
    try self.init(
      normalizer: root.part("normalizer").map { try Normalizer($0) },
      preTokenizer: root.part("pre_tokenizer").map { try PreTokenizer($0) }, model: model,
      postProcessor: root.part("post_processor").map { try PostProcessor($0) } ?? PostProcessor(),
      decoder: root.part("decoder").map { try TokenDecoder($0) },
      addedTokens: AddedToken.all(root.part("added_tokens"), vocabulary: model.vocabulary))
    if let padding = root.part("padding") {
      paddingID = try padding.part("pad_id").map { Int64(try $0.integer()) }
      paddingType = Int64(try padding.part("pad_type_id")?.integer() ?? 0)
      if try padding.part("direction")?.string() == "Left" { paddingSide = .left }
    }
    if let truncation = root.part("truncation") {
      maximumLength = try truncation.part("max_length")?.integer()
      if try truncation.part("direction")?.string() == "Left" { truncationSide = .left }
    }
    if paddingID == nil { paddingID = id(of: "[PAD]") ?? id(of: "<pad>") }
  }
}

extension AddedToken {
  /// The added tokens of a file. One that the model knows has the model's number, a new one the next that is free.
  fileprivate static func all(_ list: FilePart?, vocabulary: Vocabulary) throws -> [AddedToken] {
    var tokens: [AddedToken] = []
    var places: [[UInt8]: Int] = [:]
    var next = Int64(vocabulary.count)
    for part in try list?.list() ?? [] {
      try part.allow("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special")
      let content = try part.needed("content").string()
      let known = vocabulary.id(of: content).map { Int64($0) }
      let place = places[Array(content.utf8)]
      guard !content.isEmpty else { continue }
      guard content.utf8.count <= 4096 else { throw part.problem("a token of \(content.utf8.count) bytes is too long") }
      var token = AddedToken(
        content: content, id: place.map { tokens[$0].id } ?? known ?? next,
        isSpecial: try part.bool("special", or: false))
      if place == nil, known == nil { next += 1 }
      token.isSingleWord = try part.bool("single_word", or: false)
      token.stripsLeft = try part.bool("lstrip", or: false)
      token.stripsRight = try part.bool("rstrip", or: false)
      token.isNormalized = try part.bool("normalized", or: !token.isSpecial)
      if let id = try part.part("id")?.integer(), Int64(id) != token.id {
        throw part.problem(
          "the token \(content) has the number \(id), but the model's vocabulary makes it \(token.id)",
          remedy: "The file does not fit together")
      }
      if let place {
        tokens[place] = token
      } else {
        places[Array(content.utf8)] = tokens.count
        tokens.append(token)
      }
    }
    return tokens
  }
}

extension Vocabulary {
  /// An object of tokens and their numbers.
  init(_ part: FilePart) throws {
    guard case .object(let entries) = part.value else {
      throw part.problem("this must be an object of tokens and numbers, not \(part.value.kind)")
    }
    self.init()
    reserve(entries.count)
    for (token, value) in entries {
      guard case .number(let number) = value, let id = Int32(exactly: number), id >= 0 else {
        throw part.problem("the number of the token \(token) must be whole and not negative")
      }
      insert(token.utf8, id: id)
    }
  }
}

extension TokenModel {
  init(_ part: FilePart) throws {
    let type = try part.part("type")?.string()
    switch type {
    case "WordPiece":
      try part.allow("unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab")
      let vocabulary = try Vocabulary(part.needed("vocab"))
      let name = try part.string("unk_token", or: "[UNK]")
      guard let unknown = vocabulary.id(of: name) else {
        throw part.problem("its token for unknown words, \(name), is none")
      }
      self = .wordPiece(
        WordPiece(
          vocabulary: vocabulary, unknown: unknown,
          prefix: Array(try part.string("continuing_subword_prefix", or: "##").utf8),
          longestWord: try part.part("max_input_chars_per_word")?.integer(0...4096) ?? 100))
    case "BPE":
      try part.allow(
        "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback",
        "ignore_merges", "vocab", "merges")
      if case .number(let dropout)? = part.part("dropout")?.value, dropout != 0 {
        throw part.problem("dropout \(dropout) makes other tokens every time, which is not known here")
      }
      let vocabulary = try Vocabulary(part.needed("vocab"))
      var unknown: Int32?
      if let name = try part.part("unk_token")?.string() {
        unknown = vocabulary.id(of: name)
        if unknown == nil { throw part.problem("its token for unknown characters, \(name), is none") }
      }
      let merges = try Self.merges(part.needed("merges"))
      self = .bytePairs(
        try part.locate {
          try BytePairs(
            vocabulary: vocabulary, merges: merges, unknown: unknown,
            prefix: part.string("continuing_subword_prefix", or: ""),
            suffix: part.string("end_of_word_suffix", or: ""), fusesUnknown: part.bool("fuse_unk", or: false),
            fallsBackToBytes: part.bool("byte_fallback", or: false),
            takesWholePieces: part.bool("ignore_merges", or: false))
        })
    case "WordLevel":
      try part.allow("vocab", "unk_token")
      let vocabulary = try Vocabulary(part.needed("vocab"))
      self = .words(
        WholeWords(vocabulary: vocabulary, unknown: vocabulary.id(of: try part.string("unk_token", or: "<unk>"))))
    case let type:
      throw part.problem(
        type.map { "a model of the type \($0) is not known here" } ?? "there is no type",
        remedy: "WordPiece, BPE and WordLevel are known")
    }
  }

  /// Merges as `"a b"`, or as `["a", "b"]`.
  private static func merges(_ part: FilePart) throws -> [(String, String)] {
    guard case .array(let values) = part.value else {
      throw part.problem("this must be a list, not \(part.value.kind)")
    }
    var merges: [(String, String)] = []
    merges.reserveCapacity(values.count)
    for (place, value) in values.enumerated() {
      switch value {
      case .string(let text):
        if text.hasPrefix("#version") { continue }
        guard let merge = pair(text) else { throw part.problem("[\(place)], \(text), is no pair") }
        merges.append(merge)
      case .array(let pair):
        guard pair.count == 2, case .string(let left) = pair[0], case .string(let right) = pair[1] else {
          throw part.problem("[\(place)] is no pair")
        }
        merges.append((left, right))
      default: throw part.problem("[\(place)] is no pair")
      }
    }
    return merges
  }

  /// Two tokens with one space between them.
  static func pair(_ text: String) -> (String, String)? {
    let bytes = text.utf8
    guard let space = bytes.firstIndex(of: 32), !bytes[bytes.index(after: space)...].contains(32) else { return nil }
    return (String(text[..<space]), String(text[bytes.index(after: space)...]))
  }
}

extension TextPattern {
  /// `{"String": "…"}` or `{"Regex": "…"}`.
  fileprivate init(_ part: FilePart) throws {
    if let text = part.part("String") {
      try part.allow("String")
      let values = try text.string().values
      guard !values.isEmpty, values.count < 10_000 else { throw text.problem("this must not be empty, nor too long") }
      self = .text(values)
    } else if let pattern = part.part("Regex") {
      try part.allow("Regex")
      self = .expression(try pattern.locate { try RegularExpression(pattern.string()) })
    } else {
      throw part.problem("this must be a String or a Regex")
    }
  }
}

extension Normalizer {
  init(_ part: FilePart) throws {
    switch try part.type {
    case "BertNormalizer":
      try part.allow("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
      let lowercases = try part.bool("lowercase", or: true)
      self = .bert(
        cleansText: try part.bool("clean_text", or: true),
        spacesChineseCharacters: try part.bool("handle_chinese_chars", or: true),
        stripsAccents: try part.bool("strip_accents", or: lowercases), lowercases: lowercases)
    case "NFC": self = try .plain(part, .form(compatible: false, composed: true))
    case "NFD": self = try .plain(part, .form(compatible: false, composed: false))
    case "NFKC": self = try .plain(part, .form(compatible: true, composed: true))
    case "NFKD": self = try .plain(part, .form(compatible: true, composed: false))
    case "Lowercase": self = try .plain(part, .lowercase)
    case "StripAccents": self = try .plain(part, .stripAccents)
    case "ByteLevel": self = try .plain(part, .byteLevel)
    case "Strip":
      try part.allow("strip_left", "strip_right")
      self = .strip(left: try part.needed("strip_left").bool(), right: try part.needed("strip_right").bool())
    case "Prepend":
      try part.allow("prepend")
      self = .prepend(try part.needed("prepend").string().values)
    case "Replace":
      try part.allow("pattern", "content")
      self = .replace(try TextPattern(part.needed("pattern")), by: try part.needed("content").string().values)
    case "Sequence":
      try part.allow("normalizers")
      self = .sequence(try part.needed("normalizers").list().map { try Normalizer($0) })
    case let type: throw part.problem("a normalizer of the type \(type) is not known here")
    }
  }

  private static func plain(_ part: FilePart, _ normalizer: Normalizer) throws -> Normalizer {
    try part.allow()
    return normalizer
  }
}

extension PreTokenizer {
  init(_ part: FilePart) throws {
    switch try part.type {
    case "BertPreTokenizer":
      try part.allow()
      self = .bert
    case "ByteLevel":
      try part.allow("add_prefix_space", "trim_offsets", "use_regex")
      self = .byteLevel(
        addsPrefixSpace: try part.bool("add_prefix_space", or: true), splits: try part.bool("use_regex", or: true))
    case "Whitespace":
      try part.allow()
      self = .whitespace
    case "WhitespaceSplit":
      try part.allow()
      self = .split(.characters(CharacterTables.whitespace), .removed, inverted: false)
    case "Punctuation":
      try part.allow("behavior")
      let behavior = try part.part("behavior").map { try SplitBehavior($0) } ?? .isolated
      self = .split(.characters(CharacterTables.punctuation), behavior, inverted: false)
    case "Digits":
      try part.allow("individual_digits")
      let isIndividual = try part.bool("individual_digits", or: false)
      self = .split(.characters(CharacterTables.numeric), isIndividual ? .isolated : .contiguous, inverted: false)
    case "CharDelimiterSplit", "Delimiter":
      try part.allow("delimiter")
      self = .split(.character(try part.needed("delimiter").character()), .removed, inverted: false)
    case "Split":
      try part.allow("pattern", "behavior", "invert")
      self = .split(
        try TextPattern(part.needed("pattern")), try SplitBehavior(part.needed("behavior")),
        inverted: try part.needed("invert").bool())
    case "Metaspace":
      try part.allow("replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep")
      let name = try part.string("prepend_scheme", or: try part.bool("add_prefix_space", or: true) ? "always" : "never")
      guard let prefix = MetaspacePrefix(rawValue: name) else {
        throw part.problem("prepend_scheme \(name) is not known here")
      }
      self = .metaspace(
        replacement: try part.part("replacement")?.character() ?? 0x2581, prefix,
        splits: try part.bool("split", or: true))
    case "Sequence":
      try part.allow("pretokenizers")
      self = .sequence(try part.needed("pretokenizers").list().map { try PreTokenizer($0) })
    case let type: throw part.problem("a pre-tokenizer of the type \(type) is not known here")
    }
  }
}

extension SplitBehavior {
  fileprivate init(_ part: FilePart) throws {
    let name = try part.string()
    guard let behavior = SplitBehavior(rawValue: name) else {
      throw part.problem(
        "\(name) is not known here",
        remedy: "Known are \(SplitBehavior.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    self = behavior
  }
}

extension PostProcessor {
  init(_ part: FilePart) throws {
    self.init()
    switch try part.type {
    case "BertProcessing":
      try part.allow("sep", "cls")
      let (start, end) = try (Self.token(part.needed("cls")), Self.token(part.needed("sep")))
      single = [.tokens([start], type: 0), .text(isSecond: false, type: 0), .tokens([end], type: 0)]
      pair = (single ?? []) + [.text(isSecond: true, type: 1), .tokens([end], type: 1)]
    case "RobertaProcessing":
      try part.allow("sep", "cls", "trim_offsets", "add_prefix_space")
      let (start, end) = try (Self.token(part.needed("cls")), Self.token(part.needed("sep")))
      self = .roberta(
        start: start, end: end, trimsOffsets: try part.bool("trim_offsets", or: true),
        addsPrefixSpace: try part.bool("add_prefix_space", or: true))
    case "ByteLevel":
      try part.allow("add_prefix_space", "trim_offsets", "use_regex")
      trimsOffsets = try part.bool("trim_offsets", or: true)
      addsPrefixSpace = try part.bool("add_prefix_space", or: true)
    case "TemplateProcessing":
      try part.allow("single", "pair", "special_tokens")
      let tokens = part.part("special_tokens")
      single = try Self.template(part.needed("single"), tokens, allowsSecond: false)
      pair = try part.part("pair").map { try Self.template($0, tokens, allowsSecond: true) }
    case "Sequence":
      try part.allow("processors")
      for other in try part.needed("processors").list() {
        let processor = try PostProcessor(other)
        if processor.single != nil {
          guard single == nil else { throw other.problem("two processors in a row that add tokens are not known here") }
          (single, pair) = (processor.single, processor.pair)
        }
        if processor.trimsOffsets { (trimsOffsets, addsPrefixSpace) = (true, processor.addsPrefixSpace) }
      }
    case let type: throw part.problem("a post-processor of the type \(type) is not known here")
    }
  }

  /// What RoBERTa puts around texts: two ends between a pair, and one type for all.
  static func roberta(start: Int64, end: Int64, trimsOffsets: Bool = true, addsPrefixSpace: Bool) -> PostProcessor {
    var processor = PostProcessor()
    let first = [Part.tokens([start], type: 0), .text(isSecond: false, type: 0), .tokens([end], type: 0)]
    processor.single = first
    processor.pair = first + [.tokens([end], type: 0), .text(isSecond: true, type: 0), .tokens([end], type: 0)]
    processor.trimsOffsets = trimsOffsets
    processor.addsPrefixSpace = addsPrefixSpace
    return processor
  }

  /// `["[SEP]", 102]`
  private static func token(_ part: FilePart) throws -> Int64 {
    let list = try part.list()
    guard list.count == 2 else { throw part.problem("this must be a token and its number") }
    _ = try list[0].string()
    return Int64(try list[1].integer())
  }

  private static func template(_ part: FilePart, _ tokens: FilePart?, allowsSecond: Bool) throws -> [Part] {
    let pieces = try part.list()
    guard pieces.count <= 100 else { throw part.problem("\(pieces.count) parts are too many") }
    let parts = try pieces.map { piece -> Part in
      try piece.allow("Sequence", "SpecialToken")
      if let text = piece.part("Sequence") {
        try text.allow("id", "type_id")
        let name = try text.needed("id").string()
        guard name == "A" || name == "B" && allowsSecond else { throw text.problem("there is no text \(name) here") }
        return .text(isSecond: name == "B", type: Int64(try text.part("type_id")?.integer() ?? 0))
      }
      let token = try piece.needed("SpecialToken")
      try token.allow("id", "type_id")
      let name = try token.needed("id").string()
      guard let known = tokens?.part(name) else { throw token.problem("\(name) is none of the special_tokens") }
      try known.allow("id", "ids", "tokens")
      let ids = try known.needed("ids").list()
      guard ids.count <= 100 else { throw known.problem("\(ids.count) tokens are too many") }
      return .tokens(
        try ids.map { Int64(try $0.integer()) }, type: Int64(try token.part("type_id")?.integer() ?? 0))
    }
    for second in [false, true] {
      let times = parts.count { if case .text(second, _) = $0 { true } else { false } }
      // Texts are cut so that each has room once.
      guard times <= 1 else { throw part.problem("a text stands in it \(times) times") }
    }
    return parts
  }
}

extension TokenDecoder {
  init(_ part: FilePart) throws {
    switch try part.type {
    case "WordPiece":
      try part.allow("prefix", "cleanup")
      self = .wordPiece(prefix: try part.string("prefix", or: "##"), cleansUp: try part.bool("cleanup", or: true))
    case "ByteLevel":
      try part.allow("add_prefix_space", "trim_offsets", "use_regex")
      self = .byteLevel
    case "BPEDecoder":
      try part.allow("suffix")
      self = .bytePairs(suffix: try part.string("suffix", or: "</w>"))
    case "Metaspace":
      try part.allow("replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep")
      let isPrefixed =
        try part.string("prepend_scheme", or: try part.bool("add_prefix_space", or: true) ? "always" : "never")
        != "never"
      self = .metaspace(replacement: try part.part("replacement")?.character() ?? 0x2581, isPrefixed: isPrefixed)
    case "Replace":
      try part.allow("pattern", "content")
      self = .replace(try TextPattern(part.needed("pattern")), by: try part.needed("content").string().values)
    case "ByteFallback":
      try part.allow()
      self = .byteFallback
    case "Fuse":
      try part.allow()
      self = .fuse
    case "Strip":
      try part.allow("content", "start", "stop")
      self = .strip(
        try part.needed("content").character(), start: try part.needed("start").integer(),
        end: try part.needed("stop").integer())
    case "Sequence":
      try part.allow("decoders")
      self = .sequence(try part.needed("decoders").list().map { try TokenDecoder($0) })
    case let type: throw part.problem("a decoder of the type \(type) is not known here")
    }
  }
}
