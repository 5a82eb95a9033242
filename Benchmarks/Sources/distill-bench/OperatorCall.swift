import Torch

/// Calls of common operators on 3 × 4 tensors: what a call costs where the arithmetic is nothing.
enum OperatorCall {
  struct Result: Encodable {
    var program = "distill"
    /// For each operator the nanoseconds of a call, of the best of several repeats.
    var withoutGradientNs: [String: Double]
    var withGradientNs: [String: Double]
    var versions: [String: String]
  }

  private static let calls = 20_000
  private static let repeats = 15

  static func measure() throws -> Result {
    try TorchRuntime.setThreadCount(1)
    let a = try Tensor.ones([3, 4])
    let b = try Tensor.ones([3, 4])
    let plain = try withoutGradient { try measure(a, b) }
    let recorded = try measure(try a.detached().requireGradient(), b)
    return Result(
      withoutGradientNs: plain, withGradientNs: recorded, versions: ["libtorch": try TorchRuntime.version])
  }

  private static func measure(_ a: Tensor, _ b: Tensor) throws -> [String: Double] {
    let square = try Tensor.ones([4, 4])
    return [
      "add": try nanoseconds { try a + b },
      "multiply by a number": try nanoseconds { try a * 2.5 },
      "matmul": try nanoseconds { try a.matmul(square) },
      "relu": try nanoseconds { try a.relu() },
      "sum": try nanoseconds { try a.sum() },
      "log softmax": try nanoseconds { try a.logSoftmax() },
      "reshape": try nanoseconds { try a.reshaped([2, 6]) },
      "transpose": try nanoseconds { try a.transposed(0, 1) },
    ]
  }

  @inline(__always)
  private static func nanoseconds(_ call: () throws -> Tensor) throws -> Double {
    let clock = ContinuousClock()
    var best = Double.infinity
    for _ in 0...repeats {
      let elapsed = try clock.measure {
        for _ in 0..<calls { _ = try call() }
      }
      best = min(best, elapsed / .nanoseconds(1) / Double(calls))
    }
    return best
  }
}
