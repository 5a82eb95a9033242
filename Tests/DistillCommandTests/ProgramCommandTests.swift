import Foundation
import TestSupport
import Testing

/// Teachers that are models as a whole, with the binary.
@Suite("programs as teachers", .serialized)
struct ProgramCommandTests {
  private static let programs = "\(fixtureFolder)/programs"

  /// A recipe with a teacher, in a folder of its own.
  private func withRecipe(_ teacher: String, _ body: (String) throws -> Void) throws {
    try withTemporaryFolder { folder in
      let recipe = """
        name: program
        data: {dataset: digits, normalize: false}
        teacher: \(teacher)
        student: {model: {architecture: mlp, hidden: [8]}}
        terms: [{soft_targets: {temperature: 4}}]
        training: {epochs: 1, precision: float32}
        seeds: [1]
        """
      try recipe.write(toFile: "\(folder)/recipe.yaml", atomically: true, encoding: .utf8)
      try body(folder)
    }
  }

  private func students(_ folder: String, _ run: String) throws -> Data {
    try #require(FileManager.default.contents(atPath: "\(folder)/\(run)/student/model.safetensors"))
  }

  @Test("TorchScript teaches live, precomputed and from a cache: the same student")
  func script() throws {
    try withRecipe("{weights: \(Self.programs)/dictionary.pt, trusted: true, output: logits}") { folder in
      for precompute in ["true", "false"] {
        let run = try Command.run(
          ["run", "--quiet", "--output", precompute, "teacher.precompute=\(precompute)"], in: folder)
        try #require(run.code == 0, "\(run.everything)")
      }
      #expect(try students(folder, "true") == students(folder, "false"))
      let label = try Command.run(["label", "--json", "--output", "cache"], in: folder)
      try #require(label.code == 0, "\(label.everything)")
      let cached = try Command.run(
        ["run", "--quiet", "--output", "cached", "teacher.cache=cache"], in: folder)
      try #require(cached.code == 0, "\(cached.everything)")
      #expect(try students(folder, "true") == students(folder, "cached"))
      // A cache of another output is of another teacher.
      let other = try Command.run(
        ["check", "--output", "x", "teacher.cache=cache", "teacher.output=1"], in: folder)
      #expect(other.code == 2, "\(other.everything)")
      let explained = try Command.run(["explain", "true"], in: folder)
      #expect(explained.code == 0, "\(explained.everything)")
    }
  }

  @Test("An ONNX model teaches what the TorchScript program of the same weights teaches, alone and in an ensemble")
  func onnx() throws {
    guard ONNXRuntimeForTests.isThere else { return }
    try withRecipe("{weights: \(Self.programs)/linear.onnx}") { folder in
      let check = try Command.run(["check"], in: folder)
      #expect(check.output.contains("an ONNX model in"), "\(check.everything)")
      #expect(check.output.contains("parameters unknown"))
      let run = try Command.run(["run", "--quiet", "--output", "own"], in: folder)
      try #require(run.code == 0, "\(run.everything)")
      let members =
        "teacher={members: [{weights: \(Self.programs)/linear.onnx}, {weights: \(Self.programs)/scripted.pt, "
        + "trusted: true}]}"
      let both = try Command.run(["run", "--quiet", "--output", "both", members], in: folder)
      #expect(both.code == 0, "\(both.everything)")
      #expect(try students(folder, "own") != students(folder, "both"))
    }
  }

  @Test(
    "What does not fit is said, with exit code 2",
    arguments: [
      ("{weights: PROGRAMS/scripted.pt}", "which is code: opened, it can do on this machine whatever you can"),
      ("{weights: PROGRAMS/tuple.pt, trusted: true}", "it gives 2 outputs (0, 1): say which of them are the logits"),
      ("{weights: PROGRAMS/tuple.pt, trusted: true, output: 0}", "knows 64 classes, but the data has 10"),
      ("{weights: PROGRAMS/probabilities.pt, trusted: true}", "gives probabilities, which as logits"),
      ("{weights: PROGRAMS/scripted.pt, trusted: true, model: {architecture: mlp}}", "needs no teacher.model"),
      (
        "{weights: PROGRAMS/scripted.pt, trusted: true, output: -1}", "teacher.output must be a name, or a place from 0"
      ),
    ])
  func refuses(_ teacher: String, _ message: String) throws {
    try withRecipe(teacher.replacing("PROGRAMS", with: Self.programs)) { folder in
      let check = try Command.run(["check"], in: folder)
      #expect(check.code == 2)
      #expect(check.everything.contains(message), "\(check.everything)")
    }
  }

  @Test("Layers and weights of a program are not to be had")
  func hasNoInside() throws {
    try withRecipe("{weights: \(Self.programs)/scripted.pt, trusted: true}") { folder in
      let hints = try Command.run(
        ["check", "terms=[{hints: {layers: [{student: layers.0, teacher: head}], weight: 1}}]"], in: folder)
      #expect(hints.code == 2)
      #expect(hints.everything.contains("it is a model as a whole"), "\(hints.everything)")
      let copy = try Command.run(["check", "student.copy=[head]"], in: folder)
      #expect(copy.code == 2)
      #expect(copy.everything.contains("a TorchScript program: its inside cannot be looked at"), "\(copy.everything)")
    }
  }

  @Test("Without ONNX Runtime the message says how it is fetched")
  func missingRuntime() throws {
    try withRecipe("{weights: \(Self.programs)/linear.onnx}") { folder in
      let check = try Command.run(["check"], in: folder, environment: ["DISTILL_ONNXRUNTIME": "\(folder)/none"])
      #expect(check.code == 2)
      #expect(check.everything.contains("run 'scripts/bootstrap --onnx'"), "\(check.everything)")
    }
  }

  @Test("What a program prints does not come between our JSON")
  func printing() throws {
    try withRecipe("{weights: \(Self.programs)/printing.pt, trusted: true}") { folder in
      for arguments in [
        ["check", "--json"], ["run", "--json", "--output", "run"], ["label", "--json", "--output", "c"],
      ] {
        let outcome = try Command.run(arguments, in: folder)
        // A teacher that guesses, as this one does, is a problem to a check.
        #expect(outcome.code == (arguments[0] == "check" ? 2 : 0), "\(outcome.everything)")
        #expect(throws: Never.self, "\(outcome.output.prefix(300))") { _ = try outcome.json() }
        #expect(!outcome.output.contains("a program speaks") && outcome.errors.contains("a program speaks"))
      }
    }
  }

  @Test("A file that is none is called what it is, and not weights", arguments: ["", ", trusted: true"])
  func isNoProgram(_ trust: String) throws {
    let whole = try read("\(Self.programs)/scripted.pt")
    let cases: [(String, Data, String)] = [
      ("half.pt", whole.prefix(whole.count / 2), "it is a zip file, as programs of TorchScript"),
      ("end.pt", whole.dropLast(30), "but it is cut off or damaged"),
      ("empty.pt", Data(), "it is empty"), ("junk.pt", Data(repeating: 0xee, count: 500), "it is no model: neither"),
      ("text.pt", Data("some words and more".utf8), "it is a text, not a file of weights"),
      ("lfs.pt2", Data("version https://git-lfs.github.com/spec/v1\n".utf8), "only a pointer to a file in Git LFS"),
      ("junk.onnx", Data(repeating: 0xee, count: 500), "it is no ONNX model"),
    ]
    for (name, data, message) in cases {
      try withRecipe("{weights: \(name)\(trust)}") { folder in
        try write(data, to: "\(folder)/\(name)")
        let check = try Command.run(["check"], in: folder)
        #expect(check.code == 2, "\(name)")
        #expect(check.everything.contains(message), "\(name): \(check.everything)")
        #expect(!check.everything.contains("holds weights") && !check.everything.contains("config.json"))
      }
    }
  }

  @Test("What ONNX Runtime does not stand is refused, and the command goes on")
  func hostileModel() throws {
    guard ONNXRuntimeForTests.isThere else { return }
    try withRecipe("{weights: evil.onnx}") { folder in
      try write(try read("\(fixtureFolder)/findings/onnx-layer-norm-with-an-empty-name.bin"), to: "\(folder)/evil.onnx")
      let check = try Command.run(["check"], in: folder)
      #expect(check.code == 2, "\(check.everything)")
      #expect(check.everything.contains("ONNX Runtime does not stand it"), "\(check.everything)")
    }
  }
}
