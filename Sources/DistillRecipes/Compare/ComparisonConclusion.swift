import Distillation

/// What may be concluded of a comparison, and what not, in words.
struct ComparisonConclusion {
  let metric: ComparisonMetric
  let pairs: [ComparisonData.Pair]

  /// Of all pairs in one sentence.
  var sentence: String {
    guard pairs.count > 1 else { return pairs.first?.sentence ?? "Nothing was compared." }
    func named(_ verdict: ComparisonData.Verdict) -> String? {
      let found = pairs.filter { $0.verdict == verdict }
      guard !found.isEmpty else { return nil }
      let names = found.map { "\(name($0)) (\(metric.signed($0.difference(metric)?.mean)))" }.joined(separator: ", ")
      switch verdict {
      case .better: return "better: \(names)"
      case .worse: return "worse: \(names)"
      case .unclear: return "no difference can be shown: \(names)\(resolving(found))"
      case .notMeasured: return "the same with all seeds, so that nothing can be told: \(names)"
      case .tooFewSeeds: return "one seed only, so nothing can be said: \(names)"
      }
    }
    let baselines = Set(pairs.map(\.baseline))
    let against = baselines.count == 1 ? " against \(baselines.first ?? "")" : ""
    let parts = [ComparisonData.Verdict.better, .worse, .unclear, .notMeasured, .tooFewSeeds].compactMap(named)
    return
      "\(counted(pairs.count, "comparison"))\(against), \(metric.title) in \(metric.unit), corrected for their number: "
      + parts.joined(separator: "; ") + "."
  }

  /// Of an arm, with its baseline where there are several.
  private func name(_ pair: ComparisonData.Pair) -> String {
    Set(pairs.map(\.baseline)).count > 1 ? "\(pair.arm) against \(pair.baseline)" : pair.arm
  }

  /// What it takes where nothing can be shown.
  private func resolving(_ unclear: [ComparisonData.Pair]) -> String {
    let smallest = unclear.compactMap(\.smallestDifference).max()
    guard let smallest, smallest > 0 else { return "" }
    let seeds = unclear.map(\.seeds.count).min() ?? 0
    return " (\(counted(seeds, "seed")) \(seeds == 1 ? "resolves" : "resolve") \(metric.size(smallest)) or more)"
  }

  /// Of one pair.
  ///
  /// - Parameter count: of all pairs
  static func sentence(_ pair: ComparisonData.Pair, _ metric: ComparisonMetric, among count: Int) -> String {
    guard let difference = pair.difference(metric) else { return "" }
    let seeds = counted(pair.seeds.count, "seed")
    let both = "\(pair.arm) and \(pair.baseline)"
    let seen = "\(metric.signed(difference.mean)) \(metric.unit) of \(metric.title)"
    let interval = "95 % interval \(metric.signed(difference.low)) to \(metric.signed(difference.high))"
    if difference.isWithoutSpread { return withoutSpread(pair, metric, among: count) }
    switch pair.verdict {
    case .notMeasured: return ""
    case .tooFewSeeds:
      return
        "Nothing can be concluded of \(both) from \(seeds): the difference was \(seen), and what luck is in it nobody can "
        + "tell. Use three seeds or more."
    case .better, .worse:
      let corrected =
        count > 1 ? ", \(Quantity.p(pair.correctedP)) corrected for \(count) comparisons" : ""
      return
        "\(pair.arm) is \(pair.verdict == .better ? "better" : "worse") than \(pair.baseline): \(seen), \(interval), "
        + "\(seeds)\(corrected)."
    case .unclear:
      if difference.bySeed.allSatisfy({ $0 == 0 }) { return "\(both) scored the same with each of \(seeds)." }
      var text = "No difference between \(both) can be shown with \(seeds): \(seen), \(interval)"
      if let p = difference.p, p < Resolution.level {
        text +=
          "; alone the interval would show one, but among \(count) comparisons luck gives such a one too often "
          + "(\(Quantity.p(pair.correctedP)) corrected)"
      }
      if let needed = pair.seedsNeeded, needed > pair.seeds.count {
        text += "; \(Quantity.integer(needed)) would resolve \(metric.size(difference.mean))"
      } else if pair.seedsNeeded == nil, difference.mean != 0 {
        text +=
          "; it would take more than \(Quantity.integer(Resolution.mostPairs)) to resolve \(metric.size(difference.mean))"
      }
      if let smallest = pair.smallestDifference, smallest > 0 {
        text += ", \(pair.seeds.count) resolve \(metric.size(smallest)) or more"
      }
      return text + "."
    }
  }

  /// Of a pair whose seeds all differ by exactly the same.
  private static func withoutSpread(
    _ pair: ComparisonData.Pair, _ metric: ComparisonMetric, among count: Int
  ) -> String {
    let mean = pair.difference(metric)?.mean ?? 0
    let seeds = counted(pair.seeds.count, "seed")
    let both = "\(pair.arm) and \(pair.baseline)"
    if mean == 0 { return "\(both) scored the same with each of \(seeds)." }
    let seen =
      "\(metric.signed(mean)) \(metric.unit) of \(metric.title) with each of \(seeds); \(ExampleEvidence.reason)"
    guard let evidence = pair.evidence else {
      return "Whether \(both) differ cannot be told: \(seen). Use more seeds."
    }
    let corrected = count > 1 ? ", \(Quantity.p(pair.correctedP)) corrected for \(count) comparisons" : ""
    let rest = "\(seen); \(evidence.words(metric))\(corrected). That is about these models; use more seeds."
    switch pair.verdict {
    case .better, .worse: return "\(pair.arm) is \(pair.verdict.rawValue) than \(pair.baseline): \(rest)"
    default: return "No difference between \(both) can be shown: \(rest)"
    }
  }

  /// What may not be concluded.
  var caveats: [String] {
    var caveats: [String] = []
    let few = pairs.filter { $0.difference(metric)?.p != nil }.map(\.seeds.count).filter { $0 > 1 }.min() ?? 0
    let smallest = PermutationTest.smallestP(pairs: few)
    if few > 1, smallest >= Resolution.level {
      caveats.append(
        "With \(few) seeds the permutation test cannot give a p below \(Quantity.plain(smallest)), whatever the "
          + "difference is: the conclusion rests on Student's t, which assumes that differences are roughly normal. From "
          + "\(PermutationTest.fewestPairs(below: Resolution.level)) seeds on the permutation test can speak too.")
    }
    for pair in pairs where [.better, .worse].contains(pair.verdict) {
      guard let difference = pair.difference(metric) else { continue }
      if let test = difference.permutation, pair.seeds.count >= PermutationTest.fewestPairs(below: Resolution.level),
        test.p >= Resolution.level
      {
        caveats.append(
          "\(name(pair)): the permutation test does not confirm the difference (\(Quantity.p(test.p))).")
      }
      if let both = difference.overSeedsAndExamples, both.low <= 0, both.high >= 0 {
        caveats.append(
          "\(name(pair)): with other test examples of the kind the difference may vanish: the interval over seeds and "
            + "examples is \(metric.signed(both.low)) to \(metric.signed(both.high)) \(metric.unit).")
      }
    }
    if pairs.contains(where: { $0.verdict == .unclear }) {
      caveats.append("Where no difference can be shown, the two are not shown to be alike either.")
    }
    caveats.append("All this holds for this data, these models and this budget. Nothing follows for others.")
    return caveats
  }
}
