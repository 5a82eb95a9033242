import Foundation
import Testing

@Suite("Help and exit codes")
struct HelpTests {
  static let commands = [
    [], ["init"], ["check"], ["run"], ["resume"], ["compare"], ["tune"], ["train"], ["evaluate"], ["predict"],
    ["inspect"], ["convert"],
    ["explain"], ["export"],
    ["terms"], ["recipes"], ["recipes", "list"], ["recipes", "show"], ["recipes", "copy"], ["datasets"],
    ["datasets", "list"],
    ["datasets", "fetch"],
  ]

  /// Also where libtorch cannot be opened: help does not need it.
  @Test("--help teaches, and needs no libtorch", arguments: commands)
  func help(command: [String]) throws {
    try withFolder { folder in
      let outcome = try Command.run(
        command + ["--help"], in: folder, environment: ["DISTILL_LIBTORCH": "/nowhere"], limit: 20)
      #expect(outcome.code == 0)
      #expect(outcome.errors.isEmpty)
      #expect(outcome.output.contains("OVERVIEW"))
      #expect(outcome.output.contains("USAGE: \((["distill"] + command).joined(separator: " "))"))
      // Every command shows how it is used; `resume` only has one way.
      if command != ["resume"] { #expect(outcome.output.contains("\n  distill ")) }
    }
  }

  @Test("All commands are listed in the order of their use")
  func order() throws {
    try withFolder { folder in
      let text = try Command.run(["--help"], in: folder).output
      let list = try #require(text.components(separatedBy: "SUBCOMMANDS:").last)
      let names = list.split(separator: "\n").compactMap { line -> String? in
        guard line.hasPrefix("  "), !line.hasPrefix("   ") else { return nil }
        return line.split(separator: " ").first.map(String.init)
      }
      #expect(
        Array(names.prefix(17)) == [
          "init", "check", "run", "resume", "compare", "tune", "train", "label", "evaluate", "predict", "inspect",
          "convert", "explain", "export",
          "terms",
          "recipes", "datasets",
        ])
    }
  }

  @Test(
    "What is not understood ends with 2, and says what",
    arguments: [
      (["--nope"], "--nope"), (["frobnicate"], "frobnicate"), (["run", "--nope"], "--nope"),
      (["check", "--nope"], "--nope"), (["evaluate"], "model"), (["resume"], "folder"), (["compare"], "recipe"),
      (["compare", "x", "--metric", "nope"], "one of the following: accuracy, top_k_accuracy, nll"),
      (["tune", "x", "--space", "a=1,2", "--trials", "-3"], "-3"),
      (["tune", "x", "--sampler", "nope"], "nope"),
      (["recipes", "nope"], "nope"),
      (["terms", "soft_target"], "soft_targets"),
      (["datasets", "fetch"], "name"), (["evaluate", "x", "--top", "many"], "many"),
      (["evaluate", "x", "--split", "nope"], "nope"), (["predict", "--examples"], "--examples"),
    ] as [([String], String)])
  func misunderstanding(arguments: [String], word: String) throws {
    try withFolder { folder in
      let outcome = try Command.run(arguments, in: folder, limit: 20)
      #expect(outcome.code == 2)
      #expect(outcome.output.isEmpty)
      #expect(outcome.errors.contains(word), "\(outcome.errors)")
    }
  }

  @Test("--version prints a version and ends with 0")
  func version() throws {
    try withFolder { folder in
      let outcome = try Command.run(["--version"], in: folder, limit: 20)
      #expect(outcome.code == 0)
      #expect(outcome.output.contains("."))
    }
  }

  @Test("A libtorch that is not there is said, not crashed upon")
  func noLibtorch() throws {
    try withFolder { folder in
      try write(Sample.recipe, to: "\(folder)/recipe.yaml")
      let outcome = try Command.run(
        ["run", "recipe.yaml"], in: folder, environment: ["DISTILL_LIBTORCH": "/nowhere"], limit: 20)
      #expect(outcome.code == 1)
      #expect(outcome.errors.contains("/nowhere"))
    }
  }
}
