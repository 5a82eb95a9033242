import DistillData
import DistillModels
import DistillRuntime
import DistillTokenizers
import Distillation
import Foundation
import Torch
import TorchNN

/// A model that a person names, by its model folder or by the run folder whose student it is.
struct NamedModel {
  let predictor: Predictor

  var folder: ModelFolder { predictor.folder }
  var model: any Layer { predictor.model }
  var description: ModelFolder.Description { predictor.description }

  /// - Throws: `RunError` when there is none, and whatever is wrong with its files.
  init(_ path: String) throws { predictor = try Predictor(Self.find(path).path, folds: false) }

  /// What its tokens are, where it predicts those of texts.
  var vocabulary: TextVocabulary? {
    description.model.inputShape.count == 1 && model is any GenerativeLayer
      ? TextVocabulary(names: description.labels) : nil
  }

  /// Whether it reads whole texts, by a tokenizer in its folder.
  var hasTokenizer: Bool {
    description.model.inputShape.count == 1 && vocabulary == nil && Tokenizer.isThere(folder.path)
  }

  /// - Throws: `RunError` when it reads no texts.
  func requireTokenizer() throws {
    guard hasTokenizer else {
      throw RunError("the model in \(folder.path) has no tokenizer beside it, and so cannot read texts")
    }
  }

  /// What it says of examples: `[N, C]`.
  ///
  /// - Throws: `RunError` when that is not finite.
  func logits(_ dataset: any Dataset, _ examples: [Int], on device: Device) throws -> Tensor {
    try predictor.move(to: device)
    return try EvaluationSet(dataset, examples: examples, normalization: description.normalization, device: device)
      .logits(of: model).finiteOutputs(of: folder.path)
  }

  private static func find(_ path: String) throws -> ModelFolder {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw RunError("\(path) does not exist: name a model folder, or a run folder for its student")
    }
    let folder = ModelFolder(isFolder.boolValue ? path : FilePath.folder(of: path))
    if !isFolder.boolValue {
      guard folder.exists, FilePath.name(of: path) == "model.safetensors" else {
        throw RunError(
          "\(path) is not a model: name a folder with model.safetensors and config.json, or a run folder for its student"
        )
      }
      return folder
    }
    if folder.exists { return folder }
    let run = RunFolder(path)
    if run.exists {
      let student = ModelFolder(run.student)
      guard student.exists else {
        throw RunError("\(path) has no student yet. Go on with the run: distill resume \(path)")
      }
      return student
    }
    throw RunError("there is no model in \(path): \(folder.configuration) is missing")
  }

  /// The recipe of the run that made it, where it still lies in the run folder.
  var recipe: String? {
    ["\(folder.path)/../recipe.yaml", "\(folder.path)/../../../recipe.yaml"]
      .first { FileManager.default.fileExists(atPath: $0) }
      .map { path in
        // In messages without the steps back, unless a link makes them lead elsewhere.
        let short = FilePath.shortened(path)
        let places = [short, path].map { URL(fileURLWithPath: $0).resolvingSymlinksInPath().path }
        return places[0] == places[1] ? short : path
      }
  }
}

/// The examples that somebody wants a model to look at.
public struct DataChoice: Sendable, Equatable {
  public enum Split: String, Sendable, Codable, CaseIterable {
    case test
    /// What the run held out to choose by. Only a recipe says which that are.
    case validation
    case train
  }

  /// A name from the catalog; nil for the data of the model's recipe.
  public var dataset: String?
  public var path: String?
  public var labelColumn: String?
  public var split: Split
  /// A recipe's file, whose data is meant where no data set is named; nil for the model's own recipe.
  var recipe: String?

  public init(dataset: String? = nil, path: String? = nil, labelColumn: String? = nil, split: Split = .test) {
    self.dataset = dataset
    self.path = path
    self.labelColumn = labelColumn
    self.split = split
  }

  /// The data set, which of its examples, and what is odd about them.
  struct Loaded {
    var dataset: any Dataset
    var examples: [Int]
    var notices: [String] = []
  }

  func load(for named: NamedModel) throws -> Loaded {
    var loaded = try dataset == nil && path == nil ? fromRecipe(of: named) : fromCatalog(for: named)
    let (data, model) = (loaded.dataset, named.description)
    loaded.notices += data.notices
    guard data.exampleShape == model.model.inputShape else {
      throw RunError(
        "the model in \(named.folder.path) takes inputs of shape \(model.model.inputShape), but those of \(data.name) "
          + "have \(data.exampleShape)")
    }
    guard data.classCount <= model.model.classCount else {
      throw RunError(
        "\(data.name) has \(data.classCount) classes, and the model in \(named.folder.path) knows "
          + "\(model.model.classCount)")
    }
    if !data.classNames.isEmpty, data.classNames != model.labels {
      if data.classNames.sorted() == model.labels.sorted() {
        throw RunError("\(data.name) has the classes of the model in another order: see \(named.folder.configuration)")
      }
      loaded.notices.append(
        "the classes of \(data.name) have other names than the model's; their order is taken as it is")
    }
    return loaded
  }

  private func fromRecipe(of named: NamedModel) throws -> Loaded {
    guard let recipe = recipe ?? named.recipe else {
      throw RunError(
        "\(named.folder.path) does not lie in a run folder that says which data it is for: name it with --dataset, one of "
          + DatasetCatalog.entries.map(\.name).joined(separator: ", "))
    }
    let configuration = try Configuration.load(path: recipe)
    let materials = try Materials(configuration.data, seed: configuration.dataSeed)
    switch split {
    case .test: return Loaded(dataset: materials.test, examples: Array(0..<materials.test.count))
    case .train: return Loaded(dataset: materials.train, examples: materials.split.train)
    case .validation:
      guard !materials.split.validation.isEmpty else {
        throw RunError("\(recipe) holds out no examples (data.validation is 0): use --split test or train")
      }
      return Loaded(dataset: materials.train, examples: materials.split.validation)
    }
  }

  private func fromCatalog(for named: NamedModel) throws -> Loaded {
    guard split != .validation else {
      throw RunError("only a run's recipe says which examples were held out: leave out --dataset, or use --split test")
    }
    guard let dataset else { throw RunError("--path needs --dataset: idx, csv, folder or another kind of data") }
    var options = DatasetOptions()
    options.labelColumn = labelColumn
    let shape = named.description.model.inputShape
    if shape.count == 3 {
      options.channels = shape[0]
      if shape[1] == shape[2] { options.imageSize = shape[1] }
      options.fit = named.description.pictureFit
    }
    if dataset == "folder" { options.classNames = named.description.labels }
    if dataset == "text" {
      guard let vocabulary = named.vocabulary else {
        throw RunError("the model in \(named.folder.path) is for other data than texts")
      }
      options.vocabulary = vocabulary
      options.textLength = shape[0]
    }
    if dataset == "labelled-text" {
      try named.requireTokenizer()
      options.classNames = named.description.labels
      options.labelledTexts = LabelledTexts(
        columns: TextColumns(label: labelColumn ?? "label"), tokenizer: named.folder.path, length: shape[0])
    }
    let parts = try DatasetCatalog.load(name: dataset, folder: path, options: options)
    let data = split == .test ? parts.test : parts.train
    return Loaded(dataset: data, examples: Array(0..<data.count))
  }
}
