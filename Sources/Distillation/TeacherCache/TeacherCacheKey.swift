import DistillData
import Foundation
import Torch

extension TeacherCache {
  /// All that a teacher's outputs depend on: outputs whose key is another are those of something else.
  public struct Key: Codable, Equatable, Sendable {
    /// The examples that were labelled.
    public struct Data: Codable, Equatable, Sendable {
      /// For people; it makes no difference.
      public var name: String
      /// The data set's `contentHash`.
      public var contentHash: String
      public var exampleCount: Int
      /// The SHA-256 of the examples' numbers in rising order, each as eight bytes, the lowest first.
      public var examplesHash: String

      public init(name: String, contentHash: String, examples: [Int]) throws {
        let ids = examples.ascendingSet
        self.name = name
        self.contentHash = contentHash
        exampleCount = ids.count
        examplesHash = try ids.map { Int64($0).littleEndian }.withUnsafeBytes { try SHA256.hex(of: $0) }
      }

      private enum CodingKeys: String, CodingKey {
        case name
        case contentHash = "content_hash"
        case exampleCount = "example_count"
        case examplesHash = "examples_hash"
      }
    }

    /// One model that teaches.
    public struct Member: Codable, Equatable, Sendable {
      public var name: String
      /// The SHA-256 of the file of its weights; of outputs that were brought from elsewhere, of their file.
      public var weights: String

      public init(name: String, weights: String) {
        self.name = name
        self.weights = weights
      }
    }

    public struct Teacher: Codable, Equatable, Sendable {
      /// The mode of outputs that another program computed.
      public static let imported = "imported"

      public var members: [Member]
      /// `evaluation`, or `imported`; what else there may be, whoever makes the key says.
      public var mode: String
      /// What it was computed in, such as `float32`.
      public var precision: String
      /// The number of classes of the data.
      public var classCount: Int
      /// Whatever else changes what it says, such as channels-last memory; empty where nothing does.
      public var settings: [String: String]

      public init(
        members: [Member], mode: String = "evaluation", precision: String = "float32", classCount: Int,
        settings: [String: String] = [:]
      ) {
        self.members = members
        self.mode = mode
        self.precision = precision
        self.classCount = classCount
        self.settings = settings
      }

      private enum CodingKeys: String, CodingKey {
        case members, mode, precision
        case classCount = "class_count"
        case settings
      }
    }

    public var data: Data
    public var inputs: InputIdentity
    /// How many views of each example the teacher saw.
    public var views: Int
    public var teacher: Teacher

    public init(data: Data, inputs: InputIdentity, views: Int, teacher: Teacher) {
      self.data = data
      self.inputs = inputs
      self.views = views
      self.teacher = teacher
    }

    /// The key of what a teacher says of all that a loader shows.
    ///
    /// - Throws: `DistillationError` when the loader shows new views all the time, which nobody can label beforehand.
    public init(_ loader: DataLoader, teacher: Teacher) throws {
      guard let views = loader.teacherViews else {
        throw DistillationError(
          "the training shows a new view of each example in each epoch, which cannot be labelled beforehand: give a "
            + "number of views, or let the teacher see the plain examples")
      }
      self.init(
        data: try Data(
          name: loader.dataset.name, contentHash: loader.dataset.contentHash, examples: loader.examples),
        inputs: try loader.teacherInputs, views: views, teacher: teacher)
    }

    private static func words(_ views: Int) -> String { views == 1 ? "1 view" : "\(views) views" }

    /// A sentence for each thing in which this key is not `other`; none where they are the same.
    public func differences(from other: Key) -> [String] {
      var sentences = obstacles(to: other)
      if data.contentHash == other.data.contentHash {
        if data.exampleCount != other.data.exampleCount {
          sentences.append("it is of \(data.exampleCount) examples, not \(other.data.exampleCount)")
        } else if data.examplesHash != other.data.examplesHash {
          sentences.append("it is of other examples of the same data, as many")
        }
      }
      if views > other.views { sentences.append("it has \(Self.words(views)) of each example, not \(other.views)") }
      return sentences
    }

    /// A sentence for each thing that keeps outputs of this key from being used where those of `wanted` are. They may be
    /// of more views and of more examples: that all examples of a training are there, `PrecomputedTeacher.requireFit`
    /// sees.
    public func obstacles(to wanted: Key) -> [String] {
      var sentences: [String] = []
      if data.contentHash != wanted.data.contentHash {
        sentences.append("it was made on other data: \(data.words), not \(wanted.data.words)")
      }
      sentences += inputs.differences(from: wanted.inputs)
      if views < wanted.views { sentences.append("it has \(Self.words(views)) of each example, not \(wanted.views)") }
      return sentences + teacher.differences(from: wanted.teacher)
    }
  }
}

extension TeacherCache.Key.Data {
  fileprivate var words: String { "\(name) (\(contentHash.prefix(12))…)" }
}

extension TeacherCache.Key.Teacher {
  /// A sentence for each thing in which this teacher is not `other`.
  public func differences(from other: Self) -> [String] {
    var sentences: [String] = []
    let areBothImported = mode == Self.imported && other.mode == Self.imported
    if members.map(\.name) != other.members.map(\.name) {
      let (own, others) = (members.map(\.name), other.members.map(\.name))
      if areBothImported {
        sentences.append("it was made of \(own.quoted), not of \(others.quoted)")
      } else {
        sentences.append("the teacher's members are \(own.quoted), not \(others.quoted)")
      }
    } else {
      for (own, others) in zip(members, other.members) where own.weights != others.weights {
        if areBothImported {
          sentences.append(
            "the file '\(own.name)' had other contents (\(own.weights.prefix(12))…, not \(others.weights.prefix(12))…)")
          continue
        }
        let whose = members.count == 1 ? "the teacher" : "the member '\(own.name)'"
        sentences.append("\(whose) had other weights (\(own.weights.prefix(12))…, not \(others.weights.prefix(12))…)")
      }
    }
    if mode != other.mode { sentences.append("the teacher's mode was \(mode), not \(other.mode)") }
    if precision != other.precision {
      sentences.append("the teacher was computed in \(precision), not \(other.precision)")
    }
    if classCount != other.classCount {
      sentences.append("the teacher has \(classCount) classes, not \(other.classCount)")
    }
    for name in Set(settings.keys).union(other.settings.keys).sorted() where settings[name] != other.settings[name] {
      sentences.append("the teacher's \(name) is \(settings[name] ?? "none"), not \(other.settings[name] ?? "none")")
    }
    return sentences
  }
}

extension [String] {
  fileprivate var quoted: String { map { "'\($0)'" }.joined(separator: ", ") }
}

extension [Int] {
  /// Each number once, in rising order.
  var ascendingSet: [Int] {
    var last: Int?
    return sorted().filter { number in
      defer { last = number }
      return number != last
    }
  }
}
