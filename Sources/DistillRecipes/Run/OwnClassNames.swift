import DistillRuntime
import Torch
import TorchNN

/// What a model's `config.json` calls its classes, by which those of the data are found.
///
/// A class is called by its whole name or, where no other is called just that, by one of those in it: `tench, Tinca tinca`
/// is also `tench`. Letters large or small, and `_` in place of a space, are the same.
struct OwnClassNames {
  let labels: [String]
  /// For messages.
  let weights: String

  /// - Throws: `RunError` when the model does not say what its classes are called
  init(of source: ModelSource) throws {
    let folder = ModelFolder(FilePath.folder(of: source.weights))
    guard source.program == nil, folder.exists, let description = try? folder.description(), !description.labels.isEmpty
    else {
      throw RunError(
        "the teacher's classes cannot be found by name: \(source.weights) has no config.json that names them. Give the "
          + "class of each of its outputs: classes: [...]")
    }
    self.init(labels: description.labels, weights: source.weights)
  }

  init(labels: [String], weights: String) {
    self.labels = labels
    self.weights = weights
  }

  /// The number of the data's class for each output; nil for one that is none.
  ///
  /// - Parameter known: the model's names of classes, by the data's
  /// - Throws: `RunError` when a class has no output, an output two classes, or a name is that of several outputs.
  func numbers(_ classNames: [String], known: [String: String]) throws -> [Int?] {
    if let unknown = known.keys.filter({ !classNames.contains($0) }).min() {
      let near = closest(to: unknown, in: classNames, limit: 1).first.map { "; did you mean '\($0)'?" } ?? ""
      throw RunError("teacher.classes names '\(unknown)', which is no class of the data\(near)")
    }
    let whole = Dictionary(grouping: labels.indices) { Self.plain(labels[$0]) }
    var outputs: [String: [Int]] = [:]
    for (output, label) in labels.enumerated() {
      for name in Self.names(in: label) { outputs[name, default: []].append(output) }
    }
    var numbers = [Int?](repeating: nil, count: labels.count)
    for (number, name) in classNames.enumerated() {
      let wanted = known[name] ?? name
      let found = whole[Self.plain(wanted)] ?? outputs[Self.plain(wanted)] ?? []
      guard let output = found.first else {
        let near = closest(to: Self.plain(wanted), in: outputs.keys.sorted(), limit: 3)
        throw RunError(
          "the teacher in \(weights) has no class '\(wanted)'\(wanted == name ? "" : " for '\(name)'"): say what it calls "
            + "it, classes: {\(name): ...}" + (near.isEmpty ? "" : "; it knows \(near.joined(separator: ", "))"))
      }
      guard found.count == 1 else {
        let all = found.prefix(5).map { "'\(labels[$0])'" }.joined(separator: " and ")
        throw RunError("the teacher in \(weights) calls several classes '\(wanted)', \(all): give a whole name")
      }
      if let other = numbers[output] {
        throw RunError(
          "'\(name)' and '\(classNames[other])' are the same class of the teacher in \(weights), '\(labels[output])'")
      }
      numbers[output] = number
    }
    return numbers
  }

  /// The whole name, and those in it.
  private static func names(in label: String) -> Set<String> {
    Set([plain(label)] + label.split(separator: ",").map { plain(String($0)) })
  }

  private static func plain(_ name: String) -> String {
    name.lowercased().split { $0 == "_" || $0 == " " }.joined(separator: " ")
  }
}
