import DistillData
import DistillModels
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@testable import DistillExport

/// Every family of the zoo, and every operator that has a form, gives in coremltools what it gives here.
@Suite(
  .enabled(if: PythonEnvironment.coreML.path != nil, PythonEnvironment.coreML.missing), .timeLimit(.minutes(30)))
struct CoreMLTests {
  /// Writes a package, lets coremltools read and compute it, and expects what the model gives here.
  @discardableResult
  private func expectSame(
    _ model: any Layer, _ inputs: Tensor, _ options: CoreMLModel.Options = CoreMLModel.Options(),
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> CoreMLModel {
    let python = try #require(PythonEnvironment.coreML.path)
    return try withTemporaryFolder { folder in
      let made = try CoreMLModel(of: model, like: inputs, options: options)
      let path = "\(folder)/model.mlpackage"
      try made.write(to: path)
      let check = try made.check(at: path, against: model, examples: inputs, python: python)
      #expect(check.runtime.hasPrefix("coremltools"), sourceLocation: sourceLocation)
      #expect(
        check.batches.map(\.examples) == Array(repeating: 1, count: inputs.shape[0]), sourceLocation: sourceLocation)
      #expect(check.isSame, "\(check.batches)", sourceLocation: sourceLocation)
      return made
    }
  }

  @Test(arguments: ONNXZooTests.specifications)
  func isComputedTheSame(_ specification: ModelSpecification) throws {
    let made = try expectSame(Sample.model(specification), ONNXZooTests.inputs(specification, 2))
    let family = try ModelZoo.architecture(named: specification.architecture)
    #expect(made.inputName == (family.input == .tokens ? "tokens" : "input"))
  }

  @Test(arguments: FormCase.Topic.allCases)
  func topic(_ topic: FormCase.Topic) throws {
    let made = try FormCase.of(topic)
    try expectSame(made.model, made.inputs(2))
  }

  @Test("Pictures in grey and colours are normalized in the program, and classes have names", arguments: [1, 3])
  func picture(channels: Int) throws {
    let model = try Sample.model(
      ModelSpecification("resnet-cifar", ["depth": 8], inputShape: [channels, 16, 12], classCount: 3))
    var options = CoreMLModel.Options()
    options.picture = .init(
      normalization: Normalization(
        mean: Array([0.4, 0.5, 0.6].prefix(channels)), standardDeviation: Array([0.2, 0.3, 0.25].prefix(channels))))
    options.labels = ["cat", "dog", "a \"cow\", é"]
    let made = try expectSame(model, Sample.numbers([2, channels, 16, 12]), options)
    #expect(made.inputSentence == "image: picture, 16 × 12, \(channels == 3 ? "colours" : "grey")")
    #expect(made.operators["classify"] == 1 && made.operators["softmax"] == 1)
    // Other classes than the package has are noticed.
    try withTemporaryFolder { folder in
      try made.write(to: "\(folder)/model.mlpackage")
      var others = options
      others.labels = ["dog", "cat", "cow"]
      let python = try #require(PythonEnvironment.coreML.path)
      let error = #expect(throws: Unverified.self) {
        try CoreMLModel(of: model, like: Sample.numbers([2, channels, 16, 12]), options: others)
          .check(
            at: "\(folder)/model.mlpackage", against: model, examples: Sample.numbers([1, channels, 16, 12]),
            python: python)
      }
      guard case .refused(let reason) = error else { return #expect(Bool(false), "\(String(describing: error))") }
      #expect(reason.contains("classes are others"))
    }
  }

  @Test("A package of another model is not the same")
  func anotherModel() throws {
    func model(_ classes: Int) throws -> any Layer {
      try Sample.model(ModelSpecification("mlp", ["hidden": [classes * 3]], inputShape: [5], classCount: 4))
    }
    let python = try #require(PythonEnvironment.coreML.path)
    try withTemporaryFolder { folder in
      let made = try CoreMLModel(of: model(3), like: Sample.numbers([2, 5]))
      try made.write(to: "\(folder)/model.mlpackage")
      let check = try made.check(
        at: "\(folder)/model.mlpackage", against: model(5), examples: Sample.numbers([2, 5]), python: python)
      #expect(!check.isSame)
    }
  }

  @Test(
    "In float16 the numbers differ as float16 does",
    arguments: [
      ModelSpecification("resnet-cifar", ["depth": 8], inputShape: [3, 16, 16], classCount: 4),
      ModelSpecification(
        "bert", ["vocabulary": 30, "depth": 2, "width": 16, "heads": 2], inputShape: [8], classCount: 3),
    ])
  func half(_ specification: ModelSpecification) throws {
    var options = CoreMLModel.Options()
    options.isHalf = true
    let model = try Sample.model(specification)
    let made = try expectSame(model, ONNXZooTests.inputs(specification, 2), options)
    #expect(made.weights.tensors.allSatisfy { $0.tensor.dtype == .float16 })
  }
}

/// What a package holds.
struct CoreMLPackageTests {
  @Test("Recurrent layers are refused by name")
  func refused() throws {
    let lstm = try LSTM(6, 5)
    let model = Probe([lstm]) { try lstm($0) }
    let error = #expect(throws: ExportError.self) { try CoreMLModel(of: model, like: Sample.numbers([2, 7, 6])) }
    #expect(error?.description.contains("aten::lstm") == true && error?.description.contains("Core ML") == true)
  }

  @Test("Weights lie as the storage format says, and a second package takes the first one's place")
  func weights() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/model.mlpackage"
      var sizes: [Int] = []
      for hidden in [11, 20] {
        let model = try Sample.model(ModelSpecification("mlp", ["hidden": [hidden]], inputShape: [4], classCount: 2))
        try CoreMLModel(of: model, like: Sample.numbers([2, 4])).write(to: path)
        let files = try CoreMLModel.files(at: path).map { try Data(contentsOf: URL(fileURLWithPath: $0)) }
        sizes.append(files[2].count)
        // Three tensors of ten numbers and more: two weights, and the bias of the hidden layer.
        let words = files[2].withUnsafeBytes { bytes in
          (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self) }
        }
        #expect(Array(words[0..<2]) == [3, 2] && words[2..<16].allSatisfy { $0 == 0 })
        #expect(words[16] == 0xDEAD_BEEF && words[17] == 2 && words[18] == 4 * 4 * UInt32(hidden) && words[20] == 128)
        let first = try #require(model.state.first { $0.tensor.shape == [hidden, 4] })
        #expect(try words[32..<32 + 4 * hidden].map(Float.init(bitPattern:)) == first.tensor.floats())
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["model.mlpackage"])
      }
      #expect(sizes[1] > sizes[0])
    }
  }

  @Test("Classes of one name are told apart by their numbers")
  func names() {
    #expect(CoreMLModel.distinct(["crane", "dog", "crane"]) == ["crane (0)", "dog", "crane (2)"])
    #expect(CoreMLModel.distinct(["a (1)", "a", "a"]) == ["a (1)", "a (1)'", "a (2)"])
  }

  @Test("What cannot be a package or its input is said")
  func misfits() throws {
    let model = try Sample.model(ModelSpecification("mlp", ["hidden": [5]], inputShape: [4], classCount: 2))
    let inputs = try Sample.numbers([2, 4])
    func message(_ change: (inout CoreMLModel.Options) -> Void) throws -> String {
      var options = CoreMLModel.Options()
      change(&options)
      let error = #expect(throws: ExportError.self) { try CoreMLModel(of: model, like: inputs, options: options) }
      return error?.description ?? ""
    }
    #expect(try message { $0.picture = .init() }.contains("1 or 3 channels"))
    #expect(try message { $0.labels = ["a", "b", "c"] }.contains("3 classes"))
    #expect(try message { $0.inputName = "a b" }.contains("a b"))
    #expect(try message { $0.inputName = "logits" }.contains("different names"))
    try withTemporaryFolder { folder in
      let made = try CoreMLModel(of: model, like: inputs)
      #expect(throws: ExportError.self) { try made.write(to: "\(folder)/model.onnx") }
      let path = "\(folder)/mine.mlpackage"
      try Data("mine".utf8).write(to: URL(fileURLWithPath: path))
      #expect(throws: ExportError.self) { try made.write(to: path) }
      #expect(try String(contentsOfFile: path, encoding: .utf8) == "mine")
    }
  }
}
