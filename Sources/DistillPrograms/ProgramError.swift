import Torch

/// What is wrong with a model that is a program, or with what is asked of it.
public struct ProgramError: Error, CustomStringConvertible, Sendable {
  public var path: String
  public var problem: String

  public init(path: String, problem: String) {
    self.path = path
    self.problem = problem
  }

  public var description: String { "\(path): \(problem)" }
}

extension ProgramError: ReportedError {
  package var isUsersToMend: Bool { true }
}
