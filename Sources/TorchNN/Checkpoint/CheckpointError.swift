import Torch

/// A checkpoint file that cannot be used: which, what is wrong with it, and what helps.
public struct CheckpointError: Error, CustomStringConvertible, Sendable {
  public var path: String
  public var problem: String

  public init(path: String, problem: String) {
    self.path = path
    self.problem = problem
  }

  public var description: String { "\(path): \(problem)" }
}

/// A checkpoint that does not fit a module: all that is missing, too much, or of another shape. Nothing was loaded.
public struct StateError: Error, CustomStringConvertible, Sendable {
  /// A tensor that has another shape or type than the module needs.
  public struct Misfit: Sendable, Equatable {
    public var key: String
    /// Such as `[10, 300] float32`.
    public var needed: String
    public var found: String

    public init(key: String, needed: String, found: String) {
      self.key = key
      self.needed = needed
      self.found = found
    }
  }

  /// The file, if it came from one.
  public var path: String?
  /// The keys that the module has and the checkpoint lacks, each with its shape.
  public var missing: [String]
  /// The keys that the checkpoint has and the module lacks, each with its shape.
  public var unexpected: [String]
  public var misfits: [Misfit]

  public var description: String {
    var lines = ["\(path ?? "the checkpoint") does not fit the model; nothing was loaded"]
    func list(_ title: String, _ entries: [String]) {
      guard !entries.isEmpty else { return }
      lines.append("  \(title) (\(entries.count)):")
      lines += entries.prefix(Self.shown).map { "    \($0)" }
      if entries.count > Self.shown { lines.append("    … and \(entries.count - Self.shown) more") }
    }
    list("missing in the file", missing)
    list("not in the model", unexpected)
    list("of another shape or type", misfits.map { "\($0.key): \($0.found) in the file, the model has \($0.needed)" })
    if !missing.isEmpty && !unexpected.isEmpty {
      lines.append("  If the file only uses other names, load it with a key map; else it is of another architecture.")
    }
    return lines.joined(separator: "\n")
  }

  private static let shown = 20
}

extension CheckpointError: ReportedError {
  package var isUsersToMend: Bool { true }
}

extension StateError: ReportedError {
  package var isUsersToMend: Bool { true }
}
