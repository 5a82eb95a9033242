import DistillData
import DistillModels
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@testable import DistillExport

/// Scales, zero points and ranges, against closed forms and against numbers of NumPy.
@Suite struct QuantizationTests {
  @Test(
    "Scale and zero point of a range, which is widened to hold 0",
    arguments: [
      (-1.0, 3.0, Float(4.0 / 255), UInt8(64)), (0, 6, Float(6.0 / 255), 0), (2, 5, Float(5.0 / 255), 0),
      (-3, -1, Float(3.0 / 255), 255), (-1, 1, Float(2.0 / 255), 128), (0, 0, 1, 0),
    ])
  func affine(lowest: Double, highest: Double, scale: Float, zeroPoint: UInt8) {
    let quantization = AffineQuantization(lowest: lowest, highest: highest)
    #expect(quantization.scale == scale && quantization.zeroPoint == zeroPoint)
  }

  @Test("A weight has a scale for each output channel, whichever dimension counts them")
  func weights() throws {
    let weight = try Tensor([0.3, -2, 1.27, 0, 0, 0, -0.5, 0.26, 0.1] as [Float], shape: [3, 3])
    // numpy.round(w / (abs(w).max(axis) / 127))
    let rows = try QuantizedWeight(weight, axis: 0, largest: 127)
    #expect(try rows.numbers.array(of: Int8.self) == [19, -127, 81, 0, 0, 0, -127, 66, 25])
    #expect(rows.numbers.dtype == .int8 && rows.scales.dtype == .float32)
    try assertClose(rows.scales, Tensor([2.0 / 127, 0, 0.5 / 127] as [Float]), absolute: 1e-9)
    let columns = try QuantizedWeight(weight, axis: 1, largest: 127)
    #expect(try columns.numbers.array(of: Int8.self) == [76, -127, 127, 0, 0, 0, -127, 17, 10])
    try assertClose(columns.scales, Tensor([0.5 / 127, 2.0 / 127, 0.01] as [Float]), absolute: 1e-9)
    // No number is further away than half a step.
    let again = try rows.numbers.to(.float32) * rows.scales.reshaped([3, 1])
    for (given, wanted) in try zip(again.floats(), weight.floats()) { #expect(abs(given - wanted) <= 1.0 / 127) }
    // A scale that is to be larger.
    let coarse = try QuantizedWeight(weight, axis: 0, largest: 127, least: Tensor([0.1, 0.5, 0] as [Double]))
    #expect(try coarse.numbers.array(of: Int8.self) == [3, -20, 13, 0, 0, 0, -127, 66, 25])
    #expect(throws: ExportError.self) {
      try QuantizedWeight(Tensor([Float.nan], shape: [1, 1]), axis: 0, largest: 127)
    }
  }

  @Test("Grouped convolutions have their output channels first")
  func depthwise() throws {
    let weight = try Tensor([1, -0.5, 0.25, 4, 2, -1] as [Float], shape: [2, 1, 3])
    let made = try QuantizedWeight(weight, axis: 0, largest: 127)
    #expect(made.numbers.shape == [2, 1, 3])
    #expect(try made.numbers.array(of: Int8.self) == [127, -64, 32, 127, 64, -32])
  }

  // MARK: Ranges

  /// The squared error of a range, as the formula says it, bin by bin.
  private func error(_ histogram: ActivationHistogram, _ low: Double, _ high: Double) -> Double {
    let width = (histogram.highest - histogram.lowest) / Double(histogram.counts.count)
    let step = (high - low) / 255
    return histogram.counts.enumerated().reduce(0) { sum, bin in
      let x = histogram.lowest + (Double(bin.offset) + 0.5) * width
      let each = x < low ? (x - low) * (x - low) : x > high ? (x - high) * (x - high) : step * step / 12
      return sum + Double(bin.element) * each
    }
  }

  @Test("The range of the least squared error is the best of all that were looked at")
  func leastError() throws {
    var source = RandomSource(seed: 4)
    // Many numbers near 0, and few far away, more so above.
    let numbers = (0..<20_000).map { index -> Float in
      let x = Float(source.uniform() + source.uniform() + source.uniform() - 1.5)
      return index % 1000 == 0 ? x * 30 + 5 : x
    }
    var histogram = ActivationHistogram(
      lowest: Double(numbers.min() ?? 0), highest: Double(numbers.max() ?? 0), binCount: 512)
    try histogram.add(Tensor(numbers))
    #expect(histogram.counts.reduce(0, +) == numbers.count { $0 != 0 })
    let found = histogram.leastErrorRange()
    var best = Double.infinity
    for low in 0...128 {
      for high in 0...128 where low + high > 0 {
        best = min(
          best, error(histogram, histogram.lowest * Double(low) / 128, histogram.highest * Double(high) / 128))
      }
    }
    let own = error(histogram, found.lowest, found.highest)
    #expect(abs(own - best) <= 1e-6 * best)
    #expect(own < error(histogram, histogram.lowest, histogram.highest))
    #expect(found.highest < histogram.highest)
  }

  @Test("Numbers that are spread evenly keep their whole range, and zeros do not count")
  func evenRange() throws {
    var histogram = ActivationHistogram(lowest: 0, highest: 2, binCount: 256)
    try histogram.add(Tensor((0..<4096).map { Float($0) / 2048 }))
    try histogram.add(Tensor.zeros([100_000]))
    #expect(histogram.counts.reduce(0, +) == 4095)
    let range = histogram.leastErrorRange()
    #expect(range.lowest == 0 && range.highest > 1.95)
    var nothing = ActivationHistogram(lowest: 0, highest: 0, binCount: 16)
    try nothing.add(Tensor.zeros([5]))
    #expect(nothing.leastErrorRange() == (0, 0))
  }

  @Test("Ranges are those of the activations of all examples, however many are computed at a time")
  func observed() throws {
    let linear = try Linear(2, 2)
    try withoutGradient {
      try linear.weight.copy(from: Tensor([1, 0, 0, -2] as [Float], shape: [2, 2]))
      try linear.bias?.copy(from: Tensor([0.5, 0] as [Float]))
    }
    let model = Probe([linear]) { try linear($0).relu() }
    let graph = try RecordedGraph(like: Sample.numbers([2, 2])) { [try model($0)] }
    let examples = try Tensor((0..<150).flatMap { [Float($0) / 100, Float($0) / -50] }, shape: [150, 2])
    let calibration = Calibration(examples: examples, method: .minMax)
    let wanted = [0] + graph.calls.flatMap(\.results)
    let ranges = try ActivationRanges(of: wanted, in: graph, of: model, by: calibration).ranges
    #expect(ranges.count == wanted.count)
    let input = try #require(ranges[0])
    #expect(abs(input.lowest + 2.98) < 1e-6 && abs(input.highest - 1.49) < 1e-6)
    let output = try #require(ranges[graph.outputs[0]])
    #expect(abs(output.lowest) < 1e-6 && abs(output.highest - 5.96) < 1e-5)
    let wrong = Calibration(examples: try examples * Double.infinity)
    #expect(throws: ExportError.self) { try ActivationRanges(of: wanted, in: graph, of: model, by: wrong) }
  }

  @Test("A graph gives the tensors of its values for another batch, and refuses a function that calls others for it")
  func tensorsOfValues() throws {
    let function: (Tensor) throws -> [Tensor] = { input in
      let twice = try input * 2
      return [try input.shape[0] > 8 ? twice.relu().relu() : twice.relu()]
    }
    let graph = try RecordedGraph(like: Sample.numbers([2, 3]), of: function)
    let batch = try Sample.numbers([5, 3], seed: 9)
    let tensors = try graph.tensors(of: [0, 1, 2], for: batch, in: function)
    #expect(tensors.map(\.shape) == [[5, 3], [5, 3], [5, 3]])
    #expect(tensors[0].identity == batch.identity)
    try assertClose(tensors[2], try (batch * 2).relu())
    #expect(throws: TorchError.self) { try graph.tensors(of: [1], for: Sample.numbers([9, 3]), in: function) }
  }

  // MARK: What is quantized

  private func plan(_ specification: ModelSpecification) throws -> (QuantizationSummary, [String: Int]) {
    let model = try Sample.model(specification)
    let inputs = try ONNXZooTests.inputs(specification, 5)
    let made = try ONNXModel(of: model, like: inputs, calibration: Calibration(examples: inputs))
    return (try #require(made.quantization), made.operators)
  }

  @Test("Every convolution and linear layer is quantized, and every table that tokens are looked up in")
  func summary() throws {
    let (convolutions, operators) = try plan(
      ModelSpecification("resnet-cifar", ["depth": 8], inputShape: [3, 16, 16], classCount: 4))
    // Seven convolutions and the classifier.
    #expect(convolutions.products == (operators["Conv"] ?? 0) + (operators["Gemm"] ?? 0))
    #expect(convolutions.products >= 8 && convolutions.embeddings == 0)
    // A pair of nodes for each activation, a node for each weight and for the biases.
    #expect(operators["QuantizeLinear"] == convolutions.activations)
    let (tied, nodes) = try plan(
      ModelSpecification("llama", ["depth": 1, "width": 12, "heads": 2, "tied": true], inputShape: [6], classCount: 7))
    // Query, key, value, output, gate, up, down, and the classifier, whose weight is the table.
    #expect(tied.products == 8 && tied.embeddings == 1)
    #expect(nodes["Transpose"] != nil)
  }

  @Test("What cannot be quantized is said")
  func refusals() throws {
    let inputs = try Sample.numbers([2, 4])
    let error = try #require(throws: ExportError.self) {
      try ONNXModel(of: Probe { try $0 * 2 }, like: inputs, calibration: Calibration(examples: inputs))
    }
    #expect(error.description.contains("nothing to quantize"))
    let linear = try Linear(4, 2)
    #expect(throws: ExportError.self) {
      try ONNXModel(
        of: linear, like: inputs, calibration: Calibration(examples: try inputs.sliced(0, from: 0, to: 0)))
    }
  }

  // MARK: The comparison

  @Test("Agreement, similarity, differences and accuracies are what their names say")
  func comparison() throws {
    let float = try Tensor([1, 2, 3, 0, 0, 1, 5, 0] as [Float], shape: [4, 2])
    let given = try Tensor([1, 2, 0, 3, 0, 1, 5, 0] as [Float], shape: [4, 2])
    let check = try QuantizationCheck(quantized: given, float: float, labels: [1, 1, -1, 0], tellsClasses: true)
    #expect(check.examples == 4 && check.agreement == 0.75 && check.greatestDifference == 3)
    #expect(check.meanDifference == 0.75 && abs(check.similarity - 0.75) < 1e-6)
    #expect(check.accuracy == 1 && abs((check.accuracyInFloat ?? 0) - 2.0 / 3) < 1e-12)
    #expect(!check.isSound)
    let embeddings = try QuantizationCheck(quantized: float, float: float, tellsClasses: false)
    #expect(embeddings.agreement == nil && embeddings.isSound && abs(embeddings.similarity - 1) < 1e-6)
    let nothing = try Tensor.zeros([1, 2])
    #expect(try QuantizationCheck(quantized: nothing, float: nothing, tellsClasses: false).similarity == 1)
    #expect(
      try QuantizationCheck(quantized: nothing, float: float.sliced(0, from: 0, to: 1), tellsClasses: false).similarity
        == 0)
    let broken = try QuantizationCheck(quantized: float * Double.nan, float: float, tellsClasses: true)
    #expect(broken.agreement == 0 && !broken.isSound)
  }

  @Test("Inputs of the model become what a file with preprocessing takes")
  func preprocessing() throws {
    let bytes = try Tensor((0..<24).map { UInt8($0 * 10) }, shape: [2, 3, 2, 2])
    let normalization = Normalization(mean: [0.4, 0.5, 0.6], standardDeviation: [0.2, 0.25, 0.3])
    let mean = try Tensor(normalization.mean, shape: [3, 1, 1])
    let inputs = try (bytes.to(.float32) / 255 - mean) / Tensor(normalization.standardDeviation, shape: [3, 1, 1])
    let nchw = try ONNXPreprocessing(layout: .nchw, normalization: normalization).inputs(for: inputs)
    #expect(try nchw.array(of: UInt8.self) == bytes.array(of: UInt8.self) && nchw.dtype == .uint8)
    let nhwc = try ONNXPreprocessing(layout: .nhwc, normalization: normalization).inputs(for: inputs)
    #expect(nhwc.shape == [2, 2, 2, 3])
    #expect(try nhwc.permuted([0, 3, 1, 2]).contiguous().array(of: UInt8.self) == bytes.array(of: UInt8.self))
  }
}
