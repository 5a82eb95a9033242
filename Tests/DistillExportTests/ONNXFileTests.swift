import DistillData
import DistillModels
import Foundation
import SwiftProtobuf
import TestSupport
import Testing
import Torch
import TorchNN

@testable import DistillExport

/// What is in the file, and what is refused.
@Suite struct ONNXFileTests {
  private static let small = ModelSpecification("convnet", inputShape: [3, 8, 8], classCount: 4)

  private func file(_ options: ONNXModel.Options = ONNXModel.Options()) throws -> Onnx_ModelProto {
    try withTemporaryFolder { folder in
      let made = try ONNXModel(of: try Sample.model(Self.small), like: Sample.numbers([1, 3, 8, 8]), options: options)
      try made.write(to: "\(folder)/x.onnx")
      return try Onnx_ModelProto(serializedBytes: Data(contentsOf: URL(fileURLWithPath: "\(folder)/x.onnx")))
    }
  }

  @Test("Versions, names, a batch that is free, and metadata")
  func contents() throws {
    var options = ONNXModel.Options()
    (options.inputName, options.outputName, options.name) = ("pixels", "scores", "tiny")
    options.metadata = ["labels": "[\"a\",\"b\"]", "accuracy": "94.40 %"]
    let model = try file(options)
    #expect(model.irVersion == 11 && model.opsetImport.map(\.version) == [23] && model.producerName == "distill")
    #expect(model.graph.name == "tiny")
    let (input, output) = (try #require(model.graph.input.first), try #require(model.graph.output.first))
    #expect(model.graph.input.count == 1 && model.graph.output.count == 1)
    #expect(input.name == "pixels" && output.name == "scores")
    #expect(input.type.tensorType.elemType == 1)
    #expect(input.type.tensorType.shape.dim.map(\.dimParam) == ["batch", "", "", ""])
    #expect(input.type.tensorType.shape.dim.dropFirst().map(\.dimValue) == [3, 8, 8])
    #expect(output.type.tensorType.shape.dim.map(\.dimParam) == ["batch", ""])
    #expect(output.type.tensorType.shape.dim[1].dimValue == 4)
    #expect(model.metadataProps.map(\.key) == ["accuracy", "labels"])
    #expect(model.graph.node.last?.output == ["scores"])
  }

  @Test("Weights have their names in checkpoints, and every value is made once")
  func names() throws {
    let graph = try file().graph
    let model = try Sample.model(Self.small)
    let keys = Set(model.state.map(\.name))
    let named = graph.initializer.map(\.name).filter { keys.contains($0) }
    #expect(named.count >= 4, "\(graph.initializer.map(\.name))")
    let made = ["input"] + graph.initializer.map(\.name) + graph.node.flatMap(\.output)
    #expect(Set(made).count == made.count)
    var known = Set(["input"] + graph.initializer.map(\.name))
    for node in graph.node {
      #expect(node.input.allSatisfy { $0.isEmpty || known.contains($0) }, "\(node.name)")
      known.formUnion(node.output)
    }
  }

  @Test("A batch normalization is folded into float32 weights as the formula says")
  func folding() throws {
    let norm = try BatchNorm(2)
    let linear = try Linear(3, 2)
    try withoutGradient {
      try linear.weight.copy(from: Tensor([1, 2, 3, -1, 0, 4] as [Float], shape: [2, 3]))
      try linear.bias?.copy(from: Tensor([0.5, -1] as [Float]))
      try norm.runningMean.copy(from: Tensor([1, 2] as [Float]))
      try norm.runningVariance.copy(from: Tensor([4, 9] as [Float]))
      try norm.weight.copy(from: Tensor([2, 3] as [Float]))
      try norm.bias.copy(from: Tensor([10, 20] as [Float]))
    }
    let model = Probe([linear, norm]) { try norm(linear($0)) }
    var graph = try ExportGraph(of: model, like: Sample.numbers([2, 3]))
    try graph.foldNormalizations()
    let call = try #require(graph.graph.calls.first)
    #expect(graph.graph.calls.count == 1 && graph.foldedNormalizations == 1)
    func numbers(_ name: String) throws -> [Float] {
      let value = try #require(call.arguments[name]?.references.first)
      return try #require(graph.graph.values[value].constant).floats()
    }
    // γ / √(σ² + ε) is 1 to 2.5e-6 of both.
    for (given, wanted) in zip(try numbers("weight"), [1, 2, 3, -1, 0, 4] as [Float]) {
      #expect(abs(given - wanted) < 2e-5)
    }
    for (given, wanted) in zip(try numbers("bias"), [9.5, 17] as [Float]) { #expect(abs(given - wanted) < 2e-5) }
  }

  @Test(
    "Many weights are in a file beside it, which ONNX Runtime finds", .enabled(if: PythonEnvironment.onnx.path != nil))
  func externalWeights() throws {
    var options = ONNXModel.Options()
    options.externalWeightsFrom = 0
    let model = try Sample.model(Self.small)
    let inputs = try Sample.numbers([2, 3, 8, 8])
    try withTemporaryFolder { folder in
      let made = try ONNXModel(of: model, like: inputs, options: options)
      let path = "\(folder)/large.onnx"
      #expect(made.files(at: path) == [path, "\(path).data"])
      try made.write(to: path)
      let proto = try Onnx_ModelProto(serializedBytes: Data(contentsOf: URL(fileURLWithPath: path)))
      let outside = proto.graph.initializer.filter { $0.dataLocation == .external }
      #expect(!outside.isEmpty && outside.allSatisfy { $0.rawData.isEmpty })
      for tensor in outside {
        let facts = Dictionary(uniqueKeysWithValues: tensor.externalData.map { ($0.key, $0.value) })
        #expect(facts["location"] == "large.onnx.data" && (Int(facts["offset"] ?? "") ?? 1) % 4096 == 0)
      }
      let check = try made.check(
        at: path, against: model, examples: inputs, python: try #require(PythonEnvironment.onnx.path))
      #expect(check.isSame)
    }
  }

  @Test(
    "Pictures go in as bytes, in both layouts and in any size, and tables as they are",
    .enabled(if: PythonEnvironment.onnx.path != nil),
    arguments: [
      ONNXPreprocessing(),
      ONNXPreprocessing(
        layout: .nchw,
        normalization: Normalization(mean: [0.4, 0.5, 0.6], standardDeviation: [0.2, 0.25, 0.3])),
      ONNXPreprocessing(
        layout: .nhwc, normalization: Normalization(mean: [0.5], standardDeviation: [0.2]), resizes: true),
    ])
  func preprocessing(_ preprocessing: ONNXPreprocessing) throws {
    var options = ONNXModel.Options()
    options.preprocessing = preprocessing
    let made = try Sample.expectSame(Sample.model(Self.small), Sample.numbers([1, 3, 8, 8]), options)
    let sides = preprocessing.resizes ? "height × width" : "8 × 8"
    let shape = preprocessing.layout == .nhwc ? "\(sides) × 3" : "3 × \(sides)"
    #expect(made.inputSentence == "image: uint8, batch × \(shape)")
  }

  @Test("Tables are normalized in the file", .enabled(if: PythonEnvironment.onnx.path != nil))
  func tables() throws {
    var options = ONNXModel.Options()
    options.preprocessing = ONNXPreprocessing(
      normalization: Normalization(mean: [1, 2, 3, 4], standardDeviation: [1, 2, 0.5, 1]))
    let model = try Sample.model(ModelSpecification("mlp", ["hidden": [5]], inputShape: [4], classCount: 3))
    try Sample.expectSame(model, Sample.numbers([2, 4]), options)
  }

  @Test("The Swift of the guide is this", .enabled(if: PythonEnvironment.onnx.path != nil))
  func guide() throws {
    let (student, images) = (try Sample.model(Self.small), try Sample.numbers([2, 3, 8, 8]))
    try withTemporaryFolder { folder in
      let file = "\(folder)/student.onnx"
      let python = try #require(PythonEnvironment.onnx.path)
      // begin
      var options = ONNXModel.Options()
      options.metadata["labels"] = "[\"cat\", \"dog\"]"
      let exported = try ONNXModel(of: student, like: images, options: options)
      try exported.write(to: file)
      let check = try exported.check(at: file, against: student, examples: images, python: python)
      print(check.runtime, check.isSame)
      // end
      #expect(check.isSame)
    }
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let guide = try String(contentsOf: root.appending(path: "Guides/Export.md"), encoding: .utf8)
    let shown = try #require(guide.firstMatch(of: /```swift\nimport DistillExport\n\n((?s:.*?))```/)).1
    let own = try String(contentsOf: URL(filePath: #filePath), encoding: .utf8)
    let block = try #require(own.firstMatch(of: /\/\/ begin\n((?s:.*?)) *\/\/ end/)).1
    let lines = block.split(separator: "\n").map { line in
      String(line.drop { $0 == " " })
        .replacing(": file", with: ": \"student.onnx\"").replacing(", python: python", with: "")
    }
    #expect(shown.split(separator: "\n").map(String.init) == lines)
  }

  @Test("A runtime that gives other numbers is found out", .enabled(if: PythonEnvironment.onnx.path != nil))
  func difference() throws {
    let model = try Sample.model(Self.small)
    let inputs = try Sample.numbers([2, 3, 8, 8])
    try withTemporaryFolder { folder in
      let made = try ONNXModel(of: model, like: inputs)
      let path = "\(folder)/x.onnx"
      try made.write(to: path)
      try withoutGradient { try model.parameters[0].copy(from: model.parameters[0] * 1.01) }
      let python = try #require(PythonEnvironment.onnx.path)
      let check = try made.check(at: path, against: model, examples: inputs, python: python)
      #expect(!check.isSame && check.batches.allSatisfy { $0.difference > 1e-5 })
      try Data("no model".utf8).write(to: URL(fileURLWithPath: path))
      #expect(throws: Unverified.self) {
        try made.check(at: path, against: model, examples: inputs, python: python)
      }
      #expect(throws: Unverified.noRuntime("there is no no-such-python")) {
        try made.check(at: path, against: model, examples: inputs, python: "no-such-python")
      }
    }
  }

  @Test("What cannot be exported is said, and why")
  func refusals() throws {
    func problem(_ options: ONNXModel.Options = ONNXModel.Options(), _ body: @escaping (Tensor) throws -> Tensor)
      -> String
    {
      do {
        _ = try ONNXModel(of: Probe([], body), like: Sample.numbers([2, 4]), options: options)
        return ""
      } catch { return "\(error)" }
    }
    #expect(
      problem { try $0.reshaped([$0.size(0), 2, 2]).symmetricEigenvectors().values }.contains("aten::linalg_eigh"))
    #expect(problem { try $0.sum().item() > 0 ? $0 : $0 * 2 }.contains("looks at its numbers"))
    #expect(problem { try $0.size(0) == 2 ? $0 * 2 : $0 + 1 }.contains("depends on what it sees"))
    #expect(problem { try $0 + Tensor.empty([4]).drawNormal() } != "")
    var options = ONNXModel.Options()
    options.inputName = "logits"
    #expect(problem(options) { try $0 * 2 }.contains("two different ones"))
    options = ONNXModel.Options()
    options.preprocessing = ONNXPreprocessing(resizes: true)
    #expect(problem(options) { try $0 * 2 }.contains("only pictures"))
    options.preprocessing = ONNXPreprocessing(normalization: Normalization(mean: [1, 2], standardDeviation: [1]))
    #expect(problem(options) { try $0 * 2 }.contains("2 numbers for 4 channels"))
  }

  @Test("A graph has the calls with the names of their arguments, and counts what hangs on the batch")
  func recording() throws {
    let linear = try Linear(3, 2)
    let graph = try RecordedGraph(like: Sample.numbers([5, 3])) { input in
      [try linear(input).reshaped([input.size(0) * 2, 1])]
    }
    #expect(graph.calls.map(\.name) == ["distill::linear", "aten::reshape"])
    #expect(graph.values[0].shape == [.perExample(1), .fixed(3)])
    #expect(graph.calls[1].arguments["shape"] == .counts([.perExample(2), .fixed(1)]))
    #expect(graph.values[graph.outputs[0]].shape == [.perExample(2), .fixed(1)])
    let weight = try #require(graph.calls[0].arguments["weight"]?.references.first)
    #expect(graph.values[weight].constant?.identity == linear.weight.identity)
    // What is made of constants alone is one.
    let scaled = try RecordedGraph(like: Sample.numbers([5, 3])) { [try $0 * (linear.bias ?? $0).sum()] }
    #expect(scaled.calls.map(\.name) == ["aten::mul"])
  }
}
