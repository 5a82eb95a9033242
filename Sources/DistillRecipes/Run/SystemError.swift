import Foundation
import Torch

/// Folders, and the system's reasons in words of our own.
enum Folder {
  /// Makes a folder and those above it that are missing.
  ///
  /// - Throws: `FileError` about the one that could not be made.
  static func make(_ path: String) throws {
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue { return }
    let parent = FilePath.folder(of: path)
    if parent != path { try make(parent) }
    guard mkdir(path, 0o777) != 0 else { return }
    let code = errno
    // Another process may have been faster.
    if code == EEXIST, FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
      return
    }
    throw error(code, path)
  }

  /// Whether a folder is a place for what a command writes: it is empty, or not there, or holds such a thing already.
  ///
  /// - Parameters:
  ///   - thing: what is written, such as "study"
  ///   - option: by which a person names the folder
  ///   - isThing: whether these files in it are such a thing
  /// - Throws: `RunError` where it holds something else.
  static func checkPlace(_ path: String, of thing: String, option: String, isThing: ([String]) -> Bool) throws {
    if RunFolder(path).exists {
      throw RunError("\(path) holds a run: name another folder for the \(thing) with \(option)")
    }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    guard names.allSatisfy({ $0.hasPrefix(".") }) || isThing(names) else {
      throw RunError(
        "\(path) is not empty and holds no \(thing): nothing in it is touched. Name another folder with \(option)")
    }
  }

  /// Whether the folder could be made, found out by making one where it would be, which is taken away again at once.
  ///
  /// - Throws: `FileError` with the reason why not.
  static func tryMaking(_ path: String) throws {
    var place = path
    var isFolder: ObjCBool = false
    while !FileManager.default.fileExists(atPath: place, isDirectory: &isFolder) {
      if let problem = BrokenLink.problem(at: place) { throw FileError(path: path, reason: problem, code: ENOENT) }
      let parent = FilePath.folder(of: place)
      // Even the current folder may be gone.
      guard parent != place else { throw FileError(path: path, code: ENOENT) }
      place = parent
    }
    guard isFolder.boolValue else { throw FileError(path: path, reason: "\(place) is a file", code: ENOTDIR) }
    let trial = "\(place)/.distill.\(getpid()).tmp"
    guard mkdir(trial, 0o700) == 0 else {
      var error = error(errno, trial)
      error.path = path
      throw error
    }
    rmdir(trial)
  }

  private static func error(_ code: Int32, _ path: String) -> FileError {
    let parent = FilePath.folder(of: path)
    // Of folders such as /proc the system says so, although they are there.
    if code == ENOENT, FileManager.default.fileExists(atPath: parent) {
      return FileError(path: path, reason: "the system lets nobody make anything in \(parent)", code: EACCES)
    }
    if code == EEXIST {
      return FileError(path: path, reason: BrokenLink.problem(at: path) ?? "it is a file", code: code)
    }
    return FileError(path: path, code: code)
  }
}

extension RunError {
  /// Why something could not be written. A full disk is a failure of the work; a place that cannot be used is one that
  /// a person chose.
  init(_ what: String, because error: FileError, advice: String = "") {
    self.init("\(what): \(error.reason)\(advice)", kind: error.isUnusablePlace ? .usage : .failure)
  }
}

/// A path as an error should show it: of a relative one also where it was looked for.
func whereLookedFor(_ path: String) -> String {
  path.hasPrefix("/")
    ? "" : " in the folder \(FileManager.default.currentDirectoryPath), which relative paths of a recipe start from"
}
