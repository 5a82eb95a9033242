import Torch

extension ONNXForms {
  // MARK: Products

  private static let convolution: Form = { call in
    let weight = try call.shape("weight").compactMap(\.fixed)
    let count = weight.count - 2
    guard count >= 1, try call.shape("weight").count == weight.count else { throw call.failure("its weight changes") }
    if call.isGiven("transposed"), try call.flag("transposed") { throw call.failure("it is transposed") }
    let padding = try call.spread("padding", count)
    return [
      call.node(
        "Conv", [try call.input("input"), try call.input("weight"), try call.optionalInput("bias")],
        [
          .integers("kernel_shape", Array(weight.suffix(count))),
          .integers("strides", try call.spread("stride", count)),
          .integers("pads", padding + padding), .integers("dilations", try call.spread("dilation", count)),
          .integer("group", try call.integer("groups")),
        ])
    ]
  }

  private static func linear(_ call: ONNXCall) throws -> String {
    let (input, weight) = (try call.input("input"), try call.input("weight"))
    let bias = try call.optionalInput("bias")
    if try call.shape("input").count == 2 {
      return call.node("Gemm", [input, weight, bias], [.integer("transB", 1)])
    }
    let product = call.node("MatMul", [input, call.transposed(weight, [1, 0])])
    return bias.isEmpty ? product : call.node("Add", [product, bias])
  }

  /// softmax(Q Kᵀ · scale + mask) V; rows that may attend to nothing give zeros.
  private static let attention: Form = { call in
    let (query, key) = (try call.shape("query"), try call.shape("key"))
    guard try call.number("dropout_p") == 0 else { throw call.failure("it has dropout") }
    guard try !call.flag("enable_gqa") else { throw call.failure("groups of queries share keys") }
    guard let depth = query.last?.fixed, let rows = query.dropLast().last?.fixed,
      let columns = key.dropLast().last?.fixed
    else { throw call.failure("its queries and keys have sizes that change") }
    let dtype = call.result.dtype
    let scale = call.optionalNumber("scale") ?? 1 / Double(depth).squareRoot()
    var order = Array(0..<key.count)
    order.swapAt(key.count - 2, key.count - 1)
    let scaled = call.node("Mul", [try call.input("query"), try call.scalar(scale, dtype)])
    var scores = call.node("MatMul", [scaled, call.transposed(try call.input("key"), order)])
    var allowed: String?
    if try call.flag("is_causal") {
      let triangle = (0..<rows).flatMap { row in (0..<columns).map { $0 <= row } }
      allowed = call.builder.initializer("causal_mask", try Tensor(triangle, shape: [rows, columns]))
    } else if call.isGiven("attn_mask") {
      let mask = try call.input("attn_mask")
      if try call.dtype("attn_mask") == .bool { allowed = mask } else { scores = call.node("Add", [scores, mask]) }
    }
    guard let allowed else {
      let shares = call.node("Softmax", [scores], [.integer("axis", -1)])
      return [call.node("MatMul", [shares, try call.input("value")])]
    }
    let little = try call.scalar(dtype == .float16 ? -6e4 : -1e30, dtype)
    let shares = call.node("Softmax", [call.node("Where", [allowed, scores, little])], [.integer("axis", -1)])
    let masked = call.node("Where", [allowed, shares, try call.scalar(0, dtype)])
    return [call.node("MatMul", [masked, try call.input("value")])]
  }

  // MARK: Pooling

  private static func pool(_ type: String, _ count: Int) -> Form {
    { call in
      let kernel = try call.spread("kernel_size", count)
      let padding = try call.spread("padding", count)
      guard try !call.flag("ceil_mode") else { throw call.failure("it rounds sizes up") }
      guard !call.isGiven("divisor_override") else { throw call.failure("it divides by another number") }
      var attributes: [ONNXAttribute] = [
        .integers("kernel_shape", kernel), .integers("strides", try call.spread("stride", count, default: kernel)),
        .integers("pads", padding + padding),
      ]
      if type == "AveragePool" {
        attributes.append(.integer("count_include_pad", try call.flag("count_include_pad") ? 1 : 0))
      } else {
        attributes.append(.integers("dilations", try call.spread("dilation", count)))
      }
      return [call.node(type, [try call.input("self")], attributes)]
    }
  }

  /// The mean, or the maximum, of equal parts.
  private static func adaptivePool(_ type: String, _ count: Int) -> Form {
    { call in
      let new = try call.spread("output_size", count)
      let old = try call.shape("self").suffix(count).map { size in
        guard let size = size.fixed else { throw call.failure("its input has a size that changes") }
        return size
      }
      let input = try call.input("self")
      if new.allSatisfy({ $0 == 1 }) { return [call.node("Global\(type)", [input])] }
      if zip(old, new).allSatisfy({ $0 % $1 == 0 }) {
        let kernel = zip(old, new).map { $0 / $1 }
        return [call.node(type, [input], [.integers("kernel_shape", kernel), .integers("strides", kernel)])]
      }
      guard type == "AveragePool" else { throw call.failure("\(old) is not parted evenly into \(new)") }
      // Parts that overlap: a matrix from the left for rows, and one from the right for columns.
      var result = input
      let columns = try call.builder.initializer(
        "pooling", PoolingMatrix.means(of: old[count - 1], in: new[count - 1], along: 0))
      result = call.node("MatMul", [result, columns])
      if count == 2 {
        result = call.node(
          "MatMul",
          [call.builder.initializer("pooling", try PoolingMatrix.means(of: old[0], in: new[0], along: 1)), result])
      }
      return [result]
    }
  }

  // MARK: Normalization

  /// A parameter of a normalization, or so many ones or zeros.
  private static func parameter(_ call: ONNXCall, _ name: String, _ shape: [Int], _ value: Double) throws -> String {
    try call.isGiven(name)
      ? call.input(name) : call.builder.initializer(name, Tensor.full(shape, value, dtype: call.result.dtype))
  }

  private static func channels(_ call: ONNXCall) throws -> Int {
    let shape = try call.shape("input")
    guard shape.count >= 2, let channels = shape[1].fixed else { throw call.failure("its input has no channels") }
    return channels
  }

  // MARK: Recurrence

  /// A stack of LSTM (`gates` 4) or GRU (3) layers, a node for each. ONNX has the gates in another order, time before the
  /// batch, and a dimension for directions.
  private static func recurrent(_ type: String, gates: [Int], states: [String]) -> Form {
    { call in
      guard try !call.flag("train"), try call.flag("batch_first") else {
        throw call.failure("the model is being trained, or has time before the batch")
      }
      let (layers, hasBias) = (try call.integer("num_layers"), try call.flag("has_biases"))
      let directions = try call.flag("bidirectional") ? 2 : 1
      let each = hasBias ? 4 : 2
      let weights = try call.values("params").map { value in
        guard let tensor = call.graph.values[value].constant else { throw call.failure("its weights change") }
        return try tensor.detached()
      }
      let given = try call.values("hx")
      guard weights.count == layers * directions * each, given.count == states.count else {
        throw call.failure("it has \(weights.count) weights")
      }
      let hidden = try weights[1].size(1)
      /// Rows of a weight in the order that ONNX has them.
      func ordered(_ tensor: Tensor) throws -> Tensor {
        try .concatenated(gates.map { try tensor.sliced(0, from: $0 * hidden, to: ($0 + 1) * hidden) })
      }
      func stacked(_ layer: Int, _ place: Int) throws -> Tensor {
        try .stacked((0..<directions).map { try ordered(weights[(layer * directions + $0) * each + place]) })
      }
      var sequence = call.transposed(try call.input("input"), [1, 0, 2])
      var last = states.map { _ in [String]() }
      let axis = try call.builder.integers([0])
      for layer in 0..<layers {
        let bias =
          try hasBias
          ? call.builder.initializer("bias", .concatenated([stacked(layer, 2), stacked(layer, 3)], along: 1)) : ""
        let bounds = try [layer, layer + 1].map { try call.builder.integers([$0 * directions]) }
        let starts = try given.map { call.node("Slice", [try call.written($0), bounds[0], bounds[1], axis]) }
        var attributes: [ONNXAttribute] = [
          .integer("hidden_size", hidden), .text("direction", directions == 2 ? "bidirectional" : "forward"),
        ]
        if type == "GRU" { attributes.append(.integer("linear_before_reset", 1)) }
        let inputs = [
          sequence, call.builder.initializer("weight_ih", try stacked(layer, 0)),
          call.builder.initializer("weight_hh", try stacked(layer, 1)), bias, "",
        ]
        let outputs = call.builder.add(type, inputs + starts, attributes, outputs: states.count + 1)
        for place in states.indices { last[place].append(outputs[place + 1]) }
        // [L, directions, N, hidden] → [L, N, directions · hidden]
        let joined = call.transposed(outputs[0], [0, 2, 1, 3])
        sequence = call.node("Reshape", [joined, try call.builder.integers([0, 0, directions * hidden])])
      }
      return [call.transposed(sequence, [1, 0, 2])]
        + last.map { $0.count == 1 ? $0[0] : call.node("Concat", $0, [.integer("axis", 0)]) }
    }
  }

  static let layers: [String: Form] = [
    "aten::conv1d": convolution, "aten::conv2d": convolution, "aten::convolution": convolution,
    "distill::convolution": convolution,
    "aten::linear": { call in [try linear(call)] },
    "distill::linear": { call in [try linear(call)] },
    "distill::linear_relu": { call in [call.node("Relu", [try linear(call)])] },
    "aten::matmul": { call in [call.node("MatMul", [try call.input("self"), try call.input("other")])] },
    "aten::scaled_dot_product_attention": attention,
    "aten::max_pool1d": pool("MaxPool", 1), "aten::max_pool2d": pool("MaxPool", 2),
    "aten::avg_pool1d": pool("AveragePool", 1), "aten::avg_pool2d": pool("AveragePool", 2),
    "aten::adaptive_avg_pool1d": adaptivePool("AveragePool", 1),
    "aten::adaptive_avg_pool2d": adaptivePool("AveragePool", 2),
    "aten::adaptive_max_pool2d": { call in
      // Where the maxima stood, which is the second result, nobody asks.
      try adaptivePool("MaxPool", 2)(call)
    },
    "aten::upsample_nearest2d": { call in
      let size = try call.builder.integers(try call.spread("output_size", 2))
      return [
        call.node(
          "Resize", [try call.input("self"), "", "", size],
          [
            .integers("axes", [2, 3]), .text("mode", "nearest"), .text("nearest_mode", "floor"),
            .text("coordinate_transformation_mode", "asymmetric"),
          ])
      ]
    },
    "aten::batch_norm": { call in
      guard try !call.flag("training") else { throw call.failure("the model is being trained") }
      let shape = [try channels(call)]
      let inputs = [
        try call.input("input"), try parameter(call, "weight", shape, 1), try parameter(call, "bias", shape, 0),
        try call.input("running_mean"), try call.input("running_var"),
      ]
      return [call.node("BatchNormalization", inputs, [.number("epsilon", try call.number("eps"))])]
    },
    "aten::layer_norm": { call in
      let shape = try call.integers("normalized_shape")
      let inputs = [
        try call.input("input"), try parameter(call, "weight", shape, 1), try call.optionalInput("bias"),
      ]
      return [
        call.node(
          "LayerNormalization", inputs, [.integer("axis", -shape.count), .number("epsilon", try call.number("eps"))])
      ]
    },
    "aten::group_norm": { call in
      let shape = [try channels(call)]
      let inputs = [
        try call.input("input"), try parameter(call, "weight", shape, 1), try parameter(call, "bias", shape, 0),
      ]
      return [
        call.node(
          "GroupNormalization", inputs,
          [.integer("num_groups", try call.integer("num_groups")), .number("epsilon", try call.number("eps"))])
      ]
    },
    "aten::embedding": { call in
      [call.node("Gather", [try call.input("weight"), try call.input("indices")], [.integer("axis", 0)])]
    },
    "aten::lstm.input": recurrent("LSTM", gates: [0, 3, 1, 2], states: ["hidden", "cell"]),
    "aten::gru.input": recurrent("GRU", gates: [1, 0, 2], states: ["hidden"]),
  ]
}
