import CTorch

extension Operator {
  fileprivate static let detach = Operator("aten::detach")
}

extension Tensor {
  /// Whether operators on this tensor are recorded, so that a gradient can be found.
  public var requiresGradient: Bool { info.requires_gradient }

  /// Starts or stops the recording for a tensor that is nobody's result.
  @discardableResult
  public func requireGradient(_ value: Bool = true) throws -> Tensor {
    try Bridge.call("requires_grad_", tensors: [self]) { $0.set_requires_gradient(reference, value, $1) }
    return self
  }

  /// The gradient that the last `backward` calls summed up here; nil if there is none.
  public var gradient: Tensor? {
    var found: ct_tensor_ref?
    var message: UnsafeMutablePointer<CChar>?
    if Bridge.opened.gradient(reference, &found, &message) != 0 { Bridge.opened.free(message) }
    return found.map { Tensor(owning: $0) }
  }

  /// Replaces the gradient, or forgets it.
  public func setGradient(_ gradient: Tensor?) throws {
    if let gradient, gradient.shape != shape || gradient.dtype != dtype || gradient.device != device {
      throw TorchError(
        operation: "grad", shapes: [shape, gradient.shape], dtypes: [dtype, gradient.dtype],
        message: "a gradient must have the shape, type and device of its tensor")
    }
    try Bridge.call("grad", tensors: [self]) { $0.set_gradient(reference, gradient?.reference, $1) }
    withExtendedLifetime(gradient) {}
  }

  /// Adds the gradient of this tensor to every tensor that it was computed from.
  ///
  /// - Parameter gradient: what to start from, of this tensor's shape; 1 for a tensor with one element.
  public func backward(gradient: Tensor? = nil, retainGraph: Bool = false) throws {
    try Autograd.backward(roots: [self], gradients: [gradient], retainGraph: retainGraph)
  }

  /// The same numbers without their history.
  public func detached() throws -> Tensor { try Dispatcher.call(.detach, self) }
}

/// Reverse-mode differentiation over several tensors at once.
public enum Autograd {
  /// Adds to every leaf tensor the gradient of the weighted sum of `roots`.
  public static func backward(
    roots: [Tensor], gradients: [Tensor?]? = nil, retainGraph: Bool = false, createGraph: Bool = false
  ) throws {
    let given = gradients ?? roots.map { _ in nil }
    guard given.count == roots.count else {
      throw TorchError(operation: "backward", message: "\(roots.count) roots but \(given.count) gradients")
    }
    try Bridge.call("backward", tensors: roots) {
      $0.backward(
        roots.map { $0.reference }, given.map { $0?.reference }, Int32(roots.count), retainGraph, createGraph, $1)
    }
    withExtendedLifetime((roots, given)) {}
  }

  /// The gradients of `outputs` with respect to `inputs`, without touching any tensor's own gradient; nil for an input
  /// on which no output depends.
  public static func gradients(
    of outputs: [Tensor], withRespectTo inputs: [Tensor], outputGradients: [Tensor?]? = nil, retainGraph: Bool = false,
    createGraph: Bool = false
  ) throws -> [Tensor?] {
    let given = outputGradients ?? outputs.map { _ in nil }
    guard given.count == outputs.count else {
      throw TorchError(operation: "grad", message: "\(outputs.count) outputs but \(given.count) gradients")
    }
    var found = [ct_tensor_ref?](repeating: nil, count: inputs.count)
    try Bridge.call("grad", tensors: outputs) {
      $0.gradients_of(
        outputs.map { $0.reference }, given.map { $0?.reference }, Int32(outputs.count),
        inputs.map { $0.reference }, Int32(inputs.count), retainGraph, createGraph, &found, $1)
    }
    withExtendedLifetime((outputs, inputs, given)) {}
    return found.map { reference in reference.map { Tensor(owning: $0) } }
  }

  /// Whether operators are being recorded on this thread.
  public static var isRecording: Bool {
    get throws { try Bridge.functions.gradient_enabled() }
  }
}

/// Runs `body` without recording its operators. The mode belongs to the thread, so `body` is synchronous.
public func withoutGradient<Result>(_ body: () throws -> Result) throws -> Result {
  try withRecording(false, body)
}

/// Runs `body` with its operators recorded, even inside `withoutGradient`.
public func withGradient<Result>(_ body: () throws -> Result) throws -> Result {
  try withRecording(true, body)
}

private func withRecording<Result>(_ value: Bool, _ body: () throws -> Result) throws -> Result {
  let functions = try Bridge.functions
  let before = functions.gradient_enabled()
  functions.set_gradient_enabled(value)
  defer { functions.set_gradient_enabled(before) }
  return try body()
}

/// Runs `body` with mixed precision: on `device`, matrix products and convolutions are computed in `dtype`, and what
/// needs range or precision stays in float32. The mode belongs to the thread, so `body` is synchronous. Call
/// `backward` outside it.
public func withAutocast<Result>(
  _ dtype: DType = .bfloat16, on device: Device = .cpu, _ body: () throws -> Result
) throws -> Result {
  var wasEnabled = false
  var oldType: Int32 = 0
  try Bridge.call("autocast") { $0.autocast_enter(device.kind.rawValue, dtype.rawValue, &wasEnabled, &oldType, $1) }
  defer { try? Bridge.call("autocast") { $0.autocast_exit(device.kind.rawValue, wasEnabled, oldType, $1) } }
  return try body()
}

/// Runs `body` without mixed precision, even inside `withAutocast`: for losses, which need float32.
public func withoutAutocast<Result>(on device: Device = .cpu, _ body: () throws -> Result) throws -> Result {
  var wasEnabled = false
  try Bridge.call("autocast") { $0.autocast_switch(device.kind.rawValue, false, &wasEnabled, $1) }
  defer {
    var ignored = false
    try? Bridge.call("autocast") { $0.autocast_switch(device.kind.rawValue, wasEnabled, &ignored, $1) }
  }
  return try body()
}
