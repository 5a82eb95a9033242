import Torch

/// What is wrong with a recipe: every problem that was found, not only the first.
public struct RecipeError: Error, Sendable, Equatable, CustomStringConvertible {
  /// One thing to mend.
  public struct Problem: Sendable, Equatable {
    public enum Severity: String, Sendable, Codable {
      case error
      case warning
    }

    public var severity: Severity
    /// The recipe's file, or `argument 'key=value'` for what the command line set.
    public var file: String
    /// Counted from 1; nil where the problem belongs to no line.
    public var line: Int?
    /// Counted from 1, in Unicode scalars.
    public var column: Int?
    /// The place in the recipe, such as `training.optimizer.learning_rate`; empty for the recipe itself.
    public var path: String
    public var message: String
    /// How to mend it.
    public var hint: String?
    /// The line of the file, for the caret.
    public var sourceLine: String?

    public init(
      severity: Severity = .error, file: String, line: Int? = nil, column: Int? = nil, path: String = "",
      message: String, hint: String? = nil, sourceLine: String? = nil
    ) {
      self.severity = severity
      self.file = file
      self.line = line
      self.column = column
      self.path = path
      self.message = message
      self.hint = hint
      self.sourceLine = sourceLine
    }
  }

  public var problems: [Problem]

  public init(_ problems: [Problem]) { self.problems = problems }

  public var description: String { problems.map(\.description).joined(separator: "\n") }
}

extension RecipeError.Problem: CustomStringConvertible {
  /// As a compiler prints it: `recipe.yaml:12:7: error: message; hint`, then the line and a caret below the place.
  public var description: String {
    guard let excerpt else { return summary }
    return summary + "\n" + excerpt
  }

  /// The first line of the description.
  public var summary: String {
    let place = [file, line.map(String.init), line == nil ? nil : column.map(String.init)].compactMap { $0 }
    return "\(place.joined(separator: ":")): \(severity.rawValue): \(message)" + (hint.map { "; \($0)" } ?? "")
  }

  /// The source line with a caret. Long lines are cut around the place.
  private var excerpt: String? {
    guard let line, let column, let sourceLine else { return nil }
    let scalars = Array(sourceLine.unicodeScalars.prefix(10_000))
    let position = min(max(column - 1, 0), scalars.count)
    let start = position > 90 ? position - 60 : 0
    let end = min(scalars.count, start + 110)
    func text(_ slice: ArraySlice<Unicode.Scalar>) -> String {
      var view = String.UnicodeScalarView()
      view.append(contentsOf: slice.map { $0 == "\t" ? " " : $0 })
      return String(view)
    }
    let number = String(line)
    let lead = start > 0 ? "…" : ""
    let margin = String(repeating: " ", count: max(5, number.count + 2))
    let padding = String(repeating: " ", count: lead.count + position - start)
    let first = margin.dropLast(number.count + 1) + "\(number) | "
    return "\(first)\(lead)\(text(scalars[start..<end]))\(end < scalars.count ? "…" : "")\n\(margin)| \(padding)^"
  }
}

extension RecipeError: ReportedError {
  package var isUsersToMend: Bool { true }
}
