import Torch

/// One call of an operator while its ONNX form is made: what it was given, and where nodes go.
struct ONNXCall {
  typealias Count = RecordedGraph.Count

  let call: RecordedGraph.Call
  let graph: RecordedGraph
  let builder: ONNXGraphBuilder
  /// The name of a value in the ONNX graph.
  let name: (Int) throws -> String

  // MARK: Arguments

  func failure(_ message: String) -> ExportError {
    ExportError("\(call.name) cannot be said in ONNX as the model calls it: \(message)")
  }

  private func missing(_ argument: String) -> ExportError { failure("its argument '\(argument)' is of another kind") }

  func optionalValue(_ argument: String) -> Int? {
    if case .values(let values) = call.arguments[argument], values.count == 1 { values[0] } else { nil }
  }

  func value(_ argument: String) throws -> Int {
    guard let value = optionalValue(argument) else { throw missing(argument) }
    return value
  }

  func values(_ argument: String) throws -> [Int] {
    guard case .values(let values) = call.arguments[argument], values.allSatisfy({ $0 != nil }) else {
      throw missing(argument)
    }
    return values.compactMap(\.self)
  }

  func shape(_ argument: String) throws -> [Count] { graph.values[try value(argument)].shape }

  func dtype(_ argument: String) throws -> DType { graph.values[try value(argument)].dtype }

  /// What it gives, the first of it.
  var result: RecordedGraph.Value { graph.values[call.results[0]] }

  /// A whole number, or a number.
  func optionalNumber(_ argument: String) -> Double? {
    switch call.arguments[argument] {
    case .numbers(let numbers): numbers.first
    case .counts(let counts): counts.first?.fixed.map(Double.init)
    case .flags(let flags): flags.first.map { $0 ? 1 : 0 }
    default: nil
    }
  }

  func number(_ argument: String) throws -> Double {
    guard let number = optionalNumber(argument) else { throw missing(argument) }
    return number
  }

  func isGiven(_ argument: String) -> Bool {
    guard let given = call.arguments[argument] else { return false }
    return given != .none
  }

  func counts(_ argument: String) throws -> [Count] {
    guard case .counts(let counts) = call.arguments[argument] else { throw missing(argument) }
    return counts
  }

  func integers(_ argument: String) throws -> [Int] {
    try counts(argument).map { count in
      guard let number = count.fixed else { throw failure("'\(argument)' hangs on the number of examples") }
      return number
    }
  }

  func integer(_ argument: String) throws -> Int {
    guard let number = try integers(argument).first else { throw missing(argument) }
    return number
  }

  func flag(_ argument: String) throws -> Bool {
    guard case .flags(let flags) = call.arguments[argument], let flag = flags.first else { throw missing(argument) }
    return flag
  }

  func text(_ argument: String) throws -> String {
    guard case .text(let text) = call.arguments[argument] else { throw missing(argument) }
    return text
  }

  /// A dimension, counted from the front.
  func dimension(_ argument: String, rank: Int) throws -> Int {
    let number = try integer(argument)
    return number < 0 ? number + rank : number
  }

  /// Some dimensions counted from the front; all of them where none is given.
  func dimensions(_ argument: String, rank: Int) throws -> [Int] {
    guard isGiven(argument) else { return Array(0..<rank) }
    let numbers = try integers(argument)
    return numbers.isEmpty ? Array(0..<rank) : numbers.map { $0 < 0 ? $0 + rank : $0 }
  }

  /// A number for each of `count` dimensions, of which a single one stands for all; `default` where there is none.
  func spread(_ argument: String, _ count: Int, default: [Int]? = nil) throws -> [Int] {
    let numbers = try integers(argument)
    if numbers.isEmpty, let `default` { return `default` }
    guard numbers.count == 1 || numbers.count == count else { throw missing(argument) }
    return numbers.count == count ? numbers : Array(repeating: numbers[0], count: count)
  }

  // MARK: Nodes

  /// The name of a tensor that it was given.
  func input(_ argument: String) throws -> String { try name(value(argument)) }

  /// The same, as another type.
  func input(_ argument: String, as dtype: DType) throws -> String {
    cast(try input(argument), from: try self.dtype(argument), to: dtype)
  }

  /// The name of a tensor, empty where it was given none.
  func optionalInput(_ argument: String) throws -> String { try optionalValue(argument).map(name) ?? "" }

  func cast(_ name: String, from: DType, to: DType) -> String {
    from == to ? name : node("Cast", [name], [.integer("to", to.onnx.rawValue)])
  }

  func node(_ type: String, _ inputs: [String], _ attributes: [ONNXAttribute] = []) -> String {
    builder.node(type, inputs, attributes)
  }

  func scalar(_ number: Double, _ dtype: DType) throws -> String { try builder.scalar(number, dtype) }

  /// A tensor in the shape of the result.
  func reshapedToResult(_ name: String) throws -> String {
    let shape = result.shape
    let isSimple = shape.count { $0.fixed == nil } <= 1 && !shape.contains(.fixed(0))
    let target = isSimple ? try builder.integers(shape.map { $0.fixed ?? -1 }) : try builder.sizes(shape)
    return node("Reshape", [name, target])
  }

  func transposed(_ name: String, _ order: [Int]) -> String { node("Transpose", [name], [.integers("perm", order)]) }
}
