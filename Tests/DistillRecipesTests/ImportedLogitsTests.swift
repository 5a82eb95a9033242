import DistillData
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@testable import DistillRecipes

/// Logits of another program, in every format, and what is wrong with them.
@Suite struct ImportedLogitsTests {
  /// Five examples of three classes, the last of which is held out.
  private let examples = [0, 1, 2, 3]

  private func dataset() throws -> ArrayDataset {
    try ArrayDataset(
      name: "five", values: HostBuffer([Float](repeating: 0, count: 10)), elementType: .float32, exampleShape: [2],
      count: 5, labels: [0, 1, 2, 0, 1], classNames: ["a", "b", "c"])
  }

  /// Row i is the example i; the likeliest class is the example's own but for the last.
  private let logits: [Float] = [2, -1, 0, 0, 3, 1, -2, 0, 2, 1, 0, 0.5, 4, 0, 0]

  private func open(_ source: ImportedLogits.Source, viewCount: Int = 1) throws -> ImportedLogits {
    try ImportedLogits(source, dataset: dataset(), examples: examples, viewCount: viewCount)
  }

  private func refusal(_ source: ImportedLogits.Source, viewCount: Int = 1) -> String {
    do {
      _ = try open(source, viewCount: viewCount)
      Issue.record("nothing was thrown")
      return ""
    } catch { return "\(error)" }
  }

  private func csv(_ rows: [(Int, [Float])], names: String? = "id,a,b,c") -> String {
    ([names].compactMap(\.self) + rows.map { row in "\(row.0)," + row.1.map { "\($0)" }.joined(separator: ",") })
      .joined(separator: "\n")
  }

  private func row(_ example: Int) -> [Float] { Array(logits[3 * example..<3 * example + 3]) }

  @Test func everyFormatGivesTheRowOfTheExample() throws {
    try withTemporaryFolder { folder in
      try Data(csv([3, 1, 4, 0, 2].map { ($0, row($0)) }).utf8).write(to: URL(filePath: "\(folder)/t.csv"))
      let order = [2, 0, 3, 1, 4]
      try Checkpoint.write(
        [
          NamedTensor(name: "logits", tensor: try Tensor(order.flatMap(row), shape: [5, 3])),
          NamedTensor(name: "ids", tensor: try Tensor(order)),
        ], to: "\(folder)/t.safetensors")
      try Checkpoint.write(
        [NamedTensor(name: "anything", tensor: try Tensor(logits, shape: [5, 3]))], to: "\(folder)/all.safetensors")
      for name in ["t.csv", "t.safetensors", "all.safetensors"] {
        let found = try open(ImportedLogits.Source(path: "\(folder)/\(name)"))
        #expect(try found.logits(of: [2, 0, 3], view: 0) == row(2) + row(0) + row(3), "\(name)")
        #expect(found.unused == 1 && found.accuracy == 1)
      }
      // The numbers of the examples in a file of their own.
      try Data("id\n4\n3\n2\n1\n0\n".utf8).write(to: URL(filePath: "\(folder)/ids.csv"))
      let other = try open(ImportedLogits.Source(path: "\(folder)/all.safetensors", ids: "\(folder)/ids.csv"))
      #expect(try other.logits(of: [4 - 2, 1], view: 0) == row(2) + row(3))
    }
  }

  @Test func viewsAreKeptApart() throws {
    try withTemporaryFolder { folder in
      let other = logits.map { $0 - 7 }
      try Checkpoint.write(
        [NamedTensor(name: "logits", tensor: try Tensor(logits + other, shape: [2, 5, 3]))],
        to: "\(folder)/v.safetensors")
      let source = ImportedLogits.Source(path: "\(folder)/v.safetensors")
      let found = try open(source, viewCount: 2)
      #expect(try found.logits(of: [1], view: 0) == row(1))
      #expect(try found.logits(of: [1], view: 1) == row(1).map { $0 - 7 })
      #expect(refusal(source).contains("logits of 2 views, but the recipe shows 1"))
    }
  }

  @Test func probabilitiesAreNotTakenForLogits() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/p.csv"
      let rows = (0..<5).map { id in (id, id == 0 ? [Float(1), 0, 0] : [Float(0.7), 0.2, 0.1]) }
      try Data(csv(rows).utf8).write(to: URL(filePath: path))
      #expect(refusal(ImportedLogits.Source(path: path)).contains("--probabilities"))
      let found = try open(ImportedLogits.Source(path: path, areProbabilities: true))
      let values = try found.logits(of: [1, 0], view: 0)
      #expect(zip(values, [Float(0.7), 0.2, 0.1].map { log($0) } + [0]).allSatisfy { abs($0 - $1) < 1e-6 })
      #expect(values[4...].allSatisfy { $0 < -80 && $0.isFinite })
      try Data(csv((0..<5).map { ($0, row($0)) }).utf8).write(to: URL(filePath: path))
      #expect(refusal(ImportedLogits.Source(path: path, areProbabilities: true)).contains("are no probabilities"))
    }
  }

  @Test func examplesMissingDoubleAndUnknownAreNamed() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/t.csv"
      try Data(csv([0, 1, 1, 9, -1].map { ($0, row(0)) }).utf8).write(to: URL(filePath: path))
      let said = refusal(ImportedLogits.Source(path: path))
      #expect(said.contains("2 examples of the transfer set without logits (2, 3)"), "\(said)")
      #expect(said.contains("1 example more than once (1)"), "\(said)")
      #expect(said.contains("2 examples that the data, with the numbers 0 to 4, does not have (9, -1)"), "\(said)")
      // Without ids there has to be a row for each example of the data.
      try Data("a,b,c\n1,2,3\n4,5,6\n".utf8).write(to: URL(filePath: path))
      #expect(refusal(ImportedLogits.Source(path: path)).contains("give ids (--ids), or all rows"))
    }
  }

  @Test func whatIsNoLogitsIsRefused() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/t.csv"
      func said(_ text: String, _ change: (inout ImportedLogits.Source) -> Void = { _ in }) throws -> String {
        try Data(text.utf8).write(to: URL(filePath: path))
        var source = ImportedLogits.Source(path: path)
        change(&source)
        return refusal(source)
      }
      #expect(refusal(ImportedLogits.Source(path: "\(folder)/none.npy")).contains("does not exist"))
      #expect(try said("").contains("is empty"))
      #expect(try said(csv((0..<5).map { ($0, row($0)) }, names: nil)).contains("name the columns in the first line"))
      #expect(try said(csv((0..<5).map { ($0, row($0)) }, names: "id,b,a,c")).contains("in another order"))
      #expect(try said(csv((0..<5).map { ($0, row($0)) }).replacing("4.0", with: "inf")).contains("is not a finite"))
      #expect(try said("id,a\n0,1\n") { $0.ids = "example" }.contains("no column called 'example'"))
      var wrong = logits
      wrong[4] = .nan
      try Checkpoint.write(
        [
          NamedTensor(name: "one", tensor: try Tensor(wrong, shape: [5, 3])),
          NamedTensor(name: "two", tensor: try Tensor(logits, shape: [5, 3])),
        ], to: "\(folder)/two.safetensors")
      let two = "\(folder)/two.safetensors"
      #expect(refusal(ImportedLogits.Source(path: two)).contains("say which are the logits with --array"))
      #expect(refusal(ImportedLogits.Source(path: two, array: "x")).contains("holds no array 'x'"))
      #expect(refusal(ImportedLogits.Source(path: two, array: "one")).contains("class 1 of example 1 is nan"))
      #expect(try open(ImportedLogits.Source(path: two, array: "two")).accuracy == 1)
    }
  }

  @Test func whatIsOddAboutNumbersIsSaidAsItIs() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/t.csv"
      func file(_ text: String) throws -> ImportedLogits.Source {
        try Data(text.utf8).write(to: URL(filePath: path))
        return ImportedLogits.Source(path: path)
      }
      let percentages = try open(file(csv((0..<5).map { ($0, [Float(70), 20, 10]) })))
      #expect(percentages.notes.count == 1 && percentages.notes[0].contains("percentages"))
      let good = csv((0..<5).map { ($0, row($0)) })
      #expect(try open(file(good)).notes.isEmpty)
      #expect(refusal(try file(good.replacing("4.0", with: "1e300"))).contains("too large for float32"))
      #expect(refusal(try file(good.replacing(",", with: ";"))).contains("separated by them?"))
      #expect(refusal(try file(csv([0, 1, 2].map { ($0, row($0)) }))).contains("there is 1 example of"))
      // Numbers of examples that another program keeps as float64, and one that is none.
      func numbered(_ ids: [Double]) throws -> ImportedLogits.Source {
        try Checkpoint.write(
          [
            NamedTensor(name: "logits", tensor: try Tensor(logits, shape: [5, 3])),
            NamedTensor(name: "ids", tensor: try Tensor(ids)),
          ], to: "\(folder)/f.safetensors")
        return ImportedLogits.Source(path: "\(folder)/f.safetensors")
      }
      #expect(try open(numbered([4, 3, 2, 1, 0])).logits(of: [1], view: 0) == row(3))
      #expect(refusal(try numbered([4, 3, 2, 1, 0.5])).contains("0.5 where whole numbers are needed"))
    }
  }
}
