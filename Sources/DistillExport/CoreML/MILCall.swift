import Torch

/// One call of an operator while its form in a program for Core ML is made. The batch is of one example.
struct MILCall: ExportedCall {
  static let format = "Core ML"

  let call: RecordedGraph.Call
  let graph: RecordedGraph
  let builder: MILBuilder
  let written: (Int) throws -> MILValue

  func known(_ count: Count) -> Int? { size(count) }

  private func size(_ count: Count) -> Int {
    switch count {
    case .fixed(let size): size
    case .perExample(let factor): factor
    }
  }

  func sizes(_ counts: [Count]) -> [Int] { counts.map(size) }

  // MARK: What it gives

  var float: MILType { builder.float }

  var resultShape: [Int] { sizes(result.shape) }

  var resultType: MILType { builder.type(of: result.dtype) }

  /// The shape and type of every result.
  var results: [(shape: [Int], type: MILType)] {
    call.results.map { (sizes(graph.values[$0].shape), builder.type(of: graph.values[$0].dtype)) }
  }

  // MARK: What it is given

  /// A tensor that it was given, as another type.
  func input(_ argument: String, as type: MILType) throws -> MILValue { try cast(try input(argument), to: type) }

  func optionalInput(_ argument: String) throws -> MILValue? { try optionalValue(argument).map(written) }

  /// The numbers of a tensor that are the same for every input.
  func constant(_ argument: String) throws -> Tensor {
    guard let tensor = graph.values[try value(argument)].constant else {
      throw failure("its argument '\(argument)' hangs on the input")
    }
    return tensor
  }

  // MARK: Operations

  /// An operation with one result: without a shape and a type, those of the call's.
  func make(
    _ type: String, _ inputs: KeyValuePairs<String, MILBuilder.Input>, shape: [Int]? = nil, as result: MILType? = nil
  ) throws -> MILValue {
    try builder.add(type, inputs, gives: [(shape ?? resultShape, result ?? resultType)])[0]
  }

  func cast(_ value: MILValue, to type: MILType) throws -> MILValue { try builder.cast(value, to: type) }

  /// An operation on two tensors that are broadcast, in their type.
  func binary(_ type: String, _ x: MILValue, _ y: MILValue, as result: MILType? = nil) throws -> MILValue {
    try make(
      type, ["x": .value(x), "y": .value(y)], shape: broadcastShape(x.shape, y.shape) ?? resultShape,
      as: result ?? x.type)
  }

  /// An operation on a tensor and a number.
  func binary(_ type: String, _ x: MILValue, _ number: Double, as result: MILType? = nil) throws -> MILValue {
    try binary(type, x, try builder.number(number, x.type), as: result)
  }

  /// An operation on one tensor that keeps shape and type.
  func unary(_ type: String, _ x: MILValue) throws -> MILValue {
    try make(type, ["x": .value(x)], shape: x.shape, as: x.type)
  }

  func reshaped(_ value: MILValue, to shape: [Int]) throws -> MILValue {
    guard value.shape != shape else { return value }
    return try make("reshape", ["x": .value(value), "shape": .integers(shape)], shape: shape, as: value.type)
  }

  func transposed(_ value: MILValue, _ order: [Int]) throws -> MILValue {
    guard order != Array(order.indices) else { return value }
    return try make(
      "transpose", ["x": .value(value), "perm": .integers(order)], shape: order.map { value.shape[$0] }, as: value.type)
  }

  /// A tensor as often as a larger shape asks for.
  func broadcast(_ value: MILValue, to shape: [Int]) throws -> MILValue {
    let full = try reshaped(value, to: Array(repeating: 1, count: shape.count - value.shape.count) + value.shape)
    let times = zip(shape, full.shape).map { $1 == 1 ? $0 : 1 }
    guard times.contains(where: { $0 != 1 }) else { return full }
    return try make("tile", ["x": .value(full), "reps": .integers(times)], shape: shape, as: value.type)
  }

  func product(_ x: MILValue, _ y: MILValue, transposesY: Bool = false) throws -> MILValue {
    guard x.shape.count >= 2, y.shape.count >= 2 else { throw failure("it multiplies vectors") }
    let columns = transposesY ? y.shape[y.shape.count - 2] : y.shape[y.shape.count - 1]
    let batch = broadcastShape(Array(x.shape.dropLast(2)), Array(y.shape.dropLast(2))) ?? []
    return try make(
      "matmul",
      ["x": .value(x), "y": .value(y), "transpose_x": .flag(false), "transpose_y": .flag(transposesY)],
      shape: batch + [x.shape[x.shape.count - 2], columns], as: x.type)
  }

  /// A reduction over some dimensions.
  func reduced(_ type: String, _ x: MILValue, _ axes: [Int], keeps: Bool) throws -> MILValue {
    let shape = x.shape.enumerated().compactMap { place, size in axes.contains(place) ? (keeps ? 1 : nil) : size }
    return try make(
      type, ["x": .value(x), "axes": .integers(axes), "keep_dims": .flag(keeps)], shape: shape, as: x.type)
  }

  private func broadcastShape(_ one: [Int], _ other: [Int]) -> [Int]? {
    let count = max(one.count, other.count)
    let padded = [one, other].map { Array(repeating: 1, count: count - $0.count) + $0 }
    let sizes = zip(padded[0], padded[1]).map { $0 == $1 || $1 == 1 ? $0 : $0 == 1 ? $1 : -1 }
    return sizes.contains(-1) ? nil : sizes
  }
}
