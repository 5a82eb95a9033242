import DistillRecipes
import Foundation
import Testing

/// A recipe without problems.
let base = """
  data:
    dataset: digits
  teacher:
    weights: teacher
  student:
    model: {architecture: mlp}

  """

@Suite struct ConfigurationProblemTests {
  /// A recipe from `Fixtures/recipe-problems.txt` with what must be said about it.
  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var text = ""
    var arguments: [String] = []
    var expected: [String] = []

    var testDescription: String { name }

    static func all() throws -> [Case] {
      let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Fixtures/recipe-problems.txt")
      let content = try String(contentsOf: file, encoding: .utf8)
      var cases: [Case] = []
      for line in content.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
        if line.hasPrefix("=== ") {
          cases.append(Case(name: String(line.dropFirst(4))))
        } else if let last = cases.indices.last {
          if line.hasPrefix(">>> argument ") && !line.contains(": error: ") && !line.contains(": warning: ") {
            cases[last].arguments.append(String(line.dropFirst(13)))
          } else if line.hasPrefix(">>> ") {
            cases[last].expected.append(String(line.dropFirst(4)))
          } else if cases[last].expected.isEmpty {
            cases[last].text += line == "@base" ? base : line + "\n"
          }
        }
      }
      return cases
    }
  }

  @Test func theListIsLong() throws {
    let cases = try Case.all()
    #expect(cases.count >= 120)
    #expect(Set(cases.map(\.name)).count == cases.count)
    #expect(cases.allSatisfy { !$0.expected.isEmpty })
  }

  @Test func theBaseHasNoProblems() throws {
    #expect(try Configuration.parse(text: base).warnings.isEmpty)
  }

  @Test(arguments: try Case.all()) func problems(_ recipe: Case) throws {
    do {
      let configuration = try Configuration.parse(text: recipe.text, overrides: recipe.arguments)
      #expect(configuration.warnings.map(\.summary) == recipe.expected)
      #expect(recipe.expected.allSatisfy { $0.contains(": warning: ") }, "this recipe has errors and was accepted")
    } catch let error as RecipeError {
      #expect(error.problems.map(\.summary) == recipe.expected)
    }
  }

  @Test func problemsArePrintedWithTheLineAndACaret() throws {
    let error = try #require(throws: RecipeError.self) {
      try Configuration.parse(
        text: base + "terms:\n  - soft_targets: {temprature: 4}\n  - hard_labels\n", fileName: "my/recipe.yaml")
    }
    #expect(
      error.description == """
        my/recipe.yaml:8:20: error: unknown key 'temprature' in terms[0].soft_targets; did you mean 'temperature'?
           8 |   - soft_targets: {temprature: 4}
             |                    ^
        """)
    let problem = try #require(error.problems.first)
    #expect(problem.path == "terms[0].soft_targets.temprature")
    #expect((problem.line, problem.column) == (8, 20))
    #expect(problem.hint == "did you mean 'temperature'?")
  }

  @Test func longLinesAreCutAroundTheCaret() throws {
    let padding = String(repeating: "x", count: 300)
    let error = try #require(throws: RecipeError.self) {
      try Configuration.parse(text: base + "description: {a: \(padding), b: 1}\n")
    }
    let far = RecipeError.Problem(
      file: "a", line: 1, column: 301, message: "here", sourceLine: padding + "!" + padding)
    let lines = far.description.split(separator: "\n")
    #expect(lines.allSatisfy { $0.count < 130 })
    let caret = try #require(Array(lines[2]).firstIndex(of: "^"))
    #expect(Array(lines[1])[caret] == "!")
    #expect(error.description.split(separator: "\n").allSatisfy { $0.count < 130 })
  }

  @Test func controlCharactersAreNamedWithTheirPlace() throws {
    let error = try #require(throws: RecipeError.self) { try Configuration.parse(text: "seed: 1\nname: a\u{1}b\n") }
    #expect(
      error.problems.map(\.summary)
        == ["recipe.yaml:2:8: error: not readable as text: control characters are not allowed"])
  }

  @Test func bombsOfAliasesAreRefusedAtOnce() throws {
    var bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for (previous, next) in zip("abcdefgh", "bcdefghi") {
      let aliases = [String](repeating: "*\(previous)", count: 9).joined(separator: ", ")
      bomb += "\(next): &\(next) [\(aliases)]\n"
    }
    let clock = ContinuousClock()
    let time = clock.measure {
      #expect(throws: RecipeError.self) { try Configuration.parse(text: bomb) }
      #expect(throws: RecipeError.self) { try Configuration.parse(text: bomb + "? *i\n: 1\n") }
    }
    #expect(time < .seconds(20))
  }

  @Test func nestingWithoutEndIsRefused() throws {
    for depth in [30, 900, 100_000] {
      let error = try #require(throws: RecipeError.self) {
        try Configuration.parse(text: "a: " + String(repeating: "[", count: depth))
      }
      #expect(error.problems.count == 1)
    }
    let closed = String(repeating: "[", count: 900) + String(repeating: "]", count: 900)
    #expect(throws: RecipeError.self) { try Configuration.parse(text: "a: \(closed)\n") }
  }

  /// Whatever is done to a recipe, it is read or its problems are told; nothing crashes.
  @Test func damagedRecipesNeverCrash() throws {
    var state: UInt64 = 7
    func random(_ below: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % below
    }
    let pieces = [
      "{", "}", "[", "]", ":", "- ", "\n", "  ", "\t", "*a", "&a ", "<<: ", "\"", "|", ">", "!!x ", "0", "null", "é",
    ]
    let template = Array(RecipeTemplate.text())
    var accepted = 0
    for _ in 0..<400 {
      var damaged = template
      for _ in 0..<(1 + random(4)) {
        let place = random(damaged.count)
        switch random(3) {
        case 0: damaged.removeSubrange(place..<min(damaged.count, place + 1 + random(30)))
        case 1: damaged.insert(contentsOf: Array(pieces[random(pieces.count)]), at: place)
        default: damaged.replaceSubrange(place...place, with: Array(pieces[random(pieces.count)]))
        }
      }
      do {
        _ = try Configuration.parse(text: String(damaged))
        accepted += 1
      } catch let error as RecipeError {
        #expect(!error.problems.isEmpty)
      }
    }
    #expect((1..<400).contains(accepted))
  }
}

@Suite struct ConfigurationFileTests {
  private let folder: URL

  init() throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "recipes-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  private func problem(of name: String, _ content: Data?) throws -> String {
    let file = folder.appending(path: name)
    defer { try? FileManager.default.removeItem(at: folder) }
    if let content { try content.write(to: file) }
    let error = try #require(throws: RecipeError.self) { try Configuration.load(path: file.path) }
    #expect(error.problems.count == 1)
    return error.description.replacing(folder.path + "/", with: "")
  }

  @Test func aRecipeIsReadFromItsFile() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appending(path: "my-trial.yaml")
    try Data(base.utf8).write(to: file)
    let configuration = try Configuration.load(path: file.path, overrides: ["parallel=2"])
    #expect(configuration.name == "my-trial")
    #expect(configuration.parallel == 2)
  }

  @Test func noSuchFile() throws {
    #expect(
      try problem(of: "none.yaml", nil)
        == "none.yaml: error: there is no such file; 'distill init' writes a recipe to start from")
  }

  @Test func aFolder() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let error = try #require(throws: RecipeError.self) { try Configuration.load(path: folder.path) }
    #expect(error.description == "\(folder.path): error: this is a folder, not a recipe")
  }

  @Test func notText() throws {
    #expect(
      try problem(of: "a.yaml", Data("name: x\nab".utf8) + Data([0xFF, 0xFE]))
        == "a.yaml:2:3: error: the file is not UTF-8 text; is this the right file?")
  }

  @Test func tooLarge() throws {
    #expect(
      try problem(of: "a.yaml", Data(repeating: 0x23, count: 1_000_001))
        == "a.yaml: error: the recipe is larger than 1 MB; is this the right file?")
    #expect(throws: RecipeError.self) { try Configuration.parse(text: String(repeating: "#", count: 1_000_001)) }
  }

  @Test func aByteOrderMarkAndWindowsLinesDoNotMatter() throws {
    let text = "\u{FEFF}" + base.replacing("\n", with: "\r\n")
    #expect(try Configuration.parse(text: text) == Configuration.parse(text: base))
    let error = try #require(throws: RecipeError.self) { try Configuration.parse(text: text + "wat: 1\r\n") }
    #expect(error.problems.first?.line == 7)
  }
}
