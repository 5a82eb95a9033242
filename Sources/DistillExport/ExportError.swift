import Torch

/// Why a model cannot leave in a format, and what helps.
public struct ExportError: Error, CustomStringConvertible, Sendable, Equatable {
  public var problems: [String]

  public init(_ problems: String...) { self.problems = problems }

  public init(_ problems: [String]) { self.problems = problems }

  public var description: String { problems.joined(separator: "\n") }
}

extension ExportError: ReportedError {
  package var isUsersToMend: Bool { true }
}
