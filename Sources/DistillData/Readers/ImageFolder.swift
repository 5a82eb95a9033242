import Foundation
import Synchronization
import Torch

/// Reads pictures from a folder that has one folder for each class.
public enum ImageFolder {
  private static let readable: Set = ["png", "jpg", "jpeg"]
  private static let unreadable: Set = ["avif", "bmp", "gif", "heic", "tif", "tiff", "webp"]

  /// A data set with all pictures of a folder, in the order of the names of classes and files. Hidden files are skipped,
  /// and so are files that are no pictures by their names. A class's folder may be a link; links to folders within it are
  /// not followed, since they may lead in a circle: the data set's notices name them, and pictures that lie beside the
  /// classes' folders. The pixels are kept in memory as bytes.
  ///
  /// - Parameters:
  ///   - size: to which every picture is brought; nil when all have the same size already
  ///   - fit: how they are brought to it, where not by the mean of areas
  ///   - channels: 1 for grey, 3 for colour
  ///   - classNames: the classes in the order of their labels; nil for the names of the folders, sorted
  ///   - progress: is told how many of how many pictures are done; on several threads, but one at a time
  /// - Throws: `DataError` that names the pictures that cannot be read.
  public static func read(
    _ folder: String, size: (height: Int, width: Int)? = nil, fit: PictureFit? = nil, channels: Int = 3,
    name: String? = nil,
    classNames: [String]? = nil, progress: (@Sendable (_ done: Int, _ total: Int) -> Void)? = nil
  ) throws -> ArrayDataset {
    let (files, labels, classNames, notices) = try list(folder, classNames: classNames)
    return try load(
      files, of: folder, size: size, fit: fit, channels: channels, name: name, labels: labels, classNames: classNames,
      notices: notices, progress: progress)
  }

  /// A data set with all pictures of a folder and the folders in it, without labels, in the order of their names: for a
  /// teacher to say what they are. Otherwise as `read`.
  ///
  /// - Throws: `DataError` that names the pictures that cannot be read, or when there are none.
  public static func readUnlabelled(
    _ folder: String, size: (height: Int, width: Int)? = nil, fit: PictureFit? = nil, channels: Int = 3,
    name: String? = nil,
    progress: (@Sendable (_ done: Int, _ total: Int) -> Void)? = nil
  ) throws -> ArrayDataset {
    var notices: [String] = []
    let files = try pictures(in: folder, &notices)
    guard !files.isEmpty else {
      throw DataError(file: folder, "has no pictures", remedy: "Put PNG or JPEG files there")
    }
    return try load(
      files, of: folder, size: size, fit: fit, channels: channels, name: name, labels: [], classNames: [],
      notices: notices,
      progress: progress)
  }

  private static func load(
    _ files: [String], of folder: String, size: (height: Int, width: Int)?, fit: PictureFit?, channels: Int,
    name: String?,
    labels: [Int32], classNames: [String], notices: [String],
    progress: (@Sendable (_ done: Int, _ total: Int) -> Void)?
  ) throws -> ArrayDataset {
    guard channels == 1 || channels == 3 else {
      throw DataError(file: folder, "pictures can be read with 1 or 3 channels, not \(channels)")
    }
    let target: (height: Int, width: Int)
    if let size {
      guard size.height > 0, size.width > 0, size.height <= RawImage.largest / size.width else {
        throw DataError(file: folder, "pictures cannot be brought to \(size.width)×\(size.height) pixels")
      }
      target = size
    } else {
      let first = try RawImage.read(files[0])
      target = (first.height, first.width)
    }
    let elements = channels * target.height * target.width
    guard let byteCount = product([elements, files.count]) else {
      throw DataError(file: folder, "the pictures do not fit in memory")
    }
    let values = HostBuffer(byteCount: byteCount)
    let resizes = size != nil
    let state = Mutex<(done: Int, failures: [(index: Int, error: any Error)])>((0, []))
    DispatchQueue.concurrentPerform(iterations: files.count) { index in
      let outcome = Result {
        var image = try RawImage.read(files[index]).converted(channels: channels)
        if let fit {
          image = try image.prepared(
            height: target.height, width: target.width, shorterSide: fit.shorterSide, interpolation: fit.interpolation)
        } else if resizes {
          image = try image.resized(width: target.width, height: target.height)
        } else if (image.height, image.width) != target {
          throw DataError(
            file: files[index],
            "has \(image.width)×\(image.height) pixels, but \(files[0]) has \(target.width)×\(target.height)",
            remedy: "Say to which size the pictures are to be brought")
        }
        image.planes.withUnsafeBytes {
          UnsafeMutableRawBufferPointer(rebasing: values.bytes[index * elements..<(index + 1) * elements])
            .copyMemory(from: $0)
        }
      }
      state.withLock { state in
        if case .failure(let error) = outcome { state.failures.append((index, error)) }
        state.done += 1
        progress?(state.done, files.count)
      }
    }
    let failures = state.withLock { $0.failures.sorted { $0.index < $1.index } }
    if let first = failures.first {
      guard failures.count > 1 else { throw first.error }
      let shown = failures.prefix(5).map { "\($0.error)" }.joined(separator: "\n")
      let others = failures.count > 5 ? "\nand \(failures.count - 5) more" : ""
      throw DataError(file: folder, "\(failures.count) pictures cannot be used:\n\(shown)\(others)")
    }
    return try ArrayDataset(
      name: name ?? URL(fileURLWithPath: folder).lastPathComponent, values: values,
      exampleShape: [channels, target.height, target.width], count: files.count, labels: labels,
      classNames: classNames, notices: notices)
  }

  /// The pictures, their labels, and the names of the classes.
  private static func list(
    _ folder: String, classNames: [String]?
  ) throws -> (files: [String], labels: [Int32], classNames: [String], notices: [String]) {
    let entries = try entries(of: folder)
    let found = entries.filter { isFolder("\(folder)/\($0)") }
    let here = real(folder)
    for name in found where isLink("\(folder)/\(name)") {
      let target = real("\(folder)/\(name)")
      guard here != target, !here.hasPrefix(target.hasSuffix("/") ? target : target + "/") else {
        throw DataError(file: "\(folder)/\(name)", "is a link to a folder that it lies in", remedy: "Take it out")
      }
    }
    var notices: [String] = []
    let strays = entries.filter { readable.contains(FilePath.kind(of: $0).lowercased()) && !found.contains($0) }
    if let first = strays.first {
      let words = strays.count == 1 ? "a picture that lies" : "\(strays.count) pictures that lie"
      notices.append(
        "\(folder)/\(first) is \(strays.count == 1 ? "" : "one of ")\(words) beside the classes' folders and left out: "
          + "put pictures into the folder of their class")
    }
    guard !found.isEmpty else {
      throw DataError(file: folder, "has no folders", remedy: "Put the pictures of each class in a folder of its own")
    }
    let classNames = classNames ?? found
    var files: [String] = []
    var labels: [Int32] = []
    for name in found {
      guard let label = classNames.firstIndex(of: name) else {
        throw DataError(
          file: "\(folder)/\(name)", "is not the folder of a known class",
          remedy: "The classes are \(classNames.joined(separator: ", "))")
      }
      let pictures = try pictures(in: "\(folder)/\(name)", &notices)
      guard !pictures.isEmpty else {
        throw DataError(file: "\(folder)/\(name)", "has no pictures", remedy: "Add PNG or JPEG files, or take it out")
      }
      files += pictures
      labels += Array(repeating: Int32(label), count: pictures.count)
    }
    return (files, labels, classNames, notices)
  }

  /// The PNG and JPEG files in a folder and the folders in it.
  private static func pictures(in folder: String, _ notices: inout [String]) throws -> [String] {
    var found: [String] = []
    for name in try entries(of: folder) {
      let path = "\(folder)/\(name)"
      if isFolder(path) {
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

  /// Where a path leads once all links are followed.
  private static func real(_ path: String) -> String {
    guard let found = realpath(path, nil) else { return path }
    defer { free(found) }
    return String(cString: found)
  }

  /// The names in a folder, sorted, without hidden ones.
  private static func entries(of folder: String) throws -> [String] {
    guard isFolder(folder) else { throw DataError(file: folder, "is not a folder") }
    do {
      return try FileManager.default.contentsOfDirectory(atPath: folder).filter { !$0.hasPrefix(".") }
        .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    } catch {
      let code = access(folder, R_OK | X_OK) == 0 ? EIO : errno
      throw DataError(file: folder, "cannot be read: \(String(cString: strerror(code)))")
    }
  }

  private static func isFolder(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
  }
}
