import DistillData
import Foundation
import SwiftProtobuf
import Torch
import TorchNN

/// A model in the form of Core ML, which computes on Apple's systems: an ML Program in a package.
///
///     var options = CoreMLModel.Options()
///     options.labels = ["cat", "dog"]
///     let model = try CoreMLModel(of: student, like: images, options: options)
///     try model.write(to: "Student.mlpackage")
///
/// It comes from the same record of operators as `ONNXModel`, by another table (`MILForms`). A program takes one example;
/// all sizes are those of the example. With labels it is a classifier: it gives the class and a table of probabilities.
public struct CoreMLModel {
  public struct Options: Sendable {
    /// Batch normalization is folded into the layer before it: always, never, or nil for where that gives the same to 1e-5.
    public var foldsNormalization: Bool?
    /// Weights and computation in float16, which the Neural Engine needs.
    public var isHalf = false
    /// The input is a picture, in grey or colours, that the program normalizes; nil: the numbers that the model takes.
    public var picture: Picture?
    /// The classes in the order of the logits; nil: the model gives its logits. Those of one name get their numbers behind it.
    public var labels: [String]?
    /// The name of the input; nil: `image`, `tokens` or `input`.
    public var inputName: String?
    /// The name of the logits where there are no labels.
    public var outputName = "logits"
    /// What Xcode shows of the model.
    public var summary = ""
    /// What else the package is to say.
    public var metadata: [String: String] = [:]

    public init() {}
  }

  /// A picture of bytes at the input.
  public struct Picture: Sendable, Equatable {
    /// Of numbers from 0 to 1; nil: nothing but the division by 255.
    public var normalization: Normalization?

    public init(normalization: Normalization? = nil) { self.normalization = normalization }
  }

  /// The oldest version of the format that has ML Programs: for iOS 15, macOS 12, tvOS 15 and watchOS 8 and later.
  public static let specificationVersion = 6
  /// The operators that come with it.
  private static let operators = "CoreML5"
  /// What a classifier gives.
  public static let (labelName, probabilitiesName) = ("classLabel", "classLabel_probs")

  public let inputName: String
  /// How many batch normalizations are folded into the layer before them.
  public let foldedNormalizations: Int
  /// How many there are of each operator.
  public let operators: [String: Int]
  public let weightCount: Int

  let model: CoreML_Specification_Model
  let weights: MILWeights
  let options: Options

  /// - Parameters:
  ///   - inputs: a batch as those that will come, of one example or more
  /// - Throws: `ExportError` with every operator that has no form here, or why what the model computes cannot be
  ///   written down.
  public init(of model: any Layer, like inputs: Tensor, options: Options = Options()) throws {
    var options = options
    options.labels = options.labels.map(Self.distinct)
    self.options = options
    let graph = try ExportGraph(of: model, like: inputs, foldsNormalization: options.foldsNormalization)
    foldedNormalizations = graph.foldedNormalizations
    let builder = MILBuilder(float: options.isHalf ? .float16 : .float32)
    let wanted =
      options.inputName ?? (options.picture != nil ? "image" : inputs.dtype.isFloatingPoint ? "input" : "tokens")
    let taken = MILValue(
      name: builder.unique(wanted), shape: [1] + inputs.shape.dropFirst(),
      type: inputs.dtype.isFloatingPoint ? .float32 : .int32)
    let outputs = options.labels == nil ? [options.outputName] : [Self.labelName, Self.probabilitiesName]
    let results = outputs.map(builder.unique)
    guard taken.name == wanted, results == outputs else {
      throw ExportError(
        "input and output need different names of letters, digits and _, not \(([wanted] + outputs).joined(separator: ", "))"
      )
    }
    inputName = wanted

    let prepared = try Self.prepare(taken, options.picture, builder)
    let given = try graph.write(
      by: MILForms.self, taking: prepared,
      constant: { try builder.constant($0, named: $1 ?? "constant") },
      call: { MILCall(call: $0, graph: graph.graph, builder: builder, written: $1) }
    ).output
    var description = CoreML_Specification_ModelDescription()
    description.input = [Self.inputFeature(taken, isPicture: options.picture != nil)]
    if let labels = options.labels {
      try Self.classify(given, labels, builder)
      description.output = [
        .with { ($0.name, $0.type.type) = (Self.labelName, .stringType(.init())) },
        .with { ($0.name, $0.type.dictionaryType.stringKeyType) = (Self.probabilitiesName, .init()) },
      ]
      description.predictedFeatureName = Self.labelName
      description.predictedProbabilitiesName = Self.probabilitiesName
    } else {
      let output = try builder.cast(given, to: .float32, named: options.outputName)
      description.output = [Self.arrayFeature(output)]
    }
    description.metadata.shortDescription = options.summary
    description.metadata.userDefined = options.metadata

    operators = Dictionary(
      builder.operations.filter { $0.type != "const" }.map { ($0.type, 1) }, uniquingKeysWith: +)
    weights = builder.weights
    weightCount = weights.tensors.reduce(0) { $0 + $1.tensor.count }
    self.model = .with {
      $0.specificationVersion = Int32(Self.specificationVersion)
      $0.description_p = description
      $0.mlProgram = Self.program(builder, taking: taken, giving: outputs)
    }
  }

  /// Names by which a table of probabilities tells classes apart: those that several classes have get the number of the
  /// class, as in `crane (134)` and `crane (517)`.
  static func distinct(_ labels: [String]) -> [String] {
    let counts = Dictionary(labels.map { ($0, 1) }, uniquingKeysWith: +)
    var used = Set(labels)
    return labels.enumerated().map { number, label in
      guard counts[label] != 1 else { return label }
      var name = "\(label) (\(number))"
      while !used.insert(name).inserted { name += "'" }
      return name
    }
  }

  // MARK: The program

  /// What the model takes: whole numbers as they are, floating point in the type that is computed in, bytes of a picture
  /// divided by 255 and normalized:
  ///
  ///     x · 1 / (255 σ) − μ / σ
  private static func prepare(_ input: MILValue, _ picture: Picture?, _ builder: MILBuilder) throws -> MILValue {
    guard input.type.isFloatingPoint else {
      guard picture == nil else { throw ExportError("tokens are no picture: they go in as they are") }
      return input
    }
    var value = input
    if let picture {
      guard input.shape.count == 4, [1, 3].contains(input.shape[1]) else {
        throw ExportError(
          "pictures have 1 or 3 channels, and the model takes \(input.shape.dropFirst().map(String.init).joined(separator: " × ")): "
            + "give it its numbers as they are")
      }
      let channels = input.shape[1]
      func spread(_ numbers: [Float]?, default: Float) throws -> [Double] {
        let numbers = numbers ?? [`default`]
        guard numbers.count == 1 || numbers.count == channels else {
          throw ExportError("the normalization has \(numbers.count) numbers for \(channels) channels")
        }
        return (numbers.count == channels ? numbers : Array(repeating: numbers[0], count: channels)).map(Double.init)
      }
      let mean = try spread(picture.normalization?.mean, default: 0)
      let deviation = try spread(picture.normalization?.standardDeviation, default: 1)
      func numbers(_ name: String, _ numbers: [Double]) throws -> MILValue {
        try builder.constant(
          Tensor(numbers.map { Float($0) }, shape: [1, channels, 1, 1]), named: name, as: .float32)
      }
      let scale = try numbers("scale", deviation.map { 1 / (255 * $0) })
      let gives = [(shape: input.shape, type: input.type)]
      value = try builder.add("mul", ["x": .value(value), "y": .value(scale)], gives: gives)[0]
      let shift = zip(mean, deviation).map { -$0 / $1 }
      if shift.contains(where: { $0 != 0 }) {
        value = try builder.add(
          "add", ["x": .value(value), "y": .value(try numbers("shift", shift))], gives: gives)[0]
      }
    }
    return try builder.cast(value, to: builder.float)
  }

  private static func classify(_ logits: MILValue, _ labels: [String], _ builder: MILBuilder) throws {
    guard logits.shape == [1, labels.count] else {
      throw ExportError("the model gives \(logits.shape), which are no logits of \(labels.count) classes")
    }
    let precise = try builder.cast(logits, to: .float32)
    let probabilities = try builder.add(
      "softmax", ["x": .value(precise), "axis": .integer(-1)], gives: [(precise.shape, precise.type)])[0]
    try builder.classify(probabilities, labels: labels, label: labelName, table: probabilitiesName)
  }

  private static func program(
    _ builder: MILBuilder, taking input: MILValue, giving outputs: [String]
  ) -> CoreML_Specification_MILSpec_Program {
    var block = CoreML_Specification_MILSpec_Block()
    block.operations = builder.operations
    block.outputs = outputs
    var function = CoreML_Specification_MILSpec_Function()
    function.inputs = [MILBuilder.named(input)]
    function.opset = operators
    function.blockSpecializations[operators] = block
    return .with {
      $0.version = 1
      $0.functions["main"] = function
    }
  }

  // MARK: What goes in and comes out

  private static func inputFeature(_ input: MILValue, isPicture: Bool) -> CoreML_Specification_FeatureDescription {
    guard isPicture else { return arrayFeature(input) }
    return .with {
      $0.name = input.name
      $0.type.imageType.height = Int64(input.shape[2])
      $0.type.imageType.width = Int64(input.shape[3])
      $0.type.imageType.colorSpace = input.shape[1] == 3 ? .rgb : .grayscale
    }
  }

  private static func arrayFeature(_ value: MILValue) -> CoreML_Specification_FeatureDescription {
    .with {
      $0.name = value.name
      $0.type.multiArrayType.shape = value.shape.map(Int64.init)
      $0.type.multiArrayType.dataType = value.type == .int32 ? .int32 : .float32
    }
  }

  /// What goes in, in words: `image: picture, 32 × 32, colours`.
  public var inputSentence: String { Self.sentence(model.description_p.input) }

  /// What comes out, in words.
  public var outputSentence: String { Self.sentence(model.description_p.output) }

  private static func sentence(_ features: [CoreML_Specification_FeatureDescription]) -> String {
    features.map { feature in
      let kind =
        switch feature.type.type {
        case .imageType(let image):
          "picture, \(image.height) × \(image.width), \(image.colorSpace == .rgb ? "colours" : "grey")"
        case .multiArrayType(let array):
          "\(array.dataType == .int32 ? "int32" : "float32"), \(array.shape.map { "\($0)" }.joined(separator: " × "))"
        case .stringType: "the class"
        case .dictionaryType: "a probability for each class"
        default: "numbers"
        }
      return "\(feature.name): \(kind)"
    }.joined(separator: "; ")
  }
}
