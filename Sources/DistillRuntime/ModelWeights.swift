import DistillModels
import Torch
import TorchNN

extension Checkpoint {
  /// Reads weights that are to be computed with.
  ///
  /// - Throws: `ModelFolderError` when they hold numbers that are not finite; `CheckpointError`.
  package static func readFinite(_ path: String) throws -> Checkpoint {
    let checkpoint = try read(path)
    for named in checkpoint.tensors where named.tensor.dtype.isFloatingPoint && named.tensor.count > 0 {
      guard try withoutGradient({ try named.tensor.isFinite().all() }) else {
        throw ModelFolderError(
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
  /// - Throws: `ModelFolderError`, `CheckpointError`, `StateError`
  @discardableResult
  package func loadWeights(_ path: String, asStart: Bool = false) throws -> ForeignLoad {
    try loadForeign(
      try Checkpoint.readFinite(path), newHead: asStart && ForeignModel.isThere(FilePath.folder(of: path)))
  }
}
