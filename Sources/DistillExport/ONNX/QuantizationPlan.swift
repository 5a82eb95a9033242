import Torch

/// Which tensors of an ONNX graph are quantized, so that ONNX Runtime computes the products between them in integers.
///
/// A product is a `Conv`, `Gemm` or `MatMul` whose weight is a weight of the model. What it reads is quantized. What a
/// convolution gives, after the `Relu` or `Clip` that is computed with it, is quantized too, since the integer kernel gives
/// integers. Between products integers go on through what moves or picks them (`MaxPool`, `Reshape`, …), and through what has
/// an integer kernel of its own (`Add`, `Mul`, `Sigmoid`, …), as long as all that it reads, and what it gives, is quantized.
/// All else stays float32 and reads the numbers as they were before they were quantized: so the sums along the layers of a
/// transformer, normalization, attention's own products, and the outputs of the model.
struct QuantizationPlan {
  /// From what the range of a tensor is known.
  enum Range: Equatable {
    /// What the value of this number was seen to be.
    case observed(Int)
    case known(lowest: Double, highest: Double)
  }

  struct Product {
    enum Kind { case convolution, gemm, matMul }

    var kind: Kind
    /// The place of the node.
    var node: Int
    var input: String
    /// An initializer.
    var weight: String
    /// The dimension of the initializer that counts the output channels.
    var axis: Int
    /// Whether a `Transpose` stands between weight and product.
    var isTransposed = false
    var bias: String?
  }

  private(set) var products: [Product] = []
  /// By the places of their nodes.
  var productsByNode: [Int: Product] { Dictionary(uniqueKeysWithValues: products.map { ($0.node, $0) }) }
  /// The places of nodes that look rows of a weight up.
  private(set) var lookups: [Int] = []
  /// The tensors that are quantized.
  private(set) var ranges: [String: Range] = [:]
  /// Those that come out of an integer kernel, so that all their readers read integers.
  private(set) var integers: Set<String> = []

  private let nodes: [Onnx_NodeProto]
  private let outputs: Set<String>
  /// The numbers of the model's values, by the names of tensors that stand for them.
  private let observable: [String: Int]
  private var readers: [String: [Int]] = [:]
  private var makers: [String: Int] = [:]

  /// - Parameters:
  ///   - nodes: in an order in which they can be computed
  ///   - output: what the graph gives
  ///   - initializers: the names of all
  ///   - weights: those that are weights of the model
  ///   - observable: float32 values of the model by the names of tensors that stand for them
  init(
    nodes: [Onnx_NodeProto], output: String, initializers: Set<String>, weights: [String: Tensor],
    observable: [String: Int]
  ) {
    self.nodes = nodes
    outputs = [output]
    self.observable = observable
    for (place, node) in nodes.enumerated() {
      for name in node.input { readers[name, default: []].append(place) }
      for name in node.output { makers[name] = place }
    }
    for (place, node) in nodes.enumerated() {
      if let product = product(at: place, weights) {
        products.append(product)
      } else if node.opType == "Gather", node.integer("axis") ?? 0 == 0, weights[node.input[0]]?.rank == 2,
        weights[node.input[0]]?.dtype == .float32, !initializers.contains(node.input[1])
      {
        lookups.append(place)
      }
    }
    for product in products {
      ranges[product.input] = observable[product.input].map { Range.observed($0) }
      if product.kind == .convolution {
        let result = activated(nodes[product.node].output[0])
        ranges[result] = observable[result].map { Range.observed($0) }
      }
    }
    reachBack()
    reachOn()
    // What nobody reads as integers is not quantized.
    let read = integers.union(products.map(\.input))
    ranges = ranges.filter { read.contains($0.key) }
  }

  // MARK: Products

  private func product(at place: Int, _ weights: [String: Tensor]) -> Product? {
    let node = nodes[place]
    func isWeight(_ name: String, rank: ClosedRange<Int>) -> Bool {
      weights[name].map { $0.dtype == .float32 && rank.contains($0.rank) && $0.count > 0 } ?? false
    }
    guard node.input.count >= 2, weights[node.input[0]] == nil, observable[node.input[0]] != nil else { return nil }
    let (input, weight) = (node.input[0], node.input[1])
    let bias = node.input.count > 2 && !node.input[2].isEmpty ? node.input[2] : nil
    if let bias, !isWeight(bias, rank: 1...1) { return nil }
    switch node.opType {
    case "Conv":
      guard isWeight(weight, rank: 3...5), !outputs.contains(node.output[0]),
        observable[activated(node.output[0])] != nil
      else { return nil }
      return Product(kind: .convolution, node: place, input: input, weight: weight, axis: 0, bias: bias)
    case "Gemm":
      guard isWeight(weight, rank: 2...2) else { return nil }
      let axis = node.integer("transB") ?? 0 == 1 ? 0 : 1
      return Product(kind: .gemm, node: place, input: input, weight: weight, axis: axis, bias: bias)
    case "MatMul":
      if isWeight(weight, rank: 2...2) {
        return Product(kind: .matMul, node: place, input: input, weight: weight, axis: 1)
      }
      guard let maker = makers[weight], nodes[maker].opType == "Transpose", nodes[maker].integers("perm") == [1, 0],
        isWeight(nodes[maker].input[0], rank: 2...2)
      else { return nil }
      return Product(
        kind: .matMul, node: place, input: input, weight: nodes[maker].input[0], axis: 0, isTransposed: true)
    default: return nil
    }
  }

  /// What comes out of the activation that an integer kernel computes by cutting its integers off: `Relu` or `Clip`, where
  /// nobody else reads what it is given. Without one the name itself.
  private func activated(_ name: String) -> String {
    guard !outputs.contains(name), let reader = readers[name], reader.count == 1 else { return name }
    let node = nodes[reader[0]]
    guard Self.cuttingOff.contains(node.opType), node.input[0] == name, !outputs.contains(node.output[0]),
      observable[node.output[0]] != nil
    else { return name }
    return node.output[0]
  }

  // MARK: Between products

  private static let cuttingOff: Set = ["Relu", "Clip"]
  /// Nodes that give the numbers that they are given, in another order, or some of them.
  private static let moving: Set = ["Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"]
  private static let picking: Set = ["MaxPool"]
  private static let pooling: Set = ["GlobalAveragePool", "AveragePool", "ReduceMean"]
  /// Nodes with an integer kernel of their own.
  private static let computing: Set = [
    "Add", "Mul", "Concat", "LeakyRelu", "GlobalAveragePool", "AveragePool", "ReduceMean",
  ]

  /// From what is quantized to what it is made from.
  private mutating func reachBack() {
    for node in nodes.reversed() {
      guard let input = node.input.first, let output = node.output.first, let range = ranges[output],
        ranges[input] == nil, makers[input] != nil, !outputs.contains(input)
      else { continue }
      if Self.moving.contains(node.opType), readers[input]?.count == 1 {
        // Moved as integers, of which there are a quarter as many bytes.
        ranges[input] = range
        integers.insert(input)
      } else if Self.picking.contains(node.opType) || Self.pooling.contains(node.opType) {
        ranges[input] = observable[input].map { Range.observed($0) }
      }
    }
  }

  /// From integers to what is made of them.
  private mutating func reachOn() {
    let products = productsByNode
    for (place, node) in nodes.enumerated() {
      guard let output = node.output.first, node.output.count == 1 else { continue }
      if products[place] != nil {
        let result = activated(output)
        if ranges[result] != nil { integers.insert(result) }
        continue
      }
      guard let input = node.input.first, !outputs.contains(output), integers.contains(input) else { continue }
      if Self.moving.contains(node.opType) || Self.picking.contains(node.opType) {
        ranges[output] = ranges[input]
        integers.insert(output)
      } else if node.opType == "Sigmoid" {
        ranges[output] = .known(lowest: 0, highest: 1)
        integers.insert(output)
      } else if Self.computing.contains(node.opType), node.input.allSatisfy(integers.contains) {
        let result = activated(output)
        if ranges[result] != nil { integers.insert(result) }
      }
    }
  }
}

extension Onnx_NodeProto {
  func integer(_ name: String) -> Int? { attribute.first { $0.name == name }.map { Int($0.i) } }

  func integers(_ name: String) -> [Int]? { attribute.first { $0.name == name }.map { $0.ints.map { Int($0) } } }
}
