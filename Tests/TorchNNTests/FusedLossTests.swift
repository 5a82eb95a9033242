import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// Losses that are computed with their gradients in one pass give what the plain form gives (trap 13). `LossTests` holds
/// them to PyTorch's numbers.
struct FusedLossTests {
  private func logits(_ shape: [Int], scale: Double = 4, name: String) throws -> Tensor {
    try withRandomStream(RandomStream(seed: 8, name: name)) {
      let tensor = try Tensor.empty(shape)
      try tensor.drawNormal()
      return try tensor * scale
    }
  }

  /// Value and gradient of a loss, whose sum is weighed as an objective does.
  private func results(at logits: Tensor, _ loss: (Tensor) throws -> Tensor) throws -> (Double, Tensor) {
    let leaf = try logits.detached().copied().requireGradient()
    let sum = try loss(leaf)
    try (sum * 0.3).backward()
    return (try sum.item(), try #require(leaf.gradient))
  }

  @Test(arguments: [[128, 10], [5, 3], [33, 1000], [2, 7, 17], [4, 1]], [0.5, 1, 4, 20] as [Double])
  func trap13SoftTargets(_ shape: [Int], _ temperature: Double) throws {
    let student = try logits(shape, name: "student")
    let teacher = try logits(shape, name: "teacher")
    let fused = try results(at: student) {
      try softTargetLoss(studentLogits: $0, teacherLogits: teacher, temperature: temperature).sum
    }
    let plain = try results(at: student.to(.float64)) {
      try softTargetLoss(
        studentLogits: $0, logSoftTargets: logSoftTargets(teacher.to(.float64), temperature: temperature),
        temperature: temperature
      ).sum
    }
    assertClose(fused.0, plain.0, relative: 1e-5, absolute: 1e-5)
    try assertClose(fused.1, plain.1, relative: 1e-5, absolute: 2e-6)
  }

  @Test(arguments: [[128, 10], [5, 3], [33, 1000], [4, 1]])
  func trap13HardLabels(_ shape: [Int]) throws {
    let student = try logits(shape, name: "student")
    let labels = try Tensor((0..<shape[0]).map { $0 % 3 == 2 ? -1 : $0 % shape[1] })
    let fused = try results(at: student) { try crossEntropy(logits: $0, labels: labels).sum }
    let plain = try results(at: student.to(.float64)) { try crossEntropy(logits: $0, labels: labels).sum }
    assertClose(fused.0, plain.0, relative: 1e-5, absolute: 1e-5)
    try assertClose(fused.1, plain.1, relative: 1e-5, absolute: 2e-6)
  }

  /// The largest and smallest logits, classes that cannot be, infinities and what is not a number: the fused form is
  /// finite, infinite or not a number where the plain one is.
  @Test(
    arguments: [
      ([1, 2, 3], [3, -1, 0.5]), ([3e4, -3e4, 2], [1, -3e4, 3e4]), ([1e30, -1e30, 2], [1, -1e30, 1e30]),
      ([1, .nan, 2], [1, 2, 3]), ([1, 1, 2], [1, .nan, 3]), ([1, .infinity, 2], [1, 2, 3]),
      ([1, -.infinity, 2], [1, 2, 3]), ([1, 2, 2], [1, .infinity, 3]),
    ] as [([Float], [Float])], [1e-3, 1, 100] as [Double])
  func softTargetsAtLimits(_ logits: ([Float], [Float]), _ temperature: Double) throws {
    // A row without anything strange beside it stays as it is.
    let student = try Tensor(logits.0 + [1, 0, 2], shape: [2, 3])
    let teacher = try Tensor(logits.1 + [0, 1, 2], shape: [2, 3])
    let fused = try results(at: student) {
      try softTargetLoss(studentLogits: $0, teacherLogits: teacher, temperature: temperature).sum
    }
    let plain = try results(at: student.to(.float64)) {
      try softTargetLoss(
        studentLogits: $0, logSoftTargets: logSoftTargets(teacher.to(.float64), temperature: temperature),
        temperature: temperature
      ).sum
    }
    // For a large T, p and q are nearly the same: of T² Σ p (log p − log q) and T (q − p) the first digits vanish.
    expectSame([fused.0], [plain.0], absolute: 4e-7 * max(10, temperature * temperature))
    try expectSame(fused.1.doubles(), plain.1.doubles(), absolute: 2e-7 * max(10, temperature))
  }

  @Test(
    arguments: [
      ([1, .nan, 2], 0), ([1, .infinity, 2], 0), ([1, .infinity, 2], 1), ([1, -.infinity, 2], 1),
      ([1, -.infinity, 2], 0), ([1e30, -1e30, 2], 1), ([1e30, -1e30, 2], 0),
    ] as [([Float], Int)])
  func hardLabelsAtLimits(_ logits: [Float], _ label: Int) throws {
    let student = try Tensor(logits + [1, 0, 2], shape: [2, 3])
    let labels = try Tensor([label, 2])
    let fused = try results(at: student) { try crossEntropy(logits: $0, labels: labels).sum }
    let plain = try results(at: student.to(.float64)) { try $0.crossEntropySum(labels: labels, ignoredLabel: -1) }
    expectSame([fused.0], [plain.0], absolute: 1e-6)
    try expectSame(fused.1.doubles(), plain.1.doubles(), absolute: 1e-6)
  }

  /// Whatever is in it: in libtorch's own, 0 times what is not a number is not one either.
  @Test func aRowWithoutLabelAddsNothing() throws {
    let student = try Tensor([1, .nan, 2, 1, 0, 2] as [Float], shape: [2, 3])
    let found = try results(at: student) { try crossEntropy(logits: $0, labels: Tensor([-1, 2])).sum }
    #expect(found.0.isFinite)
    #expect(try found.1.floats().prefix(3) == [0, 0, 0])
  }

  /// Close where they are finite, and otherwise the same.
  private func expectSame(_ found: [Double], _ expected: [Double], absolute: Double) {
    #expect(found.count == expected.count)
    for (found, expected) in zip(found, expected) {
      if expected.isFinite {
        assertClose(found, expected, relative: 1e-5, absolute: absolute)
      } else {
        #expect(found.isNaN ? expected.isNaN : found == expected)
      }
    }
  }

  /// One example by hand: p = softmax(0, log 3) = (1/4, 3/4), q = (1/2, 1/2).
  @Test func isTheClosedForm() throws {
    let student = try Tensor([2, 2] as [Float], shape: [1, 2])
    let teacher = try Tensor([0, 2 * log(Float(3))], shape: [1, 2])
    let found = try results(at: student) {
      try softTargetLoss(studentLogits: $0, teacherLogits: teacher, temperature: 2).sum
    }
    assertClose(found.0, 4 * (0.25 * log(0.5) + 0.75 * log(1.5)), relative: 1e-6)
    try assertClose(found.1, Tensor([0.3 * 2 * 0.25, -0.3 * 2 * 0.25] as [Float], shape: [1, 2]), relative: 1e-6)
    let labelled = try results(at: student) { try crossEntropy(logits: $0, labels: Tensor([1])).sum }
    assertClose(labelled.0, log(2.0), relative: 1e-6)
    try assertClose(labelled.1, Tensor([0.15, -0.15] as [Float], shape: [1, 2]), relative: 1e-6)
  }

  /// float64 stays exact; half types are computed in float32, and the gradient comes back in theirs.
  @Test func otherTypes() throws {
    let student = try logits([7, 5], name: "student")
    let teacher = try logits([7, 5], name: "teacher")
    let labels = try Tensor([0, 1, 2, 3, 4, -1, 0])
    let exact = try results(at: student.to(.float64)) {
      try softTargetLoss(studentLogits: $0, teacherLogits: teacher.to(.float64), temperature: 4).sum
        + crossEntropy(logits: $0, labels: labels).sum
    }
    #expect(exact.1.dtype == .float64)
    let single = try results(at: student) {
      try softTargetLoss(studentLogits: $0, teacherLogits: teacher, temperature: 4).sum
        + crossEntropy(logits: $0, labels: labels).sum
    }
    assertClose(single.0, exact.0, relative: 1e-5)
    for dtype in [DType.bfloat16, .float16] {
      let rounded = try student.to(dtype)
      func loss(_ logits: Tensor) throws -> Tensor {
        try softTargetLoss(studentLogits: logits, teacherLogits: teacher.to(dtype), temperature: 4).sum
          + crossEntropy(logits: logits, labels: labels).sum
      }
      let half = try results(at: rounded, loss)
      let same = try results(at: rounded.to(.float32), loss)
      #expect(half.1.dtype == dtype)
      assertClose(half.0, same.0, relative: 1e-6)
      try assertClose(half.1.to(.float32), same.1, relative: 2e-2, absolute: 2e-3)
    }
  }

  @Test func haveSecondDerivatives() throws {
    let teacher = try logits([6, 5], name: "teacher")
    let labels = try Tensor([0, 1, -1, 4, 2, 2])
    let losses: [(Tensor) throws -> Tensor] = [
      { try softTargetLoss(studentLogits: $0, teacherLogits: teacher.to($0.dtype), temperature: 3).sum },
      { try crossEntropy(logits: $0, labels: labels).sum },
    ]
    for loss in losses {
      func penalty(_ dtype: DType) throws -> Tensor {
        let leaf = try logits([6, 5], name: "student").to(dtype).requireGradient()
        let gradient = try Autograd.gradients(
          of: [loss(leaf)], withRespectTo: [leaf], retainGraph: true, createGraph: true)
        let found = try Autograd.gradients(of: [try #require(gradient[0]).squared().sum()], withRespectTo: [leaf])
        return try #require(found[0])
      }
      try assertClose(penalty(.float32), penalty(.float64), relative: 1e-4, absolute: 1e-5)
    }
  }

  @Test func doNotDependOnThreads() throws {
    let threads = try TorchRuntime.threadCount
    defer { try? TorchRuntime.setThreadCount(threads) }
    let student = try logits([700, 100], name: "student")
    let teacher = try logits([700, 100], name: "teacher")
    let found = try [1, 2].map { count in
      try TorchRuntime.setThreadCount(count)
      let result = try results(at: student) {
        try softTargetLoss(studentLogits: $0, teacherLogits: teacher, temperature: 4).sum
      }
      return (result.0, try result.1.array(of: Float.self))
    }
    #expect(found[0] == found[1])
  }

  @Test func aWeightedSumIsItsParts() throws {
    for dtype in [DType.float32, .float64] {
      let leaves = try [2.0, 3].map { try Tensor([$0]).reshaped([]).to(dtype).requireGradient() }
      let (total, shares) = try Tensor.weightedSum(try leaves.map { try $0 * 1 }, weights: [0.5, 0.1])
      assertClose(try total.item(), 1.3)
      #expect(total.dtype == dtype && shares.dtype == .float64 && !shares.requiresGradient)
      try assertClose(shares, Tensor([1.0, 0.3]))
      try (total * 2).backward()
      assertClose(try #require(leaves[0].gradient).item(), 1)
      assertClose(try #require(leaves[1].gradient).item(), 0.2)
    }
    let tooLarge = try Tensor.weightedSum([Tensor.ones([]), Tensor.ones([])], weights: [1e300, 1])
    #expect(try tooLarge.shares.doubles() == [.infinity, 1])
  }

  @Test func refuseLabelsThatAreNoClass() throws {
    for label in [10, -2] {
      #expect(throws: TorchError.self) {
        try crossEntropy(logits: logits([2, 10], name: "student"), labels: Tensor([0, label]))
      }
    }
  }
}
