import Torch

/// A layer or a model: something with parameters, buffers and modules inside it.
///
/// Its state is found by reflection, in the order of declaration: properties wrapped with `@Parameter` and `@Buffer`,
/// and properties that hold a module, an optional module or an array of modules. The key of each in a checkpoint is the
/// snake_case form of the property's name, after the keys of the modules around it: `layer1.0.conv2.weight`.
/// Exceptions are spelled out in `keys`.
public protocol Module: AnyObject {
  /// Keys that are not the snake_case form of the property's name, by property name. An empty key leaves the step out
  /// of the path, so that the modules inside count as this module's own.
  static var keys: [String: String] { get }
}

extension Module {
  public static var keys: [String: String] { [:] }
}

/// A module from one tensor to one tensor. Conformers write `forward`; users call the module.
public protocol Layer: Module {
  func forward(_ input: Tensor) throws -> Tensor
}

extension Layer {
  /// Computes the layer's output; outputs are recorded for taps and summaries here, and a failure learns in which module
  /// it happened.
  public func callAsFunction(_ input: Tensor) throws -> Tensor { try called(with: input) { try forward(input) } }
}

extension Module {
  /// Runs `body`, which computes this module's output, as every call of a module does: the one place where outputs are
  /// recorded for taps and summaries, and where a failure learns in which module it happened. A module that takes more
  /// than one tensor uses it in a call of its own; `input` is the one that counts as what came in.
  @inline(__always)
  public func called(with input: Tensor, _ body: () throws -> Tensor) throws -> Tensor {
    do {
      let output = try body()
      if let recorder = Recorder.current { try recorder.record(self, input: input, output: output) }
      return output
    } catch var error as TorchError {
      note(self, in: &error)
      throw error
    }
  }
}

/// Writes into a failure where it happened. The innermost module notes itself, and each module around it the path from
/// itself, so that in the end the path from the outermost one stands there.
func note(_ module: any Module, in error: inout TorchError) {
  guard let origin = error.origin else {
    error.origin = ObjectIdentifier(module)
    error.modulePath = "\(type(of: module))"
    return
  }
  if let inner = module.namedModules.first(where: { ObjectIdentifier($0.module) == origin }), !inner.path.isEmpty {
    error.modulePath = inner.path
  }
}

/// A module that behaves differently while it is trained.
public protocol ModeDependent: Module {
  var isTraining: Bool { get set }
}

/// A trainable tensor of a module. Its gradient is recorded.
///
/// The value may be optional (`Tensor?`), for a bias that can be left out, or a list of tensors that each have a key of
/// their own (`[NamedTensor]`), for a layer with as many as its size says.
@propertyWrapper
public final class Parameter<Value> {
  public var wrappedValue: Value {
    // An optional value starts as nil and gets its tensor later. A tensor that takes another's place keeps its own mode,
    // so that a frozen parameter stays frozen when the model is moved.
    didSet { if heldTensors(oldValue).isEmpty { requireGradients() } }
  }

  public init(wrappedValue: Value) {
    self.wrappedValue = wrappedValue
    requireGradients()
  }

  private func requireGradients() {
    for named in heldTensors(wrappedValue) { _ = try? named.tensor.requireGradient() }
  }
}

/// A tensor of a module that is saved with it but not trained, such as a running mean.
@propertyWrapper
public final class Buffer<Value> {
  public var wrappedValue: Value

  public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }
}

/// What the walk over a module sees of a parameter or buffer, whatever its value is.
private protocol TensorSlot: AnyObject {
  var isParameter: Bool { get }
  /// The tensors, with the key of each under the property's own: empty where the property is one tensor.
  var tensors: [NamedTensor] { get }
  /// Puts others in their place, in the same order.
  func replaceTensors(_ tensors: [Tensor])
}

extension Parameter: TensorSlot {
  fileprivate var isParameter: Bool { true }
  fileprivate var tensors: [NamedTensor] { heldTensors(wrappedValue) }
  fileprivate func replaceTensors(_ tensors: [Tensor]) { wrappedValue = holding(tensors, like: wrappedValue) }
}

extension Buffer: TensorSlot {
  fileprivate var isParameter: Bool { false }
  fileprivate var tensors: [NamedTensor] { heldTensors(wrappedValue) }
  fileprivate func replaceTensors(_ tensors: [Tensor]) { wrappedValue = holding(tensors, like: wrappedValue) }
}

/// The tensors in the value of a parameter or buffer.
private func heldTensors<Value>(_ value: Value) -> [NamedTensor] {
  if let tensor = value as? Tensor { return [NamedTensor(name: "", tensor: tensor)] }
  return value as? [NamedTensor] ?? []
}

/// A value like `value`, with other tensors in it.
private func holding<Value>(_ tensors: [Tensor], like value: Value) -> Value {
  if let list = value as? [NamedTensor] {
    return zip(list, tensors).map { NamedTensor(name: $0.name, tensor: $1) } as? Value ?? value
  }
  return tensors.first as? Value ?? value
}

/// A tensor of a module's state, with its key.
public struct NamedTensor {
  public let name: String
  public let tensor: Tensor

  public init(name: String, tensor: Tensor) {
    self.name = name
    self.tensor = tensor
  }
}

/// A module inside another one, with its path; the path of the outermost is empty.
public struct NamedModule {
  public let path: String
  public let module: any Module
}

extension Module {
  /// This module and all inside it, outermost first, in the order of declaration. A module that stands in several places
  /// is listed under each.
  public var namedModules: [NamedModule] {
    var found: [NamedModule] = []
    walk(path: "", module: { found.append(NamedModule(path: $0, module: $1)) }, slot: { _, _ in })
    return found
  }

  /// All trainable tensors, with their keys. A tensor that stands in several places is listed once, under the first.
  public var namedParameters: [NamedTensor] { namedTensors { $0.isParameter } }

  /// All tensors that are saved but not trained, with their keys.
  public var namedBuffers: [NamedTensor] { namedTensors { !$0.isParameter } }

  /// Parameters and buffers together, in the order of declaration: what a checkpoint holds.
  public var state: [NamedTensor] { namedTensors { _ in true } }

  /// All trainable tensors.
  public var parameters: [Tensor] { namedParameters.map(\.tensor) }

  /// The number of weights: of trainable numbers, and of those of modules whose weights are fixed.
  public var parameterCount: Int {
    let fixed = namedModules.compactMap { $0.module as? any FixedWeights }.flatMap { $0.namedBuffers.map(\.tensor) }
    return (parameters + fixed).reduce(0) { $0 + $1.count }
  }

  /// The module at a path such as `layer1.0.conv2`; nil if there is none.
  public func module(at path: String) -> (any Module)? { namedModules.first { $0.path == path }?.module }

  /// The path of a module inside this one; nil if it is not there.
  public func path(of module: any Module) -> String? { namedModules.first { $0.module === module }?.path }

  private func namedTensors(where wanted: (any TensorSlot) -> Bool) -> [NamedTensor] {
    var found: [NamedTensor] = []
    var seen: Set<ObjectIdentifier> = []
    for named in everyTensor(where: wanted) where seen.insert(ObjectIdentifier(named.tensor)).inserted {
      found.append(named)
    }
    return found
  }

  /// All tensors of the state, each under every key that it has.
  package var stateUnderEveryKey: [NamedTensor] { everyTensor { _ in true } }

  /// A question that can be asked often: whether the tensors of the state are still the same ones. What numbers they hold
  /// makes no difference.
  package func stateCheck() -> () -> Bool {
    var held: [(slot: any TensorSlot, tensors: [Tensor])] = []
    walk(path: "", module: { _, _ in }, slot: { _, slot in held.append((slot, slot.tensors.map(\.tensor))) })
    return {
      held.allSatisfy { slot, tensors in
        let now = slot.tensors
        return now.count == tensors.count && zip(now, tensors).allSatisfy { $0.tensor === $1 }
      }
    }
  }

  private func everyTensor(where wanted: (any TensorSlot) -> Bool) -> [NamedTensor] {
    var found: [NamedTensor] = []
    walk(path: "") { _, _ in
    } slot: { path, slot in
      guard wanted(slot) else { return }
      found += slot.tensors.map { NamedTensor(name: joined(path, $0.name), tensor: $0.tensor) }
    }
    return found
  }

  private func walk(
    path: String, module visitModule: (String, any Module) -> Void, slot visitSlot: (String, any TensorSlot) -> Void
  ) {
    visitModule(path, self)
    func visit(_ value: Any, at path: String) {
      switch value {
      case let slot as any TensorSlot: visitSlot(path, slot)
      case let module as any Module: module.walk(path: path, module: visitModule, slot: visitSlot)
      case let modules as [any Module]:
        for (index, module) in modules.enumerated() { visit(module, at: joined(path, "\(index)")) }
      default: break
      }
    }
    for property in storedProperties(of: self) {
      let key = Self.keys[property.name] ?? snakeCase(property.name)
      visit(property.value, at: joined(path, key))
    }
  }
}

extension Module {
  /// Puts this module and all inside it into training mode: dropout drops, batch normalization uses the batch.
  public func train() { setTraining(true) }

  /// Puts this module and all inside it into evaluation mode.
  public func eval() { setTraining(false) }

  /// Runs `body` in training or evaluation mode and puts every module's own mode back afterwards.
  public func withMode<Result>(training: Bool, _ body: () throws -> Result) rethrows -> Result {
    let modules = namedModules.compactMap { $0.module as? any ModeDependent }
    let before = modules.map(\.isTraining)
    defer { for (module, mode) in zip(modules, before) { module.isTraining = mode } }
    for module in modules { module.isTraining = training }
    return try body()
  }

  private func setTraining(_ value: Bool) {
    for named in namedModules { (named.module as? any ModeDependent)?.isTraining = value }
  }

  /// Moves every parameter and buffer to a device; the ones that float also to `dtype`, if given. Do it before an
  /// optimizer takes the parameters.
  public func move(to device: Device, dtype: DType? = nil) throws {
    try replaceTensors { tensor in
      try tensor.to(device, dtype: tensor.dtype.isFloatingPoint ? dtype : nil)
    }
  }

  /// Lays out the weights of convolutions with the channels of a pixel side by side.
  public func useChannelsLast() throws {
    try replaceTensors { tensor in tensor.rank == 4 ? try tensor.contiguous(.channelsLast) : tensor }
  }

  private func replaceTensors(_ transform: (Tensor) throws -> Tensor) throws {
    var made: [ObjectIdentifier: Tensor] = [:]
    var slots: [any TensorSlot] = []
    walk(path: "", module: { _, _ in }, slot: { _, slot in slots.append(slot) })
    for slot in slots {
      let before = slot.tensors.map(\.tensor)
      let after = try before.map { tensor in
        if let known = made[ObjectIdentifier(tensor)] { return known }
        let moved = try withoutGradient { try transform(tensor) }
        if moved !== tensor && tensor.requiresGradient { try moved.requireGradient() }
        made[ObjectIdentifier(tensor)] = moved
        return moved
      }
      if !zip(before, after).allSatisfy({ $0 === $1 }) { slot.replaceTensors(after) }
    }
  }
}

private struct StoredProperty {
  var name: String
  var value: Any
}

/// The stored properties of a module, those of its superclasses first.
private func storedProperties(of module: any Module) -> [StoredProperty] {
  var classes: [Mirror] = []
  var mirror: Mirror? = Mirror(reflecting: module)
  while let current = mirror {
    classes.append(current)
    mirror = current.superclassMirror
  }
  return classes.reversed().flatMap(\.children).compactMap { child in
    guard var name = child.label else { return nil }
    if name.hasPrefix("_") { name.removeFirst() }  // a wrapped property is stored under its name with an underscore
    var value = child.value
    while case let optional as any OptionalValue = value {
      guard let inner = optional.unwrapped else { return nil }
      value = inner
    }
    return StoredProperty(name: name, value: value)
  }
}

private protocol OptionalValue {
  var unwrapped: Any? { get }
}

extension Optional: OptionalValue {
  fileprivate var unwrapped: Any? { map { $0 as Any } }
}

func joined(_ path: String, _ key: String) -> String {
  if path.isEmpty { return key }
  return key.isEmpty ? path : "\(path).\(key)"
}

/// `inputFeatures` → `input_features`; digits stay with the word before them: `layer1`.
func snakeCase(_ name: String) -> String {
  var result = ""
  var previous: Character?
  for character in name {
    if character.isUppercase, let before = previous, !before.isUppercase { result.append("_") }
    result.append(contentsOf: character.lowercased())
    previous = character
  }
  return result
}
