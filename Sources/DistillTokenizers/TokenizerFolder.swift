import Foundation

extension Tokenizer {
  /// The files that a folder may have of a tokenizer.
  public static let fileNames = [
    "tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json",
  ]

  /// Whether a folder has the files of a tokenizer, whatever is in them.
  public static func isThere(_ folder: String) -> Bool {
    let files = TokenizerFolder(path: folder)
    return files.exists("tokenizer.json") || files.exists("vocab.txt")
      || (files.exists("vocab.json") && files.exists("merges.txt"))
  }

  /// The tokenizer of a model's folder: `tokenizer.json`, or `vocab.txt` (BERT), or `vocab.json` and `merges.txt` (GPT-2,
  /// RoBERTa). `tokenizer_config.json`, `special_tokens_map.json` and `config.json` are read too, where they are there.
  ///
  /// - Throws: `TokenizerError` when none of these files is there, when one is damaged, or asks for what is not known here.
  public init(folder: String) throws {
    let files = TokenizerFolder(path: folder)
    let settings = try TokenizerSettings(files)
    if let json = try files.bytes("tokenizer.json") {
      try self.init(json: json, file: files.path(of: "tokenizer.json"))
    } else if let text = try files.bytes("vocab.txt") {
      try self.init(words: text, file: files.path(of: "vocab.txt"), settings)
    } else if let vocabulary = try files.bytes("vocab.json"), let merges = try files.bytes("merges.txt") {
      try self.init(
        vocabulary: FilePart(
          value: JSONValue(parsing: vocabulary, file: files.path(of: "vocab.json")), path: "",
          file: files.path(of: "vocab.json")),
        merges: merges, file: files.path(of: "merges.txt"), settings)
    } else {
      let other = ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model"].first { files.exists($0) }
      throw TokenizerError(
        file: folder,
        other.map { "its tokenizer is a \($0) of SentencePiece, which is not known here" }
          ?? "there is no tokenizer: neither tokenizer.json nor vocab.txt nor vocab.json with merges.txt",
        remedy: other == nil ? nil : "Convert it to a tokenizer.json")
    }
    if let name = settings.tokens["pad_token"]?.content { paddingID = id(of: name) ?? paddingID }
    if let side = settings.paddingSide { paddingSide = side }
    if let side = settings.truncationSide { truncationSide = side }
    if let length = settings.maximumLength { maximumLength = length }
  }

  /// A tokenizer of a `tokenizer.json`.
  ///
  /// - Throws: `TokenizerError` when it cannot be read, is damaged, or asks for what is not known here.
  public init(file: String) throws {
    let folder = TokenizerFolder(path: "")
    guard let json = try folder.bytes(file) else { throw TokenizerError(file: file, "there is no such file") }
    try self.init(json: json, file: file)
  }

  // MARK: Older files

  /// BERT's vocabulary: one token a line, and its number is that of the line.
  fileprivate init(words: [UInt8], file: String, _ settings: TokenizerSettings) throws {
    var vocabulary = Vocabulary()
    for (place, line) in try TokenizerFolder.lines(of: words, file: file).enumerated() {
      vocabulary.insert(line, id: Int32(place))
    }
    func name(_ key: String, _ standard: String) -> AddedToken {
      settings.tokens[key] ?? AddedToken(content: standard, id: 0, isSpecial: true)
    }
    var added: [AddedToken] = []
    func id(_ key: String, _ standard: String, isNeeded: Bool = false) throws -> Int64 {
      var token = name(key, standard)
      guard let id = vocabulary.id(of: token.content) else {
        if !isNeeded { return -1 }
        throw TokenizerError(
          file: file, "the token \(token.content) is not in the vocabulary",
          remedy: "tokenizer_config.json can say what it is called: \(key)")
      }
      token.id = Int64(id)
      if !added.contains(where: { $0.id == token.id }) { added.append(token) }
      return token.id
    }
    let unknown = try id("unk_token", "[UNK]", isNeeded: true)
    let end = try id("sep_token", "[SEP]", isNeeded: true)
    let padding = try id("pad_token", "[PAD]")
    let start = try id("cls_token", "[CLS]", isNeeded: true)
    _ = try id("mask_token", "[MASK]")
    var processor = PostProcessor()
    let first = [PostProcessor.Part.tokens([start], type: 0), .text(isSecond: false, type: 0), .tokens([end], type: 0)]
    processor.single = first
    processor.pair = first + [.text(isSecond: true, type: 1), .tokens([end], type: 1)]
    let lowercases = settings.lowercases ?? true
    try self.init(
      normalizer: .bert(
        cleansText: true, spacesChineseCharacters: settings.spacesChineseCharacters ?? true,
        stripsAccents: settings.stripsAccents ?? lowercases, lowercases: lowercases),
      preTokenizer: .bert,
      model: .wordPiece(
        WordPiece(vocabulary: vocabulary, unknown: Int32(unknown), prefix: Array("##".utf8), longestWord: 100)),
      postProcessor: processor, decoder: .wordPiece(prefix: "##", cleansUp: true), addedTokens: added)
    paddingID = padding >= 0 ? padding : nil
  }

  /// The vocabulary and the merges of GPT-2 or RoBERTa.
  fileprivate init(vocabulary part: FilePart, merges: [UInt8], file: String, _ settings: TokenizerSettings) throws {
    let vocabulary = try Vocabulary(part)
    var pairs: [(String, String)] = []
    for (place, line) in try TokenizerFolder.lines(of: merges, file: file).enumerated() {
      let text = String(decoding: line, as: UTF8.self)
      if text.hasPrefix("#version") || text.isEmpty { continue }
      guard let pair = TokenModel.pair(text) else {
        throw TokenizerError(file: file, "line \(place + 1), \(text), is no pair of tokens")
      }
      pairs.append(pair)
    }
    let model: BytePairs
    do { model = try BytePairs(vocabulary: vocabulary, merges: pairs) } catch let error as TokenizerError {
      throw TokenizerError(file: file, error.problem, remedy: error.remedy)
    }
    let isRoberta: Bool
    switch settings.family {
    case "GPT2", "gpt2": isRoberta = false
    case "Roberta", "roberta": isRoberta = true
    case nil where vocabulary.id(of: "<|endoftext|>") != nil: isRoberta = false
    case nil where vocabulary.id(of: "<s>") != nil && vocabulary.id(of: "</s>") != nil: isRoberta = true
    case let family:
      throw TokenizerError(
        file: part.file, "it is not known how the tokenizer of \(family ?? "this model") uses it",
        remedy: "vocab.json with merges.txt is read for GPT-2 and RoBERTa; others need a tokenizer.json")
    }
    let standards =
      isRoberta
      ? [
        ("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>"), ("sep_token", "</s>"),
        ("cls_token", "<s>"),
        ("pad_token", "<pad>"), ("mask_token", "<mask>"),
      ]
      : [
        ("unk_token", "<|endoftext|>"), ("bos_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>"),
        ("pad_token", ""),
      ]
    var added: [AddedToken] = []
    var ids: [String: Int64] = [:]
    for (key, standard) in standards {
      var token = settings.tokens[key] ?? AddedToken(content: standard, id: 0, isSpecial: true)
      if settings.tokens[key] == nil, key == "mask_token" { token.stripsLeft = true }
      guard let id = vocabulary.id(of: token.content) else { continue }
      token.id = Int64(id)
      ids[key] = token.id
      if !added.contains(where: { $0.id == token.id }) { added.append(token) }
    }
    let addsPrefixSpace = settings.addsPrefixSpace ?? false
    var processor = PostProcessor()
    processor.addsPrefixSpace = addsPrefixSpace
    if isRoberta {
      guard let start = ids["cls_token"], let end = ids["sep_token"] else {
        throw TokenizerError(file: part.file, "the tokens <s> and </s> are not in the vocabulary")
      }
      processor = .roberta(start: start, end: end, addsPrefixSpace: addsPrefixSpace)
    }
    try self.init(
      normalizer: nil, preTokenizer: .byteLevel(addsPrefixSpace: addsPrefixSpace, splits: true),
      model: .bytePairs(model), postProcessor: processor, decoder: .byteLevel, addedTokens: added)
    paddingID = ids["pad_token"]
  }
}

/// What `tokenizer_config.json`, `special_tokens_map.json` and `config.json` say of a tokenizer.
private struct TokenizerSettings {
  /// Special tokens by key, as `cls_token`.
  var tokens: [String: AddedToken] = [:]
  var lowercases: Bool?
  var stripsAccents: Bool?
  var spacesChineseCharacters: Bool?
  var addsPrefixSpace: Bool?
  var paddingSide: TextSide?
  var truncationSide: TextSide?
  var maximumLength: Int?
  /// As `Roberta` of `RobertaTokenizerFast`, or as a model's type.
  var family: String?

  init(_ files: TokenizerFolder) throws {
    for name in ["special_tokens_map.json", "tokenizer_config.json"] {
      guard let part = try files.part(name) else { continue }
      for kind in ["bos", "eos", "unk", "sep", "pad", "cls", "mask"] {
        guard let token = part.part("\(kind)_token") else { continue }
        tokens["\(kind)_token"] = try Self.token(token)
      }
    }
    if let part = try files.part("tokenizer_config.json") {
      lowercases = try part.part("do_lower_case")?.bool()
      stripsAccents = try part.part("strip_accents")?.bool()
      spacesChineseCharacters = try part.part("tokenize_chinese_chars")?.bool()
      addsPrefixSpace = try part.part("add_prefix_space")?.bool()
      paddingSide = try part.part("padding_side").map { try Self.side($0) }
      truncationSide = try part.part("truncation_side").map { try Self.side($0) }
      // A huge number stands for no limit.
      if case .number(let length)? = part.part("model_max_length")?.value, length >= 1, length < 1e9 {
        maximumLength = Int(length)
      }
      if let name = try part.part("tokenizer_class")?.string() {
        let family = name.replacingOccurrences(of: "TokenizerFast", with: "").replacingOccurrences(
          of: "Tokenizer", with: "")
        // `PreTrainedTokenizerFast` says nothing.
        if family != "PreTrained" { self.family = family }
      }
    }
    if family == nil { family = try files.part("config.json")?.part("model_type")?.string() }
  }

  private static func side(_ part: FilePart) throws -> TextSide {
    guard let side = TextSide(rawValue: try part.string()) else { throw part.problem("this must be left or right") }
    return side
  }

  /// A token by its name, or with all that it says of itself.
  private static func token(_ part: FilePart) throws -> AddedToken {
    if case .string(let name) = part.value { return AddedToken(content: name, id: 0, isSpecial: true) }
    var token = AddedToken(content: try part.needed("content").string(), id: 0, isSpecial: true)
    token.isSingleWord = try part.bool("single_word", or: false)
    token.stripsLeft = try part.bool("lstrip", or: false)
    token.stripsRight = try part.bool("rstrip", or: false)
    token.isNormalized = try part.bool("normalized", or: false)
    return token
  }
}

/// The files of a folder.
private struct TokenizerFolder {
  let path: String

  func path(of name: String) -> String { path.isEmpty ? name : path.hasSuffix("/") ? path + name : "\(path)/\(name)" }

  func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(of: name)) }

  /// A file's content; nil where there is none.
  func bytes(_ name: String) throws -> [UInt8]? {
    let path = path(of: name)
    guard exists(name) else { return nil }
    // A pipe would let the program wait for ever, a device never end.
    let attributes = try? FileManager.default.attributesOfItem(
      atPath: URL(fileURLWithPath: path).resolvingSymlinksInPath().path)
    guard attributes?[.type] as? FileAttributeType == .typeRegular, let size = attributes?[.size] as? Int else {
      throw TokenizerError(file: path, "this is not a regular file")
    }
    guard size < 1 << 29 else { throw TokenizerError(file: path, "a file of \(size) bytes is no tokenizer") }
    guard let data = FileManager.default.contents(atPath: path) else {
      throw TokenizerError(file: path, "this cannot be read", remedy: "Check who may read it")
    }
    return Array(data)
  }

  /// A JSON file of the folder, as a whole; nil where there is none.
  func part(_ name: String) throws -> FilePart? {
    guard let bytes = try bytes(name) else { return nil }
    let file = path(of: name)
    return FilePart(value: try JSONValue(parsing: bytes, file: file), path: "", file: file)
  }

  /// The lines of a file, without the whitespace at their ends.
  static func lines(of bytes: [UInt8], file: String) throws -> [ArraySlice<UInt8>] {
    guard String(validating: bytes, as: UTF8.self) != nil else { throw TokenizerError(file: file, "this is not UTF-8") }
    var lines = bytes.split(separator: 10, omittingEmptySubsequences: false)
    if lines.last?.isEmpty == true { lines.removeLast() }
    return lines.map { line in
      let kept = line.lastIndex { ![9, 11, 12, 13, 32].contains($0) }
      return kept.map { line[...$0] } ?? line[line.startIndex..<line.startIndex]
    }
  }
}
