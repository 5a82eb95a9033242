import ArgumentParser
import DistillRecipes
import Distillation
import Foundation
import TorchNN

struct TermsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "terms",
    abstract: "The methods that a recipe can combine.",
    discussion: """
      The objective of a student is a sum of terms: the teacher's softened probabilities, its hidden layers, the labels. \
      With a name, the term's options and how a recipe writes it.

        distill terms
        distill terms soft_targets
      """)

  @Argument(help: "A term's name; without it all are listed.") var name: String?
  @OptionGroup var output: OutputOptions

  func run() throws {
    if let name {
      try show(try find(name))
    } else {
      try list()
    }
  }

  private func find(_ name: String) throws -> TermKind {
    if let kind = TermCatalog.kinds.first(where: { $0.name == name }) { return kind }
    let near = closest(to: name, in: TermCatalog.kinds.map(\.name), limit: 1).first
    throw RunError(
      "there is no term '\(name)'\(near.map { ": did you mean '\($0)'?" } ?? ". 'distill terms' lists them")",
      kind: .usage)
  }

  private func list() throws {
    let kinds = TermCatalog.kinds
    if output.json {
      try output.printJSON(kinds.map(Description.init))
      return
    }
    let terminal = output.results
    let width = (kinds.map { TextWidth.of($0.name) }.max() ?? 0) + 2
    for kind in kinds {
      terminal.line(
        terminal.styled(Paragraph.padded(kind.name, to: width), .bold)
          + Paragraph.hanging(kind.meaning, indent: width, in: terminal))
    }
    if !output.quiet { terminal.line("\nThe options of one: distill terms NAME") }
  }

  private func show(_ kind: TermKind) throws {
    if output.json {
      try output.printJSON(Description(kind))
      return
    }
    let terminal = output.results
    terminal.sentences("\(terminal.styled(kind.name, .bold)): \(kind.meaning)")
    terminal.sentences(kind.paper)
    if !kind.needsTeacher { terminal.line("It needs no teacher.") }
    terminal.line("\n  terms:\n    - \(RecipeReference.example(of: kind))\n")
    let rows = RecipeReference.options(of: kind)
    let width = (rows.map { TextWidth.of($0.name) }.max() ?? 0) + 2
    for row in rows {
      let standard = row.default.map { " (\($0))" } ?? ""
      terminal.line(
        terminal.styled(Paragraph.padded(row.name, to: width), .bold)
          + Paragraph.hanging("\(row.meaning)\(standard)", indent: width, in: terminal))
    }
  }

  private struct Description: Encodable {
    struct Option: Encodable {
      var name: String
      var meaning: String
      var `default`: String?
    }

    var name: String
    var meaning: String
    var paper: String
    var needsTeacher: Bool
    var options: [Option]

    init(_ kind: TermKind) {
      name = kind.name
      meaning = kind.meaning
      paper = kind.paper
      needsTeacher = kind.needsTeacher
      options = RecipeReference.options(of: kind).map {
        Option(name: $0.name, meaning: $0.meaning, default: $0.default)
      }
    }
  }
}
