import Torch

/// A loss over the examples of a batch, before it is divided: parts of a batch, and batches of several processes, are added
/// up and divided once, so that the mean does not depend on how the examples were parted.
public struct LossSum {
  /// The sum over the examples that count: a scalar in float32, with its history.
  public var sum: Tensor
  /// How many examples count.
  public var count: Int

  public init(sum: Tensor, count: Int) {
    self.sum = sum
    self.count = count
  }

  /// The mean over the examples that count; 0 where there is none.
  public var mean: Tensor {
    get throws { try sum / Double(max(count, 1)) }
  }

  public static func + (left: LossSum, right: LossSum) throws -> LossSum {
    LossSum(sum: try left.sum + right.sum, count: left.count + right.count)
  }
}

extension Tensor {
  /// Runs a loss outside mixed precision, on numbers in float32 (or float64, if these are).
  package func asLoss(_ body: (_ logits: Tensor) throws -> Tensor) throws -> Tensor {
    try withoutAutocast(on: device) { try body(precise()) }
  }

  /// In float32; float64 stays.
  package func precise() throws -> Tensor { dtype == .float64 ? self : try to(.float32) }

  /// Whether there are losses that are computed with their gradients in one pass: on the processor, in float32, which
  /// smaller types become.
  package var hasFusedLosses: Bool { dtype != .float64 && device.kind == .cpu }

  /// How many rows along the last dimension there are.
  package var rowCount: Int {
    let shape = shape
    return shape.dropLast().reduce(1, *)
  }
}

/// - Throws: `TorchError` unless both have one shape, `[..., C]`. Shapes are never broadcast in a loss: that would compare
///   other numbers than meant.
package func requireSameShape(_ loss: String, _ first: Tensor, _ second: Tensor, _ words: String) throws {
  let shapes = [first.shape, second.shape]
  guard shapes[0] == shapes[1], !shapes[0].isEmpty else {
    throw TorchError(
      operation: loss, shapes: shapes, dtypes: [first.dtype, second.dtype],
      message: "\(words) must have one shape, [examples, classes]")
  }
}
