import DistillData
import DistillModels
import Distillation

extension Configuration {
  /// Reads a recipe's tree. Problems go to the log; nil when there are errors.
  ///
  /// - Parameter isStage: whether it is what holds in a stage of another recipe
  init?(tree: RecipeNode, fileName: String, log: RecipeLog, isStage: Bool = false) {
    guard let map = RecipeReader(node: tree, path: "", log: log).map() else { return nil }
    // In the order of the file, so that the hints for unknown keys list them so.
    name = map.text("name") ?? Self.name(fromFile: fileName)
    description = map.text("description")
    seeds = Self.readSeeds(map)
    device = Self.readDevice(map)
    threads = map.int("threads", .from(1, to: 1024))
    parallel = map.int("parallel", .from(1, to: 256)) ?? 1
    output = map.path("output")
    if output == nil, let problem = Self.problem(asFolder: name) {
      map.reportValue(
        "name", "the name \(RecipeNode.text(name).shown) is also that of the run folder, and \(problem)",
        hint: "take another, or say where the run goes: output: runs/...")
    }
    compare = map.flag("compare") ?? true
    data = Data(map.section("data", hint: "write 'data: {dataset: digits}'"))
    let isValidated = !data.validation.isNone
    var training = Training.standard
    training.keep = isValidated ? .best : .last
    // How often the likeliest next token is right says little of how well a text is known.
    if data.text != nil { training.metric = .loss }
    let teacherMap = map.section("teacher", isOptional: true)
    let studentMap = map.section("student", hint: "write 'student: {model: {architecture: ...}}'")
    let termsReader = map.value("terms")
    let alphaReader = map.value("alpha")
    training = Training(map.section("training", isOptional: true), base: training, role: .student, device: device)
    teacher = nil
    if let teacherMap { teacher = Teacher(teacherMap, base: training, device: device) }
    student = Student(studentMap)
    if var texts = data.labelledText, texts.tokenizer == nil {
      texts.tokenizer = Self.usualTokenizer(teacher, student)
      data.labelledText = texts
    }
    (terms, alpha) = Term.read(termsReader, alpha: alphaReader)
    var alone = training
    if let term = terms.last(where: { $0.name == HardLabels.kind.name }),
      case .number(let smoothing) = term.options["label_smoothing"]
    {
      alone.labelSmoothing = smoothing
    }
    // A classifier that learns nothing has no best round.
    if !terms.isEmpty, tree.node(at: "training.keep") == nil, !terms.contains(where: \.looksAtOutputs) {
      training.keep = .last
    }
    self.alone = Training(map.section("alone", isOptional: true), base: alone, role: .alone, device: device)
    self.training = training
    stages = []
    let stagesReader = map.value("stages")
    settings = Setting.read(map.value("settings"))
    warnings = []
    self.tree = tree
    chosen = nil
    map.finish()
    check(map, hasTerms: termsReader != nil, isStage: isStage)
    guard log.errors.isEmpty else { return nil }
    if stagesReader != nil { readStages(fileName: fileName, log: log) }
    guard log.errors.isEmpty else { return nil }
    checkSettings(fileName: fileName, log: log)
    guard log.errors.isEmpty else { return nil }
    warnings = log.sortedWarnings
  }

  private static func name(fromFile path: String) -> String {
    let last = path.split(separator: "/").last ?? "recipe"
    let stem = last.hasSuffix(".yaml") ? last.dropLast(5) : last.hasSuffix(".yml") ? last.dropLast(4) : last
    return stem.isEmpty || problem(asFolder: String(stem)) != nil ? "recipe" : String(stem)
  }

  /// Why a text cannot be the name of a folder.
  private static func problem(asFolder name: String) -> String? {
    if name == "." || name == ".." { return "'\(name)' is a folder that is there already" }
    if name.contains("/") { return "it has a / in it" }
    if name.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) {
      return "it has control characters in it"
    }
    // Systems take 255 bytes; the names of files that are written beside it are longer.
    if name.utf8.count > 200 { return "it is too long for one: \(name.utf8.count) bytes, where 200 are allowed" }
    return nil
  }

  private static func readSeeds(_ map: RecipeMap) -> [Int] {
    let one = map.value("seed")
    let several = map.value("seeds")
    if one != nil, several != nil {
      map.report("seed", "seed and seeds are both there", hint: "keep one of them")
      return [1]
    }
    if let one { return one.int(.notNegative).map { [$0] } ?? [1] }
    guard let several else { return [1, 2, 3] }
    guard let seeds = several.ints(.notNegative, orOne: true) else { return [1] }
    if seeds.isEmpty { several.report("seeds is empty", hint: "give at least one, such as [1, 2, 3]") }
    for (index, seed) in seeds.enumerated() where seeds[..<index].contains(seed) {
      several.log.report(
        "the seed \(seed) is there twice", hint: "the same seed gives the same result", path: "seeds[\(index)]",
        at: several.node.items?[index].location ?? several.node.location)
    }
    return seeds
  }

  private static func readDevice(_ map: RecipeMap) -> String {
    guard let reader = map.value("device"), let text = reader.text() else { return "cpu" }
    guard text.wholeMatch(of: /cpu|mps|cuda(:[0-9]{1,3})?/) != nil else {
      reader.reportMismatch("cpu, cuda, cuda:N (the number of a card) or mps")
      return "cpu"
    }
    return text
  }
}

extension RecipeMap {
  /// A part of the recipe: an empty one stands in for what is missing or not a map.
  func section(_ key: String, hint: String) -> RecipeMap {
    required(key, hint: hint)?.map() ?? missing(key)
  }

  func section(_ key: String, isOptional: Bool) -> RecipeMap? { value(key)?.map() }

  /// Whatever is asked of it, it has not, and complains of nothing.
  private func missing(_ key: String) -> RecipeMap {
    RecipeMap(RecipeReader(node: .map([:]), path: path(to: key), log: RecipeLog(root: reader.log.root)))
  }

  /// A file or folder; `~` is the home folder.
  func path(_ key: String) -> String? { text(key).map(RecipeFile.expandingHome) }

  /// An option that may be switched off with `null`.
  func optional<Value>(_ key: String, base: Value?, _ read: (RecipeReader) -> Value?) -> Value? {
    if let value = value(key) { return read(value) ?? base }
    return contains(key) ? nil : base
  }
}

// MARK: - Models

extension Configuration.Model {
  /// The options are those of the architecture, and checked one by one, so that each problem has its place.
  static func read(_ reader: RecipeReader) -> Self? {
    guard let map = reader.map(hint: "write it as {architecture: \(RecipeReference.architectures.first ?? "")}") else {
      return nil
    }
    let name = map.required("architecture", hint: RecipeReference.architectureHint)
      .flatMap { $0.choice(of: RecipeReference.architectures) }
    guard let architecture = ModelZoo.architectures.first(where: { $0.name == name }) else { return nil }
    var options: [String: OptionValue] = [:]
    for option in architecture.options {
      guard let value = map.value(option.name) else { continue }
      guard let given = read(option, value) else { continue }
      let trial = ModelSpecification(
        architecture.name, [option.name: given], inputShape: architecture.trialShape, classCount: 10)
      if (try? ModelZoo.resolve(trial)) == nil {
        value.reportMismatch(option.allowed)
      } else {
        options[option.name] = given
      }
    }
    map.finish()
    let complete = ModelSpecification(architecture.name, options, inputShape: architecture.trialShape, classCount: 10)
    guard let resolved = try? ModelZoo.resolve(complete) else { return nil }
    return Self(architecture: architecture.name, options: resolved.options)
  }

  /// A value as it stands there; nil, and a problem in the log, if an option cannot be like this.
  private static func read(_ option: ModelOption, _ reader: RecipeReader) -> OptionValue? {
    if case .model = option.kind {
      return read(reader).map { .model(InnerModel($0.architecture, $0.options)) }
    }
    let value = OptionValue(reader.node)
    if value == nil { reader.reportMismatch(option.allowed) }
    return value
  }
}

extension OptionValue {
  init?(_ node: RecipeNode) {
    switch node.content {
    case .map: return nil
    case .list(let items):
      let values = items.compactMap(\.intValue)
      guard values.count == items.count else { return nil }
      self = .integers(values)
    case .scalar(let text, _):
      guard !node.isNull else { return nil }
      if let value = node.intValue {
        self = .integer(value)
      } else if let value = node.numberValue {
        self = .number(value)
      } else if let value = node.flagValue {
        self = .flag(value)
      } else {
        self = .text(text)
      }
    }
  }
}

// MARK: - Settings

extension Configuration.Setting {
  static func read(_ reader: RecipeReader?) -> [Self] {
    guard let reader, let items = reader.list() else { return [] }
    var settings: [Self] = []
    for item in items {
      guard let map = item.map() else { continue }
      let name = map.required("name", hint: "a word for the row of the table")?.text()
      var changes: [Change] = []
      if let set = map.value("set")?.map(hint: "write it as {data.labels: 0.03}") {
        for key in set.keys {
          let value = RecipeReader(node: set.reader.node[key] ?? .null, path: set.path(to: key), log: reader.log)
          let first = key.prefix { $0 != "." && $0 != "[" }
          if ["settings", "name", "output", "description"].contains(first) {
            set.report(key, "a setting cannot change '\(first)'", hint: "the whole run has one")
          } else {
            changes.append(Change(path: key, value: value.node))
          }
        }
      }
      map.finish()
      guard let name else { continue }
      if settings.contains(where: { $0.name == name }) {
        map.reportValue("name", "two settings have the name '\(name)'", hint: "give each its own")
      }
      settings.append(Self(name: name, changes: changes))
    }
    return settings
  }
}
