import Distillation
import Foundation
import TestSupport
import Testing

@testable import DistillRecipes

/// What a comparison understands, concludes and shows. What it trains is tested with the binary.
@Suite("Comparison")
struct ComparisonTests {
  // MARK: What is asked for

  @Test("Variations are combined; a comma in brackets or quotes parts nothing")
  func variations() throws {
    let all = try ComparisonSource.combinations([
      "terms.0.soft_targets.temperature=1,4", "student.model.hidden=[8],[16, 8]",
    ])
    #expect(
      all.map { $0.map(\.override) } == [
        ["terms.0.soft_targets.temperature=1", "student.model.hidden=[8]"],
        ["terms.0.soft_targets.temperature=1", "student.model.hidden=[16, 8]"],
        ["terms.0.soft_targets.temperature=4", "student.model.hidden=[8]"],
        ["terms.0.soft_targets.temperature=4", "student.model.hidden=[16, 8]"],
      ])
    #expect(all[1].map(\.label) == ["temperature=1", "hidden=[16, 8]"])
    #expect(try ComparisonSource.combinations([]).map(\.count) == [0])
    #expect(try ComparisonSource.combinations(["description='a, b',c"])[0].map(\.override) == ["description='a, b'"])
    for wrong in ["temperature", "temperature=", "=1,2", "temperature=1,,2"] {
      #expect(throws: RunError.self, "\(wrong)") { try ComparisonSource.combinations([wrong]) }
    }
  }

  @Test("Recipes of one name get different ones, and folders have names that are none of the system's")
  func names() throws {
    try RunRecipe.withFolder { folder in
      for name in ["a", "b"] { try RunRecipe.write(RunRecipe.text(), to: "\(folder)/\(name).yaml") }
      let sources = try ComparisonSource.all(ComparisonRequest(["\(folder)/a.yaml", "\(folder)/b.yaml", "seeds=[3]"]))
      #expect(sources.map(\.name) == ["small", "small (2)"])
      #expect(sources.map { $0.recipe?.seeds } == [[3], [3]])
    }
    #expect(try ComparisonSource.folderName("plain-1.2") == "plain-1.2")
    let names = try ["a/b", "a:b", "../a", "..", "T = 1", String(repeating: "x", count: 300)].map {
      try ComparisonSource.folderName($0)
    }
    #expect(Set(names).count == names.count)
    #expect(names.allSatisfy { !$0.contains("/") && !$0.hasPrefix(".") && $0.count < 80 })
  }

  @Test("What is not there, and what there is nothing to do with, is refused")
  func refusals() throws {
    #expect(throws: RunError.self) { try Comparison(ComparisonRequest(["nowhere.yaml"])) }
    #expect(throws: RunError.self) { try Comparison(ComparisonRequest(["seeds=[1]"])) }
    try RunRecipe.withRun { run in
      var request = ComparisonRequest([run])
      request.output = run
      #expect(throws: RunError.self) { try Comparison(request) }
      request.output = "\(run)/../comparison"
      request.variations = ["training.epochs=1,2"]
      #expect(throws: RunError.self) { try Comparison(request) }
    }
  }

  @Test("A run of which something is missing or altered is not compared")
  func damagedRun() throws {
    try RunRecipe.withRun { run in
      #expect(try FinishedRun(RunFolder(run)).results.count == 2)
      let job = try #require(try RunRecipe.jobs(in: run, "alone").first)
      let file = "\(job)/test.safetensors"
      let whole = try RunRecipe.read(file)
      try Data(whole.dropLast()).write(to: URL(fileURLWithPath: file))
      #expect(throws: RunError.self) { try FinishedRun(RunFolder(run)) }
      try whole.write(to: URL(fileURLWithPath: file))
      #expect(try FinishedRun(RunFolder(run)).results.count == 2)
      try FileManager.default.removeItem(atPath: "\(run)/metrics.json")
      #expect(throws: RunError.self) { try FinishedRun(RunFolder(run)) }
    }
  }

  @Test("A claim is had by one at a time, and is gone with its holder")
  func claims() throws {
    try RunRecipe.withFolder { folder in
      let sharing = try SharedTrainings(folder: folder, runs: [])
      let job = try TrainingJob(
        setting: "", arm: .alone, seed: 1, configuration: try RunRecipe.configuration(), examples: [0], labelled: [0],
        budget: Budget(try RunRecipe.configuration().training, exampleCount: 1), dependencies: ["a"])
      var claim = try sharing.claim(job)
      #expect(claim != nil)
      #expect(try sharing.claim(job) == nil)
      withExtendedLifetime(claim) {}
      claim = nil
      #expect(try sharing.claim(job) != nil)
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
    }
  }

  // MARK: What is concluded

  private func pair(
    _ differences: [Double], corrected: Double? = nil, metric: ComparisonMetric = .accuracy
  ) -> ComparisonData.Pair {
    let difference = ComparisonData.Difference(differences)
    let resolution = Resolution(differences)
    let p = corrected ?? difference.p
    let verdict: ComparisonData.Verdict =
      p.map { $0 >= 0.05 ? .unclear : (difference.mean > 0) == metric.isBetterHigh ? .better : .worse } ?? .tooFewSeeds
    return ComparisonData.Pair(
      arm: "warm", baseline: "alone", seeds: Array(differences.indices), verdict: verdict, sentence: "",
      differences: [metric.rawValue: difference], correctedP: p, smallestDifference: resolution?.smallestDifference,
      seedsNeeded: resolution?.pairs(toResolve: difference.mean), mcnemar: [], classes: [])
  }

  private func sentence(_ differences: [Double], corrected: Double? = nil, among count: Int = 1) -> String {
    ComparisonConclusion.sentence(pair(differences, corrected: corrected), .accuracy, among: count)
  }

  @Test("The sentence says what is shown, and what it would take where nothing is")
  func sentences() throws {
    #expect(
      sentence([0.010, 0.012, 0.011]).hasPrefix(
        "warm is better than alone: +1.10 points of accuracy, 95 % interval +0.85 to +1.35, 3 seeds."))
    #expect(sentence([-0.010, -0.012, -0.011]).hasPrefix("warm is worse than alone: −1.10 points"))
    let unclear = sentence([0.004, -0.002, 0.007])
    #expect(
      unclear.hasPrefix("No difference between warm and alone can be shown with 3 seeds: +0.30 points of accuracy"))
    let resolution = try #require(Resolution([0.004, -0.002, 0.007]))
    let needed = try #require(resolution.pairs(toResolve: 0.003))
    #expect(unclear.contains("; \(needed) would resolve 0.30 points"), "\(unclear)")
    #expect(unclear.contains("3 resolve 1.42 points or more"), "\(unclear)")
    #expect(sentence([0.001, -0.001, 0.000_001]).contains("more than 1,000 to resolve"))
    #expect(sentence([0.002]).hasPrefix("Nothing can be concluded of warm and alone from 1 seed"))
    #expect(sentence([0, 0, 0]) == "warm and alone scored the same with each of 3 seeds.")
    // Clear by itself, and not among several.
    let differences = [0.010, 0.004, 0.012, 0.003]
    let p = try #require(pairedTTest(differences))
    #expect(p < 0.05)
    #expect(sentence(differences).hasPrefix("warm is better"))
    #expect(
      sentence(differences, corrected: 3 * p, among: 3).contains("among 3 comparisons luck gives such a one too often"))
    // A p is said in one way.
    #expect(
      sentence(differences, corrected: 0.000_2, among: 3).hasSuffix(", p below 0.001 corrected for 3 comparisons."))
    // Of a calibration error less is better.
    let calibration = pair([-0.010, -0.012, -0.011], metric: .ece)
    #expect(calibration.verdict == .better)
    #expect(
      ComparisonConclusion.sentence(calibration, .ece, among: 1).contains("warm is better than alone: −1.10 points"))
  }

  @Test("Seeds that all differ by the same show nothing by themselves")
  func equalDifferences() throws {
    // 60 of 360 examples, as rounding has it.
    let differences = [60.0 / 360, 0.9 - (0.9 - 60.0 / 360)]
    let alike = ComparisonData.Difference(differences)
    #expect(alike.low == nil && alike.high == nil && alike.p == nil && alike.overSeeds == nil)
    var pair = pair(differences)
    pair.verdict = .notMeasured
    let unknown = ComparisonConclusion.sentence(pair, .accuracy, among: 1)
    #expect(
      unknown
        == "Whether warm and alone differ cannot be told: +16.67 points of accuracy with each of 2 seeds; all seeds differ by "
        + "exactly the same, so that their spread tells nothing. Use more seeds.")
    // With what the examples say.
    let own = [Bool](repeating: true, count: 90) + [Bool](repeating: false, count: 10)
    let other = [Bool](repeating: false, count: 15) + own.dropFirst(15)
    let evidence = try #require(ExampleEvidence([own, own], [other, other]))
    assertClose(evidence.p, 2 / 32_768.0, relative: 1e-9)
    pair.evidence = evidence
    pair.verdict = .better
    let better = ComparisonConclusion.sentence(pair, .accuracy, among: 1)
    #expect(
      better.hasPrefix(
        "warm is better than alone: +16.67 points of accuracy with each of 2 seeds; all seeds differ by exactly the same, so "
          + "that their spread tells nothing; by the test examples p below 0.001 (McNemar), 95 % interval over seeds and "
          + "examples +"), "\(better)")
    _ = try Page(ComparisonReport.html(Self.sample(seeds: 2, arms: 3)))
  }

  @Test("A run, and a comparison of it, whose seeds all differ by the same")
  func equalSeeds() throws {
    try RunRecipe.withFolder { folder in
      let text = RunRecipe.text().replacing("seeds: [1]", with: "seeds: [1, 2]")
        .replacing("terms: [{soft_targets: {temperature: 2}}]", with: "terms: [{hard_labels: {}}]")
      // On labels only, the distilled student is the one alone.
      let data = try RunRecipe.run(try Configuration.parse(text: text), in: "\(folder)/run").data
      let arm = try #require(data.settings[0].primary)
      #expect(arm.gain == nil && arm.evidence?.p == 1 && arm.evidence?.low == 0)
      #expect(data.settings[0].conclusion.hasPrefix("No clear difference: 0.00 points with each of 2 seeds; all seeds"))
      var request = ComparisonRequest(["\(folder)/run"])
      request.output = "\(folder)/comparison"
      let pair = try #require(try Comparison(request).run().pairs.first)
      let difference = try #require(pair.difference(.accuracy))
      #expect(difference.p == nil && difference.low == nil && pair.evidence?.p == 1 && pair.correctedP == 1)
      #expect(pair.sentence == "distilled and alone scored the same with each of 2 seeds.")
      #expect(pair.smallestDifference == nil)
    }
  }

  @Test("Arms are called by what tells them apart, and a baseline also by its file")
  func armNames() throws {
    func label(_ parts: [String], _ aliases: [String] = []) -> ArmLabel {
      let source = ComparisonSource(
        name: parts.joined(separator: ", "), kind: .run(RunFolder("x")), parts: parts, aliases: aliases)
      return ArmLabel(source, setting: nil, isOnly: false)
    }
    let grid = [1, 4].flatMap { temperature in
      ["1e-2", "1e-3"].map { label(["temperature=\(temperature)", "learning_rate=\($0)"]) }
    }
    let names = ArmNames(alone: [[grid[0], grid[2]], [grid[1], grid[3]]], distilled: grid)
    #expect(names.alone == ["alone, learning_rate=1e-2", "alone, learning_rate=1e-3"])
    #expect(names.distilled.last == "temperature=4, learning_rate=1e-3")
    #expect(ArmNames(alone: [grid], distilled: grid).alone == ["alone"])
    let (warm, hot) = (label(["warm"], ["a.yaml", "a"]), label(["hot"], ["b.yaml", "b"]))
    #expect(ArmNames(alone: [[warm], [hot]], distilled: [warm, hot]).alone == ["alone, warm", "alone, hot"])
    #expect(ArmNames(alone: [[warm]], distilled: [warm]).distilled == ["distilled"])
    let all = ["alone", "warm", "hot"]
    let aliases = [[], warm.aliases, hot.aliases]
    #expect(try ArmNames.place(of: "hot", in: all, aliases: aliases) == 2)
    #expect(try ArmNames.place(of: "b.yaml", in: all, aliases: aliases) == 2)
    #expect(throws: RunError.self) { try ArmNames.place(of: "c", in: all, aliases: aliases) }
    #expect(throws: RunError.self) {
      try ArmNames.place(of: "a", in: all, aliases: [[], warm.aliases, warm.aliases])
    }
  }

  @Test("McNemar's test stands beside the accuracy only")
  func mcnemarColumns() throws {
    var data = Self.sample(seeds: 3, arms: 2)
    for index in data.pairs.indices { data.pairs[index].differences["ece"] = data.pairs[index].differences["accuracy"] }
    #expect(ComparisonTableText.testColumns(data).contains("p, McNemar"))
    #expect(ComparisonReport.html(data).contains(">p, McNemar<"))
    data.metric = .ece
    #expect(!ComparisonTableText.testColumns(data).contains("p, McNemar"))
    #expect(ComparisonTableText.tests(data).allSatisfy { $0.count == ComparisonTableText.testColumns(data).count })
    #expect(!ComparisonReport.html(data).contains(">p, McNemar<"))
  }

  @Test("What may not be concluded is said as well")
  func caveats() {
    func caveats(_ pair: ComparisonData.Pair) -> String {
      ComparisonConclusion(metric: .accuracy, pairs: [pair]).caveats.joined(separator: "\n")
    }
    #expect(
      caveats(pair([0.010, 0.012, 0.011])).contains("With 3 seeds the permutation test cannot give a p below 0.25,"))
    #expect(!caveats(pair([0.01, 0.012, 0.011, 0.01, 0.009, 0.012])).contains("cannot give"))
    #expect(caveats(pair([0.004, -0.002, 0.007])).contains("not shown to be alike"))
    var withExamples = pair([0.010, 0.012, 0.011])
    // Of ten examples one more is right: with other ones it may be none.
    let byExample = [Double](repeating: 0, count: 90) + [1]
    withExamples.differences["accuracy"] = ComparisonData.Difference(
      [0.010, 0.012, 0.011], byExample: [byExample, byExample, byExample])
    #expect(caveats(withExamples).contains("the difference may vanish"))
  }

  @Test("Several comparisons are one sentence")
  func severalInOne() {
    let pairs = [pair([0.010, 0.012, 0.011]), pair([0.004, -0.002, 0.007])]
    let text = ComparisonConclusion(metric: .accuracy, pairs: pairs).sentence
    #expect(
      text.hasPrefix(
        "2 comparisons against alone, accuracy in points, corrected for their number: better: warm (+1.10); no difference "
          + "can be shown: warm (+0.30) (3 seeds resolve 1.42 points or more)."), "\(text)")
  }

  // MARK: The test split

  @Test("Each student counts once, each report as often as it is made")
  func ledger() throws {
    try RunRecipe.withFolder { folder in
      let ledger = TestLedger(path: "\(folder)/test-looks.jsonl")
      let students = [("alone, seed 1", "a"), ("warm, seed 1", "b")].map { (what: $0.0, identity: $0.1) }
      let past = Date(timeIntervalSinceNow: -60)
      let future = Date(timeIntervalSinceNow: 60)
      #expect(try ledger.note(students: students, arms: 2, since: past) == .init(students: 2, reports: 1))
      // Another process of the same command.
      #expect(try ledger.note(students: students, arms: 2, since: past) == .init(students: 2, reports: 1))
      #expect(try ledger.note(students: students, arms: 2, since: future) == .init(students: 2, reports: 2))
      let more = students + [(what: "warm, seed 2", identity: "c")]
      #expect(try ledger.note(students: more, arms: 2, since: past) == .init(students: 3, reports: 3))
      #expect(ledger.entries().map(\.kind) == [.student, .student, .report, .report, .student, .report])
      // A line that was cut short does not count.
      let file = URL(fileURLWithPath: ledger.path)
      try (RunRecipe.read(ledger.path) + Data("{\"kind\":".utf8)).write(to: file)
      #expect(ledger.entries().count == 6)
    }
  }

  // MARK: The page

  @Test("The frontier has the models that no cheaper one beats")
  func frontier() {
    func point(_ name: String, _ cost: Double, _ score: Double) -> ComparisonData.CostPoint {
      ComparisonData.CostPoint(name: name, cost: cost, score: score)
    }
    let points = [
      point("dear", 9, 0.95), point("cheap", 1, 0.8), point("beaten", 5, 0.85), point("good", 4, 0.9),
      point("same cost, worse", 4, 0.88), point("dearer, alike", 10, 0.95),
    ]
    func frontier(isBetterHigh: Bool) -> [String] {
      ComparisonData.withFrontier(points, isBetterHigh: isBetterHigh).filter(\.isOnFrontier).map(\.name)
    }
    #expect(frontier(isBetterHigh: true) == ["cheap", "good", "dear"])
    #expect(frontier(isBetterHigh: false) == ["cheap"])
  }

  @Test("A figure of costs has the models whose cost and score are known, the teacher by its accuracy")
  func costs() throws {
    var data = Self.sample(seeds: 3, arms: 3)
    func names(_ cost: ComparisonCost, _ metric: ComparisonMetric = .accuracy) -> [String] {
      ComparisonData.costs(cost, arms: data.arms, teachers: data.teachers, metric: metric).map(\.name)
    }
    #expect(names(.latency) == ["alone", "<b>arm 1</b>", "<b>arm 2</b>", "teacher"])
    #expect(names(.multiplyAdds, .nll) == [])
    data.arms[0].figures.latencySeconds = 0
    data.arms[1].figures.latencySeconds = nil
    data.arms[2].scores = [:]
    #expect(names(.latency) == ["teacher"])
    #expect(names(.multiplyAdds) == ["alone", "<b>arm 1</b>", "teacher"])
    data.costs = ["latency_seconds": Array(data.costs(.latency).prefix(1))]
    #expect(CostSection(data: data).markup() == nil, "one model is no figure")
  }

  @Test("Names of models that lie close together are beside each other, and inside the figure")
  func frontierNames() throws {
    let crowd = (0..<6).map { index in
      FrontierPlot.Point(
        name: "student \(index)", tone: .third, cost: 1_000 + Double(index), value: 0.9 + 0.001 * Double(index),
        deviation: 0.002, isOnFrontier: true)
    }
    let teacher = FrontierPlot.Point(name: "teacher", tone: .teacher, cost: 1e6, value: 0.95, isOnFrontier: true)
    let plot = FrontierPlot(
      id: "x", title: "x", points: crowd + [teacher], costText: { Quantity.plain($0) },
      valueText: { Quantity.percent($0) })
    let source = try #require(plot.markup()).source
    let pattern = /class="point-name [^"]*" x="([-\d.]+)" y="([-\d.]+)" dy="0.35em" text-anchor="(\w+)">([^<]*)</
    let boxes = try source.matches(of: pattern).map { match -> (left: Double, right: Double, y: Double) in
      let (x, y) = (try #require(Double(match.1)), try #require(Double(match.2)))
      // Letters of this size are about six wide.
      let width = 6 * Double(match.4.count)
      let left = match.3 == "start" ? x : match.3 == "end" ? x - width : x - width / 2
      return (left, left + width, y)
    }
    #expect(boxes.count == 7)
    for (index, box) in boxes.enumerated() {
      #expect(box.left >= 0 && box.right <= 460 && box.y >= 0 && box.y <= 290)
      for other in boxes.dropFirst(index + 1) {
        let isApart = box.right <= other.left || other.right <= box.left || abs(box.y - other.y) >= 11
        #expect(isApart, "\(box) \(other)")
      }
    }
  }

  @Test("The page is well-formed, complete, and everything on it has a name")
  func page() throws {
    for seeds in [1, 3, 8] {
      let data = Self.sample(seeds: seeds, arms: 4)
      let html = ComparisonReport.html(data)
      let page = try Page(html)
      #expect(page.ids.isSuperset(of: ["verdict", "cost", "models", "pairs", "curves", "data", "words"]))
      #expect(page.duplicateIds.isEmpty, "\(page.duplicateIds)")
      for target in page.references { #expect(page.ids.contains(target), "\(target)") }
      #expect(page.namelessPictures == 0)
      #expect(page.scopelessHeads == 0)
      #expect(page.says("<b>arm 1</b>"), "names are text")
      for forbidden in ["http:", "https:", "@import", "<link", "url("] { #expect(!html.contains(forbidden)) }
    }
    // Nothing was kept of texts: no classes, no tests over examples.
    var text = Self.sample(seeds: 3, arms: 2)
    text.data.classNames = []
    for index in text.arms.indices { (text.arms[index].recalls, text.arms[index].reliability) = ([], []) }
    for index in text.pairs.indices {
      (text.pairs[index].mcnemar, text.pairs[index].classes, text.pairs[index].pooledMcnemar) = ([], [], nil)
    }
    _ = try Page(ComparisonReport.html(text))
  }

  @Test("The numbers of the page are in the JSON, in keys of one kind")
  func json() throws {
    let data = Self.sample(seeds: 3, arms: 3)
    let object = try #require(try JSONSerialization.jsonObject(with: data.encoded()) as? [String: Any])
    #expect(object["test_looks"] is [String: Any])
    let costs = try #require(object["costs"] as? [String: [[String: Any]]])
    #expect(Set(costs.keys) == ["multiply_adds", "latency_seconds"])
    let point = try #require(costs["multiply_adds"]?.last)
    #expect(point["name"] as? String == "teacher" && point["is_on_frontier"] as? Bool == true)
    #expect(point["cost"] as? Double == 1_000_000 && point["score"] as? Double == 0.97)
    let pair = try #require((object["pairs"] as? [[String: Any]])?.first)
    #expect(
      Set(pair.keys).isSuperset(of: [
        "arm", "baseline", "seeds", "verdict", "sentence", "differences", "corrected_p", "smallest_difference",
        "mcnemar",
        "pooled_mcnemar", "agreement", "classes",
      ]), "\(pair.keys.sorted())")
    let difference = try #require((pair["differences"] as? [String: [String: Any]])?["accuracy"])
    #expect(
      Set(difference.keys) == [
        "by_seed", "mean", "low", "high", "over_seeds", "over_seeds_and_examples", "p", "permutation",
      ],
      "\(difference.keys.sorted())")
  }

  @Test(
    "The page opens without a console error, wide and narrow, light and dark",
    .enabled(if: Browser.found != nil, "needs Chromium (Debian: apt-get install chromium)"), .timeLimit(.minutes(30)))
  func browser() throws {
    let browser = try #require(Browser.found)
    for options in [["--window-size=1280,900"], ["--window-size=500,800", "--blink-settings=preferredColorScheme=0"]] {
      let visit = try browser.open(ComparisonReport.html(Self.sample(seeds: 5, arms: 5)), options: options)
      #expect(visit.console.isEmpty, "\(visit.console)")
      let (isReady, isWhole) = (visit.page.contains("data-ready=\"yes\""), visit.page.contains("id=\"words\""))
      #expect(isReady && isWhole)
    }
  }

  /// A comparison as it might be.
  static func sample(seeds: Int, arms count: Int) -> ComparisonData {
    let classes = ["zero", "one", "<two>"]
    let names = ["alone"] + (1..<count).map { "<b>arm \($0)</b>" }
    func scores(_ arm: Int, _ seed: Int) -> Double {
      0.8 + 0.02 * Double(arm) + 0.003 * Double((seed * 7 + arm * 3) % 5)
    }
    let arms = names.enumerated().map { index, name in
      ComparisonData.Arm(
        name: name, isAlone: index == 0, run: "comparisons/x/runs/\(index)", steps: 100, examplesShown: 6_400,
        figures: MetricsFile.Figures(
          ReportData.Figures(
            architecture: "mlp", parameters: 900 * (index + 1), bytes: 3_600, multiplyAdds: 888 * (index + 1),
            latencySeconds: 1e-5 * Double(index + 1))),
        seeds: (0..<seeds).map {
          ComparisonData.Seed(seed: $0, scores: ["accuracy": scores(index, $0)], identity: "\(index)-\($0)")
        },
        scores: ReportData.Spread((0..<seeds).map { scores(index, $0) }).map { ["accuracy": $0] } ?? [:],
        validationAccuracy: ReportData.Spread([0.8]), recalls: [0.8, 0.9, 0.7],
        reliability: [Metrics.ReliabilityBin(lower: 0.8, upper: 0.9, count: 40, confidence: 0.85, accuracy: 0.8)],
        curve: (1...5).map {
          ComparisonData.CurvePoint(
            epoch: Double($0), mean: 0.1 * Double($0), low: 0.08 * Double($0), high: 0.12 * Double($0))
        })
    }
    let pairs = (1..<count).map { index in
      let differences = (0..<seeds).map { scores(index, $0) - scores(0, $0) }
      let byExample = differences.map { difference in (0..<50).map { Double($0 % 3) * difference } }
      var pair = ComparisonData.Pair(
        arm: names[index], baseline: "alone", seeds: Array(0..<seeds), verdict: seeds > 1 ? .better : .tooFewSeeds,
        sentence: "", differences: ["accuracy": ComparisonData.Difference(differences, byExample: byExample)],
        correctedP: pairedTTest(differences), smallestDifference: Resolution(differences)?.smallestDifference,
        mcnemar: (0..<seeds).map { ComparisonData.SeedTest(seed: $0, test: McNemarTest(onlyFirst: 9, onlySecond: 4)) },
        pooledMcnemar: McNemarTest(onlyFirst: 9 * seeds, onlySecond: 4 * seeds), agreement: 0.9,
        classes: classes.map {
          ComparisonData.ClassDifference(name: $0, arm: 0.8, baseline: 0.7, mean: 0.1, low: 0.05, high: 0.15)
        })
      pair.sentence = ComparisonConclusion.sentence(pair, .accuracy, among: count - 1)
      return pair
    }
    let teacher = ComparisonData.Teacher(
      name: "teacher", accuracy: 0.97,
      figures: MetricsFile.Figures(
        ReportData.Figures(
          architecture: "resnet", parameters: 90_000, bytes: 360_000, multiplyAdds: 1_000_000, latencySeconds: 8e-4)))
    let costs = ComparisonCost.allCases.map {
      ($0.rawValue, ComparisonData.costs($0, arms: arms, teachers: [teacher], metric: .accuracy))
    }
    let words = ComparisonConclusion(metric: .accuracy, pairs: pairs)
    return ComparisonData(
      title: "a & b", date: Date(timeIntervalSince1970: 0), metric: .accuracy, conclusion: words.sentence,
      caveats: words.caveats, warnings: ["The budgets differ."],
      data: ComparisonData.DataFigures(
        name: "digits", classNames: classes, trainingExamples: 1_293, validationExamples: 144, testExamples: 360,
        trainingHash: "aa", testHash: "bb"),
      teachers: [teacher], arms: arms, costs: Dictionary(uniqueKeysWithValues: costs), pairs: pairs,
      chosen: ComparisonData.Choice(arm: names[1], validationAccuracy: 0.8),
      testLooks: ComparisonData.TestLooks(students: seeds * count, reports: 2))
  }
}
