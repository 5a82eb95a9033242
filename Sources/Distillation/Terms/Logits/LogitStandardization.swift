import Torch
import TorchNN

/// Logit standardization: the z-score of each example's logits over the classes.
///
///     (z − mean(z)) / σ(z),   σ² = (1 / C) Σᵢ (zᵢ − mean(z))²
///
/// Taken of teacher and student before the temperature, it lets the student's logits be of another size than the
/// teacher's: only their relations count. Logits that are all equal become 0; 1e-8 is added to σ² for their sake.
///
/// - Parameter logits: `[..., C]`
/// - Returns: in float32, of the same shape
///
/// ## Reference
/// Sun, Ren, Li, Wang, Cao: Logit Standardization in Knowledge Distillation. CVPR 2024, arXiv:2403.01427.
public func standardizedLogits(_ logits: Tensor) throws -> Tensor {
  let classes = try logits.size(-1)
  return try logits.asLoss { try layerNorm($0, shape: [classes], weight: nil, bias: nil, epsilon: 1e-8) }
}
