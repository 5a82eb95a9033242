import Torch

/// A teacher cache that cannot be used, or cannot be made where it was to be: which, what is wrong with it, and what helps.
public struct TeacherCacheError: Error, CustomStringConvertible, Sendable, Equatable {
  public var folder: String
  /// A sentence for each thing that is wrong.
  public var problems: [String]
  public var remedy: String

  public init(folder: String, problems: [String], remedy: String) {
    self.folder = folder
    self.problems = problems
    self.remedy = remedy
  }

  init(_ folder: String, _ problem: String, remedy: String) {
    self.init(folder: folder, problems: [problem], remedy: remedy)
  }

  public var description: String {
    guard problems.count > 1 else { return "the teacher cache \(folder): \(problems.first ?? ""); \(remedy)" }
    return "the teacher cache \(folder):\(problems.map { "\n  - \($0)" }.joined())\n\(remedy)"
  }
}

extension TeacherCacheError: ReportedError {
  package var isUsersToMend: Bool { true }
}
