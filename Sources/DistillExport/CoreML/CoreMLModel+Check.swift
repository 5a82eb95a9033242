import DistillData
import Foundation
import Torch
import TorchNN

extension CoreMLModel {
  /// Reads the package with Apple's coremltools, and computes the program that it finds there operator by operator.
  ///
  /// Core ML itself runs on Apple's systems alone. What is checked everywhere is that coremltools can read the package, finds
  /// every operator known and given what it takes, and the shape and type of every value those that the package says; and
  /// that the program gives the model's logits, and their softmax as probabilities. The numbers are computed by what
  /// coremltools computes constants with; for convolutions, pooling, SiLU and enlarging, where it has nothing, by NumPy.
  ///
  /// - Parameters:
  ///   - path: where the package was written
  ///   - python: a Python with the package `coremltools`
  ///   - examples: what the model takes; each of them is computed by itself
  /// - Throws: `Unverified` where it cannot be compared.
  public func check(
    at path: String, against model: any Layer, examples: Tensor, python: String = "python3"
  ) throws -> RuntimeCheck {
    let cases = try (0..<examples.size(0)).map { row in
      let example = try examples.sliced(0, from: row, to: row + 1).contiguous()
      guard let picture = options.picture else {
        return (there: example.dtype.isFloatingPoint ? example : try example.to(.int32), here: example)
      }
      let bytes = try ONNXPreprocessing(layout: .nchw, normalization: picture.normalization).example(like: example)
      return (there: try bytes.there.to(.float32), here: bytes.here)
    }
    var check = try RuntimeCheck.run(
      Self.program, python: python, file: path, model: model, examples: cases, labels: options.labels)
    if options.isHalf { check.tolerance = RuntimeCheck.halfTolerance }
    return check
  }

  /// Reads a `RuntimeQuestion` and answers it.
  private static let program = """
    import json, os, sys
    try:
        import numpy
        import coremltools
        from coremltools.converters.mil.frontend.milproto import load as milproto
        from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry
        from coremltools.proto import MIL_pb2
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(3)

    question = json.load(open(sys.argv[1]))
    path = question["model"]
    coremltools.models.MLModel(path, skip_model_load=True)
    spec = coremltools.utils.load_spec(path)
    weights = os.path.join(path, "Data", "com.apple.CoreML", "weights")

    def load(spec):
        program = milproto.load(spec, spec.specificationVersion, weights)
        return program.functions["main"]

    load(spec)

    def values(name):
        \"\"\"Gives an operator, of which coremltools computes nothing, its numbers.\"\"\"
        def register(function):
            def value_inference(operator):
                numbers = function(operator, operator.x.val.astype(numpy.float32))
                return numbers.astype(operator.x.val.dtype)
            for version in SSAOpRegistry.core_ops[name].values():
                version.value_inference = value_inference
        return register

    def plain(get_operator):
        \"\"\"NumPy wants flags of Python for keepdims.\"\"\"
        def operator(self):
            function = get_operator(self)
            def reduced(x, axis, keepdims=False):
                return function(x, axis=axis, keepdims=bool(keepdims))
            return reduced
        return operator

    for name, versions in SSAOpRegistry.core_ops.items():
        for version in versions.values():
            if name.startswith("reduce_") and not name.startswith("reduce_arg"):
                version.get_operator = plain(version.get_operator)

    def windows(x, kernel, strides, pad, dilations, fill):
        \"\"\"[N, C, *outputs, *kernel]\"\"\"
        count = len(kernel)
        x = numpy.pad(x, [(0, 0), (0, 0)] + [(pad[2 * i], pad[2 * i + 1]) for i in range(count)], constant_values=fill)
        reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilations)]
        views = numpy.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(range(2, 2 + count)))
        every = [slice(None, None, step) for step in list(strides) + list(dilations)]
        return views[tuple([slice(None)] * 2 + every)]

    @values("conv")
    def convolution(operator, x):
        weight, groups = operator.weight.val.astype(numpy.float32), operator.groups.val
        count = weight.ndim - 2
        parts = windows(
            x, weight.shape[2:], operator.strides.val, operator.pad.val, operator.dilations.val, 0)
        inner = [1] + list(range(2, 2 + count))
        inputs, outputs = weight.shape[1], weight.shape[0] // groups
        results = [
            numpy.tensordot(
                parts[:, group * inputs:(group + 1) * inputs], weight[group * outputs:(group + 1) * outputs],
                ([1] + list(range(2 + count, 2 + 2 * count)), inner))
            for group in range(groups)]
        bias = operator.bias.val.astype(numpy.float32)
        return numpy.moveaxis(numpy.concatenate(results, -1) + bias, -1, 1)

    def pooled(operator, x, fill):
        kernel = operator.kernel_sizes.val
        return windows(x, kernel, operator.strides.val, operator.pad.val, [1] * len(kernel), fill)

    @values("max_pool")
    def maximum(operator, x):
        parts = pooled(operator, x, -numpy.inf)
        return parts.max(tuple(range(x.ndim, parts.ndim)))

    @values("avg_pool")
    def mean(operator, x):
        parts = pooled(operator, x, 0)
        axes = tuple(range(x.ndim, parts.ndim))
        if not operator.exclude_padding_from_average.val:
            return parts.mean(axes)
        return parts.sum(axes) / pooled(operator, numpy.ones_like(x), 0).sum(axes)

    @values("silu")
    def silu(operator, x):
        return x / (1 + numpy.exp(-x))

    @values("upsample_nearest_neighbor")
    def enlarged(operator, x):
        rows = x.repeat(operator.scale_factor_height.val, 2)
        return rows.repeat(operator.scale_factor_width.val, 3)

    def computed(numbers):
        \"\"\"The outputs of the program, for an input that it has as a constant.\"\"\"
        copy = type(spec)()
        copy.CopyFrom(spec)
        function = copy.mlProgram.functions["main"]
        block = function.block_specializations[function.opset]
        constant = MIL_pb2.Operation(type="const")
        constant.outputs.append(function.inputs[0])
        value = constant.attributes["val"]
        value.type.CopyFrom(function.inputs[0].type)
        tensor = value.immediateValue.tensor
        (tensor.floats if numbers.dtype == numpy.float32 else tensor.ints).values.extend(numbers.ravel().tolist())
        name = constant.attributes["name"]
        name.type.tensorType.dataType = MIL_pb2.DataType.STRING
        name.immediateValue.tensor.strings.values.append(function.inputs[0].name)
        operations = [constant] + list(block.operations)
        del function.inputs[:]
        del block.operations[:]
        block.operations.extend(operations)
        return load(copy).outputs

    def unknown(value):
        \"\"\"The first operator on the way to a value that has no numbers.\"\"\"
        while True:
            missing = [other for other in value.op.get_flattened_inputs() if other.val is None]
            if not missing:
                return value.op.op_type
            value = missing[0]

    shapes = []
    for batch in question["batches"]:
        numbers = numpy.fromfile(batch["inputs"], dtype=batch["type"]).reshape(batch["shape"])
        output = computed(numbers)[0]
        if question.get("labels") is not None:
            classes, probabilities = output.op.classes.val, output.op.probabilities
            names = [getattr(name, "val", name) for name in classes]
            if names != question["labels"]:
                sys.exit("its classes are others: %s" % names[:5])
            output = probabilities.op.x
            if output.val is None:
                sys.exit("there is no way to compute %s" % unknown(output))
            shares = numpy.exp(output.val - output.val.max())
            if abs(probabilities.val - shares / shares.sum()).max() > 1e-5:
                sys.exit("its probabilities are not the softmax of its logits")
        if output.val is None:
            sys.exit("there is no way to compute %s" % unknown(output))
        output.val.astype("float32").tofile(batch["outputs"])
        shapes.append(list(output.val.shape))
    print(json.dumps({"runtime": "coremltools " + coremltools.__version__, "shapes": shapes}))
    """
}
