import DistillData
import Torch

/// What a model file does to its inputs before the model sees them.
public struct ONNXPreprocessing: Sendable, Equatable {
  /// How the bytes of pictures lie.
  public enum Layout: String, Sendable, Codable, CaseIterable {
    /// `[batch, height, width, channels]`, as pictures are read
    case nhwc
    /// `[batch, channels, height, width]`
    case nchw
  }

  public var layout: Layout
  /// Of numbers from 0 to 1 for images, of the numbers themselves for tables; nil: nothing.
  public var normalization: Normalization?
  /// Lets pictures of any size in, and brings them to the model's, as the data set `folder` does: every new pixel is the
  /// mean of the area that it covers, or is interpolated where the picture grows. Rounded to bytes.
  public var resizes: Bool

  public init(layout: Layout = .nhwc, normalization: Normalization? = nil, resizes: Bool = false) {
    self.layout = layout
    self.normalization = normalization
    self.resizes = resizes
  }

  /// In words, for the metadata of the file.
  func sentence(isImage: Bool) -> String {
    let normalized = normalization.map {
      "minus the mean \($0.mean), divided by the standard deviation \($0.standardDeviation)"
    }
    guard isImage else { return ["as it is", normalized].compactMap(\.self).joined(separator: ", ") }
    return [resizes ? "brought to the model's size" : nil, "divided by 255", normalized].compactMap(\.self)
      .joined(separator: ", ")
  }
}

/// The nodes of a preprocessing.
struct ONNXPreprocessingNodes {
  let builder: ONNXGraphBuilder
  let preprocessing: ONNXPreprocessing

  /// - Parameters:
  ///   - input: uint8 pictures
  ///   - shape: `[channels, height, width]` of what the model takes
  /// - Returns: the name of what the model takes
  func pictures(_ input: String, shape: [Int]) throws -> String {
    var image = builder.node("Cast", [input], [.integer("to", Onnx_TensorProto.DataType.float.rawValue)])
    if preprocessing.layout == .nhwc {
      image = builder.node("Transpose", [image], [.integers("perm", [0, 3, 1, 2])])
    }
    if preprocessing.resizes {
      image = builder.node("MatMul", [image, try weights(of: image, axis: 3, size: shape[2], isTransposed: true)])
      image = builder.node("MatMul", [try weights(of: image, axis: 2, size: shape[1], isTransposed: false), image])
      image = builder.node("Floor", [builder.node("Add", [image, try builder.scalar(0.5, .float32)])])
      image = builder.node("Clip", [image, try builder.scalar(0, .float32), try builder.scalar(255, .float32)])
    }
    image = builder.node("Div", [image, try builder.scalar(255, .float32)])
    return try normalized(image, shape: [shape[0], 1, 1])
  }

  /// (x − mean) / standard deviation, with numbers that are broadcast from `shape`.
  func normalized(_ input: String, shape: [Int]) throws -> String {
    guard let normalization = preprocessing.normalization else { return input }
    func numbers(_ name: String, _ values: [Float]) throws -> String {
      let expected = shape.reduce(1, *)
      guard values.count == 1 || values.count == expected else {
        throw ExportError("the normalization has \(values.count) numbers for \(expected) channels")
      }
      return builder.initializer(name, try Tensor(values, shape: values.count == 1 ? [] : shape))
    }
    let centred = builder.node("Sub", [input, try numbers("mean", normalization.mean)])
    return builder.node("Div", [centred, try numbers("standard_deviation", normalization.standardDeviation)])
  }

  /// The matrix that brings one side of pictures to `size`: `[size, old]`, or the other way round. The old size is that of
  /// the pictures that come.
  ///
  /// A new pixel i covers old ones from i · s to (i + 1) · s, with s = old / size: where the side shrinks, an old pixel's
  /// weight is the length of it that is covered. Where the side grows, it is 1 − |centre − j| for the two neighbours j of
  /// the centre (i + ½) · s − ½. The weights of a new pixel sum to 1.
  private func weights(of image: String, axis: Int, size: Int, isTransposed: Bool) throws -> String {
    func scalar(_ number: Double) throws -> String { try builder.scalar(number, .float64) }
    func node(_ type: String, _ inputs: String...) -> String { builder.node(type, inputs) }
    let sizes = builder.node("Shape", [image], [.integer("start", axis), .integer("end", axis + 1)])
    let old = builder.node(
      "Cast", [node("Squeeze", sizes)], [.integer("to", Onnx_TensorProto.DataType.double.rawValue)])
    let scale = node("Div", old, try scalar(Double(size)))
    let places = builder.node("Range", [try scalar(0), old, try scalar(1)])
    let new = builder.initializer("places", try Tensor((0..<size).map(Double.init), shape: [size, 1]))
    let start = node("Mul", new, scale)
    let end = node("Add", start, scale)
    let covered = node(
      "Max", node("Sub", node("Min", node("Add", places, try scalar(1)), end), node("Max", places, start)),
      try scalar(0))
    let middle = node("Sub", node("Mul", node("Add", new, try scalar(0.5)), scale), try scalar(0.5))
    let last = node("Sub", old, try scalar(1))
    let centre = node("Max", node("Min", middle, last), try scalar(0))
    let apart = node("Abs", node("Sub", centre, places))
    let near = node("Max", node("Sub", try scalar(1), apart), try scalar(0))
    let raw = node("Where", node("Greater", old, try scalar(Double(size))), covered, near)
    let sum = builder.node("ReduceSum", [raw, try builder.integers([1])], [.integer("keepdims", 1)])
    let weights = builder.node(
      "Cast", [node("Div", raw, sum)], [.integer("to", Onnx_TensorProto.DataType.float.rawValue)])
    return isTransposed ? builder.node("Transpose", [weights], [.integers("perm", [1, 0])]) : weights
  }
}
