import Torch

/// Everything that says which model is meant: its family, its options, what goes in and how many classes come out.
///
/// It is what `config.json` holds beside the weights, and with the weights it gives the model back. Options that are
/// left out take their defaults.
public struct ModelSpecification: Codable, Sendable, Equatable {
  /// The name of one of `ModelZoo.architectures`, such as `resnet-cifar`.
  public var architecture: String
  public var options: [String: OptionValue]
  /// The shape of one example, such as `[1, 28, 28]`: channels, height, width.
  public var inputShape: [Int]
  public var classCount: Int

  public init(_ architecture: String, _ options: [String: OptionValue] = [:], inputShape: [Int], classCount: Int) {
    self.architecture = architecture
    self.options = options
    self.inputShape = inputShape
    self.classCount = classCount
  }

  private enum CodingKeys: String, CodingKey {
    case architecture
    case options
    case inputShape = "input_shape"
    case classCount = "class_count"
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    architecture = try container.decode(String.self, forKey: .architecture)
    options = try container.decodeIfPresent([String: OptionValue].self, forKey: .options) ?? [:]
    inputShape = try container.decode([Int].self, forKey: .inputShape)
    classCount = try container.decode(Int.self, forKey: .classCount)
  }
}

/// The value of a model's option.
public enum OptionValue: Sendable, Equatable {
  case integer(Int)
  case number(Double)
  case flag(Bool)
  case text(String)
  case integers([Int])
}

extension OptionValue: Codable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let value = try? container.decode(Bool.self) {
      self = .flag(value)
    } else if let value = try? container.decode(Int.self) {
      self = .integer(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode([Int].self) {
      self = .integers(value)
    } else if let value = try? container.decode(String.self) {
      self = .text(value)
    } else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "an option is a number, true or false, a word or a list of whole numbers")
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .integer(let value): try container.encode(value)
    case .number(let value): try container.encode(value)
    case .flag(let value): try container.encode(value)
    case .text(let value): try container.encode(value)
    case .integers(let value): try container.encode(value)
    }
  }
}

extension OptionValue: CustomStringConvertible {
  public var description: String {
    switch self {
    case .integer(let value): "\(value)"
    case .number(let value): "\(value)"
    case .flag(let value): "\(value)"
    case .text(let value): value
    case .integers(let value): "\(value)"
    }
  }
}

extension OptionValue: ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral,
  ExpressibleByStringLiteral, ExpressibleByArrayLiteral
{
  public init(integerLiteral value: Int) { self = .integer(value) }
  public init(floatLiteral value: Double) { self = .number(value) }
  public init(booleanLiteral value: Bool) { self = .flag(value) }
  public init(stringLiteral value: String) { self = .text(value) }
  public init(arrayLiteral elements: Int...) { self = .integers(elements) }
}

/// What is wrong with a specification: everything at once, each with what would be right.
public struct ModelError: Error, CustomStringConvertible, Sendable, Equatable {
  public var problems: [String]

  public init(_ problems: [String]) { self.problems = problems }

  public var description: String { problems.joined(separator: "\n") }
}

extension ModelError: ReportedError {
  package var isUsersToMend: Bool { true }
}
