import DistillData
import Foundation
import Torch

/// Classes that a generalist takes for each other, found from its predictions alone: what specialists are made for.
///
/// Two classes are alike where the generalist's probabilities for them rise and fall together, so the columns of the
/// covariance matrix of its predictions are clustered by k-means. It is the on-line kind: columns come one after the other,
/// each moves the nearest centre towards itself by (x − c) / n, where n counts the columns that the centre has got in this
/// pass; after several passes in random order each class belongs to the centre that is nearest to its column. The first
/// centres are columns that lie far apart (k-means++), drawn by the seed.
///
/// ## Reference
/// Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network. arXiv:1503.02531, section 5.2; MacQueen: Some
/// methods for classification and analysis of multivariate observations. 1967; Arthur, Vassilvitskii: k-means++. 2007.
public struct ClassClusters: Sendable, Equatable, Codable {
  /// The classes of each cluster, in rising order; the clusters in the order of their first class.
  public let clusters: [[Int]]
  /// The sum of the squared distances of columns from their centres.
  public let spread: Double

  /// - Parameters:
  ///   - covariance: `[C, C]`, such as `predictionCovariance(logits:)`
  ///   - count: how many clusters there are to be; none is empty
  ///   - passes: how often each column is shown
  ///   - seed: of the first centres and of the orders
  /// - Throws: `DistillationError` when the matrix is not square or not finite, or there are not as many classes.
  public init(covariance: Tensor, count: Int, passes: Int = 20, seed: UInt64 = 0) throws {
    let shape = covariance.shape
    guard shape.count == 2, shape[0] == shape[1] else {
      throw DistillationError("a covariance matrix of classes must be [C, C], not \(shape)")
    }
    guard (1...max(1, shape[0])).contains(count), shape[0] > 0 else {
      throw DistillationError("\(shape[0]) classes cannot be put into \(count) clusters")
    }
    guard passes > 0 else { throw DistillationError("clustering needs at least one pass, not \(passes)") }
    let numbers = try covariance.transposed(0, 1).doubles()
    guard numbers.allSatisfy(\.isFinite) else {
      throw DistillationError("the covariance matrix of the predictions holds numbers that are not finite")
    }
    let size = shape[0]
    let columns = (0..<size).map { Array(numbers[$0 * size..<($0 + 1) * size]) }
    var random = RandomSource(seed: seed, "class clusters")
    var centres = Self.firstCentres(columns, count, &random)
    for _ in 0..<passes {
      var counts = [Int](repeating: 0, count: count)
      for index in columns.indices.shuffled(using: &random) {
        let nearest = Self.nearest(columns[index], centres)
        counts[nearest] += 1
        let part = 1 / Double(counts[nearest])
        for place in 0..<size { centres[nearest][place] += (columns[index][place] - centres[nearest][place]) * part }
      }
    }
    var places = columns.map { Self.nearest($0, centres) }
    // A cluster that got nothing takes the column that lies farthest from its centre, out of one with several.
    for empty in 0..<count where !places.contains(empty) {
      let movable = columns.indices.filter { index in places.count { $0 == places[index] } > 1 }
      guard
        let farthest = movable.max(by: {
          Self.distance(columns[$0], centres[places[$0]]) < Self.distance(columns[$1], centres[places[$1]])
        })
      else { continue }
      places[farthest] = empty
      centres[empty] = columns[farthest]
    }
    spread = columns.indices.reduce(0) { $0 + Self.distance(columns[$1], centres[places[$1]]) }
    clusters = (0..<count).map { cluster in columns.indices.filter { places[$0] == cluster } }
      .sorted { ($0.first ?? 0) < ($1.first ?? 0) }
  }

  private static func firstCentres(
    _ columns: [[Double]], _ count: Int, _ random: inout RandomSource
  ) -> [[Double]] {
    var centres = [columns[Int(random.uniform() * Double(columns.count))]]
    while centres.count < count {
      let distances = columns.map { distance($0, centres[nearest($0, centres)]) }
      var rest = random.uniform() * distances.reduce(0, +)
      let chosen = distances.firstIndex { distance in
        rest -= distance
        return rest < 0
      }
      // Where all columns are centres already, any will do.
      centres.append(columns[chosen ?? centres.count])
    }
    return centres
  }

  private static func nearest(_ column: [Double], _ centres: [[Double]]) -> Int {
    var best = (index: 0, distance: Double.infinity)
    for (index, centre) in centres.enumerated() {
      let distance = distance(column, centre)
      if distance < best.distance { best = (index, distance) }
    }
    return best.index
  }

  private static func distance(_ first: [Double], _ second: [Double]) -> Double {
    var sum = 0.0
    for index in first.indices {
      let difference = first[index] - second[index]
      sum += difference * difference
    }
    return sum
  }
}

/// The covariance of the probabilities that a model gives to the classes: `[C, C]`, float64.
///
///     Σᵢⱼ = (1 / N) Σₙ (pₙᵢ − p̄ᵢ) (pₙⱼ − p̄ⱼ),   p = softmax(logits)
///
/// - Parameter logits: `[N, C]` of examples that the model was not trained on, or of the training set
/// - Throws: `DistillationError` when they are no matrix, or not finite.
public func predictionCovariance(logits: Tensor) throws -> Tensor {
  let shape = logits.shape
  guard shape.count == 2, shape[0] > 0, shape[1] > 0 else {
    throw DistillationError("logits must be [examples, classes], not \(shape)")
  }
  return try withoutGradient {
    let probabilities = try logits.to(.float64).softmax()
    guard try probabilities.isFinite().all() else {
      throw DistillationError("the logits are not finite numbers: the model's weights or its inputs are damaged")
    }
    let centered = try probabilities - probabilities.mean(along: 0, keepDimensions: true)
    return try centered.transposed(0, 1).matmul(centered) / Double(shape[0])
  }
}
