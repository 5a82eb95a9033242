import Foundation
import Torch

/// Which pictures are in a folder, and what class each is of.
struct PictureList {
  private static let readable: Set = ["png", "jpg", "jpeg"]
  private static let unreadable: Set = ["avif", "bmp", "gif", "heic", "tif", "tiff", "webp"]

  /// The paths of the pictures, in the order of the examples.
  var files: [String]
  /// As many, or none.
  var labels: [Int32] = []
  var classNames: [String] = []
  /// What a person should know of the folder.
  var notices: [String] = []

  /// All pictures of a folder and the folders in it, in the order of their names, without classes.
  ///
  /// - Throws: `DataError` when there are none.
  init(allIn folder: String) throws {
    files = []
    files = try Self.pictures(in: folder, &notices)
    guard !files.isEmpty else {
      throw DataError(file: folder, "has no pictures", remedy: "Put PNG or JPEG files there")
    }
  }

  /// The pictures that a file beside them lists with their classes, or those in a folder for each class.
  ///
  /// - Parameters:
  ///   - classNames: the classes in the order of their labels; nil for those that there are, sorted
  ///   - labelColumn: the column of the classes, where a file lists the pictures
  /// - Throws: `DataError` that names what does not fit.
  init(in folder: String, classNames: [String]?, labelColumn: String) throws {
    if let file = try PictureMetadata.file(in: folder) {
      try self.init(listedIn: file, of: folder, classNames: classNames, labelColumn: labelColumn)
    } else {
      try self.init(byFolderIn: folder, classNames: classNames)
    }
  }

  // MARK: Listed in a file

  private init(listedIn file: String, of folder: String, classNames given: [String]?, labelColumn: String) throws {
    let rows = try PictureMetadata.read(file, labelColumn: labelColumn)
    classNames = given ?? CSV.classes(of: rows.map(\.label))
    guard given != nil || classNames.count <= max(100, rows.count / 2) else {
      throw DataError(
        file: file, "has \(classNames.count) different labels for \(rows.count) pictures",
        remedy: "Is \"\(labelColumn)\" the column with the class?")
    }
    let places = Dictionary(zip(classNames, classNames.indices), uniquingKeysWith: { first, _ in first })
    files = []
    var problems = LineProblems(file: file)
    var seen: Set<String> = []
    for row in rows {
      let name = FilePath.shortened(row.name)
      let path = "\(folder)/\(name)"
      let place = places[row.label]
      if let problem = Self.problem(name, path) {
        problems.report("line \(row.line): \(problem)")
      } else if !seen.insert(name).inserted {
        problems.report("line \(row.line) lists \(row.name) again")
      } else if let place {
        files.append(path)
        labels.append(Int32(place))
      } else {
        problems.report(
          "line \(row.line) has the label \"\(row.label.prefix(40))\", which is not a known class. The classes are "
            + classNames.prefix(20).joined(separator: ", ") + (classNames.count > 20 ? ", …" : ""))
      }
    }
    try problems.finish()
    let unlisted = try Self.pictures(in: folder, &notices).count {
      !seen.contains(String($0.dropFirst(folder.count + 1)))
    }
    if unlisted > 0 {
      notices.append("\(file) does not list \(unlisted) of the pictures beside it: they are left out")
    }
  }

  /// Why a name of a list cannot be a picture of the folder.
  private static func problem(_ name: String, _ path: String) -> String? {
    guard !name.hasPrefix("/"), name.split(separator: "/").first != "..", !name.utf8.contains(0) else {
      return "\(name.prefix(100)) leads out of the folder: name pictures by their path within it"
    }
    guard FileManager.default.fileExists(atPath: path) else { return "there is no \(path)" }
    return readable.contains(FilePath.kind(of: name).lowercased()) ? nil : "\(name) is no PNG or JPEG file by its name"
  }

  // MARK: A folder for each class

  private init(byFolderIn folder: String, classNames given: [String]?) throws {
    let entries = try Self.entries(of: folder)
    let found = entries.filter { RegularFile.isFolder("\(folder)/\($0)") }
    let here = RegularFile.place(of: folder) ?? folder
    for name in found where Self.isLink("\(folder)/\(name)") {
      let target = RegularFile.place(of: "\(folder)/\(name)") ?? "\(folder)/\(name)"
      guard here != target, !here.hasPrefix(target.hasSuffix("/") ? target : target + "/") else {
        throw DataError(file: "\(folder)/\(name)", "is a link to a folder that it lies in", remedy: "Take it out")
      }
    }
    let strays = entries.filter { Self.readable.contains(FilePath.kind(of: $0).lowercased()) && !found.contains($0) }
    if let first = strays.first, !found.isEmpty {
      let words = strays.count == 1 ? "a picture that lies" : "\(strays.count) pictures that lie"
      notices.append(
        "\(folder)/\(first) is \(strays.count == 1 ? "" : "one of ")\(words) beside the classes' folders and left out: "
          + "put pictures into the folder of their class")
    }
    guard !found.isEmpty else {
      throw DataError(
        file: folder,
        strays.isEmpty ? "has no folders" : "has pictures (\(strays.count)), and nothing says what class they are of",
        remedy: "Put the pictures of each class in a folder of its own, or list them with their classes in "
          + "\(PictureMetadata.usualName); distill predict MODEL \(folder) --labels can do that")
    }
    classNames = given ?? found
    files = []
    for name in found {
      guard let label = classNames.firstIndex(of: name) else {
        throw DataError(
          file: "\(folder)/\(name)", "is not the folder of a known class",
          remedy: "The classes are \(classNames.joined(separator: ", "))")
      }
      let pictures = try Self.pictures(in: "\(folder)/\(name)", &notices)
      guard !pictures.isEmpty else {
        throw DataError(file: "\(folder)/\(name)", "has no pictures", remedy: "Add PNG or JPEG files, or take it out")
      }
      files += pictures
      labels += Array(repeating: Int32(label), count: pictures.count)
    }
  }

  // MARK: Divided

  /// Those for training and those for testing: of each class the same part, at least one for training.
  func divided(testFraction: Double, of folder: String) throws -> (train: PictureList, test: PictureList) {
    guard testFraction > 0, testFraction < 1 else {
      throw DataError("\(folder): the part for testing must lie between 0 and 1, not \(testFraction)")
    }
    let count = Int((Double(files.count) * testFraction).rounded())
    let (train, test) = Splits.stratified(Array(files.indices), count: files.count - count, seed: 0) { Int(labels[$0]) }
    guard !train.isEmpty, !test.isEmpty else {
      throw DataError(file: folder, "has \(files.count) pictures: too few for training and testing")
    }
    return (selecting(train, notices: notices), selecting(test, notices: []))
  }

  private func selecting(_ places: [Int], notices: [String]) -> PictureList {
    var part = self
    part.files = places.map { files[$0] }
    part.labels = places.map { labels[$0] }
    part.notices = notices
    return part
  }

  // MARK: Files

  /// The PNG and JPEG files in a folder and the folders in it.
  private static func pictures(in folder: String, _ notices: inout [String]) throws -> [String] {
    var found: [String] = []
    for name in try entries(of: folder) {
      let path = "\(folder)/\(name)"
      if RegularFile.isFolder(path) {
        if isLink(path) {
          notices.append("\(path) is a link to a folder, and not followed: put the pictures there themselves")
        } else {
          found += try pictures(in: path, &notices)
        }
        continue
      }
      let kind = FilePath.kind(of: path).lowercased()
      if unreadable.contains(kind) {
        throw DataError(
          file: path, "is a picture of a kind that cannot be read (\(kind))", remedy: "Convert it to PNG or JPEG")
      }
      if readable.contains(kind) { found.append(path) }
    }
    return found
  }

  private static func isLink(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
  }

  /// The names in a folder, sorted, without hidden ones.
  private static func entries(of folder: String) throws -> [String] {
    guard RegularFile.isFolder(folder) else { throw DataError(file: folder, "is not a folder") }
    do {
      return try FileManager.default.contentsOfDirectory(atPath: folder).filter { !$0.hasPrefix(".") }
        .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    } catch {
      let code = access(folder, R_OK | X_OK) == 0 ? EIO : errno
      throw DataError(file: folder, "cannot be read: \(String(cString: strerror(code)))")
    }
  }
}
