import DistillData
import Distillation
import Torch
import TorchNN

// The examples that students see besides the recipe's own, and which of these they see.

/// Examples that stand after the recipe's own: those of another data set, or rows made up.
struct TransferPart: Sendable {
  enum Source: Sendable, Equatable {
    case also(Configuration.Addition)
    /// Made of these examples.
    case munge(Configuration.Munge, of: [Int])
  }

  var source: Source
  var name: String
  /// Their numbers.
  var range: Range<Int>
  /// The hash of what is in it.
  var hash: String
}

extension Materials {
  /// The data of a recipe with all that any stage of any setting shows for any seed besides: each once, in a place of its
  /// own, so that an example has the same number wherever it is shown.
  ///
  /// - Throws: `DataError`, `RunError`
  init(_ configuration: Configuration, observer: RunObserver = { _ in }) throws {
    try self.init(configuration.data, seed: configuration.dataSeed)
    var found: [(source: TransferPart.Source, part: JoinedDataset.Part)] = []
    // Of one data set there may be several parts.
    var loaded: [String: any Dataset] = [:]
    for (name, setting) in try configuration.resolvedSettings() {
      for (index, stage) in setting.sequence.enumerated() {
        try located(setting.place(ofStage: index, setting: name ?? "")) {
          for seed in setting.seeds {
            let data = stage.configuration.data
            for source in try sources(data, seed: seed) where !found.contains(where: { $0.source == source }) {
              if case .munge = source { observer(.stage("Making up rows of \(train.name)")) }
              found.append((source, try part(source, data, &loaded)))
            }
          }
        }
      }
    }
    guard !found.isEmpty else { return }
    do {
      let joined = try JoinedDataset(train, and: found.map(\.part))
      parts = try zip(found, joined.ranges.dropFirst()).map { found, range in
        TransferPart(
          source: found.source, name: found.part.dataset.name, range: range,
          hash: try "\(found.part.dataset.contentHash) \(found.part.labels.rawValue) "
            + "\(found.part.examples.map { "\($0.count)" } ?? "all")")
      }
      self.joined = joined
    } catch let error as DataError { throw RunError("data.also: \(error)") }
  }

  /// What a transfer set has besides the recipe's own examples.
  private func sources(_ data: Configuration.Data, seed: Int) throws -> [TransferPart.Source] {
    var sources = data.also.map { TransferPart.Source.also($0) }
    if let munge = data.munge { sources.append(.munge(munge, of: try ownExamples(data, seed: seed).transfer)) }
    return sources
  }

  private func part(
    _ source: TransferPart.Source, _ data: Configuration.Data, _ loaded: inout [String: any Dataset]
  ) throws -> JoinedDataset.Part {
    switch source {
    case .munge(let munge, let examples):
      do {
        let maker = try Munge(
          factor: munge.factor, swapProbability: munge.swapProbability, localVariance: munge.localVariance,
          nominalColumns: try Self.columns(munge.nominal, data))
        return JoinedDataset.Part(try maker.rows(from: train, examples: examples, seed: seed))
      } catch let error as DataError { throw RunError("data.munge: \(error)") }
    case .also(let addition):
      do {
        var whole = addition
        whole.examples = nil
        let key = whole.node.flow
        let dataset = try loaded[key] ?? addition.load(like: train, of: data)
        loaded[key] = dataset
        guard try dataset.contentHash != train.contentHash else {
          throw RunError("data.also: \(dataset.name) is the recipe's own data set, whose examples are shown anyway")
        }
        var examples: [Int]?
        if let count = addition.examples, count < dataset.count {
          var random = RandomSource(seed: seed, "data.also")
          examples = Array(0..<dataset.count).shuffled(using: &random).prefix(count).sorted()
        }
        return JoinedDataset.Part(dataset, examples: examples, labels: addition.labels)
      } catch let error as DataError { throw RunError("data.also: \(error)") }
    }
  }

  /// Columns of a table by their names, or their numbers from 1 on; as inputs are counted, from 0 on.
  private static func columns(_ wanted: [String], _ data: Configuration.Data) throws -> Set<Int> {
    guard !wanted.isEmpty, let path = data.path else { return [] }
    let columns = try CSV.inputColumns(
      of: "\(path)/train.csv", label: data.labelColumn.map { CSV.LabelColumn($0) } ?? .last)
    return Set(
      try wanted.map { name in
        let index = columns.firstIndex { $0.name == name } ?? columns.firstIndex { "\($0.number)" == name }
        guard let index else {
          let names = columns.map { $0.name ?? "\($0.number)" }
          let near = closest(to: name, in: names, limit: 1).first.map { "; did you mean '\($0)'?" } ?? "."
          throw RunError(
            "data.munge.nominal: the table has no input column '\(name)'\(near) There are "
              + names.prefix(20).joined(separator: ", "))
        }
        return index
      })
  }

  // MARK: What is shown

  /// The examples whose labels may be seen with a seed, and those that the student is distilled on.
  ///
  /// - Throws: `RunError` when classes do not exist, or nothing is left.
  func examples(_ data: Configuration.Data, seed: Int) throws -> (labelled: [Int], transfer: [Int]) {
    let own = try ownExamples(data, seed: seed)
    let others = try shownParts(data, seed: seed)
    let labelled = others.flatMap { part in part.range.filter { joined.label(at: $0) >= 0 } }
    return (own.labelled + labelled, own.transfer + others.flatMap(\.range))
  }

  /// The parts that a transfer set has besides the recipe's own examples.
  func shownParts(_ data: Configuration.Data, seed: Int) throws -> [TransferPart] {
    let sources = try sources(data, seed: seed)
    return parts.filter { sources.contains($0.source) }
  }

  /// Of the recipe's own examples.
  func ownExamples(_ data: Configuration.Data, seed: Int) throws -> (labelled: [Int], transfer: [Int]) {
    let chosen = try chosenExamples(data)
    guard data.labels < 1 else { return (chosen, chosen) }
    let labelled = try Splits.stratified(
      dataset: train, examples: chosen, fraction: data.labels, seed: UInt64(bitPattern: Int64(seed))
    ).kept
    guard !labelled.isEmpty else {
      throw RunError("data.labels: \(data.labels) of \(chosen.count) examples is none: raise it")
    }
    return (labelled, data.transfer == .all ? chosen : labelled)
  }

  /// The training examples without those that the recipe leaves out.
  private func chosenExamples(_ data: Configuration.Data) throws -> [Int] {
    guard data.fraction < 1 || !data.fractions.isEmpty || !data.leaveOut.isEmpty else { return split.train }
    let fractions = try data.fractions.map { (try label($0.key, key: "data.fractions"), $0.value) }
    let chosen = try Splits.byClass(
      dataset: train, examples: split.train, fractions: Dictionary(fractions) { first, _ in first },
      standard: data.fraction, leavingOut: Set(try data.leaveOut.map { try label($0, key: "data.leave_out") }),
      seed: seed
    ).kept
    guard !chosen.isEmpty else {
      throw RunError(
        "\(data.leaveOut.isEmpty ? "data.fractions" : "data.leave_out") leaves no class to train on: keep one at least")
    }
    return chosen
  }

  private func label(_ name: String, key: String) throws -> Int {
    if let label = train.classNames.firstIndex(of: name) { return label }
    let near = closest(to: name, in: train.classNames, limit: 1).first.map { "; did you mean '\($0)'?" } ?? "."
    throw RunError(
      "\(key) names '\(name)', which is no class of \(train.name)\(near) Its classes are "
        + train.classNames.prefix(20).joined(separator: ", ") + (train.classCount > 20 ? ", …" : ""))
  }

  /// The classes of the data of which there is no example among these.
  func classesWithout(_ examples: [Int]) -> Set<Int> {
    let known = Set(split.train.map { train.label(at: $0) })
    return known.subtracting(examples.map { joined.label(at: $0) }).filter { $0 >= 0 }
  }

  /// A text for each part that examples are in: it tells trainings on other examples apart. Empty where all are the
  /// recipe's own.
  func identities(ofPartsWith examples: [Int]) -> [String] {
    parts.filter { part in examples.contains { part.range.contains($0) } }
      .map { "examples \($0.range): \($0.hash)" }
  }
}

extension Configuration.Addition {
  /// The examples, as they are there.
  ///
  /// - Parameters:
  ///   - first: the data set that they are put beside
  ///   - data: says how texts are read, and how pictures are brought to the size of the first
  fileprivate func load(like first: any Dataset, of data: Configuration.Data) throws -> any Dataset {
    if let form = data.labelledText, dataset ?? "labelled-text" == "labelled-text" {
      let column = labelColumn ?? (labels == .byName ? data.labelColumn ?? "label" : nil)
      let reader = try form.reader(labels: column, testFraction: data.testFraction)
      return try reader.loadTraining(path ?? "")
    }
    if let text = data.text, dataset ?? "text" == "text" {
      // Of the tokens of the first: what the teacher does not know it cannot be asked about.
      return try TextFiles.load(
        path ?? "", unit: text.unit, length: text.length, testFraction: data.testFraction,
        vocabulary: TextVocabulary(names: first.classNames)
      ).train
    }
    func form() throws -> ImageFolder.Form {
      let shape = first.exampleShape
      guard first.isImage, shape.count == 3, shape[0] == 1 || shape[0] == 3 else {
        throw DataError("pictures cannot be put beside the examples of \(first.name), \(shape)")
      }
      return ImageFolder.Form(size: (shape[1], shape[2]), fit: data.fit, channels: shape[0])
    }
    let column = labelColumn ?? PictureMetadata.labelColumn
    if dataset == "folder", let path {
      return try ImageFolder.readTraining(path, form(), labelColumn: column, testFraction: data.testFraction)
    }
    if let dataset {
      var options = DatasetOptions()
      options.labelColumn = labelColumn
      if let text = first as? SequenceDataset {
        options.textLength = text.length
        options.vocabulary = text.vocabulary
      }
      return try DatasetCatalog.load(name: dataset, folder: path, options: options).train
    }
    let path = path ?? ""
    guard isFolder else {
      let label = labelColumn.map { CSV.LabelColumn($0) } ?? (labels == .byName ? .last : .none)
      return try CSV.read(path, label: label)
    }
    return labels == .byName
      ? try ImageFolder.read(path, form(), labelColumn: column) : try ImageFolder.readUnlabelled(path, form())
  }
}
