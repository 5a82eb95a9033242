import TestSupport
import Testing
import Torch
import TorchNN

/// Values and gradients of the losses, against PyTorch's (scripts/fixtures/losses.py), closed forms and differences.
struct LossTests {
  let fixture = try! Fixture("losses")
  static let temperatures = ["0.5", "1", "2", "4", "8", "20"]
  static let extremes = ["opposite", "same", "equal", "one-hot", "shifted"]

  private func check(
    student: Tensor, value: String, gradient: String, relative: Double = 1e-4, absolute: Double = 1e-6,
    _ loss: (Tensor) throws -> LossSum
  ) throws {
    let logits = try student.to(.float32).copied().requireGradient()
    let mean = try loss(logits).mean
    #expect(mean.dtype == .float32 && mean.shape.isEmpty)
    try assertClose(mean.item(), fixture[value].item(), relative: relative, absolute: absolute, value)
    try mean.backward()
    try assertClose(
      #require(logits.gradient), fixture[gradient], relative: relative, absolute: absolute, gradient)
  }

  @Test(arguments: temperatures)
  func softTargetsEqualPyTorch(temperature: String) throws {
    let teacher = try fixture["soft/teacher"]
    try check(
      student: fixture["soft/student"], value: "soft/T=\(temperature)/value",
      gradient: "soft/T=\(temperature)/gradient"
    ) {
      try softTargetLoss(studentLogits: $0, teacherLogits: teacher, temperature: #require(Double(temperature)))
    }
  }

  @Test(arguments: extremes, temperatures)
  func softTargetsAreStableAtExtremes(name: String, temperature: String) throws {
    let key = "extreme/\(name)"
    guard fixture.contains("\(key)/T=\(temperature)/value") else {
      Issue.record("no fixture \(key) at T = \(temperature)")
      return
    }
    let teacher = try fixture["\(key)/teacher"]
    try check(
      student: fixture["\(key)/student"], value: "\(key)/T=\(temperature)/value",
      gradient: "\(key)/T=\(temperature)/gradient", relative: 1e-3, absolute: 2e-3
    ) {
      try softTargetLoss(studentLogits: $0, teacherLogits: teacher, temperature: #require(Double(temperature)))
    }
  }

  @Test(arguments: [0.5, 1, 4, 20])
  func softTargetsHaveTheirClosedGradient(temperature: Double) throws {
    let student = try fixture["soft/student"].to(.float64).requireGradient()
    let teacher = try fixture["soft/teacher"].to(.float64)
    let loss = try softTargetLoss(studentLogits: student, teacherLogits: teacher, temperature: temperature)
    try loss.sum.backward()
    let expected = try ((student / temperature).softmax() - (teacher / temperature).softmax()) * temperature
    try assertClose(#require(student.gradient), expected, relative: 1e-9, absolute: 1e-12)
    #expect(loss.count == student.shape[0])
  }

  @Test func softTargetsByDifferences() throws {
    let student = try Tensor([0.3, -1.2, 0.7, 2.0, 0.1, -0.4], shape: [2, 3])
    let teacher = try Tensor([1.0, 0.2, -0.5, -1.0, 0.3, 0.9], shape: [2, 3])
    try checkGradient(at: student) {
      try softTargetLoss(studentLogits: $0, teacherLogits: teacher, temperature: 3).sum
    }
    try checkGradient(at: student) { try logitMatching(studentLogits: $0, teacherLogits: teacher, zeroMean: true).sum }
    try checkGradient(at: student) {
      try crossEntropy(logits: $0, labels: Tensor([2, -1]), labelSmoothing: 0.2).sum
    }
    try checkGradient(at: student) { try meanSquaredError(prediction: $0, target: teacher).sum }
    try checkGradient(at: student) {
      try mixedCrossEntropy(
        logits: $0, labels: Tensor([2, 0]), secondLabels: Tensor([1, 2]),
        secondWeights: Tensor([0.25, 0.5] as [Float]), labelSmoothing: 0.1
      ).sum
    }
  }

  /// KL(p ‖ q) for p = (½, ½), q = (¼, ¾) is ½ log 2 + ½ log ⅔; the other direction is another number.
  @Test func theDirectionIsTeacherFirst() throws {
    let teacher = try Tensor([0.0, 0.0], shape: [1, 2])
    let student = try Tensor([0.25, 0.75], shape: [1, 2]).logarithm()
    let forward = try softTargetLoss(studentLogits: student, teacherLogits: teacher, temperature: 1)
    try assertClose(forward.sum.item(), 0.14384103622589045, relative: 1e-6)
    let reverse = try softTargetLoss(studentLogits: teacher, teacherLogits: student, temperature: 1)
    try assertClose(reverse.sum.item(), 0.13081203594113697, relative: 1e-6)
  }

  @Test func aPerfectStudentHasNoLoss() throws {
    let logits = try fixture["soft/teacher"].to(.float32).requireGradient()
    let loss = try softTargetLoss(studentLogits: logits, teacherLogits: logits, temperature: 4).sum
    try assertClose(loss.item(), 0, absolute: 1e-6)
    try loss.backward()
    try assertClose(#require(logits.gradient), logits.zerosLike(), absolute: 1e-6)
    #expect(try logitMatching(studentLogits: logits, teacherLogits: logits).sum.item() == 0)
  }

  @Test func noGradientGoesToTheTeacher() throws {
    let student = try Tensor([0.0, 1.0], shape: [1, 2]).requireGradient()
    let teacher = try Tensor([1.0, 0.0], shape: [1, 2]).requireGradient()
    try softTargetLoss(studentLogits: student, teacherLogits: teacher, temperature: 2).sum.backward()
    try logitMatching(studentLogits: student, teacherLogits: teacher).sum.backward()
    #expect(teacher.gradient == nil && student.gradient != nil)
    #expect(try !logSoftTargets(teacher, temperature: 2).requiresGradient)
  }

  @Test(arguments: ["0", "0.1"], ["", "some/"])
  func crossEntropyEqualsPyTorch(smoothing: String, part: String) throws {
    let labels = try fixture[part.isEmpty ? "hard/labels" : "hard/labels/some"]
    try check(
      student: fixture["hard/student"], value: "hard/smoothing=\(smoothing)/\(part)value",
      gradient: "hard/smoothing=\(smoothing)/\(part)gradient"
    ) { try crossEntropy(logits: $0, labels: labels, labelSmoothing: #require(Double(smoothing))) }
  }

  @Test func crossEntropyIsStableAtExtremes() throws {
    let labels = try fixture["hard/extreme/labels"]
    try check(
      student: fixture["hard/extreme/student"], value: "hard/extreme/smoothing=0/value",
      gradient: "hard/extreme/smoothing=0/gradient"
    ) { try crossEntropy(logits: $0, labels: labels) }
  }

  @Test func examplesWithoutALabelDoNotCount() throws {
    let logits = try Tensor([1.0, 2, 3, 4, 5, 6], shape: [3, 2]).requireGradient()
    let loss = try crossEntropy(logits: logits, labels: Tensor([0, -1, 1]), labelSmoothing: 0.1)
    #expect(loss.count == 2)
    try loss.sum.backward()
    #expect(try logits.gradient?.selected(0, 1).doubles() == [0, 0])
    #expect(try crossEntropy(logits: logits, labels: Tensor([0, -1, 1]), labelledCount: 2).count == 2)
    let none = try crossEntropy(logits: logits, labels: Tensor([-1, -1, -1]))
    #expect(try none.count == 0 && none.mean.item() == 0)
    #expect(try countLabelled(Tensor([0, -1, -1, 5] as [Int32])) == 2)
  }

  @Test func mixedLabels() throws {
    let logits = try Tensor([1.0, 2, 3, 4, 5, 7, 1, 0], shape: [4, 2])
    let first = try Tensor([0, 1, -1, 1])
    let second = try Tensor([1, 0, 0, -1])
    let loss = try mixedCrossEntropy(
      logits: logits, labels: first, secondLabels: second, secondWeights: Tensor([0.25, 0, 0.5, 0.5] as [Float]))
    let rows = try logits.logSoftmax().doubles()
    let expected = -(0.75 * rows[0] + 0.25 * rows[1]) - rows[3] - rows[7]
    try assertClose(loss.sum.item(), expected, relative: 1e-6)
    #expect(loss.count == 3)
    let unmixed = try mixedCrossEntropy(
      logits: logits, labels: first, secondLabels: first, secondWeights: Tensor([1, 1, 1, 1] as [Float]))
    try assertClose(unmixed.sum.item(), crossEntropy(logits: logits, labels: first).sum.item(), relative: 1e-6)
  }

  @Test(arguments: ["", "zero-mean/"])
  func logitMatchingEqualsPyTorch(part: String) throws {
    let teacher = try fixture["soft/teacher"]
    try check(
      student: fixture["soft/student"], value: "logits/\(part)value", gradient: "logits/\(part)gradient"
    ) { try logitMatching(studentLogits: $0, teacherLogits: teacher, zeroMean: !part.isEmpty) }
  }

  @Test func zeroMeanForgetsAConstant() throws {
    let logits = try Tensor([1.0, 2, 4], shape: [1, 3])
    let moved = try logits + 100
    #expect(try logitMatching(studentLogits: moved, teacherLogits: logits).sum.item() == 15_000)
    try assertClose(
      logitMatching(studentLogits: moved, teacherLogits: logits, zeroMean: true).sum.item(), 0, absolute: 1e-9)
  }

  @Test func meanSquaredErrorIsTheMeanOverElements() throws {
    let x = try Tensor([1.0, 2, 3, 4], shape: [2, 2])
    let y = try Tensor([0.0, 0, 0, 2], shape: [2, 2])
    let loss = try meanSquaredError(prediction: x, target: y)
    #expect(loss.count == 2)
    #expect(try loss.mean.item() == (1 + 4 + 9 + 4) / 4)
    #expect(try meanSquaredError(prediction: Tensor([1.0, 3]), target: Tensor([0.0, 0])).mean.item() == 5)
  }

  /// Sums and counts of parts add up to those of the whole, however the batch is parted.
  @Test func partsAddUp() throws {
    let student = try fixture["hard/student"].to(.float32)
    let labels = try fixture["hard/labels/some"]
    let count = try student.size(0)
    let whole = try crossEntropy(logits: student, labels: labels)
    var sum = try LossSum(sum: .zeros([]), count: 0)
    for start in stride(from: 0, to: count, by: 3) {
      let end = min(start + 3, count)
      sum =
        try sum
        + crossEntropy(
          logits: student.sliced(0, from: start, to: end), labels: labels.sliced(0, from: start, to: end))
    }
    #expect(sum.count == whole.count)
    try assertClose(sum.mean.item(), whole.mean.item(), relative: 1e-6)
  }

  @Test func lossesAreComputedInFloat32UnderMixedPrecision() throws {
    let student = try fixture["soft/student"].to(.bfloat16)
    let teacher = try fixture["soft/teacher"].to(.bfloat16)
    let labels = try Tensor([Int](repeating: 1, count: student.size(0)))
    let expected = try [
      softTargetLoss(studentLogits: student.to(.float32), teacherLogits: teacher.to(.float32), temperature: 4),
      crossEntropy(logits: student.to(.float32), labels: labels),
      logitMatching(studentLogits: student.to(.float32), teacherLogits: teacher.to(.float32)),
      meanSquaredError(prediction: student.to(.float32), target: teacher.to(.float32)),
    ]
    try withAutocast {
      let found = try [
        softTargetLoss(studentLogits: student, teacherLogits: teacher, temperature: 4),
        crossEntropy(logits: student, labels: labels),
        logitMatching(studentLogits: student, teacherLogits: teacher),
        meanSquaredError(prediction: student, target: teacher),
      ]
      for (loss, reference) in zip(found, expected) {
        #expect(loss.sum.dtype == .float32)
        #expect(try loss.sum.item() == reference.sum.item())
      }
      #expect(try student.matmul(student.transposed(0, 1)).dtype == .bfloat16, "mixed precision goes on afterwards")
    }
  }

  typealias Mistake = @Sendable () throws -> LossSum

  static let mistakes: [(name: String, body: Mistake)] = [
    (
      "classes differ",
      { try softTargetLoss(studentLogits: .zeros([2, 3]), teacherLogits: .zeros([2, 4]), temperature: 1) }
    ),
    (
      "rows would be broadcast",
      { try softTargetLoss(studentLogits: .zeros([2, 3]), teacherLogits: .zeros([1, 3]), temperature: 1) }
    ),
    (
      "temperature zero",
      { try softTargetLoss(studentLogits: .zeros([2, 3]), teacherLogits: .zeros([2, 3]), temperature: 0) }
    ),
    (
      "temperature negative",
      { try softTargetLoss(studentLogits: .zeros([2, 3]), logSoftTargets: .zeros([2, 3]), temperature: -1) }
    ),
    (
      "temperature no number",
      { try softTargetLoss(studentLogits: .zeros([2, 3]), teacherLogits: .zeros([2, 3]), temperature: .nan) }
    ),
    ("label too large", { try crossEntropy(logits: .zeros([2, 3]), labels: Tensor([0, 3])) }),
    ("label below −1", { try crossEntropy(logits: .zeros([2, 3]), labels: Tensor([0, -2])) }),
    ("labels too few", { try crossEntropy(logits: .zeros([2, 3]), labels: Tensor([0])) }),
    ("logits without classes", { try crossEntropy(logits: .zeros([2]), labels: Tensor([0, 1])) }),
    ("smoothing", { try crossEntropy(logits: .zeros([2, 3]), labels: Tensor([0, 1]), labelSmoothing: 2) }),
    ("matching", { try logitMatching(studentLogits: .zeros([2, 3]), teacherLogits: .zeros([3])) }),
    ("squared error", { try meanSquaredError(prediction: .zeros([2, 1]), target: .zeros([2, 3])) }),
    (
      "mixed",
      {
        try mixedCrossEntropy(
          logits: .zeros([2, 3]), labels: Tensor([0, 1]), secondLabels: Tensor([0]), secondWeights: .zeros([2]))
      }
    ),
  ]

  @Test(arguments: mistakes.map(\.name))
  func mistakesAreThrown(name: String) throws {
    let mistake = try #require(Self.mistakes.first { $0.name == name })
    #expect(throws: TorchError.self) { _ = try mistake.body() }
  }
}
