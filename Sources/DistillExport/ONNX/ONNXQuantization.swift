import Torch
import TorchNN

/// Post-training static quantization of an ONNX graph, by pairs of `QuantizeLinear` and `DequantizeLinear` ("QDQ"), which ONNX
/// Runtime makes its integer kernels of: `QLinearConv`, `QGemm`, `MatMulIntegerToFloat`, `QLinearAdd` and others.
///
///     DequantizeLinear(x) ─┐
///     DequantizeLinear(w) ─┼─ Conv ─ Relu ─ QuantizeLinear ─ DequantizeLinear ─ …
///     DequantizeLinear(b) ─┘
///
/// Weights are int8 with a scale for each output channel (`QuantizedWeight`), activations uint8 with one scale and one zero
/// point (`AffineQuantization`), the biases of `Conv` and `Gemm` int32 with the product of both scales, so that they are
/// added to the sums as they are (Jacob et al., section 2.4). A bias after `MatMul` stays float32: its kernel gives float32.
/// Every weight has its zero points written down: without them ONNX Runtime leaves a `Gemm` in float32.
///
/// Tables of embeddings, from which rows are looked up, are int8 with a scale for each row.
struct ONNXQuantization {
  private let builder: ONNXGraphBuilder
  private let nodes: [Onnx_NodeProto]
  private let plan: QuantizationPlan
  private let weights: [String: Tensor]
  private let activations: [String: AffineQuantization]
  private let outputs: Set<String>
  private let reducesRange: Bool
  /// For weights that need them: scales that their channels have at least.
  private var leastScales: [Channels: Tensor] = [:]
  private var quantizedWeights: [Channels: Written] = [:]
  /// The names of activations after both nodes.
  private var dequantized: [String: String] = [:]

  /// The channels of a weight, by which it is quantized.
  private struct Channels: Hashable {
    var weight: String
    var axis: Int
  }

  /// The initializers of a weight.
  private struct Written {
    var numbers: String
    var scales: String
    var zeroPoints: String
    var scale: Tensor
  }

  /// What was made integers.
  var summary: QuantizationSummary {
    QuantizationSummary(
      products: plan.products.count, embeddings: plan.lookups.count, activations: plan.ranges.count,
      weights: Set(plan.products.map(\.weight) + plan.lookups.map { nodes[$0].input[0] })
        .reduce(0) { $0 + (weights[$1]?.count ?? 0) })
  }

  /// - Parameters:
  ///   - builder: with the whole graph
  ///   - weights: the initializers that are weights of the model
  ///   - observable: float32 values of the model by the names of tensors that stand for them
  /// - Throws: `ExportError` when there is nothing to quantize, or a number is not finite.
  init(
    _ builder: ONNXGraphBuilder, output: String, weights: [String: Tensor], observable: [String: Int],
    of model: any Layer, recordedAs graph: RecordedGraph, by calibration: Calibration
  ) throws {
    self.builder = builder
    self.weights = weights
    try builder.padInConvolutions()
    nodes = builder.nodes
    outputs = [output]
    reducesRange = calibration.reducesRange
    plan = QuantizationPlan(
      nodes: nodes, output: output, initializers: Set(builder.initializers.map(\.name)), weights: weights,
      observable: observable)
    guard !plan.products.isEmpty else {
      throw ExportError("there is nothing to quantize: the model has no convolution or linear layer that can be")
    }
    let wanted = plan.ranges.values.compactMap { if case .observed(let value) = $0 { value } else { nil } }
    let observed = try ActivationRanges(of: Set(wanted).sorted(), in: graph, of: model, by: calibration).ranges
    activations = plan.ranges.mapValues { range in
      switch range {
      case .known(let lowest, let highest): AffineQuantization(lowest: lowest, highest: highest)
      case .observed(let value):
        AffineQuantization(lowest: observed[value]?.lowest ?? 0, highest: observed[value]?.highest ?? 0)
      }
    }
    for product in plan.products { try keepBiasInRange(product) }
  }

  /// A bias is int32 in units of both scales: a channel of very small weights gets so large a scale that it fits.
  private mutating func keepBiasInRange(_ product: QuantizationPlan.Product) throws {
    guard let bias = product.bias.flatMap({ weights[$0] }), let input = activations[product.input] else { return }
    let least = try bias.detached().to(.cpu, dtype: .float64).absolute() / (Double(input.scale) * 0x1p30)
    let channels = Channels(weight: product.weight, axis: product.axis)
    leastScales[channels] = try leastScales[channels].map { try $0.maximum(least) } ?? least
  }

  // MARK: Writing

  /// Writes the graph anew, with what is quantized.
  mutating func write() throws {
    let nodes = builder.takeNodes()
    let products = plan.productsByNode
    let made = Set(nodes.flatMap(\.output))
    for name in plan.ranges.keys.sorted() where !made.contains(name) { try quantize(name) }
    for (place, node) in nodes.enumerated() {
      if let product = products[place] {
        try put(node, product)
      } else if plan.lookups.contains(place) {
        try putLookup(node)
      } else {
        var node = node
        node.input = node.input.map { plan.integers.contains($0) ? dequantized[$0] ?? $0 : $0 }
        builder.put(node)
      }
      for output in node.output where plan.ranges[output] != nil { try quantize(output) }
    }
    builder.dropUnread(outputs: outputs)
  }

  /// Both nodes behind an activation.
  private mutating func quantize(_ name: String) throws {
    guard let quantization = activations[name] else { return }
    let numbers = [
      builder.initializer("\(name)_scale", try Tensor([quantization.scale], shape: [])),
      builder.initializer("\(name)_zero_point", try Tensor([quantization.zeroPoint], shape: [])),
    ]
    let integers = builder.node("QuantizeLinear", [name] + numbers)
    dequantized[name] = builder.node("DequantizeLinear", [integers] + numbers)
  }

  private mutating func put(_ node: Onnx_NodeProto, _ product: QuantizationPlan.Product) throws {
    guard let input = dequantized[product.input], let activation = activations[product.input] else {
      throw ExportError("\(product.input) is read before it is made")
    }
    let weight = try written(product.weight, axis: product.axis)
    var node = node
    node.input[0] = input
    let numbers =
      product.isTransposed ? builder.node("Transpose", [weight.numbers], [.integers("perm", [1, 0])]) : weight.numbers
    node.input[1] = builder.node(
      "DequantizeLinear", [numbers, weight.scales, weight.zeroPoints],
      [.integer("axis", product.isTransposed ? 1 : product.axis)])
    if let bias = product.bias, let values = weights[bias] {
      let scales = try weight.scale * Double(activation.scale)
      let whole = try (values.detached().to(.cpu, dtype: .float64) / scales.to(.float64)).rounded().to(.int32)
      node.input[2] = builder.node(
        "DequantizeLinear",
        [builder.initializer("\(bias)_quantized", whole), builder.initializer("\(bias)_scale", scales)],
        [.integer("axis", 0)])
    }
    builder.put(node)
  }

  /// Rows of a table, `[V, D]`, and their scales are looked up, and multiplied: x = s_i q_i.
  private mutating func putLookup(_ node: Onnx_NodeProto) throws {
    let (name, indices) = (node.input[0], node.input[1])
    let table = try written(name, axis: 0)
    let rows = builder.node("Gather", [table.numbers, indices], [.integer("axis", 0)])
    let scales = builder.node("Gather", [table.scales, indices], [.integer("axis", 0)])
    let columns = builder.node("Unsqueeze", [scales, try builder.integers([-1])])
    // Blocks as long as a row: a scale for each.
    let product = builder.node(
      "DequantizeLinear", [rows, columns],
      [.integer("axis", -1), .integer("block_size", try weights[name]?.size(1) ?? 1)])
    builder.rename(product, to: node.output[0])
  }

  /// The initializers of a weight, made the first time.
  private mutating func written(_ name: String, axis: Int) throws -> Written {
    let channels = Channels(weight: name, axis: axis)
    if let known = quantizedWeights[channels] { return known }
    guard let weight = weights[name] else { throw ExportError("\(name) is no weight") }
    let isMultiplied = plan.products.contains { $0.weight == name && $0.axis == axis }
    let made = try QuantizedWeight(
      weight, axis: axis, largest: reducesRange && isMultiplied ? 64 : 127, least: leastScales[channels])
    let written = Written(
      numbers: builder.initializer("\(name)_quantized", made.numbers),
      scales: builder.initializer("\(name)_scale", made.scales),
      zeroPoints: builder.initializer("\(name)_zero_point", try Tensor.zeros(made.scales.shape, dtype: .int8)),
      scale: made.scales)
    quantizedWeights[channels] = written
    return written
  }
}

/// What of a model is computed in integers.
public struct QuantizationSummary: Encodable, Sendable, Equatable {
  /// Convolutions and products of matrices with a weight.
  public var products: Int
  /// Tables of embeddings.
  public var embeddings: Int
  /// Tensors between them.
  public var activations: Int
  /// The numbers of their weights, each counted once.
  public var weights: Int
}
