/// A data set that has a name.
public struct DatasetEntry: Sendable {
  /// Where its files come from.
  public enum Origin: Sendable, Equatable {
    /// A part of the package.
    case included
    /// Files that are looked for in this folder when no other is named.
    case folder(String)
    /// A person's own files, whose folder has to be named.
    case own
  }

  /// The examples for training and those for testing.
  public typealias Parts = (train: any Dataset, test: any Dataset)

  public var name: String
  /// One line: what it shows and how much of it there is.
  public var summary: String
  /// Who made it, and where it is described.
  public var source: String
  public var licence: String
  public var origin: Origin
  /// The command that gets it; nil when there is none.
  public var fetch: String?
  /// What has to be in the folder.
  public var layout: String
  /// Reads the files of a folder; what is a part of the package is given an empty path.
  private let read: @Sendable (_ folder: String, _ options: DatasetOptions) throws -> Parts

  /// Where it is looked for when no folder is named.
  public var folder: String? {
    if case .folder(let folder) = origin { folder } else { nil }
  }

  fileprivate init(
    _ name: String, _ summary: String, source: String, licence: String, origin: Origin, fetch: String? = nil,
    layout: String,
    read: @escaping @Sendable (_ folder: String, _ options: DatasetOptions) throws -> (any Dataset, any Dataset)
  ) {
    self.name = name
    self.summary = summary
    self.source = source
    self.licence = licence
    self.origin = origin
    self.fetch = fetch
    self.layout = layout
    self.read = { folder, options in
      let (train, test) = try read(folder, options)
      return (train, test)
    }
  }

  /// The examples for training and those for testing.
  ///
  /// - Parameter folder: where the files are; nil for its own folder
  /// - Throws: `DataError` when there is no folder, or its files are missing or damaged.
  public func load(folder: String? = nil, options: DatasetOptions = DatasetOptions()) throws -> Parts {
    if origin == .included { return try read("", options) }
    guard let folder = folder ?? self.folder else {
      throw DataError("\(name) needs a folder", remedy: "In it have to be: \(layout)")
    }
    return try read(folder, options)
  }
}

/// The data sets that can be asked for by name.
public enum DatasetCatalog {
  public static let entries = [
    DatasetEntry(
      "fashion-mnist", "70,000 grey images of clothes, 28×28 pixels, 10 classes",
      source: "Xiao, Rasul, Vollgraf: Fashion-MNIST, 2017", licence: "MIT",
      origin: .folder(FashionMNIST.defaultFolder), fetch: "scripts/datasets fashion-mnist", layout: mnistLayout
    ) { folder, _ in try FashionMNIST.load(folder: folder) },
    DatasetEntry(
      "digits", "1,797 grey images of handwritten digits, 8×8 pixels, 10 classes; needs no files",
      source: "Alpaydin, Kaynak: Optical Recognition of Handwritten Digits, UCI, 1998", licence: "CC BY 4.0",
      origin: .included, layout: "a part of the package"
    ) { _, _ in try Digits.load() },
    DatasetEntry(
      "mnist", "70,000 grey images of handwritten digits, 28×28 pixels, 10 classes",
      source: "LeCun, Cortes, Burges: The MNIST database, 1998", licence: "see its source",
      origin: .folder("data/mnist"), layout: mnistLayout
    ) { folder, _ in try MNISTFolder.load(folder, name: "mnist", classNames: (0...9).map(String.init)) },
    DatasetEntry(
      "cifar10", "60,000 colour photographs of things and animals, 32×32 pixels, 10 classes",
      source: "Krizhevsky: Learning multiple layers of features from tiny images, 2009", licence: "see its source",
      origin: .folder("data/cifar10"), layout: "data_batch_1.bin … data_batch_5.bin, test_batch.bin"
    ) { folder, _ in try CIFAR.load(.ten, folder: folder) },
    DatasetEntry(
      "cifar100", "60,000 colour photographs of things and animals, 32×32 pixels, 100 classes",
      source: "Krizhevsky: Learning multiple layers of features from tiny images, 2009", licence: "see its source",
      origin: .folder("data/cifar100"), layout: "train.bin, test.bin, fine_label_names.txt"
    ) { folder, _ in try CIFAR.load(.hundred, folder: folder) },
    DatasetEntry(
      "idx", "your own images in IDX files", source: "you", licence: "yours", origin: .own, layout: mnistLayout
    ) { folder, options in try MNISTFolder.load(folder, name: "idx", classNames: options.classNames) },
    DatasetEntry(
      "csv", "your own table of numbers with a column of classes", source: "you", licence: "yours", origin: .own,
      layout: "train.csv, test.csv", read: loadTables),
    DatasetEntry(
      "folder", "your own pictures (PNG, JPEG) in a folder for each class, or listed with their classes", source: "you",
      licence: "yours", origin: .own,
      layout:
        "train/CLASS/PICTURE, test/CLASS/PICTURE; or CLASS/PICTURE; or metadata.csv in place of the classes' folders",
      read: loadPictures),
    DatasetEntry(
      "text", "your own text, for models that predict the next token", source: "you", licence: "yours", origin: .own,
      layout: "texts that end in .txt or .md; or the path of one file"
    ) { path, options in
      try TextFiles.load(
        path, unit: options.textUnit, length: options.textLength, testFraction: options.testFraction,
        vocabulary: options.vocabulary)
    },
    DatasetEntry(
      "labelled-text", "your own texts with a class for each (CSV, or lines of JSON)", source: "you", licence: "yours",
      origin: .own, layout: LabelledTexts.layout
    ) { path, options in
      guard let form = options.labelledTexts else {
        throw DataError("labelled-text needs a tokenizer", remedy: "Say in which folder its files are")
      }
      return try form.load(path, classNames: options.classNames)
    },
  ]

  private static let mnistLayout =
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, each plain or .gz"

  /// The data set of a name; nil where there is none.
  public static func entry(_ name: String) -> DatasetEntry? { entries.first { $0.name == name } }

  /// The examples for training and those for testing.
  ///
  /// - Parameter folder: where the files are; nil for the entry's own folder
  /// - Throws: `DataError` when there is no such data set, or its files are missing or damaged.
  public static func load(
    name: String, folder: String? = nil, options: DatasetOptions = DatasetOptions()
  ) throws -> DatasetEntry.Parts {
    guard let entry = entry(name) else {
      throw DataError(
        "there is no data set called \(name)", remedy: "Known: \(entries.map(\.name).joined(separator: ", "))")
    }
    return try entry.load(folder: folder, options: options)
  }

  @Sendable
  private static func loadTables(_ folder: String, _ options: DatasetOptions) throws -> (any Dataset, any Dataset) {
    let label = options.labelColumn.map { CSV.LabelColumn($0) } ?? .last
    let train = try CSV.read("\(folder)/train.csv", label: label, name: "train.csv", classNames: options.classNames)
    let test = try CSV.read("\(folder)/test.csv", label: label, name: "test.csv", classNames: train.classNames)
    guard train.exampleShape == test.exampleShape else {
      throw DataError(
        file: "\(folder)/test.csv",
        "has \(test.channelCount) columns besides the label, but train.csv has \(train.channelCount)")
    }
    return (train, test)
  }

  @Sendable
  private static func loadPictures(_ folder: String, _ options: DatasetOptions) throws -> (any Dataset, any Dataset) {
    let form = ImageFolder.Form(
      size: options.imageSize.map { ($0, $0) }, fit: options.fit, channels: options.channels)
    return try ImageFolder.readParts(
      folder, form, classNames: options.classNames, labelColumn: options.labelColumn ?? PictureMetadata.labelColumn,
      testFraction: options.testFraction)
  }
}

/// What can be said about one's own data.
public struct DatasetOptions: Sendable, Equatable {
  /// The side in pixels of the square to which pictures are brought; nil when all have the same size.
  public var imageSize: Int?
  /// How pictures are brought to it, where not by the mean of areas.
  public var fit: PictureFit?
  /// The channels of pictures: 1 for grey, 3 for colour.
  public var channels: Int
  /// The name of the column of the classes; of a table of numbers also its number from 1 on. nil: the last one of such a
  /// table, `label` where pictures are listed.
  public var labelColumn: String?
  /// The classes in the order of their labels; nil to take them from the training part.
  public var classNames: [String]?
  /// What the tokens of a text are.
  public var textUnit = TextUnit.bytes
  /// How many tokens of a text an example shows.
  public var textLength = 128
  /// The part for testing: of a text its end, of pictures without folders for it the same of each class.
  public var testFraction = 0.1
  /// How texts with a class for each are read.
  public var labelledTexts: LabelledTexts?
  /// What the tokens of a text are, where a model says that already.
  public var vocabulary: TextVocabulary?

  public init(
    imageSize: Int? = nil, channels: Int = 3, labelColumn: String? = nil, classNames: [String]? = nil
  ) {
    self.imageSize = imageSize
    self.channels = channels
    self.labelColumn = labelColumn
    self.classNames = classNames
  }
}
