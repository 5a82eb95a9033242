import Torch

/// An addition of two 3 × 4 tensors: what a call costs where the arithmetic is nothing.
enum OperatorCall {
  struct Result: Encodable {
    var program = "distill"
    var withoutGradientNs: Double
    var withoutGradientAllNs: [Double]
    var withGradientNs: Double
    var withGradientAllNs: [Double]
    var versions: [String: String]
  }

  private static let calls = 100_000
  private static let repeats = 7

  static func measure() throws -> Result {
    try TorchRuntime.setThreadCount(1)
    let a = try Tensor.ones([3, 4])
    let b = try Tensor.ones([3, 4])
    let plain = try withoutGradient { try nanoseconds(a, b) }
    let recorded = try nanoseconds(try a.detached().requireGradient(), b)
    return Result(
      withoutGradientNs: Report.median(plain), withoutGradientAllNs: plain, withGradientNs: Report.median(recorded),
      withGradientAllNs: recorded, versions: ["libtorch": try TorchRuntime.version])
  }

  private static func nanoseconds(_ a: Tensor, _ b: Tensor) throws -> [Double] {
    let clock = ContinuousClock()
    func once(_ count: Int) throws -> Double {
      let elapsed = try clock.measure {
        for _ in 0..<count { _ = try a + b }
      }
      return elapsed / .nanoseconds(1) / Double(count)
    }
    _ = try once(calls / 10)
    return try (0..<repeats).map { _ in try once(calls) }
  }
}
