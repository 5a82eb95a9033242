import Torch

/// Gathers examples into a batch: varies, normalizes and lays out each of them in one pass. Holds nothing that changes,
/// so any number of threads can use it.
struct BatchMaker: Sendable {
  private let dataset: any Dataset
  /// The data set if its values are bytes, which go through `table`.
  private let bytes: ArrayDataset?
  /// The normalized number for each byte, 256 for each channel.
  private let table: [Float]
  private let mean: [Float]
  private let deviation: [Float]
  private let seed: UInt64
  private let single: [AugmentationStep]
  private let mixing: [AugmentationStep]
  private let partners: [Int]
  private let isHidden: [Bool]
  private let channelsLast: Bool
  private let trimsTexts: Bool
  /// What a teacher sees; `same` wherever that comes to the same.
  private let teacherView: TeacherView
  private let teacherViewIsFixed: Bool

  init(dataset: any Dataset, examples: [Int], options: DataLoader.Options) throws {
    try options.augmentation.check(exampleShape: dataset.exampleShape)
    let isText = dataset.predictsTokens || dataset.textLength(at: 0) != nil
    guard !isText || (options.augmentation.isEmpty && options.normalization == nil) else {
      throw DataError("\(dataset.name) has tokens, which are numbers of things: they cannot be augmented or normalized")
    }
    let channels = dataset.channelCount
    let identity = Normalization(mean: [0], standardDeviation: [1])
    (mean, deviation) = try (options.normalization ?? identity).expanded(to: channels)
    let array = (dataset as? ArrayDataset).flatMap { $0.elementType == .uint8 ? $0 : nil }
    bytes = array
    var table: [Float] = []
    if let array {
      for channel in 0..<channels {
        for value in 0..<256 {
          table.append((Float(value) / array.maximum - mean[channel]) / deviation[channel])
        }
      }
    }
    self.table = table
    self.dataset = dataset
    seed = options.augmentationSeed ?? options.seed
    single = options.augmentation.single
    mixing = options.augmentation.mixing
    partners = examples
    var isHidden: [Bool] = []
    if !options.hiddenLabels.isEmpty {
      isHidden = Array(repeating: false, count: dataset.count)
      for id in options.hiddenLabels {
        guard isHidden.indices.contains(id) else { throw DataError("\(dataset.name) has no example \(id) to hide") }
        isHidden[id] = true
      }
    }
    self.isHidden = isHidden
    channelsLast = options.channelsLast && dataset.exampleShape.count == 3
    trimsTexts = options.trimsTexts
    teacherView = options.effectiveTeacherView
    teacherViewIsFixed = options.teacherViewIsFixed
  }

  /// The batch of these examples, in this order.
  ///
  /// - Parameter isShared: whether libtorch's threads make it together, or this one alone
  func make(_ ids: [Int], view: Int, isShared: Bool = false) throws -> HostBatch {
    for id in ids where id < 0 || id >= dataset.count {
      throw DataError("\(dataset.name) has \(dataset.count) examples, and so no number \(id)")
    }
    let size = dataset.elementCount
    let byteCount = ids.count * size * MemoryLayout<Float>.stride
    var batch = HostBatch(
      ids: ids, inputs: HostBuffer(byteCount: byteCount), shape: [ids.count] + dataset.exampleShape,
      channelsLast: channelsLast, labels: ids.map(label), view: view)
    if teacherView != .same { batch.teacherInputs = HostBuffer(byteCount: byteCount) }
    if teacherViewIsFixed { batch.teacherView = 0 }
    if dataset.predictsTokens { batch.tokenLabels = try tokenLabels(ids) }
    let mixtures = mixing.isEmpty ? [] : ids.map { mixture(of: $0, view) }
    if !mixtures.isEmpty {
      batch.secondLabels = mixtures.map { label($0.partner) }
      batch.secondWeights = mixtures.map(\.weight)
    }
    let (inputs, teacherInputs) = (batch.inputs, batch.teacherInputs)
    let make: @Sendable (Range<Int>) throws -> Void = { rows in
      try write(rows, of: ids, mixtures, view, to: inputs, teacher: teacherInputs)
    }
    if isShared {
      try TorchRuntime.share(ids.count, grain: Self.worthSharing / max(1, size), make)
    } else {
      try make(0..<ids.count)
    }
    let lengths = ids.compactMap { dataset.textLength(at: $0) }
    if lengths.count == ids.count {
      batch.textLengths = lengths
      if trimsTexts { batch.trimTexts() }
    }
    return batch
  }

  /// Numbers that a thread should have to write at least: to begin and to end together takes as long as a few thousand.
  private static let worthSharing = 1 << 14

  private func mixture(of id: Int, _ view: Int) -> Mixture {
    var random = RandomSource(seed: seed, "mixing", UInt64(id), UInt64(view))
    return Mixture.drawn(from: mixing, partners: partners, shape: dataset.exampleShape, &random)
  }

  /// Writes some rows of a batch.
  private func write(
    _ rows: Range<Int>, of ids: [Int], _ mixtures: [Mixture], _ view: Int, to inputs: HostBuffer, teacher: HostBuffer?
  ) throws {
    let size = dataset.elementCount
    let scratch = Scratch(elements: size)
    defer { withExtendedLifetime((inputs, teacher, scratch)) {} }
    guard let start = inputs.bytes.bindMemory(to: Float.self).baseAddress else { return }
    let teacherStart = teacher?.bytes.bindMemory(to: Float.self).baseAddress
    for row in rows {
      if let bytes, row + 1 < rows.upperBound {
        fetch(UnsafeRawBufferPointer(start: bytes.start(of: ids[row + 1]), count: size))
      }
      let output = start + row * size
      let teacherOutput = teacherStart.map { $0 + row * size }
      try write(ids[row], view, to: output, teacher: teacherOutput, scratch)
      guard !mixtures.isEmpty else { continue }
      let mixture = mixtures[row]
      let teacherSecond = teacherOutput.map { _ in scratch.second + size }
      try write(mixture.partner, view, to: scratch.second, teacher: teacherSecond, scratch)
      mixture.mix(output, scratch.second, shape: dataset.exampleShape, channelsLast: channelsLast)
      if let teacherOutput {
        mixture.mix(teacherOutput, scratch.second + size, shape: dataset.exampleShape, channelsLast: channelsLast)
      }
    }
  }

  private func tokenLabels(_ ids: [Int]) throws -> TokenLabels {
    var all = TokenLabels(length: 0)
    for id in ids {
      guard var own = try dataset.tokenLabels(at: id) else { continue }
      if !isHidden.isEmpty, isHidden[id] { own.labels = own.labels.map { _ in -1 } }
      all.append(own)
    }
    return all
  }

  private func label(_ id: Int) -> Int { !isHidden.isEmpty && isHidden[id] ? -1 : dataset.label(at: id) }

  /// Memory that the examples of a batch use one after the other.
  private final class Scratch {
    let bytes: UnsafeMutablePointer<UInt8>
    let floats: UnsafeMutablePointer<Float>
    /// The example as it was read, where it is varied twice.
    let original: UnsafeMutablePointer<Float>
    /// The example that is mixed in, as the student sees it, and as a teacher does.
    let second: UnsafeMutablePointer<Float>

    init(elements: Int) {
      bytes = .allocate(capacity: 2 * elements)
      floats = .allocate(capacity: 2 * elements)
      original = .allocate(capacity: elements)
      second = .allocate(capacity: 2 * elements)
    }

    deinit {
      bytes.deallocate()
      floats.deallocate()
      original.deallocate()
      second.deallocate()
    }
  }

  /// Writes one varied and normalized example, and beside it what a teacher sees of it.
  private func write(
    _ id: Int, _ view: Int, to output: UnsafeMutablePointer<Float>, teacher: UnsafeMutablePointer<Float>?,
    _ scratch: Scratch
  ) throws {
    let draws = (student: "augmentation", teacher: "teacher's augmentation")
    if let bytes {
      let source = bytes.start(of: id).assumingMemoryBound(to: UInt8.self)
      let cover = single.isEmpty ? [] : coverBytes(bytes)
      convert(varied(source, id, view, draws.student, in: scratch.bytes, cover: cover), to: output)
      guard let teacher else { return }
      let other =
        teacherView == .plain ? source : varied(source, id, view, draws.teacher, in: scratch.bytes, cover: cover)
      convert(other, to: teacher)
    } else {
      let read = teacher == nil ? scratch.floats : scratch.original
      try dataset.read(id, into: UnsafeMutableBufferPointer(start: read, count: dataset.elementCount))
      let source = UnsafePointer(read)
      normalize(varied(source, id, view, draws.student, in: scratch.floats, cover: mean), to: output)
      guard let teacher else { return }
      let other =
        teacherView == .plain ? source : varied(source, id, view, draws.teacher, in: scratch.floats, cover: mean)
      normalize(other, to: teacher)
    }
  }

  /// An example after all steps that change one at a time; made in `memory`, which has room for two.
  ///
  /// - Parameter draw: the name of the random numbers: two draws of one view have nothing in common
  private func varied<Element: Numeric & BitwiseCopyable>(
    _ source: UnsafePointer<Element>, _ id: Int, _ view: Int, _ draw: String,
    in memory: UnsafeMutablePointer<Element>, cover: [Element]
  ) -> UnsafePointer<Element> {
    if single.isEmpty { return source }
    if source != UnsafePointer(memory) { memory.update(from: source, count: dataset.elementCount) }
    var random = RandomSource(seed: seed, draw, UInt64(id), UInt64(view))
    var editor = PixelEditor(memory: memory, shape: dataset.exampleShape, cover: cover)
    editor.apply(single, &random)
    return UnsafePointer(editor.pixels)
  }

  /// The bytes nearest to the mean of each channel.
  private func coverBytes(_ dataset: ArrayDataset) -> [UInt8] {
    mean.map { UInt8(min(255, max(0, ($0 * dataset.maximum).rounded()))) }
  }

  /// Looks up every byte.
  private func convert(_ source: UnsafePointer<UInt8>, to output: UnsafeMutablePointer<Float>) {
    let channels = mean.count
    let pixels = dataset.elementCount / channels
    let step = channelsLast ? channels : 1
    table.withUnsafeBufferPointer { table in
      guard let table = table.baseAddress else { return }
      for channel in 0..<channels {
        let input = source + channel * pixels
        let numbers = table + channel * 256
        let target = output + (channelsLast ? channel : channel * pixels)
        if step == 1 {
          lookUp(input, count: pixels, in: numbers, to: target)
        } else {
          for pixel in 0..<pixels { target[pixel &* step] = numbers[Int(input[pixel])] }
        }
      }
    }
  }

  /// Subtracts the mean and divides by the deviation.
  private func normalize(_ source: UnsafePointer<Float>, to output: UnsafeMutablePointer<Float>) {
    let channels = mean.count
    let pixels = dataset.elementCount / channels
    let step = channelsLast ? channels : 1
    for channel in 0..<channels {
      let input = source + channel * pixels
      let target = output + (channelsLast ? channel : channel * pixels)
      let (mean, deviation) = (mean[channel], deviation[channel])
      for pixel in 0..<pixels { target[pixel &* step] = (input[pixel] - mean) / deviation }
    }
  }
}
