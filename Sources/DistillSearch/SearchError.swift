import Torch

/// Something that keeps a search from beginning or going on, and how to mend it.
public struct SearchError: Error, CustomStringConvertible, Sendable, Equatable {
  public let description: String
  /// Whether a person can mend it in the command or the files; if not, the work itself failed.
  let isMendable: Bool

  public init(_ description: String, isMendable: Bool = true) {
    self.description = description
    self.isMendable = isMendable
  }
}

extension SearchError: ReportedError {
  package var isUsersToMend: Bool { isMendable }
}
