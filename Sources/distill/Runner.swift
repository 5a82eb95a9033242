import DistillRecipes
import DistillRuntime
import Foundation
import Torch

/// Does a run and tells the person at the terminal about it.
enum Runner {
  static func run(
    _ configuration: Configuration, _ folder: RunFolder, _ output: OutputOptions, _ manner: Experiment.Start
  ) throws {
    let printer = RunPrinter(isQuiet: output.quiet || output.json)
    start(configuration, printer)
    do {
      let data = try Experiment(configuration, folder: folder, observer: { printer.note($0) }).run(manner)
      printer.end()
      if output.json {
        StandardOutput.write(try MetricsFile(data).encoded())
      } else {
        let terminal = output.results
        terminal.line(ComparisonText(data).text(for: terminal))
        terminal.line()
        for (name, path, hint) in [
          ("Report:", folder.report, "   (open it in a browser)"), ("Numbers:", folder.metrics, ""),
          ("Student:", folder.student, ""),
        ] {
          let isTight = 10 + TextWidth.of(path + hint) >= terminal.columns() ?? .max
          terminal.line(Paragraph.padded(name, to: 10) + Terminal.plain(path) + (isTight ? "" : hint))
        }
      }
    } catch {
      printer.end()
      throw hint(error, folder)
    }
  }

  static func train(
    _ configuration: Configuration, _ folder: RunFolder, _ output: OutputOptions, saveTo target: String?, dtype: DType?,
    force: Bool
  ) throws {
    let printer = RunPrinter(isQuiet: output.quiet || output.json)
    start(configuration, printer)
    do {
      let score = try Experiment(configuration, folder: folder, observer: { printer.note($0) })
        .trainTeacher(saveTo: target.map(ModelFolder.init), dtype: dtype, replacing: force)
      printer.end()
      if output.json {
        try output.printJSON(score)
      } else {
        output.results.sentences(
          "Teacher: \(Terminal.plain(score.path)), \(Quantity.percent(score.accuracy)) on the test split")
      }
    } catch {
      printer.end()
      throw hint(error, folder)
    }
  }

  /// Does work that the same command goes on with after an interruption, such as a comparison or a search.
  ///
  /// - Parameter hint: how else to go on, after "goes on with it"
  static func work<Result>(
    _ printer: RunPrinter, warnings: [RecipeError.Problem], hint: String = "", _ body: () throws -> Result
  ) throws -> Result {
    Interruption.listen()
    TorchRuntime.keepFreedMemory()
    for warning in Set(warnings.map { "\($0)" }).sorted() { printer.note(.notice(warning)) }
    defer { printer.end() }
    do {
      return try body()
    } catch let error as RunError where error.kind == .interrupted {
      throw RunError(
        "interrupted; everything so far is saved. The same command goes on with it\(hint)", kind: .interrupted)
    }
  }

  private static func start(_ configuration: Configuration, _ printer: RunPrinter) {
    Interruption.listen()
    TorchRuntime.keepFreedMemory()
    for warning in configuration.warnings { printer.note(.notice("\(warning)")) }
  }

  /// An interruption, and a full disk, say how to go on.
  private static func hint(_ error: any Error, _ folder: RunFolder) -> any Error {
    if let error = error as? FileError, error.isDiskFull, folder.exists {
      return RunError(
        "\(error). What was done is kept; with room again, go on with: distill resume \(folder.path)", kind: .failure)
    }
    guard let error = error as? RunError, error.kind == .interrupted else { return error }
    // What is not saved, where that is said.
    let what = error.description == "interrupted" ? "interrupted; everything so far is saved" : error.description
    return RunError("\(what). Go on with: distill resume \(folder.path)", kind: .interrupted)
  }
}
