import Torch
import TorchNN

/// The parameters of an optimizer, flattened, and what it remembers about each.
struct OptimizerState {
  /// The parameters of one group that live on one device and have one type of element: what a fused kernel takes.
  struct Batch {
    var group: Int
    var indices: [Int]
    var canBeFused: Bool
  }

  /// The parameters of a batch whose turn it is.
  struct Ready {
    var indices: [Int] = []
    var parameters: [Tensor] = []
    var gradients: [Tensor] = []
  }

  let parameters: [NamedTensor]
  let batches: [Batch]
  private let groupCount: Int
  /// By parameter, what is remembered: PyTorch's name of it and the tensor.
  var memory: [[String: Tensor]]

  init(_ groups: [ParameterGroup], problems: [String]) throws {
    parameters = groups.flatMap(\.parameters)
    memory = parameters.map { _ in [:] }
    batches = Self.batches(of: groups)
    groupCount = groups.count
    var problems = problems
    if parameters.isEmpty { problems.append("an optimizer needs at least one parameter") }
    let names = Dictionary(grouping: parameters, by: \.name)
    for (name, same) in names.sorted(by: { $0.key < $1.key }) where same.count > 1 {
      problems.append("the parameter '\(name)' was given \(same.count) times")
    }
    if Set(parameters.map { ObjectIdentifier($0.tensor) }).count < names.count {
      problems.append("one tensor was given under two names")
    }
    for group in groups {
      problems += problem("learning rate of '\(group.name)'", group.learningRate, in: 0...)
      problems += problem("momentum of '\(group.name)'", group.momentum, in: 0...)
      problems += problem("weight decay of '\(group.name)'", group.weightDecay, in: 0...)
    }
    guard problems.isEmpty else { throw OptimizerError(problems) }
  }

  /// The settings of a batch.
  ///
  /// - Throws: `OptimizerError` when groups were added or taken away since the optimizer was made.
  func group(of batch: Batch, in groups: [ParameterGroup]) throws -> ParameterGroup {
    guard groups.count == groupCount else {
      throw OptimizerError([
        "the optimizer was made with \(groupCount) parameter groups and now has \(groups.count); make a new optimizer"
      ])
    }
    return groups[batch.group]
  }

  private static func batches(of groups: [ParameterGroup]) -> [Batch] {
    struct Kind: Hashable {
      var group: Int
      var device: Device
      var dtype: DType
    }
    var order: [Kind] = []
    var indices: [Kind: [Int]] = [:]
    var index = 0
    for (number, group) in groups.enumerated() {
      for parameter in group.parameters {
        let kind = Kind(group: number, device: parameter.tensor.device, dtype: parameter.tensor.dtype)
        if indices[kind] == nil { order.append(kind) }
        indices[kind, default: []].append(index)
        index += 1
      }
    }
    return order.map { kind in
      Batch(
        group: kind.group, indices: indices[kind] ?? [],
        canBeFused: kind.dtype.isFloatingPoint && (kind.device.kind == .cpu || kind.device.kind == .cuda))
    }
  }

  /// The parameters of a batch that have a gradient and are not frozen. Fused kernels read memory from front to back, so
  /// a gradient that lies in another order than its parameter is copied into the parameter's.
  func ready(_ batch: Batch) throws -> Ready {
    var ready = Ready()
    for index in batch.indices {
      let parameter = parameters[index].tensor
      guard let gradient = parameter.gradient, parameter.requiresGradient else { continue }
      ready.indices.append(index)
      ready.parameters.append(parameter)
      if gradient.hasLayout(of: parameter) {
        ready.gradients.append(gradient)
      } else {
        let copy = try parameter.emptyLike()
        try copy.copy(from: gradient)
        ready.gradients.append(copy)
      }
    }
    return ready
  }

  /// What is remembered under `key` of each of the parameters; made as zeros of the parameter's shape where there is
  /// nothing yet.
  mutating func remembered(_ key: String, _ ready: Ready) throws -> [Tensor] {
    var tensors: [Tensor] = []
    tensors.reserveCapacity(ready.indices.count)
    for (index, parameter) in zip(ready.indices, ready.parameters) {
      if let known = memory[index][key] {
        tensors.append(known)
      } else {
        let made = try parameter.zerosLike()
        memory[index][key] = made
        tensors.append(made)
      }
    }
    return tensors
  }

  func saved() -> [String: Tensor] {
    var saved: [String: Tensor] = [:]
    for (parameter, remembered) in zip(parameters, memory) {
      for (key, tensor) in remembered { saved["\(parameter.name).\(key)"] = tensor }
    }
    return saved
  }

  /// - Parameters:
  ///   - keys: what is remembered of each parameter: all of it or nothing
  ///   - counts: those of the keys that count something, as single float32 numbers; the others have the parameter's shape
  ///     and type
  mutating func load(_ state: [String: Tensor], keys: [String], counts: Set<String> = []) throws {
    var problems: [String] = []
    var unused = Set(state.keys)
    var loaded: [[String: Tensor]] = []
    for parameter in parameters {
      var remembered: [String: Tensor] = [:]
      for key in keys {
        let name = "\(parameter.name).\(key)"
        guard let saved = state[name] else { continue }
        unused.remove(name)
        let isCount = counts.contains(key)
        let shape = isCount ? [] : parameter.tensor.shape
        let dtype = isCount ? .float32 : parameter.tensor.dtype
        guard saved.shape == shape, saved.dtype == dtype else {
          problems.append("'\(name)' is \(saved.shape) of \(saved.dtype), but should be \(shape) of \(dtype)")
          continue
        }
        guard try !isCount || (0..<Double.infinity).contains(saved.item()) else {
          problems.append("'\(name)' is \(try saved.item()), but should be a count")
          continue
        }
        let copy = isCount ? try Tensor.zeros([], device: parameter.tensor.device) : try parameter.tensor.zerosLike()
        try copy.copy(from: saved)
        remembered[key] = copy
      }
      let missing = keys.filter { state["\(parameter.name).\($0)"] == nil }
      if !missing.isEmpty, missing.count < keys.count {
        problems += missing.map { "'\(parameter.name).\($0)' is missing" }
      }
      loaded.append(remembered)
    }
    for name in unused.sorted() {
      let near = closest(to: name, in: parameters.flatMap { parameter in keys.map { "\(parameter.name).\($0)" } })
      let hint = near.isEmpty ? "" : ". Near it: \(near.joined(separator: ", "))"
      problems.append("'\(name)' belongs to no parameter of this optimizer\(hint)")
    }
    guard problems.isEmpty else { throw OptimizerError(problems) }
    memory = loaded
  }
}

/// A complaint about a setting that is not a number in `range`.
func problem(_ name: String, _ value: Double?, in range: PartialRangeFrom<Double>) -> [String] {
  guard let value else { return [] }
  return value.isFinite && range.contains(value)
    ? [] : ["\(name) is \(value), but has to be at least \(range.lowerBound)"]
}

/// A complaint about a decay rate that is not in [0, 1).
func problem(_ name: String, rate value: Double) -> [String] {
  value >= 0 && value < 1 ? [] : ["\(name) is \(value), but has to be at least 0 and below 1"]
}
