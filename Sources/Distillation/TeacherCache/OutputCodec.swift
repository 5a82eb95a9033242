import DistillData
import Foundation
import Torch
import TorchNN

/// A tensor of a shard: `[rows] + shape`.
struct CacheColumn: Equatable, Sendable {
  var name: String
  var type: DType
  /// Of one row.
  var shape: [Int]

  var rowByteCount: Int { shape.reduce(type.byteCount, *) }
}

/// Turns what a teacher said into the columns of a shard and back.
struct OutputCodec: Sendable {
  let contents: TeacherCache.Contents
  /// `ids`, then those of each member, then those of each feature.
  let columns: [CacheColumn]
  private let memberColumns: [Range<Int>]
  private let featureColumns: [Range<Int>]

  init(_ contents: TeacherCache.Contents) {
    self.contents = contents
    var columns = [CacheColumn(name: "ids", type: .int64, shape: [])]
    func append(_ new: [CacheColumn]) -> Range<Int> {
      columns += new
      return columns.count - new.count..<columns.count
    }
    memberColumns = contents.logitShapes.enumerated().map { member, shape in
      append(Self.columns(of: contents.logits, named: "logits.\(member)", shape: shape))
    }
    featureColumns = contents.features.indices.map { index in
      append(
        Self.columns(
          of: contents.features[index].encoding, named: "features.\(index)", shape: contents.featureShapes[index]))
    }
    self.columns = columns
  }

  /// Bytes of one row in all columns.
  var rowByteCount: Int { columns.map(\.rowByteCount).reduce(0, +) }

  private static func columns(of encoding: LogitEncoding, named name: String, shape: [Int]) -> [CacheColumn] {
    let classCount = shape.last ?? 0
    let places = Array(shape.dropLast())
    let classType = classCount <= Int(Int16.max) + 1 ? DType.int16 : .int32
    switch encoding {
    case .all(let type): return [CacheColumn(name: name, type: type, shape: shape)]
    case .topK(let kept):
      let k = min(kept.k, classCount)
      let columns = [
        CacheColumn(name: "\(name).values", type: kept.values, shape: places + [k]),
        CacheColumn(name: "\(name).classes", type: classType, shape: places + [k]),
      ]
      if k == classCount { return columns }
      return columns + [
        CacheColumn(name: "\(name).log_rest", type: .float32, shape: places + [kept.temperatures.count])
      ]
    case .sampled(let drawn):
      let columns = [
        CacheColumn(name: "\(name).log_probabilities", type: drawn.values, shape: places + [drawn.count]),
        CacheColumn(name: "\(name).classes", type: classType, shape: places + [drawn.count]),
      ]
      if drawn.proposalPower == 1 { return columns }
      return columns + [CacheColumn(name: "\(name).weights", type: .float32, shape: places + [drawn.count])]
    }
  }

  private static func columns(of encoding: FeatureEncoding, named name: String, shape: [Int]) -> [CacheColumn] {
    switch encoding {
    case .float32: [CacheColumn(name: name, type: .float32, shape: shape)]
    case .float16: [CacheColumn(name: name, type: .float16, shape: shape)]
    case .int8:
      [
        CacheColumn(name: name, type: .int8, shape: shape),
        CacheColumn(name: "\(name).scales", type: .float32, shape: scaleShape(shape)),
      ]
    }
  }

  /// One scale for each slice along the first dimension; one in all for vectors.
  private static func scaleShape(_ shape: [Int]) -> [Int] { shape.count > 1 ? [shape[0]] : [] }

  // MARK: Encoding

  /// The columns after `ids` of some rows, on the processor.
  ///
  /// - Parameters:
  ///   - logits: of each member, `[N] + shape`
  ///   - features: `[N] + shape`
  /// - Throws: `DistillationError` when they have other shapes, are not finite, or do not fit the encoding.
  func encode(ids: [Int], view: Int, logits: [Tensor], features: [Tensor]) throws -> [Tensor] {
    guard logits.map({ Array($0.shape) }) == contents.logitShapes.map({ [ids.count] + $0 }),
      features.map({ Array($0.shape) }) == contents.featureShapes.map({ [ids.count] + $0 })
    else {
      throw DistillationError(
        "of \(ids.count) examples the teacher cache needs logits \(contents.logitShapes) and features "
          + "\(contents.featureShapes) each, not \(logits.map(\.shape)) and \(features.map(\.shape)) in all")
    }
    return try withoutGradient {
      var columns: [Tensor] = []
      for member in logits {
        let given = try member.detached().to(.cpu, dtype: .float32).contiguous()
        columns += try encode(finite(given, ids, "the teacher's logits"), ids: ids, view: view)
      }
      for (values, feature) in zip(features, contents.features) {
        let given = try values.detached().to(.cpu, dtype: .float32).contiguous()
        let name = "\(feature.tap)"
        columns += try Self.encode(
          finite(given, ids, "what the layer '\(name)' gave"), feature.encoding, ids: ids, name: name)
      }
      return columns
    }
  }

  private func encode(_ logits: Tensor, ids: [Int], view: Int) throws -> [Tensor] {
    switch contents.logits {
    case .all(let type): return [try Self.rounded(logits, to: type, ids, "the teacher's logits")]
    case .topK(let kept):
      let classCount = try logits.size(-1)
      let k = min(kept.k, classCount)
      let (values, classes) = try logits.topK(k)
      let columns = [
        try Self.rounded(values, to: kept.values, ids, "the teacher's logits"), try narrow(classes, classCount),
      ]
      if k == classCount { return columns }
      // The sum over the others alone, not a difference of two large ones.
      let others = try logits.overwritten(at: classes, along: -1, with: -.infinity)
      let logSums = try kept.temperatures.map { try (others * (1 / $0)).logSumExp(along: -1, keepDimensions: true) }
      return columns + [try Tensor.concatenated(logSums, along: -1)]
    case .sampled(let drawn):
      let log = try (logits * (1 / drawn.temperature)).logSoftmax()
      let rows = try log.reshaped([-1, log.size(-1)])
      let indices = try draw(drawn, from: rows, ids: ids, view: view)
      let targets = try SampledTargets(indices: indices, logSoftTargets: rows, proposalPower: drawn.proposalPower)
      let shape = Array(logits.shape.dropLast()) + [drawn.count]
      let columns = [
        try Self.rounded(
          targets.logProbabilities.reshaped(shape), to: drawn.values, ids, "the teacher's log probabilities"),
        try narrow(indices.reshaped(shape), log.size(-1)),
      ]
      guard let weights = targets.weights else { return columns }
      return columns + [try weights.reshaped(shape)]
    }
  }

  /// Classes drawn with replacement from pᵅ for each row: a function of the seed, the example, the view and the place of
  /// the row in it, whatever else is in the batch.
  private func draw(_ drawn: LogitEncoding.Sampled, from log: Tensor, ids: [Int], view: Int) throws -> Tensor {
    let cumulative: [Double] = try (log.to(.float64) * drawn.proposalPower).softmax().cumulativeSum(along: -1).array()
    let (rowCount, classCount) = (try log.size(0), try log.size(1))
    let places = rowCount / ids.count
    var classes: [Int64] = []
    classes.reserveCapacity(rowCount * drawn.count)
    for row in 0..<rowCount {
      let id = UInt64(bitPattern: Int64(ids[row / places]))
      var random = RandomSource(seed: drawn.seed, "teacher cache", id, UInt64(view), UInt64(row % places))
      let end = cumulative[(row + 1) * classCount - 1]
      for _ in 0..<drawn.count {
        // The first class whose cumulative probability is above the number drawn.
        let number = random.uniform() * end
        var (low, high) = (0, classCount - 1)
        while low < high {
          let middle = (low + high) / 2
          if cumulative[row * classCount + middle] > number { high = middle } else { low = middle + 1 }
        }
        classes.append(Int64(low))
      }
    }
    return try Tensor(classes, shape: [rowCount, drawn.count])
  }

  private func narrow(_ classes: Tensor, _ classCount: Int) throws -> Tensor {
    try classes.to(classCount <= Int(Int16.max) + 1 ? .int16 : .int32)
  }

  private static func encode(
    _ values: Tensor, _ encoding: FeatureEncoding, ids: [Int], name: String
  ) throws -> [Tensor] {
    switch encoding {
    case .float32: return [values]
    case .float16: return [try rounded(values, to: .float16, ids, "what the layer '\(name)' gave")]
    case .int8:
      let rowShape = Array(values.shape.dropFirst())
      let slices = try values.reshaped([ids.count] + (rowShape.count > 1 ? [rowShape[0]] : [1]) + [-1])
      let scales = try slices.absolute().maximum(along: -1, keepDimensions: true) * (1 / 127)
      // A slice of zeros, or of numbers too small to divide by, is kept as zeros.
      let divisors = try scales.clamped(from: Double(Float.leastNormalMagnitude))
      let whole = try (slices / divisors).rounded().clamped(from: -127, to: 127).to(.int8)
      return [try whole.reshaped(values.shape), try divisors.reshaped([ids.count] + scaleShape(rowShape))]
    }
  }

  private func finite(_ values: Tensor, _ ids: [Int], _ words: String) throws -> Tensor {
    guard try values.isFinite().all() else {
      throw DistillationError(
        "\(words) for the examples \(ids.first ?? 0) to \(ids.last ?? 0) are not all finite numbers")
    }
    return values
  }

  /// In another type, whose range the numbers must not leave.
  private static func rounded(_ values: Tensor, to type: DType, _ ids: [Int], _ words: String) throws -> Tensor {
    let result = try values.to(type)
    let isWhole = type == .float16 ? try result.isFinite().all() : true
    guard isWhole else {
      throw DistillationError(
        "\(words) for the examples \(ids.first ?? 0) to \(ids.last ?? 0) are too large for float16: keep them as "
          + "\(words.contains("layer") ? "float32 or int8" : "bfloat16 or float32")")
    }
    return result
  }

  // MARK: Decoding

  /// What was kept of a member's logits, from its columns for some rows, each `[N] + shape`.
  func logits(of member: Int, _ column: (Int) throws -> Tensor) throws -> (logits: Tensor, kept: KeptLogits?) {
    let place = memberColumns[member].lowerBound
    let first = try column(place).to(.float32)
    switch contents.logits {
    case .all: return (first, nil)
    case .topK(let kept):
      let classCount = contents.logitShapes[member].last ?? 0
      let others: KeptLogits.Others =
        kept.k >= classCount ? .none : .rest(temperatures: kept.temperatures, logSums: try column(place + 2))
      let classes = try column(place + 1).to(.int64)
      return (first, KeptLogits(classes: classes, classCount: classCount, others: others))
    case .sampled(let drawn):
      let weights = drawn.proposalPower == 1 ? nil : try column(place + 2)
      return (
        first,
        KeptLogits(
          classes: try column(place + 1).to(.int64), classCount: contents.logitShapes[member].last ?? 0,
          others: .drawn(temperature: drawn.temperature, proposalPower: drawn.proposalPower, weights: weights))
      )
    }
  }

  /// What was kept of a feature, in float32.
  func feature(_ index: Int, _ column: (Int) throws -> Tensor) throws -> Tensor {
    let place = featureColumns[index].lowerBound
    let values = try column(place).to(.float32)
    guard contents.features[index].encoding == .int8 else { return values }
    let scales = try column(place + 1)
    let ones = [Int](repeating: 1, count: values.rank - scales.rank)
    return try values * scales.reshaped(scales.shape + ones)
  }
}
