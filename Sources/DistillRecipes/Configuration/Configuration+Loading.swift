extension Configuration {
  /// Reads a recipe file. Relative paths in it are relative to the current folder; `~` is the home folder.
  ///
  /// - Parameters:
  ///   - overrides: changes such as `training.epochs=40`, made before anything is checked
  ///   - importsTeacher: whether what a teacher says comes from elsewhere: a recipe without a teacher is then one that
  ///     learns from the cache `labels/` and its name
  /// - Throws: `RecipeError` with everything that is wrong
  public static func load(
    path: String, overrides: [String] = [], importsTeacher: Bool = false
  ) throws -> Configuration {
    try parse(
      text: try RecipeFile.read(path), fileName: path, overrides: overrides, importsTeacher: importsTeacher)
  }

  /// Reads a recipe from text.
  ///
  /// - Parameters:
  ///   - fileName: for messages, and for the name of a recipe that has none
  ///   - overrides: changes such as `training.epochs=40`, made before anything is checked
  ///   - importsTeacher: as of `load`
  /// - Throws: `RecipeError` with everything that is wrong
  public static func parse(
    text: String, fileName: String = "recipe.yaml", overrides: [String] = [], importsTeacher: Bool = false
  ) throws -> Configuration {
    let source = RecipeSource(file: fileName, text: text)
    guard let tree = try RecipeNode.parse(text, source: source), !tree.isNull else {
      throw RecipeError([
        source.problem(at: nil, nil, "the recipe is empty", hint: "'distill init' writes one to start from")
      ])
    }
    guard tree.entries != nil else {
      throw RecipeError([
        source.problem(
          at: tree.location?.line, tree.location?.column,
          "a recipe is a map from keys to values, but this is \(tree.shown)",
          hint: "it begins with keys such as 'data:', 'teacher:' and 'student:'")
      ])
    }
    let log = RecipeLog(root: source)
    var changed = RecipeFile.applying(overrides, to: tree, log: log)
    let lacksTeacher = importsTeacher && changed["teacher"].map(\.isNull) ?? true
    if lacksTeacher { changed = RecipeFile.withImportedTeacher(changed, log: log) }
    guard var configuration = Configuration(tree: changed, fileName: fileName, log: log) else {
      throw RecipeError(log.sortedErrors)
    }
    if lacksTeacher { configuration.teacher?.cache = "labels/\(configuration.name)" }
    return configuration
  }
}

extension Configuration: Codable {
  /// As the tree that `yaml` prints.
  public func encode(to encoder: any Encoder) throws { try node.encode(to: encoder) }

  public init(from decoder: any Decoder) throws {
    let log = RecipeLog(root: RecipeSource(argument: "recipe"))
    guard let configuration = Configuration(tree: try RecipeNode(from: decoder), fileName: "recipe", log: log) else {
      throw RecipeError(log.sortedErrors)
    }
    self = configuration
  }
}

extension RecipeNode: Codable {
  private struct Key: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  func encode(to encoder: any Encoder) throws {
    switch content {
    case .map(let entries):
      var container = encoder.container(keyedBy: Key.self)
      for entry in entries { try container.encode(entry.value, forKey: Key(stringValue: entry.key)) }
    case .list(let items):
      var container = encoder.unkeyedContainer()
      for item in items { try container.encode(item) }
    case .scalar(let text, _):
      var container = encoder.singleValueContainer()
      if isNull {
        try container.encodeNil()
      } else if let value = intValue {
        try container.encode(value)
      } else if let value = numberValue {
        try container.encode(value)
      } else if let value = flagValue {
        try container.encode(value)
      } else {
        try container.encode(text)
      }
    }
  }

  init(from decoder: any Decoder) throws {
    if let container = try? decoder.container(keyedBy: Key.self) {
      self.init(
        .map(
          try container.allKeys.sorted { $0.stringValue < $1.stringValue }.map {
            Entry(key: $0.stringValue, keyLocation: nil, value: try container.decode(RecipeNode.self, forKey: $0))
          }))
      return
    }
    if var container = try? decoder.unkeyedContainer() {
      var items: [RecipeNode] = []
      while !container.isAtEnd { items.append(try container.decode(RecipeNode.self)) }
      self.init(.list(items))
      return
    }
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .flag(value)
    } else if let value = try? container.decode(Int.self) {
      self = .int(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else {
      self = .text(try container.decode(String.self))
    }
  }
}
