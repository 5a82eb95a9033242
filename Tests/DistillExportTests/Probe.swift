import DistillExport
import DistillModels
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// A layer that is a function, for forms that no model of the zoo has.
final class Probe: Layer {
  let body: (Tensor) throws -> Tensor
  /// What the function has besides.
  let inner: [any Module]

  init(_ inner: [any Module] = [], _ body: @escaping (Tensor) throws -> Tensor) {
    self.inner = inner
    self.body = body
  }

  func forward(_ input: Tensor) throws -> Tensor { try body(input) }
}

enum Sample {
  /// Numbers from −2 to 2 that are the same every time.
  static func numbers(_ shape: [Int], seed: UInt64 = 1) throws -> Tensor {
    var source = RandomSource(seed: seed)
    return try Tensor((0..<shape.reduce(1, *)).map { _ in Float(source.uniform() * 4 - 2) }, shape: shape)
  }

  static func tokens(_ shape: [Int], below count: Int) throws -> Tensor {
    var source = RandomSource(seed: 2)
    return try Tensor((0..<shape.reduce(1, *)).map { _ in Int.random(in: 0..<count, using: &source) }, shape: shape)
  }

  /// A model of the zoo in evaluation mode, with statistics as a training leaves them.
  static func model(_ specification: ModelSpecification) throws -> any FeatureClassifier {
    let model = try withRandomStream(RandomStream(seed: 3)) { try ModelZoo.make(specification) }
    var seed: UInt64 = 10
    try withoutGradient {
      for case let norm as BatchNorm in model.namedModules.map(\.module) {
        seed += 4
        let shape = norm.weight.shape
        try norm.runningMean.copy(from: numbers(shape, seed: seed) * 0.2)
        try norm.runningVariance.copy(from: numbers(shape, seed: seed + 1) * 0.2 + 1)
        try norm.weight.copy(from: numbers(shape, seed: seed + 2) * 0.2 + 1)
        try norm.bias.copy(from: numbers(shape, seed: seed + 3) * 0.2)
      }
    }
    model.eval()
    return model
  }

  /// Exports a model, runs the file in ONNX Runtime with 1 and 7 examples, and expects what the model gives here.
  @discardableResult
  static func expectSame(
    _ model: any Layer, _ inputs: Tensor, _ options: ONNXModel.Options = ONNXModel.Options(),
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> ONNXModel {
    let python = try #require(PythonEnvironment.onnx.path)
    return try withTemporaryFolder { folder in
      let made = try ONNXModel(of: model, like: inputs, options: options)
      let path = "\(folder)/model.onnx"
      try made.write(to: path)
      let check = try made.check(at: path, against: model, examples: inputs, python: python)
      #expect(check.checker != nil, sourceLocation: sourceLocation)
      #expect(check.batches.map(\.examples) == [1, 7], sourceLocation: sourceLocation)
      #expect(check.isSame, "\(check.batches)", sourceLocation: sourceLocation)
      return made
    }
  }
}
