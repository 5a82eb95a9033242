import DistillModels
import Distillation
import Foundation
import Torch

/// Turns what was trained into what a comparison says.
struct ComparisonMaker {
  let title: String
  let metric: ComparisonMetric
  let arms: [ComparedArm]
  let pairs: [(arm: Int, baseline: Int)]
  let looks: ComparisonData.TestLooks
  let warnings: [String]
  /// The arms that could be held against each other and are not.
  let untested: [String]

  func make() throws -> ComparisonData {
    guard let first = arms.first else { throw RunError("none of the runs has a trained student") }
    for (index, other) in pairs where arms[index].students.allSatisfy({ arms[other].student($0.seed) == nil }) {
      throw RunError(
        "'\(arms[index].name)' and '\(arms[other].name)' have no seed in common, so that no pairs can be made: give both "
          + "the same with --seeds")
    }
    var compared = try pairs.map { try pair(arms[$0.arm], arms[$0.baseline]) }
    correct(&compared)
    for index in compared.indices { conclude(&compared[index], among: compared.count) }
    let words = ComparisonConclusion(metric: metric, pairs: compared)
    let materials = first.run.materials
    let (teachers, shown) = (try teachers(), try shownArms())
    let costs = ComparisonCost.allCases.map { cost in
      (cost.rawValue, ComparisonData.costs(cost, arms: shown, teachers: teachers, metric: metric))
    }
    return ComparisonData(
      title: title, date: Date(), metric: metric, conclusion: words.sentence, caveats: notTested + words.caveats,
      warnings: warnings + incomplete(compared) + otherPrecisions() + otherTeachers(),
      data: ComparisonData.DataFigures(
        name: materials.train.name, classNames: materials.test.predictsTokens ? [] : materials.train.classNames,
        trainingExamples: materials.split.train.count, validationExamples: materials.split.validation.count,
        testExamples: materials.test.count, trainingHash: try materials.train.contentHash,
        testHash: try materials.test.contentHash),
      teachers: teachers, arms: shown, costs: Dictionary(uniqueKeysWithValues: costs), pairs: compared,
      chosen: choice(), testLooks: looks)
  }

  private var notTested: [String] {
    guard !untested.isEmpty else { return [] }
    return [
      "These were held against their baselines, and not against each other: \(untested.joined(separator: ", ")). To hold "
        + "all others against one of them: --baseline NAME."
    ]
  }

  /// Where agreement or divergence is that of each with its own teacher.
  private func otherTeachers() -> [String] {
    guard metric.isBesideTeacher else { return [] }
    return pairs.map { (arms[$0.arm], arms[$0.baseline]) }
      .filter { !$0.isAlone && !$1.isAlone && $0.teachers.isDisjoint(with: $1.teachers) }
      .map {
        "'\($0.name)' and '\($1.name)' have different teachers: each is measured beside its own, so that the difference in "
          + "\(metric.title) is that of the teachers too."
      }
  }

  /// Seeds that only one of two arms has count for nothing.
  private func incomplete(_ pairs: [ComparisonData.Pair]) -> [String] {
    zip(pairs, self.pairs).compactMap { pair, places in
      let most = max(arms[places.arm].students.count, arms[places.baseline].students.count)
      guard pair.seeds.count < most else { return nil }
      return
        "'\(pair.arm)' and '\(pair.baseline)' share only \(counted(pair.seeds.count, "seed")): the others do not count "
        + "in their comparison."
    }
  }

  /// Where a run chose another precision for the student of one arm than for that of the other.
  private func otherPrecisions() -> [String] {
    pairs.compactMap { index, other in
      let words = [arms[index], arms[other]].map { arm in
        let training = arm.isAlone ? arm.setting.configuration.alone : arm.setting.configuration.training
        return Computation(training.precision, channelsLast: training.channelsLast).words
      }
      guard words[0] != words[1] else { return nil }
      return "'\(arms[index].name)' was computed in \(words[0]) and '\(arms[other].name)' in \(words[1]): fix "
        + "training.precision and training.channels_last, or the difference may be theirs."
    }
  }

  // MARK: Arms

  /// Models that are the same are measured once, all of them now, one after the other: latencies of other moments cannot
  /// be compared.
  private func shownArms() throws -> [ComparisonData.Arm] {
    var measured: [(specification: ModelSpecification, figures: MetricsFile.Figures)] = []
    return try arms.map { arm in
      if !measured.contains(where: { $0.specification == arm.specification }) {
        let figures = try ReportData.Figures(measuring: arm.specification, on: device(arm))
        measured.append((arm.specification, MetricsFile.Figures(figures)))
      }
      let figures = measured.first { $0.specification == arm.specification }?.figures
      return shown(
        arm, figures ?? MetricsFile.Figures(ReportData.Figures(architecture: arm.specification.architecture)))
    }
  }

  private func device(_ arm: ComparedArm) throws -> Device { try arm.run.configuration.availableDevice() }

  private func shown(_ arm: ComparedArm, _ figures: MetricsFile.Figures) -> ComparisonData.Arm {
    var scores: [String: ReportData.Spread] = [:]
    // Beside several teachers it has several scores: they are in the pairs.
    let metrics = ComparisonMetric.allCases.filter { !$0.isBesideTeacher || arm.teachers.count == 1 }
    for metric in metrics {
      scores[metric.rawValue] = ReportData.Spread(arm.students.compactMap { metric.value($0.metrics) })
    }
    let all = arm.students.map(\.metrics)
    let classes = arm.run.materials.test.predictsTokens ? 0 : arm.run.materials.train.classCount
    return ComparisonData.Arm(
      name: arm.name, isAlone: arm.isAlone, run: arm.run.folder.path, steps: arm.shown.steps,
      examplesShown: arm.shown.examples, figures: figures,
      seeds: arm.students.map { student in
        var own: [String: Double] = [:]
        for metric in metrics { own[metric.rawValue] = metric.value(student.metrics)?.ifFinite }
        return ComparisonData.Seed(
          seed: student.seed, scores: own, validationAccuracy: student.result.outcome.validation?.accuracy,
          trainingAccuracy: student.result.trainingAccuracy, identity: student.job.identity)
      },
      scores: scores,
      validationAccuracy: ReportData.Spread(arm.students.compactMap { $0.result.outcome.validation?.accuracy }),
      recalls: (0..<classes).map { index in
        all.reduce(0) { $0 + $1.perClass[index].recall } / Double(max(1, all.count))
      },
      reliability: Metrics.pooled(all), curve: curve(arm))
  }

  /// The mean over the seeds at each epoch that any of them reached.
  private func curve(_ arm: ComparedArm) -> [ComparisonData.CurvePoint] {
    let points = arm.students.flatMap(\.curve)
    return Dictionary(grouping: points, by: \.epoch).sorted { $0.key < $1.key }.map { epoch, points in
      let values = points.map(\.accuracy)
      return ComparisonData.CurvePoint(
        epoch: epoch, mean: values.reduce(0, +) / Double(values.count), low: values.min() ?? 0, high: values.max() ?? 0)
    }
  }

  /// Each different one once.
  private func teachers() throws -> [ComparisonData.Teacher] {
    var known: [[String]] = []
    var found: [ComparisonData.Teacher] = []
    for arm in arms {
      guard let teacher = arm.run.teacher else { continue }
      let hashes = try teacher.hashes()
      guard !known.contains(hashes) else { continue }
      known.append(hashes)
      var figures = try ReportData.Figures(measuring: arm.run.teachingMembers, on: device(arm))
      if teacher.members.count > 1 { figures.architecture = "ensemble of \(teacher.members.count)" }
      found.append(
        ComparisonData.Teacher(
          name: known.count == 1 ? "teacher" : "teacher of \(arm.name)",
          accuracy: arm.run.metrics.teacher?.scores.accuracy, figures: MetricsFile.Figures(figures)))
    }
    return found
  }

  /// The arm whose students are best on the validation split; nil where nothing was held out.
  private func choice() -> ComparisonData.Choice? {
    let choices = arms.compactMap { arm -> ComparisonData.Choice? in
      let scores = arm.students.compactMap(\.result.outcome.validation)
      guard let accuracy = ReportData.Spread(scores.map(\.accuracy)) else { return nil }
      return ComparisonData.Choice(
        arm: arm.name, validationAccuracy: accuracy.mean,
        validationLoss: metric == .nll ? ReportData.Spread(scores.map(\.loss))?.mean : nil)
    }
    guard choices.count == arms.count else { return nil }
    if metric == .nll { return choices.min { ($0.validationLoss ?? .infinity) < ($1.validationLoss ?? .infinity) } }
    return choices.max { $0.validationAccuracy < $1.validationAccuracy }
  }

  // MARK: Pairs

  private func pair(_ arm: ComparedArm, _ baseline: ComparedArm) throws -> ComparisonData.Pair {
    let twins = arm.students.compactMap { own in baseline.student(own.seed).map { (own, $0) } }
    let said = twins.compactMap { own, other in
      own.predictions.flatMap { first in other.predictions.map { (seed: own.seed, first, $0) } }
    }
    var differences: [String: ComparisonData.Difference] = [:]
    for metric in ComparisonMetric.allCases {
      let values = try twins.compactMap { own, other in
        let (first, second) = try (arm.metrics(own, against: baseline), baseline.metrics(other, against: arm))
        return metric.value(first).flatMap { first in metric.value(second).map { first - $0 } }
      }
      guard values.count == twins.count, values.allSatisfy(\.isFinite) else { continue }
      let byExample = said.compactMap { _, first, second in
        metric.values(first).flatMap { own in metric.values(second).map { zip(own, $0).map { $0 - $1 } } }
      }
      differences[metric.rawValue] = ComparisonData.Difference(
        values, byExample: byExample.count == twins.count ? byExample : nil)
    }
    guard differences[metric.rawValue] != nil else {
      throw RunError(
        "--metric \(metric.rawValue): it was not measured of '\(arm.name)' or of '\(baseline.name)'"
          + ([.agreement, .kl].contains(metric) ? ": there is no teacher to compare with" : ""))
    }
    let tests = said.map { seed, first, second in
      ComparisonData.SeedTest(seed: seed, test: McNemarTest(first.correct, second.correct))
    }
    let isAlike = metric == .accuracy && differences[metric.rawValue]?.isWithoutSpread ?? false
    return ComparisonData.Pair(
      arm: arm.name, baseline: baseline.name, seeds: twins.map(\.0.seed), verdict: .unclear, sentence: "",
      differences: differences,
      evidence: isAlike && said.count == twins.count
        ? ExampleEvidence(said.map { $0.1.correct }, said.map { $0.2.correct }) : nil,
      mcnemar: tests,
      pooledMcnemar: tests.count < 2
        ? nil
        : McNemarTest(
          onlyFirst: tests.reduce(0) { $0 + $1.test.onlyFirst }, onlySecond: tests.reduce(0) { $0 + $1.test.onlySecond }
        ),
      agreement: said.isEmpty
        ? nil : said.reduce(0) { $0 + $1.1.agreement(with: $1.2) } / Double(said.count),
      classes: classes(arm, twins))
  }

  private func classes(
    _ arm: ComparedArm, _ twins: [(ComparedArm.Student, ComparedArm.Student)]
  ) -> [ComparisonData.ClassDifference] {
    guard !arm.run.materials.test.predictsTokens, !twins.isEmpty else { return [] }
    return arm.run.materials.train.classNames.indices.map { index in
      let own = twins.map { $0.0.metrics.perClass[index].recall }
      let others = twins.map { $0.1.metrics.perClass[index].recall }
      let interval = PairedDifference(zip(own, others).map { $0 - $1 })
      return ComparisonData.ClassDifference(
        name: arm.run.materials.train.classNames[index], arm: own.reduce(0, +) / Double(own.count),
        baseline: others.reduce(0, +) / Double(others.count), mean: interval.mean, low: interval.low,
        high: interval.high)
    }
  }

  /// One of many comparisons is good by luck: each p is held against how many there are.
  private func correct(_ pairs: inout [ComparisonData.Pair]) {
    // Where all seeds differ by the same there is no p of seeds, and perhaps one of examples.
    let all = pairs.map { $0.difference(metric)?.p ?? $0.evidence?.p }
    let tested = pairs.indices.filter { all[$0] != nil }
    let corrected = holmCorrected(tested.compactMap { all[$0] })
    for (index, p) in zip(tested, corrected) { pairs[index].correctedP = p }
  }

  private func conclude(_ pair: inout ComparisonData.Pair, among count: Int) {
    guard let difference = pair.difference(metric) else { return }
    pair.verdict =
      if let p = pair.correctedP {
        p >= Resolution.level
          ? .unclear : (difference.mean > 0) == metric.isBetterHigh ? .better : .worse
      } else if difference.isWithoutSpread {
        difference.bySeed.allSatisfy { $0 == 0 } ? .unclear : .notMeasured
      } else {
        .tooFewSeeds
      }
    if let resolution = Resolution(difference.bySeed, among: count) {
      pair.smallestDifference = resolution.smallestDifference
      pair.seedsNeeded = resolution.pairs(toResolve: difference.mean)
      // Where nothing was shown, no seeds as few as these would do.
      if pair.verdict == .unclear { pair.seedsNeeded = pair.seedsNeeded.map { max($0, pair.seeds.count + 1) } }
    }
    pair.sentence = ComparisonConclusion.sentence(pair, metric, among: count)
  }
}
