import TorchNN

/// What a setting of a compared run is called.
struct ArmLabel {
  var full: String
  /// The recipe's name, the value of each varied key, the setting's name: as far as they tell something.
  var parts: [String]
  /// What else it may be called.
  var aliases: [String]

  /// - Parameters:
  ///   - setting: the name of one of several; nil where there is one
  ///   - isOnly: whether there is one run
  init(_ source: ComparisonSource, setting: String?, isOnly: Bool) {
    full = setting.map { isOnly ? $0 : "\(source.name): \($0)" } ?? source.name
    parts = (isOnly && setting != nil ? [] : source.parts) + (setting.map { [$0] } ?? [])
    aliases = source.aliases + [source.name]
  }
}

/// What the arms of a comparison are called, which is known before anything is trained.
struct ArmNames {
  var alone: [String]
  var distilled: [String]

  /// - Parameters:
  ///   - alone: for each different student alone the settings that have it
  ///   - distilled: for each distilled student its setting
  init(alone groups: [[ArmLabel]], distilled labels: [ArmLabel]) {
    alone = groups.count == 1 ? ["alone"] : groups.map { "alone, \(Self.common($0))" }
    if Set(alone).count < alone.count {
      alone = groups.map { "alone, \($0.map(\.full).joined(separator: " and "))" }
    }
    distilled = labels.map(\.full)
    if distilled.count == 1, alone.count == 1 { distilled[0] = "distilled" }
    for index in distilled.indices where alone.contains(distilled[index]) { distilled[index] += ", distilled" }
  }

  /// What is the same in all of them.
  private static func common(_ labels: [ArmLabel]) -> String {
    guard labels.count > 1, let first = labels.first else { return labels.first?.full ?? "" }
    let parts = first.parts.filter { part in labels.allSatisfy { $0.parts.contains(part) } }
    return parts.isEmpty ? labels.map(\.full).joined(separator: " and ") : parts.joined(separator: ", ")
  }

  /// The place of the arm that is called so, among those with these names.
  ///
  /// - Parameters:
  ///   - names: of all arms
  ///   - aliases: what each of them may be called besides
  /// - Throws: `RunError` where it is none, or may be several.
  static func place(of name: String, in names: [String], aliases: [[String]]) throws -> Int {
    if let exact = names.firstIndex(of: name) { return exact }
    let meant = names.indices.filter { aliases[$0].contains(name) }
    if meant.count == 1 { return meant[0] }
    func quoted(_ names: [String]) -> String { names.map { "'\($0)'" }.joined(separator: ", ") }
    guard meant.isEmpty else {
      throw RunError("--baseline: '\(name)' may be any of \(quoted(meant.map { names[$0] })): name one of them")
    }
    let near = closest(to: name, in: names, limit: 1).first.map { "did you mean '\($0)'? " } ?? ""
    throw RunError("--baseline: there is no arm '\(name)': \(near)There are \(quoted(names))")
  }
}
