import Torch

/// Adaptive pooling as a product with a matrix, where the parts overlap.
enum PoolingMatrix {
  /// The matrix that takes the mean of each of `new` parts of `old` numbers: `[old, new]` for what stands along rows (0), or
  /// `[new, old]` (1).
  static func means(of old: Int, in new: Int, along side: Int) throws -> Tensor {
    var numbers = [Float](repeating: 0, count: old * new)
    for part in 0..<new {
      let range = part * old / new..<((part + 1) * old + new - 1) / new
      for place in range { numbers[side == 1 ? part * old + place : place * new + part] = 1 / Float(range.count) }
    }
    return try Tensor(numbers, shape: side == 1 ? [new, old] : [old, new])
  }
}
