import DistillSearch
import Foundation
import Testing

@testable import DistillRecipes

/// What a search understands, writes and shows. What it trains is tested with the binary.
@Suite("Search")
struct TuneTests {
  // MARK: Spaces

  @Test("Choices, whole numbers, numbers and logarithmic ranges are told apart by how they are written")
  func spaces() throws {
    func domain(_ values: String) throws -> Domain {
      try #require(SpaceText.space(["training.clip_norm=\(values)"]).parameters.first).domain
    }
    #expect(try domain("1,4,8") == .choices(["1", "4", "8"]))
    #expect(try domain("[8],[16, 8]") == .choices(["[8]", "[16, 8]"]))
    #expect(try domain("1..20") == .integers(low: 1, high: 20, isLogarithmic: false))
    #expect(try domain(" 1 .. 20 ") == .integers(low: 1, high: 20, isLogarithmic: false))
    #expect(try domain("1..64:log") == .integers(low: 1, high: 64, isLogarithmic: true))
    #expect(try domain("1.0..20") == .numbers(low: 1, high: 20, isLogarithmic: false))
    #expect(try domain("-0.5..0.5:linear") == .numbers(low: -0.5, high: 0.5, isLogarithmic: false))
    #expect(try domain("1e-4..1e-1:log") == .numbers(low: 1e-4, high: 0.1, isLogarithmic: true))
    #expect(try domain("../a,../b") == .choices(["../a", "../b"]), "no numbers around the dots")
    for (text, word) in [
      ("training.clip_norm", "key=a,b,c"), ("training.clip_norm=", "key=a,b,c"), ("=1,2", "key=a,b,c"),
      ("training.clip_norm=4", "one value only"), ("training.clip_norm=1,,2", "is empty"),
      ("training.clip_norm=1,1", "twice"), ("training.clip_norm=5..1", "smaller to a larger"),
      ("training.clip_norm=0..1:log", "above 0"), ("training.clip_norm=1..5:cubic", ":log or :linear"),
      ("seeds=[1],[2]", "the same for all trials"), ("data.validation=0.1,0.2", "the same for all trials"),
      ("settings[0].name=a,b", "the same for all trials"),
    ] {
      let error = #expect(throws: RunError.self, "\(text)") { try SpaceText.space([text]) }
      #expect(error?.description.contains(word) ?? false, "\(text): \(error?.description ?? "")")
    }
    #expect(throws: RunError.self) { try SpaceText.space([]) }
    #expect(throws: RunError.self, "the same key in two ways") {
      try SpaceText.space(["terms.0.soft_targets.temperature=1,2", "terms[0].soft_targets.temperature=3,4"])
    }
  }

  @Test("Names are as short as they can be told apart")
  func names() throws {
    let space = try SpaceText.space([
      "terms.0.soft_targets.temperature=1,2", "training.optimizer.learning_rate=1e-3..1e-1:log",
      "teacher.training.optimizer.learning_rate=1,2",
    ])
    #expect(space.names["terms.0.soft_targets.temperature"] == "temperature")
    #expect(space.names["training.optimizer.learning_rate"] == "training.optimizer.learning_rate")
    #expect(
      space.words(["terms.0.soft_targets.temperature": "2", "teacher.training.optimizer.learning_rate": "1"])
        == "temperature=2, teacher.training.optimizer.learning_rate=1")
  }

  // MARK: Definitions

  private func makeRequest(
    _ folder: String, space: [String] = ["terms.0.soft_targets.temperature=1..8"], recipe: String = RunRecipe.text(),
    _ change: (inout TuneRequest) -> Void = { _ in }
  ) throws -> TuneRequest {
    try RunRecipe.write(recipe, to: "\(folder)/recipe.yaml")
    var request = TuneRequest(recipe: "\(folder)/recipe.yaml")
    request.space = space
    request.folder = "\(folder)/study"
    change(&request)
    return request
  }

  @Test("A trial's recipe has its values and the seeds of the search, and no student alone")
  func trialRecipe() throws {
    try RunRecipe.withFolder { folder in
      let (definition, recipe) = try StudyDefinition.of(makeRequest(folder))
      #expect(recipe.compare && definition.trainingSeeds == [1] && definition.name == "small")
      let trial = try definition.configuration(with: ["terms.0.soft_targets.temperature": "3"])
      #expect(!trial.compare && trial.seeds == [1] && trial.name == "small")
      #expect(trial.terms[0].highestTemperature == 3)
      let two = try StudyDefinition.of(makeRequest(folder) { $0.seeds = [4, 5] }).definition
      #expect(try two.configuration(with: [:]).seeds == [4, 5])
    }
  }

  @Test("A search begins with the recipe's own values, where they lie in its space; a grid has its own order")
  func ownValues() throws {
    try RunRecipe.withFolder { folder in
      func own(_ space: [String], _ change: (inout TuneRequest) -> Void = { _ in }) throws -> Assignment? {
        try StudyDefinition.of(makeRequest(folder, space: space, change)).definition.ownValues
      }
      let key = "terms.0.soft_targets.temperature"
      let rate = "training.optimizer.learning_rate"
      let changes = ["\(key)=4", "\(rate)=0.02"]
      #expect(try own(["\(key)=1..8"]) { $0.overrides = changes } == [key: "4"])
      #expect(
        try own(["\(key)=1.5..8:log", "\(rate)=1e-3,2e-2"]) { $0.overrides = changes } == [key: "4", rate: "2e-2"])
      #expect(try own(["\(key)=5..8", "\(rate)=1e-3,2e-2"]) { $0.overrides = changes } == nil)
      #expect(try own(["\(key)=1..8", "\(rate)=1e-3,3e-2"]) { $0.overrides = changes } == nil)
      // What the recipe does not write has a value too.
      #expect(try own(["training.optimizer.weight_decay=5e-4,0.01"]) == ["training.optimizer.weight_decay": "5e-4"])
      let grid = try own(["\(key)=1..8"]) {
        $0.overrides = changes
        $0.sampler = .grid
      }
      #expect(grid == nil)
    }
  }

  @Test("What no trial could be done with is refused before anything is done")
  func refusals() throws {
    try RunRecipe.withFolder { folder in
      func refused<Failure: Error & CustomStringConvertible>(
        _ type: Failure.Type, _ word: String, space: [String] = ["terms.0.soft_targets.temperature=1..8"],
        recipe: String = RunRecipe.text(), _ change: (inout TuneRequest) -> Void = { _ in }
      ) throws {
        let request = try makeRequest(folder, space: space, recipe: recipe, change)
        let error = #expect(throws: type, "\(word)") { _ = try Tuning(request) }
        #expect(error?.description.contains(word) ?? false, "\(word): \(error?.description ?? "")")
        #expect(!FileManager.default.fileExists(atPath: "\(folder)/study"))
      }
      try refused(
        RecipeError.self, "terms.0.soft_targets.temperature=0", space: ["terms.0.soft_targets.temperature=0..8"])
      try refused(RecipeError.self, "learning_rat", space: ["training.optimizer.learning_rat=0.1..0.2"])
      try refused(RunError.self, "data.validation is 0") { $0.overrides = ["data.validation=0"] }
      let withSetting = RunRecipe.text(more: "settings: [{name: a, set: {training.epochs: 7}}]")
      try refused(RunError.self, "--setting one of 'a'", recipe: withSetting)
      try refused(RecipeError.self, "no setting 'b'", recipe: withSetting) { $0.setting = "b" }
      let chosen = try StudyDefinition.of(makeRequest(folder, recipe: withSetting) { $0.setting = "a" }).definition
      #expect(try chosen.configuration(with: [:]).training.length == .epochs(7))
      try refused(RunError.self, "no study", { $0.resumes = true })
      try refused(RunError.self, "--trials") { $0.trials = 0 }
      try refused(RunError.self, "training.steps", recipe: RunRecipe.text(training: "{steps: 4}")) { $0.halves = true }
      try refused(RunError.self, "one length", space: ["training.epochs=1,2"]) { $0.halves = true }
      try refused(SearchError.self, "first rung", { $0.halves = true })
      try refused(
        RunError.self, "grid has more than",
        space: ["training.optimizer.learning_rate=0.1..0.2", "training.optimizer.weight_decay=0.1..0.2"]
      ) {
        $0.sampler = .grid
        $0.points = 400
      }
      try refused(RunError.self, "--points") {
        $0.sampler = .grid
        $0.points = 1_000_000_000
      }
      try refused(RunError.self, "--seeds") { $0.seeds = [1, 1] }
      // What is wrong with the key is told once, not for each of its values.
      let request = try makeRequest(folder, space: ["training.optimizer.learning_rat=0.1,0.2,0.3"])
      let error = #expect(throws: RecipeError.self) { _ = try Tuning(request) }
      #expect(error?.problems.count == 1)
    }
  }

  @Test("The best recipe is the one that was given, with its values, under another name, and says how it was found")
  func bestRecipe() throws {
    try RunRecipe.withFolder { folder in
      var request = try makeRequest(folder, recipe: RunRecipe.text(more: "output: \(folder)/run"))
      request.overrides = ["training.epochs=3"]
      let definition = try StudyDefinition.of(request).definition
      let text = try definition.bestRecipe(
        ["terms.0.soft_targets.temperature": "5"],
        comments: ["Found in a test.", String(repeating: "long words ", count: 20), "a line\nof two"])
      let recipe = try Configuration.parse(text: text, fileName: "best.yaml")
      #expect(recipe.name == "small-tuned" && recipe.output == nil && recipe.compare && recipe.seeds == [1])
      #expect(recipe.terms[0].highestTemperature == 5 && recipe.training.length == .epochs(3))
      let comments = text.split(separator: "\n").prefix { $0.hasPrefix("#") }
      #expect(comments.first == "# Found in a test." && comments.count >= 5)
      #expect(comments.allSatisfy { $0.count <= 102 })
      #expect(comments.last == "# a line of two", "no comment may end in the recipe")
    }
  }

  @Test("The student alone keeps its training where another one was found for the distilled student")
  func bestRecipeOfTraining() throws {
    try RunRecipe.withFolder { folder in
      let rate = "training.optimizer.learning_rate"
      let request = try makeRequest(folder, space: ["\(rate)=1e-4..1e-1:log", "training.batch_size=32,128"])
      let definition = try StudyDefinition.of(request).definition
      let text = try definition.bestRecipe([rate: "0.002", "training.batch_size": "32"], comments: ["Found."])
      let recipe = try Configuration.parse(text: text, fileName: "best.yaml")
      let before = try Configuration.load(path: "\(folder)/recipe.yaml").alone
      #expect(recipe.training.optimizer.learningRate == 0.002 && recipe.training.batchSize == 32)
      #expect(recipe.alone.optimizer == before.optimizer && recipe.alone.schedule == before.schedule)
      // The budget is that of both.
      #expect(recipe.alone.batchSize == 32)
      let same = try definition.bestRecipe(["training.batch_size": "32"], comments: ["Found."])
      #expect(!same.contains("alone"))
    }
  }

  // MARK: What is shown

  /// A study with trials that were trained in full, stopped, and failed; a `<` and an `&` in a value.
  static func sample(goal: SearchGoal = .accuracy) throws -> TuneData {
    let definition = StudyDefinition(
      name: "a <study> & more", recipe: "",
      space: SearchSpace([
        SearchKey("terms.0.soft_targets.temperature", .choices(["1", "4", "20"])),
        SearchKey("student.model.hidden", .choices(["[8]", "[32]"])),
        SearchKey("training.optimizer.learning_rate", .numbers(low: 1e-3, high: 0.1, isLogarithmic: true)),
      ]), sampler: .bayesian(startup: 10), goal: goal, halving: try Halving(factor: 3, first: 1, whole: 9),
      trainingSeeds: [1])
    var trials: [Trial] = []
    for (index, temperature) in ["1", "4", "20", "1", "4", "20", "4", "20"].enumerated() {
      let values = [
        "terms.0.soft_targets.temperature": temperature, "student.model.hidden": index < 3 ? "[8]" : "[32]",
        "training.optimizer.learning_rate": index == 4 ? "0.1" : "0.0\(index + 1)",
      ]
      let score = SearchScore(accuracy: 0.8 + 0.02 * Double(index == 4 ? 8 : index), loss: 0.5 - 0.01 * Double(index))
      trials.append(
        Trial(
          number: index + 1, state: index < 6 ? .done : index == 6 ? .paused : .failed, origin: .random, values: values,
          rung: index < 6 ? 2 : 0,
          reports: index == 7
            ? []
            : (index < 6 ? [0, 1, 2] : [0]).map {
              Trial.Report(rung: $0, epoch: [1, 3, 9][$0], scores: [score], seconds: 2)
            }, message: index == 7 ? "the loss is <no> number" : nil, owner: "host:1:2", heartbeat: Date()))
    }
    return TuneData(definition, trials: trials, limit: 8, validationExamples: 150, isTimeUp: false)
  }

  @Test("The best trial, what is to be known of it, and curves for each size of the student")
  func data() throws {
    let data = try Self.sample()
    #expect(data.best == 5)
    #expect(data.conclusion.contains("Of 8 trials, trial 5 is best") && data.conclusion.contains("temperature = 4"))
    let notes = data.notes.joined(separator: "\n")
    #expect(notes.contains("1 trial failed") && notes.contains("1 trial was stopped early"))
    #expect(notes.contains("learning_rate is near the upper end"))
    // p = 146 / 154, √(p (1 − p) / 154) = 0.0179; 0.9, of trial 6, is not within it.
    #expect(notes.contains("standard error of 1.79 points: 0 other trials"))
    #expect(data.progress.map(\.trial) == [1, 2, 3, 4, 5, 6])
    #expect(data.progress.map(\.score.accuracy).last == 0.8 + 0.02 * 8)
    let curve = try #require(data.curves.first { $0.by == "student.model.hidden" })
    #expect(curve.key == "terms.0.soft_targets.temperature")
    #expect(curve.lines.map(\.value) == ["[8]", "[32]"])
    #expect(curve.lines.map { $0.points.map(\.value) } == [[1, 4, 20], [1, 4, 20]])
    #expect(curve.lines[0].points.map(\.mean) == [0, 1, 2].map { 0.8 + 0.02 * $0 })
    let whole = try #require(data.curves.first { $0.by == nil && $0.key == curve.key })
    #expect(whole.lines.count == 1 && whole.lines[0].points.map(\.trials) == [2, 2, 2])
    #expect(abs(whole.lines[0].points[0].mean - 0.83) < 1e-12 && whole.lines[0].points[0].low == 0.8)
    // By loss it is the last one that was trained in full.
    #expect(try Self.sample(goal: .loss).best == 6)
  }

  @Test("A curve goes through the means over the seeds, its band from the worst to the best seed")
  func bands() throws {
    let definition = StudyDefinition(
      name: "x", recipe: "", space: SearchSpace([SearchKey("training.clip_norm", .choices(["1", "2"]))]),
      sampler: .grid(points: 2), trainingSeeds: [1, 2])
    let trials = [[0.5, 0.75], [0.25, 0.75]].enumerated().map { index, accuracies in
      let scores = accuracies.map { SearchScore(accuracy: $0, loss: 1) }
      return Trial(
        number: index + 1, state: .done, origin: .grid, values: ["training.clip_norm": "\(index + 1)"],
        reports: [Trial.Report(rung: 0, epoch: 1, scores: scores, seconds: 1)])
    }
    let data = TuneData(definition, trials: trials, limit: 2, validationExamples: 10, isTimeUp: false)
    let points = try #require(data.curves.first?.lines.first).points
    #expect(points.map(\.mean) == [0.625, 0.5] && points.map(\.best) == [0.625, 0.5])
    #expect(points.map(\.low) == [0.5, 0.25] && points.map(\.high) == [0.75, 0.75])
    #expect(TuneReport.html(data).contains("class=\"band"))
  }

  @Test("Logarithmic axes have round numbers, as many as there is room for")
  func logarithmicTicks() {
    func ticks(_ low: Double, _ high: Double, _ most: Int = 5) -> [String] {
      Scale.logarithmicTicks(from: low, to: high, most: most).map { String(format: "%g", $0) }
    }
    #expect(ticks(1, 20) == ["1", "2", "5", "10", "20"])
    #expect(ticks(1, 100) == ["1", "3", "10", "30", "100"])
    #expect(ticks(1e-4, 1e-1) == ["0.0001", "0.001", "0.01", "0.1"])
    #expect(ticks(1e-9, 1, 4) == ["1e-09", "1e-06", "0.001", "1"])
    #expect(ticks(2.2, 4.5).isEmpty && ticks(0, 4).isEmpty && ticks(3, 2).isEmpty)
  }

  @Test("The JSON has all trials and no process")
  func json() throws {
    let object = try #require(
      try JSONSerialization.jsonObject(with: Self.sample().encoded()) as? [String: Any])
    #expect(object["schema"] as? Int == 1 && object["best"] as? Int == 5)
    let trials = try #require(object["trials"] as? [[String: Any]])
    #expect(trials.count == 8 && trials.allSatisfy { $0["owner"] == nil && $0["heartbeat"] == nil })
    #expect((trials[0]["values"] as? [String: String])?["student.model.hidden"] == "[8]")
    #expect((object["curves"] as? [Any])?.isEmpty == false)
  }

  @Test("The table has the whole ones first, from the best on")
  func table() throws {
    let data = try Self.sample()
    #expect(TuneTable.sorted(data).map(\.number) == [5, 6, 4, 3, 2, 1, 7, 8])
    for trial in data.trials { #expect(TuneTable.row(trial, data).count == TuneTable.columns(data).count) }
  }

  @Test("The page is well-formed, shows every trial, and lets nothing of a value become markup")
  func page() throws {
    let data = try Self.sample()
    let page = TuneReport.html(data, best: "# <found> & kept\nname: x\n")
    for id in ["verdict", "across", "slices", "curves", "recipe", "trials", "words"] {
      #expect(page.contains("id=\"\(id)\""), "\(id)")
    }
    #expect(
      page.components(separatedBy: "class=\"trial ").count - 1 == 7, "a line for each trial that scored something")
    #expect(page.contains("a &lt;study&gt; &amp; more") && page.contains("the loss is &lt;no&gt; number"))
    #expect(!page.contains("<study>") && !page.contains("<found>"))
    let document = try Page(page)
    #expect(document.duplicateIds.isEmpty && document.ids.isSuperset(of: document.references))
    #expect(document.namelessPictures == 0 && document.scopelessHeads == 0)
  }

  @Test("Of nothing a page is made too")
  func empty() throws {
    let definition = StudyDefinition(
      name: "x", recipe: "", space: SearchSpace([SearchKey("training.epochs", .choices(["1", "2"]))]), sampler: .random,
      trainingSeeds: [1])
    let data = TuneData(definition, trials: [], limit: 3, validationExamples: 10, isTimeUp: true)
    #expect(data.best == nil && data.conclusion.contains("No trial"))
    #expect(data.notes.contains { $0.contains("0 of 3 trials") })
    #expect(TuneReport.html(data).contains("id=\"verdict\""))
  }

  @Test(
    "The page opens in a browser without a console error, wide and narrow, light and dark",
    .enabled(if: Browser.found != nil, "needs Chromium (Debian: apt-get install chromium)"), .timeLimit(.minutes(30)))
  func browser() throws {
    let browser = try #require(Browser.found)
    for options in [["--window-size=1280,900"], ["--window-size=500,800", "--blink-settings=preferredColorScheme=0"]] {
      let visit = try browser.open(TuneReport.html(try Self.sample(), best: "name: x\n"), options: options)
      #expect(visit.console.isEmpty, "\(visit.console)")
      #expect(visit.page.contains("data-ready=\"yes\""))
    }
  }
}
