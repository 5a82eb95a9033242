import Torch
import TorchNN

/// The families of models that come with this package.
///
///     let student = try ModelZoo.make(
///       ModelSpecification("resnet-cifar", ["depth": 20], inputShape: [3, 32, 32], classCount: 10))
public enum ModelZoo {
  public static let architectures: [Architecture] = [
    MLP.architecture,
    ConvNet.architecture,
    ResNet9.architecture,
    CIFARResNet.architecture,
    WideResNet.architecture,
    MobileNetV2.architecture,
    ResNet.architecture,
    ReusedClassifier.architecture,
    TextDecoder.architecture,
    Llama.architecture,
    TextEncoder.architecture,
    TextCNN.architecture,
    VisionTransformer.architecture,
    EfficientNet.architecture,
    MobileNetV3.architecture,
  ]

  /// Models with more parameters are refused: they are a slip more often than a wish.
  public static let parameterLimit = 500_000_000

  /// - Throws: `ModelError` with near matches when there is no family of that name.
  public static func architecture(named name: String) throws -> Architecture {
    if let found = architectures.first(where: { $0.name == name }) { return found }
    let names = architectures.map(\.name)
    let hint = closest(to: name, in: names, limit: 1).first.map { " Did you mean '\($0)'?" } ?? ""
    throw ModelError(["there is no architecture '\(name)'.\(hint) There are \(names.joined(separator: ", "))"])
  }

  /// The specification with every option spelled out.
  ///
  /// - Throws: `ModelError` with everything that is wrong with it.
  public static func resolve(_ specification: ModelSpecification) throws -> ModelSpecification {
    let family = try architecture(named: specification.architecture)
    var problems: [String] = []
    var resolved = specification
    resolved.options = [:]
    for option in family.options {
      let given = specification.options[option.name] ?? option.default
      if option.isModel, case .model(let inner) = given {
        do {
          resolved.options[option.name] = .model(try resolve(inner, inside: specification))
        } catch let error as ModelError {
          problems += error.problems.map { "\(option.name) of \(family.name): \($0)" }
        }
      } else if let value = option.accept(given) {
        resolved.options[option.name] = value
      } else {
        problems.append(
          "option '\(option.name)' of \(family.name) is \(given), but has to be \(option.allowed)"
            + option.suggestion(for: given))
      }
    }
    let names = family.options.map(\.name)
    for name in specification.options.keys.sorted() where !names.contains(name) {
      let hint = closest(to: name, in: names, limit: 1).first.map { " Did you mean '\($0)'?" } ?? ""
      problems.append("\(family.name) has no option '\(name)'.\(hint) It has \(names.joined(separator: ", "))")
    }
    for problem in shapeProblems(specification, family) where !problems.contains(where: { $0.hasSuffix(problem) }) {
      problems.append(problem)
    }
    guard problems.isEmpty else { throw ModelError(problems) }
    return resolved
  }

  /// A model inside another one, with every option spelled out.
  private static func resolve(_ inner: InnerModel, inside outer: ModelSpecification) throws -> InnerModel {
    guard try architecture(named: inner.architecture).options.allSatisfy({ !$0.isModel }) else {
      throw ModelError(["\(inner.architecture) has a model inside and cannot be inside another one"])
    }
    let resolved = try resolve(inner.specification(inputShape: outer.inputShape, classCount: outer.classCount))
    return InnerModel(resolved.architecture, resolved.options)
  }

  /// A new model in training mode, with fresh weights from the random stream in force.
  ///
  /// - Throws: `ModelError` with everything that is wrong with the specification.
  public static func make(_ specification: ModelSpecification) throws -> any FeatureClassifier {
    let resolved = try resolve(specification)
    return try architecture(named: resolved.architecture).build(ModelBuilder(resolved))
  }

  private static func shapeProblems(_ specification: ModelSpecification, _ family: Architecture) -> [String] {
    var problems: [String] = []
    let shape = specification.inputShape
    if family.input == .image, shape.count != 3 {
      problems.append("\(family.name) takes images: its input shape is [channels, height, width], not \(shape)")
    }
    if family.input == .tokens, shape.count != 1 {
      problems.append("\(family.name) takes sequences of tokens: its input shape is [length], not \(shape)")
    }
    if shape.isEmpty { problems.append("the input shape is empty") }
    if let wrong = shape.first(where: { !(1...65_536).contains($0) }) {
      problems.append("the input shape \(shape) holds \(wrong), but each size has to be from 1 to 65536")
    } else if product(shape).map({ $0 > ModelZoo.parameterLimit }) ?? true {
      problems.append("the input shape \(shape) is too large")
    }
    if !(1...1_000_000).contains(specification.classCount) {
      problems.append("the number of classes is \(specification.classCount), but has to be from 1 to 1000000")
    }
    return problems
  }
}
