/// A way through a recipe's tree, such as `terms[0].soft_targets.temperature`; `terms.0.…` is the same.
struct RecipePath {
  enum Step: Equatable {
    case key(String)
    case index(Int)
  }

  var steps: [Step] = []

  /// Nil when a part of it is empty or a bracket does not close.
  init?(_ text: String) {
    for part in text.split(separator: ".", omittingEmptySubsequences: false) {
      let pieces = part.split(separator: "[", omittingEmptySubsequences: false)
      guard let name = pieces.first, !name.isEmpty else { return nil }
      steps.append(Int(name).map { .index($0) } ?? .key(String(name)))
      for piece in pieces.dropFirst() {
        guard piece.hasSuffix("]"), let index = Int(piece.dropLast()), index >= 0 else { return nil }
        steps.append(.index(index))
      }
    }
  }

  init(steps: [Step]) { self.steps = steps }

  var description: String {
    steps.reduce(into: "") { text, step in
      switch step {
      case .key(let key): text += text.isEmpty ? key : ".\(key)"
      case .index(let index): text += "[\(index)]"
      }
    }
  }
}

extension RecipeNode {
  /// What stands at a path, if anything does.
  func node(at path: String) -> RecipeNode? {
    (RecipePath(path)?.steps ?? []).reduce(self as RecipeNode?) { node, step in
      switch step {
      case .key(let key): node?[key]
      case .index(let index): node?.items.flatMap { $0.indices.contains(index) ? $0[index] : nil }
      }
    }
  }

  /// The nearest place for a problem at a path: of the value, or of what it would be in.
  func location(near path: String) -> RecipeLocation? {
    var steps = RecipePath(path)?.steps ?? []
    while !steps.isEmpty {
      if let found = node(at: RecipePath(steps: steps).description)?.location { return found }
      steps.removeLast()
    }
    return location
  }

  /// Why a value could not be set.
  struct SettingError: Error {
    var path: String
    var message: String
    var hint: String?
  }

  /// Puts a value at a path, making maps on the way where nothing is. Of two keys that exclude each other the other one
  /// is taken out.
  func setting(_ path: RecipePath, to value: RecipeNode) throws(SettingError) -> RecipeNode {
    try setting(path.steps[...], to: value, walked: [])
  }

  private static let alternatives = ["seed": "seeds", "seeds": "seed", "epochs": "steps", "steps": "epochs"]

  private func setting(
    _ steps: ArraySlice<RecipePath.Step>, to value: RecipeNode, walked: [RecipePath.Step]
  ) throws(SettingError) -> RecipeNode {
    guard let step = steps.first else { return value }
    let rest = steps.dropFirst()
    let here = RecipePath(steps: walked).description
    let place = here.isEmpty ? "the recipe" : here
    var result = self
    switch (step, isNull ? .map([]) : content) {
    case (.key(let key), .map(var entries)):
      if let index = entries.firstIndex(where: { $0.key == key }) {
        entries[index].value = try entries[index].value.setting(rest, to: value, walked: walked + [step])
        if rest.isEmpty { entries[index].keyLocation = value.location }
      } else {
        let made = try RecipeNode(.map([]), location: value.location).setting(rest, to: value, walked: walked + [step])
        entries.append(Entry(key: key, keyLocation: value.location, value: made))
      }
      entries.removeAll { $0.key == Self.alternatives[key] }
      result.content = .map(entries)
    case (.index(let index), .list(var items)):
      guard items.indices.contains(index) else {
        throw SettingError(
          path: RecipePath(steps: walked + [step]).description, message: "\(place) has no item \(index)",
          hint: items.isEmpty ? "it is empty" : "its items are 0 to \(items.count - 1)")
      }
      items[index] = try items[index].setting(rest, to: value, walked: walked + [step])
      result.content = .list(items)
    case (.key(let key), .list(let items)):
      throw SettingError(
        path: RecipePath(steps: walked + [step]).description,
        message: "\(place) is a list, so '\(key)' is nothing in it",
        hint: "name an item by its number, such as \(here).0\(items.isEmpty ? "" : ".\(key)")")
    case (.index(let index), .map):
      throw SettingError(
        path: RecipePath(steps: walked + [step]).description,
        message: "\(place) is not a list, so it has no item \(index)")
    case (_, .scalar):
      throw SettingError(
        path: here, message: "\(place) is \(shown), so nothing can be set inside it", hint: nil)
    }
    return result
  }
}
