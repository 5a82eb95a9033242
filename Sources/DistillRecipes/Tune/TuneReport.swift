import DistillSearch
import Foundation

/// The report of a search: a page of the same kind as that of a run.
public enum TuneReport {
  /// The whole page.
  ///
  /// - Parameter best: the recipe that was found
  public static func html(_ data: TuneData, best: String? = nil) -> String {
    let curves = TuneCurvesSection(data: data).markup()
    let recipe = best.map { TuneRecipeSection(text: $0).markup() }
    let title = data.title.isEmpty ? "Untitled search" : data.title
    var contents = [("Trials", "across"), ("Slices", "slices")]
    if curves != nil { contents.append(("Curves", "curves")) }
    if recipe != nil { contents.append(("Best recipe", "recipe")) }
    contents += [("All trials", "trials"), ("Words", "words")]
    return ReportPage(
      kind: "Search", title: title, windowTitle: title, date: data.date,
      contents: contents, style: style
    ).html {
      TuneVerdictSection(data: data).markup()
      TuneAcrossSection(data: data).markup()
      TuneSlicesSection(data: data).markup()
      curves
      recipe
      TuneTrialsSection(data: data).markup()
      TuneWordsSection(data: data).markup()
    }
  }

  private static let style = """
    .caveats{list-style:disc;padding-left:1.2rem;margin-top:1.2rem;color:var(--soft);max-width:46rem}
    .caveats li+li{margin-top:.4rem}
    .parallel{max-width:none}.parallel svg{min-width:40rem}
    .parallel .rail{stroke:var(--faint)}.parallel .name{font-weight:600}
    .parallel .axis text{paint-order:stroke;stroke:var(--page);stroke-width:4;stroke-linejoin:round}
    .trial .way{fill:none;stroke:var(--tone);stroke-width:1.5;stroke-linejoin:round}
    .trial.best .way{stroke-width:3.5}.trial.early .way{stroke-dasharray:4 4}
    .trial .reach{fill:none;stroke:transparent;stroke-width:9}
    .trial:hover .way{stroke-width:4;stroke-opacity:1}
    .trial-dot{fill:var(--tone);fill-opacity:.45}.trial-dot.early{fill:none;stroke:var(--tone);stroke-opacity:.6}
    tr.best td{font-weight:600}
    .lead+.charts,.lead+.chart{margin-top:1.8rem}
    """
}

extension TuneData {
  /// Those that scored something.
  fileprivate var scored: [(trial: Trial, value: Double)] {
    trials.compactMap { trial in
      guard let score = trial.score, goal.value(score).isFinite else { return nil }
      return (trial, goal.value(score))
    }
  }

  /// Each trial's place among all, from 0 for the worst to 1 for the best.
  fileprivate var ranks: [Int: Double] {
    let sorted = scored.sorted { goal == .accuracy ? $0.value < $1.value : $0.value > $1.value }
    guard sorted.count > 1 else { return Dictionary(uniqueKeysWithValues: sorted.map { ($0.trial.number, 1) }) }
    return Dictionary(
      uniqueKeysWithValues: sorted.enumerated().map { ($1.trial.number, Double($0) / Double(sorted.count - 1)) })
  }

  fileprivate func note(_ trial: Trial) -> String {
    let lines = keys.compactMap { key in trial.values[key.key].map { "\(key.name) = \($0)" } }
    let score = text(trial.score) + (trial.state == .paused ? " after \(TuneData.epochs(trial.epoch))" : "")
    return (["trial \(trial.number): \(score)"] + lines).joined(separator: "\n")
  }

  fileprivate var goalName: String { goal == .accuracy ? "accuracy" : "loss" }

  fileprivate func number(_ value: Double) -> String {
    goal == .accuracy ? Quantity.percent(value) : Quantity.number(value, decimals: 4)
  }
}

extension TuneData.Key {
  /// Where a value lies on an axis, from 0 to 1.
  fileprivate func place(_ text: String) -> Double? {
    guard case .choices(let texts) = domain else { return domain.place(of: text) }
    guard let index = texts.firstIndex(of: text) else { return nil }
    return texts.count > 1 ? Double(index) / Double(texts.count - 1) : 0.5
  }

  /// What stands at an axis: all choices, or round numbers of a range.
  fileprivate func marks(most: Int) -> [(place: Double, text: String)] {
    switch domain {
    case .choices(let texts):
      let step = max(1, (texts.count + most - 1) / most)
      return texts.indices.filter { $0.isMultiple(of: step) }.compactMap { index in
        place(texts[index]).map { (place: $0, text: texts[index]) }
      }
    case .integers, .numbers:
      let texts = roundTexts(most: most) ?? domain.gridTexts(points: most)
      return texts.compactMap { text in
        domain.place(of: text).map { (place: $0, text: Double(text).map(Self.short) ?? text) }
      }
    }
  }

  /// Of a logarithmic range; nil where it is too short for round numbers.
  private func roundTexts(most: Int) -> [String]? {
    let ends: (low: Double, high: Double)
    switch domain {
    case .integers(let low, let high, isLogarithmic: true): ends = (Double(low), Double(high))
    case .numbers(let low, let high, isLogarithmic: true): ends = (low, high)
    default: return nil
    }
    let ticks = Scale.logarithmicTicks(from: ends.low, to: ends.high, most: most)
    return ticks.isEmpty ? nil : ticks.map(Self.short)
  }

  private static func short(_ value: Double) -> String { String(format: "%.3g", value) }
}

/// What was found, and what has to be known of it.
struct TuneVerdictSection {
  var data: TuneData

  func markup() -> Markup {
    element("section", ["id": "verdict", "class": "verdict", "aria-label": "Verdict"]) {
      element("div", ["class": "wrap"]) {
        element("p", ["class": "statement"]) { data.conclusion }
        element("ul", ["class": "caveats"]) { for note in data.notes { element("li") { note } } }
        facts()
      }
    }
  }

  private func facts() -> Markup {
    let seconds = data.trials.reduce(0) { $0 + $1.seconds }
    let facts: [(String, String)] = [
      (Quantity.integer(data.trials.count), data.trials.count == 1 ? "trial" : "trials"),
      (Quantity.integer(data.trials.count { $0.state == .done }), "trained in full"),
      (Quantity.integer(data.trials.count { $0.state == .paused }), "stopped early"),
      (Quantity.seconds(seconds), "of training"),
    ]
    return element("dl", ["class": "facts"]) {
      for (value, name) in facts {
        element("div") {
          element("dt") { name }
          element("dd") { value }
        }
      }
    }
  }
}

/// All trials across all keys.
struct TuneAcrossSection {
  var data: TuneData

  func markup() -> Markup? {
    let scores = data.scored
    let scale = Scale(over: scores.map(\.value), start: 0, end: 1, air: 0.02)
    let ranks = data.ranks
    let axes =
      data.keys.map { ParallelCoordinates.Axis(name: $0.name, marks: $0.marks(most: 5)) } + [
        ParallelCoordinates.Axis(
          name: data.goalName, marks: scale.ticks(4).map { (place: scale($0), text: data.number($0)) })
      ]
    let lines = scores.map { trial, value in
      ParallelCoordinates.Line(
        note: data.note(trial),
        places: data.keys.map { key in trial.values[key.key].flatMap { key.place($0) } } + [scale(value)],
        rank: ranks[trial.number] ?? 0, isBest: trial.number == data.best, isWhole: trial.state == .done)
    }
    let chart = ParallelCoordinates(
      id: "parallel", title: "Every trial is a line", axes: axes, lines: lines,
      description: data.conclusion
    ).markup()
    guard let chart else { return nil }
    return section(
      "across", "All trials at once",
      lead:
        "From the values on the left to the score on the right; the stronger, the better, and the thick line is the best. "
        + "Dashed lines are trials that were stopped early, with what they had scored then."
    ) {
      chart
      progress()
    }
  }

  private func progress() -> Markup? {
    guard data.progress.count > 1 else { return nil }
    // It stays as it is until a better one comes.
    var points: [LineChart.Point] = []
    for step in data.progress {
      let (trial, value) = (Double(step.trial), data.goal.value(step.score))
      for height in [points.last?.mean, value].compactMap(\.self) {
        points.append(LineChart.Point(x: trial, mean: height, low: height, high: height))
      }
    }
    let chart = LineChart(
      id: "progress", title: "The best so far", lines: [.init(name: "best so far", tone: .distilled, points: points)],
      isShare: data.goal == .accuracy, unit: "trial"
    ).markup()
    return chart.map { chart in element("div", ["class": "charts block"]) { chart } }
  }
}

/// Scores against each key by itself.
struct TuneSlicesSection {
  var data: TuneData

  func markup() -> Markup? {
    let charts = data.keys.enumerated().compactMap { index, key in chart(key, index) }
    guard !charts.isEmpty else { return nil }
    return section(
      "slices", "Key by key",
      lead:
        "A dot for each trial: filled where it was trained in full, hollow where it was stopped early. Other keys differ "
        + "from dot to dot as well."
    ) { element("div", ["class": "charts"]) { for chart in charts { chart } } }
  }

  private func chart(_ key: TuneData.Key, _ index: Int) -> Markup? {
    let dots = data.scored.compactMap { trial, value -> SlicePlot.Dot? in
      guard let place = trial.values[key.key].flatMap({ key.place($0) }) else { return nil }
      return SlicePlot.Dot(
        place: place, value: value, note: data.note(trial), isBest: trial.number == data.best,
        isWhole: trial.state == .done)
    }
    return SlicePlot(
      id: "slice-\(index)", title: "\(data.goalName) against \(key.name)", dots: dots, marks: key.marks(most: 5),
      text: data.number, isShare: data.goal == .accuracy,
      description: "\(counted(dots.count, "trial")), \(key.name) from \(key.values)."
    ).markup()
  }
}

/// Scores against one key, for each value of another.
struct TuneCurvesSection {
  var data: TuneData

  private static let tones: [Tone] = [.distilled, .alone, .third, .fourth, .fifth, .teacher]

  func markup() -> Markup? {
    let charts = data.curves.enumerated().compactMap { index, curve in chart(curve, index) }
    guard !charts.isEmpty else { return nil }
    return section(
      "curves", "Curves",
      lead:
        "Means over the trials with the same value and their seeds; bands reach from the worst to the best training. With "
        + "all combinations of two keys, each line is one value of the second."
    ) { element("div", ["class": "charts"]) { for chart in charts { chart } } }
  }

  private func chart(_ curve: TuneData.Curve, _ index: Int) -> Markup? {
    guard let key = data.keys.first(where: { $0.key == curve.key }) else { return nil }
    let other = curve.by.flatMap { by in data.keys.first { $0.key == by } }
    let values = Set(curve.lines.flatMap { $0.points.map(\.value) }).sorted()
    guard let low = values.first, let high = values.last, high > low else { return nil }
    // Temperatures and learning rates are multiplied rather than added to.
    let isLogarithmic = low > 0 && high / low >= 5
    let scale = Scale(
      low: isLogarithmic ? log(low) : low, high: isLogarithmic ? log(high) : high, start: 0, end: 1)
    func place(_ value: Double) -> Double { scale(isLogarithmic ? log(value) : value) }
    let lines = curve.lines.enumerated().map { index, line in
      SlicePlot.Line(
        name: other.map { "\($0.name) = \(line.value)" } ?? "", tone: Self.tones[index % Self.tones.count],
        points: line.points.map { (place: place($0.value), mean: $0.mean, low: $0.low, high: $0.high) })
    }
    let step = max(1, (values.count + 6) / 7)
    let marks = values.indices.filter { $0.isMultiple(of: step) }.map { index in
      (place: place(values[index]), text: Quantity.plain(values[index]))
    }
    let by = other.map { " by \($0.name)" } ?? ""
    return SlicePlot(
      id: "curve-\(index)", title: "\(data.goalName) against \(key.name)\(by)", lines: lines, marks: marks,
      text: data.number, isShare: data.goal == .accuracy,
      description: curve.lines.map(words).joined(separator: " ")
    ).markup()
  }

  private func words(_ line: TuneData.Curve.Line) -> String {
    let points = line.points.map { "\(data.number($0.mean)) at \(Quantity.plain($0.value))" }.joined(separator: ", ")
    return (line.value.isEmpty ? points : "\(line.value): \(points)") + "."
  }
}

/// The recipe that was found.
struct TuneRecipeSection {
  var text: String

  func markup() -> Markup {
    section("recipe", "The best recipe", lead: "The file best.yaml: run it as it is.") {
      element("div", ["class": "recipe"]) { element("pre", ["id": "recipe-text", "tabindex": "0"]) { text } }
    }
  }
}

/// Every trial in a table.
struct TuneTrialsSection {
  var data: TuneData

  func markup() -> Markup {
    section("trials", "All trials", lead: "The best first; those that were not trained in full after those that were.")
    {
      scrolling("Trials") {
        element("table", ["class": "comparison"]) {
          head(TuneTable.columns(data).map { ($0, true) })
          element("tbody") {
            for trial in TuneTable.sorted(data) {
              element("tr", ["class": trial.number == data.best ? "best" : nil]) {
                let row = TuneTable.row(trial, data)
                element("th", ["scope": "row"]) { row[0] }
                for cell in row.dropFirst() { element("td", ["class": "number"]) { cell } }
              }
            }
          }
        }
      }
    }
  }
}

/// The trials as a table, the same in the report and in the terminal.
public enum TuneTable {
  public static func columns(_ data: TuneData) -> [String] {
    ["trial"] + data.keys.map(\.name) + ["accuracy", "loss", "epochs", "time", "state"]
  }

  /// Those that were trained in full first, each group from the best on.
  public static func sorted(_ data: TuneData) -> [Trial] {
    func group(_ trial: Trial) -> Int {
      switch trial.state {
      case .done: 0
      case .paused: 1
      case .running, .waiting: 2
      case .failed: 3
      }
    }
    return data.trials.sorted { first, second in
      guard group(first) == group(second) else { return group(first) < group(second) }
      if first.rung != second.rung { return first.rung > second.rung }
      guard let own = first.score, let others = second.score else { return first.number < second.number }
      if data.goal.isBetter(own, than: others) { return true }
      return !data.goal.isBetter(others, than: own) && first.number < second.number
    }
  }

  public static func row(_ trial: Trial, _ data: TuneData) -> [String] {
    let values = data.keys.map { trial.values[$0.key] ?? Quantity.missing }
    let state =
      switch trial.state {
      case .done: "done"
      case .paused: "stopped early"
      case .running: "at work"
      case .waiting: "begun"
      case .failed: "failed: \(trial.message ?? "")"
      }
    var row = ["\(trial.number)"] + values
    row.append(Quantity.percent(trial.score?.accuracy))
    row.append(Quantity.number(trial.score?.loss, decimals: 4))
    row.append(trial.epoch.map { Quantity.plain($0) } ?? Quantity.missing)
    row.append(trial.reports.isEmpty ? Quantity.missing : Quantity.seconds(trial.seconds))
    row.append(state)
    return row
  }
}

/// What the words of the page mean.
struct TuneWordsSection {
  var data: TuneData

  func markup() -> Markup { wordsSection(words) }

  private var words: [(word: String, meaning: String)] {
    var words: [(word: String, meaning: String)] = [
      ("Trial", "A training with one choice of values, or one training for each seed; its score is their mean."),
      ("Score", "On the validation split, by which trials are chosen. The test split is not looked at."),
      ("How values were chosen", data.sampler.prefix(1).uppercased() + data.sampler.dropFirst() + "."),
    ]
    if let halving = data.halving {
      words.append(("Stopped early", "By successive halving: \(halving.words)."))
    }
    return words
  }
}
