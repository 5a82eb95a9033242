import Torch

extension ONNXForms {
  private static let reshaped: Form = { call in [try call.reshapedToResult(try call.input("self"))] }

  /// Another type; all is on one device.
  private static let converted: Form = { call in [try call.input("self", as: call.result.dtype)] }

  /// Parts along a dimension, as large as the results are.
  private static let split: Form = { call in
    let rank = try call.shape("self").count
    let axis = try call.dimension("dim", rank: rank)
    let sizes = try call.call.results.map { result in
      guard let size = call.graph.values[result].shape[axis].fixed else {
        throw call.failure("the batch is split into parts")
      }
      return size
    }
    return call.builder.add(
      "Split", [try call.input("self"), try call.builder.integers(sizes)], [.integer("axis", axis)],
      outputs: sizes.count)
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
      let rank = try call.shape("self").count
      var order = Array(0..<rank)
      order.swapAt(try call.dimension("dim0", rank: rank), try call.dimension("dim1", rank: rank))
      return [call.transposed(try call.input("self"), order)]
    },
    "aten::permute": { call in
      [call.transposed(try call.input("self"), try call.dimensions("dims", rank: try call.shape("self").count))]
    },
    "aten::expand": { call in
      // A size that stays can be 1 here, so that the number of examples is seldom asked for.
      let (old, new) = (try call.shape("self"), call.result.shape)
      let missing = new.count - old.count
      let target = new.enumerated().map { place, size in
        place >= missing && old[place - missing] == size ? RecordedGraph.Count.fixed(1) : size
      }
      return [call.node("Expand", [try call.input("self"), try call.builder.sizes(target)])]
    },
    "aten::slice.Tensor": { call in
      let axis = try call.dimension("dim", rank: try call.shape("self").count)
      let bounds = try ["start", "end", "step"].map { name in
        let unset: RecordedGraph.Count = name == "start" ? .fixed(0) : name == "end" ? .fixed(.max) : .fixed(1)
        return try call.builder.sizes([call.isGiven(name) ? try call.counts(name)[0] : unset])
      }
      return [
        call.node(
          "Slice", [try call.input("self"), bounds[0], bounds[1], try call.builder.integers([axis]), bounds[2]])
      ]
    },
    "aten::select.int": { call in
      let axis = try call.dimension("dim", rank: try call.shape("self").count)
      let index = try call.builder.integer(try call.integer("index"))
      return [call.node("Gather", [try call.input("self"), index], [.integer("axis", axis)])]
    },
    "aten::index_select": { call in
      [
        call.node(
          "Gather", [try call.input("self"), try call.input("index")], [.integer("axis", try call.integer("dim"))])
      ]
    },
    "aten::gather": { call in
      [
        call.node(
          "GatherElements", [try call.input("self"), try call.input("index")],
          [.integer("axis", try call.integer("dim"))])
      ]
    },
    "aten::scatter.src": { call in
      [
        call.node(
          "ScatterElements", [try call.input("self"), try call.input("index"), try call.input("src")],
          [.integer("axis", try call.integer("dim"))])
      ]
    },
    "aten::scatter.value": { call in
      let value = try call.scalar(try call.number("value"), call.result.dtype)
      let source = call.node("Expand", [value, try call.builder.sizes(try call.shape("index"))])
      return [
        call.node(
          "ScatterElements", [try call.input("self"), try call.input("index"), source],
          [.integer("axis", try call.integer("dim"))])
      ]
    },
    "aten::cat": { call in
      let parts = try call.values("tensors").map {
        call.cast(try call.written($0), from: call.graph.values[$0].dtype, to: call.result.dtype)
      }
      return [call.node("Concat", parts, [.integer("axis", try call.integer("dim"))])]
    },
    "aten::stack": { call in
      let axis = try call.dimension("dim", rank: call.result.shape.count)
      let axes = try call.builder.integers([axis])
      let parts = try call.values("tensors").map {
        let part = call.cast(try call.written($0), from: call.graph.values[$0].dtype, to: call.result.dtype)
        return call.node("Unsqueeze", [part, axes])
      }
      return [call.node("Concat", parts, [.integer("axis", axis)])]
    },
    "aten::split.Tensor": split, "aten::split.sizes": split, "aten::split_with_sizes": split, "aten::chunk": split,
    "aten::flip": { call in
      let axes = try call.dimensions("dims", rank: try call.shape("self").count)
      let numbers = try [-1, .min, -1].map { try call.builder.integers(Array(repeating: $0, count: axes.count)) }
      return [
        call.node(
          "Slice",
          [try call.input("self"), numbers[0], numbers[1], try call.builder.integers(axes), numbers[2]])
      ]
    },
    "aten::constant_pad_nd": { call in
      // libtorch says before and after of the last dimension first; ONNX all befores, then all afters.
      let rank = try call.shape("self").count
      let amounts = try call.integers("pad")
      var pads = [Int](repeating: 0, count: 2 * rank)
      for pair in 0..<amounts.count / 2 {
        pads[rank - 1 - pair] = amounts[2 * pair]
        pads[2 * rank - 1 - pair] = amounts[2 * pair + 1]
      }
      let value = try call.scalar(call.optionalNumber("value") ?? 0, call.result.dtype)
      return [
        call.node(
          "Pad", [try call.input("self"), try call.builder.integers(pads), value], [.text("mode", "constant")])
      ]
    },
  ]
}
