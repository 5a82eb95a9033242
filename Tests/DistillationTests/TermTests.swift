import DistillData
import Distillation
import TestSupport
import Testing
import Torch
import TorchNN

/// Values and gradients of the terms, against PyTorch's (scripts/fixtures/losses.py) and closed forms.
@Suite struct TermTests {
  let fixture = try! Fixture("losses")

  /// The mean of a term over a batch, and its gradient by the student's logits.
  func evaluate(_ term: any Term, student: Tensor, teacher: Tensor?, labels: Tensor? = nil) throws -> (Double, Tensor) {
    let logits = try student.copied().requireGradient()
    let batch = try Batch.fake(count: student.size(0), labels: labels)
    let input = TermInput(
      student: Trace(output: logits), teacher: teacher.map { TeacherTrace(logits: $0) }, batch: batch)
    let mean = try term.sum(input) / Double(term.count(batch))
    try mean.backward()
    return (try mean.item(), try #require(logits.gradient))
  }

  @Test(arguments: ["0.5", "1", "2", "4", "8", "20"])
  func softTargetsEqualPyTorch(temperature: String) throws {
    let term = try SoftTargets(temperature: Ramp(Double(temperature)!))
    let (value, gradient) = try evaluate(term, student: fixture["soft/student"], teacher: fixture["soft/teacher"])
    try assertClose(value, fixture["soft/T=\(temperature)/value"].item(), relative: 1e-5)
    try assertClose(gradient, fixture["soft/T=\(temperature)/gradient"], relative: 1e-4, absolute: 1e-6)
  }

  @Test(arguments: ["opposite", "same", "equal", "one-hot", "shifted"], ["0.5", "1", "2", "4", "8", "20"])
  func softTargetsHoldAtTheLimits(name: String, temperature: String) throws {
    let term = try SoftTargets(temperature: Ramp(Double(temperature)!))
    let (value, gradient) = try evaluate(
      term, student: fixture["extreme/\(name)/student"], teacher: fixture["extreme/\(name)/teacher"])
    try assertClose(value, fixture["extreme/\(name)/T=\(temperature)/value"].item(), relative: 1e-4, absolute: 2e-3)
    try assertClose(gradient, fixture["extreme/\(name)/T=\(temperature)/gradient"], relative: 1e-3, absolute: 1e-3)
  }

  @Test(arguments: [1.0, 2, 4, 8, 20])
  func gradientOfSoftTargetsIsTTimesTheDifference(temperature: Double) throws {
    let student = try fixture["soft/student"]
    let teacher = try fixture["soft/teacher"]
    let (_, gradient) = try evaluate(
      try SoftTargets(temperature: Ramp(temperature)), student: student, teacher: teacher)
    let q = try (student.to(.float64) / temperature).softmax()
    let p = try (teacher.to(.float64) / temperature).softmax()
    let expected = try (q - p) * (temperature / Double(student.size(0)))
    try assertClose(gradient, expected, relative: 1e-4, absolute: 1e-6)
  }

  /// At high temperature soft targets become logit matching of zero-mean logits, divided by the number of classes; the
  /// difference falls as 1 / T.
  @Test func softTargetsApproachLogitMatchingAtHighTemperature() throws {
    let student = try fixture["soft/student"].to(.float32)
    let teacher = try fixture["soft/teacher"].to(.float32)
    let (_, matching) = try evaluate(LogitMatching(zeroMean: true), student: student, teacher: teacher)
    let limit = try matching.to(.float64) / Double(student.size(1))
    let distances = try [100.0, 200].map { temperature in
      let (_, gradient) = try evaluate(
        try SoftTargets(temperature: Ramp(temperature)), student: student, teacher: teacher)
      return try (gradient.to(.float64) - limit).norm().item()
    }
    #expect(distances[0] < 0.05 * (try limit.norm().item()))
    #expect(abs(distances[0] / distances[1] - 2) < 0.3)
  }

  @Test(arguments: ["0", "0.1"])
  func hardLabelsEqualPyTorch(smoothing: String) throws {
    let term = try HardLabels(labelSmoothing: Double(smoothing)!)
    for (labels, key) in [("hard/labels", ""), ("hard/labels/some", "/some")] {
      let (value, gradient) = try evaluate(
        term, student: fixture["hard/student"], teacher: nil, labels: fixture[labels])
      try assertClose(value, fixture["hard/smoothing=\(smoothing)\(key)/value"].item(), relative: 1e-5)
      try assertClose(
        gradient, fixture["hard/smoothing=\(smoothing)\(key)/gradient"], relative: 1e-4, absolute: 1e-6)
    }
  }

  @Test func aBatchWithoutAnyLabelHasNoHardLoss() throws {
    let objective = try Objective([Objective.Entry(try HardLabels())])
    let student = try fixture["hard/student"].to(.float32).requireGradient()
    let batch = try Batch.fake(
      count: student.size(0), labels: Tensor([Int64](repeating: -1, count: student.size(0))))
    #expect(try objective.evaluate(student: Trace(output: student), teacher: nil, batch: batch) == nil)
  }

  @Test(arguments: [false, true])
  func logitMatchingEqualsPyTorch(zeroMean: Bool) throws {
    let (value, gradient) = try evaluate(
      LogitMatching(zeroMean: zeroMean), student: fixture["soft/student"], teacher: fixture["soft/teacher"])
    let key = zeroMean ? "logits/zero-mean" : "logits"
    try assertClose(value, fixture["\(key)/value"].item(), relative: 1e-5)
    try assertClose(gradient, fixture["\(key)/gradient"], relative: 1e-4, absolute: 1e-6)
  }

  @Test(arguments: [("0.9", "4"), ("0.5", "2")], ["", "/some"])
  func weightedAverageEqualsPyTorch(setting: (String, String), labels: String) throws {
    let (alpha, temperature) = setting
    let objective = try Objective.weightedAverage(alpha: Double(alpha)!, temperature: Ramp(Double(temperature)!))
    let key = "combination/alpha=\(alpha)/T=\(temperature)\(labels)"
    let student = try fixture["soft/student"].to(.float32).copied().requireGradient()
    let batch = try Batch.fake(count: student.size(0), labels: fixture["hard/labels\(labels)"])
    let value = try #require(
      try objective.evaluate(
        student: Trace(output: student), teacher: TeacherTrace(logits: fixture["soft/teacher"]), batch: batch))
    try value.total.backward()
    try assertClose(value.total.item(), fixture["\(key)/value"].item(), relative: 1e-5)
    try assertClose(#require(student.gradient), fixture["\(key)/gradient"], relative: 1e-4, absolute: 1e-6)
    for (part, name) in zip(value.parts, ["soft", "hard"]) {
      try assertClose(part.sum.item() / Double(part.count), fixture["\(key)/\(name)"].item(), relative: 1e-5)
    }
  }

  @Test func impossibleSettingsAreRefused() {
    #expect(throws: DistillationError.self) { try SoftTargets(temperature: 0) }
    #expect(throws: DistillationError.self) { try SoftTargets(temperature: -1) }
    #expect(throws: DistillationError.self) { try SoftTargets(temperature: Ramp(from: 4, to: 0)) }
    #expect(throws: DistillationError.self) { try SoftTargets(temperature: Ramp(.nan)) }
    #expect(throws: DistillationError.self) { try HardLabels(labelSmoothing: 1) }
    #expect(throws: DistillationError.self) { try Objective([]) }
    #expect(throws: DistillationError.self) { try Objective.weightedAverage(alpha: 1.5, temperature: 4) }
  }
}
