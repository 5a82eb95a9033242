import DistillData
import DistillModels
import DistillRuntime
import DistillPrograms
import Distillation
import Foundation
import Torch
import TorchNN

/// Whether teacher, students and terms fit the data and each other.
final class ModelCheck {
  let check: PreflightCheck
  let materials: Materials
  let device: Device
  /// The teacher where its weights are there; nil where it is still to be trained, or could not be made.
  private(set) var teacher: TeacherMaker?
  /// What one input costs each member of the teacher.
  private(set) var teacherSummaries: [ModelSummary] = []
  /// What one input costs each of the students.
  private var students: [(student: Configuration.Student, summary: ModelSummary)] = []
  /// The teacher's forward passes, per example.
  private(set) var teacherSecondsPerExample: Double?
  /// What was said of where the teacher's outputs are kept: once for all stages and settings.
  private var told: Set<String> = []
  /// What will be kept in memory of the teacher's outputs, by what the check has seen.
  private var outputRoom: TeacherOutputs.Room
  private var labelled: Set<String> = []
  /// The caches whose checksums were computed.
  private var verified: Set<String> = []

  init(
    check: PreflightCheck, materials: Materials, device: Device,
    mostBytesInMemory: Int = TeacherOutputs.fairBytesInMemory
  ) {
    self.check = check
    self.materials = materials
    self.device = device
    outputRoom = TeacherOutputs.Room(mostBytes: mostBytesInMemory)
  }

  private var configuration: Configuration { check.configuration }

  func run(_ settings: [(name: String, configuration: Configuration)]) {
    checkTeacher()
    for (name, setting) in settings {
      for index in setting.sequence.indices {
        let teachers = check.attempt("teacher") {
          try setting.teachingModels(ofStage: index, setting: name, materials: materials)
        }
        // What is wrong with the student is told as well.
        let learners = check.attempt("student") {
          try setting.learners(
            ofStage: index, setting: name, materials: materials,
            teachers: teachers ?? TeachingModels(members: [], classCount: materials.train.classCount))
        }
        guard teachers != nil else { continue }
        guard let learners else { continue }
        check.attempt("student") { try describeStudent(learners[0].student, ofStage: index, in: setting, name) }
        let place = setting.place(ofStage: index, setting: name)
        for learner in learners {
          check.attempt("terms") {
            try located(place) {
              try checkTerms(of: learner, place, setting, stage: index, name, isTold: name == settings.first?.name)
            }
          }
        }
      }
    }
    if let teacher { checkKnowledge(teacher, settings.map(\.configuration)) }
    checkTransferSets((try? teacher?.makeTeacher()) ?? nil, settings)
    for (name, setting) in settings {
      for (index, stage) in setting.sequence.enumerated() {
        let place = setting.place(ofStage: index, setting: name)
        checkCache(stage.configuration, place)
      }
    }
    checkPrecomputing(settings)
  }

  /// The largest model of the run.
  var largestSummary: ModelSummary? {
    (teacherSummaries + students.map(\.summary)).max { $0.bytes < $1.bytes }
  }

  /// What one input costs a student; nil where it could not be made.
  func summary(of student: Configuration.Student) -> ModelSummary? {
    students.first { $0.student == student }?.summary
  }

  /// What one input costs a peer of a student; nil where it could not be made.
  func summary(of peer: Configuration.Peer, of student: Configuration.Student) -> ModelSummary? {
    let shape = materials.train.exampleShape
    return try? ModelZoo.make(
      try peer.specification(student: student, inputShape: shape, classCount: materials.train.classCount)
    ).summary(inputShape: shape)
  }

  var runner: TrainingRunner {
    TrainingRunner(
      materials: materials, teacherTestLogits: nil, device: device, folder: check.folder,
      observer: check.observer, isTrial: true)
  }

  // MARK: Teacher

  /// What the teacher is, and whether its weights are there and fit.
  private func checkTeacher() {
    guard let teacher = configuration.teacher else {
      if configuration.stages.isEmpty { check.warn("teacher", "there is none: the student only learns from labels") }
      return
    }
    let shape = materials.train.exampleShape
    if let mean = teacher.mean {
      check.good("teacher", "the mean of the student's own past, with a decay of \(Quantity.plain(mean.decay))")
    } else if !teacher.peers.isEmpty {
      for peer in teacher.peers {
        // One that does not fit is told with the students.
        guard let summary = summary(of: peer, of: configuration.student) else { continue }
        let model = peer.model ?? (peer.weights == nil ? configuration.student.model : nil)
        check.good(
          "teacher",
          "the peer '\(peer.name)', trained in the same steps: \(model.map { "\($0.architecture), " } ?? "")"
            + "\(Quantity.count(summary.parameters)) parameters, \(Quantity.count(summary.multiplyAdds)) multiply-adds "
            + "for an input")
      }
    } else if teacher.members.isEmpty {
      // A cache, which is looked at for each stage.
    } else if teacher.isToBeTrained {
      check.attempt("teacher") {
        let specification = try teacher.specificationToTrain(
          inputShape: shape, classCount: materials.train.classCount)
        let summary = try ModelZoo.make(specification).summary(inputShape: shape)
        teacherSummaries = [summary]
        check.good("teacher", "\(describe(specification, summary)); it has no weights yet, so the run trains it first")
      }
    } else {
      check.attempt("teacher") {
        let maker = try TeacherMaker(
          teacher, folder: check.folder, materials: materials, device: device,
          precision: configuration.training.precision, channelsLast: configuration.training.channelsLast)
        for member in maker.members {
          let summary = try maker.makeModel(member).summary(inputShape: shape)
          teacherSummaries.append(summary)
          if member.program != nil {
            check.good("teacher", describeProgram(member, summary))
            continue
          }
          check.good("teacher", "\(describe(member.specification, summary)); weights \(member.weights)")
          if member.classes == nil { checkDescription(of: member) }
        }
        self.teacher = maker
      }
    }
  }

  /// What a model folder says of how its model was trained, held against what the recipe will show it.
  private func checkDescription(of member: TeacherMember) {
    let folder = ModelFolder(FilePath.folder(of: member.weights))
    guard folder.exists, let description = try? folder.description() else { return }
    let names = materials.train.classNames
    if description.labels != names {
      if description.labels.sorted() == names.sorted() {
        check.problem(
          "teacher",
          "\(folder.configuration) names the classes in another order than the data: \(short(description.labels)), not "
            + short(names))
      } else {
        check.warn(
          "teacher", "its classes are called \(short(description.labels)), those of the data \(short(names))")
      }
    }
    checkFit(description)
    let (own, given) = (description.normalization, materials.normalization)
    // Another library may say nothing of how inputs were normalized.
    if !areAlike(own, given), !folder.isForeign || own != nil {
      check.warn(
        "teacher",
        "it was trained on inputs with \(describe(own)), and the recipe shows it inputs with \(describe(given)): "
          + "set data.normalize to what it knows")
    }
  }

  /// Whether pictures are brought to their size as the teacher knows it.
  private func checkFit(_ description: ModelFolder.Description) {
    guard let fit = description.pictureFit, configuration.data.dataset == "folder", configuration.data.fit != fit else {
      return
    }
    let side = fit.shorterSide.map { "shorter_side: \($0), " } ?? ""
    check.warn(
      "teacher",
      "it knows pictures that are prepared in another way: set data to {image_size: \(description.model.inputShape.last ?? 0), "
        + "\(side)interpolation: \(fit.interpolation.rawValue), …}")
  }

  private func short(_ names: [String]) -> String {
    names.prefix(3).joined(separator: ", ") + (names.count > 3 ? ", …" : "")
  }

  private func describe(_ normalization: Normalization?) -> String {
    guard let normalization else { return "no normalization" }
    func list(_ numbers: [Float]) -> String {
      numbers.prefix(3).map { String(format: "%.3f", $0) }.joined(separator: ", ")
    }
    return "mean \(list(normalization.mean)) and deviation \(list(normalization.standardDeviation))"
  }

  /// The same but for what another division of the same data changes.
  private func areAlike(_ first: Normalization?, _ second: Normalization?) -> Bool {
    guard let first, let second else { return first == nil && second == nil }
    func numbers(_ values: [Float], _ index: Int) -> Float { values.count == 1 ? values[0] : values[index] }
    let counts = Set([first.mean.count, second.mean.count]).subtracting([1])
    guard counts.count <= 1 else { return false }
    return (0..<(counts.first ?? 1)).allSatisfy { index in
      let deviation = numbers(first.standardDeviation, index)
      return abs(numbers(first.mean, index) - numbers(second.mean, index)) <= 0.05 * deviation
        && abs(deviation - numbers(second.standardDeviation, index)) <= 0.05 * deviation
    }
  }

  // MARK: Students and terms

  private func describeStudent(
    _ student: any Layer, ofStage index: Int, in setting: Configuration, _ name: String
  ) throws {
    let shape = materials.train.exampleShape
    let classes = materials.train.classCount
    let own = setting.sequence[index].configuration.student
    guard summary(of: own) == nil else { return }
    let summary = try student.summary(inputShape: shape)
    students.append((own, summary))
    let specification = try setting.sequence[index].configuration.studentSpecification(
      inputShape: shape, classCount: classes)
    let start = try own.weights.map { "; it starts from \(try ModelSource($0).weights)" } ?? own.startInWords
    // An assistant may be as large as it likes.
    guard own == setting.student else {
      let place = setting.place(ofStage: index, setting: name)
      check.good("student", "\(place)\(describe(specification, summary))\(start)")
      return
    }
    let cost = teacherSummaries.reduce(0) { $0 + $1.multiplyAdds }
    guard cost > 0, summary.multiplyAdds > 0 else {
      check.good("student", "\(describe(specification, summary))\(start)")
      return
    }
    let ratio = Double(cost) / Double(summary.multiplyAdds)
    if ratio < 1.2 {
      check.warn(
        "student",
        "\(describe(specification, summary)): \(ratio < 1 ? "more than" : "about as much as") the teacher's "
          + "\(Quantity.count(cost)). Nothing is saved")
    } else {
      check.good(
        "student", "\(describe(specification, summary)), \(Quantity.ratio(ratio)) less than the teacher\(start)")
    }
  }

  /// Whether the places that terms look at are there, whether what student and teacher give there can be compared, and
  /// how large the terms are before the first step.
  ///
  /// - Parameters:
  ///   - place: where that is, for messages
  ///   - name: the setting's
  ///   - isTold: whether the sizes are told, and not only kept, where nothing is odd about them
  private func checkTerms(
    of learner: Learner, _ place: String, _ setting: Configuration, stage index: Int, _ name: String, isTold: Bool
  ) throws {
    let (student, teachers) = (learner.student, learner.teachers)
    let objective = try learner.objective()
    let place = place + (learner.peer.map { "of the peer '\($0)': " } ?? "")
    let missing = objective.missingPlaces(student: student, teachers: teachers)
    for text in missing { check.problem("terms", place + text) }
    guard missing.isEmpty, !objective.needsTeacher || !teachers.members.isEmpty else { return }
    for model in [student] + teachers.models { try model.move(to: device) }
    let stage = setting.sequence[index]
    let loader = try runner.makeLoader(try trialJob(stage.configuration))
    let batch = try loader.batch(ids: spread(loader.examples, count: 64))
    let asked = objective.needsTeacher ? try teachers.makeTeacher() : nil
    try objective.requireMembers(of: asked)
    try objective.prepare(student: student, teacher: asked, batch: batch, seed: 0)
    let value = try withRandomStream(try RandomStream(seed: 0, name: "check", device: device)) {
      try withoutGradient {
        let batch = try objective.withCopies(batch)
        return try objective.evaluate(
          student: student.trace(batch.inputs, taps: objective.studentTaps),
          teacher: objective.trace(asked, batch), batch: batch)
      }
    }
    // A teacher that is still to be trained says nothing of how large terms will be.
    guard teachers.hasLearnt || !objective.needsTeacher, let value else { return }
    let sizes = try value.parts.map { part in
      let mean = try part.sum.item() / Double(part.count)
      return Preflight.TermSize(
        setting: [name, stage.name, learner.peer ?? ""].filter { !$0.isEmpty }.joined(separator: ", "), term: part.name,
        value: mean,
        weighted: mean * part.weight)
    }
    result.termSizes = (result.termSizes ?? []) + sizes
    let shown = sizes.map { "\($0.term) \(Quantity.plain($0.weighted))" }.joined(separator: ", ")
    let largest = sizes.map { abs($0.weighted) }.max() ?? 0
    if let small = sizes.first(where: { abs($0.weighted) * 1_000 < largest }), largest > 0 {
      check.warn(
        "terms", "\(place)they begin as \(shown): beside the largest \(small.term) hardly counts. Set the weights anew")
    } else if isTold {
      check.good("terms", "\(place)they begin as \(shown), with their weights")
    }
  }

  /// Whether the teacher's outputs are computed once, and where they are kept.
  private func checkPrecomputing(_ settings: [(name: String, configuration: Configuration)]) {
    for ofStages in [false, true] {
      for (name, setting) in settings {
        for (index, stage) in setting.sequence.enumerated() {
          let recipe = stage.configuration
          // A run first labels with the teachers that are there, and with its own students when these are trained.
          guard (recipe.teacher?.members.contains { $0.stage != nil } ?? false) == ofStages else { continue }
          checkPrecomputing(recipe, setting.place(ofStage: index, setting: name), studentsOf: ofStages ? name : "")
        }
      }
    }
  }

  private func checkPrecomputing(_ recipe: Configuration, _ place: String, studentsOf setting: String) {
    guard let job = try? trialJob(recipe) else { return }
    check.attempt("teacher") {
      try located(place) {
        guard try runner.precomputes(job), try runner.makeObjective(job).needsTeacher,
          labelled.insert("\(try runner.outputKey(job)) \(setting)").inserted
        else { return }
        let bytes = try runner.outputBytes(job)
        let kept = outputRoom.take(bytes) ? "in memory" : "in \(check.folder.labels) while the run lasts"
        let text = "it is asked once and not in each step: \(Quantity.bytes(bytes)) are kept \(kept)"
        // Of a teacher that cannot be asked it is not told how it is.
        let isAsked = !check.result.findings.contains { $0.mark == .problem && $0.subject == "teacher" }
        if isAsked, told.insert(text).inserted { check.good("teacher", text) }
      }
    }
  }

  /// Whether the teacher cache is there, is what the recipe asks for, and is near enough to its teacher.
  private func checkCache(_ recipe: Configuration, _ place: String) {
    guard recipe.teacher?.cache != nil else { return }
    check.attempt("teacher") {
      try located(place) {
        let job = try trialJob(recipe)
        guard let cache = try runner.cache(job) else { return }
        _ = try runner.cachedTeacher(job)
        if verified.insert(cache.folder).inserted {
          check.observer(.stage("Checking the teacher cache \(cache.folder)"))
          try cache.verify { done in
            check.observer(.fraction(done))
            return .continue
          }
        }
        let result = Labelling.Result(cache)
        check.good(
          "teacher",
          "\(place)the cache \(result.folder): \(result.contents) of \(counted(result.examples, "example")), "
            + "\(Quantity.bytes(result.bytes)); it fits the recipe")
        for warning in result.warnings { check.warn("teacher", "\(place)\(warning)") }
      }
    }
  }

  /// The distilled training of a setting, to look at what it will do.
  func trialJob(_ setting: Configuration) throws -> TrainingJob {
    try TrainingJob(trialOf: setting, materials: materials)
  }

  // MARK: What the teacher knows

  private func checkKnowledge(_ maker: TeacherMaker, _ settings: [Configuration]) {
    let split = materials.split
    let sample = spread(split.validation.isEmpty ? split.train : split.validation, count: materials.sampleCount(1_000))
    let kind = split.validation.isEmpty ? "training" : "validation"
    check.observer(.stage("Asking the teacher about \(sample.count) examples"))
    check.attempt("teacher") {
      let teacher = try maker.makeTeacher()
      let set = try materials.evaluationSet(
        materials.train, examples: sample, device: device, channelsLast: configuration.training.channelsLast)
      let clock = ContinuousClock()
      let start = clock.now
      if materials.train.predictsTokens {
        let metrics = try set.tokenMetrics(of: teacher)
        teacherSecondsPerExample = (clock.now - start) / .seconds(1) / Double(sample.count)
        try checkIsSteady(teacher, sample)
        try describeKnowledge(ofTokens: metrics, kind)
        return
      }
      let logits = try set.logits(of: teacher)
      teacherSecondsPerExample = (clock.now - start) / .seconds(1) / Double(sample.count)
      guard try logits.isFinite().all() else {
        throw RunError(
          "the outputs of \(maker.name) hold numbers that are not finite, computed in "
            + "\(configuration.training.precision.rawValue): it needs training.precision: float32, or other weights")
      }
      try checkIsSteady(teacher, sample)
      let metrics = try Metrics(logits: logits, labels: set.labels)
      result.teacherSample = Preflight.TeacherSample(count: sample.count, accuracy: metrics.accuracy)
      let text =
        "knows \(Quantity.percent(metrics.accuracy)) of \(sample.count) \(kind) examples, asked as the run asks it"
      let chance = 1 / Double(materials.train.classCount)
      if metrics.accuracy < 1.5 * chance, sample.count >= 50 {
        check.problem(
          "teacher",
          "\(text): that is guessing. Are the classes in its order, and data.normalize what it was trained with?")
      } else if metrics.accuracy < 0.5 + chance / 2, sample.count >= 50 {
        check.warn("teacher", "\(text): a student learns its mistakes too")
      } else {
        check.good("teacher", text)
      }
      if maker.members.count > 1 {
        let disagreement = try materials.disagreement(of: teacher, examples: sample, device: device)
        if disagreement.topOne == 0, disagreement.jensenShannon < 1e-3 {
          check.warn("teacher", "its members say the same: an ensemble of one would do")
        } else {
          check.good("teacher", "its members \(disagreement.words)")
        }
      }
      try checkSmoothing(logits, set.labels, metrics)
      try checkViews(teacher, sample, settings, plain: metrics.accuracy)
    }
  }

  /// What a teacher knows of a text.
  private func describeKnowledge(ofTokens metrics: Metrics, _ kind: String) throws {
    result.teacherSample = Preflight.TeacherSample(count: metrics.count, accuracy: metrics.accuracy)
    let token = configuration.data.text?.token ?? "token"
    let text =
      "needs \(Quantity.number(metrics.bits, decimals: 3)) bits for a \(token) of \(Quantity.integer(metrics.count)) "
      + "\(kind) ones, and predicts \(Quantity.percent(metrics.accuracy)) of them"
    if metrics.perplexity > 0.9 * Double(materials.train.classCount) {
      check.problem("teacher", "\(text): that is guessing. Has it the data's tokens (data.unit)?")
    } else {
      check.good("teacher", text)
    }
  }

  private var result: Preflight {
    get { check.result }
    set { check.result = newValue }
  }

  /// The same inputs twice: a teacher with dropout at work, or batch statistics that move, answers differently.
  private func checkIsSteady(_ teacher: any Teacher, _ sample: [Int]) throws {
    var options = DataLoader.Options(batchSize: 64)
    options.normalization = materials.normalization
    options.device = device
    options.channelsLast = configuration.training.channelsLast
    let loader = try DataLoader(dataset: materials.train, examples: Array(sample.prefix(64)), options: options)
    let batch = try loader.batch(ids: loader.examples)
    let first = try teacher.trace(batch).logits()
    let again = try teacher.trace(batch).logits()
    if try !first.equals(again).all() {
      check.problem("teacher", "it answers the same inputs differently each time: is it in training mode?")
    }
  }

  /// On the augmented views that it will label.
  private func checkViews(
    _ teacher: any Teacher, _ sample: [Int], _ settings: [Configuration], plain: Double
  ) throws {
    guard let setting = settings.first(where: { !$0.data.augmentation.isEmpty }) else { return }
    let loader = try runner.makeLoader(try trialJob(setting))
    var correct = 0
    for start in stride(from: 0, to: sample.count, by: 250) {
      let ids = Array(sample[start..<min(sample.count, start + 250)])
      let batch = try loader.batch(ids: ids)
      let predictions: [Int] = try teacher.trace(batch).logits().argumentOfMaximum(along: 1).to(Device.cpu).array()
      let others: [Int]? = try batch.secondLabels.map { try $0.to(Device.cpu).array() }
      let shares: [Double]? = try batch.secondWeights.map { try $0.to(Device.cpu).doubles() }
      for (place, id) in ids.enumerated() {
        // Of a mixture, the class with the larger part counts.
        let isOther = (shares?[place] ?? 0) > 0.5
        let label = isOther ? others?[place] ?? -1 : materials.train.label(at: id)
        correct += predictions[place] == label ? 1 : 0
      }
    }
    let accuracy = Double(correct) / Double(max(1, sample.count))
    result.teacherSample?.augmentedAccuracy = accuracy
    let text = "knows \(Quantity.percent(accuracy)) of them after the augmentation"
    if plain - accuracy > 0.1 {
      check.warn("teacher", "\(text): the views that it labels are strange to it. Use a milder augmentation")
    } else {
      check.good("teacher", text)
    }
  }

  /// A teacher that was trained with label smoothing is nearly equally sure of whatever it knows, and never quite sure.
  private func checkSmoothing(_ logits: Tensor, _ labels: [Int], _ metrics: Metrics) throws {
    let hottest = configuration.terms.compactMap(\.highestTemperature).max()
    guard let hottest, hottest > 2, metrics.accuracy > 0.8 else { return }
    let predictions = try Predictions(logits)
    let sure = labels.indices.filter { predictions.classes[$0] == labels[$0] }.map { predictions.confidences[$0] }
      .sorted()
    guard sure.count >= 100 else { return }
    let (middle, high) = (sure[sure.count / 2], sure[sure.count * 9 / 10])
    guard high < 0.975, high - middle < 0.1 else { return }
    check.warn(
      "teacher",
      "where it is right it is hardly ever surer than \(Quantity.percent(high, decimals: 0)): was it trained with "
        + "label smoothing? Its soft targets then say little about the wrong classes at temperature "
        + "\(Quantity.plain(hottest)); use 1 or 2, or train it without")
  }

  private func describeProgram(_ member: TeacherMember, _ summary: ModelSummary) -> String {
    let format = ProgramFormat(rawValue: member.specification.architecture)
    let parameters = summary.parameters > 0 ? "\(Quantity.count(summary.parameters)) parameters" : "parameters unknown"
    let name = format?.name ?? "a model as a whole"
    return "\(name) in \(member.weights), \(parameters), \(Quantity.bytes(summary.bytes)); it gives "
      + "\(member.specification.classCount) logits for an example, and its inside cannot be looked at"
  }

  private func describe(_ specification: ModelSpecification, _ summary: ModelSummary) -> String {
    "\(specification.architecture), \(Quantity.count(summary.parameters)) parameters, "
      + "\(Quantity.count(summary.multiplyAdds)) multiply-adds for an input"
  }
}
