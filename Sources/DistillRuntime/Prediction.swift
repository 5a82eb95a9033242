import Torch

/// A class, and how probable the model takes it to be.
public struct Prediction: Encodable, Sendable, Equatable {
  public var name: String
  /// From 0 to 1: the softmax of the logits.
  public var probability: Double

  package init(name: String, probability: Double) {
    self.name = name
    self.probability = probability
  }
}

/// The most probable classes of each row of logits `[N, C]`, softened by a temperature.
package func topClasses(
  _ logits: Tensor, count: Int, temperature: Double = 1
) throws -> [[(index: Int, probability: Double)]] {
  let count = min(count, try logits.size(1))
  let (values, indices) = try (logits.to(.float64) / temperature).softmax().topK(count)
  let probabilities = try values.doubles()
  let classes: [Int] = try indices.array()
  return try (0..<logits.size(0)).map { row in
    (row * count..<(row + 1) * count).map { (classes[$0], probabilities[$0]) }
  }
}
