import Torch

extension MILForms {
  private static func reduced(_ type: String) -> Form {
    { call in
      let input = try call.input("self", as: call.resultType)
      let axes = try call.dimensions("dim", rank: input.shape.count)
      return [
        try call.reduced(type, input, axes, keeps: try call.isGiven("keepdim") && call.flag("keepdim"))
      ]
    }
  }

  static let reductions: [String: Form] = [
    "aten::sum": reduced("reduce_sum"), "aten::sum.dim_IntList": reduced("reduce_sum"),
    "aten::mean": reduced("reduce_mean"), "aten::mean.dim": reduced("reduce_mean"), "aten::amax": reduced("reduce_max"),
    "aten::amin": reduced("reduce_min"), "aten::logsumexp": reduced("reduce_log_sum_exp"),
    "aten::linalg_vector_norm": { call in
      switch try call.number("ord") {
      case 1: return try reduced("reduce_l1_norm")(call)
      case 2: return try reduced("reduce_l2_norm")(call)
      default: throw call.failure("it is a norm of another order than 1 and 2")
      }
    },
    "aten::var.correction": { call in
      let input = try call.input("self")
      let axes = try call.dimensions("dim", rank: input.shape.count)
      let count = Double(axes.map { input.shape[$0] }.reduce(1, *))
      let correction = call.optionalNumber("correction") ?? 1
      guard count > correction else { throw call.failure("it is over one number") }
      let mean = try call.reduced("reduce_mean", input, axes, keeps: true)
      let square = try call.unary("square", try call.binary("sub", input, mean))
      let variance = try call.reduced("reduce_mean", square, axes, keeps: try call.flag("keepdim"))
      return [correction == 0 ? variance : try call.binary("mul", variance, count / (count - correction))]
    },
    "aten::argmax": { call in
      guard call.isGiven("dim") else { throw call.failure("it is over all dimensions") }
      let input = try call.input("self")
      return [
        try call.make(
          "reduce_argmax",
          [
            "x": .value(input), "axis": .integer(try call.dimension("dim", rank: input.shape.count)),
            "keep_dims": .flag(try call.flag("keepdim")),
          ])
      ]
    },
    "aten::cumsum": { call in
      let input = try call.input("self", as: call.resultType)
      return [
        try call.make(
          "cumsum",
          [
            "x": .value(input), "axis": .integer(try call.dimension("dim", rank: input.shape.count)),
            "exclusive": .flag(false), "reverse": .flag(false),
          ])
      ]
    },
    "aten::topk": { call in
      let input = try call.input("self")
      return try call.builder.add(
        "topk",
        [
          "x": .value(input), "k": .integer(try call.integer("k")),
          "axis": .integer(try call.dimension("dim", rank: input.shape.count)),
          "ascending": .flag(try !call.flag("largest")),
        ], gives: call.results)
    },
  ]
}
