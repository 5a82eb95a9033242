/// A model whose inside cannot be looked at: it is computed as it is, has no layers to tap, and no weights to change.
public protocol OpaqueLayer: Layer {
  /// How many parameters it has; nil where that is not to be had.
  var ownParameterCount: Int? { get }
  /// Bytes of its file.
  var byteCount: Int { get }
}
