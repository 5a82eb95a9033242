import Torch

/// How the numbers of an activation are written as integers from 0 to 255: one scale S and one zero point Z for all of it.
///
///     r = S (q − Z)                          Jacob et al., equation 1; `DequantizeLinear` of ONNX
///     q = clamp(round(r / S) + Z, 0, 255)    `QuantizeLinear`, which rounds halves to the even number
///
/// The range is widened to hold 0, and Z is whole, so that 0 is one of the numbers: padding and what ReLU cuts off stay
/// exact.
///
/// Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference. 2018
/// (arXiv 1712.05877). The operators: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html
struct AffineQuantization: Equatable {
  let scale: Float
  let zeroPoint: UInt8

  /// For numbers from `lowest` to `highest`:
  ///
  ///     S = (highest − lowest) / 255,   Z = round(−lowest / S)
  ///
  /// S is rounded to float32 afterwards.
  init(lowest: Double, highest: Double) {
    let (low, high) = (min(lowest, 0), max(highest, 0))
    // Numbers that are all 0 can have any scale.
    let scale = high - low > 1e-12 ? (high - low) / 255 : 1
    self.scale = Float(scale)
    zeroPoint = UInt8(min(255, max(0, (-low / scale).rounded(.toNearestOrEven))))
  }
}

/// A weight as integers from −n to n with one scale for each output channel, symmetric about 0:
///
///     s_c = max |w_c| / n,   q = round(w_c / s_c)
///
/// n is 127, or 64 where two products with numbers up to 255 are to fit in 16 bits: 2 · 255 · 64 < 2¹⁵.
struct QuantizedWeight {
  /// int8, in the shape of the weight.
  let numbers: Tensor
  /// float32, one for each channel.
  let scales: Tensor

  /// - Parameters:
  ///   - axis: the dimension of output channels
  ///   - largest: n
  ///   - least: for each channel a scale that it is to have at least; nil: none
  /// - Throws: `ExportError` when a number is not finite.
  init(_ weight: Tensor, axis: Int, largest: Int, least: Tensor? = nil) throws {
    let channels = try weight.size(axis)
    let rows = try weight.detached().to(.cpu, dtype: .float64).transposed(0, axis).contiguous()
    let flat = try rows.reshaped([channels, weight.count / max(1, channels)])
    guard try flat.isFinite().all() else { throw ExportError("a weight that is not finite cannot be quantized") }
    var scales = try flat.absolute().maximum(along: 1) / Double(largest)
    if let least { scales = try scales.maximum(least.to(.float64)) }
    // A channel of nothing but zeros can have any scale.
    self.scales = try scales.clamped(from: 1e-20).to(.float32)
    let quotients = try flat / self.scales.to(.float64).reshaped([channels, 1])
    let whole = try quotients.rounded().clamped(from: -Double(largest), to: Double(largest)).reshaped(rows.shape)
    numbers = try whole.transposed(0, axis).contiguous().to(.int8)
  }
}
