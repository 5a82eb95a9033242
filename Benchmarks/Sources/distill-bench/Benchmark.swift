import Foundation

/// Our side of the comparison: does one piece of work, times it, and prints the numbers as JSON.
@main
enum Benchmark {
  /// A piece of work that can be measured. What it prints has at least `program` and `versions`, where it trains also
  /// `seconds_per_epoch` or `seconds_per_step`, `accuracy` or `loss`, and `peak_bytes`.
  struct Mode: Sendable {
    var name: String
    var summary: String
    /// The options that it reads; `folder` and `threads` are every mode's.
    var options: [String]
    var measure: @Sendable (Options) throws -> any Encodable
  }

  private static let training = ["epochs", "steps", "examples", "batch", "precision", "teacher-precision"]

  static let modes: [Mode] = [
    Mode(
      name: "live", summary: "distillation of an MLP with the teacher run at every step",
      options: training + ["student", "teacher"], measure: Epochs.measure),
    Mode(
      name: "precomputed", summary: "the same with the teacher's logits computed beforehand",
      options: training + ["student", "teacher"], measure: Epochs.measure),
    Mode(
      name: "resnet-live", summary: "distillation of ResNet-20 by ResNet-56, run at every step", options: training,
      measure: Epochs.measure),
    Mode(
      name: "resnet-precomputed", summary: "the same with the teacher's logits computed beforehand", options: training,
      measure: Epochs.measure),
    Mode(
      name: "vocabulary", summary: "soft targets over a large vocabulary, forward and backward",
      options: ["classes", "tokens", "hidden", "precision"], measure: Vocabulary.measure),
    Mode(
      name: "labelling", summary: "logits of a ResNet teacher for many images",
      options: ["teacher", "examples", "batch", "precision"], measure: Labelling.measure),
    Mode(
      name: "products", summary: "the matrix products of an MLP student's step alone", options: ["student", "batch"],
      measure: Products.measure),
    Mode(
      name: "operator-call", summary: "the time of a call of common operators", options: [],
      measure: { _ in try OperatorCall.measure() }),
  ]

  /// What options mean, in the order in which they are explained.
  static let explanations: [(name: String, text: String)] = [
    ("folder", "the repository, in which Benchmarks/setup was run (default: this folder)"),
    ("threads", "threads of libtorch (default 2)"),
    ("epochs", "timed epochs (default 1)"),
    ("steps", "timed steps, where no whole epoch is timed"),
    ("examples", "how many examples there are; of the MLPs, more than 60,000 are repeated ones"),
    ("student", "the student's hidden widths, as 300,300"),
    ("teacher", "the teacher's hidden widths, as 1200,1200; of labelling, resnet9 or resnet56"),
    ("batch", "examples of a step"),
    ("precision", "float32, bfloat16, or auto: chosen by timing; of labelling also int8"),
    ("teacher-precision", "the teacher's: float32, bfloat16 or int8"),
    ("classes", "classes of the vocabulary"),
    ("tokens", "tokens of a step"),
    ("hidden", "the width of the features before the last layer"),
  ]

  static var usage: String {
    func line(_ name: String, _ text: String) -> String {
      "  \(name.padding(toLength: max(24, name.count), withPad: " ", startingAt: 0))\(text)"
    }
    let known = Set(modes.flatMap(\.options)).union(Options.ofEveryMode)
    let modeLines = modes.map { mode in
      line(mode.name, mode.summary)
        + (mode.options.isEmpty ? "" : "\n" + line("", mode.options.map { "--\($0)" }.joined(separator: " ")))
    }
    let optionLines = explanations.filter { known.contains($0.name) }.map { line("--\($0.name)", $0.text) }
    return (["usage: distill-bench MODE [OPTIONS]", ""] + modeLines + [""] + optionLines).joined(separator: "\n")
  }

  static func main() {
    let arguments = Array(CommandLine.arguments.dropFirst())
    if arguments.contains("--help") || arguments.contains("-h") { return print(usage) }
    do {
      let (mode, options) = try read(arguments)
      try Report.print(try mode.measure(options))
    } catch let error as UsageError {
      Report.complain("\(error)\n\n\(usage)")
      exit(2)
    } catch {
      Report.complain("error: \(error)")
      exit(1)
    }
  }

  private static func read(_ arguments: [String]) throws -> (Mode, Options) {
    guard let name = arguments.first else { throw UsageError("say what to measure") }
    guard let mode = modes.first(where: { $0.name == name }) else { throw UsageError("there is no mode \(name)") }
    return (mode, try Options(mode: name, arguments.dropFirst(), known: mode.options))
  }
}

struct UsageError: Error, CustomStringConvertible {
  var description: String

  init(_ description: String) { self.description = description }
}

/// The options of a measurement: `--name value`, read by name with a default.
struct Options {
  static let ofEveryMode = ["folder", "threads"]

  let mode: String
  private var values: [String: String] = [:]

  init(mode: String, _ arguments: ArraySlice<String>, known: [String]) throws {
    self.mode = mode
    var rest = arguments
    while let argument = rest.popFirst() {
      let name = String(argument.drop { $0 == "-" })
      guard argument.hasPrefix("--"), (known + Self.ofEveryMode).contains(name) else {
        throw UsageError("\(mode) does not know \(argument)")
      }
      guard let value = rest.popFirst() else { throw UsageError("\(argument) needs a value") }
      values[name] = value
    }
  }

  var folder: String { values["folder"] ?? "." }
  var threads: Int { get throws { try integer("threads", 2) } }
  var epochs: Int { get throws { try integer("epochs", 1) } }

  func word(_ name: String, _ fallback: String) -> String { values[name] ?? fallback }

  /// A whole number above 0.
  func integer(_ name: String, _ fallback: Int) throws -> Int { try integers(name, [fallback])[0] }

  /// Whole numbers above 0 with commas between them.
  func integers(_ name: String, _ fallback: [Int]) throws -> [Int] {
    guard let text = values[name] else { return fallback }
    return try text.split(separator: ",", omittingEmptySubsequences: false).map {
      guard let number = Int($0), number > 0 else {
        throw UsageError("--\(name) needs whole numbers above 0, not \(text)")
      }
      return number
    }
  }
}
