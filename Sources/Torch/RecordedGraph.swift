import Foundation

extension Operator {
  fileprivate static let read = Operator("distill::recording_read")
  fileprivate static let values = Operator("distill::recording_values")
}

/// The operators that a function of a batch calls, as a list to read: what another program needs to compute the same.
///
/// The function is called with two small batches of different sizes, while libtorch's observers note every operator with
/// its arguments, so that what hangs on the number of examples is known from what does not. What it makes of constants
/// alone is a constant here. Where it calls other operators for one batch than for the other, looks at numbers, draws
/// random ones or changes a tensor, there is no graph.
public struct RecordedGraph {
  /// A size or another whole number that an operator is given.
  public enum Count: Hashable, Sendable {
    case fixed(Int)
    /// So many for each example of the batch.
    case perExample(Int)

    /// The number, where it is the same for every batch.
    public var fixed: Int? { if case .fixed(let number) = self { number } else { nil } }
  }

  /// A tensor: the input, a constant, or what an operator gives.
  public struct Value {
    public var shape: [Count]
    public var dtype: DType
    /// Its numbers, where they are the same for every input.
    public var constant: Tensor?
  }

  /// What an operator is given under a name of its schema. A list and a single thing look the same here.
  public enum Argument: Hashable, Sendable {
    case none
    /// The numbers of values; nil where a list has no tensor.
    case values([Int?])
    case counts([Count])
    case numbers([Double])
    case flags([Bool])
    case text(String)
  }

  /// One call of an operator.
  public struct Call: Sendable {
    /// As libtorch calls it: `aten::add`.
    public var name: String
    /// Of several operators of the name, which: `Tensor`.
    public var overload: String
    /// By their names in the operator's schema.
    public var arguments: [String: Argument]
    /// The names of those that are lists.
    public var lists: Set<String>
    /// The numbers of the values that it gives.
    public var results: [Int]
  }

  /// Value 0 is the input.
  public var values: [Value]
  /// In the order in which they were called; those that give nothing but constants are not among them.
  public var calls: [Call]
  /// The numbers of the values that the function gives.
  public var outputs: [Int]
  /// How many values there were when it was recorded; what was added are constants.
  private let recordedCount: Int

  /// - Parameters:
  ///   - inputs: a batch as those that will come
  ///   - function: gives its outputs for a batch; called without gradient
  /// - Throws: `TorchError` when the function throws, or cannot be written down.
  public init(like inputs: Tensor, of function: (Tensor) throws -> [Tensor]) throws {
    let tensors = try withoutGradient {
      let (first, second) = try Recordings.make(like: inputs, allowsUnusedRandomness: true, of: function)
      return try Dispatcher.callList(.read, first, second)
    }
    guard let text = tensors.first else { throw Self.failure("it gave nothing") }
    let recording: Recording
    do {
      recording = try text.withBytes { try JSONDecoder().decode(Recording.self, from: Data($0)) }
    } catch {
      throw Self.failure("what the bridge says of it cannot be understood: \(error)")
    }
    let made = try recording.values.map { value in
      guard let dtype = DType(rawValue: value.type) else { throw Self.failure("it has a tensor of an unknown type") }
      return Value(shape: try recording.counts(of: value), dtype: dtype, constant: nil)
    }
    values = made
    recordedCount = made.count
    calls = recording.calls.map { call in
      Call(
        name: call.operator, overload: call.overload,
        arguments: Dictionary(call.arguments.map { ($0.name, $0.value) }) { first, _ in first },
        lists: Set(call.arguments.filter { $0.isList ?? false }.map(\.name)), results: call.results)
    }
    outputs = recording.outputs
    for constant in tensors.dropFirst() { _ = add(constant) }
    let used = calls.flatMap { $0.results + $0.arguments.values.flatMap(\.references) } + outputs
    guard values.first != nil, used.allSatisfy(values.indices.contains) else {
      throw Self.failure("it speaks of values that it does not have")
    }
  }

  /// Adds a constant, and gives the number of its value.
  public mutating func add(_ constant: Tensor) -> Int {
    values.append(Value(shape: constant.shape.map { .fixed($0) }, dtype: constant.dtype, constant: constant))
    return values.count - 1
  }

  /// The tensors that stand for some of the values while the function computes another batch, for who wants to know what
  /// numbers they are. All of them are in memory at once.
  ///
  /// - Parameters:
  ///   - wanted: numbers of values that are no constants
  ///   - function: the one that was recorded; called without gradient
  /// - Throws: `TorchError` when the function throws, or calls other operators for this batch.
  public func tensors(
    of wanted: [Int], for inputs: Tensor, in function: (Tensor) throws -> [Tensor]
  ) throws -> [Tensor] {
    let tensors = try withoutGradient {
      try Recordings.record(inputs, allowsUnusedRandomness: true, function) { _ in
        try Dispatcher.callList(.values, wanted, recordedCount)
      }
    }
    for (value, tensor) in zip(wanted, tensors) {
      let expected = values[value].shape
      guard values[value].dtype == tensor.dtype, expected.count == tensor.rank,
        zip(expected, tensor.shape).allSatisfy({ $0.fixed == nil || $0.fixed == $1 })
      else {
        throw Self.failure("a tensor has the shape \(tensor.shape) for these examples, and had another one before")
      }
    }
    return tensors
  }

  fileprivate static func failure(_ message: String) -> TorchError {
    TorchError(operation: "distill::recording_read", message: message)
  }
}

extension RecordedGraph.Argument {
  /// The values that it names.
  public var references: [Int] { if case .values(let values) = self { values.compactMap(\.self) } else { [] } }
}

/// What the bridge writes.
private struct Recording: Decodable {
  struct Value: Decodable {
    var shape: [Int]
    var widerShape: [Int]
    var type: Int32
  }

  struct Argument: Decodable {
    var name: String
    var values: [Int]?
    var integers: [Int]?
    /// The places of `integers` that are counted for each example.
    var perExample: [Int]?
    var numbers: [Number]?
    var flags: [Bool]?
    var text: String?
    var isList: Bool?

    var value: RecordedGraph.Argument {
      if let values { return .values(values.map { $0 < 0 ? nil : $0 }) }
      if let integers {
        let places = Set(perExample ?? [])
        return .counts(integers.enumerated().map { places.contains($0) ? .perExample($1) : .fixed($1) })
      }
      if let numbers { return .numbers(numbers.map(\.value)) }
      if let flags { return .flags(flags) }
      return text.map { .text($0) } ?? .none
    }
  }

  /// A number, or a word for one that is not finite.
  struct Number: Decodable {
    var value: Double

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let number = try? container.decode(Double.self) {
        value = number
      } else {
        value = Double(try container.decode(String.self)) ?? .nan
      }
    }
  }

  struct Call: Decodable {
    var `operator`: String
    var overload: String
    var arguments: [Argument]
    var results: [Int]
  }

  var batch: Int
  var values: [Value]
  var outputs: [Int]
  var calls: [Call]

  /// The shape of a value, of which two are known: for batches of different sizes.
  func counts(of value: Value) throws -> [RecordedGraph.Count] {
    guard let wider = values.first?.widerShape.first, batch > 0, wider != batch,
      value.shape.count == value.widerShape.count
    else { throw RecordedGraph.failure("its shapes hang on the number of examples in another way than in their sizes") }
    return try zip(value.shape, value.widerShape).map { one, other in
      if one == other { return .fixed(one) }
      guard one % batch == 0, one / batch * wider == other else {
        throw RecordedGraph.failure("a tensor has \(one) rows for \(batch) examples and \(other) for \(wider)")
      }
      return .perExample(one / batch)
    }
  }
}
