import Torch

/// What a model gives, before its last layer is computed: features and a linear layer, not yet multiplied.
///
/// With a large vocabulary the logits z = x Wᵀ + b are much larger than x and W. A loss that knows this form never holds
/// all of them: see `linearSoftTargetLoss`.
public struct LinearOutput {
  /// x, `[..., H]`. Their type is the one that products are computed in.
  public var features: Tensor
  /// W, `[V, H]`
  public var weight: Tensor
  /// b, `[V]`
  public var bias: Tensor?

  public init(features: Tensor, weight: Tensor, bias: Tensor? = nil) {
    self.features = features
    self.weight = weight
    self.bias = bias
  }

  /// V
  public var classCount: Int { weight.shape.first ?? 0 }

  /// All logits, `[..., V]`.
  public func logits() throws -> Tensor {
    try linear(features, weight: weight.to(features.dtype), bias: bias?.to(features.dtype))
  }
}

extension FeatureClassifier {
  public var outputLayer: (any Layer)? { nil }

  /// The weight `[V, H]` of `outputLayer`; nil where the classifier is not one linear layer.
  public var outputWeight: Tensor? { linearOutputLayer?.weight }

  private var linearOutputLayer: (weight: Tensor, bias: Tensor?)? {
    switch outputLayer {
    case let layer as Linear: (layer.weight, layer.bias)
    case let layer as FixedLinear: (layer.weight, layer.bias)
    default: nil
    }
  }

  /// What `classify` would multiply, for an input; nil where the classifier is not one linear layer.
  public func linearOutput(_ input: Tensor) throws -> LinearOutput? {
    guard let layer = linearOutputLayer else { return nil }
    let features = try called(with: input) {
      let features = try self.features(of: input)
      try lastFeatures.record(features)
      return features
    }
    return LinearOutput(features: features, weight: layer.weight, bias: layer.bias)
  }
}
