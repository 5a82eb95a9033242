/// A data set that has a name.
public struct DatasetEntry: Sendable, Equatable {
  public var name: String
  /// One line: what it shows and how much of it there is.
  public var summary: String
  /// Who made it, and where it is described.
  public var source: String
  public var licence: String
  /// Where it is looked for when no folder is named; nil for what is a part of the package, and for a person's own data.
  public var folder: String?
  /// The command that gets it; nil when there is none.
  public var fetch: String?
  /// What has to be in the folder.
  public var layout: String
}

/// The data sets that can be asked for by name.
public enum DatasetCatalog {
  public static let entries = [
    DatasetEntry(
      name: "fashion-mnist", summary: "70,000 grey images of clothes, 28×28 pixels, 10 classes",
      source: "Xiao, Rasul, Vollgraf: Fashion-MNIST, 2017", licence: "MIT", folder: FashionMNIST.defaultFolder,
      fetch: "scripts/datasets fashion-mnist", layout: mnistLayout),
    DatasetEntry(
      name: "digits", summary: "1,797 grey images of handwritten digits, 8×8 pixels, 10 classes; needs no files",
      source: "Alpaydin, Kaynak: Optical Recognition of Handwritten Digits, UCI, 1998", licence: "CC BY 4.0",
      folder: nil, fetch: nil, layout: "a part of the package"),
    DatasetEntry(
      name: "mnist", summary: "70,000 grey images of handwritten digits, 28×28 pixels, 10 classes",
      source: "LeCun, Cortes, Burges: The MNIST database, 1998", licence: "see its source", folder: "data/mnist",
      fetch: nil, layout: mnistLayout),
    DatasetEntry(
      name: "cifar10", summary: "60,000 colour photographs of things and animals, 32×32 pixels, 10 classes",
      source: "Krizhevsky: Learning multiple layers of features from tiny images, 2009", licence: "see its source",
      folder: "data/cifar10", fetch: nil, layout: "data_batch_1.bin … data_batch_5.bin, test_batch.bin"),
    DatasetEntry(
      name: "cifar100", summary: "60,000 colour photographs of things and animals, 32×32 pixels, 100 classes",
      source: "Krizhevsky: Learning multiple layers of features from tiny images, 2009", licence: "see its source",
      folder: "data/cifar100", fetch: nil, layout: "train.bin, test.bin, fine_label_names.txt"),
    DatasetEntry(
      name: "idx", summary: "your own images in IDX files", source: "you", licence: "yours", folder: nil, fetch: nil,
      layout: mnistLayout),
    DatasetEntry(
      name: "csv", summary: "your own table of numbers with a column of classes", source: "you", licence: "yours",
      folder: nil, fetch: nil, layout: "train.csv, test.csv"),
    DatasetEntry(
      name: "folder", summary: "your own pictures (PNG, JPEG) in a folder for each class", source: "you",
      licence: "yours", folder: nil, fetch: nil, layout: "train/CLASS/PICTURE, test/CLASS/PICTURE"),
  ]

  private static let mnistLayout =
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, each plain or .gz"

  /// The examples for training and those for testing.
  ///
  /// - Parameters:
  ///   - folder: where the files are; nil for the entry's own folder
  ///   - progress: is told how many of how many pictures are decoded
  /// - Throws: `DataError` when there is no such data set, or its files are missing or damaged.
  public static func load(
    name: String, folder: String? = nil, options: DatasetOptions = DatasetOptions(),
    progress: (@Sendable (_ done: Int, _ total: Int) -> Void)? = nil
  ) throws -> (train: any Dataset, test: any Dataset) {
    guard let entry = entries.first(where: { $0.name == name }) else {
      throw DataError(
        "there is no data set called \(name)", remedy: "Known: \(entries.map(\.name).joined(separator: ", "))")
    }
    if entry.name == "digits" {
      let parts = try Digits.load()
      return (parts.train, parts.test)
    }
    guard let folder = folder ?? entry.folder else {
      throw DataError("\(name) needs a folder", remedy: "In it have to be: \(entry.layout)")
    }
    let parts: (train: ArrayDataset, test: ArrayDataset)
    switch entry.name {
    case "fashion-mnist": parts = try FashionMNIST.load(folder: folder)
    case "mnist": parts = try MNISTFolder.load(folder, name: name, classNames: (0...9).map(String.init))
    case "cifar10": parts = try CIFAR.load(.ten, folder: folder)
    case "cifar100": parts = try CIFAR.load(.hundred, folder: folder)
    case "idx": parts = try MNISTFolder.load(folder, name: name, classNames: options.classNames)
    case "csv": parts = try loadTables(folder, options)
    default: parts = try loadPictures(folder, options, progress)
    }
    return (parts.train, parts.test)
  }

  private static func loadTables(
    _ folder: String, _ options: DatasetOptions
  ) throws -> (train: ArrayDataset, test: ArrayDataset) {
    let label = options.labelColumn.map { CSV.LabelColumn($0) } ?? .last
    let train = try CSV.read(
      "\(folder)/train.csv", label: label, header: options.hasHeader, name: "train.csv", classNames: options.classNames)
    let test = try CSV.read(
      "\(folder)/test.csv", label: label, header: options.hasHeader, name: "test.csv", classNames: train.classNames)
    guard train.exampleShape == test.exampleShape else {
      throw DataError(
        file: "\(folder)/test.csv",
        "has \(test.channelCount) columns besides the label, but train.csv has \(train.channelCount)")
    }
    return (train, test)
  }

  private static func loadPictures(
    _ folder: String, _ options: DatasetOptions, _ progress: (@Sendable (_ done: Int, _ total: Int) -> Void)?
  ) throws -> (train: ArrayDataset, test: ArrayDataset) {
    let size = options.imageSize.map { (height: $0, width: $0) }
    let train = try ImageFolder.read(
      "\(folder)/train", size: size, channels: options.channels, classNames: options.classNames, progress: progress)
    let test = try ImageFolder.read(
      "\(folder)/test", size: (train.exampleShape[1], train.exampleShape[2]), channels: options.channels,
      classNames: train.classNames, progress: progress)
    return (train, test)
  }
}

/// What can be said about one's own data.
public struct DatasetOptions: Sendable, Equatable {
  /// The side in pixels of the square to which pictures are brought; nil when all have the same size.
  public var imageSize: Int?
  /// The channels of pictures: 1 for grey, 3 for colour.
  public var channels: Int
  /// The name of a table's label column, or its number from 1 on; nil for the last one.
  public var labelColumn: String?
  /// Whether a table's first line names its columns; nil to find out.
  public var hasHeader: Bool?
  /// The classes in the order of their labels; nil to take them from the training part.
  public var classNames: [String]?

  public init(
    imageSize: Int? = nil, channels: Int = 3, labelColumn: String? = nil, hasHeader: Bool? = nil,
    classNames: [String]? = nil
  ) {
    self.imageSize = imageSize
    self.channels = channels
    self.labelColumn = labelColumn
    self.hasHeader = hasHeader
    self.classNames = classNames
  }
}
