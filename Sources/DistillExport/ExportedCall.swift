import Torch

/// One call of an operator while it is written in another format: what it was given.
protocol ExportedCall {
  typealias Count = RecordedGraph.Count
  /// What stands for a value in that format.
  associatedtype Value

  /// The format as sentences call it, such as `ONNX`.
  static var format: String { get }

  var call: RecordedGraph.Call { get }
  var graph: RecordedGraph { get }
  /// What stands for a value of the graph.
  var written: (Int) throws -> Value { get }

  /// A size, where the format knows it before anything is computed.
  func known(_ count: Count) -> Int?
}

extension ExportedCall {
  func failure(_ message: String) -> ExportError {
    ExportError("\(call.fullName) cannot be said in \(Self.format) as the model calls it: \(message)")
  }

  private func missing(_ argument: String) -> ExportError { failure("its argument '\(argument)' is of another kind") }

  func optionalValue(_ argument: String) -> Int? {
    if case .values(let values) = call.arguments[argument], values.count == 1 { values[0] } else { nil }
  }

  func value(_ argument: String) throws -> Int {
    guard let value = optionalValue(argument) else { throw missing(argument) }
    return value
  }

  func values(_ argument: String) throws -> [Int] {
    guard case .values(let values) = call.arguments[argument], values.allSatisfy({ $0 != nil }) else {
      throw missing(argument)
    }
    return values.compactMap(\.self)
  }

  func shape(_ argument: String) throws -> [Count] { graph.values[try value(argument)].shape }

  func dtype(_ argument: String) throws -> DType { graph.values[try value(argument)].dtype }

  /// What it gives, the first of it.
  var result: RecordedGraph.Value { graph.values[call.results[0]] }

  /// A whole number, or a number.
  func optionalNumber(_ argument: String) -> Double? {
    switch call.arguments[argument] {
    case .numbers(let numbers): numbers.first
    case .counts(let counts): counts.first.flatMap(known).map(Double.init)
    case .flags(let flags): flags.first.map { $0 ? 1 : 0 }
    default: nil
    }
  }

  func number(_ argument: String) throws -> Double {
    guard let number = optionalNumber(argument) else { throw missing(argument) }
    return number
  }

  func isGiven(_ argument: String) -> Bool {
    guard let given = call.arguments[argument] else { return false }
    return given != .none
  }

  func counts(_ argument: String) throws -> [Count] {
    guard case .counts(let counts) = call.arguments[argument] else { throw missing(argument) }
    return counts
  }

  func integers(_ argument: String) throws -> [Int] {
    try counts(argument).map { count in
      guard let number = known(count) else { throw failure("'\(argument)' hangs on the number of examples") }
      return number
    }
  }

  func integer(_ argument: String) throws -> Int {
    guard let number = try integers(argument).first else { throw missing(argument) }
    return number
  }

  func flag(_ argument: String) throws -> Bool {
    guard case .flags(let flags) = call.arguments[argument], let flag = flags.first else { throw missing(argument) }
    return flag
  }

  func text(_ argument: String) throws -> String {
    guard case .text(let text) = call.arguments[argument] else { throw missing(argument) }
    return text
  }

  /// A dimension, counted from the front.
  func dimension(_ argument: String, rank: Int) throws -> Int {
    let number = try integer(argument)
    return number < 0 ? number + rank : number
  }

  /// Some dimensions counted from the front; all of them where none is given.
  func dimensions(_ argument: String, rank: Int) throws -> [Int] {
    guard isGiven(argument) else { return Array(0..<rank) }
    let numbers = try integers(argument)
    return numbers.isEmpty ? Array(0..<rank) : numbers.map { $0 < 0 ? $0 + rank : $0 }
  }

  /// A number for each of `count` dimensions, of which a single one stands for all; `default` where there is none.
  func spread(_ argument: String, _ count: Int, default: [Int]? = nil) throws -> [Int] {
    let numbers = try integers(argument)
    if numbers.isEmpty, let `default` { return `default` }
    guard numbers.count == 1 || numbers.count == count else { throw missing(argument) }
    return numbers.count == count ? numbers : Array(repeating: numbers[0], count: count)
  }

  /// What stands for a tensor that it was given.
  func input(_ argument: String) throws -> Value { try written(value(argument)) }
}

extension Double {
  /// The same as a whole number.
  ///
  /// - Throws: `ExportError` for what is none
  var whole: Int {
    get throws {
      guard let number = Int(exactly: self) else {
        throw ExportError("the model puts \(self) into whole numbers, which the format does not do: use a whole number")
      }
      return number
    }
  }
}

/// A table from libtorch's operators to those of a format.
protocol ExportForms {
  associatedtype Call: ExportedCall & SendableMetatype
  /// Writes a call, and gives what stands for its results.
  typealias Form = @Sendable (Call) throws -> [Call.Value]

  /// By the name of the operator and, where it has one, of the overload: `aten::clamp`, `aten::add.Tensor`. Each is named,
  /// since what another overload takes and does is nothing that its name says.
  static var all: [String: Form] { get }
}

extension RecordedGraph.Call {
  /// As libtorch calls it as a whole: `aten::add.Tensor`.
  var fullName: String { overload.isEmpty ? name : "\(name).\(overload)" }
}

extension ExportForms {
  static func form(of call: RecordedGraph.Call) -> Form? { all[call.fullName] }

  /// What leaves its input as it is.
  static func same(_ argument: String) -> Form { { call in [try call.input(argument)] } }
}

extension ExportGraph {
  /// Writes every call by its form, and gives what stands for the output, and for each value of the graph.
  ///
  /// - Parameters:
  ///   - input: what stands for the input
  ///   - constant: writes a constant, with the key of the weight that it is
  ///   - call: a call with what its values are
  /// - Throws: `ExportError` with every operator that has no form.
  func write<Forms: ExportForms>(
    by forms: Forms.Type, taking input: Forms.Call.Value,
    constant: @escaping (Tensor, _ key: String?) throws -> Forms.Call.Value,
    call: (RecordedGraph.Call, _ written: @escaping (Int) throws -> Forms.Call.Value) -> Forms.Call
  ) throws -> (output: Forms.Call.Value, values: [Int: Forms.Call.Value]) {
    var missing: [String] = []
    for call in graph.calls where Forms.form(of: call) == nil {
      if !missing.contains(call.fullName) { missing.append(call.fullName) }
    }
    guard missing.isEmpty else {
      throw ExportError(
        "the model calls \(missing.joined(separator: ", ")), which \(missing.count == 1 ? "has" : "have") no "
          + "\(Forms.Call.format) form here yet: add one to \(Forms.self)")
    }
    guard graph.outputs.count == 1 else { throw ExportError("the model gives \(graph.outputs.count) outputs") }
    let known = Known<Forms.Call.Value>([0: input])
    func written(_ value: Int) throws -> Forms.Call.Value {
      if let there = known.values[value] { return there }
      guard let tensor = graph.values[value].constant else {
        throw ExportError("the model needs value \(value), which nothing gives")
      }
      let made = try constant(tensor, names[value])
      known.values[value] = made
      return made
    }
    for recorded in graph.calls {
      guard let form = Forms.form(of: recorded) else { continue }
      let results = try form(call(recorded, written))
      for (value, given) in zip(recorded.results, results) { known.values[value] = given }
    }
    return (try written(graph.outputs[0]), known.values)
  }
}

/// What stands for values, as it grows.
private final class Known<Value> {
  var values: [Int: Value]

  init(_ values: [Int: Value]) { self.values = values }
}
