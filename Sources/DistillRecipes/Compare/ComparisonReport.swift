import Distillation
import Foundation

/// The report of a comparison: a page of the same kind as that of a run.
public enum ComparisonReport {
  /// The whole page.
  public static func html(_ data: ComparisonData) -> String {
    ReportPage(
      kind: "Comparison", title: data.title.isEmpty ? "Untitled comparison" : data.title,
      windowTitle: data.title.isEmpty ? "Comparison" : data.title, date: data.date,
      contents: [
        ("Differences", "differences"), ("Cost", "cost"), ("Models", "models"), ("Pairs", "pairs"),
        ("Learning curves", "curves"), ("Data", "data"), ("Words", "words"),
      ].filter { $0.1 != "curves" || data.arms.contains { !$0.curve.isEmpty } }, style: style
    ).html {
      ComparisonVerdictSection(data: data).markup()
      DifferencesSection(data: data).markup()
      CostSection(data: data).markup()
      ModelsSection(data: data).markup()
      PairsSection(data: data).markup()
      CurvesSection(data: data).markup()
      ComparisonDataSection(data: data).markup()
      ComparisonWordsSection().markup()
    }
  }

  private static let style = """
    .frontier{fill:none;stroke:var(--soft);stroke-width:1.5;stroke-dasharray:4 3}
    .spread{stroke:var(--tone);stroke-width:2}
    .point-name{font-size:11px;fill:var(--tone);paint-order:stroke;stroke:var(--page);stroke-width:3px}
    .frontier-chart{max-width:none}.lead+.charts{margin-top:1.8rem}
    .warning{margin-top:1.2rem;padding:.7rem 1rem;border-left:3px solid var(--alone);background:var(--wash)}
    .caveats{list-style:disc;padding-left:1.2rem;margin-top:1.2rem;color:var(--soft);max-width:46rem}
    .caveats li+li{margin-top:.4rem}
    .pair+.pair{margin-top:3rem}.pair th[scope=row]{min-width:9rem}
    """
}

extension ComparisonData {
  /// The colour that an arm has throughout the page.
  func tone(_ name: String) -> Tone {
    guard let index = arms.firstIndex(where: { $0.name == name }) else { return .teacher }
    let alone = arms.firstIndex(where: \.isAlone)
    let distilled = arms.firstIndex { !$0.isAlone }
    if index == alone { return .alone }
    if index == distilled { return .distilled }
    let before = arms.indices.filter { $0 < index && $0 != alone && $0 != distilled }
    return Tone.others[before.count % Tone.others.count]
  }
}

/// What may be concluded, and what not.
struct ComparisonVerdictSection {
  var data: ComparisonData

  func markup() -> Markup {
    element("section", ["id": "verdict", "class": "verdict", "aria-label": "Verdict"]) {
      element("div", ["class": "wrap"]) {
        element("p", ["class": "statement"]) { data.conclusion }
        for warning in data.warnings { element("p", ["class": "warning"]) { warning } }
        element("ul", ["class": "caveats"]) {
          for caveat in data.caveats { element("li") { caveat } }
          if let chosen = data.chosen {
            element("li") {
              "Chosen by \(chosen.reason): \(chosen.arm). Nothing here was chosen by the test split."
            }
          }
          element("li") { data.testLooks.sentence }
        }
      }
    }
  }
}

/// The differences with their intervals, one below the other.
struct DifferencesSection {
  var data: ComparisonData

  func markup() -> Markup? {
    let metric = data.metric.isShare ? data.metric : .accuracy
    let rows = data.pairs.compactMap { pair -> IntervalPlot.Row? in
      guard let difference = pair.difference(metric) else { return nil }
      return IntervalPlot.Row(
        name: pair.arm, detail: "against \(pair.baseline), \(counted(pair.seeds.count, "seed"))",
        tone: data.tone(pair.arm), interval: difference.interval,
        seedCount: pair.seeds.count)
    }
    guard let plot = IntervalPlot(rows: rows).markup() else { return nil }
    return section(
      "differences", "Differences in \(metric.title)",
      lead:
        "In percentage points. The dot is the mean over paired seeds, the line its 95\(Quantity.space)% interval by "
        + "Student's t. A line that crosses zero shows no difference; one of several that does not may be luck still, and the "
        + "conclusion goes by p corrected for their number."
        + (metric.isBetterHigh ? "" : " Less is better.")
    ) { plot }
  }
}

/// Accuracy against multiply-adds and against latency.
struct CostSection {
  var data: ComparisonData

  func markup() -> Markup? {
    let charts = ComparisonCost.allCases.compactMap { chart($0) }
    guard !charts.isEmpty else { return nil }
    return section(
      "cost", "What it costs",
      lead:
        "Of one input. The dashed line joins the models that no cheaper one beats; the bars are the standard deviation "
        + "over the seeds. Latencies were measured one after the other, on this machine, when the comparison was made."
    ) { element("div", ["class": "charts pairs"]) { for chart in charts { chart } } }
  }

  private func chart(_ cost: ComparisonCost) -> Markup? {
    let metric = data.metric
    let title = "\(metric.title) against \(cost.title)"
    return FrontierPlot(
      id: "cost-\(cost.title)", title: title.prefix(1).uppercased() + title.dropFirst(),
      points: data.costs(cost).map { point in
        FrontierPlot.Point(
          name: point.name, tone: data.tone(point.name), cost: point.cost, value: point.score,
          deviation: point.deviation, isOnFrontier: point.isOnFrontier)
      },
      costText: cost.text, valueText: { metric.text($0) }, isShare: metric.isShare
    ).markup()
  }
}

/// Everything that was measured of each way of training.
struct ModelsSection {
  var data: ComparisonData

  func markup() -> Markup {
    section("models", "Models", lead: "On the test split: mean ± standard deviation over the seeds.") {
      scrolling("Models") {
        element("table", ["class": "comparison"]) {
          head(ComparisonTableText.columns(data).map { ($0, true) })
          element("tbody") {
            for row in ComparisonTableText.rows(data) {
              element("tr") {
                element("th", ["scope": "row", "class": data.tone(row[0]).className]) {
                  element("span", ["class": "swatch", "aria-hidden": "true"])
                  row[0]
                }
                for cell in row.dropFirst() { element("td", ["class": "number"]) { cell } }
              }
            }
          }
        }
      }
      reliability()
    }
  }

  private func reliability() -> Markup? {
    let diagrams = data.arms.prefix(SettingSection.mostDrawn).enumerated().compactMap { index, arm in
      ReliabilityDiagram(
        id: "reliability-\(index)", title: arm.name, tone: data.tone(arm.name), bins: arm.reliability,
        calibrationError: arm.score(.ece)?.mean
      ).markup()
    }
    guard !diagrams.isEmpty else { return nil }
    return element("details", ["class": "block"]) {
      element("summary") { element("h3") { "Reliability" } }
      element("p", ["class": "hint"]) {
        "How often predictions of a confidence are right. Bars below the dashed diagonal mean too much confidence, bars "
          + "above it too little."
      }
      element("div", ["class": "diagrams"]) { for diagram in diagrams { diagram } }
    }
  }
}

/// Each pair with its tests, seeds and classes.
struct PairsSection {
  var data: ComparisonData

  func markup() -> Markup {
    section("pairs", "Pairs", lead: "Each difference is that of two students with the same seed.") {
      for (index, pair) in data.pairs.enumerated() {
        element("div", ["class": "block pair"]) {
          element("h3") { "\(pair.arm) against \(pair.baseline)" }
          element("p", ["class": "conclusion"]) { pair.sentence }
          differences(pair)
          folded("Seed by seed", isOpen: index == 0, seeds(pair))
          folded("Class by class", isOpen: index == 0, classes(pair))
        }
      }
    }
  }

  private func differences(_ pair: ComparisonData.Pair) -> Markup {
    scrolling("Differences, \(pair.arm)") {
      element("table") {
        head([
          ("Metric", false), ("Difference", true), ("95 % by t", true), ("95 % over seeds", true),
          ("95 % over seeds and examples", true), ("p, t-test", true), ("p, permutation", true),
        ])
        element("tbody") {
          for metric in ComparisonMetric.allCases {
            if let difference = pair.difference(metric) {
              element("tr") {
                element("th", ["scope": "row"]) { "\(metric.title), \(metric.unit)" }
                for cell in difference.cells(metric) { element("td", ["class": "number"]) { cell } }
              }
            }
          }
        }
      }
    }
  }

  private func seeds(_ pair: ComparisonData.Pair) -> Markup? {
    guard let difference = pair.difference(data.metric) else { return nil }
    return element("div") {
      // It is about being right, and says nothing of other metrics.
      let isTested = data.metric == .accuracy
      if isTested, let pooled = pair.pooledMcnemar {
        element("p", ["class": "hint"]) {
          "McNemar's test over the test examples of each seed; over all seeds together p is "
            + "\(Quantity.probability(pooled.p)), which is too small a number where seeds err on the same examples."
        }
      }
      scrolling("Seeds, \(pair.arm)") {
        element("table") {
          head(
            [("Seed", false), ("Difference, \(data.metric.unit)", true)]
              + (isTested
                ? [
                  ("Only \(pair.arm) right", true), ("Only \(pair.baseline) right", true), ("p, McNemar", true),
                  ("How", false),
                ] : []))
          element("tbody") {
            for (seed, value) in zip(pair.seeds, difference.bySeed) {
              element("tr") {
                element("th", ["scope": "row"]) { "\(seed)" }
                element("td", ["class": "number"]) { data.metric.signed(value) }
                if isTested { for cell in mcnemar(pair, seed) { cell } }
              }
            }
          }
        }
      }
    }
  }

  private func mcnemar(_ pair: ComparisonData.Pair, _ seed: Int) -> [Markup] {
    let test = pair.mcnemar.first { $0.seed == seed }?.test
    return [
      element("td", ["class": "number"]) { test.map { Quantity.integer($0.onlyFirst) } ?? Quantity.missing },
      element("td", ["class": "number"]) { test.map { Quantity.integer($0.onlySecond) } ?? Quantity.missing },
      element("td", ["class": "number"]) { Quantity.probability(test?.p) },
      element("td") { test?.method.words ?? "" },
    ]
  }

  private func classes(_ pair: ComparisonData.Pair) -> Markup? {
    let all = pair.classes.filter { $0.mean.isFinite }.sorted { $0.mean > $1.mean }
    guard !all.isEmpty else { return nil }
    let most = 40
    let rows = all.count > most ? Array(all.prefix(most / 2)) + Array(all.suffix(most / 2)) : all
    return element("div") {
      element("p", ["class": "hint"]) {
        "The share of each class that is recognized; largest gain first. The intervals are not corrected for the number of "
          + "classes."
          + (all.count > most ? " Of \(Quantity.integer(all.count)) classes the first and the last \(most / 2)." : "")
      }
      scrolling("Classes, \(pair.arm)") {
        element("table") {
          head([
            ("Class", false), (pair.baseline, true), (pair.arm, true), ("Difference, points", true),
            ("95 % by t", true),
          ])
          element("tbody") {
            for row in rows {
              element("tr") {
                element("th", ["scope": "row"]) { row.name }
                element("td", ["class": "number"]) { Quantity.percent(row.baseline, decimals: 1) }
                element("td", ["class": "number"]) { Quantity.percent(row.arm, decimals: 1) }
                element("td", ["class": "number"]) { Quantity.points(row.mean) }
                element("td", ["class": "number"]) {
                  ComparisonMetric.accuracy.bounds(row.low, row.high)
                }
              }
            }
          }
        }
      }
    }
  }

  private func folded(_ title: String, isOpen: Bool, _ content: Markup?) -> Markup? {
    guard let content else { return nil }
    return element("details", ["class": "block", "open": isOpen ? "open" : nil]) {
      element("summary") { element("h3") { title } }
      content
    }
  }
}

/// How the students learned.
struct CurvesSection {
  var data: ComparisonData

  /// So many lines can be told apart.
  private static let mostLines = 6

  func markup() -> Markup? {
    let arms = data.arms.filter { !$0.curve.isEmpty }
    let lines = arms.prefix(Self.mostLines).map { arm in
      LineChart.Line(
        name: arm.name, tone: data.tone(arm.name),
        points: arm.curve.map { LineChart.Point(x: $0.epoch, mean: $0.mean, low: $0.low, high: $0.high) })
    }
    guard let chart = LineChart(id: "curve", title: "Validation accuracy", lines: lines, isShare: true).markup() else {
      return nil
    }
    return section(
      "curves", "Learning curves",
      lead: "Accuracy on the validation split over epochs; the band reaches from the lowest to the highest seed."
        + (arms.count > lines.count ? " The first \(lines.count) of \(arms.count) are drawn." : "")
    ) {
      element("div", ["class": "charts"]) {
        element("div") {
          chart
          element("ul", ["class": "legend"]) {
            for line in lines {
              element("li", ["class": line.tone.className]) {
                element("span", ["class": "swatch", "aria-hidden": "true"])
                line.name
              }
            }
          }
        }
      }
    }
  }
}

/// What all of them share, and how often the test split was used.
struct ComparisonDataSection {
  var data: ComparisonData

  func markup() -> Markup {
    section("data", "Data and budget", lead: data.testLooks.sentence) { namedValues(entries) }
  }

  private var entries: [(name: String, value: String)] {
    let figures = data.data
    var entries: [(name: String, value: String)] = [
      ("data", figures.name), ("trained on", counted(figures.trainingExamples, "example")),
      ("validated on", counted(figures.validationExamples, "example")),
      ("tested on", counted(figures.testExamples, "example")), ("training data hash", figures.trainingHash),
      ("test data hash", figures.testHash),
    ]
    for arm in data.arms {
      let seeds = arm.seeds.map { "\($0.seed)" }.joined(separator: ", ")
      let shown = "\(counted(arm.steps, "step")), \(counted(arm.examplesShown, "example")) shown"
      entries.append((arm.name, "\(shown), seeds \(seeds); \(arm.run)"))
    }
    return entries
  }
}

struct ComparisonWordsSection {
  func markup() -> Markup { wordsSection(Self.words) }

  private static let words: [(word: String, meaning: String)] = [
    ("Alone", "The student trained on the labels only, with the same budget and the same seeds."),
    ("Difference", "The score of one minus that of the other with the same seed, averaged over the seeds."),
    (
      "95 % by t",
      "The interval of the mean difference by Student's t, of this comparison by itself."
    ),
    ("Over seeds", "The same by drawing seeds anew: too narrow where seeds are few."),
    (
      "Over seeds and examples",
      "By drawing seeds and test examples anew: how far the difference may be another one with other test examples."
    ),
    ("p", "How often chance alone would give a difference as large as this, were there none."),
    ("Permutation", "p by turning the signs of the differences round in all ways; no distribution is assumed."),
    ("McNemar", "Whether two models are right equally often, by the examples that only one of them got right."),
    (
      "Corrected",
      "One of many comparisons comes out by luck, so each p of the t-test is raised by Holm's method. By it, it is concluded."
    ),
    (
      "To resolve",
      "To be found in four of five such comparisons, by the t-test at 5 % divided by the number of comparisons."
    ),
    ("Frontier", "The models that no cheaper one beats."),
  ]
}

extension McNemarTest.Method {
  var words: String {
    switch self {
    case .exact: "binomial"
    case .chiSquare: "chi-square, continuity corrected"
    }
  }
}

extension ComparisonMetric {
  /// An interval in brackets.
  func bounds(_ low: Double?, _ high: Double?) -> String {
    guard let low, let high else { return Quantity.missing }
    return "[\(signed(low)), \(signed(high))]"
  }
}

extension ComparisonData.Difference {
  /// The mean, three intervals and two p, as text.
  func cells(_ metric: ComparisonMetric) -> [String] {
    [
      metric.signed(mean), metric.bounds(low, high), metric.bounds(overSeeds?.low, overSeeds?.high),
      metric.bounds(overSeedsAndExamples?.low, overSeedsAndExamples?.high), Quantity.probability(p),
      Quantity.probability(permutation?.p),
    ]
  }
}

extension ComparisonData.TestLooks {
  /// How often, and what follows.
  public var sentence: String {
    "The test split has been used by \(counted(students, "trained student")), once each, and its scores have been shown "
      + "\(reports == 1 ? "once" : "\(Quantity.integer(reports)) times") in this comparison. Whatever is chosen by them is "
      + "chosen by the test split."
  }
}

/// The table of all models, for the page and the terminal.
public enum ComparisonTableText {
  public static func columns(_ data: ComparisonData) -> [String] {
    var titles = ["Model", title(.accuracy)]
    if data.metric != .accuracy { titles.append(title(data.metric)) }
    titles += ["Validation", "Agreement", "ECE", "Parameters", "Size", "Mult-adds", "Latency"]
    return titles
  }

  private static func title(_ metric: ComparisonMetric) -> String {
    metric.title.prefix(1).uppercased() + metric.title.dropFirst()
  }

  public static func rows(_ data: ComparisonData) -> [[String]] {
    data.teachers.map { row($0, data.metric) } + data.arms.map { row($0, data.metric) }
  }

  private static func row(_ teacher: ComparisonData.Teacher, _ metric: ComparisonMetric) -> [String] {
    var row = [teacher.name, Quantity.percent(teacher.accuracy)]
    if metric != .accuracy { row.append("") }
    row += ["", "", ""]
    row += cells(teacher.figures)
    return row
  }

  private static func row(_ arm: ComparisonData.Arm, _ metric: ComparisonMetric) -> [String] {
    var row = [arm.name, Quantity.percent(arm.score(.accuracy))]
    if metric != .accuracy { row.append(metric.text(arm.score(metric))) }
    row.append(Quantity.percent(arm.validationAccuracy))
    row.append(Quantity.percent(arm.score(.agreement)?.mean, decimals: 1))
    row.append(Quantity.percent(arm.score(.ece)?.mean))
    row += cells(arm.figures)
    return row
  }

  private static func cells(_ figures: MetricsFile.Figures) -> [String] {
    [
      Quantity.count(figures.parameters), Quantity.bytes(figures.bytes), Quantity.count(figures.multiplyAdds),
      Quantity.seconds(figures.latencySeconds),
    ]
  }

  /// The tests of each pair: titles, and a row for each. McNemar's is about being right, and stands beside the accuracy
  /// only.
  public static func testColumns(_ data: ComparisonData) -> [String] {
    ["Pair", "Difference", "95 % by t", "95 % over seeds", "Seeds and examples", "p, t", "p, permutation"]
      + (data.metric == .accuracy ? ["p, McNemar"] : []) + ["Corrected p"]
  }

  public static func tests(_ data: ComparisonData) -> [[String]] {
    data.pairs.compactMap { pair -> [String]? in
      guard let difference = pair.difference(data.metric) else { return nil }
      var row = ["\(pair.arm) against \(pair.baseline)"]
      row += difference.cells(data.metric)
      if data.metric == .accuracy { row.append(mcnemar(pair)) }
      row.append(Quantity.probability(pair.correctedP))
      return row
    }
  }

  /// Of one seed its p; of several the smallest and the largest.
  private static func mcnemar(_ pair: ComparisonData.Pair) -> String {
    let all = pair.mcnemar.map(\.test.p)
    guard let low = all.min(), let high = all.max() else { return Quantity.missing }
    let ends = [low, high].map { Quantity.probability($0) }
    return ends[0] == ends[1] ? ends[0] : "\(ends[0]) to \(ends[1])"
  }
}
