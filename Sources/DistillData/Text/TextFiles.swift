import Foundation
import Torch

/// What the tokens of a text are made of.
public enum TextUnit: String, Sendable, Codable, CaseIterable {
  /// Bytes: 257 tokens with the end of a text, for any file.
  case bytes
  /// The characters that the training part has.
  case characters
}

/// Reads texts from files.
public enum TextFiles {
  private static let readable: Set = ["txt", "md"]

  /// The windows of a text, or of all texts in a folder (`.txt` and `.md`, in the order of their names, each followed by an
  /// end). The first part is for training, the rest for testing; they have no token in common.
  ///
  /// - Parameters:
  ///   - path: a file, or a folder
  ///   - unit: what a token is
  ///   - length: how many tokens a window shows
  ///   - testFraction: the part of the tokens for testing, above 0 and below 1
  ///   - vocabulary: what the tokens are where that is given, as by a model that is there already; otherwise characters
  ///     are those of the training part
  /// - Throws: `DataError` when a file is missing, is not UTF-8 where characters are asked for, or there is too little
  ///   text.
  public static func load(
    _ path: String, unit: TextUnit = .bytes, length: Int = 128, testFraction: Double = 0.1,
    vocabulary: TextVocabulary? = nil
  ) throws -> (train: SequenceDataset, test: SequenceDataset) {
    let name = FilePath.name(of: path)
    return try load(
      files: try files(at: path), name: name.isEmpty ? path : name, unit: unit, length: length,
      testFraction: testFraction, vocabulary: vocabulary)
  }

  /// The same for given files, in the order given.
  public static func load(
    files: [String], name: String, unit: TextUnit = .bytes, length: Int = 128, testFraction: Double = 0.1,
    vocabulary given: TextVocabulary? = nil
  ) throws -> (train: SequenceDataset, test: SequenceDataset) {
    guard testFraction > 0, testFraction < 1 else {
      throw DataError("\(name): the part for testing must lie between 0 and 1, not \(testFraction)")
    }
    let texts = try files.map { (path: $0, bytes: try read($0)) }
    let tokens: [Int]
    let vocabulary: TextVocabulary
    var notices: [String] = []
    switch given?.unit ?? unit {
    case .bytes:
      vocabulary = .bytes
      tokens = texts.flatMap { $0.bytes.map { Int($0) } + [vocabulary.end] }
    case .characters:
      // nil ends a text.
      var all: [Unicode.Scalar?] = []
      for text in texts { all += try scalars(of: text.bytes, at: text.path).map { Optional($0) } + [nil] }
      let training = all.prefix(trainingCount(of: all.count, testFraction))
      var known = Set(training.compactMap { $0 }).sorted()
      if case .characters(let characters)? = given { known = characters }
      let numbers = Dictionary(uniqueKeysWithValues: known.enumerated().map { ($1, $0) })
      vocabulary = .characters(known)
      tokens = all.map { scalar in scalar.map { numbers[$0] ?? numbers.count } ?? vocabulary.end }
      let unknown = tokens.count { $0 == numbers.count }
      if unknown > 0 {
        notices.append(
          "\(unknown) characters for testing do not occur in the part for training: one token is all of them")
      }
    }
    let cut = trainingCount(of: tokens.count, testFraction)
    guard cut > length, tokens.count - cut >= 2 else {
      throw DataError(
        "\(name) has \(tokens.count) tokens, of which \(cut) are for training: too few for windows of \(length)",
        remedy: "Give more text, or shorter windows")
    }
    return (
      try SequenceDataset(name: name, text: Array(tokens[..<cut]), length: length, vocabulary: vocabulary),
      try SequenceDataset(
        name: name, text: Array(tokens[cut...]), length: length, vocabulary: vocabulary, notices: notices)
    )
  }

  /// The tokens of a file, without an end.
  ///
  /// - Throws: `DataError` when it is missing, or not UTF-8 where the tokens are characters.
  public static func tokens(of path: String, vocabulary: TextVocabulary) throws -> [Int] {
    let bytes = try read(path)
    guard vocabulary.unit == .characters else { return bytes.map { Int($0) } }
    var text = String.UnicodeScalarView()
    text.append(contentsOf: try scalars(of: bytes, at: path))
    return vocabulary.tokens(of: String(text))
  }

  /// What is in a file.
  ///
  /// - Throws: `DataError` when it is missing, not UTF-8, or holds nothing but space.
  public static func text(of path: String) throws -> String {
    var text = String.UnicodeScalarView()
    text.append(contentsOf: try scalars(of: read(path), at: path))
    guard text.contains(where: { !$0.properties.isWhitespace }) else { throw DataError(file: path, "has no text") }
    return String(text)
  }

  private static func trainingCount(of total: Int, _ testFraction: Double) -> Int {
    total - Int((Double(total) * testFraction).rounded())
  }

  private static func files(at path: String) throws -> [String] {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw DataError(file: path, "is not there", remedy: "Give a file of text, or a folder with .txt files")
    }
    guard isFolder.boolValue else { return [path] }
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: path)
    } catch {
      throw DataError(file: path, "cannot be read")
    }
    let found = names.filter { !$0.hasPrefix(".") && readable.contains(FilePath.kind(of: $0).lowercased()) }.sorted()
    guard !found.isEmpty else {
      throw DataError(file: path, "has no texts", remedy: "They have to end in .txt or .md")
    }
    return found.map { FilePath.joined(path, $0) }
  }

  /// A file's bytes.
  static func read(_ path: String, options: Data.ReadingOptions = []) throws -> Data {
    guard FileManager.default.fileExists(atPath: path) else { throw DataError(file: path, "is not there") }
    guard !RegularFile.isOtherThanFile(path) else { throw DataError(file: path, RegularFile.refusal) }
    do {
      return try Data(contentsOf: URL(fileURLWithPath: path), options: options)
    } catch {
      throw DataError(file: path, "cannot be read")
    }
  }

  private static func scalars(of bytes: Data, at path: String) throws -> [Unicode.Scalar] {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw DataError(file: path, "is not UTF-8", remedy: "Convert it, or read it by bytes")
    }
    return Array(text.unicodeScalars)
  }
}
