import DistillPrograms

// What a recipe says of a teacher that is a model as a whole.

extension Configuration.Program {
  static let keys = ["trusted", "output", "probabilities"]

  init(_ map: RecipeMap) {
    isTrusted = map.flag("trusted") ?? false
    output = map.value("output").flatMap(Self.readOutput) ?? .automatic
    givesProbabilities = map.flag("probabilities") ?? false
  }

  /// A name, or a place from 0 on.
  private static func readOutput(_ reader: RecipeReader) -> OutputChoice? {
    guard let text = reader.node.plain, let place = Int(text) else { return reader.text().map { .named($0) } }
    guard place >= 0 else {
      reader.report("\(reader.path) must be a name, or a place from 0 on", hint: "the first output is 0")
      return nil
    }
    return .place(place)
  }

  // MARK: Printing

  var trustNode: RecipeNode? { isTrusted ? .flag(true) : nil }

  var outputNode: RecipeNode? {
    switch output {
    case .automatic: nil
    case .named(let name): .text(name)
    case .place(let place): .int(place)
    }
  }

  var probabilityNode: RecipeNode? { givesProbabilities ? .flag(true) : nil }

  /// The keys that say something.
  var given: [String] {
    zip(Self.keys, [trustNode, outputNode, probabilityNode]).compactMap { $1 == nil ? nil : $0 }
  }
}
