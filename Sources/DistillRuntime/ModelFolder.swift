import DistillData
import DistillModels
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
    /// How pictures were brought to the size of the inputs, where not by the mean of areas.
    public var pictureFit: PictureFit?
    /// What a person should know of how the folder of another library was read.
    package var notices: [String] = []

    private enum CodingKeys: String, CodingKey {
      case model, labels, normalization
      case pictureFit = "picture_fit"
    }

    public init(
      model: ModelSpecification, labels: [String], normalization: Normalization?, pictureFit: PictureFit? = nil
    ) {
      self.model = model
      self.labels = labels
      self.normalization = normalization
      self.pictureFit = pictureFit
    }

    /// What the folder of another library says.
    init(_ foreign: ForeignModel) {
      self.init(
        model: foreign.specification, labels: foreign.labels,
        normalization: foreign.preparation.map {
          Normalization(mean: $0.mean, standardDeviation: $0.standardDeviation)
        }, pictureFit: foreign.preparation.map(PictureFit.init))
      notices = foreign.notices
    }
  }

  public let path: String

  public init(_ path: String) { self.path = path }

  public var weights: String { "\(path)/model.safetensors" }
  /// What is read as its weights: of another library's folder without that file the folder, in which an index of several
  /// files and files of `torch.save` are looked for.
  package var weightsToRead: String {
    isForeign && !FileManager.default.fileExists(atPath: weights) ? path : weights
  }
  public var configuration: String { "\(path)/config.json" }
  public var card: String { "\(path)/README.md" }

  public var exists: Bool { FileManager.default.fileExists(atPath: configuration) }

  /// Whether another library wrote it.
  public var isForeign: Bool { ForeignModel.isThere(path) }

  /// - Throws: `ModelFolderError` when there is no `config.json` or it cannot be understood.
  public func description() throws -> Description {
    guard !RegularFile.isOtherThanFile(configuration) else {
      throw ModelFolderError("\(configuration) \(RegularFile.refusal)")
    }
    guard let data = FileManager.default.contents(atPath: configuration) else {
      throw ModelFolderError("there is no model in \(path): \(configuration) is missing")
    }
    let description: Description
    do {
      description =
        try isForeign ? Description(ForeignModel(folder: path)) : JSONDecoder().decode(Description.self, from: data)
    } catch let error where error is ModelError || error is CheckpointError {
      throw ModelFolderError("\(error)")
    } catch {
      throw ModelFolderError("\(configuration) cannot be understood: \(explanation(error))")
    }
    do {
      _ = try ModelZoo.resolve(description.model)
      try description.normalization?.check(channels: description.model.inputShape.first ?? 1)
      if let side = description.pictureFit?.shorterSide, !(1...65_536).contains(side) {
        throw ModelFolderError("\(configuration): picture_fit needs a shorter_side from 1 to 65536, and it is \(side)")
      }
    } catch let error as ModelError {
      throw ModelFolderError(error.problems.map { "\(configuration): \($0)" }.joined(separator: "\n"))
    } catch let error as DataError {
      throw ModelFolderError("\(configuration): \(error)")
    }
    return description
  }

  /// The model with its weights, in evaluation mode.
  ///
  /// - Throws: `ModelFolderError`, `ModelError`, `CheckpointError` or `StateError`, each with the file and what to mend.
  public func load() throws -> (model: any Layer, description: Description) {
    var description = try description()
    let model = try ModelZoo.make(description.model)
    description.notices += try model.loadWeights(weightsToRead).notices
    model.eval()
    return (model, description)
  }
}

extension ModelFolder.Description {
  /// A picture in the size and the colours that the model knows, which is one for pictures.
  package func prepared(_ image: RawImage) throws -> RawImage {
    let shape = model.inputShape
    return try image.converted(channels: shape[0]).fitted(height: shape[1], width: shape[2], pictureFit)
  }
}

extension PictureFit {
  /// As another library's folder says it.
  fileprivate init(_ preparation: ImagePreparation) {
    self.init(
      shorterSide: preparation.shorterSide,
      interpolation: preparation.interpolation == .bicubic ? .bicubic : .bilinear)
  }
}
