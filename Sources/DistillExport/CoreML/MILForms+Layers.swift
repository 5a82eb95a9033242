import Torch

extension MILForms {
  // MARK: Products

  private static let convolution: Form = { call in
    let (input, weight) = (try call.input("input"), try call.input("weight"))
    let count = weight.shape.count - 2
    guard count >= 1 else { throw call.failure("its weight has no window") }
    if call.isGiven("transposed"), try call.flag("transposed") { throw call.failure("it is transposed") }
    let padding = try call.spread("padding", count)
    let bias =
      try call.optionalInput("bias")
      ?? call.builder.constant(Tensor.zeros([weight.shape[0]]), named: "no_bias")
    return [
      try call.make(
        "conv",
        [
          "x": .value(input), "weight": .value(weight), "bias": .value(bias),
          "strides": .integers(try call.spread("stride", count)), "pad_type": .text("custom"),
          "pad": .integers(padding.flatMap { [$0, $0] }),
          "dilations": .integers(try call.spread("dilation", count)), "groups": .integer(try call.integer("groups")),
        ])
    ]
  }

  private static func linear(_ call: MILCall) throws -> MILValue {
    let (input, weight) = (try call.input("input"), try call.input("weight"))
    let bias =
      try call.optionalInput("bias")
      ?? call.builder.constant(Tensor.zeros([weight.shape[0]]), named: "no_bias")
    // Core ML's own layer takes weights that stay, and at most rows of rows.
    let isOwn = try call.graph.values[call.value("weight")].constant != nil
    guard isOwn, input.shape.count <= 3 else {
      return try call.binary("add", try call.product(input, weight, transposesY: true), bias)
    }
    return try call.make(
      "linear", ["x": .value(input), "weight": .value(weight), "bias": .value(bias)],
      shape: input.shape.dropLast() + [weight.shape[0]])
  }

  /// softmax(Q Kᵀ · scale + mask) V; rows that may attend to nothing give zeros.
  private static let attention: Form = { call in
    let (query, key, value) = (try call.input("query"), try call.input("key"), try call.input("value"))
    guard try call.number("dropout_p") == 0 else { throw call.failure("it has dropout") }
    guard try !call.flag("enable_gqa") else { throw call.failure("groups of queries share keys") }
    let (rows, columns) = (query.shape[query.shape.count - 2], key.shape[key.shape.count - 2])
    let scale = call.optionalNumber("scale") ?? 1 / Double(query.shape[query.shape.count - 1]).squareRoot()
    let scaled = try call.binary("mul", query, scale)
    var scores = try call.product(scaled, key, transposesY: true)
    /// 1 where attention is allowed.
    var allowed: MILValue?
    if try call.flag("is_causal") {
      let below = (0..<rows).flatMap { row in (0..<columns).map { Float($0 <= row ? 0 : -1e30) } }
      // Each row may attend to a place at least, so that no share is to be taken back.
      let mask = try Tensor(below, shape: [rows, columns]).clamped(from: call.float == .float16 ? -6e4 : -1e30)
      scores = try call.binary("add", scores, try call.builder.constant(mask, named: "causal_mask"))
    } else if call.isGiven("attn_mask") {
      if try call.dtype("attn_mask") == .bool {
        let mask = try call.input("attn_mask", as: call.float)
        allowed = mask
        let penalty = try call.binary("mul", try call.binary("sub", mask, 1), call.float == .float16 ? 6e4 : 1e30)
        scores = try call.binary("add", scores, penalty)
      } else {
        scores = try call.binary("add", scores, try call.input("attn_mask", as: call.float))
      }
    }
    var shares = try softmax(call, scores, along: -1)
    if let allowed { shares = try call.binary("mul", shares, allowed) }
    return [try call.product(shares, value)]
  }

  // MARK: Pooling

  private static func pool(_ type: String, _ count: Int) -> Form {
    { call in
      let kernel = try call.spread("kernel_size", count)
      guard try !call.flag("ceil_mode") else { throw call.failure("it rounds sizes up") }
      guard !call.isGiven("divisor_override") else { throw call.failure("it divides by another number") }
      if type == "max_pool", try call.spread("dilation", count).contains(where: { $0 != 1 }) {
        throw call.failure("its window has holes")
      }
      let excludes = type == "avg_pool" ? try !call.flag("count_include_pad") : false
      return [
        try pool(
          call, type, try call.input("self"), kernel, stride: try call.spread("stride", count, default: kernel),
          padding: try call.spread("padding", count), excludesPadding: excludes, shape: call.resultShape)
      ]
    }
  }

  private static func pool(
    _ call: MILCall, _ type: String, _ input: MILValue, _ kernel: [Int], stride: [Int], padding: [Int],
    excludesPadding: Bool, shape: [Int]
  ) throws -> MILValue {
    let gives = [(shape: shape, type: input.type)]
    let pad = padding.flatMap { [$0, $0] }
    guard type == "avg_pool" else {
      return try call.builder.add(
        type,
        [
          "x": .value(input), "kernel_sizes": .integers(kernel), "strides": .integers(stride),
          "pad_type": .text("custom"), "pad": .integers(pad), "ceil_mode": .flag(false),
        ], gives: gives)[0]
    }
    return try call.builder.add(
      type,
      [
        "x": .value(input), "kernel_sizes": .integers(kernel), "strides": .integers(stride),
        "pad_type": .text("custom"), "pad": .integers(pad), "ceil_mode": .flag(false),
        "exclude_padding_from_average": .flag(excludesPadding),
      ], gives: gives)[0]
  }

  /// The mean, or the maximum, of equal parts.
  private static func adaptivePool(_ type: String, _ count: Int) -> Form {
    { call in
      let input = try call.input("self")
      let new = try call.spread("output_size", count)
      let old = Array(input.shape.suffix(count))
      let axes = Array(input.shape.count - count..<input.shape.count)
      if new.allSatisfy({ $0 == 1 }) {
        return [try call.reduced(type == "avg_pool" ? "reduce_mean" : "reduce_max", input, axes, keeps: true)]
      }
      if zip(old, new).allSatisfy({ $0 % $1 == 0 }) {
        let kernel = zip(old, new).map { $0 / $1 }
        return [
          try pool(
            call, type, input, kernel, stride: kernel, padding: kernel.map { _ in 0 }, excludesPadding: false,
            shape: input.shape.dropLast(count) + new)
        ]
      }
      guard type == "avg_pool" else { throw call.failure("\(old) is not parted evenly into \(new)") }
      // Parts that overlap: a matrix from the right for columns, and one from the left for rows.
      let columns = try PoolingMatrix.means(of: old[count - 1], in: new[count - 1], along: 0)
      var result = try call.product(input, try call.builder.constant(columns, named: "pooling"))
      if count == 2 {
        let rows = try PoolingMatrix.means(of: old[0], in: new[0], along: 1)
        result = try call.product(try call.builder.constant(rows, named: "pooling"), result)
      }
      return [result]
    }
  }

  // MARK: Normalization

  /// x · scale + shift, with a number of each for every channel.
  private static func line(_ call: MILCall, _ input: MILValue, _ scale: Tensor, _ shift: Tensor) throws -> MILValue {
    let shape = [1, input.shape[1]] + Array(repeating: 1, count: input.shape.count - 2)
    func numbers(_ tensor: Tensor, _ name: String) throws -> MILValue {
      try call.builder.constant(tensor.to(.float32).reshaped(shape), named: name)
    }
    return try call.binary(
      "add", try call.binary("mul", input, try numbers(scale, "scale")), try numbers(shift, "shift"))
  }

  private static func optionalConstant(_ call: MILCall, _ name: String) throws -> Tensor? {
    call.isGiven(name) ? try call.constant(name) : nil
  }

  /// A tensor without its mean over some dimensions, divided by its deviation.
  private static func standardized(
    _ call: MILCall, _ input: MILValue, _ axes: [Int], gamma: MILValue? = nil, beta: MILValue? = nil
  ) throws -> MILValue {
    let sizes = axes.map { input.shape[$0] }
    let weight = try gamma ?? call.builder.constant(Tensor.ones(sizes), named: "ones")
    let bias = try beta ?? call.builder.constant(Tensor.zeros(sizes), named: "zeros")
    return try call.make(
      "layer_norm",
      [
        "x": .value(input), "axes": .integers(axes), "gamma": .value(weight), "beta": .value(bias),
        "epsilon": .number(try call.number("eps"), call.float),
      ], shape: input.shape)
  }

  static let layers: [String: Form] = [
    "aten::conv1d": convolution, "aten::conv2d": convolution, "aten::convolution": convolution,
    "distill::convolution": convolution,
    "aten::linear": { call in [try linear(call)] },
    "distill::linear": { call in [try linear(call)] },
    "distill::linear_relu": { call in [try call.unary("relu", try linear(call))] },
    "aten::matmul": { call in [try call.product(try call.input("self"), try call.input("other"))] },
    "aten::scaled_dot_product_attention": attention,
    "aten::max_pool1d": pool("max_pool", 1), "aten::max_pool2d": pool("max_pool", 2),
    "aten::avg_pool1d": pool("avg_pool", 1), "aten::avg_pool2d": pool("avg_pool", 2),
    "aten::adaptive_avg_pool1d": adaptivePool("avg_pool", 1),
    "aten::adaptive_avg_pool2d": adaptivePool("avg_pool", 2),
    "aten::adaptive_max_pool2d": adaptivePool("max_pool", 2),
    "aten::upsample_nearest2d": { call in
      let input = try call.input("self")
      let new = try call.spread("output_size", 2)
      let old = input.shape.suffix(2)
      guard zip(new, old).allSatisfy({ $0 % $1 == 0 }) else { throw call.failure("\(new) is no multiple of \(old)") }
      let times = zip(new, old).map { $0 / $1 }
      return [
        try call.make(
          "upsample_nearest_neighbor",
          [
            "x": .value(input), "scale_factor_height": .integer(times[0]), "scale_factor_width": .integer(times[1]),
          ])
      ]
    },
    "aten::batch_norm": { call in
      guard try !call.flag("training") else { throw call.failure("the model is being trained") }
      let (scale, shift) = try ExportGraph.line(
        mean: call.constant("running_mean"), variance: call.constant("running_var"),
        weight: optionalConstant(call, "weight"), bias: optionalConstant(call, "bias"), epsilon: call.number("eps"))
      return [try line(call, try call.input("input"), scale, shift)]
    },
    "aten::layer_norm": { call in
      let input = try call.input("input")
      let count = try call.integers("normalized_shape").count
      return [
        try standardized(
          call, input, Array(input.shape.count - count..<input.shape.count), gamma: try call.optionalInput("weight"),
          beta: try call.optionalInput("bias"))
      ]
    },
    "aten::group_norm": { call in
      let input = try call.input("input")
      let groups = try call.integer("num_groups")
      let rows = try call.reshaped(input, to: [1, groups, input.shape.reduce(1, *) / groups])
      let normalized = try call.reshaped(try standardized(call, rows, [2]), to: input.shape)
      let (weight, bias) = (try optionalConstant(call, "weight"), try optionalConstant(call, "bias"))
      guard weight != nil || bias != nil else { return [normalized] }
      let channels = input.shape[1]
      return [try line(call, normalized, weight ?? .ones([channels]), bias ?? .zeros([channels]))]
    },
    "aten::embedding": { call in
      [
        try call.make(
          "gather",
          [
            "x": .value(try call.input("weight")), "indices": .value(try call.input("indices", as: .int32)),
            "axis": .integer(0),
          ])
      ]
    },
  ]
}
