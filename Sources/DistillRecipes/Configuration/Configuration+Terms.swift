extension Configuration.Term {
  private static let names = ["soft_targets", "hard_labels", "logit_matching"]

  /// The terms, their weights set from α where the recipe gives that. Without terms: soft targets at T = 4 and hard
  /// labels. Without any weight: α = 0.9 where the terms are a pair of teacher and labels, otherwise 1 each.
  static func read(_ reader: RecipeReader?, alpha: RecipeReader?) -> (terms: [Self], alpha: Double?) {
    var terms: [Self] = []
    var firstWeight: RecipeMap?
    if let reader {
      let items = reader.list() ?? []
      if items.isEmpty, reader.node.items != nil {
        reader.report("terms is empty", hint: "a student needs something to learn: '- soft_targets: {temperature: 4}'")
      }
      for item in items {
        guard let (name, map) = options(of: item), let term = Self(name, map) else { continue }
        if firstWeight == nil, map.value("weight") != nil { firstWeight = map }
        terms.append(term)
      }
      guard terms.count == items.count else { return (terms, nil) }
    } else {
      terms = [Self(.softTargets(temperature: .init(4))), Self(.hardLabels(labelSmoothing: 0))]
    }
    let isPair = terms.count == 2 && terms.count(where: \.needsTeacher) == 1
    if let alpha, let firstWeight {
      alpha.report("alpha and \(firstWeight.path(to: "weight")) are both there", hint: "keep alpha, or the weights")
      return (terms, nil)
    }
    if let alpha, !isPair {
      alpha.report(
        "alpha needs one term with the teacher and hard_labels, and the terms are "
          + terms.map(\.name).joined(separator: ", "),
        hint: "give each term a weight instead")
      return (terms, nil)
    }
    if firstWeight == nil, isPair {
      guard let value = alpha == nil ? 0.9 : alpha?.number(.fraction) else { return (terms, nil) }
      for index in terms.indices {
        let weight = terms[index].needsTeacher ? value : ((1 - value) * 1e12).rounded() / 1e12
        terms[index].weight = Configuration.Ramp(weight)
      }
      return (terms, value)
    }
    if !terms.isEmpty, terms.allSatisfy({ $0.weight.from == 0 && $0.weight.to == 0 }) {
      reader?.report(
        "the weights of all terms are 0", hint: "the student would learn nothing: give one a weight above 0")
    }
    return (terms, nil)
  }

  /// The one key of an item and the options below it: `soft_targets: {temperature: 4}`, or only `hard_labels`.
  private static func options(of item: RecipeReader) -> (name: String, map: RecipeMap)? {
    if case .scalar = item.node.content, let name = item.choice(of: names) {
      let empty = RecipeNode(.map([]), location: item.node.location)
      return (name, RecipeMap(RecipeReader(node: empty, path: "\(item.path).\(name)", log: item.log)))
    }
    guard item.node.entries != nil else {
      if item.node.items != nil { item.reportMismatch("a term, such as soft_targets: {temperature: 4}") }
      return nil
    }
    guard let outer = item.map() else { return nil }
    if let known = outer.keys.first(where: names.contains), outer.keys.count > 1 {
      item.report(
        "\(item.path) must be one term, but has the keys \(outer.keys.joined(separator: ", "))",
        hint: "indent the options below '\(known):', or write \(known): {...}; each term begins with '- '")
      return nil
    }
    var found: (name: String, map: RecipeMap)?
    for name in names {
      guard outer.contains(name) else {
        _ = outer.value(name)
        continue
      }
      if let value = outer.value(name) {
        found = value.map(hint: "write \(name): {weight: 1}").map { (name, $0) }
      } else {
        let empty = RecipeNode(.map([]), location: item.node.location)
        found = (name, RecipeMap(RecipeReader(node: empty, path: outer.path(to: name), log: item.log)))
      }
    }
    if outer.keys.isEmpty { item.report("\(item.path) names no term", hint: "one of \(names.joined(separator: ", "))") }
    outer.finish()
    return found
  }

  private init?(_ name: String, _ map: RecipeMap) {
    switch name {
    case "soft_targets":
      let temperature = map.value("temperature").flatMap { Configuration.Ramp.read($0, .positive) }
      kind = .softTargets(temperature: temperature ?? Configuration.Ramp(4))
    case "hard_labels": kind = .hardLabels(labelSmoothing: map.number("label_smoothing", .fractionBelowOne) ?? 0)
    default: kind = .logitMatching(zeroMean: map.flag("zero_mean") ?? false)
    }
    weight = map.value("weight").flatMap { Configuration.Ramp.read($0, .notNegative) } ?? Configuration.Ramp(1)
    start = map.number("start", .notNegative) ?? 0
    end = map.number("end", .positive)
    map.finish()
    if let end, end <= start {
      map.reportValue(
        "end",
        "\(map.path(to: "end")) must lie after the start, \(RecipeNode.number(start).flow), but is "
          + RecipeNode.number(end).flow)
    }
  }
}

extension Configuration.Ramp {
  static func read(_ reader: RecipeReader, _ range: NumberRange) -> Self? {
    if case .scalar = reader.node.content { return reader.number(range).map { Self($0) } }
    guard reader.node.entries != nil, let map = reader.map() else {
      reader.reportMismatch("a number\(range.description), or {from: 8, to: 2, over: linear}")
      return nil
    }
    let from = map.required("from", hint: "the value at the start")?.number(range)
    let to = map.required("to", hint: "the value at the end")?.number(range)
    let shape: Shape = map.choice("over") ?? .linear
    map.finish()
    guard let from, let to else { return nil }
    return Self(from: from, to: to, shape: shape)
  }
}
