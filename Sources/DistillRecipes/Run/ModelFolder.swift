import DistillData
import DistillModels
import DistillTokenizers
import Distillation
import Foundation
import Torch
import TorchNN

/// A model as people keep it: `model.safetensors`, `config.json` with everything needed to use the weights, and
/// `README.md`, the model card. It is the layout that Hugging Face's tools expect. Folders of other libraries can be read,
/// too: see `ForeignModel`.
public struct ModelFolder: Sendable {
  /// What `config.json` holds.
  public struct Description: Codable, Sendable, Equatable {
    /// The architecture with its options, the shape of one input and the number of classes.
    public var model: ModelSpecification
    /// The class names, in the order of the logits.
    public var labels: [String]
    /// What was done to the inputs before the model saw them; nil: nothing.
    public var normalization: Normalization?
    /// How pictures were brought to the size of the inputs, where the model comes from another library that says so.
    public var preparation: ImagePreparation?
    /// What a person should know of how the folder of another library was read.
    var notices: [String] = []

    private enum CodingKeys: String, CodingKey {
      case model, labels, normalization, preparation
    }

    public init(
      model: ModelSpecification, labels: [String], normalization: Normalization?, preparation: ImagePreparation? = nil
    ) {
      self.model = model
      self.labels = labels
      self.normalization = normalization
      self.preparation = preparation
    }

    /// What the folder of another library says.
    init(_ foreign: ForeignModel) {
      self.init(
        model: foreign.specification, labels: foreign.labels,
        normalization: foreign.preparation.map {
          Normalization(mean: $0.mean, standardDeviation: $0.standardDeviation)
        }, preparation: foreign.preparation)
      notices = foreign.notices
    }
  }

  public let path: String

  public init(_ path: String) { self.path = path }

  public var weights: String { "\(path)/model.safetensors" }
  public var configuration: String { "\(path)/config.json" }
  public var card: String { "\(path)/README.md" }

  /// The names of the files that it has.
  static let files = ["model.safetensors", "config.json", "README.md"]

  /// Which of the files that a model would be saved in are there already.
  public var occupiedFiles: [String] {
    (Self.files + ["manifest.json"]).filter { FileManager.default.fileExists(atPath: "\(path)/\($0)") }
  }

  public var exists: Bool { FileManager.default.fileExists(atPath: configuration) }

  /// The files of a tokenizer that it has.
  var tokenizerFiles: [String] {
    Tokenizer.fileNames.filter { FileManager.default.fileExists(atPath: "\(path)/\($0)") }
  }

  /// Puts the tokenizer of another folder beside the weights.
  ///
  /// - Throws: `RunError` when a file cannot be read.
  func copyTokenizer(from source: ModelFolder) throws {
    for name in source.tokenizerFiles {
      let file = "\(source.path)/\(name)"
      guard let data = FileManager.default.contents(atPath: file) else { throw RunError("\(file) cannot be read") }
      try AtomicFile.write(data, to: "\(path)/\(name)")
    }
  }

  /// Whether another library wrote it.
  public var isForeign: Bool { ForeignModel.isThere(path) }

  /// Writes the folder. Each file is replaced as a whole.
  ///
  /// - Parameters:
  ///   - dtype: what the weights are stored as; their own type if nil
  ///   - card: the text of the model card
  public func save(_ model: any Layer, _ description: Description, dtype: DType? = nil, card text: String) throws {
    try Folder.make(path)
    let stored = try model.state.map { named in
      NamedTensor(
        name: named.name,
        tensor: try named.tensor.dtype.isFloatingPoint
          ? named.tensor.detached().to(dtype ?? named.tensor.dtype) : named.tensor)
    }
    try Checkpoint.write(stored, metadata: ["format": "pt"], to: weights)
    try AtomicFile.write(try ResultJSON.pretty(description), to: configuration)
    try AtomicFile.write(Data(text.utf8), to: card)
  }

  /// - Throws: `RunError` when there is no `config.json` or it cannot be understood.
  public func description() throws -> Description {
    guard !RegularFile.isOtherThanFile(configuration) else {
      throw RunError("\(configuration) \(RegularFile.refusal)")
    }
    guard let data = FileManager.default.contents(atPath: configuration) else {
      throw RunError("there is no model in \(path): \(configuration) is missing")
    }
    let description: Description
    do {
      description = try isForeign ? Description(ForeignModel(folder: path)) : ResultJSON.decode(data)
    } catch let error where error is ModelError || error is CheckpointError {
      throw RunError("\(error)")
    } catch {
      throw RunError("\(configuration) cannot be understood: \(explanation(error))")
    }
    do {
      _ = try ModelZoo.resolve(description.model)
      try description.normalization?.check(channels: description.model.inputShape.first ?? 1)
    } catch let error as ModelError {
      throw RunError(error.problems.map { "\(configuration): \($0)" }.joined(separator: "\n"))
    } catch let error as DataError {
      throw RunError("\(configuration): \(error)")
    }
    return description
  }

  /// The model with its weights, in evaluation mode.
  ///
  /// - Throws: `RunError`, `ModelError`, `CheckpointError` or `StateError`, each with the file and what to mend.
  public func load() throws -> (model: any Layer, description: Description) {
    var description = try description()
    let model = try ModelZoo.make(description.model)
    description.notices += try model.loadWeights(weights).notices
    model.eval()
    return (model, description)
  }
}

extension RawImage {
  /// The picture as a model wants it; where nothing is said, brought to the size without regard to its proportions.
  func prepared(as preparation: ImagePreparation?, height: Int, width: Int) throws -> RawImage {
    guard let fit = preparation.map(PictureFit.init) else { return try resized(width: width, height: height) }
    return try prepared(
      height: height, width: width, shorterSide: fit.shorterSide, interpolation: fit.interpolation)
  }
}

extension PictureFit {
  init(_ preparation: ImagePreparation) {
    self.init(
      shorterSide: preparation.shorterSide,
      interpolation: preparation.interpolation == .bicubic ? .bicubic : .bilinear)
  }
}

/// What is wrong with a JSON file, in words.
func explanation(_ error: any Error) -> String {
  guard let error = error as? DecodingError else { return reason(error) }
  func place(_ context: DecodingError.Context) -> String {
    let path = context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".")
    return path.isEmpty ? "" : " in \(path)"
  }
  switch error {
  case .keyNotFound(let key, let context): return "'\(key.stringValue)' is missing\(place(context))"
  case .typeMismatch(_, let context), .valueNotFound(_, let context):
    return "a value of the wrong kind\(place(context))"
  case .dataCorrupted(let context) where context.codingPath.isEmpty: return "it is no JSON: damaged, or cut off"
  case .dataCorrupted(let context): return "\(context.debugDescription)\(place(context))"
  @unknown default: return "\(error)"
  }
}
