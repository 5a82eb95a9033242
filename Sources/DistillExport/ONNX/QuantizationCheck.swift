import DistillData
import Foundation
import Torch
import TorchNN

/// How a quantized file answers, beside the same model in float32: both computed by ONNX Runtime, for the same examples.
public struct QuantizationCheck: Encodable, Sendable, Equatable {
  public struct Batch: Encodable, Sendable, Equatable {
    public var examples: Int
    /// Of the quantized file: the median of several.
    public var seconds: Double
    public var secondsInFloat: Double
  }

  /// The program with its version.
  public var runtime: String
  /// Who else found the file right; nil where it is not installed.
  public var checker: String?
  public var examples: Int
  /// For which share of the answers the largest output is the same; nil where outputs are no logits.
  public var agreement: Double?
  /// The mean cosine of the angle between the outputs of both.
  public var similarity: Double
  /// The mean and the largest |difference| of an output.
  public var meanDifference: Double
  public var greatestDifference: Double
  /// Shares of right answers; nil where these are not known.
  public var accuracy: Double?
  public var accuracyInFloat: Double?
  public var batches: [Batch]

  /// Files whose answers are the same, or as similar, for a smaller share than this are taken for broken.
  public static let leastAgreement = 0.9

  public var isSound: Bool { agreement ?? similarity >= Self.leastAgreement }
}

/// What both files are asked, by way of a file.
private struct QuantizationQuestion: Encodable {
  /// The quantized file.
  var model: String
  var float: String
  var inputs: String
  var shape: [Int]
  var type: String
  /// Where the outputs of both go.
  var outputs: [String]
  var threads: Int
  /// How many examples are computed at a time, and for which sizes of batches time is taken.
  var batch: Int
  var timed: [Int]
}

private struct QuantizationAnswer: Decodable {
  var runtime: String
  var checker: String?
  /// Of each output of all examples.
  var shape: [Int]
  /// For each size of batches: of the quantized file, and in float32.
  var seconds: [[Double]]
}

extension ONNXModel {
  /// Runs the file and the same model in float32 in ONNX Runtime, and compares what they give. `onnx.checker` looks at the
  /// file too, where the package is there.
  ///
  /// - Parameters:
  ///   - path: where the file was written
  ///   - float: the same model, with the same options, without a calibration
  ///   - examples: what the model takes, best such that it was not calibrated with
  ///   - labels: for each answer its class, −1 where it is not known; nil where none is
  ///   - tellsClasses: whether outputs are logits, so that the largest one is the answer
  ///   - python: a Python with the package `onnxruntime`
  /// - Throws: `Unverified` where they cannot be compared.
  public func compare(
    at path: String, withFloat float: ONNXModel, examples: Tensor, labels: [Int]? = nil, tellsClasses: Bool = true,
    python: String = "python3"
  ) throws -> QuantizationCheck {
    try withWorkFolder { folder in
      try float.write(to: "\(folder)/float.onnx")
      let inputs = try options.preprocessing?.inputs(for: examples) ?? examples
      try AtomicFile.write(try inputs.contiguous().withBytes { Data($0) }, to: "\(folder)/inputs")
      let count = try examples.size(0)
      let timed = count > 1 ? [1, min(32, count)] : [1]
      let question = QuantizationQuestion(
        model: URL(fileURLWithPath: path).path, float: "\(folder)/float.onnx", inputs: "\(folder)/inputs",
        shape: inputs.shape, type: "\(inputs.dtype)", outputs: ["\(folder)/quantized.out", "\(folder)/float.out"],
        threads: try TorchRuntime.threadCount, batch: min(32, count), timed: timed)
      let data = try RuntimeCheck.answer(to: question, by: Self.comparison, python: python, in: folder)
      guard let answer = try? JSONDecoder().decode(QuantizationAnswer.self, from: data),
        answer.seconds.count == timed.count, answer.seconds.allSatisfy({ $0.count == 2 }), answer.shape.first == count
      else { throw Unverified.refused("its answer cannot be understood") }
      let outputs = try question.outputs.map { file in
        guard let numbers = RuntimeCheck.numbers(in: file) else {
          throw Unverified.refused("its outputs cannot be read")
        }
        return try Tensor(numbers, shape: answer.shape)
      }
      var check = try QuantizationCheck(
        quantized: outputs[0], float: outputs[1], labels: labels, tellsClasses: tellsClasses)
      (check.runtime, check.checker) = (answer.runtime, answer.checker)
      check.batches = zip(timed, answer.seconds).map {
        .init(examples: $0, seconds: $1[0], secondsInFloat: $1[1])
      }
      return check
    }
  }

  /// Reads a `QuantizationQuestion` and answers it.
  private static let comparison =
    pythonBeginning + """
      inputs = numpy.fromfile(question["inputs"], dtype=question["type"]).reshape(question["shape"])
      seconds, shape = [[] for _ in question["timed"]], None
      for file, outputs in zip([question["model"], question["float"]], question["outputs"]):
          session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
          name = session.get_inputs()[0].name
          with open(outputs, "wb") as target:
              for start in range(0, len(inputs), question["batch"]):
                  given = session.run(None, {name: inputs[start:start + question["batch"]]})[0]
                  given.astype("float32").tofile(target)
          if shape is not None and list(given.shape[1:]) != shape[1:]:
              sys.exit("it gives %s, not %s" % (list(given.shape[1:]), shape[1:]))
          shape = [len(inputs)] + list(given.shape[1:])
          for place, count in enumerate(question["timed"]):
              seconds[place].append(median_seconds(session, {name: inputs[:count]}, 0.3, 500))
      runtime = "ONNX Runtime " + onnxruntime.__version__
      print(json.dumps({"runtime": runtime, "checker": checker, "seconds": seconds, "shape": shape}))
      """
}

extension QuantizationCheck {
  /// Of outputs of the same shape, `[N, C]` or with an answer for each token `[N, L, C]`.
  init(quantized: Tensor, float: Tensor, labels: [Int]? = nil, tellsClasses: Bool) throws {
    let width = quantized.shape.last ?? 1
    let (given, expected) = (try quantized.reshaped([-1, width]), try float.reshaped([-1, width]))
    (runtime, checker, batches) = ("", nil, [])
    examples = quantized.shape.first ?? 0
    // What is not finite is as far apart as can be, and agrees with nothing.
    guard try given.isFinite().all() else {
      (agreement, similarity) = (tellsClasses ? 0 : nil, 0)
      (meanDifference, greatestDifference) = (.infinity, .infinity)
      return
    }
    let difference = try (given - expected).absolute()
    meanDifference = try difference.to(.float64).mean().item()
    greatestDifference = try difference.flattened().maximum(along: 0).item()
    let products = try (given * expected).sum(along: 1).doubles()
    let lengths = try zip(given.norm(along: 1).doubles(), expected.norm(along: 1).doubles())
    // Nothing is like nothing, and like nothing else.
    let cosines = zip(products, lengths).map { product, lengths in
      lengths.0 * lengths.1 > 0 ? product / (lengths.0 * lengths.1) : lengths.0 == lengths.1 ? 1 : 0
    }
    similarity = cosines.reduce(0, +) / Double(max(1, cosines.count))
    guard tellsClasses else { return }
    let (answers, others) = (
      try given.argumentOfMaximum(along: 1).array(of: Int.self),
      try expected.argumentOfMaximum(along: 1).array(of: Int.self)
    )
    func share(_ isCounted: [Bool]) -> Double { Double(isCounted.count { $0 }) / Double(max(1, isCounted.count)) }
    agreement = share(zip(answers, others).map { $0 == $1 })
    guard let labels, labels.count == answers.count, labels.contains(where: { $0 >= 0 }) else { return }
    let known = labels.indices.filter { labels[$0] >= 0 }
    accuracy = share(known.map { answers[$0] == labels[$0] })
    accuracyInFloat = share(known.map { others[$0] == labels[$0] })
  }
}

extension ONNXPreprocessing {
  /// What the file takes for inputs of the model: bytes of pictures, or rows of a table as they stand there.
  ///
  /// - Parameter inputs: what the model takes, `[N, C, H, W]` or `[N, columns]`, of pictures that were bytes
  func inputs(for inputs: Tensor) throws -> Tensor {
    let isPicture = inputs.rank == 4
    let shape = isPicture ? [inputs.shape[1], 1, 1] : [inputs.shape.dropFirst().reduce(1, *)]
    var numbers = inputs
    if let normalization {
      numbers =
        try numbers * Self.spread(normalization.standardDeviation, shape) + Self.spread(normalization.mean, shape)
    }
    guard isPicture else { return numbers }
    let bytes = try (numbers * 255).rounded().clamped(from: 0, to: 255).to(.uint8)
    return try layout == .nhwc ? bytes.permuted([0, 2, 3, 1]).contiguous() : bytes.contiguous()
  }
}
