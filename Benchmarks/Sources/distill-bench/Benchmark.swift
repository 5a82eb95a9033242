import Foundation

/// Our side of the comparison: does one piece of work, times it, and prints the numbers as JSON.
@main
enum Benchmark {
  static let usage = """
    usage: distill-bench live | precomputed | operator-call [--epochs N] [--threads N] [--folder DIR]

    live            distillation with the teacher run at every step
    precomputed     distillation with the teacher's logits computed beforehand
    operator-call   the time of an addition of two small tensors

    --epochs N      timed epochs (default 1)
    --threads N     threads of libtorch (default 2)
    --folder DIR    the repository, in which Benchmarks/setup was run (default: this folder)
    """

  struct UsageError: Error, CustomStringConvertible {
    var description: String
  }

  struct Options {
    var mode = ""
    var epochs = 1
    var threads = 2
    var folder = "."

    init(_ arguments: [String]) throws {
      var rest = arguments[...]
      while let argument = rest.popFirst() {
        switch argument {
        case "live", "precomputed", "operator-call": mode = argument
        case "--epochs": epochs = try Self.number(rest.popFirst(), for: argument)
        case "--threads": threads = try Self.number(rest.popFirst(), for: argument)
        case "--folder":
          guard let value = rest.popFirst() else { throw UsageError(description: "--folder needs a folder") }
          folder = value
        default: throw UsageError(description: "unknown argument: \(argument)")
        }
      }
      guard !mode.isEmpty else { throw UsageError(description: "say what to measure") }
    }

    private static func number(_ text: String?, for name: String) throws -> Int {
      guard let text, let number = Int(text), number > 0 else {
        throw UsageError(description: "\(name) needs a whole number above 0")
      }
      return number
    }
  }

  static func main() {
    let arguments = Array(CommandLine.arguments.dropFirst())
    if arguments.contains("--help") || arguments.contains("-h") { return print(usage) }
    do {
      let options = try Options(arguments)
      if options.mode == "operator-call" {
        try Report.print(try OperatorCall.measure())
      } else {
        try Report.print(try Epochs.measure(options))
      }
    } catch let error as UsageError {
      Report.complain("\(error)\n\n\(usage)")
      exit(2)
    } catch {
      Report.complain("error: \(error)")
      exit(1)
    }
  }
}
