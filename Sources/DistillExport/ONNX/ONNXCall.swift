import Torch

/// One call of an operator while its ONNX form is made: what it was given, and where nodes go.
struct ONNXCall: ExportedCall {
  static let format = "ONNX"

  let call: RecordedGraph.Call
  let graph: RecordedGraph
  let builder: ONNXGraphBuilder
  /// The name of a value in the ONNX graph.
  let written: (Int) throws -> String

  func known(_ count: Count) -> Int? { count.fixed }

  // MARK: Nodes

  /// The name of a tensor that it was given, as another type.
  func input(_ argument: String, as dtype: DType) throws -> String {
    cast(try input(argument), from: try self.dtype(argument), to: dtype)
  }

  /// The name of a tensor, empty where it was given none.
  func optionalInput(_ argument: String) throws -> String { try optionalValue(argument).map(written) ?? "" }

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
