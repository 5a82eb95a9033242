import DistillExport
import DistillModels
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@testable import DistillPrograms

/// ONNX models as layers.
@Suite(.enabled(if: ONNXRuntimeForTests.isThere, PythonEnvironment.onnx.missing)) struct ONNXProgramTests {
  static let folder = TorchProgramTests.folder

  @Test(arguments: [("linear", 1e-6), ("fixed", 1e-6), ("half", 1e-2)], [1, 2, 3, 4, 7])
  func equalsNumPy(_ model: (name: String, deviation: Double), _ count: Int) throws {
    let program = try ForeignProgram("\(Self.folder)/\(model.name).onnx")
    let output = try program(try TorchProgramTests.images(count))
    #expect(output.shape == [count, 10])
    #expect(output.dtype == .float32)
    let rows = min(count, 2)
    try assertClose(
      output.sliced(0, from: 0, to: rows), TorchProgramTests.logits("onnx-values").sliced(0, from: 0, to: rows),
      relative: 1e-5, absolute: model.deviation)
    // What fills up a batch of fixed size changes nothing.
    let whole = try ForeignProgram("\(Self.folder)/linear.onnx")(try TorchProgramTests.images(count))
    try assertClose(output, whole, absolute: model.deviation)
  }

  @Test func takesTokens() throws {
    let program = try ForeignProgram("\(Self.folder)/tokens.onnx")
    let expected = try TorchProgramTests.logits("onnx-values", key: "tokens")
    try assertClose(program(try Tensor((0..<16).map { Int64($0) }, shape: [2, 8])), expected)
    try assertClose(program(try Tensor((0..<16).map { Int32($0) }, shape: [2, 8])), expected)
    let error = try #require(throws: ProgramError.self) { try program(try Tensor.zeros([2, 8])) }
    #expect(error.description.contains("its input 'tokens' takes int64, and examples are float32"))
  }

  @Test func choosesOutputs() throws {
    let images = try TorchProgramTests.images(2)
    #expect(try ForeignProgram("\(Self.folder)/linear.onnx", output: .place(0))(images).shape == [2, 64])
    #expect(try ForeignProgram("\(Self.folder)/linear.onnx", output: .named("features"))(images).shape == [2, 64])
    let error = try #require(throws: ProgramError.self) {
      try ForeignProgram("\(Self.folder)/linear.onnx", output: .named("scores"))(images)
    }
    #expect(
      error.description.contains("there is no output 'scores': it gives 2 outputs (0 'features', 1 'logits')"))
    let softened = try ForeignProgram("\(Self.folder)/softmax.onnx", givesProbabilities: true)(images)
    try assertClose(softened, try TorchProgramTests.logits("onnx-values").logSoftmax(along: 1), absolute: 1e-5)
  }

  @Test func saysWhatDoesNotFit() throws {
    let program = try ForeignProgram("\(Self.folder)/linear.onnx")
    let error = try #require(throws: ProgramError.self) { try program(try Tensor.zeros([2, 3, 8, 8])) }
    #expect(
      error.description.contains("its input 'images' has the shape [any, 1, 8, 8], and examples come as [2, 3, 8, 8]"))
  }

  @Test("A quantized file is computed in integers by the library, too")
  func quantized() throws {
    let model = try withRandomStream(RandomStream(seed: 3)) {
      try ModelZoo.make(ModelSpecification("convnet", inputShape: [3, 8, 8], classCount: 4))
    }
    model.eval()
    let numbers = (0..<7680).map { (index: Int) -> Float in Float(index * 37 % 101) / 50 - 1 }
    let images = try Tensor(numbers, shape: [40, 3, 8, 8])
    try withTemporaryFolder { folder in
      let made = try ONNXModel(of: model, like: images, calibration: Calibration(examples: images))
      try made.write(to: "\(folder)/small.onnx")
      let program = try ForeignProgram("\(folder)/small.onnx")
      for count in [1, 7] {
        let batch = try images.sliced(0, from: 0, to: count)
        let (given, wanted) = (try program(batch), try withoutGradient { try model(batch) })
        let apart = try (given - wanted).norm().item() / wanted.norm().item()
        #expect(given.shape == [count, 4] && apart > 0 && apart < 0.1)
      }
    }
  }

  /// Operators of other libraries are never looked for.
  @Test func loadsNoLibraries() throws {
    let error = try #require(throws: ProgramError.self) {
      try ForeignProgram("\(Self.folder)/foreign-operator.onnx")
    }
    #expect(error.description.contains("it cannot be loaded"))
    #expect(error.description.contains("elsewhere"))
  }

  /// A model of ours that left as ONNX gives what it gave here.
  @Test func equalsTheModelThatWasExported() throws {
    try withTemporaryFolder { folder in
      let model = try ModelZoo.make(
        ModelSpecification("convnet", ["widths": .integers([4, 8])], inputShape: [1, 8, 8], classCount: 10))
      let exported = try withMode(model) {
        try ONNXModel(of: model, like: try TorchProgramTests.images(2))
      }
      try exported.write(to: "\(folder)/model.onnx")
      let program = try ForeignProgram("\(folder)/model.onnx")
      for count in [1, 5] {
        let images = try TorchProgramTests.images(count)
        try assertClose(program(images), try withMode(model) { try model(images) }, relative: 1e-5, absolute: 1e-5)
      }
    }
  }

  @Test func refusesDamagedFiles() throws {
    let whole = try Data(contentsOf: URL(filePath: "\(Self.folder)/linear.onnx"))
    var files: [Data] = [Data(), Data("no model".utf8), whole.prefix(1_000), whole.dropLast(3)]
    for place in stride(from: 0, to: whole.count, by: whole.count / 60) {
      var changed = whole
      changed[place] = changed[place] &+ 127
      files.append(changed)
    }
    try withTemporaryFolder { folder in
      for (index, file) in files.enumerated() {
        let path = "\(folder)/\(index).onnx"
        try file.write(to: URL(filePath: path))
        do {
          let program = try ForeignProgram(path)
          #expect(try program(try TorchProgramTests.images(2)).shape.first == 2)
        } catch let error as ProgramError {
          #expect(error.path == path)
          #expect(error.description.count < 700, "\(error)")
        }
      }
    }
  }

  /// What ONNX Runtime says of itself is left out, and what a person can do something about stays.
  @Test func tellsWhyAVersionIsNotRead() throws {
    let whole = try Data(contentsOf: URL(filePath: "\(Self.folder)/linear.onnx"))
    // The field of the file's version is the first one: a key, and a number below 128.
    #expect(whole[0] == 0x08 && whole[1] < 0x80)
    try withTemporaryFolder { folder in
      let path = "\(folder)/later.onnx"
      try (Data([0x08, 99]) + whole.dropFirst(2)).write(to: URL(filePath: path))
      let error = try #require(throws: ProgramError.self) { _ = try ForeignProgram(path) }
      #expect(error.description.contains("it cannot be loaded: Unsupported model IR version: 99, max supported"))
    }
    let said =
      "Load model from a b.onnx failed:/x/graph/utils.h:46 void f(const map<int(int)>&, bool) Opset 99 (new) is not read."
    #expect(ONNXRuntimeLibrary.plain(said) == "Opset 99 (new) is not read.")
    for other in ["", "Load model from x", "/x/a.cc:4 void f(", "Fatal error: acme:Reshape(-1) is not registered"] {
      #expect(ONNXRuntimeLibrary.plain(other) == other)
    }
  }

  /// Sizes that no memory has are a message, wherever they stand.
  @Test(arguments: ["huge-weight", "huge-tensor"])
  func refusesHugeSizes(_ name: String) throws {
    let error = try #require(throws: ProgramError.self) {
      _ = try ForeignProgram("\(Self.folder)/\(name).onnx")(try TorchProgramTests.images(2))
    }
    #expect(error.description.count < 700, "\(error)")
  }

  private func withMode<Result>(_ model: any Layer, _ body: () throws -> Result) throws -> Result {
    try withoutGradient { try model.withMode(training: false, body) }
  }
}
