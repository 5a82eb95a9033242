import Foundation
import Torch
import TorchNN

/// What a folder of another library holds, as its `config.json` says: which model of the zoo its weights fit, what its classes
/// are called, and how it wants its images.
///
///     let found = try ForeignModel(folder: "all-MiniLM-L6-v2")
///     let model = try ModelZoo.make(found.specification)
///     try model.loadForeign(Checkpoint.read("all-MiniLM-L6-v2/model.safetensors"))
///
/// Known are folders of Hugging Face's `transformers` (BERT, RoBERTa, DistilBERT, ViT, DeiT, ResNet, GPT-2, Llama) and of timm
/// (ResNet, EfficientNet, ViT, DeiT). What a configuration says that the zoo's model does not do is refused by name, with what
/// would be accepted.
public struct ForeignModel: Sendable, Equatable {
  /// What the folder is made for.
  public enum Library: String, Sendable, Codable {
    case transformers
    case timm
  }

  public var library: Library
  /// What the library calls it, such as `BertForSequenceClassification` or `tf_efficientnet_lite0`.
  public var name: String
  public var specification: ModelSpecification
  /// A name for each output.
  public var labels: [String]
  /// How images come to it; nil where it takes none, or nothing is said.
  public var preparation: ImagePreparation?
  /// What a person should know of how it was read.
  public var notices: [String]

  /// Whether a folder has the configuration of another library, by the keys in its `config.json`.
  public static func isThere(_ folder: String) -> Bool {
    // One of ours keeps our word for the model beside theirs: see `distill export --format hugging-face`.
    guard let config = try? ForeignFile.object("\(folder)/config.json"), config["model"] == nil else { return false }
    return config["model_type"] != nil || config["architectures"] != nil
      || (config["architecture"] != nil && (config["pretrained_cfg"] != nil || config["num_classes"] != nil))
  }

  /// - Throws: `ModelError` with everything that the configuration says and the zoo does not do; `CheckpointError` when a file
  ///   is missing or no JSON.
  public init(folder: String) throws {
    let path = "\(folder)/config.json"
    let config = try ForeignFile.object(path)
    do {
      if config["model_type"] != nil || config["architectures"] != nil {
        self = try Self.ofTransformers(ForeignReader(config, folder: folder))
      } else {
        self = try Self.ofTimm(ForeignReader(config, folder: folder))
      }
      _ = try ModelZoo.resolve(specification)
    } catch let error as ModelError {
      throw ModelError(error.problems.map { "\(path): \($0)" })
    }
  }

  init(
    _ library: Library, _ name: String, _ specification: ModelSpecification, labels: [String],
    preparation: ImagePreparation? = nil, notices: [String] = []
  ) {
    self.library = library
    self.name = name
    self.specification = specification
    self.labels = labels
    self.preparation = preparation
    self.notices = notices
  }
}

/// How images come to a model: the shorter side is brought to `shorterSide`, the middle is cut out, and colours, from 0 to 1,
/// are normalized.
public struct ImagePreparation: Sendable, Codable, Equatable {
  public enum Interpolation: String, Sendable, Codable, CaseIterable {
    case bilinear
    case bicubic
  }

  /// Height and width of what the model sees.
  public var size: [Int]
  /// What the shorter side of a picture is brought to before the middle is cut out; nil: the whole picture is brought to
  /// `size` without regard to its proportions.
  public var shorterSide: Int?
  public var interpolation: Interpolation
  /// For each channel.
  public var mean: [Float]
  public var standardDeviation: [Float]

  public init(
    size: [Int], shorterSide: Int?, interpolation: Interpolation, mean: [Float], standardDeviation: [Float]
  ) {
    self.size = size
    self.shorterSide = shorterSide
    self.interpolation = interpolation
    self.mean = mean
    self.standardDeviation = standardDeviation
  }

  private enum CodingKeys: String, CodingKey {
    case size
    case shorterSide = "shorter_side"
    case interpolation, mean
    case standardDeviation = "standard_deviation"
  }
}

/// Small files of a model's folder.
enum ForeignFile {
  /// Larger files are no configurations.
  static let largest = 16 << 20

  static func bytes(_ path: String) throws -> Data {
    guard FileManager.default.fileExists(atPath: path) else {
      throw CheckpointError(path: path, problem: "there is no such file")
    }
    guard !RegularFile.isOtherThanFile(path) else { throw CheckpointError(path: path, problem: RegularFile.refusal) }
    guard let file = FileHandle(forReadingAtPath: path) else {
      throw CheckpointError(path: path, problem: "it cannot be read")
    }
    defer { try? file.close() }
    guard let size = try? file.seekToEnd(), size <= UInt64(largest), (try? file.seek(toOffset: 0)) != nil,
      let data = try? file.readToEnd() ?? Data()
    else {
      throw CheckpointError(path: path, problem: "it cannot be read, or has more than \(largest) bytes")
    }
    return data
  }

  static func object(_ path: String) throws -> [String: JSON] {
    guard case .object(let members) = try value(path) else {
      throw CheckpointError(path: path, problem: "it is no JSON object")
    }
    return Dictionary(members.map { ($0.key, $0.value) }) { first, _ in first }
  }

  static func value(_ path: String) throws -> JSON {
    let data = try bytes(path)
    do {
      return try data.withUnsafeBytes { try JSON(parsing: $0) }
    } catch let error as JSON.SyntaxError {
      throw CheckpointError(path: path, problem: "it is no JSON: \(error.problem), at byte \(error.offset)")
    }
  }
}

/// Reads a configuration, and gathers everything in it that is of the wrong kind or asks for something that is not done.
final class ForeignReader {
  let folder: String
  let members: [String: JSON]
  var problems: [String] = []
  var notices: [String] = []

  init(_ members: [String: JSON], folder: String) {
    self.members = members
    self.folder = folder
  }

  /// Another file of the folder; nil if it is not there.
  func other(_ name: String) throws -> ForeignReader? {
    let path = "\(folder)/\(name)"
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    return ForeignReader(try ForeignFile.object(path), folder: folder)
  }

  /// The members of an object inside; nil if there is none.
  func inner(_ key: String) -> ForeignReader? {
    guard case .object(let members) = members[key] else { return nil }
    return ForeignReader(Dictionary(members.map { ($0.key, $0.value) }) { first, _ in first }, folder: folder)
  }

  private func has(_ key: String) -> Bool {
    if case .null = members[key] { return false }
    return members[key] != nil
  }

  func integer(_ key: String, default value: Int? = nil, in range: ClosedRange<Int> = 1...1_000_000) -> Int {
    if !has(key), let value { return value }
    if case .integer(let found) = members[key], range.contains(found) { return found }
    problems.append(
      "\(key) is \(words(key)), but has to be a whole number from \(range.lowerBound) to \(range.upperBound)")
    return value ?? range.lowerBound
  }

  func number(_ key: String, default value: Double) -> Double {
    guard has(key) else { return value }
    switch members[key] {
    case .number(let found): return found
    case .integer(let found): return Double(found)
    default:
      problems.append("\(key) is \(words(key)), but has to be a number")
      return value
    }
  }

  func flag(_ key: String, default value: Bool) -> Bool {
    guard has(key) else { return value }
    if case .bool(let found) = members[key] { return found }
    problems.append("\(key) is \(words(key)), but has to be true or false")
    return value
  }

  func text(_ key: String) -> String? {
    if case .string(let found) = members[key] { return found }
    return nil
  }

  func texts(_ key: String) -> [String] {
    guard case .array(let list) = members[key] else { return [] }
    return list.compactMap { if case .string(let text) = $0 { text } else { nil } }
  }

  func numbers(_ key: String) -> [Double]? {
    guard case .array(let list) = members[key] else { return nil }
    let found = list.compactMap { value -> Double? in
      switch value {
      case .number(let number): number
      case .integer(let integer): Double(integer)
      default: nil
      }
    }
    return found.count == list.count ? found : nil
  }

  /// Notes a problem unless a flag has the only value that is done.
  func expect(_ key: String, _ wanted: Bool, _ what: String) {
    if flag(key, default: wanted) != wanted {
      problems.append("\(key) is \(!wanted): \(what) is not known here, only \(key): \(wanted)")
    }
  }

  /// How many heads of attention there are; a problem unless they divide the width.
  func heads(_ key: String, default value: Int? = nil, dividing width: Int) -> Int {
    let heads = integer(key, default: value, in: 1...256)
    if width % heads != 0 { problems.append("\(heads) heads do not divide the width \(width)") }
    return heads
  }

  /// What `names` says for a word; a problem if it is none of them.
  func word<Value>(_ key: String, default value: String, _ names: KeyValuePairs<String, Value>) -> Value? {
    let given = has(key) ? text(key) : value
    if let given, let found = names.first(where: { $0.key == given }) { return found.value }
    problems.append(
      "\(key) is \(words(key)), which is not known here; accepted are \(names.map(\.key).joined(separator: ", "))")
    return nil
  }

  /// The zoo's name for an activation.
  func activation(_ key: String, default value: String) -> String {
    word(
      key, default: value,
      [
        "gelu": "gelu", "gelu_new": "gelu-tanh", "gelu_pytorch_tanh": "gelu-tanh", "relu": "relu", "silu": "silu",
        "swish": "silu",
      ]) ?? "gelu"
  }

  /// The names of the classes: `id2label`, or as many as are said.
  func labels(default count: Int = 2) -> [String] {
    guard case .object(let members) = members["id2label"] else {
      return (0..<integer("num_labels", default: count)).map { "LABEL_\($0)" }
    }
    var names: [Int: String] = [:]
    for (key, value) in members {
      if let number = Int(key), case .string(let name) = value { names[number] = name }
    }
    guard !names.isEmpty, (0..<members.count).allSatisfy({ names[$0] != nil }) else {
      problems.append("id2label has to name the classes 0 to \(max(0, members.count - 1))")
      return ["?"]
    }
    return (0..<members.count).map { names[$0] ?? "" }
  }

  func finish() throws { if !problems.isEmpty { throw ModelError(problems) } }

  func words(_ key: String) -> String {
    switch members[key] {
    case nil: "missing"
    case .null: "null"
    case .bool(let value): "\(value)"
    case .integer(let value): "\(value)"
    case .number(let value): "\(value)"
    case .string(let value): "'\(value.prefix(60))'"
    case .array: "a list"
    case .object: "an object"
    }
  }
}
