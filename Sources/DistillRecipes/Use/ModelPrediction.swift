import DistillData
import DistillModels
import DistillRuntime
import Distillation
import Foundation
import Synchronization
import Torch

/// What a model says of pictures, or of examples of a data set.
public struct ModelPrediction: Encodable, Sendable {
  public struct Item: Encodable, Sendable {
    /// The file, or the number of the example.
    public var source: String
    /// The true class, where it is known.
    public var label: String?
    /// The most probable classes, the first one first; empty where there is a problem.
    public var top: [Prediction] = []
    /// Of a text: how the model goes on with it.
    public var continuation: String?
    /// Why nothing can be said of it.
    public var problem: String?
  }

  public var model: String
  public var items: [Item] = []
  /// The list that was written.
  public private(set) var labels: Labels?

  public var problems: [String] { items.compactMap(\.problem) }

  /// What the model sees in pictures, PNG or JPEG, brought to the size and the colours that it knows. Those that cannot be
  /// read are left out and said.
  ///
  /// - Parameter paths: files, and folders, which stand for all pictures in them and in the folders in them
  /// - Throws: `RunError`, `DataError`; `RunError` with `.interrupted` when somebody asked to stop
  public init(
    model path: String, pictures paths: [String], top: Int = 3, device deviceName: String? = nil,
    observer: RunObserver = { _ in }
  ) throws {
    let device = try Device(available: deviceName)
    let named = try NamedModel(path)
    try Self.check(top: top)
    let predictor = named.predictor
    guard predictor.takesPictures else {
      throw RunError(
        "the model in \(named.folder.path) takes inputs of shape \(named.description.model.inputShape), which are no "
          + "pictures: use --dataset and --examples")
    }
    let pictures = try paths.flatMap { RegularFile.isFolder($0) ? try ImageFolder.pictures(in: $0) : [$0] }
    try predictor.move(to: device)
    model = named.folder.path
    for start in stride(from: 0, to: pictures.count, by: Self.picturesAtOnce) {
      guard !Interruption.isRequested else {
        throw RunError("interrupted after \(start) of \(pictures.count) pictures", kind: .interrupted)
      }
      if start > 0 { observer(.stage("\(Quantity.integer(start)) of \(Quantity.integer(pictures.count)) pictures")) }
      let part = Array(pictures[start..<min(start + Self.picturesAtOnce, pictures.count)])
      let images = Self.read(part, for: named.description)
      let tops = try predictor.predict(prepared: images.compactMap { try? $0.get() }, top: top)
      var next = tops.makeIterator()
      for (picture, image) in zip(part, images) {
        switch image {
        case .success: items.append(Item(source: picture, top: next.next() ?? []))
        case .failure(let error): items.append(Item(source: picture, problem: "\(error)"))
        }
      }
    }
  }

  /// So many pictures are in memory at a time.
  private static let picturesAtOnce = 256

  /// Pictures as a model wants them, read on all processors.
  private static func read(
    _ pictures: [String], for description: ModelFolder.Description
  ) -> [Result<RawImage, any Error>] {
    let found = Mutex([Result<RawImage, any Error>?](repeating: nil, count: pictures.count))
    DispatchQueue.concurrentPerform(iterations: pictures.count) { index in
      let image = Result { try description.prepared(RawImage.read(pictures[index])) }
      found.withLock { $0[index] = image }
    }
    return found.withLock { $0.compactMap(\.self) }
  }

  // MARK: Labels

  /// A list of pictures with the classes that the model sees in them.
  public struct Labels: Encodable, Sendable {
    /// The file.
    public var path: String
    public var written: Int
    /// Of whose class the model was not sure enough.
    public var leftOut: Int
  }

  /// Where the list of a folder's pictures goes.
  ///
  /// - Throws: `RunError` when the pictures are not those of one folder, or the file is there.
  public static func labelFile(for paths: [String], force: Bool) throws -> String {
    if let missing = paths.first(where: { !FileManager.default.fileExists(atPath: $0) }) {
      throw RunError("there is no \(missing)")
    }
    guard paths.count == 1, RegularFile.isFolder(paths[0]) else {
      throw RunError("--labels writes a list into the folder of the pictures: name one folder, and nothing else")
    }
    let path = FilePath.joined(paths[0], PictureMetadata.usualName)
    guard force || !FileManager.default.fileExists(atPath: path) else {
      throw RunError(
        "\(path) is there already, and may have been made by hand: replace it with --force, or move it away")
    }
    try NewFile.check(path, force: true)
    return path
  }

  /// Writes which class each picture of a folder is of, for recipes to read: see `PictureMetadata`.
  ///
  /// - Parameters:
  ///   - path: of `labelFile`
  ///   - least: the least probability of a class that is written down
  /// - Throws: `RunError` when nothing would be written
  public mutating func writeLabels(to path: String, atLeast least: Double, force: Bool) throws {
    let folder = FilePath.folder(of: path)
    let prefix = folder.hasSuffix("/") ? folder : folder + "/"
    let seen = items.compactMap { item in item.top.first.map { (item.source, $0) } }
    let sure = seen.filter { $0.1.probability >= least }
    guard !sure.isEmpty else {
      throw RunError("\(path) is not written: of no picture the model is sure by \(Quantity.percent(least))")
    }
    let rows = sure.map { source, best in
      (
        name: source.hasPrefix(prefix) ? String(source.dropFirst(prefix.count)) : source, label: best.name,
        probability: best.probability
      )
    }
    try NewFile.write(PictureMetadata.table(rows), to: path, force: force)
    labels = Labels(path: path, written: sure.count, leftOut: seen.count - sure.count)
  }

  /// How a model that predicts tokens goes on with texts in files. Of a text that is longer than the model looks at its end
  /// counts. Those that cannot be read are left out and said.
  ///
  /// - Parameters:
  ///   - wanted: how many tokens it writes, unless the text ends before; nil: half as many as it looks at
  ///   - temperature: at which they are drawn; 0: the likeliest each time
  public init(
    model path: String, texts: [String], length wanted: Int? = nil, temperature: Double = 0, seed: Int = 0,
    device deviceName: String? = nil
  ) throws {
    let device = try Device(available: deviceName)
    let named = try NamedModel(path)
    guard let vocabulary = named.vocabulary else {
      throw RunError("the model in \(named.folder.path) does not write texts")
    }
    let limit = (named.model as? any GenerativeLayer)?.contextLength ?? 1
    let length = wanted ?? max(1, limit / 2)
    guard (1...limit).contains(length) else {
      throw RunError(
        "--tokens is a number from 1 to \(limit), as the model in \(named.folder.path) looks at no more, not \(length)")
    }
    guard temperature >= 0, temperature.isFinite else {
      throw RunError("--temperature is a number from 0 on, not \(temperature)")
    }
    try named.model.move(to: device)
    let writer = try Generator(
      named.model, decoding: temperature > 0 ? .sampling(temperature: temperature) : .greedy, stop: vocabulary.end)
    items = try texts.map { file in
      do {
        let tokens = try TextFiles.tokens(of: file, vocabulary: vocabulary)
        guard !tokens.isEmpty else { throw DataError(file: file, "is empty", remedy: "Give the model a beginning") }
        let written = try writer.continuations(
          of: [Array(tokens.suffix(limit + 1 - length))], length: length, seed: UInt64(bitPattern: Int64(seed)))
        return Item(source: file, continuation: vocabulary.text(of: written[0]))
      } catch let error as DataError {
        return Item(source: file, problem: "\(error)")
      }
    }
    model = named.folder.path
  }

  /// What files are for a model.
  public enum Reading: Sendable {
    case pictures
    /// Texts that it goes on with.
    case beginnings
    /// Texts that it knows classes of, read by the tokenizer in its folder.
    case texts
  }

  /// What files are for the model in a folder.
  public static func reading(_ path: String) throws -> Reading {
    let named = try NamedModel(path)
    if named.vocabulary != nil { return .beginnings }
    return named.hasTokenizer ? .texts : .pictures
  }

  /// What class each text in a file is of; each file is one text. Those that cannot be read are left out and said.
  public init(model path: String, classifying files: [String], top: Int = 3, device deviceName: String? = nil) throws {
    let device = try Device(available: deviceName)
    let named = try NamedModel(path)
    try Self.check(top: top)
    try named.requireTokenizer()
    try named.predictor.move(to: device)
    var texts: [String] = []
    var places: [Int] = []
    for file in files {
      do {
        texts.append(try TextFiles.text(of: file))
        places.append(items.count)
        items.append(Item(source: file))
      } catch {
        items.append(Item(source: file, problem: "\(error)"))
      }
    }
    model = named.folder.path
    for (place, top) in zip(places, try named.predictor.predict(texts: texts, top: top)) { items[place].top = top }
  }

  /// What the model says of examples of a data set, by their numbers.
  public init(
    model path: String, on choice: DataChoice, examples: [Int], top: Int = 3, device deviceName: String? = nil
  ) throws {
    let device = try Device(available: deviceName)
    let named = try NamedModel(path)
    try Self.check(top: top)
    guard named.vocabulary == nil else {
      throw RunError(
        "the model in \(named.folder.path) predicts the tokens of texts, and says nothing of whole examples: name files of "
          + "text for it to go on with")
    }
    let data = try choice.load(for: named)
    guard !examples.isEmpty else { throw RunError("name examples by their numbers: --examples 1,5,7") }
    for example in examples where !(0..<data.examples.count).contains(example) {
      throw RunError(
        "the \(choice.split.rawValue) split of \(data.dataset.name) has the examples 0 to \(data.examples.count - 1), and "
          + "so no number \(example)")
    }
    let numbers = examples.map { data.examples[$0] }
    let guesses = try Self.guesses(named, data.dataset, numbers, top: top, device)
    model = named.folder.path
    items = zip(examples, zip(numbers, guesses)).map { example, found in
      let label = data.dataset.label(at: found.0)
      return Item(
        source: "\(example)", label: label >= 0 ? named.description.labels[label] : nil, top: found.1)
    }
  }

  private static func check(top: Int) throws {
    guard top >= 1 else { throw RunError("--top is a number of classes from 1 on, not \(top)") }
  }

  private static func guesses(
    _ named: NamedModel, _ data: any Dataset, _ examples: [Int], top: Int, _ device: Device
  ) throws -> [[Prediction]] {
    try topClasses(named.logits(data, examples, on: device), count: top).map { row in
      row.map { Prediction(name: named.description.labels[$0.index], probability: $0.probability) }
    }
  }
}
