/// The answer first: did it help, by how much, and what does the student cost beside its teacher.
struct VerdictSection {
  var data: ReportData

  func markup() -> Markup {
    let setting = data.settings.first
    let verdict = Verdict(setting)
    return element("section", ["id": "verdict", "class": "verdict", "aria-label": "Verdict"]) {
      element("div", ["class": "wrap"]) {
        element("p", ["class": "statement"]) { verdict.statement }
        if let gain = verdict.gain { markup(of: gain, seedCount: verdict.seedCount, in: setting?.name ?? "") }
        if let setting {
          element("div", ["class": "answer"]) {
            AccuracyLadder(marks: marks(setting)).markup()
            if !setting.conclusion.isEmpty { element("p", ["class": "conclusion"]) { setting.conclusion } }
          }
          facts(setting)
        } else {
          element("p", ["class": "lead"]) { "This run has no comparison of a student alone with a distilled one." }
        }
      }
    }
  }

  private func markup(of gain: ReportData.Interval, seedCount: Int, in setting: String) -> Markup {
    let bounds = Quantity.bounds(gain)
    return element("p", ["class": "gain"]) {
      element("span", ["class": "figure"]) { Quantity.points(gain.mean, decimals: Quantity.gainDecimals(gain)) }
      element("span", ["class": "unit"]) {
        element("b") { "points" + (bounds.map { " \($0)" } ?? "") }
        element("span") {
          [
            bounds == nil ? "no interval" : "95" + Quantity.space + "% interval, paired by seed",
            counted(seedCount, "seed"), setting,
          ].filter { !$0.isEmpty }.joined(separator: " · ")
        }
      }
    }
  }

  private func marks(_ setting: ReportData.Setting) -> [AccuracyLadder.Mark] {
    var marks: [AccuracyLadder.Mark] = []
    if let baseline = setting.baseline, let accuracy = baseline.accuracy {
      marks.append(AccuracyLadder.Mark(name: baseline.name, accuracy: accuracy.mean, tone: .alone))
    }
    if let primary = setting.primary, let accuracy = primary.accuracy {
      marks.append(AccuracyLadder.Mark(name: primary.name, accuracy: accuracy.mean, tone: .distilled))
    }
    if let teacher = data.teacher {
      marks.append(AccuracyLadder.Mark(name: "teacher", accuracy: teacher.scores.accuracy, tone: .teacher))
    }
    return marks
  }

  /// What the student saves beside the teacher.
  private func facts(_ setting: ReportData.Setting) -> Markup? {
    var facts: [(value: String, name: String)] = []
    if let teacher = data.teacher {
      let (large, small) = (teacher.figures, setting.student)
      func add(_ ratio: Double?, _ name: String) {
        guard let ratio, ratio.isFinite, ratio > 0 else { return }
        facts.append((Quantity.ratio(ratio), name))
      }
      add(quotient(large.parameters, small.parameters), "fewer parameters")
      add(quotient(large.multiplyAdds, small.multiplyAdds), "fewer multiply-adds")
      if let teacherTime = large.latencySeconds, let studentTime = small.latencySeconds, studentTime > 0 {
        add(teacherTime / studentTime, "shorter latency")
      }
      if let alone = setting.baseline?.accuracy?.mean, let distilled = setting.primary?.accuracy?.mean {
        let gap = teacher.scores.accuracy - alone
        if gap > 0.001, distilled.isFinite, distilled > alone {
          facts.append((Quantity.percent((distilled - alone) / gap, decimals: 0), "of the gap to the teacher closed"))
        }
      }
    }
    if let agreement = setting.primary?.spread(\.agreement)?.mean, agreement.isFinite {
      facts.append((Quantity.percent(agreement, decimals: 1), "agreement with the teacher"))
    }
    guard !facts.isEmpty else { return nil }
    return element("dl", ["class": "facts"]) {
      for fact in facts {
        element("div") {
          element("dt") { fact.name }
          element("dd") { fact.value }
        }
      }
    }
  }

  private func quotient(_ large: Int?, _ small: Int?) -> Double? {
    guard let large, let small, small > 0 else { return nil }
    return Double(large) / Double(small)
  }
}

/// Every gain of the run beside the others.
struct GainsSection {
  var data: ReportData

  func markup() -> Markup? {
    let rows = data.settings.flatMap { setting in
      setting.arms.enumerated().compactMap { index, arm -> IntervalPlot.Row? in
        guard let interval = setting.gain(of: arm) else { return nil }
        let against = setting.baseline.map { "\(arm.name) against \($0.name)" } ?? arm.name
        return IntervalPlot.Row(
          name: setting.name, detail: against, tone: setting.tone(index), interval: interval, seedCount: arm.seeds.count
        )
      }
    }
    guard let plot = IntervalPlot(rows: rows).markup() else { return nil }
    return section(
      "gains", "Gains",
      lead: "Accuracy over the same student trained alone, in percentage points. The dot is the mean over paired "
        + "seeds, the line its 95\(Quantity.space)% interval; a line that crosses zero shows no difference."
    ) { plot }
  }
}
