import DistillData
import DistillModels
import DistillRuntime
import Foundation
import Torch
import TorchNN

/// A model that is to leave for another program: what it is, and what is known of it.
public struct ExportSource {
  let named: NamedModel
  /// The text of the model card.
  let card: String?
  /// What the model card says that it scored; nil where there is none.
  public let results: MeasuredResults?

  /// - Parameter path: a model folder, or a run folder for its student
  /// - Throws: `RunError` and others that say what is wrong with its files.
  public init(_ path: String) throws {
    named = try NamedModel(path)
    let place = named.folder.card
    let text = RegularFile.isOtherThanFile(place) ? nil : FileManager.default.contents(atPath: place)
    card = text.map { String(decoding: $0, as: UTF8.self) }
    results = card.flatMap { MeasuredResults(card: $0) }
  }

  /// The model folder.
  public var path: String { named.folder.path }
  public var model: any Layer { named.model }
  public var description: ModelFolder.Description { named.description }

  /// - Throws: `RunError` when what is to be written would take the place of the model itself.
  public func checkItStays(writing place: String) throws {
    func real(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().standardized.path }
    let (own, target) = (real(path), real(place))
    guard target == own || (FilePath.folder(of: target) == own && ModelFolder.files.contains(FilePath.name(of: target)))
    else { return }
    throw RunError("\(place) is the model itself, or one of its files: name another place")
  }

  /// Whether it takes the numbers of tokens.
  public var takesTokens: Bool {
    (try? ModelZoo.architecture(named: description.model.architecture))?.input == .tokens
  }

  public var isForPictures: Bool { description.model.inputShape.count == 3 && !takesTokens }

  /// Whether it gives a number for each class or token, and not where an input lies among others.
  public var givesLogits: Bool {
    guard case .text(let head) = description.model.options["head"] else { return true }
    return !head.hasSuffix("embedding")
  }

  /// The classes that it tells apart; nil where it gives something else than a number for each: the next token, or where a
  /// text lies among others.
  public var classes: [String]? {
    model is any GenerativeLayer || !givesLogits ? nil : description.labels
  }

  /// Some inputs as it takes them, drawn with a seed: numbers around 0, or tokens.
  public func examples(_ count: Int = 7) throws -> Tensor {
    let shape = [count] + description.model.inputShape
    var random = RandomSource(seed: 0, "export")
    let numbers = shape.reduce(1, *)
    if takesTokens {
      var tokens = description.model.classCount
      if case .integer(let size) = description.model.options["vocabulary"] { tokens = size }
      return try Tensor((0..<numbers).map { _ in Int.random(in: 0..<max(1, tokens), using: &random) }, shape: shape)
    }
    return try Tensor((0..<numbers).map { _ in Float.random(in: -2...2, using: &random) }, shape: shape)
  }

  /// The facts that go with the weights, wherever they go: by name, each as a text.
  public func facts() throws -> [String: String] {
    var facts = [
      "architecture": description.model.architecture,
      "options": String(decoding: try ResultJSON.line(description.model.options), as: UTF8.self)
        .trimmingCharacters(in: .newlines),
      "labels": String(decoding: try ResultJSON.line(description.labels), as: UTF8.self)
        .trimmingCharacters(in: .newlines),
    ]
    if let normalization = description.normalization {
      facts["normalization"] = String(decoding: try ResultJSON.line(normalization), as: UTF8.self)
        .trimmingCharacters(in: .newlines)
    }
    if let results {
      facts["results"] = results.sentence
      facts["accuracy"] = results.accuracy
    }
    return facts
  }
}

/// What a model scored, as its card says.
public struct MeasuredResults: Sendable, Equatable, Encodable {
  public struct Score: Sendable, Equatable, Encodable {
    public var name: String
    public var value: String
  }

  /// Where it was measured: `on the test split of digits, 360 examples`.
  public var place: String
  public var scores: [Score]

  /// The first table of a model card; nil where it has none, or one of another kind.
  public init?(card: String) {
    let rows = card.split(separator: "\n", omittingEmptySubsequences: false)
      .drop { !$0.hasPrefix("|") }.prefix { $0.hasPrefix("|") }
      .map { row in row.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast() }
      .map { $0.map { $0.trimmingCharacters(in: .whitespaces) } }
    guard rows.count > 2, rows.allSatisfy({ $0.count == 2 }), rows[0][1].isEmpty, rows[1].allSatisfy({ $0 == "---" })
    else { return nil }
    place = rows[0][0]
    scores = rows.dropFirst(2).map { Score(name: $0[0], value: $0[1]) }
  }

  public var accuracy: String? { scores.first { $0.name == "accuracy" }?.value }

  var sentence: String { "\(place): " + scores.map { "\($0.name) \($0.value)" }.joined(separator: ", ") }
}
