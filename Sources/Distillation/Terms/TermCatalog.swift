import TorchNN

/// All methods that recipes can name.
public enum TermCatalog {
  public static let kinds: [TermKind] = [
    SoftTargets.kind,
    HardLabels.kind,
    LogitMatching.kind,
  ]

  /// - Throws: `DistillationError` with near matches when there is no method of that name.
  public static func kind(named name: String) throws -> TermKind {
    if let found = kinds.first(where: { $0.name == name }) { return found }
    let near = closest(to: name, in: kinds.map(\.name))
    let hint = near.isEmpty ? "" : ". Near it: \(near.joined(separator: ", "))"
    throw DistillationError("there is no term '\(name)'\(hint)")
  }
}
