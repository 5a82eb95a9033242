import Foundation
import Torch

/// Writes a file that a person will go on with.
public enum NewFile {
  /// - Parameter force: replaces a file that is there already
  /// - Throws: `RunError` when there is one, when it is a pipe or a device, or when the folder is not there; `FileError`
  ///   when it cannot be written.
  public static func write(_ text: String, to path: String, force: Bool) throws {
    try check(path, force: force)
    try AtomicFile.write(Data(text.utf8), to: path)
  }

  /// Writes a page over an older page, but over nothing else.
  ///
  /// - Throws: `RunError` where something else is there; otherwise as `write`.
  public static func writePage(_ html: String, to path: String) throws {
    try checkPage(path)
    try AtomicFile.write(Data(html.utf8), to: path)
  }

  /// Throws what `writePage` would throw for the path alone.
  public static func checkPage(_ path: String) throws {
    try check(path, force: true, example: "report.html")
    guard FileManager.default.fileExists(atPath: path) else { return }
    let start = try FileHandle(forReadingFrom: URL(fileURLWithPath: path)).read(upToCount: 512) ?? Data()
    let text = String(decoding: start, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines).lowercased()
    guard text.isEmpty || text.hasPrefix("<!doctype html") || text.hasPrefix("<html") else {
      throw RunError("\(path) is there already and is no HTML page, so it is not replaced: name another file")
    }
  }

  /// Throws what `write` would throw for the path alone, before work is spent on what is to be written.
  ///
  /// - Parameter example: the name of a file such as this
  public static func check(_ path: String, force: Bool, example: String = "recipe.yaml") throws {
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) {
      guard !isFolder.boolValue else {
        throw RunError("\(path) is a folder: name a file, such as \(FilePath.joined(path, example))")
      }
      guard !RegularFile.isOtherThanFile(path) else {
        throw RunError("\(path) is not a regular file, and is never replaced: name another file")
      }
      guard force else { throw RunError("\(path) is there already: name another file, or replace it with --force") }
    }
    let folder = FilePath.folder(of: path)
    if folder != "." {
      guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue else {
        throw RunError("\(path) cannot be written: there is no folder \(folder). Make it first")
      }
    }
  }
}
