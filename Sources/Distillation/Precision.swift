import Torch

/// What matrix products and convolutions are computed in. Weights, losses and normalization stay in float32.
public enum Precision: String, Codable, Sendable, CaseIterable {
  case float32
  case bfloat16
  case float16

  /// Runs `body` in this precision.
  func compute<Result>(on device: Device, _ body: () throws -> Result) throws -> Result {
    switch self {
    case .float32: try body()
    case .bfloat16: try withAutocast(.bfloat16, on: device, body)
    case .float16: try withAutocast(.float16, on: device, body)
    }
  }
}
