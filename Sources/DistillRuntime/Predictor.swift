import DistillData
import DistillModels
import DistillTokenizers
import Torch
import TorchNN

/// A model folder that answers: pictures, texts or rows of numbers in, classes or plain outputs out.
///
///     let predictor = try Predictor("runs/first/student")
///     for found in try predictor.predict(pictures: ["shirt.png"])[0] { print(found.name, found.probability) }
///
/// Everything that the inputs need is done as the folder says: size, colours and normalization of pictures, tokens of texts.
/// The model is in evaluation mode, and batch normalization is folded into the layers before it where that comes to the same
/// (see `FrozenPlan`). Folders of other libraries are read, too (see `ForeignModel`). A predictor is not for several threads
/// at a time; give each its own, or put one into an actor.
public final class Predictor {
  public let folder: ModelFolder
  public let description: ModelFolder.Description
  /// In evaluation mode.
  package let model: any Layer
  public private(set) var device = Device.cpu
  private let folds: Bool
  private var plan: Plan?
  private var tokenizer: Tokenizer?

  private enum Plan {
    case folded(FrozenPlan, shape: [Int])
    case none(shape: [Int])

    var shape: [Int] {
      switch self {
      case .folded(_, let shape), .none(let shape): shape
      }
    }
  }

  /// How far the folded computation may be from the model, relative to the largest number of an output.
  static let allowedDeviation = 1e-4
  /// So many pictures or texts are computed at a time.
  static let batchSize = 32

  /// - Parameters:
  ///   - path: a folder with `config.json` and `model.safetensors`
  ///   - folds: whether the first batch pays for a faster computation of all others: the right choice for a program that goes
  ///     on, and the wrong one for a single answer
  /// - Throws: `ModelFolderError`, `ModelError`, `CheckpointError` or `StateError`, each with the file and what to mend.
  public init(_ path: String, device: Device = .cpu, folds: Bool = true) throws {
    self.folds = folds
    folder = ModelFolder(path)
    (model, description) = try folder.load()
    guard description.labels.count == description.model.classCount else {
      throw ModelFolderError(
        "\(folder.configuration): \(description.labels.count) labels for \(description.model.classCount) classes")
    }
    try move(to: device)
  }

  public func move(to device: Device) throws {
    try model.move(to: device)
    if device != self.device { plan = nil }
    self.device = device
  }

  // MARK: Classes

  /// The `top` most probable classes of pictures in files, PNG or JPEG, the first one first.
  ///
  /// - Throws: `DataError` that names a file that cannot be read, `ModelFolderError` when the model takes no pictures.
  public func predict(pictures paths: [String], top: Int = 3) throws -> [[Prediction]] {
    try batches(of: paths) { try classes(outputs(of: $0.map { try RawImage.read($0) }), top) }
  }

  /// The `top` most probable classes of pictures in memory, of any size.
  ///
  /// - Throws: `ModelFolderError` when the model takes no pictures, `DataError` when one cannot be brought to its size.
  public func predict(images: [RawImage], top: Int = 3) throws -> [[Prediction]] {
    try batches(of: images) { try classes(outputs(of: $0), top) }
  }

  package func predict(prepared images: [RawImage], top: Int) throws -> [[Prediction]] {
    try batches(of: images) { try classes(outputs(ofPrepared: $0), top) }
  }

  /// The `top` most probable classes of texts, by the tokenizer in the folder. Longer texts than the model reads are cut.
  ///
  /// - Parameter pairs: a second text for each, where the model compares two
  /// - Throws: `TokenizerError` when the folder has no tokenizer, `ModelFolderError` when the model tells no texts apart, or
  ///   there are not as many pairs as texts.
  public func predict(texts: [String], pairs: [String]? = nil, top: Int = 3) throws -> [[Prediction]] {
    try check(texts, pairs)
    return try batches(of: Array(texts.indices)) { indices in
      try classes(outputs(of: indices.map { texts[$0] }, pairs: pairs.map { pairs in indices.map { pairs[$0] } }), top)
    }
  }

  /// The `top` most probable classes of rows of numbers, as the data set has them.
  ///
  /// - Throws: `ModelFolderError` when a row is not as long as the model takes, or not finite.
  public func predict(rows: [[Float]], top: Int = 3) throws -> [[Prediction]] {
    let count = description.model.inputShape.reduce(1, *)
    for (number, row) in rows.enumerated() where row.count != count {
      throw ModelFolderError("row \(number) has \(row.count) numbers, and the model in \(folder.path) takes \(count)")
    }
    return try batches(of: rows) { rows in
      try classes(outputs(Tensor(rows.flatMap { $0 }, shape: [rows.count] + description.model.inputShape)), top)
    }
  }

  private func classes(_ logits: Tensor, _ top: Int) throws -> [[Prediction]] {
    guard top >= 1 else { throw ModelFolderError("the number of classes to name is at least 1, not \(top)") }
    guard tellsClasses else {
      throw ModelFolderError(
        "the model in \(folder.path) tells no classes apart: it gives embeddings, or writes; ask for its outputs")
    }
    return try topClasses(logits, count: top).map { row in
      row.map { Prediction(name: description.labels[$0.index], probability: $0.probability) }
    }
  }

  private var tellsClasses: Bool {
    guard !(model is any GenerativeLayer) else { return false }
    guard case .text(let head)? = description.model.options["head"] else { return true }
    return !head.hasSuffix("embedding")
  }

  private func batches<Input>(of inputs: [Input], _ body: ([Input]) throws -> [[Prediction]]) throws -> [[Prediction]] {
    try stride(from: 0, to: inputs.count, by: Self.batchSize).flatMap { start in
      try body(Array(inputs[start..<min(start + Self.batchSize, inputs.count)]))
    }
  }

  // MARK: Outputs

  /// What the model says of pictures of any size: logits or embeddings, `[N, C]`, on the processor.
  public func outputs(of images: [RawImage]) throws -> Tensor {
    try outputs(ofPrepared: images.map { try prepared($0) })
  }

  /// What the model says of texts: logits `[N, C]` or embeddings `[N, D]`, on the processor.
  public func outputs(of texts: [String], pairs: [String]? = nil) throws -> Tensor {
    let shape = description.model.inputShape
    guard try ModelZoo.architecture(named: description.model.architecture).input == .tokens else {
      throw ModelFolderError("the model in \(folder.path) takes inputs of shape \(shape), which are no texts")
    }
    try check(texts, pairs)
    let tokenizer = try tokenizer ?? readTokenizer()
    self.tokenizer = tokenizer
    let tokens = try tokenizer.encode(texts, pairs: pairs, maximumLength: shape[0], padding: .longest)
    return try run(tokens.tensors().ids)
  }

  private func check(_ texts: [String], _ pairs: [String]?) throws {
    if let pairs, pairs.count != texts.count {
      throw ModelFolderError("\(texts.count) texts cannot be paired with \(pairs.count)")
    }
  }

  private func readTokenizer() throws -> Tokenizer {
    let tokenizer = try Tokenizer(folder: folder.path)
    guard case .integer(let padding)? = description.model.options["padding"], let own = tokenizer.paddingID,
      own != Int64(padding)
    else { return tokenizer }
    throw ModelFolderError(
      "\(folder.path): its tokenizer fills texts up with token \(own), and its model takes \(padding) for padding")
  }

  /// What the model says of a batch of inputs as a data set has them, before normalization: pixels from 0 to 1
  /// `[N, C, H, W]`, rows `[N, F]`, or the numbers of tokens `[N, L]`. On the processor.
  ///
  /// - Throws: `ModelFolderError` when inputs or outputs are not finite, or the examples have another shape.
  public func outputs(_ inputs: Tensor) throws -> Tensor {
    let shape = description.model.inputShape
    guard inputs.rank > 0, Array(inputs.shape.dropFirst()) == shape else {
      throw ModelFolderError(
        "the model in \(folder.path) takes batches of inputs of shape \(shape), and these are \(inputs.shape)")
    }
    // In a folded computation ReLU may make zeros of what is not a number.
    guard try !inputs.dtype.isFloatingPoint || inputs.isFinite().all() else {
      throw ModelFolderError("the inputs of \(folder.path) hold numbers that are not finite")
    }
    return try run(normalized(inputs))
  }

  /// A batch of inputs as a data set has them, as the model takes them.
  package func normalized(_ inputs: Tensor) throws -> Tensor {
    guard let normalization = description.normalization else { return inputs }
    let shape = description.model.inputShape
    let (mean, deviation) = try normalization.expanded(to: shape[0])
    let wide = [shape[0]] + Array(repeating: 1, count: shape.count - 1)
    return try (inputs - Tensor(mean, shape: wide)) / Tensor(deviation, shape: wide)
  }

  package var takesPictures: Bool {
    let shape = description.model.inputShape
    return shape.count == 3 && (shape[0] == 1 || shape[0] == 3)
  }

  /// The picture in the size and the colours that the model knows.
  package func prepared(_ image: RawImage) throws -> RawImage {
    let shape = description.model.inputShape
    guard takesPictures else {
      throw ModelFolderError("the model in \(folder.path) takes inputs of shape \(shape), which are no pictures")
    }
    return try description.prepared(image)
  }

  private func outputs(ofPrepared images: [RawImage]) throws -> Tensor {
    let pixels = try Tensor(images.flatMap(\.planes), shape: [images.count] + description.model.inputShape)
    return try outputs(pixels.to(.float32) / 255)
  }

  private func run(_ inputs: Tensor) throws -> Tensor {
    let inputs = try inputs.to(device)
    let outputs = try withoutGradient { () throws -> Tensor in
      // Texts come in all lengths, and their models have nothing to fold.
      guard folds, inputs.dtype.isFloatingPoint, inputs.shape[0] > 0, let plan = try plan(for: inputs) else {
        return try model(inputs)
      }
      return try plan(inputs)[0]
    }
    guard try outputs.isFinite().all() else {
      throw ModelFolderError(
        "the outputs of \(folder.path) hold numbers that are not finite: its weights are too large, or its inputs are not "
          + "those that it was trained with")
    }
    return try outputs.to(.cpu)
  }

  /// nil where nothing can be folded, or not without a difference.
  private func plan(for inputs: Tensor) throws -> FrozenPlan? {
    let shape = Array(inputs.shape.dropFirst())
    if plan?.shape != shape {
      plan = .none(shape: shape)
      for channelsLast in device.kind == .cpu ? [true, false] : [false] {
        guard let made = try? FrozenPlan(like: inputs, channelsLast: channelsLast, of: { [try model($0)] }),
          let deviation = try? made.deviation(), deviation <= Self.allowedDeviation
        else { continue }
        plan = .folded(made, shape: shape)
        break
      }
    }
    guard case .folded(let made, _) = plan else { return nil }
    return made
  }
}
