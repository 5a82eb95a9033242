import DistillModels
import Torch
import TorchNN

// Weights and outputs that are not finite mean nothing, and nothing that is computed from them does.

extension Tensor {
  /// The same, if all its numbers are finite.
  ///
  /// - Parameter model: the file or folder that it is from
  /// - Throws: `RunError`
  func finiteOutputs(of model: String, kind: RunError.Kind = .usage) throws -> Tensor {
    guard try withoutGradient({ try isFinite().all() }) else {
      throw RunError(
        "the outputs of \(model) hold numbers that are not finite: its weights are too large, or its inputs are "
          + "normalized by other numbers than those that it was trained with", kind: kind)
    }
    return self
  }
}
