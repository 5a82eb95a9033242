import Distillation
import TestSupport
import Testing
import Torch

@Suite struct MetricsTests {
  @Test func metricsEqualTheReference() throws {
    let fixture = try Fixture("metrics")
    let labels: [Int] = try fixture["labels"].to(.int64).array()
    let metrics = try Metrics(
      logits: fixture["student"], labels: labels, teacherLogits: fixture["teacher"], topK: 3)
    try assertClose(metrics.accuracy, fixture["accuracy"].item(), relative: 1e-12)
    try assertClose(metrics.topKAccuracy, fixture["top-3"].item(), relative: 1e-12)
    try assertClose(metrics.negativeLogLikelihood, fixture["nll"].item(), relative: 1e-9)
    try assertClose(metrics.expectedCalibrationError, fixture["ece"].item(), relative: 1e-9)
    try assertClose(#require(metrics.agreement), fixture["agreement"].item(), relative: 1e-12)
    try assertClose(#require(metrics.teacherDivergence), fixture["kl"].item(), relative: 1e-9)
    let confusion: [Int] = try fixture["confusion"].to(.int64).array()
    #expect(metrics.confusion.flatMap { $0 } == confusion)
    for (key, path) in [
      ("precision", \Metrics.ClassScore.precision), ("recall", \.recall), ("f1", \.f1),
    ] {
      for (own, reference) in zip(metrics.perClass.map { $0[keyPath: path] }, try fixture[key].doubles()) {
        assertClose(own, reference, relative: 1e-12)
      }
    }
  }

  @Test func certaintyAndTiesAreCountedRight() throws {
    let fixture = try Fixture("metrics")
    let labels: [Int] = try fixture["extreme/labels"].to(.int64).array()
    let metrics = try Metrics(logits: fixture["extreme/student"], labels: labels)
    try assertClose(metrics.accuracy, fixture["extreme/accuracy"].item(), relative: 1e-12)
    try assertClose(metrics.negativeLogLikelihood, fixture["extreme/nll"].item(), relative: 1e-9)
    try assertClose(metrics.expectedCalibrationError, fixture["extreme/ece"].item(), relative: 1e-9)
  }

  @Test func labelsThatAreNoClassesAreRefused() throws {
    let logits = try Tensor.zeros([2, 3])
    #expect(throws: DistillationError.self) { try Metrics(logits: logits, labels: [0, 3]) }
    #expect(throws: DistillationError.self) { try Metrics(logits: logits, labels: [0]) }
    #expect(throws: DistillationError.self) {
      try Metrics(logits: logits, labels: [0, 1], teacherLogits: Tensor.zeros([2, 4]))
    }
  }

  @Test func logitsThatAreNoNumbersAreRefused() throws {
    for value in [Float.nan, .infinity] {
      let logits = try Tensor([0, 1, value, 2], shape: [2, 2])
      let error = try #require(throws: DistillationError.self) { try Metrics(logits: logits, labels: [0, 1]) }
      #expect(error.description.contains("example 1"))
    }
  }

  @Test func unlabelledExamplesCountForAgreementOnly() throws {
    let logits = try Tensor([Float(2), 0, 0, 2], shape: [2, 2])
    let metrics = try Metrics(logits: logits, labels: [1, -1], teacherLogits: logits)
    #expect(metrics.count == 1)
    #expect(metrics.accuracy == 0)
    #expect(metrics.agreement == 1)
  }

  /// Student's t for 0.975, from the tables.
  @Test(
    "Trap 17: over several seeds, the interval is Student's",
    arguments: [(2, 12.7062), (3, 4.30265), (4, 3.18245), (5, 2.77645), (10, 2.26216), (31, 2.04227)])
  func intervalsAreStudents(count: Int, quantile: Double) throws {
    let values = (0..<count).map { Double($0 % 2) }
    let difference = PairedDifference(values)
    let spread = try #require(standardDeviation(values))
    let half = quantile * spread / Double(count).squareRoot()
    assertClose(try #require(difference.high) - difference.mean, half, relative: 1e-5)
    assertClose(difference.mean - (try #require(difference.low)), half, relative: 1e-5)
  }

  @Test("Trap 17: one pair has no interval")
  func onePairHasNoInterval() {
    let difference = PairedDifference([0.5])
    #expect(difference.mean == 0.5)
    #expect(difference.low == nil)
    #expect(standardDeviation([1]) == nil)
  }
}
