import Foundation
import TestSupport
import Testing

@testable import Torch

struct AtomicFileTests {
  private func names(in folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
  }

  private func text(_ path: String) throws -> String {
    String(decoding: try #require(FileManager.default.contents(atPath: path)), as: UTF8.self)
  }

  @Test func aFileIsMadeAndReplaced() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.json"
      try AtomicFile.write(Data("first".utf8), to: path)
      #expect(try text(path) == "first")
      try AtomicFile.write(Data("second, longer".utf8), to: path)
      #expect(try text(path) == "second, longer")
      try AtomicFile.write(Data(), to: path)
      #expect(try text(path).isEmpty)
      #expect(try names(in: folder) == ["a.json"], "nothing else stays")
    }
  }

  private struct Planned: Error {}

  @Test func aFailureLeavesTheOldFile() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.json"
      try AtomicFile.write(Data("old".utf8), to: path)
      #expect(throws: Planned.self) {
        try AtomicFile.write(to: path) { file in
          try file.append(Array("half".utf8))
          #expect(try text(path) == "old", "whoever looks meanwhile sees the old one")
          throw Planned()
        }
      }
      #expect(try text(path) == "old")
      #expect(try names(in: folder) == ["a.json"])
    }
  }

  @Test func whatKilledProcessesLeftIsDeleted() throws {
    try withTemporaryFolder { folder in
      func leave(_ name: String) {
        _ = FileManager.default.createFile(atPath: "\(folder)/\(name)", contents: Data([1]))
      }
      let gone = 2_000_000_000  // larger than any process number
      leave(".a.json.\(gone).77.tmp")
      leave(".a.json.\(getpid()).77.tmp")
      leave(".b.json.\(gone).77.tmp")
      leave(".a.json.mine.tmp")
      try AtomicFile.write(Data("x".utf8), to: "\(folder)/a.json")
      #expect(
        try Set(names(in: folder)) == [
          "a.json", ".a.json.\(getpid()).77.tmp", ".b.json.\(gone).77.tmp", ".a.json.mine.tmp",
        ])
    }
  }

  @Test func aMissingFolderIsNamed() throws {
    try withTemporaryFolder { folder in
      let error = try #require(throws: FileError.self) { try AtomicFile.write(Data(), to: "\(folder)/no/a.json") }
      #expect(error.description == "cannot write \(folder)/no/a.json: there is no folder \(folder)/no; make it first")
    }
  }

  @Test func aFolderInItsPlaceIsNamed() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/taken"
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      let error = try #require(throws: FileError.self) { try AtomicFile.write(Data("x".utf8), to: path) }
      #expect(error.reason.contains("a folder of that name"))
      #expect(try names(in: folder) == ["taken"])
      let file = "\(folder)/file"
      try AtomicFile.write(Data(), to: file)
      let inside = try #require(throws: FileError.self) { try AtomicFile.write(Data(), to: "\(file)/a") }
      #expect(inside.reason.contains("is not a folder"))
    }
  }

  @Test(.enabled(if: getuid() != 0, "the superuser may write everywhere"))
  func aFolderWithoutPermissionIsNamed() throws {
    try withTemporaryFolder { folder in
      chmod(folder, 0o555)
      defer { chmod(folder, 0o755) }
      let error = try #require(throws: FileError.self) { try AtomicFile.write(Data(), to: "\(folder)/a") }
      #expect(error.reason.contains("no permission to write in the folder \(folder)"))
    }
  }

  #if os(Linux)
  /// Nobody, not even the superuser, may make a file there.
  @Test func aFolderOfTheSystemIsRefused() throws {
    let error = try #require(throws: FileError.self) { try AtomicFile.write(Data(), to: "/sys/kernel/a") }
    #expect(error.reason.contains("/sys/kernel"))
  }

  /// /dev/full is a disk that is always full.
  @Test func aFullDiskIsNamed() throws {
    let descriptor = open("/dev/full", O_WRONLY)
    try #require(descriptor >= 0)
    defer { close(descriptor) }
    let error = try #require(throws: FileError.self) {
      try AtomicFile.Output(descriptor: descriptor, path: "a").append([1, 2, 3])
    }
    #expect(error.description == "cannot write a: the disk is full; free some space or choose another folder")
  }
  #endif
}
