import DistillRecipes
import Foundation
import Testing

/// The study of Debian's sections: `scripts/text`, its texts, its recipes, and the page that it writes of its results.
@Suite struct TextStudyTests {
  private static let hasResults = FileManager.default.fileExists(
    atPath: "\(Package.root)/Guides/text-classification.json")

  private func python(_ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
    let result = try run("/usr/bin/env", ["python3", "-B"] + arguments, in: Package.root)
    return (result.status, result.output, result.errors)
  }

  @Test func thePageIsTheOneThatTheScriptWrites() throws {
    let result = try python(["scripts/text", "--check"])
    #expect(result.status == 0, "\(result.output)\(result.errors)")
  }

  /// Each mean and interval on the page is computed here once more from the seeds in the results.
  @Test(.enabled(if: hasResults)) func theNumbersOnThePageAreThoseOfTheSeeds() throws {
    let page = try Package.text("Guides/text-classification.md")
    let results = try JSONSerialization.jsonObject(with: Data(try Package.text("Guides/text-classification.json").utf8))
    let experiments = try #require((results as? [String: Any])?["experiments"] as? [String: [String: Any]])
    #expect(Set(experiments.keys).isSuperset(of: ["teacher", "layers", "windows", "sentences"]))
    var compared = 0
    for (name, experiment) in experiments {
      guard let arms = (experiment["result"] as? [String: Any])?["arms"] as? [String: [String: Any]] else { continue }
      let accuracies = try ["alone", "distilled"].map { try #require(arms[$0]?["accuracy"] as? [Double]) }
      #expect(accuracies.allSatisfy { $0.count == 3 })
      for one in accuracies { #expect(page.contains(String(format: "%.2f ±", 100 * mean(one))), "\(name)") }
      let differences = zip(accuracies[1], accuracies[0]).map { 100 * ($0 - $1) }
      let deviation = (differences.reduce(0) { $0 + ($1 - mean(differences)) * ($1 - mean(differences)) } / 2)
        .squareRoot()
      let half = 4.302652729911275 * deviation / 3.0.squareRoot()
      let words = [mean(differences), mean(differences) - half, mean(differences) + half].map { number in
        let text = String(format: "%+.2f", number).replacing("-", with: "−")
        return text.dropFirst() == "0.00" ? "0.00" : text
      }
      #expect(page.contains("\(words[0]) [\(words[1]), \(words[2])]"), "\(name): \(words)")
      compared += 1
    }
    #expect(compared >= 2)
  }

  private func mean(_ numbers: [Double]) -> Double { numbers.reduce(0, +) / Double(numbers.count) }

  @Test func recipesAreValidAndHaveOneTeacher() throws {
    let files = try Package.files(in: "Recipes/debian-sections", ending: ".yaml")
    let listed = try python(["scripts/text", "--list"])
    let names = listed.output.split(separator: "\n").compactMap { $0.split(separator: " ").first.map(String.init) }
    #expect(
      listed.status == 0
        && Set(files) == Set(names.filter { $0 != "sentences" }.map { "Recipes/debian-sections/\($0).yaml" }))
    for file in files {
      let recipe = try Configuration.parse(text: Package.text(file), fileName: file)
      #expect(recipe.warnings.isEmpty, "\(file): \(recipe.warnings)")
      #expect(recipe.data.dataset == "labelled-text" && recipe.data.labelledText?.length == 16)
      guard !file.hasSuffix("teacher.yaml") else { continue }
      #expect(recipe.teacher?.members.map(\.weights) == ["runs/debian-sections/teacher/student"], "\(file)")
      #expect(recipe.seeds == [1, 2, 3] && recipe.compare)
    }
  }

  // MARK: The texts

  /// What `apt-cache dumpavail` would say of packages in three sections, two of them large enough.
  private func packages() -> String {
    var stanzas: [String] = []
    for index in 0..<900 {
      let section = ["games", "contrib/games", "net"][index % 3]
      stanzas.append("Package: p\(index)\nSection: \(section)\nDescription: does number \(index)\n and more\nTag: x")
      // A sibling, which nearly says the same.
      stanzas.append(
        "Package: p\(index)-doc\nSource: p\(index) (1.0)\nSection: \(section)\nDescription: does number \(index) (doc)")
      stanzas.append("Package: p\(index)-dbg\nSource: p\(index)\nSection: debug\nDescription: debugs number \(index)")
    }
    stanzas += (0..<50).map { "Package: q\($0)\nSection: mail\nDescription: mails \($0)" }
    stanzas += (0..<9).map { "Package: r\($0)\nSection: net\nDescription: Does   the same" }
    return stanzas.joined(separator: "\n\n") + "\n"
  }

  private func texts(of input: String, in folder: String) throws -> (status: Int32, errors: String) {
    let file = "\(folder)/dumpavail"
    try Data(input.utf8).write(to: URL(fileURLWithPath: file))
    let result = try run(
      "/usr/bin/env", ["bash", "scripts/datasets", "debian-sections", "--from", file, "--to", "\(folder)/texts"],
      in: Package.root)
    return (result.status, result.errors)
  }

  @Test func siblingsNeverSitOnBothSides() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("sections-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let made = try texts(of: packages(), in: folder)
    #expect(made.status == 0, "\(made.errors)")
    var all: [(text: String, label: String, source: String)] = []
    var files: [String: Data] = [:]
    for part in ["train", "validation", "test"] {
      let text = try String(contentsOfFile: "\(folder)/texts/\(part).csv", encoding: .utf8)
      files[part] = Data(text.utf8)
      let rows = text.split(separator: "\n").dropFirst().map { $0.split(separator: ",").map(String.init) }
      #expect(rows.count > 50 && rows.allSatisfy { $0.count == 3 })
      all += rows.map { ($0[0], $0[1], $0[2]) }
    }
    // One of each source package and of equal texts, without other forms and small sections.
    #expect(Set(all.map(\.source)).count == all.count && Set(all.map { $0.text.lowercased() }).count == all.count)
    #expect(Set(all.map(\.label)) == ["games", "net"])
    #expect(all.count { $0.label == "games" } == 600 && all.count { $0.label == "net" } == 301)
    #expect(!all.contains { $0.text.contains("debugs") || $0.text.contains("more") })
    let facts = try JSONSerialization.jsonObject(
      with: Data(contentsOf: URL(fileURLWithPath: "\(folder)/texts/facts.json")))
    let counts = try #require((facts as? [String: Any])?["files"] as? [String: [String: Any]])
    #expect(counts.values.compactMap { $0["texts"] as? Int }.reduce(0, +) == all.count)

    #expect(try texts(of: packages(), in: folder).status == 0)
    for (part, data) in files {
      #expect(FileManager.default.contents(atPath: "\(folder)/texts/\(part).csv") == data, "\(part)")
    }
    let few = try texts(of: "Package: a\nSection: net\nDescription: b\n", in: folder)
    #expect(few.status == 1 && few.errors.contains("too few packages"))
  }
}
