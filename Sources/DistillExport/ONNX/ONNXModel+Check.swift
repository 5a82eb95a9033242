import DistillData
import Foundation
import Torch
import TorchNN

extension ONNXModel {
  /// Runs the file in ONNX Runtime, for batches of other sizes than those it was made with, and compares what it gives with
  /// what the model gives here. `onnx.checker` looks at the file too, where the package is there.
  ///
  /// - Parameters:
  ///   - path: where the file was written
  ///   - python: a Python with the package `onnxruntime`
  ///   - examples: what the model takes, at least one
  /// - Throws: `Unverified` where it cannot be compared.
  public func check(
    at path: String, against model: any Layer, examples: Tensor, python: String = "python3", batches: [Int] = [1, 7]
  ) throws -> RuntimeCheck {
    let cases = try batches.map { count in
      let rows = try examples.size(0)
      let here = try examples.gathered(Tensor((0..<count).map { Int64($0 % rows) }).to(examples.device)).contiguous()
      return try options.preprocessing.map { try $0.example(like: here) } ?? (there: here, here: here)
    }
    var check = try RuntimeCheck.run(Self.program, python: python, file: path, model: model, examples: cases)
    if options.preprocessing?.resizes == true { check.tolerance = RuntimeCheck.resizingTolerance }
    return check
  }

  /// How a program in Python begins that is asked about a file, `model` of its question: it looks for what it needs, lets the
  /// checker look at the file, and knows how to take time.
  static let pythonBeginning = """
    import json, sys, time
    try:
        import numpy, onnxruntime
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(3)
    question = json.load(open(sys.argv[1]))
    checker = None
    try:
        import onnx
        onnx.checker.check_model(question["model"], full_check=True)
        checker = "onnx " + onnx.__version__
    except ImportError:
        pass
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = question["threads"]
    options.log_severity_level = 3

    def median_seconds(session, inputs, duration, most):
        times, end = [], time.perf_counter() + duration
        while len(times) < 5 or (time.perf_counter() < end and len(times) < most):
            start = time.perf_counter()
            session.run(None, inputs)
            times.append(time.perf_counter() - start)
        return sorted(times)[len(times) // 2]


    """

  /// Reads a `RuntimeQuestion` and answers it.
  private static let program =
    pythonBeginning + """
      session = onnxruntime.InferenceSession(question["model"], options, providers=["CPUExecutionProvider"])
      name = session.get_inputs()[0].name
      seconds, shapes = [], []
      for batch in question["batches"]:
          inputs = numpy.fromfile(batch["inputs"], dtype=batch["type"]).reshape(batch["shape"])
          output = session.run(None, {name: inputs})[0]
          output.astype("float32").tofile(batch["outputs"])
          shapes.append(list(output.shape))
          seconds.append(median_seconds(session, {name: inputs}, 0.1, 200))
      runtime = "ONNX Runtime " + onnxruntime.__version__
      print(json.dumps({"runtime": runtime, "checker": checker, "seconds": seconds, "shapes": shapes}))
      """
}

extension ONNXPreprocessing {
  /// Inputs as the file takes them, and what the model is to see of them here, made by the code that makes batches.
  ///
  /// - Parameter inputs: what the model takes, `[N, C, H, W]` or `[N, columns]`; of pictures only the shape is looked at
  func example(like inputs: Tensor) throws -> (there: Tensor, here: Tensor) {
    let shape = inputs.shape
    guard shape.count == 4 else { return (inputs, try normalized(inputs, shape: [shape.dropFirst().reduce(1, *)])) }
    let (count, channels, height, width) = (shape[0], shape[1], shape[2], shape[3])
    // Sides that shrink and sides that grow.
    let size = resizes ? (height: height * 2 + 3, width: max(1, width - width / 3)) : (height: height, width: width)
    var random = RandomSource(seed: 1)
    let bytes = (0..<count).map { _ in
      (0..<size.width * size.height * channels).map { _ in UInt8.random(in: 0...255, using: &random) }
    }
    let resized = try bytes.flatMap { pixels in
      guard resizes else { return pixels }
      return try RawImage(width: size.width, height: size.height, channels: channels, pixels: pixels)
        .resized(width: width, height: height).pixels
    }
    let there = try Tensor(bytes.flatMap(\.self), shape: [count, size.height, size.width, channels])
    let numbers = try Tensor(resized, shape: [count, height, width, channels]).permuted([0, 3, 1, 2]).contiguous()
    return (
      layout == .nhwc ? there : try there.permuted([0, 3, 1, 2]).contiguous(),
      try normalized(numbers.to(.float32) / 255, shape: [channels, 1, 1])
    )
  }

  private func normalized(_ inputs: Tensor, shape: [Int]) throws -> Tensor {
    guard let normalization else { return inputs }
    return try (inputs - Self.spread(normalization.mean, shape)) / Self.spread(normalization.standardDeviation, shape)
  }

  /// One number for all, or one for each channel or column in `shape`.
  static func spread(_ values: [Float], _ shape: [Int]) throws -> Tensor {
    try Tensor(values, shape: values.count == 1 ? [1] : shape)
  }
}
