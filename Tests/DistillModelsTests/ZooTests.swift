import DistillModels
import Foundation
import Testing
import Torch
import TorchNN

@Suite struct ZooTests {
  struct Published: Sendable, CustomTestStringConvertible {
    var specification: ModelSpecification
    var parameters: Int
    var multiplyAdds: Int
    var testDescription: String { "\(specification.architecture) \(specification.options)" }
  }

  static let published = [
    Published(
      specification: ModelSpecification("resnet", ["depth": 18], inputShape: [3, 224, 224], classCount: 1000),
      parameters: 11_689_512, multiplyAdds: 1_814_073_344),
    Published(
      specification: ModelSpecification("resnet", ["depth": 50], inputShape: [3, 224, 224], classCount: 1000),
      parameters: 25_557_032, multiplyAdds: 4_089_184_256),
    Published(
      specification: ModelSpecification("mobilenet-v2", inputShape: [3, 224, 224], classCount: 1000),
      parameters: 3_504_872, multiplyAdds: 300_774_272),
    Published(
      specification: ModelSpecification("resnet-cifar", ["depth": 20], inputShape: [3, 32, 32], classCount: 10),
      parameters: 269_722, multiplyAdds: 40_551_040),
    Published(
      specification: ModelSpecification("resnet-cifar", ["depth": 56], inputShape: [3, 32, 32], classCount: 10),
      parameters: 853_018, multiplyAdds: 125_485_696),
    Published(
      specification: ModelSpecification("resnet-cifar", ["depth": 110], inputShape: [3, 32, 32], classCount: 10),
      parameters: 1_727_962, multiplyAdds: 252_887_680),
    Published(
      specification: ModelSpecification(
        "wide-resnet", ["depth": 16, "widen": 2], inputShape: [3, 32, 32], classCount: 10),
      parameters: 691_674, multiplyAdds: 101_106_944),
    Published(
      specification: ModelSpecification(
        "wide-resnet", ["depth": 40, "widen": 2], inputShape: [3, 32, 32], classCount: 100),
      parameters: 2_255_156, multiplyAdds: 327_610_880),
    Published(
      specification: ModelSpecification("mlp", ["hidden": [1200, 1200]], inputShape: [1, 28, 28], classCount: 10),
      parameters: 2_395_210, multiplyAdds: 2_392_800),
  ]

  @Test(arguments: published)
  func sizesAreThePublishedOnes(model: Published) throws {
    let made = try ModelZoo.make(model.specification)
    #expect(made.parameterCount == model.parameters)
    #expect(try made.summary(inputShape: model.specification.inputShape).multiplyAdds == model.multiplyAdds)
  }

  /// A small instance of each family and the taps that people use.
  static let tapped: [(ModelSpecification, [String])] = [
    (
      ModelSpecification("mlp", ["hidden": [6, 5]], inputShape: [1, 4, 4], classCount: 3),
      ["hidden.0", "hidden.1", "output"]
    ),
    (
      ModelSpecification("convnet", ["widths": [3, 4]], inputShape: [1, 8, 8], classCount: 3),
      ["features.0", "features.1", "classifier"]
    ),
    (
      ModelSpecification("resnet9", ["widths": [3, 4, 5]], inputShape: [1, 8, 8], classCount: 3),
      ["stem", "stages.0", "stages.1", "stages.1.residual.0", "classifier"]
    ),
    (
      ModelSpecification("resnet-cifar", ["depth": 8, "width": 0.25], inputShape: [1, 8, 8], classCount: 3),
      ["layer1", "layer2", "layer3", "layer2.0", "layer2.0.downsample", "layer3.0.conv2", "fc"]
    ),
    (
      ModelSpecification("wide-resnet", ["depth": 10, "widen": 1], inputShape: [1, 8, 8], classCount: 3),
      ["layer1", "layer2", "layer3", "layer3.0.bn2", "fc"]
    ),
    (
      ModelSpecification("mobilenet-v2", ["width": 0.25], inputShape: [3, 32, 32], classCount: 3),
      ["features.0", "features.6", "features.18", "classifier.1"]
    ),
    (
      ModelSpecification("resnet", ["depth": 18], inputShape: [3, 32, 32], classCount: 3),
      ["layer1", "layer2", "layer3", "layer4", "layer4.1", "avgpool", "fc"]
    ),
    (
      ModelSpecification(
        "reused-classifier",
        [
          "student": .model(InnerModel("resnet-cifar", ["depth": 8, "width": 0.25])), "teacher_features": [6, 4, 4],
        ], inputShape: [1, 8, 8], classCount: 3),
      ["layer1", "layer3", "projector", "teacher_classifier"]
    ),
    (
      ModelSpecification(
        "decoder", ["depth": 2, "width": 8, "heads": 2, "tied": false], inputShape: [6], classCount: 3),
      ["transformer.h.0", "transformer.h.1.attn", "transformer.ln_f", "lm_head"]
    ),
    (
      ModelSpecification(
        "llama", ["depth": 2, "width": 8, "heads": 4, "key_heads": 2], inputShape: [6], classCount: 3),
      ["model.layers.0", "model.layers.1.self_attn", "model.norm", "lm_head"]
    ),
    (
      ModelSpecification(
        "bert", ["vocabulary": 11, "depth": 2, "width": 8, "heads": 2, "length": 9], inputShape: [6], classCount: 3),
      [
        "bert.embeddings", "bert.encoder.layer.0", "bert.encoder.layer.1.attention.self", "bert.pooler.dense",
        "classifier",
      ]
    ),
    (
      ModelSpecification("text-cnn", ["vocabulary": 11, "width": 8, "filters": 4], inputShape: [6], classCount: 3),
      ["embedding", "convolutions.0", "convolutions.2", "classifier"]
    ),
    (
      ModelSpecification(
        "vit", ["patch": 4, "depth": 2, "width": 8, "heads": 2], inputShape: [3, 8, 8], classCount: 3),
      ["patch_embed.proj", "blocks.0", "blocks.1.attn", "norm", "head"]
    ),
    (
      ModelSpecification("efficientnet", ["width": 0.25, "dropout": 0.0], inputShape: [3, 32, 32], classCount: 3),
      ["blocks.0", "blocks.1.0", "blocks.3.0.se", "blocks.6", "classifier"]
    ),
    (
      ModelSpecification("mobilenet-v3", ["width": 0.25], inputShape: [3, 32, 32], classCount: 3),
      ["features.0", "features.4", "features.12", "classifier.3"]
    ),
  ]

  /// What a family takes: numbers of tokens, or images.
  private func inputs(_ count: Int, _ specification: ModelSpecification) throws -> Tensor {
    guard specification.inputShape.count == 1 else { return try images(count, specification.inputShape) }
    let length = specification.inputShape[0]
    let tokens = (0..<count * length).map { Float($0 % specification.classCount) }
    return try Tensor(tokens, shape: [count, length])
  }

  @Test(arguments: tapped.indices)
  func tapsGiveTheActivationsOfTheirPlace(index: Int) throws {
    let (specification, paths) = Self.tapped[index]
    let model = try ModelZoo.make(specification)
    model.eval()
    let trace = try model.trace(inputs(2, specification), taps: paths.map { Tap($0) })
    for path in paths { #expect(try trace.activation(at: Tap(path)).size(0) == 2) }
    let last = try trace.activation(at: Tap(try #require(paths.last)))
    #expect(try last.floats() == trace.output.floats())
    let summed = try model.summary(inputShape: specification.inputShape).rows.reduce(0) { $0 + $1.parameters }
    #expect(summed == model.parameterCount)
  }

  /// Features and what comes after them are the model, and the classifier is where its family says.
  @Test(arguments: tapped.indices)
  func featuresThenClassifierAreTheModel(index: Int) throws {
    let specification = Self.tapped[index].0
    let family = try ModelZoo.architecture(named: specification.architecture)
    let model = try ModelZoo.make(specification)
    model.eval()
    let input = try inputs(2, specification)
    let places = [Tap(family.features), Tap(family.classifier, .input), Tap(family.classifier)]
    let trace = try model.trace(input, taps: places)

    let features = try trace.activation(at: places[0])
    #expect(features.shape.first == 2 && [2, 3, 4].contains(features.rank))
    #expect(try model.features(of: input).floats() == features.floats())
    #expect(try model.classify(features).floats() == trace.output.floats())
    #expect(try trace.activation(at: places[2]).floats() == trace.output.floats())

    let state = Dictionary(uniqueKeysWithValues: model.state.map { ($0.name, $0.tensor.shape) })
    let row = try trace.activation(at: places[1])
    #expect(state["\(family.classifier).weight"] == [specification.classCount, try row.size(-1)])
    let hasBias = !["decoder", "llama"].contains(family.name)
    #expect(state["\(family.classifier).bias"] == (hasBias ? [specification.classCount] : nil))
    let classifier = model.module(at: family.classifier)
    #expect(classifier is Linear || classifier is FixedLinear)
  }

  @Test func everyFamilyIsTapped() {
    #expect(Self.tapped.map(\.0.architecture) == ModelZoo.architectures.map(\.name))
  }

  @Test func stagesHalveTheImage() throws {
    let model = try ModelZoo.make(
      ModelSpecification("resnet9", ["widths": [4, 6, 8, 8]], inputShape: [1, 28, 28], classCount: 10))
    let taps = (0..<3).map { Tap("stages.\($0)") }
    let trace = try model.trace(images(1, [1, 28, 28]), taps: [Tap("stem")] + taps)
    let shapes = try ([Tap("stem")] + taps).map { try trace.activation(at: $0).shape }
    #expect(shapes == [[1, 4, 28, 28], [1, 6, 14, 14], [1, 8, 7, 7], [1, 8, 3, 3]])
  }

  /// Training uses the batch's statistics and moves the running ones; evaluation does neither.
  @Test(arguments: tapped.indices)
  func trainingAndEvaluationDiffer(index: Int) throws {
    var specification = Self.tapped[index].0
    if ["mlp", "decoder", "llama", "bert", "text-cnn", "vit"].contains(specification.architecture) {
      specification.options["dropout"] = 0.5
    }
    let model = try ModelZoo.make(specification)
    let input = try inputs(8, specification)
    let buffers = { try model.namedBuffers.map { try $0.tensor.doubles() } }
    model.eval()
    let before = try buffers()
    let evaluated = try model(input).floats()
    #expect(try model(input).floats() == evaluated)
    #expect(try buffers() == before)
    model.train()
    #expect(try model(input).floats() != evaluated)
    if !before.isEmpty { #expect(try buffers() != before) }
  }

  @Test func dropoutStandsWhereItWasAskedFor() throws {
    func count(_ architecture: String, _ options: [String: OptionValue], _ shape: [Int] = [1, 8, 8]) throws -> Int {
      let model = try ModelZoo.make(ModelSpecification(architecture, options, inputShape: shape, classCount: 3))
      return model.namedModules.count { $0.module is Dropout }
    }
    #expect(try count("mlp", ["hidden": [4, 4]]) == 0)
    #expect(try count("mlp", ["hidden": [4, 4], "dropout": 0.5]) == 2)
    #expect(try count("mlp", ["hidden": [4, 4], "dropout": 0.5, "input_dropout": 0.2]) == 3)
    #expect(try count("wide-resnet", ["depth": 10, "widen": 1, "dropout": 0.3]) == 3)
    #expect(try count("convnet", ["widths": [4], "dropout": 0.1]) == 1)
    #expect(try count("resnet9", ["widths": [4], "dropout": 0.1]) == 1)
  }

  /// Weights of convolutions are normal with variance 2 / (out · kernel²), normalizations start as the identity.
  @Test func convolutionsStartAsKaimingSays() throws {
    let stream = try RandomStream(seed: 5, name: "init")
    for specification in [
      ModelSpecification("resnet-cifar", ["depth": 8, "width": 4.0], inputShape: [3, 8, 8], classCount: 10),
      ModelSpecification("wide-resnet", ["depth": 10, "widen": 4], inputShape: [3, 8, 8], classCount: 10),
      ModelSpecification("resnet9", ["widths": [64, 128]], inputShape: [3, 8, 8], classCount: 10),
    ] {
      let model = try withRandomStream(stream) { try ModelZoo.make(specification) }
      for (name, tensor) in model.namedParameters.map({ ($0.name, $0.tensor) }) {
        if tensor.rank == 4, tensor.count > 10_000 {
          let values = try tensor.doubles()
          let variance = values.reduce(0) { $0 + $1 * $1 } / Double(values.count)
          let expected = try 2 / Double(tensor.size(0) * tensor.size(2) * tensor.size(3))
          #expect(abs(variance / expected - 1) < 0.1, "\(name)")
          let beyond = values.count { abs($0) > 2 * expected.squareRoot() }
          #expect(abs(Double(beyond) / Double(values.count) - 0.0455) < 0.01, "\(name) is not normal")
        } else if name.contains("bn"), name.hasSuffix("weight") {
          #expect(try tensor.doubles().allSatisfy { $0 == 1 })
        } else if name.contains("bn") {
          #expect(try tensor.doubles().allSatisfy { $0 == 0 })
        }
      }
    }
  }

  @Test func theSameStreamGivesTheSameWeights() throws {
    let specification = Self.tapped[3].0
    func make(_ seed: UInt64) throws -> [[Double]] {
      try withRandomStream(RandomStream(seed: seed, name: "init")) {
        try ModelZoo.make(specification).parameters.map { try $0.doubles() }
      }
    }
    #expect(try make(1) == make(1))
    #expect(try make(1) != make(2))
  }

  /// Networks of convolutions take other sizes of image than the one they were made for.
  @Test func imagesOfOnePixelPass() throws {
    let fixed = ["mlp", "convnet", "resnet9", "decoder", "llama", "bert", "text-cnn", "vit"]
    for (specification, _) in Self.tapped where !fixed.contains(specification.architecture) {
      var tiny = specification
      tiny.inputShape = [specification.inputShape[0], 1, 1]
      let model = try ModelZoo.make(tiny)
      model.eval()
      #expect(try model(images(1, tiny.inputShape)).shape == [1, 3])
    }
  }
}
