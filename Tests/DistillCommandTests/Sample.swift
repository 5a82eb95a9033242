import Foundation
import Testing

/// A small run on the digits that come with the program, made once for all tests that look at one.
enum Sample {
  static let recipe = """
    # A small run for tests.
    name: sample
    seeds: [1, 2]
    threads: 1
    output: runs/sample
    data: {dataset: digits}
    teacher:
      model: {architecture: mlp, hidden: [64]}
      training: {epochs: 12, batch_size: 64, optimizer: {kind: adamw, learning_rate: 3e-3}}
    student: {model: {architecture: mlp, hidden: [8]}}
    terms:
      - soft_targets: {temperature: 2, weight: 0.9}
      - hard_labels: {weight: 0.1}
    training: {epochs: 10, batch_size: 64, optimizer: {kind: adamw, learning_rate: 1e-2}}
    """

  /// The folder in which it was run: `recipe.yaml`, and `runs/sample`.
  static func folder() throws -> String { try made.get() }

  private static let made: Result<String, any Error> = Result {
    let folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("distill-sample-\(ProcessInfo.processInfo.processIdentifier)").path
    try? FileManager.default.removeItem(atPath: folder)
    try write(recipe, to: "\(folder)/recipe.yaml")
    atexit {
      let folder = FileManager.default.temporaryDirectory
        .appendingPathComponent("distill-sample-\(ProcessInfo.processInfo.processIdentifier)").path
      try? FileManager.default.removeItem(atPath: folder)
    }
    let outcome = try Command.run(["run", "recipe.yaml"], in: folder)
    // An error of its own, not an expectation: every test that needs the run has to fail, not only the first.
    guard outcome.code == 0 else { throw Failure(description: outcome.everything) }
    return folder
  }

  private struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  /// A folder with a recipe that uses a copy of the sample's teacher, in `teacher`.
  static func withTeacher<Value>(_ recipe: String = recipeWithTeacher, _ body: (String) throws -> Value) throws -> Value
  {
    let source = try folder()
    return try withFolder { folder in
      try FileManager.default.copyItem(atPath: "\(source)/runs/sample/teacher", toPath: "\(folder)/teacher")
      try write(recipe, to: "\(folder)/recipe.yaml")
      return try body(folder)
    }
  }

  static let recipeWithTeacher = """
    name: case
    seeds: [1, 2]
    threads: 1
    data: {dataset: digits}
    teacher: {weights: teacher}
    student: {model: {architecture: mlp, hidden: [8]}}
    terms:
      - soft_targets: {temperature: 4, weight: 0.9}
      - hard_labels: {weight: 0.1}
    training: {epochs: 1, batch_size: 64}
    """

  /// Another one, named and trained a little longer, for what holds trainings against each other.
  static let warmRecipe = """
    name: warm
    seeds: [1, 2]
    threads: 1
    data: {dataset: digits}
    teacher: {weights: teacher}
    student: {model: {architecture: mlp, hidden: [8]}}
    terms:
      - soft_targets: {temperature: 2, weight: 0.9}
      - hard_labels: {weight: 0.1}
    training: {epochs: 2, batch_size: 64, optimizer: {kind: adamw, learning_rate: 1e-2}}
    """
}
