/// Examples with inputs of one shape, and their labels. Immutable, and shared between threads.
///
/// An example is known by its index, from 0 to `count` − 1, for as long as the data set stays the same: batches carry
/// these numbers as `ids`, and what a teacher said about an example is found again by its number.
public protocol Dataset: Sendable {
  var name: String { get }

  /// The number of examples.
  var count: Int { get }

  /// The shape of one input: `[C, H, W]` for images, `[F]` for rows of a table.
  var exampleShape: [Int] { get }

  /// The name of each class, in the order of the labels; empty when nothing is labelled.
  var classNames: [String] { get }

  /// What a person should know of how it was read, such as files that were left out.
  var notices: [String] { get }

  /// Whether the inputs are images, whose pixels are read as numbers from 0 to 1.
  var isImage: Bool { get }

  /// Whether an example is a sequence of tokens with a label for each, which a model gives an output for.
  var predictsTokens: Bool { get }

  /// The labels of an example's tokens; nil where `predictsTokens` is false.
  func tokenLabels(at index: Int) throws -> TokenLabels?

  /// How many of the first numbers of an example are text, where the rest fills it up; nil where nothing does. A loader
  /// leaves out what is text in no example of a batch.
  func textLength(at index: Int) -> Int?

  /// The class of an example; −1 when it has none.
  func label(at index: Int) -> Int

  /// Writes an example as float32 in row-major order: pixels as numbers from 0 to 1, values of a table as they are.
  ///
  /// - Throws: `DataError` when there is no such example, or it cannot be read.
  func read(_ index: Int, into destination: UnsafeMutableBufferPointer<Float>) throws

  /// The SHA-256, in hexadecimal, of everything that a model sees: shapes, inputs, labels, and class names. It tells
  /// whether stored teacher outputs belong to this data.
  var contentHash: String { get throws }
}

extension Dataset {
  /// The number of classes.
  public var classCount: Int { classNames.count }

  /// The number of values of one input.
  public var elementCount: Int { exampleShape.reduce(1, *) }

  /// The number of channels of an image, or of columns of a table: what normalization has numbers for.
  public var channelCount: Int { exampleShape.first ?? 1 }

  public var notices: [String] { [] }

  public var isImage: Bool { exampleShape.count == 3 }

  public var predictsTokens: Bool { false }

  public func tokenLabels(at index: Int) throws -> TokenLabels? { nil }

  public func textLength(at index: Int) -> Int? { nil }

  /// The label of the class with this name.
  ///
  /// - Throws: `DataError` that lists the classes when there is no such one.
  public func label(ofClass name: String) throws -> Int {
    if let label = classNames.firstIndex(of: name) { return label }
    let names = classNames.prefix(20).joined(separator: ", ") + (classCount > 20 ? ", …" : "")
    throw DataError(
      "\(self.name) has no class called \(name)",
      remedy: classNames.isEmpty ? "None of its examples is labelled" : "Its classes are \(names)")
  }

  /// The values of one example, in row-major order.
  public func values(at index: Int) throws -> [Float] {
    let values = UnsafeMutableBufferPointer<Float>.allocate(capacity: elementCount)
    defer { values.deallocate() }
    try read(index, into: values)
    return Array(values)
  }

  /// Throws unless `index` is the number of an example and `destination` has room for it.
  func checkRead(_ index: Int, into destination: UnsafeMutableBufferPointer<Float>) throws {
    guard index >= 0, index < count else { throw DataError("\(name) has \(count) examples, and so no number \(index)") }
    guard destination.count >= elementCount else {
      throw DataError("an example of \(name) has \(elementCount) values and does not fit in \(destination.count)")
    }
  }
}
