import Torch

/// Something that cannot be distilled as asked.
public struct DistillationError: Error, CustomStringConvertible, Sendable, Equatable {
  public let description: String

  public init(_ description: String) { self.description = description }
}

/// A listener answered `.stop` to something that cannot be left half done.
public struct Interrupted: Error, CustomStringConvertible, Sendable {
  public init() {}

  public var description: String { "interrupted" }
}

/// What a listener answers to an event: whether to go on.
public enum Answer: Sendable {
  case `continue`
  case stop
}

extension DistillationError: ReportedError {
  package var isUsersToMend: Bool { false }
}

extension Interrupted: ReportedError {
  package var isUsersToMend: Bool { false }
}
