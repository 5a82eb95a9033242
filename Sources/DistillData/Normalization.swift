import Torch

/// x ↦ (x − mean) / standard deviation, with numbers for each channel of an image or column of a table, or one of each
/// for all of them.
public struct Normalization: Codable, Sendable, Equatable {
  public var mean: [Float]
  public var standardDeviation: [Float]

  public init(mean: [Float], standardDeviation: [Float]) {
    self.mean = mean
    self.standardDeviation = standardDeviation
  }

  private enum CodingKeys: String, CodingKey {
    case mean
    case standardDeviation = "standard_deviation"
  }

  /// The numbers that bring these examples to mean 0 and standard deviation 1. A channel that is the same everywhere gets
  /// the standard deviation 1.
  public static func measured(on dataset: any Dataset, examples: [Int]? = nil) throws -> Normalization {
    let channels = dataset.channelCount
    let pixels = dataset.elementCount / channels
    let examples = examples ?? Array(0..<dataset.count)
    guard !examples.isEmpty else { throw DataError("\(dataset.name): no examples to measure mean and deviation on") }
    var counter = ChannelStatistics(channels: channels, pixels: pixels)
    if let array = dataset as? ArrayDataset, array.elementType == .uint8 {
      try counter.count(array, examples)
    } else {
      try counter.add(dataset, examples)
    }
    return counter.normalization
  }

  /// - Throws: `DataError` when these are not numbers for examples with so many channels.
  package func check(channels: Int) throws { _ = try expanded(to: channels) }

  /// The numbers for each of `channels` channels.
  ///
  /// - Throws: `DataError` when there are others than one or `channels`, or some that cannot be divided by.
  package func expanded(to channels: Int) throws -> (mean: [Float], standardDeviation: [Float]) {
    for (name, numbers) in [("means", mean), ("standard deviations", standardDeviation)]
    where numbers.count != 1 && numbers.count != channels {
      throw DataError("normalization has \(numbers.count) \(name), but the data have \(channels) channels")
    }
    guard mean.allSatisfy(\.isFinite), standardDeviation.allSatisfy({ $0.isFinite && $0 > 0 }) else {
      throw DataError(
        "normalization needs finite means and standard deviations above 0, not \(mean) and \(standardDeviation)")
    }
    return (
      mean.count == channels ? mean : Array(repeating: mean[0], count: channels),
      standardDeviation.count == channels
        ? standardDeviation : Array(repeating: standardDeviation[0], count: channels)
    )
  }
}

/// Sums over the pixels of each channel.
private struct ChannelStatistics {
  let channels: Int
  let pixels: Int
  var sums: [Double]
  var squares: [Double]
  var counts = 0.0

  init(channels: Int, pixels: Int) {
    self.channels = channels
    self.pixels = pixels
    sums = Array(repeating: 0, count: channels)
    squares = sums
  }

  /// Of bytes: counts how often each occurs, which is exact.
  mutating func count(_ dataset: ArrayDataset, _ examples: [Int]) throws {
    var histogram = [Int](repeating: 0, count: channels * 256)
    try histogram.withUnsafeMutableBufferPointer { histogram in
      for index in examples {
        guard index >= 0, index < dataset.count else { throw DataError("\(dataset.name) has no example \(index)") }
        var source = dataset.start(of: index).assumingMemoryBound(to: UInt8.self)
        for channel in 0..<channels {
          for pixel in 0..<pixels { histogram[channel &* 256 &+ Int(source[pixel])] &+= 1 }
          source += pixels
        }
      }
    }
    for channel in 0..<channels {
      for value in 0..<256 {
        let number = Double(histogram[channel * 256 + value])
        let scaled = Double(value) / Double(dataset.maximum)
        sums[channel] += number * scaled
        squares[channel] += number * scaled * scaled
      }
    }
    counts = Double(examples.count * pixels)
  }

  /// Of numbers: sums their distances from those of the first example, which keeps the rounding error small.
  mutating func add(_ dataset: any Dataset, _ examples: [Int]) throws {
    let values = UnsafeMutableBufferPointer<Float>.allocate(capacity: channels * pixels)
    defer { values.deallocate() }
    try dataset.read(examples[0], into: values)
    let origins = (0..<channels).map { Double(values[$0 * pixels]) }
    for index in examples {
      try dataset.read(index, into: values)
      for channel in 0..<channels {
        for pixel in 0..<pixels {
          let distance = Double(values[channel * pixels + pixel]) - origins[channel]
          sums[channel] += distance
          squares[channel] += distance * distance
        }
      }
    }
    counts = Double(examples.count * pixels)
    offsets = origins
  }

  private var offsets: [Double] = []

  var normalization: Normalization {
    var result = Normalization(mean: [], standardDeviation: [])
    for channel in 0..<channels {
      let mean = sums[channel] / counts
      let variance = max(0, squares[channel] / counts - mean * mean)
      result.mean.append(Float(mean + (offsets.isEmpty ? 0 : offsets[channel])))
      let deviation = Float(variance.squareRoot())
      result.standardDeviation.append(deviation > 1e-7 * max(1, abs(Float(mean))) ? deviation : 1)
    }
    return result
  }
}
