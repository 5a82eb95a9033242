import Foundation
import Testing

/// Uses that nobody means well, and that happen all the same. Each ended the program, hung, or lost something.
@Suite("Hostile use")
struct HostileUseTests {
  /// Runs a script in which `$D` is the binary, as a shell does: with streams that are closed, full or pipes.
  private func shell(_ script: String, in folder: String) throws -> (code: Int32, output: String, errors: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/bash")
    process.arguments = ["-c", script]
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    process.environment = ProcessInfo.processInfo.environment.merging(
      ["D": try Command.path(), "NO_COLOR": "1", "LC_ALL": "C.UTF-8"]) { $1 }
    let (out, err) = ("\(folder)/.out", "\(folder)/.err")
    for file in [out, err] { _ = FileManager.default.createFile(atPath: file, contents: nil) }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: out))
    process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: err))
    try process.run()
    process.waitUntilExit()
    return (
      process.terminationReason == .exit ? process.terminationStatus : -1,
      try String(contentsOfFile: out, encoding: .utf8), try String(contentsOfFile: err, encoding: .utf8)
    )
  }

  @Test(
    "Paths of one character",
    arguments: [
      (["init", "i"], 0), (["recipes", "copy", "demo-digits", "c"], 0), (["init", "a/b"], 0),
      (["check", "recipe.yaml", "-o", "0"], 0), (["check", "recipe.yaml", "-o", "a/b"], 0),
      (["check", "recipe.yaml", "-o", "0/0"], 0), (["check", "recipe.yaml", "teacher.weights=w"], 2),
      (["evaluate", "w"], 2), (["evaluate", "a"], 2), (["inspect", "w"], 2), (["explain", "a"], 2),
    ] as [([String], Int32)])
  func shortPaths(arguments: [String], code: Int32) throws {
    try Sample.withTeacher { folder in
      try FileManager.default.createDirectory(atPath: "\(folder)/a", withIntermediateDirectories: true)
      try write(Data([1, 2, 3]), to: "\(folder)/w")
      let outcome = try Command.run(arguments, in: folder)
      #expect(outcome.code == code, "\(outcome.everything)")
    }
  }

  @Test("A model's own file is found from within its folder")
  func withinTheFolder() throws {
    try Sample.withTeacher { folder in
      let outcome = try Command.run(
        ["evaluate", "model.safetensors", "--dataset", "digits", "--json"], in: "\(folder)/teacher")
      #expect(outcome.code == 0, "\(outcome.everything)")
    }
  }

  /// Puts a number that is none into the weights of the model in a folder.
  private func spoil(_ model: String) throws {
    var file = try SafetensorsFile("\(model)/model.safetensors")
    let offsets = try #require(try file.entry("output.bias")["data_offsets"] as? [Int])
    let place = file.data.startIndex + offsets[0]
    file.data.replaceSubrange(place..<(place + 4), with: withUnsafeBytes(of: Float.nan) { Array($0) })
    try write(try file.encoded(), to: "\(model)/model.safetensors")
  }

  @Test(
    "Weights that are not finite get one message from every command",
    arguments: [
      ["evaluate", "teacher", "--dataset", "digits"], ["evaluate", "teacher", "--dataset", "digits", "--json"],
      ["evaluate", "good", "--dataset", "digits", "--teacher", "teacher"],
      ["predict", "teacher", "--dataset", "digits", "--examples", "1,2"], ["explain", "recipe.yaml"],
      ["run", "recipe.yaml"], ["run", "recipe.yaml", "teacher.weights=good", "student.weights=teacher"],
    ])
  func notFinite(arguments: [String]) throws {
    try Sample.withTeacher { folder in
      try FileManager.default.copyItem(atPath: "\(folder)/teacher", toPath: "\(folder)/good")
      try spoil("\(folder)/teacher")
      let given = arguments.last == "student.weights=teacher" ? arguments + ["student.model.hidden=[64]"] : arguments
      let outcome = try Command.run(given, in: folder)
      #expect(outcome.code == 2, "\(outcome.everything)")
      #expect(
        outcome.errors.contains("the weights of teacher/model.safetensors hold numbers that are not finite"),
        "\(outcome.errors)")
    }
  }

  @Test(
    "Output that cannot be written is a failure",
    arguments: [
      "inspect teacher", "inspect teacher --json", "--help", "recipes show demo-digits", "terms", "--version",
    ])
  func fullOutput(command: String) throws {
    try Sample.withTeacher { folder in
      for (target, reason) in [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")] {
        let outcome = try shell("$D \(command) \(target)", in: folder)
        #expect(outcome.code == 1, "\(target)")
        #expect(outcome.errors == "error: cannot write to standard output: \(reason)\n")
      }
    }
  }

  @Test("A reader that goes away is nobody's error", arguments: ["inspect teacher", "terms --json", "--help"])
  func closedPipe(command: String) throws {
    try Sample.withTeacher { folder in
      let outcome = try shell("set -o pipefail; $D \(command) | head -1", in: folder)
      #expect(outcome.errors.isEmpty)
      #expect(outcome.code == 0)
    }
  }

  @Test("Nothing that is said lands in a file of the run, also where the streams are closed")
  func closedStreams() throws {
    try Sample.withTeacher { folder in
      let outcome = try shell(
        "$D run recipe.yaml seeds=[1] training.epochs=1 -o r <&- 2>&- >result", in: folder)
      #expect(outcome.code == 0)
      for (name, data) in try contents(of: "\(folder)/r") where !name.hasSuffix(".md") && !name.hasSuffix(".html") {
        #expect(data.range(of: Data("on the test split".utf8)) == nil, "\(name)")
        #expect(data.range(of: Data("Loading digits".utf8)) == nil, "\(name)")
      }
      let events = try contents(of: "\(folder)/r").first { $0.key.hasSuffix("events.jsonl") }
      for line in try #require(events).value.split(separator: UInt8(ascii: "\n")) { #expect(line.first == 0x7B) }
    }
  }

  @Test(
    "Pipes are refused, not waited for",
    arguments: [
      ["check", "pipe"], ["run", "pipe"], ["inspect", "pipe"], ["inspect", "pipe.yaml"], ["evaluate", "odd"],
      ["predict", "teacher", "pipe"], ["check", "recipe.yaml", "teacher.weights=pipe"],
    ])
  func pipes(arguments: [String]) throws {
    try Sample.withTeacher { folder in
      try FileManager.default.createDirectory(atPath: "\(folder)/odd", withIntermediateDirectories: true)
      for name in ["pipe", "pipe.yaml", "odd/config.json"] { #expect(mkfifo("\(folder)/\(name)", 0o600) == 0) }
      let outcome = try Command.run(arguments, in: folder, limit: 20)
      #expect(outcome.code == 2)
      #expect(outcome.everything.contains("not a regular file"), "\(outcome.everything)")
    }
  }

  @Test("Only files are replaced", arguments: [["init", "pipe", "--force"], ["init", "pipe"]])
  func replaced(arguments: [String]) throws {
    try withFolder { folder in
      #expect(mkfifo("\(folder)/pipe", 0o600) == 0)
      let outcome = try Command.run(arguments, in: folder, limit: 20)
      #expect(outcome.code == 2)
      #expect(outcome.errors.contains("pipe is not a regular file"), "\(outcome.errors)")
      var status = stat()
      #expect(lstat("\(folder)/pipe", &status) == 0 && status.st_mode & S_IFMT == S_IFIFO)
    }
  }

  @Test("A run's name cannot move the cursor")
  func names() throws {
    try Sample.withTeacher { folder in
      let outcome = try Command.run(
        ["run", "recipe.yaml", "name=\"a\\e[2Jb\"", "seeds=[1]", "output=r"], in: folder)
      #expect(outcome.code == 0, "\(outcome.errors)")
      #expect(!outcome.everything.contains("\u{1B}"))
    }
  }

  @Test(
    "Piped results are searched with ordinary characters",
    arguments: [["evaluate", "runs/sample"], ["explain", "runs/sample"], ["inspect", "runs/sample"]])
  func plainCharacters(arguments: [String]) throws {
    let outcome = try Command.run(arguments, in: try Sample.folder())
    #expect(outcome.code == 0)
    #expect(outcome.output.utf8.allSatisfy { $0 < 128 }, "\(outcome.output)")
    #expect(outcome.output.contains(/[0-9]\.[0-9]+ %/))
  }

  @Test(
    "Nothing is wider than a narrow terminal",
    arguments: [["evaluate", "runs/sample"], ["explain", "runs/sample"], ["recipes", "list"], ["terms"]], [40, 58])
  func narrow(arguments: [String], columns: Int) throws {
    let outcome = try Command.run(
      arguments, in: try Sample.folder(), environment: ["COLUMNS": "\(columns)"])
    #expect(outcome.code == 0)
    for line in outcome.output.split(separator: "\n") { #expect(line.count <= columns, "\(line)") }
  }

  @Test(
    "Help fits 80 columns, and no line of an example is broken",
    arguments: [[], ["run"], ["check"], ["train"], ["explain"], ["predict"], ["evaluate"]] as [[String]])
  func help(command: [String]) throws {
    let outcome = try Command.run(command + ["--help"], in: try Sample.folder(), environment: ["COLUMNS": "80"])
    let lines = outcome.output.split(separator: "\n", omittingEmptySubsequences: false)
    for (line, next) in zip(lines, lines.dropFirst()) where line.hasPrefix("  distill ") {
      #expect(next.isEmpty || next.hasPrefix("  "), "\(line)")
    }
    #expect(!outcome.output.contains("So many"))
  }

  @Test(
    "Words that are wrong are answered in one line, with what would be right",
    arguments: [
      (["rnu"], "did you mean 'run'?"), (["recipes", "lst"], "did you mean 'list'?"),
      (["evaluate", "teacher", "--dataset", "digits", "--top", "-1"], "not -1"),
      (["explain", "recipe.yaml", "--count", "-3"], "not -3"),
      (["predict", "teacher", "--dataset", "digits", "--examples", "-1"], "no number -1"),
      (["run", "--nope"], "error: unknown option '--nope'"),
      (["evaluate"], "error: missing expected argument '<model>'"),
      (["resume", "runs/x", "seeds=[1]"], "do not apply"),
      (["run", "recipe.yaml", "--device", "tpu"], "tpu"), (["run", "recipe.yaml", "--device", ""], "device"),
      (["check", "recipe.yaml", "--device", ""], "device"), (["run", "recipe.yaml", "--device", "null"], "device"),
      (["run", "recipe.yaml", "--device", "it's"], "it's"),
      (["check", "recipe.yaml", "--device", "cuda:77"], "cuda:77"),
      (["evaluate", "teacher", "--dataset", "digits", "--device", "cuda:77"], "cuda:77 is not there"),
      (["predict", "teacher", "--dataset", "digits", "--examples", "1", "--device", "gpu"], "'gpu' is no device"),
      (["explain", "recipe.yaml", "--device", "cuda:77"], "cuda:77 is not there"),
      (["explain", "recipe.yaml", "--temperatures", "1e300"], "0.01 to 1000"),
      (["inspect", "text.safetensors"], "it is a text"), (["inspect", "empty.safetensors"], "0 bytes"),
    ] as [([String], String)])
  func words(arguments: [String], word: String) throws {
    try Sample.withTeacher { folder in
      try write("data: {dataset: digits}\n", to: "\(folder)/text.safetensors")
      try write(Data(), to: "\(folder)/empty.safetensors")
      let outcome = try Command.run(arguments, in: folder)
      #expect(outcome.code == 2)
      #expect(outcome.everything.contains(word), "\(outcome.everything)")
      for trace in ["Error:", "Help:", "Usage:"] { #expect(!outcome.errors.contains(trace)) }
    }
  }

  @Test("A loss that is not finite is told in words")
  func loss() throws {
    try Sample.withTeacher { folder in
      let outcome = try Command.run(
        ["run", "recipe.yaml", "seeds=[1]", "training.optimizer.learning_rate=1e30"], in: folder)
      #expect(outcome.code == 1)
      #expect(outcome.errors.contains("error: the loss is no longer a finite number"), "\(outcome.errors)")
      #expect(!outcome.errors.contains("nan"))
    }
  }

  @Test("A message names a recipe without steps back")
  func stepsBack() throws {
    try Sample.withTeacher { folder in
      let outcome = try Command.run(
        ["run", "recipe.yaml", "seeds=[1]", "data.validation=0", "output=r"], in: folder)
      #expect(outcome.code == 0, "\(outcome.errors)")
      let refusal = try Command.run(["evaluate", "r", "--split", "validation"], in: folder)
      #expect(refusal.code == 2)
      #expect(refusal.errors.contains("r/recipe.yaml holds out no examples"), "\(refusal.errors)")
      #expect(!refusal.errors.contains(".."))
    }
  }

  @Test("--device stands for the recipe's key")
  func device() throws {
    try Sample.withTeacher { folder in
      for command in [["check", "recipe.yaml"], ["evaluate", "teacher", "--dataset", "digits"]] {
        let outcome = try Command.run(command + ["--device", "cpu"], in: folder)
        #expect(outcome.code == 0, "\(outcome.everything)")
      }
    }
  }

  @Test("A recipe is inspected under any name")
  func recipeWithoutEnding() throws {
    try Sample.withTeacher { folder in
      try FileManager.default.copyItem(atPath: "\(folder)/recipe.yaml", toPath: "\(folder)/mine")
      let outcome = try Command.run(["inspect", "mine", "--json"], in: folder)
      #expect(outcome.code == 0, "\(outcome.errors)")
    }
  }

  @Test(
    "What is wrong in config.json names the file",
    arguments: [
      ("\"class_count\" : 10", "\"class_count\" : 0"), ("\"architecture\" : \"mlp\"", "\"architecture\" : \"mlpp\""),
      ("\"input_shape\" : [", "\"input_shape\" : [0,"), ("\"mean\" : [", "\"mean\" : [1, 2, 3,"),
    ])
  func configuration(before: String, after: String) throws {
    try Sample.withTeacher { folder in
      let path = "\(folder)/teacher/config.json"
      let text = String(decoding: try read(path), as: UTF8.self)
      #expect(text.contains(before))
      try write(text.replacingOccurrences(of: before, with: after), to: path)
      for command in [["evaluate", "teacher", "--dataset", "digits"], ["run", "recipe.yaml"]] {
        let outcome = try Command.run(command, in: folder)
        #expect(outcome.code == 2)
        #expect(outcome.errors.contains("teacher/config.json: "), "\(outcome.errors)")
      }
    }
  }
}
