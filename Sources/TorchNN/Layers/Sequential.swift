import Torch

/// Layers one after the other. Their keys are their numbers, counted from 0.
///
///     let mlp = try Sequential {
///       try Linear(784, 300)
///       ReLU()
///       try Linear(300, 10)
///     }
public final class Sequential: Layer {
  public static let keys = ["layers": ""]

  public let layers: [any Layer]

  public init(_ layers: [any Layer]) { self.layers = layers }

  public convenience init(@LayerBuilder _ layers: () throws -> [any Layer]) rethrows { self.init(try layers()) }

  public func forward(_ input: Tensor) throws -> Tensor {
    try layers.reduce(input) { activation, layer in try layer(activation) }
  }
}

/// Gathers the layers written in a closure; `if`, `for` and optional layers work as elsewhere.
@resultBuilder
public enum LayerBuilder {
  public static func buildExpression(_ layer: any Layer) -> [any Layer] { [layer] }
  public static func buildExpression(_ layers: [any Layer]) -> [any Layer] { layers }
  public static func buildBlock(_ parts: [any Layer]...) -> [any Layer] { parts.flatMap { $0 } }
  public static func buildOptional(_ part: [any Layer]?) -> [any Layer] { part ?? [] }
  public static func buildEither(first part: [any Layer]) -> [any Layer] { part }
  public static func buildEither(second part: [any Layer]) -> [any Layer] { part }
  public static func buildArray(_ parts: [[any Layer]]) -> [any Layer] { parts.flatMap { $0 } }
}
