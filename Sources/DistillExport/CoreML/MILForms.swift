import Torch

/// What libtorch's operators are in programs for Core ML, in the operators of iOS 15.
enum MILForms: ExportForms {
  typealias Call = MILCall

  static let all: [String: Form] = [arithmetic, activations, comparisons, creations, shapes, layers, reductions]
    .reduce(into: [:]) { $0.merge($1) { first, _ in first } }

  // MARK: Element by element

  /// Operators that are one operation on one tensor, in the type of the result.
  private static func plain(_ names: [String: String]) -> [String: Form] {
    names.mapValues { type in { call in [try call.unary(type, try call.input("self", as: call.resultType))] } }
  }

  /// An operation on two tensors, in the type of the result.
  private static func binary(_ type: String) -> Form {
    { call in
      let result = call.resultType
      var other = try call.input("other", as: result)
      if let alpha = call.optionalNumber("alpha"), alpha != 1 { other = try call.binary("mul", other, alpha) }
      return [try call.binary(type, try call.input("self", as: result), other)]
    }
  }

  /// An operation on a tensor and a number, in the type of the result.
  private static func withNumber(_ type: String) -> Form {
    { call in
      let number = try call.number("other") * (call.optionalNumber("alpha") ?? 1)
      return [try call.binary(type, try call.input("self", as: call.resultType), number)]
    }
  }

  static let arithmetic: [String: Form] =
    plain([
      "aten::exp": "exp", "aten::sqrt": "sqrt", "aten::abs": "abs", "aten::round": "round", "aten::floor": "floor",
      "aten::ceil": "ceil", "aten::erf": "erf", "aten::sin": "sin", "aten::cos": "cos", "aten::sign": "sign",
    ]).merging([
      "aten::add.Tensor": binary("add"), "aten::sub.Tensor": binary("sub"), "aten::mul.Tensor": binary("mul"),
      "aten::div.Tensor": binary("real_div"), "aten::minimum": binary("minimum"), "aten::maximum": binary("maximum"),
      "aten::add.Scalar": withNumber("add"), "aten::sub.Scalar": withNumber("sub"),
      "aten::mul.Scalar": withNumber("mul"), "aten::div.Scalar": withNumber("real_div"),
      "aten::neg": { call in [try call.binary("mul", try call.input("self", as: call.resultType), -1)] },
      "aten::rsub.Scalar": { call in
        guard call.optionalNumber("alpha") ?? 1 == 1 else { throw call.failure("alpha is not 1") }
        let number = try call.builder.number(try call.number("other"), call.resultType)
        return [try call.binary("sub", number, try call.input("self", as: call.resultType))]
      },
      "aten::reciprocal": { call in
        [try call.binary("real_div", try call.builder.number(1, call.float), try call.input("self", as: call.float))]
      },
      "aten::rsqrt": { call in
        let root = try call.unary("sqrt", try call.input("self", as: call.float))
        return [try call.binary("real_div", try call.builder.number(1, call.float), root)]
      },
      "aten::log": { call in
        [
          try call.make(
            "log", ["x": .value(try call.input("self", as: call.float)), "epsilon": .number(0, call.float)])
        ]
      },
      "aten::pow.Tensor_Scalar": { call in
        let (input, exponent) = (try call.input("self", as: call.resultType), try call.number("exponent"))
        return [exponent == 2 ? try call.unary("square", input) : try call.binary("pow", input, exponent)]
      },
      "aten::logaddexp": { call in
        // m + log(exp(a − m) + exp(b − m)), with m the larger one.
        let (a, b) = (try call.input("self", as: call.float), try call.input("other", as: call.float))
        let most = try call.binary("maximum", a, b)
        let parts = try [a, b].map { try call.unary("exp", try call.binary("sub", $0, most)) }
        let sum = try call.binary("add", parts[0], parts[1])
        let logarithm = try call.make("log", ["x": .value(sum), "epsilon": .number(0, call.float)])
        return [try call.binary("add", most, logarithm)]
      },
      "aten::clamp": { call in
        var result = try call.input("self", as: call.resultType)
        if let least = call.optionalNumber("min") { result = try call.binary("maximum", result, least) }
        if let most = call.optionalNumber("max") { result = try call.binary("minimum", result, most) }
        return [result]
      },
    ]) { first, _ in first }

  // MARK: Activations

  /// min(max(x / 6 + 1 / 2, 0), 1)
  private static func hardSigmoid(_ call: MILCall) throws -> MILValue {
    try call.make(
      "sigmoid_hard",
      [
        "x": .value(try call.input("self")), "alpha": .number(1.0 / 6, call.float), "beta": .number(0.5, call.float),
      ])
  }

  static let activations: [String: Form] =
    plain([
      "aten::relu": "relu", "aten::relu6": "relu6", "aten::sigmoid": "sigmoid", "aten::tanh": "tanh",
      "aten::silu": "silu",
    ]).merging([
      "aten::hardsigmoid": { call in [try hardSigmoid(call)] },
      "aten::hardswish": { call in [try call.binary("mul", try call.input("self"), try hardSigmoid(call))] },
      "aten::hardtanh": { call in
        let bounded = try call.binary("maximum", try call.input("self"), try call.number("min_val"))
        return [try call.binary("minimum", bounded, try call.number("max_val"))]
      },
      "aten::leaky_relu": { call in
        [
          try call.make(
            "leaky_relu",
            ["x": .value(try call.input("self")), "alpha": .number(try call.number("negative_slope"), call.float)])
        ]
      },
      "aten::elu": { call in
        guard try call.number("scale") == 1, try call.number("input_scale") == 1 else {
          throw call.failure("it has a scale")
        }
        return [
          try call.make(
            "elu", ["x": .value(try call.input("self")), "alpha": .number(try call.number("alpha"), call.float)])
        ]
      },
      "aten::gelu": { call in
        let mode = try call.text("approximate") == "tanh" ? "TANH_APPROXIMATION" : "EXACT"
        return [try call.make("gelu", ["x": .value(try call.input("self")), "mode": .text(mode)])]
      },
      "aten::softplus": { call in
        // log(1 + exp(βx)) / β. From βx = 20 on libtorch gives x, which is the same in float32.
        let (input, beta) = (try call.input("self"), try call.number("beta"))
        guard beta != 1 else { return [try call.unary("softplus", input)] }
        let inner = try call.unary("softplus", try call.binary("mul", input, beta))
        return [try call.binary("real_div", inner, beta)]
      },
      "aten::softmax.int": { call in
        [try softmax(call, try call.input("self", as: call.float), along: try call.integer("dim"))]
      },
      "aten::log_softmax.int": { call in
        let input = try call.input("self", as: call.float)
        let axis = try call.dimension("dim", rank: input.shape.count)
        return [
          try call.binary("sub", input, try call.reduced("reduce_log_sum_exp", input, [axis], keeps: true))
        ]
      },
      "aten::dropout": { call in
        guard try !call.flag("train") else { throw call.failure("the model is being trained") }
        return [try call.input("input")]
      },
    ]) { first, _ in first }

  static func softmax(_ call: MILCall, _ input: MILValue, along axis: Int) throws -> MILValue {
    try call.make("softmax", ["x": .value(input), "axis": .integer(axis)], shape: input.shape, as: input.type)
  }

  // MARK: Comparisons

  private static func compared(_ type: String) -> Form {
    { call in
      let types = try ["self", "other"].map { call.builder.type(of: try call.dtype($0)) }
      let common = types.contains(where: \.isFloatingPoint) ? call.float : .int32
      return [
        try call.binary(type, try call.input("self", as: common), try call.input("other", as: common), as: .bool)
      ]
    }
  }

  private static func comparedWithNumber(_ type: String) -> Form {
    { call in
      let number = try call.number("other")
      let isWhole = try !call.dtype("self").isFloatingPoint && Int32(exactly: number) != nil
      return [try call.binary(type, try call.input("self", as: isWhole ? .int32 : call.float), number, as: .bool)]
    }
  }

  private static func logical(_ type: String) -> Form {
    { call in [try call.binary(type, try call.input("self", as: .bool), try call.input("other", as: .bool))] }
  }

  /// One of two tensors, of which at least one has the shape of the result.
  static func select(_ call: MILCall, _ condition: MILValue, _ yes: MILValue, _ no: MILValue) throws -> MILValue {
    let isBroadcast = yes.shape != call.resultShape && no.shape != call.resultShape
    return try call.make(
      "select",
      [
        "cond": .value(condition), "a": .value(isBroadcast ? try call.broadcast(yes, to: call.resultShape) : yes),
        "b": .value(no),
      ])
  }

  static let comparisons: [String: Form] = [
    "aten::eq.Tensor": compared("equal"), "aten::ne.Tensor": compared("not_equal"),
    "aten::gt.Tensor": compared("greater"), "aten::lt.Tensor": compared("less"),
    "aten::ge.Tensor": compared("greater_equal"), "aten::le.Tensor": compared("less_equal"),
    "aten::eq.Scalar": comparedWithNumber("equal"), "aten::ne.Scalar": comparedWithNumber("not_equal"),
    "aten::gt.Scalar": comparedWithNumber("greater"), "aten::lt.Scalar": comparedWithNumber("less"),
    "aten::ge.Scalar": comparedWithNumber("greater_equal"), "aten::le.Scalar": comparedWithNumber("less_equal"),
    "aten::logical_and": logical("logical_and"), "aten::logical_or": logical("logical_or"),
    "aten::logical_not": { call in [try call.unary("logical_not", try call.input("self", as: .bool))] },
    "aten::where.self": { call in
      let result = call.resultType
      return [
        try select(
          call, try call.input("condition", as: .bool), try call.input("self", as: result),
          try call.input("other", as: result))
      ]
    },
    "aten::masked_fill.Scalar": { call in
      let result = call.resultType
      let value = try call.builder.number(try call.number("value"), result)
      return [try select(call, try call.input("mask", as: .bool), value, try call.input("self", as: result))]
    },
  ]

  // MARK: Tensors from nothing

  private static func filled(_ number: Double) -> Form {
    { call in
      let tensor = try Tensor.full(call.resultShape, number, dtype: call.resultType.isFloatingPoint ? .float32 : .int32)
      return [
        try call.cast(try call.builder.constant(tensor, named: "filled"), to: call.resultType)
      ]
    }
  }

  static let creations: [String: Form] = [
    "aten::zeros": filled(0), "aten::zeros_like": filled(0), "aten::ones": filled(1), "aten::ones_like": filled(1),
    "aten::full": { call in try filled(try call.number("fill_value"))(call) },
    "aten::one_hot": { call in
      let input = try call.input("self", as: .int32)
      let column = try call.reshaped(input, to: input.shape + [1])
      let classes = try Tensor((0..<(call.resultShape.last ?? 0)).map(Int64.init))
      let isIt = try call.binary("equal", column, try call.builder.constant(classes, named: "classes"), as: .bool)
      return [try call.cast(isIt, to: call.resultType)]
    },
  ]
}
