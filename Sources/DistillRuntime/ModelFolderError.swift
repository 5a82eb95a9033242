import Torch

/// What is wrong with a model folder, or with what a model is asked, and how to mend it.
public struct ModelFolderError: Error, CustomStringConvertible, Sendable, Equatable {
  public let description: String

  public init(_ description: String) { self.description = description }
}

extension ModelFolderError: ReportedError {
  package var isUsersToMend: Bool { true }
}
