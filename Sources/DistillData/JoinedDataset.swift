import Synchronization
import Torch

/// A data set and, after its examples, those of others: a transfer set can be larger than what we have labels for.
///
/// The first data set says what an example is: its shape, its classes, and whether it is an image. Its examples keep
/// their numbers; those of the others follow, part after part, each with a number of its own (see `ranges`). So a division
/// of the first data set into training and validation holds here too.
///
/// Images of another size or number of channels are brought to those of the first: shrunk by the mean of the area that a
/// pixel covers, enlarged by interpolation, from colour to grey by luma (ITU-R BT.601), from grey to colour by three equal
/// channels. Everything else has to have the shape of the first, and texts its vocabulary.
public final class JoinedDataset: Dataset {
  /// What becomes of the labels of a part.
  public enum LabelUse: String, Codable, Sendable, CaseIterable {
    /// A label counts where the first data set has a class of the same name; other examples count as unlabelled.
    case byName = "by_name"
    /// All of them count as unlabelled: for data whose classes are others than ours, such as images of another domain.
    case unused
  }

  /// A data set whose examples follow.
  public struct Part: Sendable {
    public var dataset: any Dataset
    /// Which ones of its examples; nil: all.
    public var examples: [Int]?
    public var labels: LabelUse

    public init(_ dataset: any Dataset, examples: [Int]? = nil, labels: LabelUse = .unused) {
      self.dataset = dataset
      self.examples = examples
      self.labels = labels
    }
  }

  public let name: String
  public let count: Int
  public let exampleShape: [Int]
  public let classNames: [String]
  public let notices: [String]
  public let isImage: Bool
  public let predictsTokens: Bool
  /// The numbers of the examples of each part, beginning with those of the first data set.
  public let ranges: [Range<Int>]

  private let members: [Member]
  private let hash = Mutex<String?>(nil)

  /// - Throws: `DataError` when examples of a part cannot be brought to the shape of the first, do not exist, or when none
  ///   of the classes of a part that is labelled by name is one of ours.
  public init(_ first: any Dataset, and parts: [Part], name: String? = nil) throws {
    self.name = name ?? ([first.name] + parts.map(\.dataset.name)).joined(separator: " + ")
    exampleShape = first.exampleShape
    classNames = first.classNames
    isImage = first.isImage
    predictsTokens = first.predictsTokens
    var members = [Member(first)]
    var notices = first.notices
    var start = first.count
    var ranges = [0..<start]
    for part in parts {
      let member = try Member(part, like: first, from: start)
      members.append(member)
      notices += part.dataset.notices + member.notices
      ranges.append(start..<start + member.count)
      start += member.count
    }
    count = start
    self.members = members
    self.notices = notices
    self.ranges = ranges
  }

  public func label(at index: Int) -> Int {
    guard index >= 0, index < count else { return -1 }
    let member = member(of: index)
    return member.label(member.dataset.label(at: member.place(of: index)))
  }

  public func textLength(at index: Int) -> Int? {
    guard index >= 0, index < count else { return nil }
    let member = member(of: index)
    return member.dataset.textLength(at: member.place(of: index))
  }

  public func tokenLabels(at index: Int) throws -> TokenLabels? {
    guard index >= 0, index < count else { throw DataError("\(name) has \(count) examples, and so no number \(index)") }
    let member = member(of: index)
    guard var found = try member.dataset.tokenLabels(at: member.place(of: index)) else { return nil }
    found.labels = found.labels.map(member.label)
    return found
  }

  public func read(_ index: Int, into destination: UnsafeMutableBufferPointer<Float>) throws {
    try checkRead(index, into: destination)
    let member = member(of: index)
    let place = member.place(of: index)
    guard let adapter = member.adapter, let output = destination.baseAddress else {
      return try member.dataset.read(place, into: destination)
    }
    try withUnsafeTemporaryAllocation(of: Float.self, capacity: member.dataset.elementCount) { pixels in
      try member.dataset.read(place, into: pixels)
      guard let input = pixels.baseAddress else { return }
      adapter.adapt(input, to: output)
    }
  }

  public var contentHash: String {
    get throws {
      try hash.withLock { known in
        if let known { return known }
        var text = "joined 1, shape \(exampleShape) classes \(classNames)\n"
        for member in members {
          let chosen = try member.examples.map { try $0.withUnsafeBytes { try SHA256.hex(of: $0) } } ?? "all"
          let labels = member.labels.map { "\($0)" } ?? "own"
          text += "\(try member.dataset.contentHash) examples \(chosen) labels \(labels)\n"
        }
        let found = try SHA256.hex(of: text)
        known = found
        return found
      }
    }
  }

  /// The part that an example is of. There are few, so they are looked through.
  private func member(of index: Int) -> Member { members.last { index >= $0.start } ?? members[0] }

  private struct Member {
    let dataset: any Dataset
    let examples: [Int]?
    /// The number of its first example here.
    let start: Int
    let count: Int
    /// Our label for each of its labels, −1 for none; nil: they are ours.
    let labels: [Int]?
    /// nil where its examples have our shape.
    let adapter: ImageAdapter?
    let notices: [String]

    func place(of index: Int) -> Int { examples.map { $0[index - start] } ?? index - start }

    /// Our label for one of its own.
    func label(_ theirs: Int) -> Int {
      guard let labels else { return theirs }
      return labels.indices.contains(theirs) ? labels[theirs] : -1
    }

    init(_ first: any Dataset) {
      dataset = first
      examples = nil
      start = 0
      count = first.count
      labels = nil
      adapter = nil
      notices = []
    }

    init(_ part: Part, like first: any Dataset, from start: Int) throws {
      dataset = part.dataset
      examples = part.examples
      self.start = start
      count = part.examples?.count ?? part.dataset.count
      for index in part.examples ?? [] where index < 0 || index >= part.dataset.count {
        throw DataError("\(part.dataset.name) has \(part.dataset.count) examples, and so no number \(index)")
      }
      var notices: [String] = []
      adapter = try Self.adapter(from: part.dataset, to: first, &notices)
      labels = try Self.labels(of: part, in: first, count: count, &notices)
      self.notices = notices
    }

    private static func adapter(
      from part: any Dataset, to first: any Dataset, _ notices: inout [String]
    ) throws -> ImageAdapter? {
      let (theirs, ours) = (part.exampleShape, first.exampleShape)
      guard part.isImage == first.isImage, theirs == ours || part.isImage else {
        throw DataError(
          "the examples of \(part.name), \(theirs), cannot be put beside those of \(first.name), \(ours)",
          remedy: "Only images are brought to another size; a table has to have the same columns")
      }
      guard part.predictsTokens == first.predictsTokens, !part.predictsTokens || part.classNames == first.classNames
      else {
        throw DataError(
          "the tokens of \(part.name) are not numbers of the same things as those of \(first.name)",
          remedy: "Read both with one vocabulary")
      }
      if theirs == ours { return nil }
      guard let adapter = ImageAdapter(from: theirs, to: ours) else {
        throw DataError(
          "the images of \(part.name) have \(theirs[0]) channels and cannot be brought to the \(ours[0]) of \(first.name)",
          remedy: "Only grey (1) and colour (3) can be brought to each other")
      }
      notices.append(
        "the images of \(part.name), \(theirs), are brought to the shape of those of \(first.name), \(ours)")
      return adapter
    }

    /// Our label for each of a part's labels.
    private static func labels(
      of part: Part, in first: any Dataset, count: Int, _ notices: inout [String]
    ) throws -> [Int] {
      let names = part.dataset.classNames
      guard part.labels == .byName, !names.isEmpty else { return [] }
      let labels = names.map { first.classNames.firstIndex(of: $0) ?? -1 }
      guard labels.contains(where: { $0 >= 0 }) else {
        throw DataError(
          "\(part.dataset.name) has no class in common with \(first.name): \(list(names)), not \(list(first.classNames))",
          remedy: "Leave its labels unused, or name its classes as ours")
      }
      let strange = names.indices.filter { labels[$0] < 0 }.map { names[$0] }
      if !strange.isEmpty {
        notices.append(
          "\(first.name) has no class \(list(strange)): examples of \(part.dataset.name) with such a label count as "
            + "unlabelled")
      }
      return labels
    }

    private static func list(_ names: [String]) -> String {
      names.prefix(10).joined(separator: ", ") + (names.count > 10 ? ", …" : "")
    }
  }
}
