import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// The terms on logits, against references written from the papers' formulas (scripts/fixtures/logit_terms.py), at their
/// limits, and where they refuse.
@Suite struct LogitTermsTests {
  let fixture = try! Fixture("logit-terms")

  /// A batch with the fixture's labels; mixed with the fixture's second labels if asked.
  func makeBatch(labels: Tensor, isMixed: Bool = false) throws -> Batch {
    var batch = try Batch.fake(count: labels.size(0), labels: labels)
    if isMixed {
      batch.secondLabels = try fixture["mixed/labels"]
      batch.secondWeights = try fixture["mixed/weights"]
    }
    return batch
  }

  /// The mean of a term over the examples that count, and its gradient by the student's logits.
  func evaluate(
    _ term: any Term, student: Tensor, teacher: TeacherTrace?, batch: Batch
  ) throws -> (value: Double, gradient: Tensor) {
    let logits = try student.copied().requireGradient()
    let mean = try term.sum(TermInput(student: Trace(output: logits), teacher: teacher, batch: batch))
    let count = term.count(batch)
    #expect(count > 0)
    try (mean / Double(count)).backward()
    return (try mean.item() / Double(count), try #require(logits.gradient))
  }

  /// Compares a term on the fixture's logits with the reference of a key.
  func check(
    _ term: any Term, _ key: String, labels: String = "labels", isMixed: Bool = false, teacher: TeacherTrace? = nil
  ) throws {
    let trace = try teacher ?? TeacherTrace(logits: fixture["teacher"])
    let (value, gradient) = try evaluate(
      term, student: fixture["student"], teacher: term.needsTeacher ? trace : nil,
      batch: makeBatch(labels: fixture[labels], isMixed: isMixed))
    try assertClose(value, fixture["\(key)/value"].item(), relative: 2e-5, absolute: 1e-6, key)
    try assertClose(gradient, fixture["\(key)/gradient"], relative: 1e-4, absolute: 2e-6, key)
  }

  /// Value and gradient of a term whose logits are given as rows.
  func evaluate(
    _ term: any Term, _ student: [[Float]], _ teacher: [[Float]]?, labels: [Int64]? = nil
  ) throws -> (value: Double, gradient: Tensor) {
    func tensor(_ rows: [[Float]]) throws -> Tensor {
      try Tensor(rows.flatMap { $0 }).reshaped([rows.count, rows[0].count])
    }
    return try evaluate(
      term, student: tensor(student), teacher: teacher.map { TeacherTrace(logits: try tensor($0)) },
      batch: makeBatch(labels: Tensor(labels ?? student.map { _ in 0 })))
  }

  func allTerms() throws -> [any Term] {
    try Divergence.allCases.map { try SoftTargets(divergence: $0) } + [
      SoftTargets(standardize: true),
      SoftTargets(labelCorrection: LabelCorrection(share: 0.5)),
      SoftTargets(labelCorrection: LabelCorrection(share: 0.5, place: .teacherWrong)),
      DecoupledSoftTargets(), PredictionCorrelation(), NormalizedSoftTargets(), NormalizedSoftTargets(temperature: 4),
      TeacherFree(), ClassWiseSelfDistillation(), ProbabilisticTransfer(),
    ]
  }

  // MARK: Soft targets

  @Test(arguments: Divergence.allCases, ["1", "4"])
  func divergencesEqualTheReference(divergence: Divergence, temperature: String) throws {
    try check(
      SoftTargets(temperature: Ramp(Double(temperature)!), divergence: divergence),
      "soft/\(divergence.rawValue)/T=\(temperature)")
  }

  @Test(arguments: ["0.1", "0.9"])
  func jensenShannonDivergenceFollowsBeta(beta: String) throws {
    try check(
      SoftTargets(divergence: .jensenShannon, beta: Double(beta)!), "soft/jensen_shannon/beta=\(beta)/T=4")
  }

  /// Divided by β (or 1 − β) it becomes the forward (or reverse) divergence at the ends.
  @Test(arguments: [(1e-6, Divergence.forward), (1 - 1e-6, .reverse)])
  func jensenShannonDivergenceBecomesTheOthers(beta: Double, other: Divergence) throws {
    let student = try fixture["student"].to(.float64)
    let targets = try fixture["teacher"].to(.float64).logSoftmax()
    let rows = try softTargetRows(
      studentLogits: student, logSoftTargets: targets, temperature: 1, divergence: .jensenShannon, beta: beta)
    let expected = try softTargetRows(
      studentLogits: student, logSoftTargets: targets, temperature: 1, divergence: other)
    try assertClose(rows / min(beta, 1 - beta), expected, relative: 0.01, absolute: 1e-4)
  }

  /// T² keeps the gradient's size: at a high temperature it is that of zero-mean logit matching over C, times β (1 − β)
  /// for the Jensen-Shannon divergence. The total variation with T² grows as T.
  @Test(arguments: [(Divergence.forward, 1.0), (.reverse, 1), (.jensenShannon, 0.16)])
  func gradientsKeepTheirSizeAtHighTemperature(divergence: Divergence, factor: Double) throws {
    let student = try fixture["student"]
    let teacher = try TeacherTrace(logits: fixture["teacher"])
    let batch = try makeBatch(labels: fixture["labels"])
    let matching = try evaluate(LogitMatching(zeroMean: true), student: student, teacher: teacher, batch: batch)
    let limit = try matching.gradient * (factor / 5)
    let errors = try [50.0, 100].map { temperature in
      let term = try SoftTargets(temperature: Ramp(temperature), divergence: divergence, beta: 0.2)
      let gradient = try evaluate(term, student: student, teacher: teacher, batch: batch).gradient
      return try (gradient - limit).norm().item() / limit.norm().item()
    }
    #expect(errors[0] < 0.1 && errors[1] < 0.05, "\(errors)")
  }

  @Test func totalVariationGrowsAsTheTemperature() throws {
    let student = try fixture["student"]
    let teacher = try TeacherTrace(logits: fixture["teacher"])
    let values = try [100.0, 200].map { temperature in
      let term = try SoftTargets(temperature: Ramp(temperature), divergence: .totalVariation)
      return try evaluate(term, student: student, teacher: teacher, batch: makeBatch(labels: fixture["labels"])).value
    }
    assertClose(values[1] / values[0], 2, relative: 0.02)
  }

  @Test(arguments: LabelCorrection.Place.allCases, [false, true])
  func correctedTargetsEqualTheReference(place: LabelCorrection.Place, isMixed: Bool) throws {
    let term = try SoftTargets(temperature: 2, labelCorrection: LabelCorrection(share: 0.3, place: place))
    try check(term, "corrected/\(place.rawValue)\(isMixed ? "/mixed" : "")", labels: "some", isMixed: isMixed)
  }

  @Test func correctedTargetsAreDistributionsAndUnlabelledOnesTheTeachers() throws {
    let targets = try fixture["teacher"].logSoftmax()
    let labels = try fixture["some"]
    let corrected = try correctedSoftTargets(targets, labels: labels, correction: LabelCorrection(share: 0.99))
    try assertClose(corrected.exponential().sum(along: 1), Tensor([Float](repeating: 1, count: 7)), relative: 1e-5)
    let unlabelled = try Tensor([Int64(2), 4])
    #expect(try corrected.gathered(unlabelled).doubles() == targets.gathered(unlabelled).doubles())
    let untouched = try correctedSoftTargets(targets, labels: labels, correction: LabelCorrection(share: 0))
    #expect(try untouched.doubles() == targets.doubles())
  }

  @Test func standardizedTargetsEqualTheReference() throws {
    try check(SoftTargets(temperature: 2, standardize: true), "standardized/T=2")
    try check(
      SoftTargets(temperature: 2, standardize: true), "standardized/ensemble/T=2",
      teacher: TeacherTrace(
        memberLogits: [fixture["teacher"], fixture["second"]], memberWeights: [0.5, 0.5], average: .arithmetic))
  }

  @Test func standardizedLogitsDoNotKnowSizeOrShift() throws {
    let logits = try fixture["student"]
    try assertClose(standardizedLogits(logits * 7 + 3), standardizedLogits(logits), relative: 1e-4, absolute: 1e-5)
    let term = try SoftTargets(standardize: true)
    let (value, _) = try evaluate(
      term, student: logits, teacher: TeacherTrace(logits: logits * 5 + 1), batch: makeBatch(labels: fixture["labels"]))
    assertClose(value, 0, absolute: 1e-6)
    let (_, gradient) = try evaluate(term, [[2, 2, 2], [0, 1, 2]], [[0, 1, 2], [5, 5, 5]])
    #expect(try gradient.isFinite().all())
  }

  // MARK: With labels

  @Test func decoupledSoftTargetsEqualTheReference() throws {
    try check(DecoupledSoftTargets(), "decoupled")
    try check(DecoupledSoftTargets(), "decoupled/some", labels: "some")
    try check(DecoupledSoftTargets(), "decoupled/mixed", labels: "some", isMixed: true)
    try check(DecoupledSoftTargets(temperature: 1, alpha: 2, beta: 0.5), "decoupled/T=1")
  }

  /// With α = 1 and β = 1 − pₜ it is plain soft targets, which is how the paper finds it.
  @Test func decoupledSoftTargetsWithTheTeachersWeightAreSoftTargets() throws {
    let student = try fixture["student"]
    let targets = try logSoftTargets(fixture["teacher"], temperature: 2)
    let labels = try fixture["labels"]
    func rows(_ alpha: Double, _ beta: Double) throws -> Tensor {
      try decoupledSoftTargetLoss(
        studentLogits: student, logSoftTargets: targets, labels: labels, temperature: 2, alpha: alpha, beta: beta)
    }
    let certainty = try targets.exponential().picked(labels.expandedDimension(at: 1), along: 1).squeezed(1)
    let expected = try softTargetRows(studentLogits: student, logSoftTargets: targets, temperature: 2)
    try assertClose(rows(1, 0) + rows(0, 1) * (1 - certainty), expected, relative: 1e-4, absolute: 1e-5)
  }

  @Test func normalizedSoftTargetsEqualTheReference() throws {
    try check(NormalizedSoftTargets(), "normalized")
    try check(NormalizedSoftTargets(temperature: 2, gamma: 0.5), "normalized/T=2")
    try check(NormalizedSoftTargets(), "normalized/some", labels: "some")
    try check(NormalizedSoftTargets(), "normalized/mixed", labels: "some", isMixed: true)
  }

  @Test func teacherFreeTargetsEqualTheReference() throws {
    try check(TeacherFree(), "free")
    try check(TeacherFree(temperature: 1, correctProbability: 0.9), "free/T=1")
    try check(TeacherFree(), "free/some", labels: "some")
    try check(TeacherFree(), "free/mixed", labels: "some", isMixed: true)
  }

  /// At temperature 1 the virtual teacher is label smoothing.
  @Test func teacherFreeTargetsAreLabelSmoothingAtTemperatureOne() throws {
    let batch = try makeBatch(labels: fixture["some"])
    let free = try evaluate(
      TeacherFree(temperature: 1, correctProbability: 0.9), student: fixture["student"], teacher: nil, batch: batch)
    let smoothed = try evaluate(
      HardLabels(labelSmoothing: 0.1 * 5 / 4), student: fixture["student"], teacher: nil, batch: batch)
    try assertClose(free.gradient, smoothed.gradient, relative: 1e-4, absolute: 1e-6)
  }

  @Test func classWiseSelfDistillationEqualsTheReference() throws {
    try check(ClassWiseSelfDistillation(), "classwise")
    try check(ClassWiseSelfDistillation(), "classwise/some", labels: "some")
    try check(ClassWiseSelfDistillation(temperature: 1), "classwise/T=1")
  }

  @Test func examplesWithoutAPartnerDoNotCount() throws {
    let term = try ClassWiseSelfDistillation()
    #expect(term.count(try makeBatch(labels: fixture["labels"])) == 5)
    #expect(term.count(try makeBatch(labels: fixture["some"])) == 2)
    let lonely = try Batch.fake(count: 3, labels: Tensor([Int64(0), 1, -1]))
    #expect(term.count(lonely) == 0)
    let logits = try Tensor([Float](repeating: 1, count: 9)).reshaped([3, 3])
    #expect(
      try classWiseSelfDistillationLoss(logits: logits, labels: Tensor([Int64(0), 1, -1]), temperature: 4).item() == 0)
  }

  /// Of 0, 3, −, 1, −, 0, 4 mixed with 2, 3, 1, −, 0, 4, 1: the two examples of class 0 are mixed with others.
  @Test func examplesMixedFromTwoClassesHaveNoPartner() throws {
    let term = try ClassWiseSelfDistillation()
    #expect(term.count(try makeBatch(labels: fixture["some"], isMixed: true)) == 0)
    var batch = try Batch.fake(count: 4, labels: Tensor([Int64(0), 0, 0, 0]))
    batch.secondLabels = try Tensor([Int64(0), 1, 1, -1])
    batch.secondWeights = try Tensor([Float(0.5), 0.5, 0, 0.5])
    #expect(term.count(batch) == 3)
  }

  // MARK: On the batch

  @Test func correlationOfPredictionsEqualsTheReference() throws {
    try check(PredictionCorrelation(), "correlation")
    try check(PredictionCorrelation(temperature: 4, beta: 1, gamma: 0.5), "correlation/T=4")
  }

  @Test func probabilisticTransferEqualsTheReference() throws {
    try check(ProbabilisticTransfer(), "neighbours")
  }

  @Test func probabilisticTransferComparesLayersOfAnyShape() throws {
    let features = try fixture["features/student"].copied().requireGradient()
    let pair = LayerPair(student: Tap("layer2"), teacher: Tap("layer3"))
    let term = ProbabilisticTransfer(layers: [pair])
    #expect(term.studentTaps == [Tap("layer2")] && term.teacherTaps == [Tap("layer3")])
    let sum = try term.sum(
      TermInput(
        student: Trace(output: fixture["student"], activations: [Tap("layer2"): features]),
        teacher: TeacherTrace(
          logits: fixture["teacher"], activations: [Tap("layer3"): fixture["features/teacher"]]),
        batch: makeBatch(labels: fixture["labels"])))
    try (sum / 7).backward()
    try assertClose(sum.item() / 7, fixture["features/value"].item(), relative: 2e-5)
    try assertClose(#require(features.gradient), fixture["features/gradient"], relative: 1e-4, absolute: 2e-6)
  }

  @Test func severalPairsOfLayersAddUp() throws {
    func sum(_ paths: [String]) throws -> Double {
      let taps = paths.map { Tap($0) }
      let activations = [
        Tap("a"): try fixture["features/student"], Tap("b"): try fixture["student"],
      ]
      let others = [Tap("a"): try fixture["features/teacher"], Tap("b"): try fixture["teacher"]]
      return try ProbabilisticTransfer(layers: taps.map { LayerPair(student: $0, teacher: $0) }).sum(
        TermInput(
          student: Trace(output: fixture["student"], activations: activations),
          teacher: TeacherTrace(logits: fixture["teacher"], activations: others),
          batch: makeBatch(labels: fixture["labels"]))
      ).item()
    }
    assertClose(try sum(["a", "b"]), try sum(["a"]) + sum(["b"]), relative: 1e-5)
  }

  // MARK: Limits

  @Test func aStudentThatEqualsItsTeacherHasNothingToLearn() throws {
    let logits = try fixture["student"]
    let terms: [any Term] =
      try Divergence.allCases.map { try SoftTargets(divergence: $0) } + [
        SoftTargets(standardize: true), DecoupledSoftTargets(), PredictionCorrelation(), ProbabilisticTransfer(),
      ]
    for term in terms {
      let (value, gradient) = try evaluate(
        term, student: logits, teacher: TeacherTrace(logits: logits), batch: makeBatch(labels: fixture["labels"]))
      assertClose(value, 0, absolute: 1e-5, term.name)
      try assertClose(gradient, gradient.zerosLike(), absolute: 1e-5, term.name)
    }
  }

  /// Sure and wrong students and teachers, equal logits, zero logits: no value or gradient is lost.
  @Test func hugeAndEqualLogitsStayFinite() throws {
    let student: [[Float]] = [[1e4, -1e4, 0], [-1e4, 1e4, 0], [7, 7, 7], [0, 0, 0], [1e4, 1e4, 1e4]]
    let teacher: [[Float]] = [[-1e4, 1e4, 0], [-1e4, 1e4, 0], [1e4, 0, 0], [0, 0, 0], [3, 2, 1]]
    for term in try allTerms() {
      for (first, second) in [(student, teacher), (teacher, student), (student, student)] {
        let (value, gradient) = try evaluate(term, first, second, labels: [0, 1, -1, 0, 0])
        #expect(value.isFinite, "\(term.name)")
        #expect(try gradient.isFinite().all(), "\(term.name)")
      }
    }
  }

  @Test func oneExampleIsEnoughOrCountsNothing() throws {
    for term in try allTerms() where !(term is ClassWiseSelfDistillation) {
      let (value, gradient) = try evaluate(term, [[1, 2, 3]], [[3, 1, 1]])
      #expect(value.isFinite, "\(term.name)")
      #expect(try gradient.isFinite().all(), "\(term.name)")
    }
    #expect(try evaluate(ProbabilisticTransfer(), [[1, 2, 3]], [[3, 1, 1]]).value == 0)
    let rows = try evaluate(PredictionCorrelation(beta: 0), [[1, 2, 3]], [[3, 1, 1]])
    #expect(rows.value == 0)
  }

  @Test func unlabelledExamplesGetNoGradient() throws {
    for term: any Term in [try DecoupledSoftTargets(), try NormalizedSoftTargets(), try TeacherFree()] {
      let batch = try makeBatch(labels: fixture["some"])
      #expect(term.count(batch) == 5)
      let (_, gradient) = try evaluate(
        term, student: fixture["student"], teacher: TeacherTrace(logits: fixture["teacher"]), batch: batch)
      let unlabelled = try gradient.gathered(Tensor([Int64(2), 4]))
      #expect(try unlabelled.doubles().allSatisfy { $0 == 0 }, "\(term.name)")
    }
  }

  /// Sums of parts are the sum of the whole where examples are not compared with each other.
  @Test func partsOfABatchAddUp() throws {
    let labels = try fixture["some"]
    func sum(_ term: any Term, _ range: Range<Int>) throws -> Double {
      func part(_ tensor: Tensor) throws -> Tensor {
        try tensor.sliced(0, from: range.lowerBound, to: range.upperBound)
      }
      return try term.sum(
        TermInput(
          student: Trace(output: part(fixture["student"])), teacher: TeacherTrace(logits: part(fixture["teacher"])),
          batch: makeBatch(labels: part(labels)))
      ).item()
    }
    for term in try allTerms() {
      let comparesExamples =
        term is PredictionCorrelation || term is ClassWiseSelfDistillation || term is ProbabilisticTransfer
      if comparesExamples { continue }
      assertClose(try sum(term, 0..<3) + sum(term, 3..<7), try sum(term, 0..<7), relative: 1e-5, term.name)
    }
  }

  @Test func halfPrecisionLogitsAreReadInFloat32() throws {
    let logits = try fixture["student"].to(.bfloat16)
    let teacher = try fixture["teacher"].to(.bfloat16)
    for term in try allTerms() {
      let batch = try makeBatch(labels: fixture["labels"])
      func sum(_ dtype: DType) throws -> Tensor {
        try term.sum(
          TermInput(
            student: Trace(output: logits.to(dtype)), teacher: TeacherTrace(logits: teacher.to(dtype)), batch: batch))
      }
      let half = try sum(.bfloat16)
      #expect(half.dtype == .float32, "\(term.name)")
      assertClose(try half.item(), try sum(.float32).item(), relative: 1e-6, term.name)
    }
  }

  @Test func temperaturesFollowTheTraining() throws {
    let kinds = [
      SoftTargets.kind, DecoupledSoftTargets.kind, PredictionCorrelation.kind, NormalizedSoftTargets.kind,
      TeacherFree.kind, ClassWiseSelfDistillation.kind,
    ]
    for kind in kinds {
      func sum(_ temperature: Ramp, at progress: Double) throws -> Double {
        try kind.make(["temperature": .ramp(temperature)]).sum(
          TermInput(
            student: Trace(output: fixture["student"]), teacher: TeacherTrace(logits: fixture["teacher"]),
            batch: makeBatch(labels: fixture["labels"]), progress: progress)
        ).item()
      }
      let ramp = Ramp(from: 7, to: 2)
      #expect(try sum(ramp, at: 1) == sum(2, at: 0), "\(kind.name)")
      #expect(try sum(ramp, at: 0) == sum(7, at: 0), "\(kind.name)")
      #expect(try sum(ramp, at: 0) != sum(ramp, at: 1), "\(kind.name)")
    }
  }

  // MARK: Errors

  @Test func impossibleOptionsAreRefused() {
    #expect(throws: DistillationError.self) { try SoftTargets(divergence: .jensenShannon, beta: 0) }
    #expect(throws: DistillationError.self) { try SoftTargets(divergence: .jensenShannon, beta: 1) }
    #expect(throws: DistillationError.self) { try LabelCorrection(share: 1) }
    #expect(throws: DistillationError.self) { try LabelCorrection(share: -0.1) }
    #expect(throws: DistillationError.self) { try DecoupledSoftTargets(temperature: 0) }
    #expect(throws: DistillationError.self) { try DecoupledSoftTargets(alpha: -1) }
    #expect(throws: DistillationError.self) { try DecoupledSoftTargets(beta: .infinity) }
    #expect(throws: DistillationError.self) { try NormalizedSoftTargets(gamma: .nan) }
    #expect(throws: DistillationError.self) { try PredictionCorrelation(gamma: -1) }
    #expect(throws: DistillationError.self) { try TeacherFree(correctProbability: 1) }
    #expect(throws: DistillationError.self) { try TeacherFree(temperature: Ramp(from: 2, to: 0)) }
    #expect(throws: DistillationError.self) { try ClassWiseSelfDistillation(temperature: -1) }
  }

  @Test func aVirtualTeacherMustBeSurerThanChance() throws {
    let logits = try fixture["student"]
    let labels = try fixture["labels"]
    #expect(throws: TorchError.self) {
      try teacherFreeLoss(studentLogits: logits, labels: labels, temperature: 1, correctProbability: 0.2)
    }
  }

  @Test func wrongShapesAreRefused() throws {
    let logits = try fixture["student"]
    let other = try logits.sliced(1, from: 0, to: 4)
    let labels = try fixture["labels"]
    let few = try labels.sliced(0, from: 0, to: 3)
    let single = try logits.sliced(1, from: 0, to: 1)
    #expect(throws: TorchError.self) {
      try softTargetRows(studentLogits: logits, logSoftTargets: other, temperature: 1)
    }
    #expect(throws: TorchError.self) {
      try decoupledSoftTargetLoss(studentLogits: logits, logSoftTargets: other, labels: labels, temperature: 1)
    }
    #expect(throws: TorchError.self) {
      try decoupledSoftTargetLoss(studentLogits: logits, logSoftTargets: logits, labels: few, temperature: 1)
    }
    #expect(throws: TorchError.self) {
      try decoupledSoftTargetLoss(studentLogits: single, logSoftTargets: single, labels: labels, temperature: 1)
    }
    #expect(throws: TorchError.self) {
      try normalizedSoftTargetLoss(
        studentLogits: logits, logTargets: logits, logSoftTargets: other, labels: labels, temperature: 1)
    }
    #expect(throws: TorchError.self) {
      try predictionCorrelationLoss(studentLogits: logits, logSoftTargets: other, temperature: 1)
    }
    #expect(throws: TorchError.self) {
      try classWiseSelfDistillationLoss(logits: logits, labels: few, temperature: 1)
    }
    #expect(throws: TorchError.self) {
      try probabilisticTransferLoss(student: logits, teacher: few.to(.float32))
    }
    #expect(throws: TorchError.self) {
      try correctedSoftTargets(logits, labels: few, correction: LabelCorrection(share: 0.5))
    }
  }

  @Test func layersOfTheWrongShapeAreNamed() throws {
    let term = ProbabilisticTransfer(layers: [LayerPair("layer2")])
    let input = TermInput(
      student: Trace(output: try fixture["student"], activations: [Tap("layer2"): try fixture["student"]]),
      teacher: TeacherTrace(
        logits: try fixture["teacher"], activations: [Tap("layer2"): try Tensor([Float(1), 2, 3])]),
      batch: try makeBatch(labels: fixture["labels"]))
    let error = #expect(throws: DistillationError.self) { try term.sum(input) }
    #expect(error?.description.contains("layer2") == true)
    #expect(error?.description.contains("[3]") == true)
  }

  @Test func aTermWithoutItsTeacherSaysSo() throws {
    for term in try allTerms() where term.needsTeacher {
      let input = TermInput(
        student: Trace(output: try fixture["student"]), teacher: nil, batch: try makeBatch(labels: fixture["labels"]))
      #expect(throws: DistillationError("the term \(term.name) needs a teacher")) { try term.sum(input) }
    }
  }

  // MARK: As recipes see them

  @Test func kindsMakeTermsOfTheirName() throws {
    let kinds = [
      SoftTargets.kind, DecoupledSoftTargets.kind, PredictionCorrelation.kind, NormalizedSoftTargets.kind,
      TeacherFree.kind, ClassWiseSelfDistillation.kind, ProbabilisticTransfer.kind,
    ]
    for kind in kinds {
      let term = try kind.make()
      #expect(term.name == kind.name)
      #expect(term.needsTeacher == kind.needsTeacher)
    }
  }

  @Test func optionsReachTheTerms() throws {
    try check(
      SoftTargets.kind.make(["divergence": .text("jensen_shannon"), "beta": .number(0.9)]),
      "soft/jensen_shannon/beta=0.9/T=4")
    try check(
      SoftTargets.kind.make([
        "temperature": .ramp(2), "label_share": .number(0.3), "label_share_where": .text("teacher_wrong"),
      ]), "corrected/teacher_wrong", labels: "some")
    try check(SoftTargets.kind.make(["temperature": .ramp(2), "standardize": .flag(true)]), "standardized/T=2")
    try check(
      DecoupledSoftTargets.kind.make(["temperature": .ramp(1), "alpha": .number(2), "beta": .number(0.5)]),
      "decoupled/T=1")
    try check(
      PredictionCorrelation.kind.make(["temperature": .ramp(4), "beta": .number(1), "gamma": .number(0.5)]),
      "correlation/T=4")
    try check(
      NormalizedSoftTargets.kind.make(["temperature": .ramp(2), "gamma": .number(0.5)]), "normalized/T=2")
    try check(
      TeacherFree.kind.make(["temperature": .ramp(1), "correct_probability": .number(0.9)]), "free/T=1")
    try check(ClassWiseSelfDistillation.kind.make(["temperature": .ramp(1)]), "classwise/T=1")
    let layers = try ProbabilisticTransfer.kind.make(["layers": .layers([LayerPair("layer2")])])
    #expect(layers.studentTaps == [Tap("layer2")])
    #expect(throws: DistillationError.self) { try SoftTargets.kind.make(["beta": .number(1)]) }
    #expect(throws: DistillationError.self) { try SoftTargets.kind.make(["divergence": .text("sideways")]) }
  }
}
