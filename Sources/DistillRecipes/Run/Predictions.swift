import Torch

/// The predicted class of each example, and how sure the model is of it.
struct Predictions {
  let classes: [Int]
  let confidences: [Double]

  init(_ logits: Tensor) throws {
    let (values, indices) = try logits.to(.float64).softmax().topK(1)
    classes = try indices.array()
    confidences = try values.doubles()
  }
}

/// What a teacher finds alike.
public enum ClassSimilarity {
  /// The mean soft target of the examples of each class: row = true class, `[C, C]`. A class without examples has zeros.
  public static func matrix(logits: Tensor, labels: [Int], temperature: Double) throws -> [[Double]] {
    let classes = try logits.size(1)
    let targets = try (logits.to(.float64) / temperature).softmax().doubles()
    var sums = [[Double]](repeating: [Double](repeating: 0, count: classes), count: classes)
    var counts = [Int](repeating: 0, count: classes)
    for (index, label) in labels.enumerated() where label >= 0 {
      counts[label] += 1
      for column in 0..<classes { sums[label][column] += targets[index * classes + column] }
    }
    return zip(sums, counts).map { row, count in row.map { $0 / Double(max(1, count)) } }
  }
}
