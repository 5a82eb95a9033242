/// A failure of libtorch, with what was asked of it and where.
public struct TorchError: Error, CustomStringConvertible, Sendable {
  /// The operator or function that failed, such as `aten::linear`.
  public var operation: String
  /// The shapes of the tensors that it was given, in order.
  public var shapes: [[Int]]
  /// The element types of the tensors that it was given, in order.
  public var dtypes: [DType]
  /// libtorch's own words, without its stack trace.
  public var message: String
  /// The path of the innermost module in which it happened, such as `layer1.0.conv2`; empty outside any module.
  public var modulePath: String = ""

  /// The innermost module in which it happened, as long as its path is still being found.
  package var origin: ObjectIdentifier?

  public init(operation: String, shapes: [[Int]] = [], dtypes: [DType] = [], message: String) {
    self.operation = operation
    self.shapes = shapes
    self.dtypes = dtypes
    self.message = message
  }

  public var description: String {
    var text = modulePath.isEmpty ? "" : "in \(modulePath): "
    text += "\(operation): \(message)"
    if !shapes.isEmpty {
      let described = zip(shapes, dtypes).map { shape, dtype in "\(shape) \(dtype)" }
      text += " (given \(described.joined(separator: ", ")))"
    }
    return text
  }
}
