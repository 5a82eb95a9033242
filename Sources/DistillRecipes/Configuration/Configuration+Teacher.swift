import Distillation

// The section `teacher` of a recipe: reading, printing and checking it.

extension Configuration.Teacher {
  init(_ map: RecipeMap, base: Configuration.Training, device: String) {
    let model = map.value("model").flatMap { Configuration.Model.read($0) }
    var only = Configuration.Member(
      model: model, weights: map.path("weights"), stage: map.text("stage"), weight: 1)
    only.program = Configuration.Program(map)
    if let classes = map.value("classes") { only.readClasses(classes) }
    let several = map.value("members")
    average = map.choice("average") ?? .arithmetic
    weighting = map.value("weighting").flatMap(Configuration.Weighting.read) ?? .fixed
    noise = map.value("noise").flatMap(Configuration.Noise.read)
    mean = map.value("mean").flatMap(Configuration.MeanOfStudent.read)
    peers = map.value("peers").map(Configuration.Peer.read) ?? []
    precompute = map.choice("precompute") ?? .auto
    precision = Self.readPrecision(map, device)
    cache = map.path("cache")
    training = map.value("training")?.map().map {
      Configuration.Training($0, base: base, role: .teacher, device: device)
    }
    // What was kept teaches without a model.
    let isCacheAlone = cache != nil && ["model", "weights", "stage", "training"].allSatisfy { map.value($0) == nil }
    members = several.map(Configuration.Member.read) ?? (isCacheAlone ? [] : [only])
    specialists = map.value("specialists").flatMap {
      Configuration.Specialists.read($0, base: training ?? base, device: device)
    }
    map.finish()
    checkKind(map)
  }

  private static let automatic = "auto"
  private static let precisions: [TeacherPrecision] = [.float32, .bfloat16, .int8]

  private static func readPrecision(_ map: RecipeMap, _ device: String) -> TeacherPrecision? {
    let name = map.value("precision")?.choice(of: [automatic] + precisions.map(\.rawValue))
    let precision = name.flatMap(TeacherPrecision.init(rawValue:))
    if precision == .int8, device != "cpu" {
      map.reportValue("precision", "int8 is for cpu, and the device is \(device)", hint: "use bfloat16 or float32")
    }
    return precision
  }

  private static let kinds = ["members", "mean", "peers"]
  /// What is said of one model.
  private static let ofOne = ["model", "weights", "stage", "training", "classes"] + Configuration.Program.keys

  /// There is one kind of teacher, and what is said fits it.
  private mutating func checkKind(_ map: RecipeMap) {
    let given = Self.kinds.filter { map.value($0) != nil }
    let alone = Self.ofOne.filter { map.value($0) != nil }
    if given.count > 1 {
      map.reportBoth(given[1], given[0])
      return
    }
    if let kind = given.first {
      for key in alone {
        if kind == "members", key == "training" {
          map.reportBoth(key, kind, hint: "members are not trained here: make each with a recipe of its own")
        } else {
          map.reportBoth(key, kind)
        }
      }
      if kind != "members" {
        members = []
        for key in ["noise", "precompute", "precision", "cache", "specialists"] where map.value(key) != nil {
          map.report(
            key, "\(map.path(to: key)) has no effect: what students say is known in their step only",
            hint: "it is for teachers that are there before the training")
        }
      }
    } else {
      checkOnly(map)
    }
    if given.first == "members", cache != nil {
      map.reportBoth("cache", "members", hint: "a cache is of one teacher")
    }
    if given.first == "members", specialists != nil {
      map.reportBoth("specialists", "members", hint: "specialists are made of one generalist")
    }
    if members.count < 2 {
      for key in ["average", "weighting"] where map.value(key) != nil {
        map.report(
          key,
          given == ["peers"]
            ? "\(map.path(to: key)) has no effect: peers count alike, by the mean of their probabilities"
            : "\(map.path(to: key)) has no effect: there is one teacher", hint: "it is for 'members'",
          severity: .warning)
      }
    }
    for (index, name) in names.enumerated() where names[..<index].contains(name) {
      map.report(
        given.first ?? "members", "two of the teacher's members have the name '\(name)'", hint: "give each its own")
    }
  }

  /// A single model.
  private func checkOnly(_ map: RecipeMap) {
    if cache != nil {
      let others = ["stage", "training", "specialists"].filter { map.value($0) != nil }
      for key in others {
        map.reportBoth(
          key, "cache", hint: "a cache holds what a teacher said whose weights are there, or one of elsewhere")
      }
      if members.isEmpty, precision != nil {
        map.report(
          "precision", "teacher.precision has no effect: what teacher.cache holds was computed before",
          hint: "leave it out")
      }
      if others.isEmpty, map.value("model") != nil, map.value("weights") == nil {
        map.report("model", "teacher.model has no effect: teacher.cache says all that it would", hint: "leave it out")
      }
      return
    }
    if members.first?.stage != nil {
      for key in Self.ofOne where key != "stage" && map.value(key) != nil { map.reportBoth(key, "stage") }
    } else if map.value("weights") == nil, map.value("training") == nil {
      map.reader.report(
        "the teacher has neither weights nor training",
        hint: "say where its weights are (weights: path), or how it is trained (training: {epochs: 20})")
    } else if map.value("training") != nil, map.value("model") == nil {
      map.report("training", "a teacher that is trained needs teacher.model", hint: "add 'model: {architecture: ...}'")
    }
  }
}

extension RecipeMap {
  /// Two keys that exclude each other.
  fileprivate func reportBoth(_ key: String, _ other: String, hint: String = "keep one of them") {
    report(key, "\(path(to: key)) and \(path(to: other)) are both there", hint: hint)
  }
}

extension Configuration.Member {
  init(model: Configuration.Model?, weights: String?, stage: String?, weight: Double) {
    self.init(name: nil, model: model, weights: weights, stage: stage, weight: weight, classes: nil)
  }

  static func read(_ reader: RecipeReader) -> [Self] {
    guard let items = reader.list() else { return [] }
    if items.isEmpty { reader.report("\(reader.path) is empty", hint: "an ensemble needs at least one member") }
    return items.compactMap { item in
      guard let map = item.map(hint: "write it as {weights: path}") else { return nil }
      let name = map.text("name")
      let model = map.value("model").flatMap { Configuration.Model.read($0) }
      let stage = map.text("stage")
      if stage == nil { _ = map.required("weights", hint: "a file of weights or a model folder") }
      let weights = map.path("weights")
      let program = Configuration.Program(map)
      let classes = map.value("classes")
      if stage != nil {
        for key in ["model", "weights", "classes"] + Configuration.Program.keys where map.value(key) != nil {
          map.reportBoth(key, "stage")
        }
      }
      let weight = map.number("weight", NumberRange(lower: 1e-6, upper: 1e6)) ?? 1
      map.finish()
      var member = Self(
        name: name, model: model, weights: weights, program: program, stage: stage, weight: weight, classes: nil)
      if let classes { member.readClasses(classes) }
      return member
    }
  }

  /// `by_name`, the model's name of some classes, or the class of each output.
  fileprivate mutating func readClasses(_ reader: RecipeReader) {
    switch reader.node.content {
    case .scalar:
      if reader.choice(of: ["by_name"]) != nil { ownNames = [:] }
    case .map(let entries):
      guard !entries.isEmpty else {
        reader.report(
          "\(reader.path) names no class", hint: "say by_name where the model calls all classes as the data does")
        return
      }
      let map = reader.map()
      let names = entries.compactMap { entry in map?.text(entry.key).map { (entry.key, $0) } }
      ownNames = Dictionary(names) { first, _ in first }
    case .list: classes = Self.readList(reader)
    }
  }

  /// A name for each output, `null` for one that is no class.
  private static func readList(_ reader: RecipeReader) -> [String?]? {
    guard let items = reader.list() else { return nil }
    guard items.contains(where: { !$0.node.isNull }) else {
      reader.report("\(reader.path) names no class", hint: "name the class of each output; null for one that is none")
      return nil
    }
    var names: [String?] = []
    for item in items {
      let name = item.node.isNull ? nil : item.text()
      guard name != nil || item.node.isNull else { return nil }
      if let name, names.contains(name) {
        item.report("\(reader.path) names '\(name)' twice", hint: "each class is one output's; null is for the others")
        return nil
      }
      names.append(name)
    }
    return names
  }
}

extension Configuration.Weighting {
  /// `score`, or `{score: {power: 4}}`.
  static func read(_ reader: RecipeReader) -> Self? {
    let names = ["fixed", "score", "confidence"]
    if case .scalar = reader.node.content {
      switch reader.choice(of: names) {
      case "fixed": return .fixed
      case "score": return .score(power: 1)
      case "confidence": return .confidence(sharpness: 1)
      default: return nil
      }
    }
    guard reader.node.entries != nil, let map = reader.map() else {
      reader.reportMismatch("fixed, score or confidence, or {score: {power: 4}} or {confidence: {sharpness: 1}}")
      return nil
    }
    let score = map.value("score")?.map()
    let confidence = map.value("confidence")?.map()
    map.finish()
    guard map.keys.count == 1 else {
      reader.report("\(reader.path) must be one way to weigh", hint: "score or confidence")
      return nil
    }
    let power = score?.number("power", .from(0, to: 1000)) ?? 1
    let sharpness = confidence?.number("sharpness", .from(0, to: 1000)) ?? 1
    score?.finish()
    confidence?.finish()
    return score != nil ? .score(power: power) : confidence != nil ? .confidence(sharpness: sharpness) : nil
  }

  var node: RecipeNode {
    switch self {
    case .fixed: .text("fixed")
    case .score(let power): .map(["score": .map(["power": .number(power)])])
    case .confidence(let sharpness): .map(["confidence": .map(["sharpness": .number(sharpness)])])
    }
  }
}

extension Configuration.Specialists {
  static func read(_ reader: RecipeReader, base: Configuration.Training, device: String) -> Self? {
    guard let map = reader.map(hint: "write it as {count: 3}") else { return nil }
    let classes = map.value("classes")
    var count = map.int("count", .from(1, to: 10_000))
    let share = map.number("share", NumberRange(lower: 0, isLowerOpen: true, upper: 1, isUpperOpen: true)) ?? 0.5
    let candidates = map.int("candidates", .from(1, to: 10_000)) ?? 1
    let training = map.value("training")?.map().map {
      Configuration.Training($0, base: base, role: .teacher, device: device)
    }
    map.finish()
    if classes != nil, count != nil { map.reportBoth("count", "classes") }
    if classes == nil, count == nil { count = 2 }
    let names = classes?.list()?.compactMap { $0.texts() }
    if let classes, let names, names.isEmpty || names.contains(where: \.isEmpty) {
      classes.report(
        "\(classes.path) must name the classes of each specialist", hint: "such as [[cat, dog], [car, truck]]")
    }
    return Self(
      count: count, classes: names, share: share, candidates: candidates, training: training ?? base)
  }

  var node: RecipeNode {
    .map([
      "count": count.map { .int($0) }, "classes": classes.map { .list($0.map { .list($0.map { .text($0) }) }) },
      "share": .number(share), "candidates": .int(candidates), "training": training.nodeOfTeacher,
    ])
  }
}

extension Configuration.Noise {
  static func read(_ reader: RecipeReader) -> Self? {
    guard let map = reader.map(hint: "write it as {standard_deviation: 0.1, share: 0.5}") else { return nil }
    let noise = Self(
      kind: map.choice("kind") ?? .relative,
      standardDeviation: map.number("standard_deviation", NumberRange(lower: 0, upper: 1e6)) ?? 0.1,
      share: map.number("share", .fraction) ?? 0.5)
    map.finish()
    return noise
  }

  var node: RecipeNode {
    .map([
      "kind": .text(kind.rawValue), "standard_deviation": .number(standardDeviation), "share": .number(share),
    ])
  }
}

extension Configuration.MeanOfStudent {
  static func read(_ reader: RecipeReader) -> Self? {
    guard let map = reader.map(hint: "write it as {decay: 0.999}") else { return nil }
    let mean = Self(decay: map.number("decay", .fraction) ?? 0.999, result: map.choice("result") ?? .student)
    map.finish()
    return mean
  }

  var node: RecipeNode { .map(["decay": .number(decay), "result": .text(result.rawValue)]) }
}

extension Configuration.Peer {
  /// What the others call the recipe's own student.
  static let student = "student"

  static func read(_ reader: RecipeReader) -> [Self] {
    guard let items = reader.list() else { return [] }
    if items.isEmpty {
      reader.report("\(reader.path) is empty", hint: "a student needs at least one other to learn from")
    }
    return items.enumerated().compactMap { index, item in
      guard let map = item.map(hint: "write it as {name: second}") else { return nil }
      let peer = Self(
        name: map.text("name") ?? "peer \(index + 1)",
        model: map.value("model").flatMap { Configuration.Model.read($0) }, weights: map.path("weights"),
        terms: map.value("terms").map { Configuration.Term.read($0, alpha: nil).terms })
      map.finish()
      if peer.name == student {
        map.reportValue("name", "a peer cannot be called '\(student)'", hint: "that is the recipe's own student")
      }
      return peer
    }
  }

  var node: RecipeNode {
    .map([
      "name": .text(name), "model": model?.node, "weights": weights.map { .text($0) },
      "terms": terms.map { .list($0.map { $0.node(withWeight: true) }) },
    ])
  }
}

// MARK: - Printing

extension Configuration.Teacher {
  var node: RecipeNode {
    let precomputed = RecipeNode(.scalar(precompute.rawValue, isQuoted: false))
    let computed = RecipeNode.text(precision?.rawValue ?? Self.automatic)
    if let mean { return .map(["mean": mean.node]) }
    if !peers.isEmpty { return .map(["peers": .list(peers.map(\.node))]) }
    if members.count > 1 || members.first.map({ $0.weight != 1 || $0.name != nil || $0.hasOtherClasses }) ?? false {
      return .map([
        "members": .list(members.map(\.node)), "average": .text(average.rawValue), "weighting": weighting.node,
        "noise": noise?.node, "precompute": precomputed, "precision": computed, "cache": cache.map { .text($0) },
      ])
    }
    return .map([
      "model": members.first?.model?.node,
      "weights": members.first?.weights.map { .text($0) },
      "trusted": members.first?.program.trustNode,
      "output": members.first?.program.outputNode,
      "probabilities": members.first?.program.probabilityNode,
      "stage": members.first?.stage.map { .text($0) },
      "noise": noise?.node,
      "precompute": precomputed,
      "precision": computed,
      "cache": cache.map { .text($0) },
      "training": training?.nodeOfTeacher,
      "specialists": specialists?.node,
    ])
  }
}

extension Configuration.Member {
  var node: RecipeNode {
    .map([
      "name": name.map { .text($0) }, "model": model?.node, "weights": weights.map { .text($0) },
      "trusted": program.trustNode, "output": program.outputNode, "probabilities": program.probabilityNode,
      "stage": stage.map { .text($0) }, "weight": .number(weight),
      "classes": classes.map { .list($0.map { RecipeNode.text($0) }) } ?? ownNamesNode,
    ])
  }

  private var ownNamesNode: RecipeNode? {
    ownNames.map { names in
      guard !names.isEmpty else { return .text("by_name") }
      return RecipeNode(
        .map(
          names.sorted { $0.key < $1.key }.map {
            RecipeNode.Entry(key: $0.key, keyLocation: nil, value: .text($0.value))
          }))
    }
  }
}
