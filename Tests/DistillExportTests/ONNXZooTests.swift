import DistillExport
import DistillModels
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// Every family of the zoo gives in ONNX Runtime what it gives here.
@Suite(.enabled(if: PythonEnvironment.onnx.path != nil, PythonEnvironment.onnx.missing), .timeLimit(.minutes(10)))
struct ONNXZooTests {
  /// Small models of every family, and of their options that change what is computed.
  static let specifications: [ModelSpecification] = [
    ModelSpecification("mlp", ["hidden": [12, 9]], inputShape: [1, 5, 5], classCount: 4),
    ModelSpecification("mlp", ["hidden": [8], "dropout": 0.5], inputShape: [6], classCount: 3),
    ModelSpecification("convnet", inputShape: [3, 16, 16], classCount: 5),
    ModelSpecification("resnet9", ["widths": [4, 6, 8, 8]], inputShape: [1, 28, 28], classCount: 10),
    ModelSpecification(
      "convnet", ["widths": [6, 9], "depthwise": true, "strides": [2, 1], "kernel": 5, "head": "flatten"],
      inputShape: [1, 17, 14], classCount: 3),
    ModelSpecification(
      "resnet9", ["widths": [4, 6, 8, 8], "head": "average"], inputShape: [3, 32, 32], classCount: 10),
    ModelSpecification("resnet-cifar", ["depth": 8], inputShape: [3, 32, 32], classCount: 10),
    ModelSpecification(
      "resnet-cifar", ["depth": 8, "width": 0.5, "shortcut": "convolution"], inputShape: [3, 16, 16], classCount: 4),
    ModelSpecification("wide-resnet", ["depth": 10, "widen": 1], inputShape: [3, 16, 16], classCount: 6),
    ModelSpecification("mobilenet-v2", ["width": 0.35], inputShape: [3, 32, 32], classCount: 7),
    ModelSpecification("resnet", ["depth": 18], inputShape: [3, 32, 32], classCount: 5),
    ModelSpecification("resnet", ["depth": 50], inputShape: [3, 33, 40], classCount: 5),
    ModelSpecification(
      "reused-classifier",
      ["student": .model(InnerModel("resnet-cifar", ["depth": 8])), "teacher_features": [12, 3, 3]],
      inputShape: [3, 16, 16], classCount: 5),
    ModelSpecification(
      "decoder", ["depth": 2, "width": 16, "heads": 4, "length": 12], inputShape: [9], classCount: 11),
    ModelSpecification(
      "text-cnn", ["vocabulary": 13, "width": 6, "kernels": [2, 3], "filters": 5, "dropout": 0.5], inputShape: [9],
      classCount: 4),
    ModelSpecification(
      "decoder", ["depth": 1, "width": 8, "heads": 2, "tied": false], inputShape: [5], classCount: 7),
    ModelSpecification(
      "llama", ["depth": 2, "width": 16, "heads": 4, "key_heads": 2], inputShape: [9], classCount: 11),
    ModelSpecification(
      "llama", ["depth": 1, "width": 12, "heads": 2, "head_width": 4, "tied": true], inputShape: [6], classCount: 7),
    ModelSpecification(
      "bert", ["vocabulary": 40, "depth": 2, "width": 16, "heads": 4, "separator": 3], inputShape: [10], classCount: 5),
    ModelSpecification(
      "bert",
      [
        "vocabulary": 30, "depth": 1, "width": 12, "heads": 2, "padding": 1, "places_after_padding": true, "types": 1,
        "pooling": "mean", "head": "unit-embedding", "activation": "gelu-tanh",
      ], inputShape: [8], classCount: 12),
    ModelSpecification(
      "bert",
      ["vocabulary": 30, "depth": 1, "width": 12, "heads": 3, "types": 0, "pooling": "relu", "activation": "relu"],
      inputShape: [8], classCount: 3),
    ModelSpecification(
      "vit", ["depth": 2, "width": 24, "heads": 3, "patch": 8], inputShape: [3, 32, 24], classCount: 6),
    ModelSpecification(
      "vit",
      ["depth": 1, "width": 16, "heads": 2, "patch": 7, "distillation": "averaged", "activation": "silu"],
      inputShape: [1, 28, 28], classCount: 10),
    ModelSpecification("efficientnet", ["width": 0.25, "depth": 0.5], inputShape: [3, 33, 40], classCount: 5),
    ModelSpecification(
      "efficientnet", ["width": 0.25, "depth": 0.3, "lite": true, "padding": "same", "epsilon": 0.001],
      inputShape: [3, 33, 40], classCount: 5),
    ModelSpecification("mobilenet-v3", ["kind": "small", "width": 0.25], inputShape: [3, 40, 33], classCount: 4),
    ModelSpecification("mobilenet-v3", ["kind": "large", "width": 0.25], inputShape: [1, 32, 32], classCount: 4),
  ]

  /// Some inputs for a model: numbers, or tokens of which the later texts have fewer, filled up with padding.
  static func inputs(_ specification: ModelSpecification, _ count: Int) throws -> Tensor {
    let shape = [count] + specification.inputShape
    guard try ModelZoo.architecture(named: specification.architecture).input == .tokens else {
      return try Sample.numbers(shape)
    }
    guard case .integer(let vocabulary) = specification.options["vocabulary"] else {
      return try Sample.tokens(shape, below: specification.classCount)
    }
    let padding = if case .integer(let token) = specification.options["padding"] { token } else { 0 }
    let length = specification.inputShape[0]
    var tokens = try Sample.tokens(shape, below: vocabulary).array(of: Int.self)
    for row in 0..<count { for place in max(1, length - 3 * row)..<length { tokens[row * length + place] = padding } }
    return try Tensor(tokens, shape: shape)
  }

  @Test(arguments: specifications)
  func isComputedTheSame(_ specification: ModelSpecification) throws {
    let model = try Sample.model(specification)
    let family = try ModelZoo.architecture(named: specification.architecture)
    let made = try Sample.expectSame(model, Self.inputs(specification, 3))
    let normalizations = model.namedModules.count { $0.module is BatchNorm }
    let left = made.operators["BatchNormalization"] ?? 0
    #expect(made.foldedNormalizations + left == normalizations)
    // Those that stand before their convolution can be folded into none.
    #expect(specification.architecture == "wide-resnet" ? left > 0 : left == 0)
    #expect(made.inputName == (family.input == .tokens ? "tokens" : "input"))
  }

  /// A family that nobody exported yet is missing above.
  @Test func allFamiliesAreThere() {
    #expect(Set(Self.specifications.map(\.architecture)) == Set(ModelZoo.architectures.map(\.name)))
  }

  @Test("Folding can be forbidden, and gives the same")
  func withoutFolding() throws {
    let model = try Sample.model(
      ModelSpecification("resnet-cifar", ["depth": 8], inputShape: [3, 32, 32], classCount: 10))
    var options = ONNXModel.Options()
    options.foldsNormalization = false
    let made = try Sample.expectSame(model, Sample.numbers([2, 3, 32, 32]), options)
    #expect(made.foldedNormalizations == 0 && made.operators["BatchNormalization"] == 7)
    // The model itself keeps its normalization.
    #expect(model.namedModules.count { $0.module is BatchNorm } == 7)
  }
}
