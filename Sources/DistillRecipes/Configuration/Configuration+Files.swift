import DistillData
import Foundation

// The files that a recipe names.

extension Configuration {
  /// The keys that name files and folders to read, with what they name.
  var files: [(key: String, path: String)] {
    var files: [(String, String)] = []
    if let path = data.path { files.append(("data.path", path)) }
    if let path = data.labelledText?.tokenizer { files.append(("data.tokenizer", path)) }
    for (index, addition) in data.also.enumerated() {
      if let path = addition.path { files.append(("data.also[\(index)].path", path)) }
    }
    for (index, member) in (teacher?.members ?? []).enumerated() {
      guard let path = member.weights else { continue }
      files.append(((teacher?.isEnsemble ?? false) ? "teacher.members[\(index)].weights" : "teacher.weights", path))
    }
    if let path = teacher?.cache { files.append(("teacher.cache", path)) }
    for (index, peer) in (teacher?.peers ?? []).enumerated() {
      if let path = peer.weights { files.append(("teacher.peers[\(index)].weights", path)) }
    }
    if let path = student.weights { files.append(("student.weights", path)) }
    for (index, stage) in stages.enumerated() {
      for (key, path) in stage.configuration.files where !files.contains(where: { $0 == (key, path) }) {
        files.append(("stages[\(index)].\(key)", path))
      }
    }
    return files
  }

  /// The recipe as it works from whatever folder: relative paths of files are made absolute.
  var yamlWithAbsoluteFiles: String { withAbsoluteFiles(node).yaml }

  /// As it was written, without defaults, under this name and with absolute paths.
  var writtenWithAbsoluteFiles: RecipeNode {
    var written = tree
    written.content = .map(
      [RecipeNode.Entry(key: "name", keyLocation: nil, value: .text(name))]
        + (tree.entries ?? []).filter { $0.key != "name" })
    return withAbsoluteFiles(written)
  }

  private func withAbsoluteFiles(_ node: RecipeNode) -> RecipeNode {
    let base = FileManager.default.currentDirectoryPath
    return RecipeNode(
      .map(
        (node.entries ?? []).map { entry in
          var entry = entry
          if Self.keysWithFiles.contains(entry.key) {
            entry.value = entry.value.withUsualFolders { Self.usualFolder(of: $0) }
              .withFiles { .text(Self.absolute($0, in: base)) }
          }
          // Where the data is that the recipe names without a path.
          if entry.key == "data", data.path == nil, let folder = Self.usualFolder(of: data.dataset),
            case .map(let entries) = entry.value.content
          {
            let path = RecipeNode.Entry(key: "path", keyLocation: nil, value: .text(Self.absolute(folder, in: base)))
            entry.value.content = .map(entries.filter { $0.key != "path" } + [path])
          }
          return entry
        }))
  }

  private static let keysWithFiles = ["data", "teacher", "student", "stages", "settings"]

  private static func usualFolder(of dataset: String) -> String? {
    DatasetCatalog.entries.first { $0.name == dataset }?.folder
  }

  private static func absolute(_ path: String, in base: String) -> String {
    let expanded = RecipeFile.expandingHome(path)
    return expanded.hasPrefix("/") ? expanded : "\(base)/\(expanded)"
  }

  /// A hash of parts of the recipe, without where files lie: what is in them is told apart by hashes of its own.
  func identity(of parts: [Part]) throws -> String {
    let text = parts.map { part in
      let node = part == .alone ? alone.node : node[part.rawValue] ?? .null
      return "\(part.rawValue):\n\(node.withFiles { _ in nil }.yaml)"
    }.joined()
    return try SHA256.hex(of: text)
  }
}

extension RecipeNode {
  /// The same, with the folder of each of the data sets in `data.also` that is named without one.
  fileprivate func withUsualFolders(_ folder: (String) -> String?) -> RecipeNode {
    var result = self
    switch content {
    case .scalar: break
    case .list(let items): result.content = .list(items.map { $0.withUsualFolders(folder) })
    case .map(let entries):
      result.content = .map(
        entries.map { entry in
          var entry = entry
          if entry.key.split(separator: ".").last == "also", let items = entry.value.items {
            entry.value.content = .list(
              items.map { item in
                guard case .map(let entries) = item.content, (item["path"]?.isNull ?? true),
                  case .scalar(let name, _)? = item["dataset"]?.content, let path = folder(name)
                else { return item }
                var item = item
                item.content = .map(
                  entries.filter { $0.key != "path" } + [Entry(key: "path", keyLocation: nil, value: .text(path))])
                return item
              })
          } else {
            entry.value = entry.value.withUsualFolders(folder)
          }
          return entry
        })
    }
    return result
  }

  /// The same, with each name of a file replaced, or taken out.
  func withFiles(_ replace: (String) -> RecipeNode?) -> RecipeNode {
    var result = self
    switch content {
    case .scalar: break
    case .list(let items): result.content = .list(items.map { $0.withFiles(replace) })
    case .map(let entries):
      result.content = .map(
        entries.compactMap { entry in
          var entry = entry
          let name = entry.key.split(separator: ".").last ?? ""
          if ["path", "weights", "cache", "tokenizer"].contains(name), case .scalar(let text, _) = entry.value.content,
            !entry.value.isNull
          {
            guard let value = replace(text) else { return nil }
            entry.value = value
          } else {
            entry.value = entry.value.withFiles(replace)
          }
          return entry
        })
    }
    return result
  }
}
