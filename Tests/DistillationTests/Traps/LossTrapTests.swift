import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN
import TorchOptim

/// What distillation code gets wrong elsewhere, about losses. Each test fails if we fall into the trap.
@Suite struct LossTrapTests {
  // Sums over classes, means over examples: `TermTests.softTargetsEqualPyTorch` against the closed form. Here: twice the
  // classes, all of them copies, leave the divergence as it is.
  @Test("Trap 1: the divergence is not divided by the number of classes")
  func divergenceIsNotDividedByTheNumberOfClasses() throws {
    func loss(copies: Int) throws -> Double {
      let student = try Tensor([Float](repeating: 0, count: 2 * copies), shape: [1, 2 * copies])
      let teacher = try Tensor(
        [Float](repeating: 1, count: copies) + [Float](repeating: 0, count: copies), shape: [1, 2 * copies])
      let input = TermInput(
        student: Trace(output: student), teacher: TeacherTrace(logits: teacher), batch: try Batch.fake(count: 1))
      return try SoftTargets(temperature: 1).sum(input).item()
    }
    assertClose(try loss(copies: 1), try loss(copies: 50), relative: 1e-5)
  }

  // The gradient keeps its scale when T changes.
  @Test("Trap 2: the gradient keeps its scale at every temperature")
  func gradientKeepsItsScaleAtEveryTemperature() throws {
    let fixture = try Fixture("losses")
    let norms = try [1.0, 2, 4, 8, 20].map { temperature in
      let student = try fixture["soft/student"].to(.float32).copied().requireGradient()
      let input = TermInput(
        student: Trace(output: student), teacher: TeacherTrace(logits: try fixture["soft/teacher"]),
        batch: try Batch.fake(count: student.size(0)))
      try SoftTargets(temperature: Ramp(temperature)).sum(input).backward()
      return try #require(student.gradient).norm().item()
    }
    for norm in norms { #expect(norm > norms[0] / 6 && norm < norms[0] * 6) }
  }

  /// With q = (¼, ¾) and p = (½, ½), KL(p ‖ q) = ½ log 4/3 and KL(q ‖ p) = ¾ log 3/2 − ¼ log 2.
  private func loss(
    _ student: [Float], divergence: Divergence = .forward, temperature: Double = 1
  ) throws -> Double {
    let input = TermInput(
      student: Trace(output: try Tensor(student, shape: [1, 2])),
      teacher: TeacherTrace(logits: try Tensor.zeros([1, 2])), batch: try Batch.fake(count: 1))
    return try SoftTargets(temperature: Ramp(temperature), divergence: divergence).sum(input).item()
  }

  @Test("Trap 9: the softmax is taken once, and log probabilities are logits too")
  func theSoftmaxIsTakenOnce() throws {
    let (log3, log4) = (Float(1.0986123), Float(1.3862944))
    assertClose(try loss([0, log3]), 0.14384103622589045, relative: 1e-6)
    assertClose(try loss([-log4, log3 - log4]), 0.14384103622589045, relative: 1e-6, "log probabilities")
    assertClose(try loss([0, 2 * log3], temperature: 2), 4 * 0.14384103622589045, relative: 1e-6)
    // The softmax of a softmax would be nearer to even.
    #expect(try loss([0.25, 0.75]) < 0.05)
  }

  @Test("Trap 10: forward is from the teacher to the student, reverse from the student to the teacher")
  func theDirectionsAreTheirNames() throws {
    let student = [Float(0), 1.0986123]
    assertClose(try loss(student, divergence: .forward), 0.14384103622589045, relative: 1e-6)
    assertClose(try loss(student, divergence: .reverse), 0.13081203594113697, relative: 1e-6)
  }

  @Test("Trap 13: the fused losses are those that the formulas say, in value and gradient", arguments: [1.0, 4])
  func fusedIsPlain(temperature: Double) throws {
    let fixture = try Fixture("losses")
    func evaluate(_ loss: (Tensor) throws -> Tensor) throws -> (Double, Tensor) {
      let student = try fixture["soft/student"].to(.float32).copied().requireGradient()
      let value = try loss(student)
      try value.backward()
      return (try value.item(), try #require(student.gradient))
    }
    let teacher = try fixture["soft/teacher"].to(.float32)
    let classes = try teacher.size(1)
    let labels = try Tensor((0..<(try teacher.size(0))).map { $0 % classes })
    let smoothing = temperature == 1 ? 0 : 0.1
    let pairs: [(fused: (Tensor) throws -> Tensor, plain: (Tensor) throws -> Tensor)] = [
      (
        { try softTargetLoss(studentLogits: $0, teacherLogits: teacher, temperature: temperature).sum },
        { student in
          let logTargets = try (teacher / temperature).logSoftmax()
          let logStudent = try (student / temperature).logSoftmax()
          let divergence = try (logTargets.exponential() * (logTargets - logStudent)).sum()
          return try divergence * (temperature * temperature)
        }
      ),
      (
        { try crossEntropy(logits: $0, labels: labels, labelSmoothing: smoothing).sum },
        { student in
          let oneHot = try labels.oneHot(classCount: classes).to(.float32)
          let targets = try oneHot * (1 - smoothing) + smoothing / Double(classes)
          return try -(targets * student.softmax().logarithm()).sum()
        }
      ),
    ]
    for (fused, plain) in pairs {
      let (value, gradient) = try evaluate(fused)
      let (expected, expectedGradient) = try evaluate(plain)
      assertClose(value, expected, relative: 1e-5)
      try assertClose(gradient, expectedGradient, relative: 1e-4, absolute: 1e-5)
    }
  }

  @Test("Trap 11: the loss is finite where half precision overflows")
  func lossIsFiniteWhereHalfPrecisionOverflows() throws {
    let fixture = try Fixture("losses")
    for name in ["opposite", "same", "one-hot"] {
      let student = try fixture["extreme/\(name)/student"].to(.bfloat16).requireGradient()
      let input = TermInput(
        student: Trace(output: student),
        teacher: TeacherTrace(logits: try fixture["extreme/\(name)/teacher"].to(.bfloat16)),
        batch: try Batch.fake(count: student.size(0)))
      let sum = try SoftTargets(temperature: 1).sum(input)
      #expect(sum.dtype == .float32)
      try sum.backward()
      #expect(try #require(student.gradient).isFinite().all())
    }
  }

  @Test("Trap 19: what is logged is what is optimized")
  func whatIsLoggedIsWhatIsOptimized() throws {
    let fixture = try Fixture("losses")
    let objective = try Objective([
      .init(try SoftTargets(temperature: 4), weight: 0.6), .init(try HardLabels(), weight: 0.3),
      .init(LogitMatching(zeroMean: true), weight: 0.2),
    ])
    let value = try #require(
      try objective.evaluate(
        student: Trace(output: fixture["soft/student"]), teacher: TeacherTrace(logits: fixture["soft/teacher"]),
        batch: Batch.fake(count: fixture["soft/student"].size(0), labels: fixture["hard/labels/some"])))
    let parts = try value.parts.map { $0.weight * (try $0.sum.item()) / Double($0.count) }
    assertClose(try value.total.item(), parts.reduce(0, +), relative: 1e-6)
    for (share, part) in zip(try value.shares.doubles(), parts) { assertClose(share, part, relative: 1e-6) }
    #expect(value.parts.map(\.name) == ["soft_targets", "hard_labels", "logit_matching"])
  }
}
