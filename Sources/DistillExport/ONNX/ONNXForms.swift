import Torch

/// What libtorch's operators are in ONNX.
enum ONNXForms: ExportForms {
  typealias Call = ONNXCall

  static let all: [String: Form] = [arithmetic, activations, comparisons, shapes, layers, reductions, creations]
    .reduce(into: [:]) { $0.merge($1) { first, _ in first } }

  /// Operators that are one node of one input, in the type of the result.
  static func plain(_ names: [String: String]) -> [String: Form] {
    names.mapValues { type in { call in [call.node(type, [try call.input("self", as: call.result.dtype)])] } }
  }

  // MARK: Element by element

  /// A node of two tensors, in the type of the result.
  private static func binary(_ type: String) -> Form {
    { call in
      let dtype = call.result.dtype
      return [call.node(type, [try call.input("self", as: dtype), try scaled(call, dtype)])]
    }
  }

  /// A node of a tensor and a number, in the type of the result.
  private static func withNumber(_ type: String, reversed: Bool = false) -> Form {
    { call in
      let dtype = call.result.dtype
      let number = try call.number("other") * (call.optionalNumber("alpha") ?? 1)
      let tensor = try call.input("self", as: dtype)
      let other = try call.scalar(number, dtype)
      return [call.node(type, reversed ? [other, tensor] : [tensor, other])]
    }
  }

  /// `other`, times `alpha` where there is one.
  private static func scaled(_ call: ONNXCall, _ dtype: DType) throws -> String {
    let other = try call.input("other", as: dtype)
    let alpha = call.optionalNumber("alpha") ?? 1
    return alpha == 1 ? other : call.node("Mul", [other, try call.scalar(alpha, dtype)])
  }

  static let arithmetic: [String: Form] =
    plain([
      "aten::exp": "Exp", "aten::log": "Log", "aten::sqrt": "Sqrt", "aten::abs": "Abs", "aten::neg": "Neg",
      "aten::reciprocal": "Reciprocal", "aten::round": "Round", "aten::floor": "Floor", "aten::ceil": "Ceil",
      "aten::erf": "Erf", "aten::sin": "Sin", "aten::cos": "Cos", "aten::sign": "Sign",
    ]).merging([
      "aten::add.Tensor": binary("Add"), "aten::sub.Tensor": binary("Sub"), "aten::mul.Tensor": binary("Mul"),
      "aten::div.Tensor": binary("Div"), "aten::minimum": binary("Min"), "aten::maximum": binary("Max"),
      "aten::add.Scalar": withNumber("Add"), "aten::sub.Scalar": withNumber("Sub"),
      "aten::mul.Scalar": withNumber("Mul"), "aten::div.Scalar": withNumber("Div"),
      "aten::rsub.Scalar": { call in
        guard call.optionalNumber("alpha") ?? 1 == 1 else { throw call.failure("alpha is not 1") }
        return try withNumber("Sub", reversed: true)(call)
      },
      "aten::pow.Tensor_Scalar": { call in
        let dtype = call.result.dtype
        return [
          call.node("Pow", [try call.input("self", as: dtype), try call.scalar(try call.number("exponent"), dtype)])
        ]
      },
      "aten::rsqrt": { call in
        [call.node("Reciprocal", [call.node("Sqrt", [try call.input("self", as: call.result.dtype)])])]
      },
      "aten::logaddexp": { call in
        // m + log(exp(a − m) + exp(b − m)), with m the larger one.
        let dtype = call.result.dtype
        let (a, b) = (try call.input("self", as: dtype), try call.input("other", as: dtype))
        let most = call.node("Max", [a, b])
        let sum = call.node("Add", [a, b].map { call.node("Exp", [call.node("Sub", [$0, most])]) })
        return [call.node("Add", [most, call.node("Log", [sum])])]
      },
      "aten::clamp": { call in
        let dtype = call.result.dtype
        let bounds = try ["min", "max"].map { try call.optionalNumber($0).map { try call.scalar($0, dtype) } ?? "" }
        return [call.node("Clip", [try call.input("self", as: dtype)] + bounds)]
      },
    ]) { first, _ in first }

  // MARK: Activations

  static let activations: [String: Form] =
    plain(["aten::relu": "Relu", "aten::sigmoid": "Sigmoid", "aten::tanh": "Tanh", "aten::hardswish": "HardSwish"])
    .merging([
      "aten::relu6": { call in
        let dtype = call.result.dtype
        return [call.node("Clip", [try call.input("self"), try call.scalar(0, dtype), try call.scalar(6, dtype)])]
      },
      "aten::hardtanh": { call in
        let bounds = try ["min_val", "max_val"].map { try call.scalar(try call.number($0), call.result.dtype) }
        return [call.node("Clip", [try call.input("self")] + bounds)]
      },
      "aten::hardsigmoid": { call in
        [call.node("HardSigmoid", [try call.input("self")], [.number("alpha", 1.0 / 6), .number("beta", 0.5)])]
      },
      "aten::leaky_relu": { call in
        [call.node("LeakyRelu", [try call.input("self")], [.number("alpha", try call.number("negative_slope"))])]
      },
      "aten::elu": { call in
        guard try call.number("scale") == 1, try call.number("input_scale") == 1 else {
          throw call.failure("it has a scale")
        }
        return [call.node("Elu", [try call.input("self")], [.number("alpha", try call.number("alpha"))])]
      },
      "aten::gelu": { call in
        [call.node("Gelu", [try call.input("self")], [.text("approximate", try call.text("approximate"))])]
      },
      "aten::silu": { call in
        let input = try call.input("self")
        return [call.node("Mul", [input, call.node("Sigmoid", [input])])]
      },
      "aten::softplus": { call in
        // log(1 + exp(βx)) / β. From βx = 20 on libtorch gives x, which is the same in float32.
        let (dtype, beta) = (call.result.dtype, try call.number("beta"))
        let input = try call.input("self")
        guard beta != 1 else { return [call.node("Softplus", [input])] }
        let inner = call.node("Softplus", [call.node("Mul", [input, try call.scalar(beta, dtype)])])
        return [call.node("Div", [inner, try call.scalar(beta, dtype)])]
      },
      "aten::softmax.int": { call in
        [
          call.node(
            "Softmax", [try call.input("self", as: call.result.dtype)], [.integer("axis", try call.integer("dim"))])
        ]
      },
      "aten::log_softmax.int": { call in
        [
          call.node(
            "LogSoftmax", [try call.input("self", as: call.result.dtype)], [.integer("axis", try call.integer("dim"))])
        ]
      },
      "aten::dropout": { call in
        guard try !call.flag("train") else { throw call.failure("the model is being trained") }
        return [try call.input("input")]
      },
    ]) { first, _ in first }

  // MARK: Comparisons

  /// The type in which two things are compared: that of those that float, where one does, else int64.
  private static func comparable(_ types: [DType]) -> DType {
    types.filter(\.isFloatingPoint).max { $0.byteCount < $1.byteCount } ?? .int64
  }

  private static func compared(_ type: String, negated: Bool = false) -> Form {
    { call in
      let dtype = comparable([try call.dtype("self"), try call.dtype("other")])
      let result = call.node(type, [try call.input("self", as: dtype), try call.input("other", as: dtype)])
      return [negated ? call.node("Not", [result]) : result]
    }
  }

  private static func comparedWithNumber(_ type: String, negated: Bool = false) -> Form {
    { call in
      let number = try call.number("other")
      let own = comparable([try call.dtype("self")])
      let dtype = own == .int64 && Int(exactly: number) == nil ? DType.float32 : own
      let result = call.node(type, [try call.input("self", as: dtype), try call.scalar(number, dtype)])
      return [negated ? call.node("Not", [result]) : result]
    }
  }

  private static func logical(_ type: String) -> Form {
    { call in [call.node(type, [try call.input("self", as: .bool), try call.input("other", as: .bool)])] }
  }

  static let comparisons: [String: Form] = [
    "aten::eq.Tensor": compared("Equal"), "aten::ne.Tensor": compared("Equal", negated: true),
    "aten::gt.Tensor": compared("Greater"), "aten::lt.Tensor": compared("Less"),
    "aten::ge.Tensor": compared("GreaterOrEqual"), "aten::le.Tensor": compared("LessOrEqual"),
    "aten::eq.Scalar": comparedWithNumber("Equal"), "aten::ne.Scalar": comparedWithNumber("Equal", negated: true),
    "aten::gt.Scalar": comparedWithNumber("Greater"), "aten::lt.Scalar": comparedWithNumber("Less"),
    "aten::ge.Scalar": comparedWithNumber("GreaterOrEqual"), "aten::le.Scalar": comparedWithNumber("LessOrEqual"),
    "aten::logical_and": logical("And"), "aten::logical_or": logical("Or"),
    "aten::logical_not": { call in [call.node("Not", [try call.input("self", as: .bool)])] },
    "aten::where.self": { call in
      let dtype = call.result.dtype
      return [
        call.node(
          "Where",
          [
            try call.input("condition", as: .bool), try call.input("self", as: dtype),
            try call.input("other", as: dtype),
          ])
      ]
    },
    "aten::masked_fill.Scalar": { call in
      let dtype = call.result.dtype
      return [
        call.node(
          "Where",
          [
            try call.input("mask", as: .bool), try call.scalar(try call.number("value"), dtype),
            try call.input("self", as: dtype),
          ])
      ]
    },
  ]

  // MARK: Tensors from nothing

  private static func filled(_ number: Double) -> Form {
    { call in
      [call.node("Expand", [try call.scalar(number, call.result.dtype), try call.builder.sizes(call.result.shape)])]
    }
  }

  static let creations: [String: Form] = [
    "aten::zeros": filled(0), "aten::zeros_like": filled(0), "aten::ones": filled(1), "aten::ones_like": filled(1),
    "aten::full": { call in try filled(try call.number("fill_value"))(call) },
    "aten::one_hot": { call in
      let values = try call.builder.integers([0, 1])
      let depth = try call.builder.integer(try call.integer("num_classes"))
      return [call.node("OneHot", [try call.input("self", as: .int64), depth, values], [.integer("axis", -1)])]
    },
  ]
}
