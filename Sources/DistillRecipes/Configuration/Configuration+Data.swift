import DistillData
import Distillation
import Torch

// The section `data` of a recipe: reading and printing it.

extension Configuration.Data {
  init(_ map: RecipeMap) {
    dataset = "digits"
    if let reader = map.required("dataset", hint: "one of \(RecipeReference.datasets.joined(separator: ", "))") {
      dataset = reader.choice(of: RecipeReference.datasets) ?? dataset
    }
    path = map.path("path")
    imageSize = map.int("image_size", .from(1, to: 4096))
    fit = Self.readFit(map)
    channels = map.value("channels")?.choice(of: ["1", "3"]).flatMap { Int($0) } ?? 3
    labelColumn = map.text("label_column")
    validation = map.value("validation").flatMap(Self.readAmount) ?? .fraction(0.1)
    labels = map.number("labels", .fractionAboveZero) ?? 1
    transfer = map.choice("transfer") ?? .all
    fraction = map.number("fraction", .fractionAboveZero) ?? 1
    fractions = map.value("fractions").map(Self.readFractions) ?? [:]
    leaveOut = map.value("leave_out").flatMap { $0.texts() } ?? []
    also = map.value("also").map(Configuration.Addition.read) ?? []
    munge = map.value("munge").flatMap(Configuration.Munge.read)
    teacherView = map.choice("teacher_view") ?? .same
    text = Configuration.TextForm(map, dataset: dataset)
    labelledText = Configuration.LabelledTextForm(map, dataset: dataset)
    testFraction = Self.readTestFraction(map, dataset)
    teacherText = map.value("teacher_text").flatMap(Configuration.WrittenText.read)
    normalize =
      map.value("normalize").flatMap(Self.readNormalization) ?? (text == nil && labelledText == nil ? .measured : .none)
    augmentation = map.value("augmentation").map(Configuration.Augmentation.read) ?? []
    views = map.int("views", .from(1, to: 1000))
    map.finish()
    if let layout = RecipeReference.layoutOfOwnFiles(dataset), map.value("path") == nil, map.contains("dataset") {
      map.reportValue(
        "dataset", "data.path is missing: the dataset '\(dataset)' has files of your own",
        hint: "name the folder; in it there must be \(layout)")
    }
    if map.value("path") != nil, dataset == "digits" {
      map.report(
        "path", "data.path is for the datasets that have files, not 'digits', which comes with the program",
        hint: "leave it out")
    }
    let kinds = [
      ("image_size", "folder"), ("shorter_side", "folder"), ("interpolation", "folder"), ("channels", "folder"),
    ]
    for (key, kind) in kinds
    where map.value(key) != nil && dataset != kind {
      map.report(key, "data.\(key) is for the dataset '\(kind)', not '\(dataset)'", hint: "leave it out")
    }
    if map.value("label_column") != nil, !["csv", "folder", "labelled-text"].contains(dataset) {
      map.report(
        "label_column", "data.label_column is for the datasets 'csv', 'folder' and 'labelled-text', not '\(dataset)'",
        hint: "leave it out")
    }
    if views != nil, augmentation.isEmpty {
      map.report(
        "views", "data.views without data.augmentation: all views of an example are the same",
        hint: "add an augmentation, or leave views out", severity: .warning)
    }
    checkTransferSet(map)
  }

  private static let datasetsToDivide = ["text", "labelled-text", "folder"]

  private static func readTestFraction(_ map: RecipeMap, _ dataset: String) -> Double {
    if map.value("test_fraction") != nil, !datasetsToDivide.contains(dataset) {
      map.report(
        "test_fraction",
        "\(map.path(to: "test_fraction")) is for the datasets 'text', 'labelled-text' and 'folder', not '\(dataset)'",
        hint: "leave it out")
    }
    return map.number("test_fraction", NumberRange(lower: 0, isLowerOpen: true, upper: 1, isUpperOpen: true)) ?? 0.1
  }

  private static func readFit(_ map: RecipeMap) -> PictureFit? {
    let words = ["area"] + RawImage.Interpolation.allCases.map(\.rawValue)
    let word = map.value("interpolation")?.choice(of: words) ?? "area"
    let shorterSide = map.int("shorter_side", .from(1, to: 4096))
    let interpolation = RawImage.Interpolation(rawValue: word)
    for key in ["shorter_side", "interpolation"] where map.value(key) != nil && map.value("image_size") == nil {
      map.report(
        key, "data.\(key) is of no use without data.image_size", hint: "say to which size, such as image_size: 224")
    }
    if shorterSide != nil, interpolation == nil {
      map.report(
        "shorter_side", "data.shorter_side needs data.interpolation", hint: "add interpolation: bilinear or bicubic")
    }
    return interpolation.map { PictureFit(shorterSide: shorterSide, interpolation: $0) }
  }

  /// What can be said of the transfer set without looking at any data.
  private func checkTransferSet(_ map: RecipeMap) {
    for (index, name) in leaveOut.enumerated() where leaveOut[..<index].contains(name) {
      map.reportValue("leave_out", "\(map.path(to: "leave_out")) names '\(name)' twice", hint: "once is enough")
    }
    for name in leaveOut where fractions[name] != nil {
      map.reportValue(
        "fractions", "\(map.path(to: "fractions")) and \(map.path(to: "leave_out")) both name '\(name)'",
        hint: "keep one of them")
    }
    for (index, addition) in also.enumerated() {
      guard addition.dataset == dataset, addition.path == path else { continue }
      map.reportValue(
        "also", "\(map.path(to: "also"))[\(index)] is the recipe's own data set",
        hint: "its training examples are shown anyway; take it out")
    }
    for (key, isThere) in [("fractions", !fractions.isEmpty), ("leave_out", !leaveOut.isEmpty)]
    where isThere && dataset == "text" {
      map.report(key, "\(map.path(to: key)) is for data with classes, and a text has none", hint: "leave it out")
    }
    if munge != nil, dataset != "csv", map.contains("dataset") {
      map.report(
        "munge", "\(map.path(to: "munge")) is for the dataset 'csv', not '\(dataset)': it makes rows of tables",
        hint: dataset == "text"
          ? "leave it out" : "for images there are mixup and cutmix, and the images of other data sets: data.also")
    }
    if teacherView != .same, augmentation.isEmpty {
      map.report(
        "teacher_view", "\(map.path(to: "teacher_view")) has no effect without data.augmentation", severity: .warning)
    }
  }

  /// Which of the training examples are shown, for people: `; none of '3'`; empty where all are.
  var choiceWords: String {
    var words: [String] = []
    if fraction < 1 { words.append("\(Quantity.percent(fraction, decimals: 0)) of each class") }
    words += fractions.sorted { $0.key < $1.key }.map { "\(Quantity.percent($0.value, decimals: 0)) of '\($0.key)'" }
    if !leaveOut.isEmpty { words.append("none of \(leaveOut.map { "'\($0)'" }.joined(separator: ", "))") }
    return words.isEmpty ? "" : "; shown is " + words.joined(separator: ", ")
  }

  private static func readFractions(_ reader: RecipeReader) -> [String: Double] {
    guard let map = reader.map(hint: "name classes with the part of each: {cat: 0.1}") else { return [:] }
    var fractions: [String: Double] = [:]
    for name in map.keys { fractions[name] = map.number(name, .fraction) }
    map.finish()
    return fractions
  }

  private static func readAmount(_ reader: RecipeReader) -> Configuration.Amount? {
    let expected = "a fraction of at least 0 and below 0.5, or a number of examples"
    if let count = reader.node.intValue, count >= 0 { return count == 0 ? .fraction(0) : .count(count) }
    if let fraction = reader.node.numberValue, fraction >= 0, fraction < 0.5 { return .fraction(fraction) }
    reader.reportMismatch(expected)
    return nil
  }

  private static func readNormalization(_ reader: RecipeReader) -> Configuration.Normalization? {
    if let flag = reader.node.flagValue { return flag ? .measured : Configuration.Normalization.none }
    guard reader.node.entries != nil, let map = reader.map() else {
      reader.reportMismatch("true, false or {mean: [...], standard_deviation: [...]}")
      return nil
    }
    let mean = map.required("mean", hint: "one number for each channel")?.numbers()
    let deviation = map.required("standard_deviation", hint: "one number for each channel")?.numbers(.positive)
    map.finish()
    guard let mean, let deviation else { return nil }
    guard mean.count == deviation.count, !mean.isEmpty else {
      reader.report(
        "data.normalize has \(mean.count) means and \(deviation.count) standard deviations",
        hint: "give one of each for every channel")
      return nil
    }
    return .given(mean: mean, standardDeviation: deviation)
  }
}

extension Configuration.Addition {
  static func read(_ reader: RecipeReader) -> [Self] {
    (reader.list() ?? []).compactMap { item in
      guard let map = item.map(hint: "write it as {dataset: mnist}, or {path: data/pictures}") else { return nil }
      let names = RecipeReference.datasets
      let addition = Self(
        dataset: map.value("dataset").flatMap { $0.choice(of: names) }, path: map.path("path"),
        labelColumn: map.text("label_column"), labels: map.choice("labels") ?? .unused,
        examples: map.int("examples", .from(1, to: 1_000_000_000)))
      map.finish()
      if map.value("dataset") == nil, map.value("path") == nil {
        item.report(
          "\(item.path) says neither dataset nor path",
          hint: "name a data set (\(names.joined(separator: ", "))), or a folder of pictures or a CSV file (path)")
      }
      if let dataset = addition.dataset, let layout = RecipeReference.layoutOfOwnFiles(dataset), addition.path == nil {
        map.reportValue(
          "dataset", "\(map.path(to: "path")) is missing: the dataset '\(dataset)' has files of your own",
          hint: "name the folder; in it there must be \(layout)")
      }
      if addition.dataset == "digits", addition.path != nil {
        map.report(
          "path",
          "\(map.path(to: "path")) is for the datasets that have files, not 'digits', which comes with the program",
          hint: "leave it out")
      }
      let hasColumns = ["csv", "folder", "labelled-text"].contains(addition.dataset ?? "folder")
      if addition.labelColumn != nil, !hasColumns {
        map.report(
          "label_column", "\(map.path(to: "label_column")) is for CSV files, pictures and texts with classes",
          hint: "leave it out")
      }
      return addition
    }
  }

  /// Without a dataset, what is named neither as a table nor as lines of JSON is a folder of pictures.
  var isFolder: Bool { dataset == nil && !["csv", "jsonl"].contains(FilePath.kind(of: path ?? "").lowercased()) }

  var node: RecipeNode {
    .map([
      "dataset": dataset.map { .text($0) }, "path": path.map { .text($0) },
      "label_column": labelColumn.map { .text($0) }, "labels": .text(labels.rawValue),
      "examples": examples.map { .int($0) },
    ])
  }
}

extension Configuration.Munge {
  static func read(_ reader: RecipeReader) -> Self? {
    guard let map = reader.map(hint: "write it as {factor: 10}") else { return nil }
    let munge = Self(
      factor: map.int("factor", .from(1, to: 10_000)) ?? 10,
      swapProbability: map.number("swap_probability", .fraction) ?? 0.5,
      localVariance: map.number("local_variance", NumberRange.positive.upTo(1e9)) ?? 5,
      nominal: map.value("nominal").flatMap { $0.texts() } ?? [])
    map.finish()
    return munge
  }

  var node: RecipeNode {
    .map([
      "factor": .int(factor), "swap_probability": .number(swapProbability), "local_variance": .number(localVariance),
      "nominal": .list(nominal.map { .text($0) }),
    ])
  }
}

extension Configuration.Augmentation {
  static func read(_ reader: RecipeReader) -> [Self] {
    (reader.list() ?? []).compactMap { item in
      guard let map = item.map(hint: "write it as {flip: 0.5}") else { return nil }
      var found: [Self] = []
      for kind in Kind.allCases {
        if let value = map.value(kind.rawValue), let read = Self(kind, value) { found.append(read) }
      }
      map.finish()
      guard map.keys.count == 1 else {
        item.report(
          "\(item.path) must be one augmentation, but has \(map.keys.count) keys",
          hint: "write each as an item of its own: [{flip: 0.5}, {crop: 2}]")
        return nil
      }
      return found.first
    }
  }

  /// `8`, or `{size: 8, probability: 0.5}`.
  private init?(_ kind: Kind, _ reader: RecipeReader) {
    let map = reader.node.entries == nil ? nil : reader.map()
    let number = map.map { $0.required(kind.valueName, hint: "such as \(kind.valueName): 2") } ?? reader
    let value = number?.number(kind.range)
    if kind.isWhole, let value, value != value.rounded() { number?.reportMismatch("a whole number of pixels") }
    let fill: EdgeFill? = kind == .shift ? map?.choice("fill") : nil
    let probability = kind == .cutout ? map?.number("probability", .fraction) : nil
    map?.finish()
    guard let value else { return nil }
    self.init(kind, value, fill: fill ?? .zero, probability: probability ?? 1)
  }
}

extension Configuration.Augmentation.Kind {
  var range: NumberRange {
    switch self {
    case .flip: .fraction
    case .crop, .cutout, .shift: .from(1, to: 1024)
    case .mixup, .cutmix: .positive
    }
  }

  /// The key of the number where it does not stand alone.
  var valueName: String {
    switch self {
    case .flip: "probability"
    case .crop, .shift: "pixels"
    case .cutout: "size"
    case .mixup, .cutmix: "alpha"
    }
  }

  var isWhole: Bool { [.crop, .cutout, .shift].contains(self) }
}

// MARK: - Printing

extension Configuration.Data {
  var node: RecipeNode {
    .map([
      "dataset": .text(dataset),
      "path": path.map { .text($0) },
      "image_size": imageSize.map { .int($0) },
      "shorter_side": fit?.shorterSide.map { .int($0) },
      "interpolation": fit.map { .text($0.interpolation.rawValue) },
      "channels": dataset == "folder" ? .int(channels) : nil,
      "label_column": labelColumn.map { .text($0) },
      "validation": validation.node,
      "labels": .number(labels),
      "transfer": .text(transfer.rawValue),
      "fraction": .number(fraction),
      "fractions": fractionsNode,
      "leave_out": .list(leaveOut.map { .text($0) }),
      "also": .list(also.map(\.node)),
      "munge": munge?.node ?? .null,
      "teacher_view": .text(teacherView.rawValue),
      "text_column": labelledText.map { .text($0.textColumn) },
      "pair_column": labelledText?.pairColumn.map { .text($0) },
      "tokenizer": labelledText?.tokenizer.map { .text($0) },
      "unit": text.map { .text($0.unit.rawValue) },
      "length": (text?.length ?? labelledText?.length).map { .int($0) },
      "test_fraction": Self.datasetsToDivide.contains(dataset) ? .number(testFraction) : nil,
      "teacher_text": teacherText?.node,
      "normalize": normalize.node,
      "augmentation": .list(augmentation.map(\.node)),
      "views": .int(views),
    ])
  }

  private var fractionsNode: RecipeNode {
    RecipeNode(
      .map(fractions.sorted { $0.key < $1.key }.map { .init(key: $0.key, keyLocation: nil, value: .number($0.value)) }))
  }

  /// Without what the whole run has one of, and with what a stage takes back of the recipe's.
  func nodeOfStage(in recipe: Self) -> RecipeNode {
    let taken: KeyValuePairs<String, RecipeNode?> = [
      "teacher_text": teacherText == nil && recipe.teacherText != nil ? .null : nil
    ]
    let own = node.without(Configuration.sharedDataKeys)
    return RecipeNode(.map((own.entries ?? []) + (RecipeNode.map(taken).entries ?? [])))
  }
}

extension Configuration.Amount {
  var node: RecipeNode {
    switch self {
    case .fraction(let fraction): .number(fraction)
    case .count(let count): .int(count)
    }
  }
}

extension Configuration.Normalization {
  var node: RecipeNode {
    switch self {
    case .measured: .flag(true)
    case .none: .flag(false)
    case .given(let mean, let deviation):
      .map([
        "mean": .list(mean.map { .number($0) }), "standard_deviation": .list(deviation.map { .number($0) }),
      ])
    }
  }
}

extension Configuration.Augmentation {
  /// The number alone, where all else is as usual.
  var node: RecipeNode {
    guard self != Self(kind, value) else { return .map([kind.rawValue: .number(value)]) }
    return .map([
      kind.rawValue: .map([
        kind.valueName: .number(value), "fill": kind == .shift ? .text(fill.rawValue) : nil,
        "probability": kind == .cutout ? .number(probability) : nil,
      ])
    ])
  }
}
