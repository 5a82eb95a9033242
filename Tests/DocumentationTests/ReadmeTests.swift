import DistillRecipes
import Foundation
import Testing

@Suite struct ReadmeTests {
  /// The commands of the documents' blocks marked `sh run`, one after the other in a folder of their own, where the first
  /// recipe is `recipe.yaml`. Trainings are cut short, everything else is as it stands there.
  @Test(arguments: ["README.md", "Guides/Files.md", "Guides/Compare.md", "Guides/Tune.md", "Guides/Seeing.md"])
  func commandsWork(_ document: String) throws {
    let blocks = CodeBlock.all(in: try Package.text(document)).filter { $0.kind == "sh run" }
    try #require(!blocks.isEmpty)
    let folder = try TemporaryFolder()
    if let recipe = CodeBlock.all(in: try Package.text(document)).first(where: { $0.kind == "yaml recipe" }) {
      try recipe.text.write(toFile: "\(folder.path)/recipe.yaml", atomically: true, encoding: .utf8)
    }
    let script = blocks.map { Self.shortened($0.text) }.joined()
    let result = try run(
      "/bin/sh", ["-e", "-c", script], in: folder.path,
      environment: [
        "PATH": "\(Package.programs):\(ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")",
        // Small networks, and other tests at the same time: more threads would only wait for each other.
        "OMP_NUM_THREADS": "1",
      ])
    #expect(result.status == 0, "\(script)\n\(result.output)\n\(result.errors)")
  }

  /// Commands that train get one seed and an epoch or two.
  static func shortened(_ text: String) -> String {
    let short = "seeds=[1] training.epochs=2 teacher.training.epochs=1"
    return text.split(separator: "\n").map { line in
      let command = line.prefix { $0 != "#" }
      let trains = ["distill run", "distill train", "distill compare", "distill tune recipe"].contains {
        command.hasPrefix($0)
      }
      return trains ? "\(command) \(short)\n" : "\(command)\n"
    }.joined()
  }

  @Test func theSwiftOfTheReadmeIsTheExample() throws {
    let blocks = CodeBlock.all(in: try Package.text("README.md")).filter { $0.kind == "swift" }
    #expect(blocks.map(\.text) == [try Package.text("Examples/DistillInSwift/main.swift")])
  }

  /// The example does what it is there to show, and prints what the README says.
  @Test func theExampleRuns() throws {
    let result = try run(
      "\(Package.programs)/distill-in-swift", [], in: Package.root, environment: ["OMP_NUM_THREADS": "1"])
    #expect(result.status == 0, "\(result.errors)")
    let accuracies = Dictionary(
      result.output.split(separator: "\n").compactMap { line in
        line.lastIndex(of: " ").flatMap { space in Double(line[space...].dropFirst()).map { (line[..<space], $0) } }
      }
    ) { first, _ in first }
    let teacher = try #require(accuracies["teacher"])
    let alone = try #require(accuracies["student alone"])
    let distilled = try #require(accuracies["student distilled"])
    #expect(teacher > 0.95)
    #expect(distilled > alone, "with one label in twenty, the soft targets help")
    let shown = CodeBlock.all(in: try Package.text("README.md")).map(\.text)
    #expect(shown.contains { $0.hasPrefix("teacher 0.") && $0.contains("\nstudent distilled 0.") })
  }

  /// The method that the guide shows is the example's, and the example trains with it.
  @Test func aTermOfOnesOwnRuns() throws {
    let example = try Package.text("Examples/OwnTerm/main.swift")
    let shown = CodeBlock.all(in: try Package.text("Guides/Terms.md")).filter { $0.kind == "swift" }.map(\.text)
    #expect(shown.count == 1 && shown.allSatisfy(example.contains))
    let result = try run(
      "\(Package.programs)/own-term", [], in: Package.root, environment: ["OMP_NUM_THREADS": "1"])
    #expect(result.status == 0, "\(result.errors)")
    let accuracies = result.output.split(separator: "\n").compactMap { Double($0.split(separator: " ").last ?? "") }
    #expect(accuracies.count == 2 && accuracies.allSatisfy { $0 > 0.85 }, "\(result.output)")
  }

  /// What the guide shows of models that write is the example's, and the example runs: here for a few steps only.
  @Test func writingModelsRun() throws {
    let example = try Package.text("Examples/DistillText/main.swift")
    let shown = CodeBlock.all(in: try Package.text("Guides/Generation.md")).filter { $0.kind == "swift" }.map(\.text)
    #expect(shown.count == 3 && shown.allSatisfy(example.contains))
    let result = try run(
      "\(Package.programs)/distill-text", ["0.005"], in: Package.root, environment: ["OMP_NUM_THREADS": "1"])
    #expect(result.status == 0, "\(result.errors)")
    let rows = result.output.split(separator: "\n").map { $0.split(separator: " ").prefix(2).compactMap { Double($0) } }
    #expect(rows.count == 6 && rows.allSatisfy { $0.count == 2 && $0.allSatisfy { 0 < $0 && $0 < 20 } })
  }

  /// What the guide shows of the runtime is the sample's, which stays short, answers, and says what is wrong.
  @Test func theSampleOfTheRuntimePredicts() throws {
    let example = try Package.text("Examples/Predict/main.swift")
    let shown = CodeBlock.all(in: try Package.text("Guides/Runtime.md")).filter { $0.kind == "swift" }.map(\.text)
    #expect(shown.count == 1 && shown.allSatisfy(example.contains))
    #expect(example.split(separator: "\n", omittingEmptySubsequences: false).count < 30)
    func predict(_ arguments: [String]) throws -> ProgramResult {
      try run("\(Package.programs)/predict", arguments, in: Package.root, environment: ["OMP_NUM_THREADS": "1"])
    }
    let picture = "Tests/Fixtures/pictures/colour.jpg"
    let result = try predict(["Models/fashion-mnist-resnet9", picture])
    #expect(result.status == 0, "\(result.errors)")
    let words = result.output.split(whereSeparator: \.isWhitespace)
    #expect(words.first ?? "" == picture)
    let probabilities = words.compactMap { Double($0) }
    #expect(probabilities.count == 3 && probabilities == probabilities.sorted(by: >))
    #expect(try predict(["Models/fashion-mnist-resnet9"]).status == 2)
    let missing = try predict(["nowhere", picture])
    #expect(missing.status == 2)
    #expect(missing.errors == "there is no model in nowhere: nowhere/config.json is missing\n")
  }

  /// What is said of make is said of targets that there are.
  @Test func makeTargetsExist() throws {
    let makefile = try Package.text("Makefile")
    for document in try Package.documents() {
      for name in try Package.text(document).matches(of: /(?:`|^ *|\n *)make ([a-z]+)/).map({ $0.1 }) {
        #expect(makefile.contains("\n\(name):"), "\(document) speaks of make \(name)")
      }
    }
  }

  /// Every command is mentioned in the README, and every command mentioned is there.
  @Test func theReadmeNamesTheCommands() throws {
    let help = try run("\(Package.programs)/distill", ["--help"], in: Package.root)
    let commands = help.output.components(separatedBy: "SUBCOMMANDS:").last.map {
      $0.split(separator: "\n").compactMap { $0.firstMatch(of: /^  ([a-z]+)(?: |$)/).map { String($0.1) } }
    }
    let known = Set(try #require(commands)).subtracting(["help", "see"])
    #expect(known.contains("run"))
    let readme = try Package.text("README.md")
    for command in known { #expect(readme.contains("distill \(command)"), "the README says nothing of \(command)") }
    for document in try Package.documents() {
      for match in try Package.text(document).matches(of: /(?:`|\n *)distill ([a-z]+)/) {
        #expect(known.contains(String(match.1)), "\(document) speaks of distill \(match.1)")
      }
    }
  }
}
