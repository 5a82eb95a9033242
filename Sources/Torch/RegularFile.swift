import Foundation

/// Files as people mean them. A pipe would let the program wait for ever, a device never end.
package enum RegularFile {
  /// The words for what is not a file, for after the path.
  package static let refusal = "is not a regular file: only those are read, no pipes and no devices"

  /// Whether something is there that only looks like a file: a pipe, a device, a socket.
  package static func isOtherThanFile(_ path: String) -> Bool {
    var status = stat()
    guard stat(path, &status) == 0 else { return false }
    return status.st_mode & S_IFMT != S_IFREG && status.st_mode & S_IFMT != S_IFDIR
  }

  /// Whether a folder is there, or a link to one.
  package static func isFolder(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
  }

  /// Where a path leads once all links are followed; nil where nothing is.
  package static func place(of path: String) -> String? {
    guard let found = realpath(path, nil) else { return nil }
    defer { free(found) }
    return String(cString: found)
  }
}

/// Links that lead nowhere: the system says of them both that they are there and that they are not.
package enum BrokenLink {
  /// What is wrong with a path where there is such a link; nil for everything else.
  package static func problem(at path: String) -> String? {
    guard !FileManager.default.fileExists(atPath: path),
      let target = try? FileManager.default.destinationOfSymbolicLink(atPath: path)
    else { return nil }
    return "\(path) is a link to \(target), which does not exist"
  }
}
