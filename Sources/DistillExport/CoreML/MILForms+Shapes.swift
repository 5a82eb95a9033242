import Torch

extension MILForms {
  private static let reshaped: Form = { call in [try call.reshaped(try call.input("self"), to: call.resultShape)] }

  /// Another type; all is on one device.
  private static let converted: Form = { call in [try call.input("self", as: call.resultType)] }

  /// Parts along a dimension, as large as the results are.
  private static let split: Form = { call in
    let input = try call.input("self")
    let axis = try call.dimension("dim", rank: input.shape.count)
    let results = call.results
    return try call.builder.add(
      "split",
      ["x": .value(input), "split_sizes": .integers(results.map { $0.shape[axis] }), "axis": .integer(axis)],
      gives: results)
  }

  /// The places of one dimension from, to and by a step.
  private static func slice(
    _ call: MILCall, _ input: MILValue, axis: Int, from start: Int, to end: Int, by step: Int = 1
  ) throws -> MILValue {
    let others = input.shape.indices.map { $0 != axis }
    var shape = input.shape
    shape[axis] = max(0, (end - start + step - 1) / step)
    return try call.make(
      "slice_by_index",
      [
        "x": .value(input), "begin": .integers(others.map { $0 ? 0 : start }),
        "end": .integers(others.enumerated().map { $1 ? input.shape[$0] : end }),
        "stride": .integers(others.map { $0 ? 1 : step }), "begin_mask": .flags(others), "end_mask": .flags(others),
      ], shape: shape)
  }

  private static func scattered(_ call: MILCall, _ updates: MILValue) throws -> MILValue {
    let input = try call.input("self", as: call.resultType)
    return try call.make(
      "scatter_along_axis",
      [
        "data": .value(input), "indices": .value(try call.input("index", as: .int32)), "updates": .value(updates),
        "axis": .integer(try call.dimension("dim", rank: input.shape.count)), "mode": .text("update"),
      ])
  }

  /// Tensors along a dimension, one after the other.
  private static let joined: Form = { call in
    let parts = try call.values("tensors").map { try call.cast(try call.written($0), to: call.resultType) }
    let axis = try call.dimension("dim", rank: call.resultShape.count)
    return [
      try call.make("concat", ["values": .values(parts), "axis": .integer(axis), "interleave": .flag(false)])
    ]
  }

  static let shapes: [String: Form] = [
    "aten::reshape": reshaped, "aten::view": reshaped, "aten::flatten.using_ints": reshaped,
    "aten::unsqueeze": reshaped,
    "aten::squeeze": reshaped, "aten::squeeze.dim": reshaped, "aten::squeeze.dims": reshaped,
    "aten::_unsafe_view": reshaped,
    "aten::contiguous": same("self"), "aten::clone": same("self"), "aten::detach": same("self"),
    "aten::to.dtype": converted, "aten::to.device": converted, "aten::to.other": converted,
    "aten::to.dtype_layout": converted,
    "aten::transpose.int": { call in
      let input = try call.input("self")
      let rank = input.shape.count
      var order = Array(0..<rank)
      order.swapAt(try call.dimension("dim0", rank: rank), try call.dimension("dim1", rank: rank))
      return [try call.transposed(input, order)]
    },
    "aten::permute": { call in
      let input = try call.input("self")
      return [try call.transposed(input, try call.dimensions("dims", rank: input.shape.count))]
    },
    "aten::expand": { call in [try call.broadcast(try call.input("self"), to: call.resultShape)] },
    "aten::slice.Tensor": { call in
      let input = try call.input("self")
      let axis = try call.dimension("dim", rank: input.shape.count)
      let size = input.shape[axis]
      func place(_ name: String, _ unset: Int) throws -> Int {
        guard call.isGiven(name) else { return unset }
        let number = try call.integer(name)
        return min(max(number < 0 ? number + size : number, 0), size)
      }
      let step = call.isGiven("step") ? try call.integer("step") : 1
      return [
        try slice(call, input, axis: axis, from: try place("start", 0), to: try place("end", size), by: step)
      ]
    },
    "aten::select.int": { call in
      let input = try call.input("self")
      let axis = try call.dimension("dim", rank: input.shape.count)
      let index = try call.integer("index")
      let place = index < 0 ? index + input.shape[axis] : index
      let row = try slice(call, input, axis: axis, from: place, to: place + 1)
      return [try call.reshaped(row, to: call.resultShape)]
    },
    "aten::index_select": { call in
      let input = try call.input("self")
      return [
        try call.make(
          "gather",
          [
            "x": .value(input), "indices": .value(try call.input("index", as: .int32)),
            "axis": .integer(try call.dimension("dim", rank: input.shape.count)),
          ])
      ]
    },
    "aten::gather": { call in
      let input = try call.input("self")
      return [
        try call.make(
          "gather_along_axis",
          [
            "x": .value(input), "indices": .value(try call.input("index", as: .int32)),
            "axis": .integer(try call.dimension("dim", rank: input.shape.count)),
          ])
      ]
    },
    "aten::scatter.src": { call in [try scattered(call, try call.input("src", as: call.resultType))] },
    "aten::scatter.value": { call in
      let value = try call.builder.number(try call.number("value"), call.resultType)
      return [try scattered(call, try call.broadcast(value, to: call.sizes(call.shape("index"))))]
    },
    "aten::cat": joined,
    "aten::stack": { call in
      let parts = try call.values("tensors").map { try call.cast(try call.written($0), to: call.resultType) }
      let axis = try call.dimension("dim", rank: call.resultShape.count)
      return [try call.make("stack", ["values": .values(parts), "axis": .integer(axis)])]
    },
    "aten::split.Tensor": split, "aten::split.sizes": split, "aten::split_with_sizes": split, "aten::chunk": split,
    "aten::flip": { call in
      let input = try call.input("self")
      let axes = try call.dimensions("dims", rank: input.shape.count)
      return [try call.make("reverse", ["x": .value(input), "axes": .integers(axes)])]
    },
    "aten::constant_pad_nd": { call in
      // libtorch says before and after of the last dimension first; Core ML in the order of the dimensions.
      let input = try call.input("self")
      guard input.type.isFloatingPoint else { throw call.failure("it is around whole numbers") }
      let amounts = try call.integers("pad")
      let rank = input.shape.count
      let pads = (0..<rank).flatMap { axis in
        let place = 2 * (rank - 1 - axis)
        return place + 1 < amounts.count ? [amounts[place], amounts[place + 1]] : [0, 0]
      }
      return [
        try call.make(
          "pad",
          [
            "x": .value(input), "pad": .integers(pads), "mode": .text("constant"),
            "constant_val": .number(call.optionalNumber("value") ?? 0, call.float),
          ])
      ]
    },
  ]
}
