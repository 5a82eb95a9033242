import DistillData
import DistillModels
import Foundation
import SwiftProtobuf
import TestSupport
import Testing
import Torch
import TorchNN

@testable import DistillExport

/// What ONNX Runtime makes of quantized files.
@Suite(.enabled(if: PythonEnvironment.onnx.path != nil, PythonEnvironment.onnx.missing), .timeLimit(.minutes(30)))
struct QuantizedONNXTests {
  /// Quantizes a model, runs it in ONNX Runtime beside itself in float32, and gives the comparison.
  @discardableResult
  private func compare(
    _ model: any Layer, _ examples: Tensor, _ options: ONNXModel.Options = ONNXModel.Options(),
    tellsClasses: Bool = true, _ body: (String) throws -> Void = { _ in }
  ) throws -> QuantizationCheck {
    let python = try #require(PythonEnvironment.onnx.path)
    return try withTemporaryFolder { folder in
      let path = "\(folder)/model.onnx"
      let float = try ONNXModel(of: model, like: examples, options: options)
      let made = try ONNXModel(
        of: model, like: examples, options: options, calibration: Calibration(examples: examples))
      try made.write(to: path)
      try body(path)
      let check = try made.compare(
        at: path, withFloat: float, examples: examples, tellsClasses: tellsClasses, python: python)
      #expect(check.checker != nil && check.runtime.hasPrefix("ONNX Runtime"))
      #expect(check.examples == examples.shape[0])
      // Batches of other sizes than those of the calibration.
      #expect(check.batches.map(\.examples) == [1, min(32, examples.shape[0])])
      return check
    }
  }

  @Test(
    "Every family of the zoo is quantized, loads, and gives nearly the same", arguments: ONNXZooTests.specifications)
  func zoo(_ specification: ModelSpecification) throws {
    let model = try Sample.model(specification)
    let check = try compare(model, ONNXZooTests.inputs(specification, 40))
    #expect(check.similarity > 0.99, "\(check)")
  }

  /// The operators that ONNX Runtime computes a file with.
  private func kernels(_ path: String) throws -> [String: Int] {
    let program = """
      import collections, json, sys, onnx, onnxruntime
      options = onnxruntime.SessionOptions()
      options.optimized_model_filepath = sys.argv[1] + ".optimized"
      options.log_severity_level = 3
      onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
      graph = onnx.load(sys.argv[1] + ".optimized").graph
      json.dump(collections.Counter(node.op_type for node in graph.node), open(sys.argv[1] + ".json", "w"))
      """
    let failure = PythonEnvironment.failure(try #require(PythonEnvironment.onnx.path), ["-c", program, path])
    #expect(failure == nil)
    return try JSONDecoder().decode([String: Int].self, from: Data(contentsOf: URL(fileURLWithPath: "\(path).json")))
  }

  @Test(
    "ONNX Runtime makes its integer kernels of the pairs of nodes",
    arguments: [
      (
        ModelSpecification("mlp", ["hidden": [12, 9]], inputShape: [6], classCount: 4), ["QGemm": 3], ["Gemm", "Relu"]
      ),
      (
        ModelSpecification("resnet", ["depth": 18], inputShape: [3, 32, 32], classCount: 5),
        ["QLinearConv": 20, "QLinearAdd": 8, "QGemm": 1],
        ["Conv", "Gemm", "Relu", "Add", "MaxPool"]
      ),
      (
        ModelSpecification("mobilenet-v2", ["width": 0.35], inputShape: [3, 32, 32], classCount: 7),
        ["QLinearConv": 52, "QLinearAdd": 10, "QGemm": 1], ["Conv", "Gemm", "Clip", "Add"]
      ),
      (
        ModelSpecification(
          "efficientnet", ["width": 0.25, "depth": 0.3, "lite": true, "padding": "same"], inputShape: [3, 33, 40],
          classCount: 5), ["QLinearConv": 20, "QGemm": 1], ["Conv", "Gemm", "Clip", "Pad"]
      ),
      (
        ModelSpecification(
          "bert", ["vocabulary": 40, "depth": 2, "width": 16, "heads": 4], inputShape: [10], classCount: 5),
        ["MatMulIntegerToFloat": 12], ["Gemm"]
      ),
    ] as [(ModelSpecification, [String: Int], [String])])
  func kernels(_ specification: ModelSpecification, _ wanted: [String: Int], _ unwanted: [String]) throws {
    let model = try Sample.model(specification)
    try compare(model, ONNXZooTests.inputs(specification, 40)) { path in
      let found = try kernels(path)
      for (kernel, count) in wanted { #expect(found[kernel] ?? 0 >= count, "\(kernel): \(found)") }
      for kernel in unwanted { #expect(found[kernel] == nil, "\(kernel): \(found)") }
    }
  }

  @Test("Pictures of bytes, weights beside the file, and metadata stay what they are", arguments: [false, true])
  func options(resizes: Bool) throws {
    var options = ONNXModel.Options()
    options.preprocessing = ONNXPreprocessing(
      layout: .nhwc, normalization: Normalization(mean: [0.5], standardDeviation: [0.25]), resizes: resizes)
    options.externalWeightsFrom = 0
    options.metadata = ["labels": "[\"a\"]"]
    let model = try Sample.model(ModelSpecification("convnet", inputShape: [3, 8, 8], classCount: 4))
    let examples = try Sample.numbers([40, 3, 8, 8])
    let check = try compare(model, examples, options) { path in
      let file = try Onnx_ModelProto(serializedBytes: Data(contentsOf: URL(fileURLWithPath: path)))
      #expect(FileManager.default.fileExists(atPath: "\(path).data"))
      #expect(file.metadataProps.map(\.key) == ["labels"])
      #expect(file.graph.input.first?.type.tensorType.elemType == 2)
      #expect(file.graph.input.first?.type.tensorType.shape.dim.first?.dimParam == "batch")
    }
    #expect(check.similarity > 0.99, "\(check)")
  }

  @Test("A bias that is large beside its weights keeps its size")
  func largeBias() throws {
    let linear = try Linear(3, 2)
    try withoutGradient {
      try linear.weight.copy(from: Tensor([1e-9, -2e-9, 1e-9, 1, 2, 3] as [Float], shape: [2, 3]))
      try linear.bias?.copy(from: Tensor([700, -3] as [Float]))
    }
    let check = try compare(linear, Sample.numbers([40, 3]), tellsClasses: false)
    #expect(check.greatestDifference < 0.1, "\(check)")
  }

  @Test("Embeddings whose cosine is looked at")
  func embeddings() throws {
    let specification = ModelSpecification(
      "bert", ["vocabulary": 30, "depth": 1, "width": 12, "heads": 2, "head": "unit-embedding"], inputShape: [8],
      classCount: 12)
    let check = try compare(
      Sample.model(specification), ONNXZooTests.inputs(specification, 40), tellsClasses: false)
    #expect(check.agreement == nil && check.isSound)
  }

  @Test("A file that is not the model's is found out")
  func difference() throws {
    let specification = ModelSpecification("mlp", ["hidden": [8]], inputShape: [6], classCount: 3)
    let (model, examples) = (try Sample.model(specification), try Sample.numbers([40, 6]))
    try withTemporaryFolder { folder in
      let path = "\(folder)/model.onnx"
      let python = try #require(PythonEnvironment.onnx.path)
      let made = try ONNXModel(of: model, like: examples, calibration: Calibration(examples: examples))
      try made.write(to: path)
      try withoutGradient { try model.parameters[0].copy(from: model.parameters[0] * -1) }
      let float = try ONNXModel(of: model, like: examples)
      let check = try made.compare(at: path, withFloat: float, examples: examples, python: python)
      #expect(!check.isSound, "\(check)")
      #expect(throws: Unverified.noRuntime("there is no no-such-python")) {
        try made.compare(at: path, withFloat: float, examples: examples, python: "no-such-python")
      }
    }
  }
}
