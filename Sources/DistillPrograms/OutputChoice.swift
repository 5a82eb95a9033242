/// Which of a program's outputs is meant.
public enum OutputChoice: Sendable, Hashable {
  /// The only one, or the one that is called `logits`.
  case automatic
  case named(String)
  /// By its place, from 0 on.
  case place(Int)
}

extension OutputChoice: CustomStringConvertible {
  public var description: String {
    switch self {
    case .automatic: "logits"
    case .named(let name): name
    case .place(let place): "\(place)"
    }
  }

  /// The place of the output.
  ///
  /// - Parameters:
  ///   - names: of all outputs, empty where one has none
  ///   - path: of the program, for messages
  func place(among names: [String], path: String) throws -> Int {
    switch self {
    case .place(let place) where names.indices.contains(place): return place
    case .named(let name):
      if let place = names.firstIndex(of: name) { return place }
    case .automatic:
      if names.count == 1 { return 0 }
      if let place = names.firstIndex(of: "logits") { return place }
    default: break
    }
    guard !names.isEmpty else { throw ProgramError(path: path, problem: "it gives nothing") }
    let shown = names.prefix(20).enumerated().map { $1.isEmpty ? "\($0)" : "\($0) '\($1.prefix(100))'" }
    let list = shown.joined(separator: ", ") + (names.count > 20 ? ", …" : "")
    let count = "it gives \(names.count) output\(names.count == 1 ? "" : "s") (\(list))"
    throw ProgramError(
      path: path,
      problem: self == .automatic
        ? "\(count): say which of them are the logits, by name or place (output: 0)"
        : "there is no output '\(self)': \(count)")
  }
}
