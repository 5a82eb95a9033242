import ArgumentParser
import DistillRecipes
import Foundation

/// The command. Each subcommand is a file in `Commands`.
struct DistillCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "distill",
    abstract: "Teach a small network what a large one knows.",
    discussion: """
      A recipe says which student learns from which teacher, on which data, and how. A first one:

        distill init            writes recipe.yaml, with comments
        distill check           says what is wrong with it before any time is spent
        distill run             trains the student alone and distilled, and compares
        distill resume runs/x   goes on with a run that was interrupted
        distill compare         holds recipes or runs against each other
        distill tune            looks for the best values of a recipe's keys
        distill export runs/x   writes the student for other programs: ONNX

      Exit codes: 0 done, 1 the work failed, 2 the recipe, the data or the command is wrong, 130 interrupted.
      """,
    version: Distill.version,
    subcommands: [
      InitCommand.self, CheckCommand.self, RunCommand.self, ResumeCommand.self, CompareCommand.self, TuneCommand.self,
      TrainCommand.self, LabelCommand.self, EvaluateCommand.self, PredictCommand.self, InspectCommand.self,
      ConvertCommand.self, ExplainCommand.self, ExportCommand.self,
      TermsCommand.self,
      RecipesCommand.self, DatasetsCommand.self,
    ])
}

@main
enum Main {
  static func main() {
    StandardOutput.prepareStreams()
    var code: Int32 = 0
    do {
      var command = try DistillCommand.parseAsRoot()
      try command.run()
    } catch {
      code = Failure.report(error)
    }
    do { try StandardOutput.check() } catch { code = Failure.report(error) }
    // All is written. What exit() would do beyond that is to take libtorch's tables apart, which takes longer than many a
    // command, and does not wait for threads that still look at them.
    fflush(nil)
    _exit(code)
  }
}
