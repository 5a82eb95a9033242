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
  ]

  private static let mnistLayout =
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, each plain or .gz"

  /// The examples for training and those for testing.
  ///
  /// - Parameter folder: where the files are; nil for the entry's own folder
  /// - Throws: `DataError` when there is no such data set, or its files are missing or damaged.
  public static func load(name: String, folder: String? = nil) throws -> (train: any Dataset, test: any Dataset) {
    guard let entry = entries.first(where: { $0.name == name }) else {
      throw DataError(
        "there is no data set called \(name)", remedy: "Known: \(entries.map(\.name).joined(separator: ", "))")
    }
    switch entry.name {
    case "digits":
      let parts = try Digits.load()
      return (parts.train, parts.test)
    case "fashion-mnist":
      let parts = try FashionMNIST.load(folder: folder ?? FashionMNIST.defaultFolder)
      return (parts.train, parts.test)
    default:
      let folder = folder ?? entry.folder ?? "."
      let parts = try MNISTFolder.load(folder, name: name, classNames: (0...9).map(String.init))
      return (parts.train, parts.test)
    }
  }
}
