import Torch

/// What a teacher's convolutions and matrix products are computed in.
public enum TeacherPrecision: String, Codable, Sendable, CaseIterable {
  case float32
  case bfloat16
  case float16
  /// Quantized to eight bits: weights with a scale for each output channel, activations with one that was found on examples.
  /// On processors only.
  case int8

  public init(_ precision: Precision) {
    switch precision {
    case .float32: self = .float32
    case .bfloat16: self = .bfloat16
    case .float16: self = .float16
    }
  }

  /// What is computed in it where nothing is folded; int8 needs a plan, and what is not quantized there is in float32.
  var mixed: Precision {
    switch self {
    case .float32, .int8: .float32
    case .bfloat16: .bfloat16
    case .float16: .float16
    }
  }

  func compute<Result>(on device: Device, _ body: () throws -> Result) throws -> Result {
    try mixed.compute(on: device, body)
  }
}
