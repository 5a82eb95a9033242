import Distillation

extension Configuration {
  /// A part of what is done to a student, one after the other: hints and then soft targets, distil and then fine-tune on
  /// labels, an assistant between teacher and student.
  ///
  /// A stage says what is different in it; all else is the recipe's.
  public struct Stage: Sendable, Equatable {
    public var name: String
    public var start: Start
    /// All that holds in this stage.
    public var configuration: Configuration
    /// Whether it has a teacher, or a student, of its own.
    var hasOwnTeacher: Bool
    var hasOwnStudent: Bool
  }

  /// What the student has when a stage begins.
  public enum Start: Sendable, Equatable {
    /// What `student` says: random weights, or those of a file.
    case fresh
    /// What an earlier stage kept: its best or its last weights, as its `training.keep` says.
    case stage(Int)
  }

  /// The stages in their order; a recipe without any is one of its own.
  public var sequence: [Stage] {
    stages.isEmpty
      ? [Stage(name: "", start: .fresh, configuration: self, hasOwnTeacher: false, hasOwnStudent: false)] : stages
  }

  /// The numbers of the stages that the student of a stage has gone through, the stage itself last.
  func lineage(of index: Int) -> [Int] {
    guard case .stage(let before) = sequence[index].start else { return [index] }
    return lineage(of: before) + [index]
  }

  /// The number of times that the recipe's own student has been started before a stage. Each time it has other random
  /// weights.
  func freshStarts(before index: Int) -> Int {
    sequence[..<index].count { $0.start == .fresh && !$0.hasOwnStudent }
  }

  /// What a stage is about, in a line: `soft targets, hard labels; from assistant; only output; goes on after hints`.
  func description(ofStage index: Int) -> String {
    let stage = sequence[index]
    let recipe = stage.configuration
    var parts = [recipe.terms.map { $0.name.replacing("_", with: " ") }.joined(separator: ", ")]
    if recipe.terms.contains(where: \.needsTeacher) || recipe.data.teacherText != nil, let teacher = recipe.teacher {
      var names = teacher.members.compactMap(\.stage)
      if names.count < teacher.members.count || names.isEmpty {
        names.insert(stage.hasOwnTeacher ? "a teacher of its own" : "the teacher", at: 0)
      }
      parts.append("from \(names.joined(separator: " and "))")
    }
    if recipe.data.teacherText != nil { parts.append("on text that the teacher wrote") }
    if let own = recipe.training.onPolicy {
      parts.append("on its own text in \(Quantity.percent(own.rate, decimals: 0)) of the steps")
    }
    if recipe.student != student, let model = recipe.student.model {
      parts.append("trains another \(model.architecture)")
    }
    if let trained = recipe.training.parts.trained { parts.append("only \(trained.joined(separator: ", "))") }
    if !recipe.training.parts.frozen.isEmpty {
      parts.append("without \(recipe.training.parts.frozen.joined(separator: ", "))")
    }
    if recipe.data.choiceWords != data.choiceWords, !recipe.data.choiceWords.isEmpty {
      parts.append(String(recipe.data.choiceWords.dropFirst(2)))
    }
    if recipe.data.also != data.also, !recipe.data.also.isEmpty {
      let names = recipe.data.also.map { $0.dataset ?? $0.path ?? "" }
      parts.append("also on \(names.joined(separator: ", "))")
    }
    if recipe.data.munge != nil, data.munge == nil { parts.append("also on rows made by MUNGE") }
    if case .stage(let before) = stage.start { parts.append("goes on after \(sequence[before].name)") }
    return parts.joined(separator: "; ")
  }

  /// The stages whose students teach in a stage, by their names.
  func teachingStages(of index: Int) -> [String: Int] {
    let names = (sequence[index].configuration.teacher?.members ?? []).compactMap(\.stage)
    return Dictionary(
      names.compactMap { name in sequence[..<index].firstIndex { $0.name == name }.map { (name, $0) } }
    ) { first, _ in first }
  }
}

// MARK: - Reading

extension Configuration {
  static let stageSections = ["data", "teacher", "student", "terms", "alpha", "training"]
  /// What the whole run has one of.
  static let sharedDataKeys = [
    "dataset", "path", "image_size", "shorter_side", "interpolation", "channels", "label_column", "text_column",
    "pair_column", "tokenizer", "unit", "length", "test_fraction", "validation", "normalize",
  ]

  /// Reads the stages of a recipe whose other parts are read already.
  mutating func readStages(fileName: String, log: RecipeLog) {
    guard let items = RecipeReader(node: tree["stages"] ?? .null, path: "stages", log: log).list() else { return }
    guard !items.isEmpty else {
      log.report(
        "stages is empty", hint: "leave it out, or give at least one", path: "stages", at: tree["stages"]?.location)
      return
    }
    for (index, item) in items.enumerated() {
      if let stage = readStage(item, number: index, fileName: fileName, log: log) { stages.append(stage) }
    }
    guard stages.count == items.count, let last = items.last else { return }
    if trained(by: stages.count - 1) != student {
      last.report(
        "the last stage trains another student than the recipe's",
        hint: "the recipe's student comes last: put the stages of others, such as assistants, before its own")
    }
  }

  private func readStage(_ item: RecipeReader, number: Int, fileName: String, log: RecipeLog) -> Stage? {
    guard let map = item.map(hint: "write it as {name: hints, terms: [...], training: {epochs: 10}}") else {
      return nil
    }
    let name = map.text("name") ?? "stage \(number + 1)"
    let from = map.value("from")
    for section in Self.stageSections { _ = map.value(section) }
    map.finish()
    if stages.contains(where: { $0.name == name }) {
      map.reportValue("name", "two stages have the name '\(name)'", hint: "give each its own")
      return nil
    }
    if name == Self.freshStart {
      map.reportValue("name", "a stage cannot be called '\(name)'", hint: "that is what 'from' calls the beginning")
      return nil
    }
    if let data = map.value("data")?.map() {
      for key in Self.sharedDataKeys where data.contains(key) {
        data.report(key, "\(data.path(to: key)) cannot differ from stage to stage", hint: "the whole run has one")
      }
    }
    if let teacher = map.value("teacher")?.map(), teacher.contains("specialists") {
      teacher.report(
        "specialists", "the teacher of a stage has no specialists of its own",
        hint: "only the recipe's teacher has: write them there")
    }
    // Laid over the recipe's, the later one of the two would count.
    if let training = map.value("training")?.map(), training.value("epochs") != nil, training.value("steps") != nil {
      training.report(
        "steps", "\(training.path(to: "epochs")) and \(training.path(to: "steps")) are both there",
        hint: "keep one of them")
    }
    if let teacher = map.value("teacher")?.map(), teacher.contains("training") {
      teacher.report(
        "training", "the teacher of a stage is not trained by it",
        hint: "train it in a stage before, and name that: teacher: {stage: ...}")
    }
    let hasOwnStudent = map.value("student") != nil
    guard let start = readStart(from, hasOwnStudent: hasOwnStudent, of: map) else { return nil }
    guard log.errors.isEmpty else { return nil }

    var tree = treeOfStage(item.node)
    // Another student than the recipe's goes on as what it is.
    if case .stage(let before) = start, stages[before].configuration.student != student {
      tree = tree.replacing("student", with: stages[before].configuration.student.node)
    }
    log.context = "in the stage '\(name)': "
    defer { log.context = "" }
    guard let configuration = Configuration(tree: tree, fileName: fileName, log: log, isStage: true) else { return nil }
    for (index, member) in (configuration.teacher?.members ?? []).enumerated() {
      guard let wanted = member.stage, !stages.contains(where: { $0.name == wanted }) else { continue }
      let place = configuration.teacher?.isEnsemble ?? false ? "teacher.members[\(index)].stage" : "teacher.stage"
      let node = item.node.node(at: place) ?? item.node
      RecipeReader(node: node, path: "\(item.path).\(place)", log: log)
        .report("there is no earlier stage '\(wanted)'", hint: hintForStages)
    }
    return Stage(
      name: name, start: start, configuration: configuration, hasOwnTeacher: map.contains("teacher"),
      hasOwnStudent: hasOwnStudent)
  }

  private static let freshStart = "start"

  private var hintForStages: String {
    stages.isEmpty ? "it is the first" : "before it come \(stages.map { "'\($0.name)'" }.joined(separator: ", "))"
  }

  /// Where nothing is said the recipe's student goes on from the last stage that it went through; another one begins.
  private func readStart(_ reader: RecipeReader?, hasOwnStudent: Bool, of map: RecipeMap) -> Start? {
    guard let reader else {
      if hasOwnStudent { return .fresh }
      return stages.indices.last(where: trainsOwnStudent).map { .stage($0) } ?? .fresh
    }
    guard let name = reader.text() else { return nil }
    if name == Self.freshStart { return .fresh }
    guard let index = stages.firstIndex(where: { $0.name == name }) else {
      reader.report("there is no earlier stage '\(name)'", hint: "\(hintForStages); or: from: start")
      return nil
    }
    if hasOwnStudent {
      map.report(
        "student", "\(map.path(to: "student")) and \(reader.path) are both there",
        hint: "a stage goes on with the student of another, or begins with one of its own")
      return nil
    }
    return .stage(index)
  }

  /// Whether a stage trains the recipe's own student: not one that a stage has begun itself, however alike.
  private func trainsOwnStudent(_ index: Int) -> Bool {
    guard case .stage(let before) = stages[index].start else { return !stages[index].hasOwnStudent }
    return trainsOwnStudent(before)
  }

  /// Whom a stage trains.
  private func trained(by index: Int) -> Student { stages[index].configuration.student }

  /// The recipe's tree with what a stage says in it.
  private func treeOfStage(_ stage: RecipeNode) -> RecipeNode {
    var result = tree
    if case .map(let entries) = result.content {
      result.content = .map(entries.filter { !["stages", "settings", "alone", "description"].contains($0.key) })
    }
    for entry in stage.entries ?? [] where Self.stageSections.contains(entry.key) {
      switch entry.key {
      case "data" where !entry.value.isNull, "training" where !entry.value.isNull:
        result = result.replacing(entry.key, with: result[entry.key]?.overlaid(with: entry.value) ?? entry.value)
      case "terms" where !entry.value.isNull:
        if stage["alpha"] == nil { result = result.replacing("alpha", with: nil) }
        result = result.replacing("terms", with: entry.value)
      // Only a teacher can be taken away.
      case "data", "training", "terms": break
      case "student" where entry.value.isNull, "alpha" where entry.value.isNull: break
      default:
        result = result.replacing(entry.key, with: entry.value)
      }
    }
    return result
  }
}

extension RecipeNode {
  /// The map with another value for a key; nil takes it out.
  func replacing(_ key: String, with value: RecipeNode?) -> RecipeNode {
    guard case .map(var entries) = content else { return self }
    if let index = entries.firstIndex(where: { $0.key == key }) {
      if let value { entries[index].value = value } else { entries.remove(at: index) }
    } else if let value {
      entries.append(Entry(key: key, keyLocation: value.location, value: value))
    }
    var result = self
    result.content = .map(entries)
    return result
  }

  /// The map with the keys of another on top. An optimizer or schedule of another kind takes the place of the whole one.
  fileprivate func overlaid(with other: RecipeNode) -> RecipeNode {
    guard let entries = other.entries, self.entries != nil else { return other }
    var result = self
    for entry in entries {
      var value = entry.value
      if ["optimizer", "schedule"].contains(entry.key), value["kind"] == nil, let own = result[entry.key] {
        value = own.overlaid(with: value)
      }
      if let path = RecipePath(entry.key), let changed = try? result.setting(path, to: value) { result = changed }
    }
    result.location = other.location ?? location
    return result
  }
}

// MARK: - Printing

extension Configuration.Stage {
  func node(in recipe: Configuration) -> RecipeNode {
    let from: String =
      switch start {
      case .fresh: "start"
      case .stage(let index): recipe.stages[index].name
      }
    return .map([
      "name": .text(name),
      "from": hasOwnStudent ? nil : .text(from),
      "data": configuration.data.nodeOfStage(in: recipe.data),
      "teacher": hasOwnTeacher ? configuration.teacher?.node ?? .null : nil,
      "student": hasOwnStudent ? configuration.student.node : nil,
      "terms": .list(configuration.terms.map { $0.node(withWeight: configuration.alpha == nil) }),
      "alpha": configuration.alpha.map { .number($0) },
      "training": configuration.training.node(inStageOf: recipe),
    ])
  }
}

extension Configuration.Training {
  /// With what a stage takes back of the recipe's.
  fileprivate func node(inStageOf recipe: Configuration) -> RecipeNode {
    var result = nodeOfStudent
    if parts.trained == nil, recipe.training.parts.trained != nil { result = result.replacing("only", with: .null) }
    if parts.frozen.isEmpty, !recipe.training.parts.frozen.isEmpty {
      result = result.replacing("freeze", with: .list([]))
    }
    if onPolicy == nil, recipe.training.onPolicy != nil { result = result.replacing("on_policy", with: .null) }
    return result
  }
}
