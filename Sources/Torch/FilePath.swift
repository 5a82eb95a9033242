/// Parts of paths, as text: nothing is looked up. (Foundation's own words for them end the program at paths of one
/// character on Linux.)
package enum FilePath {
  /// The folder that something lies in: `a` for `a/b`, `/` for `/x`, `.` for a name alone. Slashes at the end do not count.
  package static func folder(of path: String) -> String {
    let parts = Self.parts(path)
    if parts.names.count <= 1 { return parts.isAbsolute ? "/" : "." }
    return (parts.isAbsolute ? "/" : "") + parts.names.dropLast().joined(separator: "/")
  }

  /// The last name: `b` for `a/b` and `a/b/`, `/` for the root, nothing for nothing.
  package static func name(of path: String) -> String {
    let parts = Self.parts(path)
    return parts.names.last ?? (parts.isAbsolute ? "/" : "")
  }

  /// What follows the last dot of the name: `yaml` for `a/b.yaml`, nothing for `a.b/c` and for `.hidden`.
  package static func kind(of path: String) -> String {
    let name = Self.name(of: path)
    guard let dot = name.lastIndex(of: "."), dot > name.startIndex else { return "" }
    return String(name[name.index(after: dot)...])
  }

  /// The name without its kind: `b` for `a/b.yaml`.
  package static func stem(of path: String) -> String {
    let (name, kind) = (Self.name(of: path), Self.kind(of: path))
    return kind.isEmpty ? name : String(name.dropLast(kind.utf8.count + 1))
  }

  package static func joined(_ folder: String, _ name: String) -> String {
    folder.isEmpty || folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
  }

  /// The path without `.`, and without a folder that the next step leaves again: `x/recipe.yaml` for
  /// `x/student/../recipe.yaml`. Where a folder is a link this may be another place: see that it is the same file.
  package static func shortened(_ path: String) -> String {
    let parts = Self.parts(path)
    var names: [String] = []
    for name in parts.names where name != "." {
      if name == "..", let last = names.last, last != ".." {
        names.removeLast()
      } else if name != ".." || !parts.isAbsolute {
        names.append(name)
      }
    }
    let text = names.joined(separator: "/")
    return parts.isAbsolute ? "/" + text : text.isEmpty ? "." : text
  }

  private static func parts(_ path: String) -> (isAbsolute: Bool, names: [String]) {
    (path.utf8.first == UInt8(ascii: "/"), path.split(separator: "/").map(String.init))
  }
}
