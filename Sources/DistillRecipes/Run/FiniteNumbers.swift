import DistillModels
import Torch
import TorchNN

// Weights and outputs that are not finite mean nothing, and nothing that is computed from them does.

extension Checkpoint {
  /// Reads weights that are to be computed with.
  ///
  /// - Throws: `RunError` when they hold numbers that are not finite; `CheckpointError`.
  static func readFinite(_ path: String) throws -> Checkpoint {
    let checkpoint = try read(path)
    for named in checkpoint.tensors where named.tensor.dtype.isFloatingPoint && named.tensor.count > 0 {
      guard try withoutGradient({ try named.tensor.isFinite().all() }) else {
        throw RunError(
          "the weights of \(path) hold numbers that are not finite (in '\(named.name)'): take others, or train the model "
            + "again with a lower learning rate")
      }
    }
    return checkpoint
  }
}

extension Module {
  /// Loads weights that somebody names, in our spelling or in another that the model knows.
  ///
  /// - Parameter asStart: whether they are only where a training starts: then a model of another library, which may have no
  ///   head or one for other classes, leaves the head as it is
  /// - Throws: `RunError`, `CheckpointError`, `StateError`
  @discardableResult
  func loadWeights(_ path: String, asStart: Bool = false) throws -> ForeignLoad {
    try loadForeign(
      try Checkpoint.readFinite(path), newHead: asStart && ForeignModel.isThere(FilePath.folder(of: path)))
  }
}

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
