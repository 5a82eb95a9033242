import Torch

extension ONNXForms {
  /// A node that takes the dimensions as an input.
  private static func reduced(_ type: String) -> Form {
    { call in
      let rank = try call.shape("self").count
      let axes = try call.builder.integers(try call.dimensions("dim", rank: rank))
      let keeps = try call.isGiven("keepdim") && call.flag("keepdim")
      return [
        call.node(
          type, [try call.input("self", as: call.result.dtype), axes], [.integer("keepdims", keeps ? 1 : 0)])
      ]
    }
  }

  static let reductions: [String: Form] = [
    "aten::sum": reduced("ReduceSum"), "aten::sum.dim_IntList": reduced("ReduceSum"),
    "aten::mean": reduced("ReduceMean"), "aten::mean.dim": reduced("ReduceMean"), "aten::amax": reduced("ReduceMax"),
    "aten::amin": reduced("ReduceMin"), "aten::logsumexp": reduced("ReduceLogSumExp"),
    "aten::linalg_vector_norm": { call in
      switch try call.number("ord") {
      case 1: return try reduced("ReduceL1")(call)
      case 2: return try reduced("ReduceL2")(call)
      default: throw call.failure("it is a norm of another order than 1 and 2")
      }
    },
    "aten::var.correction": { call in
      let shape = try call.shape("self")
      let dimensions = try call.dimensions("dim", rank: shape.count)
      let sizes = dimensions.compactMap { shape[$0].fixed }
      let correction = call.optionalNumber("correction") ?? 1
      let count = Double(sizes.reduce(1, *))
      guard sizes.count == dimensions.count, count > correction else { throw call.failure("it is over the batch") }
      let input = try call.input("self")
      let axes = try call.builder.integers(dimensions)
      let mean = call.node("ReduceMean", [input, axes], [.integer("keepdims", 1)])
      let apart = call.node("Sub", [input, mean])
      let square = call.node("Mul", [apart, apart])
      let variance = call.node("ReduceMean", [square, axes], [.integer("keepdims", try call.flag("keepdim") ? 1 : 0)])
      guard correction != 0 else { return [variance] }
      return [call.node("Mul", [variance, try call.scalar(count / (count - correction), call.result.dtype)])]
    },
    "aten::argmax": { call in
      guard call.isGiven("dim") else { throw call.failure("it is over all dimensions") }
      return [
        call.node(
          "ArgMax", [try call.input("self")],
          [.integer("axis", try call.integer("dim")), .integer("keepdims", try call.flag("keepdim") ? 1 : 0)])
      ]
    },
    "aten::cumsum": { call in
      let axis = try call.builder.integer(try call.integer("dim"))
      return [call.node("CumSum", [try call.input("self", as: call.result.dtype), axis])]
    },
    "aten::topk": { call in
      call.builder.add(
        "TopK", [try call.input("self"), try call.builder.integers([try call.integer("k")])],
        [
          .integer("axis", try call.integer("dim")), .integer("largest", try call.flag("largest") ? 1 : 0),
          .integer("sorted", 1),
        ], outputs: 2)
    },
  ]
}
