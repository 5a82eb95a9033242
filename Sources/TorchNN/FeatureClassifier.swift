import Torch

/// A classifier that works in two steps: from the input to its last features, and from these to the classes.
///
///     let features = try model.features(of: images)
///     let logits = try model.classify(features)
///
/// Conformers write the two steps and get `forward` from them. The tap `.lastFeatures` finds the last features of every
/// such model, whatever its layers are called.
public protocol FeatureClassifier: Layer {
  /// Where `forward` leaves the last features for taps. Its name gives the path `last_features`.
  var lastFeatures: TapPoint { get }
  /// What pooling and classifier work on: `[N, C, H, W]`, or `[N, D]` in a model without maps.
  func features(of input: Tensor) throws -> Tensor
  /// Pooling, dropout and the classifier: `[N, C, H, W]` or `[N, D]` → `[N, classes]`.
  func classify(_ features: Tensor) throws -> Tensor
  /// The layer that is all of `classify`; nil, the default, where that does more. Where it is linear and the classes are
  /// many, losses can be computed without ever holding all logits.
  var outputLayer: (any Layer)? { get }
}

extension FeatureClassifier {
  public func forward(_ input: Tensor) throws -> Tensor {
    let features = try features(of: input)
    try lastFeatures.record(features)
    return try classify(features)
  }

  /// The shape of the last features of one input, such as `[64, 8, 8]`: found by a pass of zeros in evaluation mode.
  public func featureShape(inputShape: [Int]) throws -> [Int] {
    try withMode(training: false) {
      try withoutGradient {
        let input = try Tensor.zeros([1] + inputShape, device: parameters.first?.device ?? .cpu)
        return Array(try features(of: input).shape.dropFirst())
      }
    }
  }
}

extension Tap {
  /// The last features of a `FeatureClassifier`: what its pooling and its classifier work on.
  public static let lastFeatures = Tap("last_features")
}
