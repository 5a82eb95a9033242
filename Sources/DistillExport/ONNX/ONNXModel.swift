import Foundation
import SwiftProtobuf
import Torch
import TorchNN

/// A model in the form of ONNX, which ONNX Runtime and many others compute.
///
///     let model = try ONNXModel(of: student, like: images)
///     try model.write(to: "student.onnx")
///
/// The model runs twice while its operators are noted (`RecordedGraph`), and each of them is written as its ONNX form: so
/// no model says itself what it is in ONNX. The number of examples of a batch is free; all other sizes are those of the
/// example. What it computes is float32 as the model does.
///
/// With a `Calibration` weights and activations are eight-bit integers; see `ONNXQuantization`.
///
/// Operator set 23, which ONNX Runtime knows from version 1.23 on. A file that would be larger than protobuf allows has
/// its weights beside it, in a file of the same name with `.data` at its end.
public struct ONNXModel {
  public struct Options: Sendable {
    /// Batch normalization is folded into the layer before it: always, never, or nil for where that gives the same to 1e-5.
    public var foldsNormalization: Bool?
    /// What the file does to inputs before the model sees them; nil: it takes what the model takes.
    public var preprocessing: ONNXPreprocessing?
    /// Names of input and output; nil: `image` for pictures of bytes, `tokens` for whole numbers, else `input`.
    public var inputName: String?
    public var outputName = "logits"
    /// The name of the graph.
    public var name = "model"
    /// What else the file is to say, such as `labels`.
    public var metadata: [String: String] = [:]
    /// Weights of more bytes in all go into a file of their own.
    public var externalWeightsFrom = 1 << 30

    public init() {}
  }

  /// The newest operators that are used, and the version of the file's form.
  public static let (operatorSet, formatVersion) = (23, 11)

  public let inputName: String
  public let outputName: String
  /// How many batch normalizations are folded into the layer before them.
  public let foldedNormalizations: Int
  /// How many nodes there are of each operator.
  public let operators: [String: Int]
  /// The number of weights, and the bytes of all numbers in the file.
  public let (weightCount, weightBytes): (Int, Int)
  /// What is computed in integers; nil where nothing is.
  public let quantization: QuantizationSummary?

  private let proto: Onnx_ModelProto
  private let initializers: [ONNXGraphBuilder.Initializer]
  let options: Options

  /// - Parameters:
  ///   - inputs: a batch as those that will come, of one example or more
  ///   - calibration: what the model is quantized by; nil: it is not quantized
  /// - Throws: `ExportError` with every operator that has no form here, or why what the model computes cannot be
  ///   written down, or not be quantized.
  public init(
    of model: any Layer, like inputs: Tensor, options: Options = Options(), calibration: Calibration? = nil
  ) throws {
    self.options = options
    let graph = try ExportGraph(of: model, like: inputs, foldsNormalization: options.foldsNormalization)
    foldedNormalizations = graph.foldedNormalizations

    let shape = inputs.shape.dropFirst()
    let isPicture = options.preprocessing != nil && shape.count == 3
    inputName = options.inputName ?? (isPicture ? "image" : inputs.dtype.isFloatingPoint ? "input" : "tokens")
    outputName = options.outputName
    guard inputName != outputName, !inputName.isEmpty, !outputName.isEmpty else {
      throw ExportError("input and output need names, and two different ones, not '\(inputName)' and '\(outputName)'")
    }
    let builder = ONNXGraphBuilder(input: inputName, output: outputName)
    let taken = try Self.preprocess(inputName, shape: Array(shape), options.preprocessing, inputs.dtype, builder)
    var weights: [String: Tensor] = [:]
    let written = try graph.write(
      by: ONNXForms.self, taking: taken,
      constant: { tensor, key in
        let name = builder.initializer(key ?? "constant", tensor)
        weights[name] = tensor
        return name
      },
      call: { ONNXCall(call: $0, graph: graph.graph, builder: builder, written: $1) })
    var output = written.output
    if builder.isMade(output) {
      builder.rename(output, to: outputName)
    } else {
      // What comes in, or a constant, cannot be renamed.
      builder.rename(builder.node("Identity", [output]), to: outputName)
    }
    output = outputName
    weightCount = builder.initializers.reduce(0) { $0 + $1.tensor.count }
    quantization = try calibration.map { calibration in
      var quantization = try ONNXQuantization(
        builder, output: output, weights: weights, observable: Self.observable(written.values, in: graph.graph),
        of: model, recordedAs: graph.graph, by: calibration)
      try quantization.write()
      return quantization.summary
    }
    initializers = builder.initializers
    operators = Dictionary(builder.nodes.map { ($0.opType, 1) }, uniquingKeysWith: +)
    weightBytes = initializers.reduce(0) { $0 + $1.tensor.count * $1.tensor.dtype.byteCount }

    var made = Onnx_GraphProto()
    made.name = options.name
    made.node = builder.nodes
    made.input = [Self.inputInfo(inputName, shape: Array(shape), inputs.dtype, options.preprocessing)]
    let given = graph.graph.values[graph.graph.outputs[0]]
    made.output = [
      Self.info(
        output, given.dtype,
        given.shape.enumerated().map { $1.fixed.map { .size($0) } ?? .name($0 == 0 ? "batch" : "size_\($0)") })
    ]
    proto = Self.model(made, options)
  }

  /// The values of the model that hold float32, by the names that they are written under. Where several have one name, as
  /// before and after a dropout, they are the same numbers.
  private static func observable(_ names: [Int: String], in graph: RecordedGraph) -> [String: Int] {
    let values = names.filter { graph.values[$0.key].constant == nil && graph.values[$0.key].dtype == .float32 }
    return Dictionary(values.map { ($0.value, $0.key) }, uniquingKeysWith: min)
  }

  /// What goes in, in words: `image: uint8, batch × 28 × 28 × 1`.
  public var inputSentence: String { Self.sentence(proto.graph.input) }

  /// What comes out, in words.
  public var outputSentence: String { Self.sentence(proto.graph.output) }

  private static func sentence(_ infos: [Onnx_ValueInfoProto]) -> String {
    guard let info = infos.first else { return "" }
    let type = info.type.tensorType
    let sizes = type.shape.dim.map { $0.dimParam.isEmpty ? "\($0.dimValue)" : $0.dimParam }
    let dtype = DType.allCases.first { Int32($0.onnx.rawValue) == type.elemType }
    return "\(info.name): \(dtype.map { "\($0)" } ?? "numbers"), \(sizes.joined(separator: " × "))"
  }

  // MARK: Making

  private static func preprocess(
    _ input: String, shape: [Int], _ preprocessing: ONNXPreprocessing?, _ dtype: DType, _ builder: ONNXGraphBuilder
  ) throws -> String {
    guard let preprocessing else { return input }
    guard dtype.isFloatingPoint else { throw ExportError("tokens are not preprocessed: they go in as they are") }
    let nodes = ONNXPreprocessingNodes(builder: builder, preprocessing: preprocessing)
    if shape.count == 3 {
      guard [1, 3].contains(shape[0]) else {
        throw ExportError(
          "pictures have 1 or 3 channels, and the model takes \(shape[0]): give it its inputs as they are")
      }
      return try nodes.pictures(input, shape: shape)
    }
    guard !preprocessing.resizes else { throw ExportError("only pictures can be brought to another size") }
    return try nodes.normalized(input, shape: shape)
  }

  // MARK: What goes in and comes out

  private enum Size {
    case size(Int)
    case name(String)
  }

  private static func info(_ name: String, _ dtype: DType, _ shape: [Size]) -> Onnx_ValueInfoProto {
    var info = Onnx_ValueInfoProto()
    info.name = name
    info.type.tensorType.elemType = Int32(dtype.onnx.rawValue)
    info.type.tensorType.shape.dim = shape.map { size in
      var dimension = Onnx_TensorShapeProto.Dimension()
      switch size {
      case .size(let number): dimension.dimValue = Int64(number)
      case .name(let name): dimension.dimParam = name
      }
      return dimension
    }
    return info
  }

  private static func inputInfo(
    _ name: String, shape: [Int], _ dtype: DType, _ preprocessing: ONNXPreprocessing?
  ) -> Onnx_ValueInfoProto {
    guard let preprocessing, shape.count == 3 else {
      return info(name, dtype, [.name("batch")] + shape.map { .size($0) })
    }
    let sides: [Size] =
      preprocessing.resizes ? [.name("height"), .name("width")] : [.size(shape[1]), .size(shape[2])]
    let channels = Size.size(shape[0])
    return info(
      name, .uint8, [.name("batch")] + (preprocessing.layout == .nhwc ? sides + [channels] : [channels] + sides))
  }

  private static func model(_ graph: Onnx_GraphProto, _ options: Options) -> Onnx_ModelProto {
    var model = Onnx_ModelProto()
    model.irVersion = Int64(formatVersion)
    model.producerName = "distill"
    var operators = Onnx_OperatorSetIdProto()
    operators.domain = ""
    operators.version = Int64(operatorSet)
    model.opsetImport = [operators]
    model.graph = graph
    model.metadataProps = options.metadata.sorted { $0.key < $1.key }.map { key, value in
      var entry = Onnx_StringStringEntryProto()
      (entry.key, entry.value) = (key, value)
      return entry
    }
    return model
  }

  // MARK: Writing

  /// The files that `write` makes.
  public func files(at path: String) -> [String] { hasExternalWeights ? [path, "\(path).data"] : [path] }

  private var hasExternalWeights: Bool { weightBytes >= options.externalWeightsFrom }

  /// Writes the file, and the one of the weights where there are many. Each is replaced as a whole.
  ///
  /// - Throws: `FileError` when it cannot be written.
  public func write(to path: String) throws {
    var proto = proto
    if hasExternalWeights {
      proto.graph.initializer = try writeWeights(to: "\(path).data")
    } else {
      proto.graph.initializer = try initializers.map { initializer in
        var tensor = Self.header(of: initializer)
        tensor.rawData = try initializer.tensor.withBytes { Data($0) }
        return tensor
      }
    }
    let data: Data
    do {
      data = try proto.serializedData()
    } catch {
      throw ExportError("\(path) cannot be written as protobuf: \(error)")
    }
    try AtomicFile.write(data, to: path)
  }

  private static func header(of initializer: ONNXGraphBuilder.Initializer) -> Onnx_TensorProto {
    var tensor = Onnx_TensorProto()
    tensor.name = initializer.name
    tensor.dims = initializer.tensor.shape.map(Int64.init)
    tensor.dataType = Int32(initializer.tensor.dtype.onnx.rawValue)
    return tensor
  }

  /// Weights one after the other, large ones at the beginning of a page so that they can be mapped. Small tensors stay in
  /// the file of the graph: shapes are known from them.
  private func writeWeights(to path: String) throws -> [Onnx_TensorProto] {
    let (page, small) = (4096, 1024)
    var offset = 0
    var tensors: [Onnx_TensorProto] = []
    try AtomicFile.write(to: path) { file in
      for initializer in initializers {
        var tensor = Self.header(of: initializer)
        try initializer.tensor.withBytes { bytes in
          guard bytes.count >= small else {
            tensor.rawData = Data(bytes)
            return
          }
          let padding = (page - offset % page) % page
          try file.append([UInt8](repeating: 0, count: padding))
          offset += padding
          try file.append(bytes)
          tensor.dataLocation = .external
          let facts = [
            ("location", FilePath.name(of: path)), ("offset", "\(offset)"), ("length", "\(bytes.count)"),
          ]
          tensor.externalData = facts.map { key, value in
            var entry = Onnx_StringStringEntryProto()
            (entry.key, entry.value) = (key, value)
            return entry
          }
          offset += bytes.count
        }
        tensors.append(tensor)
      }
    }
    return tensors
  }
}
