import Torch

/// Some examples, ready for a model, as plain memory that may go from one thread to another.
public struct HostBatch: Sendable {
  /// The numbers of the examples.
  public var ids: [Int]
  /// The inputs as float32; see `channelsLast` for their order.
  public var inputs: HostBuffer
  /// `[N, C, H, W]` or `[N, F]`
  public var shape: [Int]
  /// Whether images lie in memory as `[N, H, W, C]`, whatever their `shape` says.
  public var channelsLast: Bool
  /// The class of each example; −1 where it has none, or where it is withheld.
  public var labels: [Int]
  /// Which augmented view of the examples this is.
  public var view: Int
  /// The class of the example that was mixed into each one; nil when nothing was mixed.
  public var secondLabels: [Int]?
  /// How much of each input is the second example, from 0 to 1; nil when nothing was mixed.
  public var secondWeights: [Float]?
  /// The labels of the tokens, `[N · L]`, where the examples are sequences with a label for each; nil where they are not.
  public var tokenLabels: TokenLabels?
  /// How many of the first numbers of each example are text, where the rest fills it up; nil where nothing does.
  public var textLengths: [Int]?
  /// What a teacher sees of the examples where that is something else, laid out as `inputs`; nil: the very same.
  public var teacherInputs: HostBuffer?
  /// Which view of the examples a teacher sees: `view`, or 0 where it always sees the same.
  public var teacherView: Int

  public init(
    ids: [Int], inputs: HostBuffer, shape: [Int], channelsLast: Bool = false, labels: [Int], view: Int = 0,
    secondLabels: [Int]? = nil, secondWeights: [Float]? = nil
  ) {
    self.ids = ids
    self.inputs = inputs
    self.shape = shape
    self.channelsLast = channelsLast
    self.labels = labels
    self.view = view
    self.secondLabels = secondLabels
    self.secondWeights = secondWeights
    teacherView = view
  }
}

/// Some examples as tensors. Made on the thread that trains.
public struct Batch {
  /// The numbers of the examples.
  public var ids: [Int]
  /// `[N, C, H, W]` or `[N, F]`, float32; for sequences `[N, L]` or `[N, L, F]`
  public var inputs: Tensor
  /// `[N]`, int64; −1 where an example has no label, or where it is withheld. Where the model gives an output for each token
  /// of a sequence, `[R]`: one for each token that counts.
  public var labels: Tensor
  /// How many of the labels are there.
  public var labelledCount: Int
  /// Which augmented view of the examples this is.
  public var view: Int
  /// `[N]`, int64: the class of the example that was mixed into each one; nil when nothing was mixed.
  public var secondLabels: Tensor?
  /// `[N]`, float32: how much of each input is the second example, from 0 to 1; nil when nothing was mixed.
  public var secondWeights: Tensor?
  /// What a teacher sees of the examples where that is something else, of the shape of `inputs`; nil: the very same. See
  /// `inputsForTeacher`.
  public var teacherInputs: Tensor?
  /// Which view of the examples a teacher sees: `view`, or 0 where it always sees the same.
  public var teacherView: Int
  /// Which tokens count, where each example is a sequence; nil where it is none.
  public var tokens: Tokens?
  /// Whether the model gives an output for each token.
  public var predictsTokens = false
  /// Whether the inputs were written by a model just now, so that nothing is known of them beforehand.
  public var isGenerated = false

  /// The transformations whose copies of the examples follow the plain ones; see `withCopies`.
  public internal(set) var copies: [InputTransformation] = []

  /// How many examples there are without the transformed copies.
  public var plainCount: Int { ids.count / (copies.count + 1) }

  /// The number of examples, transformed copies among them.
  public var count: Int { ids.count }

  /// What a teacher is shown: every teacher that runs a model runs it on this.
  public var inputsForTeacher: Tensor { teacherInputs ?? inputs }

  public init(
    ids: [Int], inputs: Tensor, labels: Tensor, labelledCount: Int, view: Int = 0, secondLabels: Tensor? = nil,
    secondWeights: Tensor? = nil
  ) {
    self.ids = ids
    self.inputs = inputs
    self.labels = labels
    self.labelledCount = labelledCount
    self.view = view
    self.secondLabels = secondLabels
    self.secondWeights = secondWeights
    teacherView = view
  }

  /// Tensors over the memory of `host`, without a copy where the device is the processor.
  public init(_ host: HostBatch, device: Device = .cpu) throws {
    ids = host.ids
    view = host.view
    inputs = try host.tensor(host.inputs, device)
    teacherInputs = try host.teacherInputs.map { try host.tensor($0, device) }
    teacherView = host.teacherView
    labels = try Tensor(host.labels).to(device)
    labelledCount = host.labels.count { $0 >= 0 }
    secondLabels = try host.secondLabels.map { try Tensor($0).to(device) }
    secondWeights = try host.secondWeights.map { try Tensor($0).to(device) }
    if let labels = host.tokenLabels { try use(labels, device: device) }
    if let lengths = host.textLengths {
      let mask = lengths.flatMap { length in (0..<host.shape[1]).map { $0 < length } }
      tokens = try Tokens(mask: Tensor(mask, shape: host.shape).to(device))
    }
  }
}

extension HostBatch {
  /// Leaves out the columns in which no example has text, but for as many as make their number a multiple of an eighth of
  /// the whole: batches come in eight lengths at most, for each of which a frozen teacher is written down once.
  mutating func trimTexts() {
    guard let longest = textLengths?.max() else { return }
    let (rows, whole) = (shape[0], shape[1])
    let step = max(8, (whole + 7) / 8)
    let kept = min(whole, max(1, (longest + step - 1) / step) * step)
    guard kept < whole else { return }
    let (old, new) = (inputs, HostBuffer(byteCount: rows * kept * MemoryLayout<Float>.stride))
    for row in 0..<rows {
      let from = row * whole * MemoryLayout<Float>.stride
      let to = row * kept * MemoryLayout<Float>.stride
      let size = kept * MemoryLayout<Float>.stride
      UnsafeMutableRawBufferPointer(rebasing: new.bytes[to..<to + size])
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: old.bytes[from..<from + size]))
    }
    inputs = new
    shape[1] = kept
  }

  /// A tensor `shape` over inputs that lie in memory as those of the batch do.
  fileprivate func tensor(_ inputs: HostBuffer, _ device: Device) throws -> Tensor {
    guard channelsLast, shape.count == 4 else {
      return try Tensor(inputs, shape: shape, dtype: .float32).to(device)
    }
    let stored = [shape[0], shape[2], shape[3], shape[1]]
    return try Tensor(inputs, shape: stored, dtype: .float32).to(device).permuted([0, 3, 1, 2])
      .contiguous(.channelsLast)
  }
}
