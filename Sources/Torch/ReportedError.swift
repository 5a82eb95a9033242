/// An error whose description is all that a person needs: what is wrong, where, and how to mend it.
package protocol ReportedError: Error, CustomStringConvertible, Sendable {
  /// Whether the person can mend it, in the command, the recipe or the files; if not, the work itself failed.
  var isUsersToMend: Bool { get }
}

extension TorchError: ReportedError {
  package var isUsersToMend: Bool { false }
}

extension FileError: ReportedError {
  package var isUsersToMend: Bool { isUnusablePlace }
}
