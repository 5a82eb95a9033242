import ArgumentParser
import DistillRecipes
import Foundation

struct DatasetsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "datasets",
    abstract: "The data sets that recipes can name, and how to get them.",
    discussion: """
        distill datasets list
        distill datasets fetch fashion-mnist
        distill datasets fetch fashion-mnist --to /data/fashion-mnist

      For your own data write dataset: idx, csv, folder, text or labelled-text in the recipe, and path: with their folder.
      """,
    subcommands: [List.self, Fetch.self], defaultSubcommand: List.self)

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Name all data sets, and say which are here.", discussion: "  distill datasets list --json")

    @OptionGroup var output: OutputOptions

    func run() throws {
      let rows = DatasetShelf.rows
      if output.json {
        try output.printJSON(rows)
        return
      }
      let terminal = output.results
      let width = (rows.map { TextWidth.of($0.name) }.max() ?? 0) + 2
      for row in rows {
        terminal.line(
          terminal.styled(Paragraph.padded(row.name, to: width), .bold)
            + Paragraph.hanging("\(row.summary); \(state(row))", indent: width, in: terminal))
      }
    }

    private func state(_ row: DatasetShelf.Row) -> String {
      switch row.presence {
      case .included: return "always there"
      case .present: return "here, in \(row.folder ?? "")"
      case .absent: return row.fetch.map { "get it: \($0)" } ?? "put into \(row.folder ?? ""): \(row.layout)"
      case .own: return "data.path names their folder: \(row.layout)"
      }
    }
  }

  struct Fetch: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Get a data set, check it, and say where it is.",
      discussion: "  distill datasets fetch fashion-mnist")

    @Argument(help: "The data set's name.") var name: String

    @Option(help: "The folder for its files; without it where recipes look for it.", completion: .directory)
    var to: String?

    @OptionGroup var output: OutputOptions

    func run() throws {
      let folder = try DatasetShelf.fetch(name, to: to, isSilent: output.quiet || output.json)
      if output.json { try output.printJSON(["dataset": name, "folder": folder]) }
    }
  }
}
