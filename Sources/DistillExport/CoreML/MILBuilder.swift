import Foundation
import SwiftProtobuf
import Torch

/// A value in a program for Core ML.
struct MILValue {
  var name: String
  /// Programs take one example, so all sizes are known.
  var shape: [Int]
  var type: MILType
}

/// The types of numbers that programs for Core ML compute with.
enum MILType: String {
  case float16 = "fp16"
  case float32 = "fp32"
  case int32
  case bool

  var isFloatingPoint: Bool { self == .float16 || self == .float32 }

  var dtype: DType {
    switch self {
    case .float16: .float16
    case .float32: .float32
    case .int32: .int32
    case .bool: .bool
    }
  }

  var proto: CoreML_Specification_MILSpec_DataType {
    switch self {
    case .float16: .float16
    case .float32: .float32
    case .int32: .int32
    case .bool: .bool
    }
  }
}

/// A program for Core ML while it is built: operations in their order, and the numbers that they are given.
final class MILBuilder {
  typealias Operation = CoreML_Specification_MILSpec_Operation

  /// What an operation is given under a name.
  enum Input {
    case value(MILValue)
    case values([MILValue])
    case integer(Int)
    case integers([Int])
    case flag(Bool)
    case flags([Bool])
    case number(Double, MILType)
    case text(String)
  }

  private(set) var operations: [Operation] = []
  private(set) var weights = MILWeights()
  /// What floating point numbers are computed in.
  let float: MILType
  private var used: Set<String> = []
  private var small: [String: MILValue] = [:]

  /// The most dimensions that Core ML's tensors have.
  private static let mostDimensions = 5
  /// Numbers fewer than these stand in the program, more in the file of weights.
  private static let fewNumbers = 10

  init(float: MILType) { self.float = float }

  /// The type in which a type of ours is computed.
  func type(of dtype: DType) -> MILType {
    dtype.isFloatingPoint ? float : dtype == .bool ? .bool : .int32
  }

  /// A name that nothing else has, of letters, digits and `_`, after the one given.
  func unique(_ name: String) -> String {
    let letters = name.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }
    let plain = (letters.first?.isNumber ?? true ? "_" : "") + String(letters)
    if used.insert(plain).inserted { return plain }
    var number = 1
    while !used.insert("\(plain)_\(number)").inserted { number += 1 }
    return "\(plain)_\(number)"
  }

  // MARK: Operations

  /// Adds an operation.
  ///
  /// - Parameters:
  ///   - gives: the shapes and types of its results
  ///   - names: of the results; without them they are called after the operation
  func add(
    _ type: String, _ inputs: KeyValuePairs<String, Input>, gives: [(shape: [Int], type: MILType)],
    names: [String]? = nil
  ) throws -> [MILValue] {
    guard gives.allSatisfy({ $0.shape.count <= Self.mostDimensions }) else {
      throw ExportError(
        "\(type) gives a tensor of more than \(Self.mostDimensions) dimensions, which Core ML does not have")
    }
    var operation = Operation()
    operation.type = type
    for (name, input) in inputs { operation.inputs[name] = try argument(input) }
    let results = gives.enumerated().map { place, given in
      MILValue(name: names?[place] ?? unique(type), shape: given.shape, type: given.type)
    }
    operation.outputs = results.map(Self.named)
    operation.attributes["name"] = Self.text(results.first?.name ?? unique(type))
    operations.append(operation)
    return results
  }

  /// A value as another type, or as one of that name.
  func cast(_ value: MILValue, to type: MILType, named name: String? = nil) throws -> MILValue {
    guard value.type != type || name != nil else { return value }
    let gives = [(shape: value.shape, type: type)]
    let names = name.map { [$0] }
    guard value.type != type else { return try add("identity", ["x": .value(value)], gives: gives, names: names)[0] }
    return try add("cast", ["x": .value(value), "dtype": .text(type.rawValue)], gives: gives, names: names)[0]
  }

  /// Adds the operation that says which class it is: a name, and a table of probabilities.
  func classify(_ probabilities: MILValue, labels: [String], label: String, table: String) throws {
    var operation = Operation()
    operation.type = "classify"
    operation.inputs["probabilities"] = try argument(.value(probabilities))
    var classes = CoreML_Specification_MILSpec_Value()
    classes.type.listType.type = Self.scalarType(.string)
    classes.type.listType.length.constant.size = UInt64(labels.count)
    classes.immediateValue.list.values = labels.map(Self.text)
    operation.inputs["classes"] = .with { $0.arguments = [.with { $0.value = classes }] }
    operation.outputs = [
      .with { ($0.name, $0.type) = (label, Self.scalarType(.string)) },
      .with {
        $0.name = table
        $0.type.dictionaryType.keyType = Self.scalarType(.string)
        $0.type.dictionaryType.valueType = Self.scalarType(.float64)
      },
    ]
    operation.attributes["name"] = Self.text(unique("classify"))
    operations.append(operation)
  }

  private func argument(_ input: Input) throws -> CoreML_Specification_MILSpec_Argument {
    let values =
      switch input {
      case .value(let value): [value]
      case .values(let values): values
      case .integer(let number): [try self.number(Double(number), .int32)]
      case .integers(let numbers):
        [
          shared("integers \(numbers)", shape: [numbers.count], .int32) {
            $0.immediateValue.tensor.ints.values = numbers.map { Int32(clamping: $0) }
          }
        ]
      case .flag(let flag):
        [
          shared("flag \(flag)", shape: [], .bool) { $0.immediateValue.tensor.bools.values = [flag] }
        ]
      case .flags(let flags):
        [
          shared("flags \(flags)", shape: [flags.count], .bool) { $0.immediateValue.tensor.bools.values = flags }
        ]
      case .number(let value, let type): [try self.number(value, type)]
      case .text(let text): [shared(text)]
      }
    return .with { $0.arguments = values.map { value in .with { $0.name = value.name } } }
  }

  // MARK: Numbers

  /// A number of no dimension. What float16 cannot hold becomes the nearest that it can.
  func number(_ value: Double, _ type: MILType) throws -> MILValue {
    try shared("number \(value) \(type)") {
      var value = value
      if type == .float16, value != 0 {
        let size = min(max(abs(value), Double(Float(sign: .plus, exponent: -24, significand: 1))), 65_504)
        value = value < 0 ? -size : size
      }
      let tensor =
        try type.isFloatingPoint ? Tensor([value], shape: []) : Tensor([value.whole], shape: [])
      return try constant(tensor, named: "number", as: type)
    }
  }

  /// A tensor that stands in the program, or in the file of weights where it is large.
  func constant(_ tensor: Tensor, named name: String) throws -> MILValue {
    try constant(tensor, named: name, as: type(of: tensor.dtype))
  }

  /// A tensor as a type.
  func constant(_ tensor: Tensor, named name: String, as type: MILType) throws -> MILValue {
    if tensor.dtype == .int64 {
      let numbers: [Int] = try tensor.array()
      guard numbers.allSatisfy({ Int32(exactly: $0) != nil }) else {
        throw ExportError("the model has whole numbers over \(Int32.max), which Core ML does not have")
      }
    }
    let tensor = try withoutGradient { try tensor.detached().to(type.dtype).contiguous() }
    var value = CoreML_Specification_MILSpec_Value()
    value.type = Self.tensorType(tensor.shape, type)
    if type.isFloatingPoint, tensor.count >= Self.fewNumbers {
      value.blobFileValue.fileName = "@model_path/weights/weight.bin"
      value.blobFileValue.offset = UInt64(weights.add(tensor))
    } else {
      switch type {
      case .float16: value.immediateValue.tensor.bytes.values = try tensor.withBytes { Data($0) }
      case .float32: value.immediateValue.tensor.floats.values = try tensor.array()
      case .int32: value.immediateValue.tensor.ints.values = try tensor.array()
      case .bool: value.immediateValue.tensor.bools.values = try tensor.array()
      }
    }
    return add(MILValue(name: unique(name), shape: tensor.shape, type: type), value)
  }

  private func shared(_ text: String) -> MILValue {
    if let there = small["text \(text)"] { return there }
    // Its type is no tensor's; nobody reads it.
    let made = add(MILValue(name: unique(text), shape: [], type: .bool), Self.text(text))
    small["text \(text)"] = made
    return made
  }

  private func shared(
    _ key: String, shape: [Int], _ type: MILType, _ fill: (inout CoreML_Specification_MILSpec_Value) -> Void
  ) -> MILValue {
    shared(key) {
      var value = CoreML_Specification_MILSpec_Value()
      value.type = Self.tensorType(shape, type)
      fill(&value)
      return add(MILValue(name: unique("constant"), shape: shape, type: type), value)
    }
  }

  private func shared(_ key: String, _ make: () throws -> MILValue) rethrows -> MILValue {
    if let there = small[key] { return there }
    let made = try make()
    small[key] = made
    return made
  }

  private func add(_ result: MILValue, _ value: CoreML_Specification_MILSpec_Value) -> MILValue {
    var operation = Operation()
    operation.type = "const"
    operation.outputs = [.with { ($0.name, $0.type) = (result.name, value.type) }]
    operation.attributes = ["name": Self.text(result.name), "val": value]
    operations.append(operation)
    return result
  }

  // MARK: Types

  static func named(_ value: MILValue) -> CoreML_Specification_MILSpec_NamedValueType {
    .with { ($0.name, $0.type) = (value.name, tensorType(value.shape, value.type)) }
  }

  private static func tensorType(_ shape: [Int], _ type: MILType) -> CoreML_Specification_MILSpec_ValueType {
    .with {
      $0.tensorType.dataType = type.proto
      $0.tensorType.rank = Int64(shape.count)
      $0.tensorType.dimensions = shape.map { size in .with { $0.constant.size = UInt64(size) } }
    }
  }

  private static func scalarType(_ type: CoreML_Specification_MILSpec_DataType)
    -> CoreML_Specification_MILSpec_ValueType
  { .with { $0.tensorType.dataType = type } }

  static func text(_ text: String) -> CoreML_Specification_MILSpec_Value {
    .with {
      $0.type = scalarType(.string)
      $0.immediateValue.tensor.strings.values = [text]
    }
  }
}
