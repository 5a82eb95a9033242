import Foundation
import Synchronization
import Torch

/// Reads pictures with a class for each: in a folder for each class, or listed in a file beside them (`PictureMetadata`).
public enum ImageFolder {
  /// How pictures become examples of one shape.
  public struct Form: Sendable {
    /// To which every picture is brought; nil when all have the same size already.
    public var size: (height: Int, width: Int)?
    /// How they are brought to it, where not by the mean of areas.
    public var fit: PictureFit?
    /// 1 for grey, 3 for colour.
    public var channels: Int

    public init(size: (height: Int, width: Int)? = nil, fit: PictureFit? = nil, channels: Int = 3) {
      self.size = size
      self.fit = fit
      self.channels = channels
    }
  }

  /// Is told how many of how many pictures are done; on several threads, but one at a time.
  public typealias Progress = @Sendable (_ done: Int, _ total: Int) -> Void

  /// A data set with all pictures of a folder, in the order of the names of classes and files, or of the list. Hidden files
  /// are skipped, and so are files that are no pictures by their names. A class's folder may be a link; links to folders
  /// within it are not followed, since they may lead in a circle: the data set's notices name them, and pictures that lie
  /// beside the classes' folders. The pixels are kept in memory as bytes.
  ///
  /// - Parameters:
  ///   - classNames: the classes in the order of their labels; nil for those that there are, sorted
  ///   - labelColumn: the column of the classes, where a file lists the pictures
  /// - Throws: `DataError` that names the pictures that cannot be read.
  public static func read(
    _ folder: String, _ form: Form = Form(), name: String? = nil, classNames: [String]? = nil,
    labelColumn: String = PictureMetadata.labelColumn, progress: Progress? = nil
  ) throws -> ArrayDataset {
    let list = try PictureList(in: folder, classNames: classNames, labelColumn: labelColumn)
    return try load(list, of: folder, form, name: name, progress: progress)
  }

  /// A data set with all pictures of a folder and the folders in it, without labels, in the order of their names: for a
  /// teacher to say what they are. Otherwise as `read`.
  ///
  /// - Throws: `DataError` that names the pictures that cannot be read, or when there are none.
  public static func readUnlabelled(
    _ folder: String, _ form: Form = Form(), name: String? = nil, progress: Progress? = nil
  ) throws -> ArrayDataset {
    try load(PictureList(allIn: folder), of: folder, form, name: name, progress: progress)
  }

  /// The paths of all PNG and JPEG files in a folder and the folders in it, in the order of their names.
  ///
  /// - Throws: `DataError` when there are none.
  public static func pictures(in folder: String) throws -> [String] { try PictureList(allIn: folder).files }

  /// Pictures for training and for testing: those in the folders `train` and `test`, or, where there is neither, all, of
  /// whose classes the same part each is for testing, whoever reads them.
  ///
  /// - Throws: `DataError` as `read`
  public static func readParts(
    _ folder: String, _ form: Form = Form(), classNames: [String]? = nil,
    labelColumn: String = PictureMetadata.labelColumn, testFraction: Double = 0.1
  ) throws -> (train: ArrayDataset, test: ArrayDataset) {
    let parts = try parts(of: folder, classNames, labelColumn, testFraction)
    let train = try load(parts.train, of: folder, form)
    var form = form
    form.size = (train.exampleShape[1], train.exampleShape[2])
    return (train, try load(parts.test, of: folder, form))
  }

  /// The pictures for training of `readParts` alone.
  public static func readTraining(
    _ folder: String, _ form: Form = Form(), labelColumn: String = PictureMetadata.labelColumn,
    testFraction: Double = 0.1
  ) throws -> ArrayDataset {
    try load(parts(of: folder, nil, labelColumn, testFraction).train, of: folder, form)
  }

  private static func parts(
    of folder: String, _ classNames: [String]?, _ labelColumn: String, _ testFraction: Double
  ) throws -> (train: PictureList, test: PictureList) {
    func list(_ folder: String, _ classNames: [String]?) throws -> PictureList {
      try PictureList(in: folder, classNames: classNames, labelColumn: labelColumn)
    }
    guard ["train", "test"].contains(where: { RegularFile.isFolder("\(folder)/\($0)") }) else {
      return try list(folder, classNames).divided(testFraction: testFraction, of: folder)
    }
    let train = try list("\(folder)/train", classNames)
    return (train, try list("\(folder)/test", train.classNames))
  }

  private static func load(
    _ list: PictureList, of folder: String, _ form: Form, name: String? = nil, progress: Progress? = nil
  ) throws -> ArrayDataset {
    let (files, channels, size, fit) = (list.files, form.channels, form.size, form.fit)
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
        if resizes {
          image = try image.fitted(height: target.height, width: target.width, fit)
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
      name: name ?? FilePath.name(of: folder), values: values,
      exampleShape: [channels, target.height, target.width], count: files.count, labels: list.labels,
      classNames: list.classNames, notices: list.notices)
  }
}
