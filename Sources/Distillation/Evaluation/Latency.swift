import Torch
import TorchNN

/// How fast a model answers on this machine, now.
public struct Latency: Codable, Sendable, Equatable {
  /// Seconds for one example, batch 1: the median of many calls.
  public var secondsPerExample: Double
  /// Examples per second in large batches: the median of several calls.
  public var examplesPerSecond: Double

  /// Measures a model on zeros of the shape of one input.
  ///
  /// - Parameter seconds: about how long to measure each of the two
  public init(of model: any Layer, inputShape: [Int], batchSize: Int = 256, seconds: Double = 0.5) throws {
    let device = model.parameters.first?.device ?? .cpu
    secondsPerExample = try Self.median(model, [1] + inputShape, device, seconds)
    examplesPerSecond = Double(batchSize) / (try Self.median(model, [batchSize] + inputShape, device, seconds))
  }

  private static func median(_ model: any Layer, _ shape: [Int], _ device: Device, _ seconds: Double) throws -> Double {
    try model.withMode(training: false) {
      try withoutGradient {
        let input = try Tensor.zeros(shape, device: device)
        let clock = ContinuousClock()
        for _ in 0..<3 { _ = try model(input) }
        var times: [Double] = []
        let end = clock.now + .seconds(seconds)
        while times.count < 5 || (clock.now < end && times.count < 2_000) {
          let time = try clock.measure {
            _ = try model(input)
            try device.synchronize()
          }
          times.append(time / .seconds(1))
        }
        return times.sorted()[times.count / 2]
      }
    }
  }
}
