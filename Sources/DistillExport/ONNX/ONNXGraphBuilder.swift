import Foundation
import SwiftProtobuf
import Torch

/// An ONNX graph while it is built: nodes in their order, and the numbers that they are given.
final class ONNXGraphBuilder {
  typealias Count = RecordedGraph.Count

  /// A tensor that stands in the file.
  struct Initializer {
    var name: String
    var tensor: Tensor
  }

  private(set) var nodes: [Onnx_NodeProto] = []
  private(set) var initializers: [Initializer] = []
  private var used: Set<String> = []
  private var small: [String: String] = [:]
  /// The number of examples as a vector of one number, once somebody has asked for it.
  private var batch: String?
  /// The name of the graph's input, from whose shape the number of examples is known.
  private let input: String

  init(input: String, output: String) {
    self.input = input
    used = [input, output]
  }

  /// A name that nothing else has: the one given, or that with a number.
  func unique(_ name: String) -> String {
    if used.insert(name).inserted { return name }
    var number = 1
    while !used.insert("\(name)_\(number)").inserted { number += 1 }
    return "\(name)_\(number)"
  }

  /// Adds a node.
  ///
  /// - Parameter inputs: names; an empty one stands for an input that is left out
  /// - Returns: the names of its outputs
  func add(
    _ type: String, _ inputs: [String], _ attributes: [ONNXAttribute] = [], outputs: Int = 1
  ) -> [String] {
    var node = Onnx_NodeProto()
    node.opType = type
    node.name = unique(type)
    node.input = inputs
    while node.input.last == "" { node.input.removeLast() }
    node.output = (0..<outputs).map { unique(outputs == 1 ? "\(node.name)_output" : "\(node.name)_output\($0)") }
    node.attribute = attributes.map(\.proto)
    nodes.append(node)
    return node.output
  }

  /// Adds a node with one output.
  func node(_ type: String, _ inputs: [String], _ attributes: [ONNXAttribute] = []) -> String {
    add(type, inputs, attributes)[0]
  }

  /// Whether a node gives it.
  func isMade(_ name: String) -> Bool { nodes.contains { $0.output.contains(name) } }

  /// Gives the output of a node another name.
  func rename(_ old: String, to new: String) {
    for place in nodes.indices {
      nodes[place].input = nodes[place].input.map { $0 == old ? new : $0 }
      nodes[place].output = nodes[place].output.map { $0 == old ? new : $0 }
    }
  }

  /// Takes all nodes out, to be put back with others among them.
  func takeNodes() -> [Onnx_NodeProto] {
    defer { nodes = [] }
    return nodes
  }

  func put(_ node: Onnx_NodeProto) { nodes.append(node) }

  /// Drops nodes and initializers from which no output is made.
  func dropUnread(outputs: Set<String>) {
    var read = outputs
    nodes = nodes.reversed().filter { node in
      guard node.output.contains(where: read.contains) else { return false }
      read.formUnion(node.input)
      return true
    }.reversed()
    initializers = initializers.filter { read.contains($0.name) }
  }

  // MARK: Numbers

  func initializer(_ name: String, _ tensor: Tensor) -> String {
    let name = unique(name)
    initializers.append(Initializer(name: name, tensor: tensor))
    return name
  }

  /// A vector of whole numbers.
  func integers(_ numbers: [Int]) throws -> String {
    try shared("integers \(numbers)") { initializer("integers", try Tensor(numbers)) }
  }

  /// A whole number of no dimension.
  func integer(_ number: Int) throws -> String {
    try shared("integer \(number)") { initializer("integer", try Tensor([number], shape: [])) }
  }

  /// A number of no dimension.
  func scalar(_ number: Double, _ dtype: DType) throws -> String {
    try shared("scalar \(number) \(dtype)") {
      // Whole numbers go from int64, which has all of them.
      let tensor = try dtype.isFloatingPoint ? Tensor([number], shape: []) : Tensor([number.whole], shape: [])
      return initializer("number", try tensor.to(dtype))
    }
  }

  private func shared(_ key: String, _ make: () throws -> String) rethrows -> String {
    if let name = small[key] { return name }
    let name = try make()
    small[key] = name
    return name
  }

  /// A vector of sizes, of which some may hang on the number of examples.
  func sizes(_ counts: [Count]) throws -> String {
    let fixed = counts.compactMap(\.fixed)
    if fixed.count == counts.count { return try integers(fixed) }
    let parts = try counts.map { count in
      switch count {
      case .fixed(let number): return try integers([number])
      case .perExample(let factor):
        let batch = examples()
        return factor == 1 ? batch : node("Mul", [batch, try integers([factor])])
      }
    }
    return parts.count == 1 ? parts[0] : node("Concat", parts, [.integer("axis", 0)])
  }

  private func examples() -> String {
    if let batch { return batch }
    let made = node("Shape", [input], [.integer("start", 0), .integer("end", 1)])
    batch = made
    return made
  }
}

/// An attribute of a node.
enum ONNXAttribute {
  case integer(String, Int)
  case integers(String, [Int])
  case number(String, Double)
  case text(String, String)

  var proto: Onnx_AttributeProto {
    var proto = Onnx_AttributeProto()
    switch self {
    case .integer(let name, let value): (proto.name, proto.type, proto.i) = (name, .int, Int64(value))
    case .integers(let name, let values): (proto.name, proto.type, proto.ints) = (name, .ints, values.map(Int64.init))
    case .number(let name, let value): (proto.name, proto.type, proto.f) = (name, .float, Float(value))
    case .text(let name, let value): (proto.name, proto.type, proto.s) = (name, .string, Data(value.utf8))
    }
    return proto
  }
}

extension DType {
  /// The number that ONNX gives the type.
  var onnx: Onnx_TensorProto.DataType {
    switch self {
    case .uint8: .uint8
    case .int8: .int8
    case .int16: .int16
    case .int32: .int32
    case .int64: .int64
    case .float16: .float16
    case .float32: .float
    case .float64: .double
    case .bool: .bool
    case .bfloat16: .bfloat16
    }
  }
}
