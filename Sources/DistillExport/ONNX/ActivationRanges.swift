import Torch
import TorchNN

/// What a model is to be quantized by: examples like those to come, and how ranges are chosen from what they show.
public struct Calibration {
  /// How the range of an activation is chosen; what is beyond it is cut off.
  public enum Method: String, Sendable, CaseIterable, Encodable {
    /// From the smallest number that was seen to the largest.
    case minMax = "min-max"
    /// The one that costs the least squared error, of rounding and of cutting off, over a histogram. In transformers the few
    /// large numbers that it cuts off are those that count.
    case meanSquaredError = "mse"
  }

  /// As the model takes them, `[N, …]`.
  public var examples: Tensor
  public var method: Method
  /// Whether weights are from −64 to 64, and not from −127 to 127. On x86 processors without VNNI ONNX Runtime adds two
  /// products of a weight and an activation in 16 bits, in which two large ones do not fit.
  public var reducesRange: Bool

  public init(examples: Tensor, method: Method = .minMax, reducesRange: Bool = false) {
    self.examples = examples
    self.method = method
    self.reducesRange = reducesRange
  }
}

/// The ranges of activations, observed while a model computes the examples of a calibration.
struct ActivationRanges {
  /// By the numbers of values in the graph.
  private(set) var ranges: [Int: (lowest: Double, highest: Double)] = [:]

  /// So many bytes of activations may be in memory at once.
  private static let memory = 256 << 20
  private static let binCount = 2048

  /// - Parameters:
  ///   - wanted: which values of the graph
  ///   - model: what the graph is of
  /// - Throws: `ExportError` when a value is not finite, `TorchError` when the model cannot compute the examples.
  init(of wanted: [Int], in graph: RecordedGraph, of model: any Layer, by calibration: Calibration) throws {
    guard try calibration.examples.size(0) > 0 else { throw ExportError("a calibration needs examples") }
    func forEach(_ body: (_ value: Int, _ numbers: Tensor) throws -> Void) throws {
      try model.withMode(training: false) {
        for batch in try calibration.examples.split(Self.batchSize(for: graph)) {
          let tensors = try graph.tensors(of: wanted, for: batch.contiguous()) { [try model($0)] }
          for (value, tensor) in zip(wanted, tensors) { try body(value, tensor.flattened().to(.float32)) }
        }
      }
    }
    try forEach { value, numbers in
      guard try numbers.isFinite().all() else {
        throw ExportError("the model gives numbers that are not finite for an example of the calibration")
      }
      let (low, high) = (try numbers.minimum(along: 0).item(), try numbers.maximum(along: 0).item())
      let known = ranges[value] ?? (low, high)
      ranges[value] = (min(known.lowest, low), max(known.highest, high))
    }
    guard calibration.method == .meanSquaredError else { return }
    var histograms = ranges.mapValues {
      ActivationHistogram(lowest: min($0.lowest, 0), highest: max($0.highest, 0), binCount: Self.binCount)
    }
    try forEach { value, numbers in try histograms[value]?.add(numbers) }
    ranges = histograms.mapValues { $0.leastErrorRange() }
  }

  /// How many examples are looked at together: all activations of a batch are in memory while it is computed.
  private static func batchSize(for graph: RecordedGraph) -> Int {
    let bytes = graph.values.filter { $0.constant == nil }.reduce(0) { sum, value in
      let count = value.shape.reduce(1) { product, size in
        switch size {
        case .fixed(let number), .perExample(let number): product * number
        }
      }
      return sum + count * value.dtype.byteCount
    }
    return min(64, max(1, memory / max(1, bytes)))
  }
}

/// How often the numbers of an activation lie where, in bins of equal width.
struct ActivationHistogram {
  let lowest: Double
  let highest: Double
  /// Numbers that are exactly 0 are not counted: they stay exact whatever the range.
  private(set) var counts: [Int]

  init(lowest: Double, highest: Double, binCount: Int) {
    self.lowest = lowest
    self.highest = highest
    counts = Array(repeating: 0, count: binCount)
  }

  private var width: Double { (highest - lowest) / Double(counts.count) }

  /// - Parameter numbers: a vector
  mutating func add(_ numbers: Tensor) throws {
    guard width > 0 else { return }
    let last = Double(counts.count - 1)
    let places = try ((numbers.to(.float64) - lowest) / width).clamped(from: 0, to: last).to(.int64)
    let found = try places.binCount(minimumLength: counts.count).array(of: Int.self)
    for (bin, count) in found.enumerated() { counts[bin] += count }
    let zeros = Int(try numbers.equals(0).to(.int64).sum().item())
    counts[min(counts.count - 1, Int(-lowest / width))] -= zeros
  }

  /// How finely the ends of the range are searched: parts of the range that was seen.
  private static let steps = 128

  /// The range [l, h] around 0 that has the least squared error when its numbers are quantized to 256 levels:
  ///
  ///     Σ_{x < l} (x − l)² + Σ_{x > h} (x − h)² + |{x : l ≤ x ≤ h}| · s² / 12,   s = (h − l) / 255
  ///
  /// that is, what is cut off below and above, and the mean squared error of rounding to multiples of s. The sums are over
  /// the middles of the bins; l and h are looked for among 128 parts of the range on either side of 0.
  func leastErrorRange() -> (lowest: Double, highest: Double) {
    guard width > 0, counts.contains(where: { $0 > 0 }) else { return (lowest, highest) }
    let below = Self.tails(of: counts.indices.map { (-middle($0), Double(counts[$0])) }, to: -lowest)
    let above = Self.tails(of: counts.indices.reversed().map { (middle($0), Double(counts[$0])) }, to: highest)
    let total = Double(counts.reduce(0, +))
    var best = (error: Double.infinity, lowest: lowest, highest: highest)
    for low in below {
      for high in above where high.end + low.end > 0 {
        let step = (high.end + low.end) / 255
        let inside = max(0, total - low.count - high.count)
        let error = low.error + high.error + inside * step * step / 12
        if error < best.error { best = (error, -low.end, high.end) }
      }
    }
    return (best.lowest, best.highest)
  }

  private func middle(_ bin: Int) -> Double { lowest + (Double(bin) + 0.5) * width }

  /// For each end that a side of the range may have: how many numbers are beyond it, and what cutting them off costs.
  ///
  /// - Parameters:
  ///   - bins: distances from 0 in the direction of the side, the farthest first, each with its count
  ///   - whole: the distance to the end of all numbers
  private static func tails(
    of bins: [(distance: Double, count: Double)], to whole: Double
  ) -> [(end: Double, count: Double, error: Double)] {
    guard whole > 0 else { return [(0, 0, 0)] }
    var tails: [(end: Double, count: Double, error: Double)] = []
    // Σ (x − e)² = Σ x² − 2 e Σ x + e² · count, of the bins that are beyond the end e.
    var (place, count, sum, squares) = (0, 0.0, 0.0, 0.0)
    for step in (0...steps).reversed() {
      let end = whole * Double(step) / Double(steps)
      while place < bins.count, bins[place].distance > end {
        let bin = bins[place]
        count += bin.count
        sum += bin.count * bin.distance
        squares += bin.count * bin.distance * bin.distance
        place += 1
      }
      tails.append((end, count, max(0, squares - 2 * end * sum + end * end * count)))
    }
    return tails
  }
}
