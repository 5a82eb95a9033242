import Torch
import TorchNN

/// Scales all gradients together so that their common norm is at most `maximum`:
///
///     gradient ← gradient · min(1, maximum / (norm + 1e-6))
///
/// Nothing is read back from the device. Tensors without a gradient do not count.
///
/// - Returns: the Euclidean norm of all gradients before, as a tensor with one element; a norm that is not finite tells
///   of gradients that are not.
@discardableResult
public func clipGradientNorm(_ parameters: [Tensor], maximum: Double) throws -> Tensor {
  let gradients = parameters.compactMap(\.gradient)
  guard maximum >= 0 else { throw OptimizerError(["the largest norm is \(maximum), but has to be at least 0"]) }
  guard let first = gradients.first else { return try Tensor.zeros([]) }
  return try withoutGradient {
    let device = first.device
    let dtype: DType = gradients.contains { $0.dtype == .float64 } ? .float64 : .float32
    let each = try Torch.norms(gradients).map { try $0.to(device, dtype: dtype) }
    let norm = try Tensor.stacked(each).norm()
    let factor = try (maximum / (norm + 1e-6)).clamped(to: 1)
    var places: [Device: [Tensor]] = [:]
    for gradient in gradients { places[gradient.device, default: []].append(gradient) }
    for (place, tensors) in places { try Torch.scale(tensors, by: factor.to(place)) }
    return norm
  }
}
