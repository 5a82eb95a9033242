import Synchronization
import Torch

/// Examples that lie one after the other in one block of memory, which may be a mapped file.
public final class ArrayDataset: Dataset {
  public let name: String
  public let count: Int
  public let exampleShape: [Int]
  public let classNames: [String]
  public let notices: [String]
  /// The type of the stored values: `uint8` or `float32`.
  public let elementType: DType
  /// The stored number that stands for 1 in what is read, for values of type `uint8`: 255 for most images.
  public let maximum: Float

  private let buffer: HostBuffer
  private let byteOffset: Int
  private let labels: [Int32]
  private let hash = Mutex<String?>(nil)

  /// A data set over `values`, without a copy.
  ///
  /// - Parameters:
  ///   - values: the examples, from `byteOffset` on, in row-major order
  ///   - elementType: `uint8` or `float32`
  ///   - maximum: what `uint8` values are divided by when they are read
  ///   - exampleShape: `[C, H, W]` for images, `[F]` for rows of a table
  ///   - labels: the class of each example, −1 for none; empty when nothing is labelled
  ///   - classNames: the names of the classes; empty for the numbers that occur, from 0 on
  ///   - notices: what a person should know of how it was read
  /// - Throws: `DataError` when these do not fit together.
  public init(
    name: String, values: HostBuffer, byteOffset: Int = 0, elementType: DType = .uint8, maximum: Float = 255,
    exampleShape: [Int], count: Int, labels: [Int32] = [], classNames: [String] = [], notices: [String] = []
  ) throws {
    guard elementType == .uint8 || elementType == .float32 else {
      throw DataError("\(name): values of type \(elementType) are not supported, only uint8 and float32")
    }
    guard exampleShape.count == 1 || exampleShape.count == 3, exampleShape.allSatisfy({ $0 > 0 }) else {
      throw DataError("\(name): the shape of an example is [C, H, W] or [F], not \(exampleShape)")
    }
    guard count > 0 else { throw DataError("\(name) has no examples") }
    guard maximum > 0, maximum.isFinite else { throw DataError("\(name): \(maximum) cannot stand for 1") }
    guard let byteCount = product([count, elementType.byteCount] + exampleShape),
      byteOffset >= 0, byteOffset <= values.bytes.count, byteCount <= values.bytes.count - byteOffset
    else {
      throw DataError(
        "\(name): \(count) examples of shape \(exampleShape) from byte \(byteOffset) on do not fit in "
          + "\(values.bytes.count) bytes")
    }
    guard labels.isEmpty || labels.count == count else {
      throw DataError("\(name): \(count) examples, but \(labels.count) labels")
    }
    let highest = Int(labels.max() ?? -1)
    let classNames = labels.isEmpty ? [] : classNames.isEmpty ? (0...max(highest, 0)).map(String.init) : classNames
    for (index, label) in labels.enumerated() where label < -1 || label >= classNames.count {
      throw DataError("\(name): example \(index) has the label \(label), but there are \(classNames.count) classes")
    }
    self.name = name
    self.count = count
    self.exampleShape = exampleShape
    self.classNames = classNames
    self.notices = notices
    self.elementType = elementType
    self.maximum = elementType == .uint8 ? maximum : 1
    self.labels = labels
    self.byteOffset = byteOffset
    buffer = values
  }

  /// A data set with a copy of `pixels`.
  public convenience init(
    name: String, pixels: [UInt8], maximum: Float = 255, exampleShape: [Int], labels: [Int] = [],
    classNames: [String] = []
  ) throws {
    try self.init(
      name: name, values: HostBuffer(pixels), elementType: .uint8, maximum: maximum, exampleShape: exampleShape,
      count: Self.count(of: pixels.count, in: exampleShape, name: name), labels: Self.checked(labels, name: name),
      classNames: classNames)
  }

  /// A data set with a copy of `values`.
  public convenience init(
    name: String, values: [Float], exampleShape: [Int], labels: [Int] = [], classNames: [String] = []
  ) throws {
    try self.init(
      name: name, values: HostBuffer(values), elementType: .float32, exampleShape: exampleShape,
      count: Self.count(of: values.count, in: exampleShape, name: name), labels: Self.checked(labels, name: name),
      classNames: classNames)
  }

  private static func count(of elements: Int, in shape: [Int], name: String) throws -> Int {
    guard let size = product(shape), size > 0, elements % size == 0 else {
      throw DataError("\(name): \(elements) values are not a whole number of examples of shape \(shape)")
    }
    return elements / size
  }

  private static func checked(_ labels: [Int], name: String) throws -> [Int32] {
    try labels.map { label in
      guard let number = Int32(exactly: label) else { throw DataError("\(name): \(label) cannot be a label") }
      return number
    }
  }

  public func label(at index: Int) -> Int { labels.indices.contains(index) ? Int(labels[index]) : -1 }

  public func read(_ index: Int, into destination: UnsafeMutableBufferPointer<Float>) throws {
    try checkRead(index, into: destination)
    guard let output = destination.baseAddress else { return }
    let elements = elementCount
    let source = start(of: index)
    if elementType == .float32 {
      UnsafeMutableRawPointer(output).copyMemory(from: source, byteCount: elements * MemoryLayout<Float>.stride)
    } else {
      let pixels = source.assumingMemoryBound(to: UInt8.self)
      for position in 0..<elements { output[position] = Float(pixels[position]) / maximum }
    }
  }

  /// Where the stored values of an example begin. Holds only while the data set lives, and only for its examples.
  func start(of index: Int) -> UnsafeRawPointer {
    UnsafeRawPointer(buffer.bytes.baseAddress.unsafelyUnwrapped)
      + (byteOffset + index * elementCount * elementType.byteCount)
  }

  public var contentHash: String {
    get throws {
      try hash.withLock { known in
        if let known { return known }
        let digest = try SHA256()
        let head = "shape \(exampleShape) count \(count) type \(elementType) maximum \(maximum) classes \(classNames)\n"
        try digest.update(Array(head.utf8))
        let byteCount = count * elementCount * elementType.byteCount
        try digest.update(UnsafeRawBufferPointer(start: start(of: 0), count: byteCount))
        try labels.withUnsafeBytes { try digest.update($0) }
        let found = try digest.hex()
        known = found
        return found
      }
    }
  }

  /// A data set with a copy of some of the examples, in the order given.
  public func selecting(_ examples: [Int], name: String) throws -> ArrayDataset {
    let size = elementCount * elementType.byteCount
    let values = HostBuffer(byteCount: examples.count * size)
    for (position, index) in examples.enumerated() {
      guard index >= 0, index < count else {
        throw DataError("\(self.name) has \(count) examples, and so no number \(index)")
      }
      let part = UnsafeMutableRawBufferPointer(rebasing: values.bytes[position * size..<(position + 1) * size])
      part.copyMemory(from: UnsafeRawBufferPointer(start: start(of: index), count: size))
    }
    return try ArrayDataset(
      name: name, values: values, elementType: elementType, maximum: maximum, exampleShape: exampleShape,
      count: examples.count, labels: labels.isEmpty ? [] : examples.map { labels[$0] }, classNames: classNames)
  }
}
