import DistillData
import Foundation
import Torch
import TorchNN

extension TeacherCache {
  /// What a cache is to hold: the file `cache.json`, which is written first and never again.
  public struct Description: Codable, Equatable, Sendable {
    public static let formatName = "distill teacher cache"
    public static let currentVersion = 1

    public var format = formatName
    public var version = currentVersion
    public var key: Key
    public var contents: Contents
    public var shards: ShardPlan
  }

  /// What is kept of each example.
  public struct Contents: Codable, Equatable, Sendable {
    /// The shape of each member's logits for one example: `[C]`, or `[L, C]` for sequences; of a member that knows a part
    /// of the classes that number.
    public var logitShapes: [[Int]]
    public var logits: LogitEncoding
    public var features: [CachedFeature]
    /// The shape of each feature for one example.
    public var featureShapes: [[Int]]
    /// The temperatures at which its fidelity is measured.
    public var temperatures: [Double]
    var structure: TraceTemplate

    private enum CodingKeys: String, CodingKey {
      case logitShapes = "logit_shapes"
      case logits, features
      case featureShapes = "feature_shapes"
      case temperatures, structure
    }

    /// What is to be kept of a teacher.
    ///
    /// - Parameters:
    ///   - trace: what it says of some batch, with the activations of `features`
    ///   - temperatures: at which fidelity is measured; those of the encoding are added
    public init(
      of trace: TeacherTrace, logits: LogitEncoding, features: [CachedFeature] = [], temperatures: [Double] = [1]
    ) throws {
      guard trace.memberKept.allSatisfy({ $0 == nil }) else {
        throw DistillationError(
          "the teacher's outputs come from a cache that kept a part of them: label with the teacher")
      }
      logitShapes = trace.memberLogits.map { Array($0.shape.dropFirst()) }
      self.logits = logits
      self.features = features
      featureShapes = try features.map { Array(try trace.activation(of: $0).shape.dropFirst()) }
      structure = TraceTemplate(trace)
      var known = temperatures
      switch logits {
      case .all: break
      case .topK(let kept): known += kept.temperatures
      case .sampled: known = []
      }
      // Elsewhere nothing is known of the likeliest classes' rest.
      if case .topK(let kept) = logits, trace.memberLogits.contains(where: { $0.shape.last ?? 0 > kept.k }) {
        known = kept.temperatures
        if structure.confidenceSharpness != nil, !kept.temperatures.contains(1) {
          throw DistillationError(
            "members are weighed by their confidence, which is told at temperature 1: have it among the temperatures")
        }
      }
      self.temperatures = Array(Set(known)).sorted()
      if let problem { throw DistillationError("a teacher cache cannot be made like this: \(problem)") }
    }

    /// What is to be kept of outputs that come from elsewhere.
    ///
    /// - Parameter shape: of the logits of one example: `[C]`, or `[L, C]`
    public init(logitShape shape: [Int], logits: LogitEncoding, temperatures: [Double] = [1]) throws {
      let logitsOfOne = try Tensor.zeros([1] + shape)
      try self.init(of: TeacherTrace(logits: logitsOfOne), logits: logits, temperatures: temperatures)
    }

    /// What is wrong with it, as can be in a file; nil when nothing is.
    var problem: String? {
      let shapes = logitShapes + featureShapes
      guard !logitShapes.isEmpty, shapes.allSatisfy({ $0.allSatisfy { $0 > 0 } && product($0) != nil }),
        logitShapes.allSatisfy({ (1...2).contains($0.count) }), featureShapes.count == features.count,
        features.allSatisfy({ $0.member.map { $0 >= 0 } ?? true })
      else { return "its shapes make no sense: logits \(logitShapes), features \(featureShapes)" }
      guard structure.fits(memberCount: logitShapes.count) else {
        return "its structure is not that of \(logitShapes.count) members"
      }
      guard temperatures.allSatisfy({ $0 > 0 && $0.isFinite }) else { return "its temperatures have to be positive" }
      return logits.problem(memberCount: logitShapes.count)
    }

    /// A sentence for each thing in which these contents are not `other`.
    public func differences(from other: Contents) -> [String] {
      var sentences: [String] = []
      if logits != other.logits { sentences.append("it keeps \(logits), not \(other.logits)") }
      if features != other.features {
        sentences.append("it keeps the layers \(features.words), not \(other.features.words)")
      }
      if temperatures != other.temperatures {
        sentences.append(
          "its fidelity is measured at temperature \(temperatures.asList), not \(other.temperatures.asList)")
      }
      if structure != other.structure || logitShapes != other.logitShapes || featureShapes != other.featureShapes {
        sentences.append("the teacher's outputs have another form: \(logitShapes) \(featureShapes)")
      }
      return sentences
    }

    /// The number of classes of the data.
    var classCount: Int { structure.classes.first??.classCount ?? logitShapes.first?.last ?? 0 }
  }

  /// How the rows are divided among shards: for each view, the examples in rising order, `rowsPerShard` at a time.
  public struct ShardPlan: Codable, Equatable, Sendable {
    public var rowsPerShard: Int
    public var views: Int
    public var exampleCount: Int
    public var firstExample: Int
    public var lastExample: Int

    private enum CodingKeys: String, CodingKey {
      case rowsPerShard = "rows_per_shard"
      case views
      case exampleCount = "example_count"
      case firstExample = "first_example"
      case lastExample = "last_example"
    }

    public var perView: Int { (exampleCount - 1) / rowsPerShard + 1 }
    public var count: Int { views * perView }

    func view(of shard: Int) -> Int { shard / perView }

    /// Which of a view's rows a shard has.
    func rows(of shard: Int) -> Range<Int> {
      let first = shard % perView * rowsPerShard
      return first..<min(exampleCount, first + rowsPerShard)
    }

    static func fileName(of shard: Int) -> String {
      let digits = "\(shard)"
      return "shard-\(String(repeating: "0", count: max(0, 5 - digits.count)))\(digits).safetensors"
    }

    var isValid: Bool {
      rowsPerShard > 0 && views > 0 && exampleCount > 0 && lastExample >= firstExample
        && lastExample - firstExample >= exampleCount - 1 && product([views, exampleCount]) != nil
    }
  }
}

extension TeacherCache.Description {
  static let fileName = "cache.json"

  /// A sentence for each thing in which this cache is not `other`.
  func differences(from other: Self) -> [String] {
    key.differences(from: other.key) + contents.differences(from: other.contents)
  }

  func json() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(self) + Data("\n".utf8)
  }

  /// Reads a cache's description.
  ///
  /// - Returns: with it the SHA-256 of the file, which its shards name
  /// - Throws: `TeacherCacheError`
  static func read(_ folder: String) throws -> (description: Self, hash: String) {
    let path = FilePath.joined(folder, fileName)
    let remedy = "name the folder that 'distill label' made, or label again into another one"
    guard !RegularFile.isOtherThanFile(path), let data = FileManager.default.contents(atPath: path) else {
      throw TeacherCacheError(folder, "\(fileName) is missing or cannot be read", remedy: remedy)
    }
    struct Head: Decodable {
      var format: String
      var version: Int
    }
    guard let head = try? JSONDecoder().decode(Head.self, from: data), head.format == formatName else {
      throw TeacherCacheError(folder, "\(fileName) is damaged, or another program's", remedy: remedy)
    }
    guard head.version == currentVersion else {
      throw TeacherCacheError(
        folder, "it has the version \(head.version) of the format; this program knows \(currentVersion)",
        remedy: "use the program that made it, or label again into another folder")
    }
    let description: Self
    do { description = try JSONDecoder().decode(Self.self, from: data) } catch {
      throw TeacherCacheError(folder, "\(fileName) is damaged: \(Self.words(error))", remedy: remedy)
    }
    guard description.shards.isValid, description.shards.views == description.key.views,
      description.shards.exampleCount == description.key.data.exampleCount
    else { throw TeacherCacheError(folder, "\(fileName) is damaged: its shards make no sense", remedy: remedy) }
    if let problem = description.contents.problem {
      throw TeacherCacheError(folder, "\(fileName) is damaged: \(problem)", remedy: remedy)
    }
    return (description, try data.withUnsafeBytes { try SHA256.hex(of: $0) })
  }

  private static func words(_ error: any Error) -> String {
    guard let error = error as? DecodingError else { return "\(error)" }
    switch error {
    case .keyNotFound(let key, _): return "'\(key.stringValue)' is missing"
    case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
      let place = context.codingPath.map(\.stringValue).joined(separator: ".")
      return place.isEmpty ? "it is no JSON" : "'\(place)' is not what it should be"
    @unknown default: return "it cannot be read"
    }
  }
}

extension TeacherTrace {
  /// What a layer gave that is to be kept.
  func activation(of feature: CachedFeature) throws -> Tensor {
    guard let member = feature.member else { return try activation(at: feature.tap) }
    guard memberTraces.indices.contains(member) else {
      throw DistillationError("the teacher has no member \(member) whose layer '\(feature.tap)' could be kept")
    }
    return try memberTraces[member].activation(at: feature.tap)
  }
}

extension [CachedFeature] {
  /// `layer2 (float16), layer3 of member 1 (int8)`; `none`.
  var words: String {
    isEmpty
      ? "none"
      : map { "\($0.tap)\($0.member.map { " of member \($0)" } ?? "") (\($0.encoding.rawValue))" }
        .joined(separator: ", ")
  }
}
