import Distillation

extension Configuration {
  /// What can be said without looking at any file, beyond single values.
  ///
  /// - Parameter isStage: whether it is what holds in a stage of another recipe
  func check(_ map: RecipeMap, hasTerms: Bool, isStage: Bool) {
    let log = map.reader.log
    func report(
      _ path: String, _ message: String, hint: String? = nil, severity: RecipeError.Problem.Severity = .error
    ) {
      log.report(message, hint: hint, path: path, at: tree.location(near: path), severity: severity)
    }
    if !isStage, let stage = (teacher?.members ?? []).compactMap(\.stage).first {
      report(
        "teacher", "the stage '\(stage)' can only teach in a later stage",
        hint: "say so there: stages: [..., {teacher: {stage: \(stage)}}]")
    }
    let hasStages = tree["stages"].map { !$0.isNull } ?? false
    if !hasStages { checkTeacher(hasTerms: hasTerms, isStage: isStage) { report($0, $1, hint: $2, severity: $3) } }
    if data.validation.isNone {
      for (section, training) in trainings {
        if training.keep == .best, tree.node(at: "\(section).keep") != nil {
          report(
            "\(section).keep", "\(section).keep: best needs validation examples, and data.validation is 0",
            hint: "hold some out (data.validation: 0.1): the test split is not for choosing")
        }
        if training.earlyStop != nil, tree.node(at: "\(section).early_stop") != nil {
          report(
            "\(section).early_stop", "\(section).early_stop needs validation examples, and data.validation is 0",
            hint: "hold some out: data.validation: 0.1")
        }
      }
    }
    if !hasStages { checkTransferSet { report($0, $1, hint: $2, severity: $3) } }
    if !hasStages { checkText { report($0, $1, hint: $2, severity: $3) } }
    for (index, term) in terms.enumerated() where !hasStages && training.length.ends(before: term.start) {
      report(
        "terms[\(index)].\(term.name).start",
        "terms[\(index)] never counts: it begins after \(term.start.words), and the training has "
          + training.length.words, severity: .warning)
    }
    guard !isStage else { return }
    if seeds.count == 1, compare {
      report(
        tree["seed"] == nil ? "seeds" : "seed", "one seed cannot tell a gain from luck",
        hint: "three or more give an interval: seeds: [1, 2, 3]", severity: .warning)
    }
    if !compare, tree["alone"].map({ !$0.isNull }) ?? false {
      report("alone", "alone has no effect: compare is false", severity: .warning)
    }
  }

  private var trainings: [(section: String, training: Training)] {
    [("training", training), ("alone", alone)] + (teacher?.training.map { [("teacher.training", $0)] } ?? [])
  }

  private func checkTeacher(
    hasTerms: Bool, isStage: Bool, _ report: (String, String, String?, RecipeError.Problem.Severity) -> Void
  ) {
    guard let teacher else {
      guard tree["teacher"]?.isNull ?? true else { return }
      if let key = student.keyThatNeedsTeacher {
        report("student.\(key)", "student.\(key) takes from the teacher, and there is none", "give a teacher", .error)
      }
      if let index = terms.firstIndex(where: \.needsTeacher) {
        let place = hasTerms ? "terms[\(index)] (\(terms[index].name)) needs" : "the default terms need"
        report(
          hasTerms ? "terms[\(index)]" : "teacher", "\(place) a teacher, and the recipe has none",
          "add 'teacher: {weights: path}', or 'distill train' trains a model without one", .error)
      }
      return
    }
    if !isStage, !terms.isEmpty, !terms.contains(where: \.needsTeacher), data.teacherText == nil,
      teacher.mean?.result != .mean
    {
      report("teacher", "no term uses the teacher", "add '- soft_targets: {temperature: 4}' to terms", .warning)
    }
    for (index, term) in terms.enumerated() {
      guard let name = term.teacher else { continue }
      let place = "terms[\(index)].\(term.name).teacher"
      if !term.needsTeacher {
        report(place, "\(place) has no effect: \(term.name) does not look at a teacher", "leave it out", .error)
      } else if !teacher.hasNames {
        report(place, "\(place) chooses a member of an ensemble, and there is one teacher", "leave it out", .error)
      } else if !teacher.names.contains(name) {
        report(
          place, "the teacher has no member '\(name)'", "there are \(teacher.names.joined(separator: ", "))", .error)
      }
    }
    checkPeers(teacher, report)
    if teacher.specialists != nil,
      let index = terms.firstIndex(where: { ((try? $0.entry().term.teacherTaps) ?? []).isEmpty == false })
    {
      report(
        "terms[\(index)]",
        "terms[\(index)] (\(terms[index].name)) looks at layers of the teacher, and specialists have "
          + "none in common", "take it out, or teacher.specialists", .error)
    }
    if !teacher.peers.isEmpty {
      for (key, isThere) in [
        ("training.early_stop", training.earlyStop != nil), ("training.only", training.parts.trained != nil),
        ("training.freeze", !training.parts.frozen.isEmpty),
      ] where isThere {
        report(
          key, "\(key) is not possible with teacher.peers",
          "students that learn from each other stop together, and train all of their parts", .error)
      }
    }
    checkStart(teacher) { report($0, $1, $2, .error) }
    guard let smoothing = teacher.training?.labelSmoothing, smoothing > 0 else { return }
    for (index, term) in terms.enumerated() {
      guard let temperature = term.highestTemperature, temperature > 2 else { continue }
      report(
        "terms[\(index)].\(term.name).temperature",
        "the teacher is trained with label smoothing, and its soft targets are used above temperature 2",
        "label smoothing wipes out what high temperatures would show: train the teacher without it", .warning)
    }
  }

  /// A student that starts from its teacher needs one whose weights are there when it starts.
  private func checkStart(_ teacher: Teacher, _ report: (String, String, String?) -> Void) {
    guard let key = student.keyThatNeedsTeacher else { return }
    if teacher.members.count != 1 || teacher.members.first?.stage != nil {
      report(
        "student.\(key)", "student.\(key) takes from a teacher that is one model with weights or training",
        "this one is \(teacher.members.isEmpty ? "made of students" : "an ensemble, or the student of a stage")")
    }
    if teacher.members.first?.hasOtherClasses ?? false {
      report("student.\(key)", "student.\(key) takes from a teacher that knows the data's classes", nil)
    }
  }

  /// Whom the terms of each peer choose to learn from.
  private func checkPeers(
    _ teacher: Teacher, _ report: (String, String, String?, RecipeError.Problem.Severity) -> Void
  ) {
    for (number, peer) in teacher.peers.enumerated() {
      let others = [Peer.student] + teacher.names.filter { $0 != peer.name }
      for (index, term) in (peer.terms ?? terms).enumerated() {
        guard let name = term.teacher else { continue }
        let place = "teacher.peers[\(number)].terms[\(index)].\(term.name).teacher"
        if peer.terms == nil {
          guard name == peer.name else { continue }
          report(
            "terms[\(index)].\(term.name).teacher",
            "the peer '\(name)' has no terms of its own, and by the recipe's it would learn from itself",
            "say what it learns: teacher.peers[\(number)].terms", .error)
        } else if !term.needsTeacher {
          report(place, "\(place) has no effect: \(term.name) does not look at a teacher", "leave it out", .error)
        } else if !others.contains(name) {
          report(
            place, "the peer '\(peer.name)' cannot learn from '\(name)'",
            "it learns from \(others.joined(separator: ", "))", .error)
        }
      }
    }
  }

  private func checkTransferSet(
    _ report: (String, String, String?, RecipeError.Problem.Severity) -> Void
  ) {
    if data.teacherView != .same, !data.augmentation.isEmpty {
      for (index, term) in terms.enumerated() where ((try? term.entry().term.teacherTaps) ?? []).isEmpty == false {
        report(
          "terms[\(index)]",
          "terms[\(index)] (\(term.name)) looks at layers, and data.teacher_view is \(data.teacherView.rawValue): places in "
            + "the teacher's maps are not those in the student's", "data.teacher_view: same", .warning)
      }
    }
    for (key, source) in [("training", training.correctBias), ("alone", alone.correctBias)] where source != .none {
      if key == "alone", !compare || tree.node(at: "alone.correct_bias") == nil { continue }
      let key = "\(key).correct_bias"
      if data.validation.isNone {
        report(
          key, "\(key) needs validation examples, and data.validation is 0",
          "hold some out (data.validation: 0.1): the test split is not for choosing", .error)
      }
      if source == .prior, teacher?.members.isEmpty ?? true {
        report(
          key, "\(key): prior goes by the teacher's predictions, and no teacher is there before the training",
          "\(key): labels", .error)
      }
      if data.leaveOut.isEmpty, !data.fractions.values.contains(0), settings.isEmpty {
        report(key, "\(key) has no effect: no class is left out", "it is for data.leave_out", .warning)
      }
    }
  }

  /// Each setting must give a recipe without problems too.
  func checkSettings(fileName: String, log: RecipeLog) {
    for setting in settings { _ = Configuration(tree: tree(of: setting, log: log), fileName: fileName, log: log) }
  }

  private func tree(of setting: Setting, log: RecipeLog) -> RecipeNode {
    var tree = tree
    if case .map(let entries) = tree.content { tree.content = .map(entries.filter { $0.key != "settings" }) }
    for change in setting.changes {
      guard let path = RecipePath(change.path) else {
        log.report(
          "'\(change.path)' in the setting '\(setting.name)' is no key", hint: "such as data.labels", path: "settings",
          at: change.value.location)
        continue
      }
      tree = RecipeFile.apply(path, change.value, to: tree, log: log)
    }
    return tree
  }

  /// The recipe of one setting: all that the recipe says, changed by what the setting says.
  ///
  /// - Throws: `RecipeError` when a change does not fit.
  public func resolved(setting: Setting) throws -> Configuration {
    let log = RecipeLog(root: RecipeSource(file: "\(name), setting \(setting.name)", text: ""))
    var base = self
    base.tree = sourceTree
    let result = Configuration(tree: base.tree(of: setting, log: log), fileName: name, log: log)
    guard var result, log.errors.isEmpty else { throw RecipeError(log.sortedErrors) }
    result.name = name
    return chosen.map { result.applying($0) } ?? result
  }

  /// The recipe of the setting with a name.
  public func resolved(setting name: String) throws -> Configuration {
    guard let setting = settings.first(where: { $0.name == name }) else {
      let names = settings.isEmpty ? "it has none" : "it has \(settings.map { "'\($0.name)'" }.joined(separator: ", "))"
      throw RecipeError([
        RecipeError.Problem(
          file: self.name, path: "settings", message: "the recipe has no setting '\(name)'", hint: names)
      ])
    }
    return try resolved(setting: setting)
  }

  /// Every setting with its recipe; the recipe itself, without a name, where there are none.
  public func resolvedSettings() throws -> [(name: String?, configuration: Configuration)] {
    guard !settings.isEmpty else { return [(nil, self)] }
    return try settings.map { ($0.name, try resolved(setting: $0)) }
  }

  /// What the recipe's file said, or all that holds where the program has changed something since.
  private var sourceTree: RecipeNode {
    let log = RecipeLog(root: RecipeSource(file: name, text: ""))
    let read = Configuration(tree: tree, fileName: name, log: log)
    return chosen.map({ read?.applying($0) }) ?? read == self ? tree : node
  }
}
