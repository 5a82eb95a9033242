import Torch

/// While it is trained, zeroes each element with the given probability and scales the others by 1 / (1 − probability);
/// in evaluation, gives back what came in. The elements are drawn from `RandomStream.current`.
///
/// ## Reference
/// Srivastava et al.: Dropout. JMLR 2014.
public final class Dropout: Layer, ModeDependent {
  public let probability: Double
  public var isTraining = true

  public init(_ probability: Double = 0.5) throws {
    try checkProbability(probability, of: "Dropout")
    self.probability = probability
  }

  public func forward(_ input: Tensor) throws -> Tensor { isTraining ? try input.dropout(probability) : input }
}
