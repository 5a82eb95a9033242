import DistillData
import DistillModels
import DistillRuntime
import DistillTokenizers
import Foundation
import Torch

/// Examples that a model is quantized by, and others on which the result is held against the model. None is of a test split.
public struct CalibrationData {
  /// In words: `the training split of digits`.
  public let source: String
  /// As the model takes them, `[N, …]`.
  public let examples: Tensor
  /// In words, of what the result is looked at on.
  public let verificationSource: String
  public let verification: Tensor
  /// For each answer of the model its class, −1 where there is none; nil where no class is known.
  public let labels: [Int]?
  public var notices: [String] = []

  /// Where a person says that the examples are.
  public struct Source: Sendable, Equatable {
    /// A data set of the catalog, a recipe or run folder, or a folder of pictures or a file of texts; nil for the recipe of
    /// the run that the model is from.
    public var name: String?
    /// The folder of the data, where the data set needs one.
    public var path: String?
    public var labelColumn: String?

    public init(name: String? = nil, path: String? = nil, labelColumn: String? = nil) {
      self.name = name
      self.path = path
      self.labelColumn = labelColumn
    }
  }
}

extension ExportSource {
  /// The most examples on which a quantized model is looked at, and the most bytes that their inputs or its answers have.
  private static let (mostVerified, mostBytes) = (1000, 256 << 20)

  /// Examples to quantize the model by: of the training split, every class with its share. The result is looked at on the
  /// examples that the run held out, or where there are none on others of the training split.
  ///
  /// - Parameter count: how many; fewer where there are not as many
  /// - Throws: `RunError` when it is not said where they are, or they are not for this model; what is wrong with their files.
  public func calibrationData(_ source: CalibrationData.Source, count: Int) throws -> CalibrationData {
    guard count >= 1 else { throw RunError("--calibration-examples is a number from 1 on, not \(count)") }
    guard let name = source.name else {
      if let lost = source.path != nil ? "--path" : source.labelColumn != nil ? "--label-column" : nil {
        throw RunError("\(lost) is of a data set: name it with --calibrate, such as --calibrate folder")
      }
      guard named.recipe != nil else {
        throw RunError(
          "\(path) does not lie in a run folder that says which data it was trained on, and to be quantized it has to see "
            + "examples: name \(takesTokens ? "a data set, a recipe, or a file with a text in each line" : "a data set, a recipe, or a folder of pictures") with --calibrate"
        )
      }
      return try calibrationData(DataChoice(split: .train), count)
    }
    if DatasetCatalog.entry(name) != nil {
      return try calibrationData(
        DataChoice(dataset: name, path: source.path, labelColumn: source.labelColumn, split: .train), count)
    }
    guard source.path == nil, source.labelColumn == nil else {
      throw RunError("--path and --label-column are of a data set, and \(name) is none of the catalog")
    }
    let isFolder = RegularFile.isFolder(name)
    guard isFolder || FileManager.default.fileExists(atPath: name) else {
      throw RunError(
        "there is no data set and no file called \(name). --calibrate takes a recipe, a run folder, a folder of pictures, a "
          + "file with a text in each line, or one of \(DatasetCatalog.entries.map(\.name).joined(separator: ", "))")
    }
    let recipe = isFolder ? RunFolder(name).recipe : name
    let isRecipe =
      isFolder
      ? FileManager.default.fileExists(atPath: recipe) : ["yaml", "yml"].contains(FilePath.kind(of: name).lowercased())
    if isRecipe {
      var choice = DataChoice(split: .train)
      choice.recipe = recipe
      return try calibrationData(choice, count)
    }
    if isFolder { return try calibrationData(pictures: name, count) }
    return try calibrationData(texts: name, count)
  }

  // MARK: Of a data set

  private func calibrationData(_ choice: DataChoice, _ count: Int) throws -> CalibrationData {
    let data = try choice.load(for: named)
    let (dataset, all) = (data.dataset, data.examples)
    let (chosen, others) = try Splits.stratified(
      dataset: dataset, examples: all, count: min(count, all.count), seed: 0)
    var held = (split: "training", examples: others)
    if choice.dataset == nil {
      var validation = choice
      validation.split = .validation
      if let loaded = try? validation.load(for: named) { held = ("validation", loaded.examples) }
    }
    var notices = data.notices
    if held.examples.isEmpty {
      held.examples = chosen
      notices.append("all examples are used for the calibration, so that the result is looked at on the same ones")
    }
    let verified = try Splits.stratified(
      dataset: dataset, examples: held.examples, count: min(verifiedCount, held.examples.count), seed: 0
    ).kept
    let isSame = held.examples == chosen
    return CalibrationData(
      source: "the training split of \(dataset.name)", examples: try inputs(dataset, chosen),
      verificationSource:
        "the \(held.split) split of \(dataset.name)\(isSame ? "" : held.split == "training" ? ", others" : "")",
      verification: try inputs(dataset, verified), labels: try labels(dataset, verified), notices: notices)
  }

  /// How many examples fit in what may be looked at.
  private var verifiedCount: Int {
    let outputs =
      (named.vocabulary == nil ? 1 : description.model.inputShape[0]) * max(1, description.model.classCount)
    let numbers = max(outputs, description.model.inputShape.reduce(1, *))
    return min(Self.mostVerified, max(1, Self.mostBytes / (4 * numbers)))
  }

  private func inputs(_ dataset: any Dataset, _ examples: [Int]) throws -> Tensor {
    var options = DataLoader.Options(batchSize: 64, prefetch: 0)
    options.normalization = description.normalization
    // The file takes texts of one length.
    options.trimsTexts = false
    let batches = try DataLoader(dataset: dataset, examples: examples, options: options).batches(epoch: 0)
    var rows: [Tensor] = []
    while let batch = try batches.next() { rows.append(batch.inputs) }
    let inputs = try Tensor.concatenated(rows)
    return takesTokens ? try inputs.to(.int64) : inputs
  }

  /// The class of each example, or of each token of it.
  private func labels(_ dataset: any Dataset, _ examples: [Int]) throws -> [Int]? {
    let labels =
      dataset.predictsTokens
      ? try examples.flatMap { example in
        try dataset.tokenLabels(at: example).map { zip($0.labels, $0.counts).map { $1 ? $0 : -1 } } ?? []
      } : examples.map { dataset.label(at: $0) }
    return labels.contains { $0 >= 0 } ? labels : nil
  }

  // MARK: Of files without classes

  /// Half of them at most are calibrated with, so that there are others to look at.
  private func divided<Item>(_ items: [Item], _ count: Int) -> (chosen: [Item], others: [Item], notices: [String]) {
    var random = RandomSource(seed: 0, "calibration")
    let shuffled = items.shuffled(using: &random)
    let chosen = items.count < 2 ? items.count : min(count, (items.count + 1) / 2)
    let others = items.count < 2 ? shuffled : Array(shuffled[chosen...])
    let notice =
      items.count < 2
      ? "there is one example, by which the model is quantized and on which it is looked at: what comes out says nothing"
      : chosen < count ? "half of the \(items.count) examples calibrate, the others show what came out" : nil
    return (Array(shuffled[..<chosen]), Array(others.prefix(verifiedCount)), notice.map { [$0] } ?? [])
  }

  private func calibrationData(pictures folder: String, _ count: Int) throws -> CalibrationData {
    guard named.predictor.takesPictures else {
      throw RunError(
        "\(folder) is a folder without a recipe, and \(path) takes inputs of shape \(description.model.inputShape), which "
          + "are no pictures: name a data set, or a recipe, with --calibrate")
    }
    let files = try ImageFolder.pictures(in: folder)
    func inputs(_ files: [String]) throws -> Tensor {
      let planes = try files.flatMap { try named.predictor.prepared(RawImage.read($0)).planes }
      return try named.predictor.normalized(
        Tensor(planes, shape: [files.count] + description.model.inputShape).to(.float32) / 255)
    }
    let (chosen, others, notices) = divided(files, count)
    return CalibrationData(
      source: "the pictures in \(folder)", examples: try inputs(chosen),
      verificationSource: "\(files.count > 1 ? "other" : "the") pictures in \(folder)",
      verification: try inputs(others), labels: nil, notices: notices)
  }

  private func calibrationData(texts file: String, _ count: Int) throws -> CalibrationData {
    guard named.hasTokenizer else {
      let isText = named.vocabulary != nil
      throw RunError(
        "\(file) is no recipe (.yaml) and no folder"
          + (isText ? ": the model in \(path) reads --calibrate text --path \(file)" : ", and \(path) reads no texts"))
    }
    let lines = try TextFiles.text(of: file).split(whereSeparator: \.isNewline).map(String.init)
      .filter { !$0.allSatisfy(\.isWhitespace) }
    let tokenizer = try Tokenizer(folder: path)
    let length = description.model.inputShape[0]
    func inputs(_ texts: [String]) throws -> Tensor {
      try tokenizer.encode(texts, maximumLength: length, padding: .length(length)).tensors().ids
    }
    let (chosen, others, notices) = divided(lines, count)
    return CalibrationData(
      source: "the texts in \(file)", examples: try inputs(chosen),
      verificationSource: "\(lines.count > 1 ? "other" : "the") texts in \(file)", verification: try inputs(others),
      labels: nil, notices: notices)
  }
}
