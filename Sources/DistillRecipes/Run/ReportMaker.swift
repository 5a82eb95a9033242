import DistillData
import DistillModels
import DistillRuntime
import Distillation
import Foundation
import Torch
import TorchNN

/// Gathers what a run found into what the report shows.
struct ReportMaker {
  let configuration: Configuration
  /// What is computed in which precision, for the manifest.
  let precisions: [ReportData.ManifestEntry]
  let folder: RunFolder
  let materials: Materials
  let teacher: TeacherMaker?
  let teacherTestLogits: Tensor?
  /// Of a teacher of texts, whose outputs are not kept.
  var teacherMetrics: Metrics?
  let plan: RunPlan
  let results: [String: TrainingResult]
  let device: Device

  func make(seconds: Double) throws -> ReportData {
    let students = try studentFigures()
    return ReportData(
      title: configuration.name, recipe: configuration.yaml,
      manifest: try Manifest.entries(
        configuration, precisions: precisions, materials: materials, teacherHashes: teacher?.hashes() ?? [],
        seconds: seconds),
      classNames: materials.train.classNames, teacher: try describeTeacher(),
      settings: try zip(plan.settings, students).map(setting),
      similarities: try similarities(), examples: try examples(), token: configuration.data.text?.token)
  }

  // MARK: The teacher

  private func describeTeacher() throws -> ReportData.Teacher? {
    guard let teacher,
      let metrics = try teacherMetrics ?? teacherTestLogits.map({ try Metrics(logits: $0, labels: labels) })
    else { return nil }
    let members = teacher.members
    var figures = try ReportData.Figures(
      measuring: (members + teacher.specialistMembers).map(\.specification), on: device)
    if members.count > 1 { figures.architecture = "ensemble of \(members.count)" }
    let specialists = teacher.specialistClasses
    var disagreement: MemberDisagreement?
    if members.count > 1 {
      let made = try teacher.makeTeacher()
      let examples = materials.split.validation.isEmpty ? materials.split.train : materials.split.validation
      disagreement = try materials.disagreement(
        of: made, examples: spread(examples, count: materials.sampleCount(2_000)), device: device)
    }
    return ReportData.Teacher(
      name: "teacher", figures: figures, scores: metrics.scores(ofTokens: isText), confusion: metrics.confusion,
      reliability: metrics.reliability, disagreement: disagreement, specialists: specialists)
  }

  private var token: String { configuration.data.text?.token ?? "token" }

  private var isText: Bool { materials.test.predictsTokens }

  private var labels: [Int] { (0..<materials.test.count).map { materials.test.label(at: $0) } }

  // MARK: Settings

  /// What the student of each setting weighs and costs; students that are the same are measured once.
  private func studentFigures() throws -> [ReportData.Figures] {
    var measured: [(specification: ModelSpecification, figures: ReportData.Figures)] = []
    return try plan.settings.map { setting in
      let specification = try setting.configuration.studentSpecification(
        inputShape: materials.train.exampleShape, classCount: materials.train.classCount)
      if let known = measured.first(where: { $0.specification == specification }) { return known.figures }
      let made = try ReportData.Figures(measuring: specification, on: device)
      measured.append((specification, made))
      return made
    }
  }

  private func setting(_ setting: RunPlan.Setting, _ student: ReportData.Figures) throws -> ReportData.Setting {
    let arms: [TrainingJob.Arm] = setting.configuration.compare ? [.alone, .distilled] : [.distilled]
    var made = try arms.map { try arm($0, setting) }
    if made.count == 2 {
      let gain = PairedDifference(zip(made[0].seeds, made[1].seeds).map { $1.scores.accuracy - $0.scores.accuracy })
      if let low = gain.low, let high = gain.high {
        made[1].gain = ReportData.Interval(mean: gain.mean, low: low, high: high)
      } else if gain.isWithoutSpread {
        made[1].evidence = try evidence(setting)
      }
    }
    var shown = ReportData.Setting(
      name: setting.name.isEmpty ? configuration.name : setting.name, description: try describe(setting),
      student: student, arms: made, stages: stages(setting))
    shown.conclusion = Verdict(shown).sentence
    return shown
  }

  /// Nil of texts, of which no outputs are kept.
  private func evidence(_ setting: RunPlan.Setting) throws -> ExampleEvidence? {
    guard !isText else { return nil }
    let labels = labels
    func correct(_ arm: TrainingJob.Arm) throws -> [[Bool]] {
      try setting.configuration.seeds.compactMap { setting.job(arm, seed: $0) }.map {
        try TestPredictions(logits: testLogits($0), labels: labels).correct
      }
    }
    return try ExampleEvidence(correct(.distilled), correct(.alone))
  }

  private func describe(_ setting: RunPlan.Setting) throws -> String {
    let data = setting.configuration.data
    let seed = setting.configuration.seeds.first ?? 0
    let count = try materials.ownExamples(data, seed: seed).labelled.count
    let seen = "\(count) of \(materials.split.train.count) training examples are labelled"
    let transfer =
      data.transfer == .all && data.labels < 1
      ? "; the teacher teaches on all of them" : data.labels < 1 ? "; the teacher teaches on the same ones" : ""
    let (alone, last) = (setting.jobs.first { $0.arm == .alone }, setting.jobs.last)
    let budget =
      setting.configuration.stages.isEmpty
      ? last.map { ", \($0.budget.steps) steps for each" }
      : alone.map { ", \($0.budget.steps) steps for the student alone: as many examples as in its twin's stages" }
    let others = try materials.shownParts(data, seed: seed).map { "; \($0.range.count) examples are of \($0.name)" }
    let view = data.teacherView == .same || data.augmentation.isEmpty
    let seenByTeacher =
      view ? "" : data.teacherView == .plain ? "; the teacher sees them plain" : "; the teacher sees other views"
    let corrected = CorrectedBias.sentences(
      setting.jobs.map { ($0.arm.rawValue, results[$0.identity]?.correctedBias) })
    let written = data.teacherText.map { "; the teacher goes on after the first \($0.prompt) \(token)s of each" } ?? ""
    let own =
      setting.configuration.training.onPolicy.map { own in
        "; in \(Quantity.percent(own.rate, decimals: 0)) of the steps the student writes itself"
          + (own.start == 0 ? "" : ", after \(own.start.words)")
      } ?? ""
    return seen + data.choiceWords + transfer + others.joined() + seenByTeacher + written + own + (budget ?? "") + "."
      + corrected.map { " \($0)" }.joined()
  }

  private func stages(_ setting: RunPlan.Setting) -> [ReportData.Stage] {
    setting.configuration.stages.enumerated().map { index, stage in
      let jobs = setting.jobs.filter { $0.stage?.number == index }
      let scores = jobs.compactMap { results[$0.identity]?.outcome.validation?.accuracy }
      return ReportData.Stage(
        name: stage.name, description: setting.configuration.description(ofStage: index),
        steps: jobs.first?.budget.steps ?? 0,
        validationAccuracy: scores.isEmpty ? nil : scores.reduce(0, +) / Double(scores.count))
    }
  }

  private func arm(_ arm: TrainingJob.Arm, _ setting: RunPlan.Setting) throws -> ReportData.Arm {
    var seeds: [ReportData.SeedResult] = []
    var metrics: [Metrics] = []
    for seed in setting.configuration.seeds {
      guard let job = setting.job(arm, seed: seed), let result = results[job.identity], let test = result.test else {
        continue
      }
      metrics.append(test)
      let stages = arm == .distilled ? setting.lineage(seed: seed) : [job]
      seeds.append(
        ReportData.SeedResult(
          seed: job.randomSeed, scores: test.scores(ofTokens: isText),
          validationAccuracy: result.outcome.validation?.accuracy, trainingAccuracy: result.trainingAccuracy,
          secondsPerStep: result.secondsPerStep, curve: curve(stages)))
    }
    // The tokens of a text are no classes that anybody wants to see one by one.
    let classes = isText ? 0 : materials.train.classCount
    let count = Double(max(1, metrics.count))
    let confusion = (0..<classes).map { row in
      (0..<classes).map { column in metrics.reduce(0) { $0 + $1.confusion[row][column] } }
    }
    let classScores = (0..<classes).map { index in
      let scores = metrics.map { $0.perClass[index] }
      func mean(_ path: (Metrics.ClassScore) -> Double) -> Double { scores.map(path).reduce(0, +) / count }
      return Metrics.ClassScore(
        precision: mean(\.precision), recall: mean(\.recall), f1: mean(\.f1), count: scores.first?.count ?? 0)
    }
    return ReportData.Arm(
      arm == .alone ? .alone : .distilled, name: arm.rawValue, seeds: seeds, classScores: classScores,
      confusion: confusion,
      reliability: Metrics.pooled(metrics))
  }

  /// The rounds of trainings that follow each other, their epochs counted on.
  private func curve(_ stages: [TrainingJob]) -> [ReportData.CurvePoint] {
    var before = 0.0
    var points: [ReportData.CurvePoint] = []
    for job in stages {
      let rounds = EventLog(path: folder.job(job.folderName).events).rounds()
      points += rounds.map { round in
        var point = round.curvePoint
        point.epoch += before
        return point
      }
      before += rounds.last?.epoch ?? 0
    }
    return points
  }

  // MARK: Dark knowledge

  static let temperatures = [1.0, 2, 4, 8]

  private func similarities() throws -> [ReportData.Similarity] {
    guard let logits = teacherTestLogits else { return [] }
    return try Self.temperatures.map { temperature in
      ReportData.Similarity(
        temperature: temperature,
        matrix: try ClassSimilarity.matrix(logits: logits, labels: labels, temperature: temperature))
    }
  }

  /// Test examples of the first setting and seed on which the student alone and the distilled one differ, those where
  /// the teacher is least sure first.
  private func examples(limit: Int = 12) throws -> [ReportData.Example] {
    guard materials.test.isImage, let teacherLogits = teacherTestLogits, let setting = plan.settings.first,
      let seed = configuration.seeds.first, let distilled = setting.job(.distilled, seed: seed)
    else { return [] }
    let alone = setting.job(.alone, seed: seed)
    let distilledLogits = try testLogits(distilled)
    let aloneLogits = try alone.map(testLogits)
    let says = try Predictions(teacherLogits)
    let now = try Predictions(distilledLogits)
    let before = try aloneLogits.map(Predictions.init)
    let labels = labels
    let interesting = labels.indices.filter { index in
      guard labels[index] >= 0 else { return false }
      guard let before else { return now.classes[index] != says.classes[index] }
      return (before.classes[index] == labels[index]) != (now.classes[index] == labels[index])
    }
    return try interesting.sorted { says.confidences[$0] < says.confidences[$1] }.prefix(limit).map { index in
      var opinions = [
        try opinion("teacher", teacherLogits, index, 1), try opinion("teacher", teacherLogits, index, 4),
      ]
      if let aloneLogits { opinions.append(try opinion("alone", aloneLogits, index, 1)) }
      opinions.append(try opinion("distilled", distilledLogits, index, 1))
      return ReportData.Example(
        id: index, picture: try Picture.of(materials.test, index), label: labels[index], opinions: opinions)
    }
  }

  private func testLogits(_ job: TrainingJob) throws -> Tensor {
    let path = folder.job(job.folderName).testLogits
    guard let tensor = try Checkpoint.read(path).tensors.first?.tensor else {
      throw RunError("\(path) is empty", kind: .failure)
    }
    return tensor
  }

  private func opinion(
    _ model: String, _ logits: Tensor, _ index: Int, _ temperature: Double
  ) throws -> ReportData.Opinion {
    let row = try logits.sliced(0, from: index, to: index + 1)
    let top = try topClasses(row, count: 3, temperature: temperature).first ?? []
    return ReportData.Opinion(
      model: model, temperature: temperature,
      top: top.map { ReportData.ClassProbability(classIndex: $0.index, probability: $0.probability) })
  }
}

enum Picture {
  /// An example as a picture; nil when it is none that can be shown.
  static func of(_ dataset: any Dataset, _ index: Int) throws -> ReportData.Picture? {
    let shape = dataset.exampleShape
    guard shape.count == 3, shape[0] == 1 || shape[0] == 3 else { return nil }
    let values = try dataset.values(at: index)
    let (channels, height, width) = (shape[0], shape[1], shape[2])
    var pixels = [UInt8](repeating: 0, count: values.count)
    for channel in 0..<channels {
      for place in 0..<(height * width) {
        let value = min(max(values[channel * height * width + place], 0), 1)
        pixels[place * channels + channel] = UInt8((value * 255).rounded())
      }
    }
    return ReportData.Picture(width: width, height: height, channels: channels, pixels: Data(pixels))
  }
}

extension Metrics {
  /// - Parameter ofTokens: whether it is tokens that were predicted, so that bits and perplexity say something
  func scores(ofTokens: Bool) -> ReportData.Scores {
    var scores = scores
    guard ofTokens else { return scores }
    (scores.bitsPerToken, scores.perplexity) = (bits, perplexity)
    return scores
  }

  var scores: ReportData.Scores {
    ReportData.Scores(
      accuracy: accuracy, topKAccuracy: topKAccuracy, topK: topK, negativeLogLikelihood: negativeLogLikelihood,
      calibrationError: expectedCalibrationError, agreement: agreement, divergence: teacherDivergence)
  }

  /// The reliability over the predictions of several models.
  static func pooled(_ metrics: [Metrics]) -> [ReliabilityBin] {
    guard let first = metrics.first else { return [] }
    return first.reliability.indices.map { index in
      let bins = metrics.map { $0.reliability[index] }
      let count = bins.reduce(0) { $0 + $1.count }
      func mean(_ path: (ReliabilityBin) -> Double) -> Double {
        count > 0 ? bins.reduce(0) { $0 + path($1) * Double($1.count) } / Double(count) : 0
      }
      return ReliabilityBin(
        lower: bins[0].lower, upper: bins[0].upper, count: count, confidence: mean(\.confidence),
        accuracy: mean(\.accuracy))
    }
  }
}

extension Event.Round {
  var curvePoint: ReportData.CurvePoint {
    ReportData.CurvePoint(
      epoch: epoch, trainLoss: loss,
      lossParts: parts.sorted { $0.key < $1.key }.map {
        ReportData.LossPart($0.key.replacing("_", with: " "), $0.value)
      },
      validationAccuracy: validation?.accuracy, validationLoss: validation?.loss)
  }
}
