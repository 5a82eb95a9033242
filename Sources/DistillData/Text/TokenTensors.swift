import DistillTokenizers
import Torch

/// The tokens of several texts as matrices, as models for texts take them.
public struct TokenTensors {
  /// The number of each token: `[N, T]`, int64.
  public let ids: Tensor
  /// 1 where a token counts, 0 where it is padding: `[N, T]`, int64.
  public let attentionMask: Tensor
  /// Which of two texts each token belongs to: `[N, T]`, int64.
  public let typeIDs: Tensor
}

extension EncodedBatch {
  /// Its rows as matrices `[N, T]`.
  ///
  /// - Throws: `DataError` when there are no rows, or they are not of one length.
  public func tensors(on device: Device = .cpu) throws -> TokenTensors {
    guard count > 0, length > 0 else { throw DataError("there are no tokens to make tensors of") }
    guard isRectangular else {
      throw DataError(
        "rows of \(rows.map(\.count).min() ?? 0) to \(length) tokens are no matrix", remedy: "Encode them with padding")
    }
    func matrix(_ values: KeyPath<EncodedText, [Int64]>) throws -> Tensor {
      try Tensor(rows.flatMap { $0[keyPath: values] }, shape: [count, length]).to(device)
    }
    return TokenTensors(
      ids: try matrix(\.ids), attentionMask: try matrix(\.attentionMask), typeIDs: try matrix(\.typeIDs))
  }
}

extension TokenizerError: ReportedError {
  package var isUsersToMend: Bool { true }
}
