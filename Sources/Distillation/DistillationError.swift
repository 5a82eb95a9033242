/// Something that cannot be distilled as asked.
public struct DistillationError: Error, CustomStringConvertible, Sendable, Equatable {
  public let description: String

  public init(_ description: String) { self.description = description }

  /// A listener answered `.stop`.
  public static let interrupted = DistillationError("interrupted")
}

/// What a listener answers to an event: whether to go on.
public enum Answer: Sendable {
  case `continue`
  case stop
}
