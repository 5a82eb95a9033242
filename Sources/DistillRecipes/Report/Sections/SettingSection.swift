/// One setting: its comparison, what may be concluded, and what stands behind it.
struct SettingSection {
  var data: ReportData
  var index: Int

  /// So many settings are drawn in full: the confusions of one can be two thirds of its section, and of a hundred nobody
  /// looks at each.
  static let mostDrawn = 10

  private var isDrawn: Bool { index < Self.mostDrawn }
  private var setting: ReportData.Setting { data.settings[index] }
  private var id: String { "setting-\(index + 1)" }

  func markup() -> Markup {
    section(id, setting.name, lead: setting.description) {
      table()
      if index == 0, let specialists = data.teacher?.specialists, !specialists.isEmpty {
        element("p", ["class": "hint"]) {
          "Beside the teacher teach its specialists: "
            + specialists.map { $0.joined(separator: ", ") }.joined(separator: "; ") + "."
        }
      }
      if index == 0, let disagreement = data.teacher?.disagreement {
        element("p", ["class": "hint"]) { "The teacher's members \(disagreement.words)." }
      }
      if index > 0, !setting.conclusion.isEmpty { element("p", ["class": "conclusion"]) { setting.conclusion } }
      seeds()
      stages()
      learning()
      folded("Class by class", classGains())
      folded("Confusions", confusions())
      if isDrawn {
        folded("Reliability", reliability())
      } else {
        element("p", ["class": "hint"]) {
          "To keep the page small, maps of confusions and diagrams of reliability are drawn for the first "
            + "\(Self.mostDrawn) settings only."
        }
      }
    }
  }

  // MARK: The comparison

  private func table() -> Markup {
    let table = ComparisonTable(setting, teacher: data.teacher, token: data.token)
    return scrolling("Comparison, \(setting.name)") {
      element("table", ["class": "comparison"]) {
        element("thead") {
          element("tr") {
            for column in table.columns {
              element(
                "th", ["scope": "col", "class": column.isNumeric ? "number" : nil, "title": column.explanation]
              ) { column.title }
            }
          }
        }
        element("tbody") {
          for row in table.rows {
            let tone = row.arm.map(setting.tone) ?? .teacher
            element("tr", ["class": tone.className + (row.isPrimary ? " primary" : "")]) {
              for (place, cell) in row.cells.enumerated() {
                if place == 0 {
                  element("th", ["scope": "row"]) {
                    element("span", ["class": "swatch", "aria-hidden": "true"])
                    cell
                    element("small") { row.arm == nil ? data.teacher?.figures.architecture ?? "" : architecture }
                  }
                } else {
                  element("td", ["class": "number"]) { cell }
                }
              }
            }
          }
        }
      }
    }
  }

  private var architecture: String { setting.student.architecture }

  /// The results of each run, for those who want to see them.
  private func seeds() -> Markup? {
    let runs = setting.arms.enumerated().flatMap { index, arm in arm.seeds.map { (index, arm, $0) } }
    guard !runs.isEmpty else { return nil }
    let top = runs.compactMap { $0.2.scores.topK }.first
    return element("details", ["class": "seeds"]) {
      element("summary") { "Each seed" }
      scrolling("Results of each seed, \(setting.name)") {
        element("table") {
          element("thead") {
            element("tr") {
              element("th", ["scope": "col"]) { "Student" }
              for name in [
                "Seed", "Accuracy", top.map { "Top \($0)" } ?? "Top k", "NLL", "ECE", "Agreement", "KL to teacher",
              ] + (data.token.map { ["Bits/\($0)", "Perplexity"] } ?? []) {
                element("th", ["scope": "col", "class": "number"]) { name }
              }
            }
          }
          element("tbody") {
            for (place, arm, run) in runs {
              element("tr", ["class": setting.tone(place).className]) {
                element("th", ["scope": "row"]) {
                  element("span", ["class": "swatch", "aria-hidden": "true"])
                  arm.name
                }
                for cell in cells(run) { element("td", ["class": "number"]) { cell } }
              }
            }
          }
        }
      }
    }
  }

  private func cells(_ run: ReportData.SeedResult) -> [String] {
    let scores = run.scores
    return [
      String(run.seed), Quantity.percent(scores.accuracy), Quantity.percent(scores.topKAccuracy),
      Quantity.number(scores.negativeLogLikelihood, decimals: 3), Quantity.percent(scores.calibrationError),
      Quantity.percent(scores.agreement), Quantity.number(scores.divergence, decimals: 3),
    ]
      + (data.token == nil
        ? []
        : [Quantity.number(scores.bitsPerToken, decimals: 3), Quantity.number(scores.perplexity, decimals: 2)])
  }

  /// What the distilled student went through.
  private func stages() -> Markup? {
    guard !setting.stages.isEmpty else { return nil }
    return element("div", ["class": "block"]) {
      element("h3") { "Stages" }
      scrolling("Stages, \(setting.name)") {
        element("table") {
          element("thead") {
            element("tr") {
              for name in ["Stage", "What it learns"] { element("th", ["scope": "col"]) { name } }
              for name in ["Steps", "Validation accuracy"] {
                element("th", ["scope": "col", "class": "number"]) { name }
              }
            }
          }
          element("tbody") {
            for stage in setting.stages {
              element("tr") {
                element("th", ["scope": "row"]) { stage.name }
                element("td") { stage.description }
                element("td", ["class": "number"]) { Quantity.integer(stage.steps) }
                element("td", ["class": "number"]) { Quantity.percent(stage.validationAccuracy) }
              }
            }
          }
        }
      }
    }
  }

  // MARK: Learning curves

  private func learning() -> Markup? {
    var charts = [
      LineChart(
        id: "\(id)-accuracy", title: "Validation accuracy", lines: lines(\.validationAccuracy), isShare: true
      ).markup(),
      LineChart(id: "\(id)-loss", title: "Validation loss", lines: lines(\.validationLoss), isShare: false).markup(),
      LineChart(id: "\(id)-train", title: "Training loss", lines: lines(\.trainLoss), isShare: false).markup(),
    ].compactMap(\.self)
    for (place, arm) in setting.arms.enumerated() {
      var names: [String] = []
      for part in (arm.seeds.first?.curve ?? []).flatMap(\.lossParts) where !names.contains(part.name) {
        names.append(part.name)
      }
      guard names.count > 1 else { continue }
      let own = setting.tone(place)
      let tones = [own] + [Tone.third, .fourth, .fifth, .teacher].filter { $0 != own }
      let lines = names.prefix(4).enumerated().map { order, name in
        LineChart.Line(
          name: name, tone: tones[order],
          points: arm.band { point in point.lossParts.first { $0.name == name }?.value })
      }
      if let chart = LineChart(
        id: "\(id)-parts-\(place)", title: "Parts of the loss, \(arm.name)", lines: lines, isShare: false
      ).markup() {
        charts.append(
          element("div") {
            chart
            legend(lines.map { ($0.name, $0.tone) })
          })
      }
    }
    guard !charts.isEmpty else { return nil }
    return element("div", ["class": "block"]) {
      element("h3") { "Learning curves" }
      element("p", ["class": "hint"]) {
        "Over epochs; the band reaches from the lowest to the highest seed. Training losses are those that were "
          + "optimized, so they compare only where the objective is the same."
      }
      legend(setting.arms.enumerated().map { ($1.name, setting.tone($0)) })
      element("div", ["class": charts.count.isMultiple(of: 2) ? "charts pairs" : "charts"]) {
        for chart in charts { chart }
      }
    }
  }

  private func legend(_ entries: [(String, Tone)]) -> Markup {
    element("ul", ["class": "legend"]) {
      for (name, tone) in entries {
        element("li", ["class": tone.className]) {
          element("span", ["class": "swatch", "aria-hidden": "true"])
          name
        }
      }
    }
  }

  private func lines(_ value: (ReportData.CurvePoint) -> Double?) -> [LineChart.Line] {
    setting.arms.enumerated().map { index, arm in
      LineChart.Line(name: arm.name, tone: setting.tone(index), points: arm.band(value))
    }
  }

  // MARK: What can be unfolded

  /// Open in the first setting, closed in the others.
  private func folded(_ title: String, _ content: Markup?) -> Markup? {
    guard let content else { return nil }
    return element("details", ["class": "block", "open": index == 0 ? "open" : nil]) {
      element("summary") { element("h3") { title } }
      content
    }
  }

  private func classGains() -> Markup? {
    guard let alone = setting.baseline, let distilled = setting.primary else { return nil }
    return ClassGains(data: data, alone: alone, distilled: distilled).markup()
  }

  private func confusions() -> Markup? {
    ConfusionMatrices(data: data, setting: setting, id: id, includesTeacher: index == 0, drawsMaps: isDrawn)
      .markup()
  }

  private func reliability() -> Markup? {
    var diagrams: [Markup?] = []
    if index == 0, let teacher = data.teacher {
      diagrams.append(
        ReliabilityDiagram(
          id: "\(id)-reliability-teacher", title: "teacher", tone: .teacher, bins: teacher.reliability,
          calibrationError: teacher.scores.calibrationError
        ).markup())
    }
    for (place, arm) in setting.arms.enumerated() {
      diagrams.append(
        ReliabilityDiagram(
          id: "\(id)-reliability-\(place)", title: arm.name, tone: setting.tone(place), bins: arm.reliability,
          calibrationError: arm.spread(\.calibrationError)?.mean
        ).markup())
    }
    let drawn = diagrams.compactMap(\.self)
    guard !drawn.isEmpty else { return nil }
    return element("div") {
      element("p", ["class": "hint"]) {
        "How often predictions of a confidence are right. Bars below the dashed diagonal mean too much confidence, "
          + "bars above it too little; below, how many predictions each bin has."
      }
      element("div", ["class": "diagrams"]) { for diagram in drawn { diagram } }
    }
  }
}
