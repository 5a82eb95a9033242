import DistillRecipes
import Foundation
import Testing

/// The paper's experiments: `scripts/paper`, its recipes, and the page that it writes of its results.
@Suite struct PaperTests {
  /// Whether the suite has been run, and its results are a part of the package.
  private static let hasResults = FileManager.default.fileExists(atPath: "\(Package.root)/Guides/hinton-2015.json")

  /// What Python prints with the suite's modules at hand.
  private static func python(_ code: String) throws -> [String] {
    let load = """
      import pathlib, sys, tempfile
      sys.dont_write_bytecode = True
      sys.path.insert(0, "scripts")
      """
    let result = try run("/usr/bin/env", ["python3", "-c", "\(load)\n\(code)"], in: Package.root)
    #expect(result.status == 0, "\(result.errors)")
    return result.output.split(separator: "\n").map(String.init)
  }

  /// The page and its pictures are what the script makes of the results.
  @Test func documentsAreThoseThatTheScriptWrites() throws {
    let result = try run("/usr/bin/env", ["python3", "-B", "scripts/paper", "--check"], in: Package.root)
    #expect(result.status == 0, "\(result.output)\(result.errors)")
  }

  /// Every experiment is on the page, with the mean that its seeds have, and its plot.
  @Test(.enabled(if: hasResults)) func everyExperimentIsOnThePage() throws {
    let page = try Package.text("Guides/hinton-2015.md")
    let results = try JSONSerialization.jsonObject(with: Data(try Package.text("Guides/hinton-2015.json").utf8))
    let experiments = try #require((results as? [String: Any])?["experiments"] as? [String: [String: Any]])
    let names = try Self.python("from hinton.catalog import experiments\nfor one in experiments: print(one.name)")
    #expect(Set(experiments.keys) == Set(names), "an experiment was not run, or is none any more")
    for (name, experiment) in experiments {
      #expect(page.contains("images/hinton-2015-\(name).svg"))
      #expect(FileManager.default.fileExists(atPath: "\(Package.root)/Guides/images/hinton-2015-\(name).svg"))
      let seeds = try #require(experiment["seeds"] as? [Int])
      #expect(seeds.count >= 3, "\(name)")
      let arms = (experiment["result"] as? [String: Any])?["arms"] as? [String: [String: Any]] ?? [:]
      for arm in arms.values {
        let accuracies = try #require(arm["accuracy"] as? [Double])
        let mean = accuracies.reduce(0, +) / Double(accuracies.count)
        #expect(page.contains(String(format: "%.2f", 100 * mean)), "\(name) lacks \(mean)")
      }
    }
  }

  /// They run by themselves, also on MNIST, and the experiments that share a teacher say the same of it.
  @Test func recipesAreValid() throws {
    let folder = "Recipes/hinton-2015"
    let files = try Package.files(in: folder, ending: ".yaml")
    let named = try Self.python(
      "from hinton.catalog import experiments\nfor one in experiments: print(*one.recipes, sep='\\n')")
    #expect(Set(files) == Set(named.map { "\(folder)/\($0).yaml" }))
    var teachers: [Configuration.Teacher] = []
    for file in files {
      let recipe = try Configuration.parse(text: Package.text(file), fileName: file)
      #expect(recipe.warnings.isEmpty, "\(file): \(recipe.warnings)")
      #expect(recipe.compare == false || recipe.seeds.count >= 3 || recipe.teacher?.specialists != nil, "\(file)")
      if let teacher = recipe.teacher, teacher.members.first?.weights?.hasSuffix("fashion-mnist/teacher") ?? false {
        teachers.append(teacher)
      }
    }
    #expect(teachers.count == 6)
    for teacher in teachers.dropFirst() { #expect(teacher == teachers[0]) }
  }

  @Test func onMNISTTheSameRecipesNameItsDigits() throws {
    let texts = try Self.python(
      """
      from hinton import suite
      with tempfile.TemporaryDirectory() as folder:
        one = suite.Suite("mnist")
        suite.root, real = pathlib.Path(folder), suite.root
        (suite.root / "Recipes").symlink_to(real / "Recipes")
        for name in ("left-out", "two-classes", "ensemble"): print((suite.root / one.recipe(name)).read_text())
      """)
    #expect(texts.contains("  leave_out: ['3']"))
    #expect(texts.contains("  leave_out: ['0', '1', '2', '3', '4', '5', '6', '9']"))
    #expect(texts.count { $0 == "  dataset: mnist" || $0.hasPrefix("data: {dataset: mnist,") } == 3)
    #expect(!texts.contains { $0.contains("fashion") && !$0.hasPrefix("#") })
  }

  /// By hand: of 1, 2 and 6 the mean is 3 and the standard deviation √7; Student's t at 97.5 % with 2 degrees of freedom is
  /// 4.303, so the half-width is 4.303 · √7 / √3 = 6.573.
  @Test func intervalsAreStudents() throws {
    let numbers = try Self.python(
      "from hinton.statistics import difference\nprint(*difference([2, 3, 7], [1, 1, 1]), sep='\\n')"
    ).compactMap(Double.init)
    try #require(numbers.count == 3)
    #expect(abs(numbers[0] - 3) < 1e-9 && abs(numbers[2] - 9.573) < 1e-3 && abs(numbers[1] + 3.573) < 1e-3)
    #expect(
      try Self.python(
        "from hinton.statistics import *\nprint(points((0.0123, -0.0004, 0.02)), signed(-0.001), percent([0.9, 0.92]))")
        == ["+1.23 [−0.04, +2.00] 0.00 91.00 ± 1.41 %"])
  }

  /// What is said of a claim follows from the numbers, also where they are against it.
  @Test(
    "Verdicts",
    arguments: [
      ("[0.90, 0.91, 0.90]", "0.91", "held"), ("[0.873, 0.883, 0.874]", "0.93", "held in part"),
      ("[0.88, 0.87, 0.86]", "0.93", "not shown"), ("[0.90, 0.91, 0.90]", "0.86", "cannot be asked"),
    ])
  func verdicts(distilled: String, teacher: String, expected: String) throws {
    let found = try Self.python(
      """
      from hinton import regularized_teacher as one
      arms = {"alone": {"accuracy": [0.87, 0.88, 0.87]}, "distilled": {"accuracy": \(distilled)}}
      print(one.verdict({"teacher": \(teacher), "arms": arms})[0])
      """)
    #expect(found == [expected])
  }

  /// Every image is once above and once below; the class says both; nothing of the test split comes into the training split.
  @Test func pairsAreOfRealImages() throws {
    let found = try Self.python(
      """
      import struct
      from hinton import pairs
      with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder) / "a", pathlib.Path(folder) / "b"
        source.mkdir()
        for part, first, count in (("train", 0, 9), ("t10k", 100, 5)):
          pixels = bytes(first + number for number in range(count) for _ in range(4))
          labels = bytes(number % 3 for number in range(count))
          (source / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, count, 2, 2) + pixels)
          (source / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, count) + labels)
        pairs.compose(source, target, ["x", "y", "z"])
        for part, first, count in (("train", 0, 9), ("t10k", 100, 5)):
          shape, pixels = pairs.idx(target, f"{part}-images-idx3-ubyte", 3)
          _, labels = pairs.idx(target, f"{part}-labels-idx1-ubyte", 1)
          above, below = pixels[0::8], pixels[4::8]
          print(shape == (count, 4, 2), sorted(above) == sorted(below) == list(range(first, first + count)),
                [3 * ((a - first) % 3) + (b - first) % 3 for a, b in zip(above, below)] == list(labels))
        print((target / "classes.txt").read_text().splitlines()[5])
      """)
    #expect(found == ["True True True", "True True True", "5: y, z"])
  }

  /// By hand: of four classes, 0 and 1 are confused most, then 2 and 3, then 1 and 2, and groups are of two.
  @Test func classesAreDividedByWhatIsTakenForEachOther() throws {
    let found = try Self.python(
      """
      from hinton import specialists as one
      one.most = 2
      confusion = [[90, 6, 0, 0], [3, 80, 1, 0], [0, 1, 70, 2], [0, 0, 2, 99]]
      for division in one.divisions(confusion, 3): print(division)
      """)
    #expect(found == ["[(0, 1), (2, 3)]", "[(1, 2)]", "[]"])
  }

  @Test func anUnknownExperimentIsNamed() throws {
    let result = try run("/usr/bin/env", ["python3", "-B", "scripts/paper", "few-label"], in: Package.root)
    #expect(result.status == 2 && result.errors.contains("no experiment called few-label, only regularized-teacher"))
    let list = try run("/usr/bin/env", ["python3", "-B", "scripts/paper", "--list"], in: Package.root)
    #expect(list.status == 0 && list.output.split(separator: "\n").count == 8)
  }
}
