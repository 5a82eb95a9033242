import Foundation
import Testing

@testable import DistillData

/// Data that looks right and is not.
@Suite(.timeLimit(.minutes(30))) struct HostileDataTests {
  @Test func refusesColumnsOfOneName() throws {
    try withFolder { folder in
      try write("a,b,a,label\n1,2,3,x\n4,5,6,y\n", to: "\(folder)/t.csv")
      #expect(message { _ = try CSV.read("\(folder)/t.csv") }.contains("two columns called \"a\""))
    }
  }

  @Test func refusesZeroBytesInCells() throws {
    try withFolder { folder in
      try write("a,b,label\n1,2\0,x\n4,5,y\n", to: "\(folder)/t.csv")
      let said = message { _ = try CSV.read("\(folder)/t.csv") }
      #expect(said.contains("line 2, column 2 (b) holds a zero byte"))
    }
  }

  private func writeIDX(_ folder: String, labels: [UInt8]) throws {
    for part in ["train", "t10k"] {
      let numbers = part == "train" ? labels : labels.map { min($0, 2) }
      try write(idx([labels.count, 1, 1], labels), to: "\(folder)/\(part)-images-idx3-ubyte")
      try write(idx([labels.count], numbers), to: "\(folder)/\(part)-labels-idx1-ubyte")
    }
  }

  @Test func refusesALabelThatIsFarOff() throws {
    try withFolder { folder in
      try writeIDX(folder, labels: [0, 1, 2, 255, 1, 0])
      let said = message { _ = try DatasetCatalog.load(name: "idx", folder: folder) }
      #expect(said.contains("label 3 is 255, but only 4 different labels occur"))
      try writeIDX(folder, labels: [0, 1, 5, 2])
      #expect(try DatasetCatalog.load(name: "idx", folder: folder).train.classCount == 6)
    }
  }

  @Test func missingFilesAreNamedInBothForms() throws {
    try withFolder { folder in
      let said = message { _ = try DatasetCatalog.load(name: "idx", folder: folder) }
      #expect(said.contains("train-images-idx3-ubyte, ") && said.contains("each plain or with .gz"))
    }
  }

  @Test func pipesAreRefused() throws {
    try withFolder { folder in
      for kind in ["cat", "dog"] { try write([1], to: "\(folder)/\(kind)/text.txt") }
      #expect(mkfifo("\(folder)/cat/a.png", 0o600) == 0)
      #expect(mkfifo("\(folder)/dog/a.png", 0o600) == 0)
      #expect(message { _ = try ImageFolder.read(folder) }.contains("not a regular file"))
      #expect(message { _ = try SHA256.hex(ofFile: "\(folder)/cat/a.png") }.contains("not a regular file"))
    }
  }

  @Test func linksToFoldersAreNotFollowedAndStraysAreNamed() throws {
    try withFolder { folder in
      let picture = try png(width: 2, height: 2, channels: 1, [1, 2, 3, 4])
      for kind in ["cat", "dog"] { try write(picture, to: "\(folder)/train/\(kind)/1.png") }
      try write(picture, to: "\(folder)/elsewhere/2.png")
      try write(picture, to: "\(folder)/train/stray.png")
      let files = FileManager.default
      try files.createSymbolicLink(atPath: "\(folder)/train/cat/loop", withDestinationPath: "..")
      try files.createSymbolicLink(atPath: "\(folder)/train/dog/out", withDestinationPath: "\(folder)/elsewhere")
      try files.createSymbolicLink(atPath: "\(folder)/train/emu", withDestinationPath: "\(folder)/elsewhere")
      let dataset = try ImageFolder.read("\(folder)/train", .init(channels: 1))
      #expect(dataset.count == 3 && dataset.classNames == ["cat", "dog", "emu"])
      for word in ["stray.png", "cat/loop", "dog/out"] {
        #expect(dataset.notices.contains { $0.contains(word) }, "\(dataset.notices)")
      }
      try files.createSymbolicLink(atPath: "\(folder)/train/fox", withDestinationPath: folder)
      let said = message { _ = try ImageFolder.read("\(folder)/train", .init(channels: 1)) }
      #expect(said.contains("train/fox: is a link to a folder that it lies in"))
    }
  }
}
