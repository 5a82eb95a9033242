import Torch
import TorchNN

/// What a model computes, with names for its weights, as exporters read it and change it.
struct ExportGraph {
  typealias Count = RecordedGraph.Count

  private(set) var graph: RecordedGraph
  /// The keys of weights, by the numbers of the values that they are.
  private(set) var names: [Int: String]
  /// How many normalizations are in the layer before them.
  private(set) var foldedNormalizations = 0

  /// - Parameter inputs: a batch as those that will come; its numbers make no difference
  /// - Throws: `ExportError` when what the model computes hangs on what it sees.
  init(of model: any Layer, like inputs: Tensor) throws {
    do {
      graph = try model.withMode(training: false) { try RecordedGraph(like: inputs) { [try model($0)] } }
    } catch let error as TorchError {
      throw ExportError("the model cannot be exported: \(error)")
    }
    let keys = Dictionary(
      model.state.map { ($0.tensor.identity, $0.name) }
    ) { first, _ in first }
    names = [:]
    for (number, value) in graph.values.enumerated() {
      if let constant = value.constant, let key = keys[constant.identity] { names[number] = key }
    }
  }

  /// The same, with batch normalization folded into the layer before it: always, never, or for nil where that gives the same
  /// numbers, to 1e-5 of the largest.
  init(of model: any Layer, like inputs: Tensor, foldsNormalization: Bool?) throws {
    try self.init(of: model, like: inputs)
    if try foldsNormalization ?? Self.foldsExactly(model, inputs) { try foldNormalizations() }
  }

  private static func foldsExactly(_ model: any Layer, _ inputs: Tensor) throws -> Bool {
    guard model.namedModules.contains(where: { $0.module is BatchNorm }) else { return false }
    return try model.withMode(training: false) {
      // A model that cannot be planned is left as it is.
      let plan = try? FrozenPlan(like: inputs, channelsLast: false) { [try model($0)] }
      return try plan.map { try $0.deviation() <= 1e-5 } ?? false
    }
  }

  /// The calls that read each value.
  private var readers: [Int: [Int]] {
    var readers: [Int: [Int]] = [:]
    for (place, call) in graph.calls.enumerated() {
      for value in call.arguments.values.flatMap(\.references) { readers[value, default: []].append(place) }
    }
    return readers
  }

  private mutating func add(_ constant: Tensor, named name: String?) -> RecordedGraph.Argument {
    let number = graph.add(constant)
    names[number] = name
    return .values([number])
  }

  /// Takes each batch normalization into the convolution or linear layer before it, where nobody else reads that:
  ///
  ///     W′ = W · γ / √(σ² + ε),   b′ = (b − μ) · γ / √(σ² + ε) + β
  ///
  /// computed in float64.
  mutating func foldNormalizations() throws {
    let readers = readers
    let outputs = Set(graph.outputs)
    var gone: Set<Int> = []
    for (place, call) in graph.calls.enumerated() where Self.products.contains(call.name) {
      guard call.results.count == 1, !outputs.contains(call.results[0]),
        let next = readers[call.results[0]], next.count == 1,
        let folded = try fold(graph.calls[next[0]], into: call)
      else { continue }
      graph.calls[place] = folded
      gone.insert(next[0])
      foldedNormalizations += 1
    }
    // What stood in the normalization's place is now computed earlier, which is where all of it is known.
    graph.calls = graph.calls.enumerated().filter { !gone.contains($0.offset) }.map(\.element)
  }

  private static let products: Set = [
    "aten::conv1d", "aten::conv2d", "aten::convolution", "distill::convolution", "aten::linear", "distill::linear",
  ]

  private mutating func fold(
    _ normalization: RecordedGraph.Call, into product: RecordedGraph.Call
  ) throws -> RecordedGraph.Call? {
    guard normalization.name == "aten::batch_norm" else { return nil }
    let (reader, own) = (Reader(graph: graph, call: normalization), Reader(graph: graph, call: product))
    guard reader.flag("training") == false, own.flag("transposed") != true,
      reader.value("input") == product.results[0], let epsilon = reader.number("eps"),
      let weight = own.constant("weight"), weight.rank >= 2, weight.dtype == .float32,
      own.isConstantOrNone("bias"), reader.isConstantOrNone("weight"), reader.isConstantOrNone("bias"),
      let mean = reader.constant("running_mean"), let variance = reader.constant("running_var")
    else { return nil }
    // A linear layer over more than rows has its features last, and a normalization the channels second.
    guard product.name.contains("conv") || graph.values[product.results[0]].shape.count == 2 else { return nil }
    let (scale, shift) = try Self.line(
      mean: mean, variance: variance, weight: reader.constant("weight"), bias: reader.constant("bias"), epsilon: epsilon
    )
    let bias = try own.constant("bias").map { try Self.precise($0) * scale + shift } ?? shift
    let rows = [weight.shape[0]] + Array(repeating: 1, count: weight.rank - 1)
    let newWeight = try (Self.precise(weight) * scale.reshaped(rows)).to(.float32)
    let name = own.value("weight").flatMap { names[$0] }
    var folded = product
    folded.arguments["weight"] = add(newWeight, named: name)
    folded.arguments["bias"] = add(
      try bias.to(.float32), named: name.map { $0.hasSuffix("weight") ? $0.dropLast(6) + "bias" : "\($0).bias" })
    folded.results = normalization.results
    return folded
  }
}

extension ExportGraph {
  private static func precise(_ tensor: Tensor) throws -> Tensor { try tensor.detached().to(.float64) }

  /// A batch normalization in evaluation as x · scale + shift, in float64:
  ///
  ///     scale = γ / √(σ² + ε),   shift = β − μ · scale
  static func line(
    mean: Tensor, variance: Tensor, weight: Tensor?, bias: Tensor?, epsilon: Double
  ) throws -> (scale: Tensor, shift: Tensor) {
    var scale = try (precise(variance) + epsilon).power(-0.5)
    if let weight { scale = try scale * precise(weight) }
    let shift = try -(precise(mean) * scale)
    return (scale, try bias.map { try shift + precise($0) } ?? shift)
  }
}

/// Reads the arguments of a call, where missing is no failure.
private struct Reader {
  let graph: RecordedGraph
  let call: RecordedGraph.Call

  func value(_ name: String) -> Int? {
    if case .values(let values) = call.arguments[name], values.count == 1 { values[0] } else { nil }
  }

  func constant(_ name: String) -> Tensor? { value(name).flatMap { graph.values[$0].constant } }

  func isConstantOrNone(_ name: String) -> Bool { value(name) == nil || constant(name) != nil }

  func flag(_ name: String) -> Bool? {
    if case .flags(let flags) = call.arguments[name] { flags.first } else { nil }
  }

  func number(_ name: String) -> Double? {
    if case .numbers(let numbers) = call.arguments[name] { numbers.first } else { nil }
  }
}
