import Foundation
import Testing

@testable import Torch

@Suite("Paths")
struct FilePathTests {
  /// Paths of one character ended the program.
  @Test(
    "The folder and the name of any path",
    arguments: [
      ("x", ".", "x"), ("a/b", "a", "b"), ("/", "/", "/"), ("", ".", ""), ("a/", ".", "a"), ("/x", "/", "x"),
      ("a//b", "a", "b"), ("/a/b/", "/a", "b"), (".", ".", "."), ("../é", "..", "é"), ("//", "/", "/"),
    ])
  func parts(path: String, folder: String, name: String) {
    #expect(FilePath.folder(of: path) == folder)
    #expect(FilePath.name(of: path) == name)
  }

  @Test(
    "The kind of a file, and its name without",
    arguments: [
      ("a/b.yaml", "yaml", "b"), ("i", "", "i"), ("a.b/c", "", "c"), (".hidden", "", ".hidden"),
      ("x.tar.gz", "gz", "x.tar"), ("x.", "", "x."), ("", "", ""),
    ])
  func kinds(path: String, kind: String, stem: String) {
    #expect(FilePath.kind(of: path) == kind)
    #expect(FilePath.stem(of: path) == stem)
  }

  @Test(
    "Steps back are left out",
    arguments: [
      ("x/student/../recipe.yaml", "x/recipe.yaml"), ("x/../../y", "../y"), ("./a/./b", "a/b"), ("/../a", "/a"),
      ("a/..", "."), ("", "."), ("/", "/"),
    ])
  func shortened(path: String, expected: String) {
    #expect(FilePath.shortened(path) == expected)
  }

  @Test("A file in a folder of one character, or with such a name, is written", .timeLimit(.minutes(30)))
  func shortNames() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
    try FileManager.default.createDirectory(atPath: "\(folder)/a", withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for path in ["\(folder)/a/b", "\(folder)/w"] {
      try AtomicFile.write(Data([1]), to: path)
      #expect(FileManager.default.contents(atPath: path) == Data([1]))
    }
  }

  @Test("A pipe is refused at once, and an empty file has no bytes")
  func pipes() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    #expect(mkfifo("\(folder)/pipe", 0o600) == 0)
    #expect(RegularFile.isOtherThanFile("\(folder)/pipe"))
    #expect(!RegularFile.isOtherThanFile(folder))
    let error = try #require(throws: TorchError.self) { try HostBuffer(mapping: "\(folder)/pipe") }
    #expect(error.message.contains("not a regular file"))
    try Data().write(to: URL(fileURLWithPath: "\(folder)/empty"))
    #expect(try HostBuffer(mapping: "\(folder)/empty").bytes.isEmpty)
  }
}
