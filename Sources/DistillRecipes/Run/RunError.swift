import Torch

/// Something that keeps a run from starting or going on, and how to mend it.
public struct RunError: Error, CustomStringConvertible, Sendable, Equatable {
  public enum Kind: Sendable {
    /// What a person asked for cannot be done: exit code 2.
    case usage
    /// The work itself failed: exit code 1.
    case failure
    /// A person interrupted it; everything is saved: exit code 130.
    case interrupted
  }

  public let kind: Kind
  public let description: String

  public init(_ description: String, kind: Kind = .usage) {
    self.kind = kind
    self.description = description
  }
}

extension RunError: ReportedError {
  package var isUsersToMend: Bool { kind == .usage }
}
