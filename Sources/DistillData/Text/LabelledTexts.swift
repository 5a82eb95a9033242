import DistillTokenizers
import Foundation
import Torch

/// Reads one's own texts with a class for each.
public struct LabelledTexts: Sendable, Equatable {
  public var columns: TextColumns
  /// The folder with the files of the tokenizer.
  public var tokenizer: String
  /// How many tokens an example has.
  public var length: Int
  /// The part for testing, where all texts are in one file.
  public var testFraction: Double

  public init(columns: TextColumns = TextColumns(), tokenizer: String, length: Int = 128, testFraction: Double = 0.1) {
    self.columns = columns
    self.tokenizer = tokenizer
    self.length = length
    self.testFraction = testFraction
  }

  /// What has to be in a folder.
  static let layout =
    "train.csv, test.csv and, if you like, validation.csv, or the same with .jsonl; or the path of one file"

  /// The texts of a folder with `train` and `test`, and maybe `validation`, each a `.csv` or `.jsonl`; or of one such file,
  /// of which a part, class by class, is for testing.
  ///
  /// - Parameter classNames: the classes in the order of their labels; nil to take them from the training part
  /// - Throws: `DataError` that names file and line; `TokenizerError`
  public func load(_ path: String, classNames: [String]? = nil) throws -> (
    train: ClassifiedTexts, test: ClassifiedTexts
  ) {
    let reader = try Reader(self)
    guard RegularFile.isFolder(path) else { return try divided(reader, path, classNames) }
    let training = try file("train", in: path)
    let test = try file("test", in: path)
    let validation = try file("validation", in: path, isNeeded: false)
    guard let training, let test else { throw DataError(file: path, "has no texts") }
    let train = try reader.texts(
      of: [training] + (validation.map { [$0] } ?? []), name: FilePath.name(of: training), classNames)
    return (train, try reader.texts(of: [test], name: FilePath.name(of: test), train.classNames))
  }

  /// The texts of one file, or of the training part of a folder, whose classes do not matter where `columns` names none.
  public func loadTraining(_ path: String, classNames: [String]? = nil) throws -> ClassifiedTexts {
    let file = RegularFile.isFolder(path) ? try file("train", in: path) ?? path : path
    return try Reader(self).texts(of: [file], name: FilePath.name(of: file), classNames)
  }

  private func file(_ part: String, in folder: String, isNeeded: Bool = true) throws -> String? {
    let names = LabelledTextFile.kinds.map { "\(part).\($0)" }
    let there = names.filter { FileManager.default.fileExists(atPath: "\(folder)/\($0)") }
    guard there.count <= 1 else {
      throw DataError(file: folder, "has \(there.joined(separator: " and "))", remedy: "Keep one of them")
    }
    guard !there.isEmpty || !isNeeded else {
      throw DataError(
        file: folder, "has neither \(names.joined(separator: " nor "))",
        remedy: part == "train" ? "In it have to be: \(Self.layout)" : "Texts for testing have to be there, too")
    }
    return there.first.map { "\(folder)/\($0)" }
  }

  /// One file, of whose classes the same part each is for testing, whoever reads it.
  private func divided(
    _ reader: Reader, _ path: String, _ classNames: [String]?
  ) throws -> (ClassifiedTexts, ClassifiedTexts) {
    guard testFraction > 0, testFraction < 1 else {
      throw DataError("\(path): the part for testing must lie between 0 and 1, not \(testFraction)")
    }
    let name = FilePath.name(of: path)
    let whole = try reader.texts(of: [path], name: name, classNames)
    let (test, train) = try Splits.stratified(dataset: whole, fraction: testFraction, seed: 0)
    guard !test.isEmpty, !train.isEmpty else {
      throw DataError(file: path, "has \(whole.count) texts: too few for training and testing")
    }
    return (try whole.selecting(train, name: name), try whole.selecting(test, name: name))
  }

  private struct Reader {
    let form: LabelledTexts
    let tokenizer: Tokenizer

    init(_ form: LabelledTexts) throws {
      self.form = form
      tokenizer = try Tokenizer(folder: form.tokenizer)
    }

    /// The texts of one file, and of another one those that are held out.
    func texts(of files: [String], name: String, _ given: [String]?) throws -> ClassifiedTexts {
      var texts = try LabelledTextFile.read(files[0], form.columns)
      var heldOut = 0
      let names = given ?? CSV.classes(of: texts.compactMap(\.label))
      guard given != nil || form.columns.label == nil || names.count * 2 <= texts.count || names.count <= 100 else {
        throw DataError(
          file: files[0], "has \(names.count) different labels in \(texts.count) texts",
          remedy: "Is \"\(form.columns.label ?? "")\" the column with the class?")
      }
      var labels = try labels(of: texts, in: files[0], names)
      for file in files.dropFirst() {
        let more = try LabelledTextFile.read(file, form.columns)
        labels += try self.labels(of: more, in: file, names)
        heldOut += more.count
        texts += more
      }
      return try ClassifiedTexts(
        name: name, texts: texts.map(\.text), pairs: form.columns.pair == nil ? nil : texts.map { $0.pair ?? "" },
        labels: labels, classNames: names, tokenizer: tokenizer, length: form.length, heldOut: heldOut)
    }

    private func labels(of texts: [LabelledText], in file: String, _ names: [String]) throws -> [Int] {
      let places = Dictionary(zip(names, names.indices), uniquingKeysWith: { first, _ in first })
      var problems = LineProblems(file: file)
      let labels = texts.map { text in
        guard let label = text.label else { return -1 }
        if let place = places[label] { return place }
        problems.report(
          "line \(text.line) has the label \"\(label.prefix(40))\", which is not a known class. The classes are "
            + names.prefix(20).joined(separator: ", ") + (names.count > 20 ? ", …" : ""))
        return -1
      }
      try problems.finish()
      return labels
    }
  }
}
