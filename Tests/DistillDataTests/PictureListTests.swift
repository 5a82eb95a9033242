import DistillData
import Foundation
import Testing

/// Pictures with their classes in a list beside them, and without folders for training and testing.
@Suite struct PictureListTests {
  /// A picture of one grey.
  private func writePicture(_ grey: UInt8, to path: String) throws {
    try write(png(width: 1, height: 1, channels: 1, [grey]), to: path)
  }

  private func greys(_ dataset: ArrayDataset) throws -> [UInt8] {
    try (0..<dataset.count).map { UInt8((try dataset.values(at: $0)[0] * 255).rounded()) }
  }

  @Test(arguments: [
    ("metadata.csv", "file_name,label,probability\nb.png,dog,0.9\n\"in/a.png\",\"cat, tabby\",0.5\n", nil),
    (
      "metadata.jsonl",
      """
      {"file_name": "b.png", "kind": "dog", "label": "x"}
      {"file_name": "in/a.png", "kind": "cat, tabby", "label": "y"}
      """, "kind"
    ),
  ])
  func aListSaysTheClasses(_ name: String, _ text: String, _ column: String?) throws {
    try withFolder { folder in
      try writePicture(1, to: "\(folder)/in/a.png")
      try writePicture(2, to: "\(folder)/b.png")
      try writePicture(3, to: "\(folder)/unlisted.png")
      try write(text, to: "\(folder)/\(name)")
      let form = ImageFolder.Form(channels: 1)
      let column = column ?? PictureMetadata.labelColumn
      let found = try ImageFolder.read(folder, form, labelColumn: column)
      #expect(found.classNames == ["cat, tabby", "dog"])
      #expect((0..<2).map { found.label(at: $0) } == [1, 0])
      #expect(try greys(found) == [2, 1])
      #expect(found.notices == ["\(folder)/\(name) does not list 1 of the pictures beside it: they are left out"])
      let given = try ImageFolder.read(folder, form, classNames: ["dog", "x", "cat, tabby"], labelColumn: column)
      #expect((0..<2).map { given.label(at: $0) } == [0, 2])
      #expect(
        message { _ = try ImageFolder.read(folder, form, classNames: ["dog", "x"], labelColumn: column) }
          .contains("has the label \"cat, tabby\", which is not a known class. The classes are dog, x"))
    }
  }

  @Test func whatIsWrittenIsRead() throws {
    try withFolder { folder in
      let names = [" plain .png", "with, comma.png", "with \"quotes\".png", "in/ü.png"]
      for (grey, name) in names.enumerated() { try writePicture(UInt8(grey), to: "\(folder)/\(name)") }
      let labels = ["a", "tench, Tinca tinca", "say \"b\"", "ü"]
      let rows = zip(names, labels).map { (name: $0, label: $1, probability: 0.25) }
      try write(PictureMetadata.table(rows), to: "\(folder)/\(PictureMetadata.usualName)")
      let found = try ImageFolder.read(folder, .init(channels: 1))
      #expect(try greys(found) == [0, 1, 2, 3])
      #expect((0..<4).map { found.classNames[found.label(at: $0)] } == labels)
      #expect(found.notices.isEmpty)
    }
  }

  @Test(arguments: [
    ("../b.png,x", "line 2: ../b.png leads out of the folder"), ("/etc/b.png,x", "leads out of the folder"),
    ("in/../../b.png,x", "leads out of the folder"), ("none.png,x", "there is no"),
    ("b.txt,x", "is no PNG or JPEG file"),
    ("b.png,x\nb.png,x", "line 3 lists b.png again"), ("b.png,", "line 2 has an empty \"label\""),
    ("b.png", "line 2 has 1 cells"), ("b.png,x\n./b.png,x", "line 3 lists ./b.png again"), ("", "has no rows"),
  ])
  func whatALineCannotSay(_ line: String, _ expected: String) throws {
    try withFolder { folder in
      try writePicture(2, to: "\(folder)/b.png")
      try write("words", to: "\(folder)/b.txt")
      try write("file_name,label\n\(line)\n", to: "\(folder)/metadata.csv")
      let said = message { _ = try ImageFolder.read(folder) }
      #expect(said.contains(expected) && said.contains("\(folder)/metadata.csv"), "\(said)")
    }
  }

  @Test func whatAFolderCannotHave() throws {
    try withFolder { folder in
      try writePicture(2, to: "\(folder)/b.png")
      #expect(message { _ = try ImageFolder.read(folder) }.contains("has pictures (1), and nothing says what class"))
      for name in ["csv", "jsonl"] { try write("file_name,kind\nb.png,x\n", to: "\(folder)/metadata.\(name)") }
      #expect(message { _ = try ImageFolder.read(folder) }.contains("has metadata.csv and metadata.jsonl. Keep one"))
      try FileManager.default.removeItem(atPath: "\(folder)/metadata.jsonl")
      #expect(message { _ = try ImageFolder.read(folder) }.contains("has no column called \"label\""))
    }
  }

  @Test("Without folders for training and testing the same part of each class is for testing, always the same")
  func divided() throws {
    try withFolder { folder in
      for grey in 0..<10 { try writePicture(UInt8(grey), to: "\(folder)/\(grey < 8 ? "many" : "few")/\(grey).png") }
      try writePicture(99, to: "\(folder)/single/one.png")
      let (train, test) = try ImageFolder.readParts(folder, .init(channels: 1), testFraction: 0.2)
      #expect(train.classNames == ["few", "many", "single"] && test.classNames == train.classNames)
      #expect((train.count, test.count) == (9, 2))
      let (kept, held) = (try greys(train), try greys(test))
      #expect(Set(kept + held) == Set(Array(0..<10) + [99]) && kept.contains(99))
      // Class by class: each has one for training at least, and the largest gives most for testing.
      #expect(kept.contains { $0 < 8 } && kept.contains { (8..<10).contains($0) })
      let again = try ImageFolder.readParts(folder, .init(channels: 1), testFraction: 0.2)
      #expect(try greys(again.test) == held)
      #expect(try greys(ImageFolder.readTraining(folder, .init(channels: 1), testFraction: 0.2)) == kept)
      for fraction in [0.0, 1, 0.01] {
        #expect(
          message { _ = try ImageFolder.readParts(folder, .init(channels: 1), testFraction: fraction) }
            .contains(fraction == 0.01 ? "too few for training and testing" : "between 0 and 1"))
      }
    }
  }

  @Test func listsInTheFoldersForTrainingAndTesting() throws {
    try withFolder { folder in
      for (part, greys) in [("train", 0..<4), ("test", 4..<6)] {
        var lines = "file_name,label\n"
        for grey in greys {
          try writePicture(UInt8(grey), to: "\(folder)/\(part)/\(grey).png")
          lines += "\(grey).png,\(grey % 2 == 0 ? "even" : "odd")\n"
        }
        try write(lines, to: "\(folder)/\(part)/metadata.csv")
      }
      let (train, test) = try ImageFolder.readParts(folder, .init(channels: 1))
      #expect(try greys(train) == [0, 1, 2, 3] && greys(test) == [4, 5])
      #expect((0..<2).map { test.label(at: $0) } == [0, 1])
      try FileManager.default.removeItem(atPath: "\(folder)/test")
      #expect(message { _ = try ImageFolder.readParts(folder) }.contains("/test: is not a folder"))
    }
  }
}
