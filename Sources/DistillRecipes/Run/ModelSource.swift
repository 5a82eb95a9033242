import DistillModels
import DistillRuntime
import DistillPrograms
import Foundation
import Torch

/// Where a model's weights are, and what it is where a `config.json` says so.
struct ModelSource {
  var weights: String
  var specification: ModelSpecification?
  /// Whether another library wrote the folder.
  var isForeign = false
  /// What it is, where it is a model as a whole and not weights.
  var program: ProgramFormat?

  /// - Parameters:
  ///   - path: a file of weights or a model folder, as a recipe names it
  ///   - trained: the folder of a model that the run trained itself, used where `path` names nothing
  init(_ path: String?, orTrainedIn trained: ModelFolder? = nil) throws {
    let files = FileManager.default
    var isFolder: ObjCBool = false
    if let path, files.fileExists(atPath: path, isDirectory: &isFolder) {
      guard !RegularFile.isOtherThanFile(path) else { throw RunError("\(path) \(RegularFile.refusal)") }
      let folder = ModelFolder(isFolder.boolValue ? path : FilePath.folder(of: path))
      weights = isFolder.boolValue ? folder.weightsToRead : path
      program = ProgramFormat(of: weights)
      if isFolder.boolValue || (FilePath.name(of: path) == "model.safetensors" && folder.exists) {
        specification = try folder.description().model
        isForeign = folder.isForeign
      }
    } else if let trained, trained.exists {
      weights = trained.weights
      specification = try trained.description().model
    } else {
      let name = path.map { "\($0) does not exist\(whereLookedFor($0))" } ?? "no weights are given"
      throw RunError("\(name): name a file of weights or a model folder, or say how to train it")
    }
  }
}

extension ModelSource {
  /// What a student is that starts here: where another library wrote the folder, with a head for the classes of the data.
  func start(inputShape: [Int], classCount: Int) -> ModelSpecification? {
    guard var specification, isForeign else { return specification }
    specification = specification.fitted(to: inputShape)
    if specification.architecture == "bert" { specification.options["head"] = "classes" }
    if !["decoder", "llama"].contains(specification.architecture) { specification.classCount = classCount }
    return specification
  }
}

extension ModelSpecification {
  /// For texts as long as those of the data: a transformer reads any up to its greatest length.
  func fitted(to inputShape: [Int]) -> ModelSpecification {
    guard self.inputShape.count == 1, inputShape.count == 1, case .integer(let longest) = options["length"],
      inputShape[0] <= max(longest, self.inputShape[0])
    else { return self }
    var fitted = self
    fitted.inputShape = inputShape
    return fitted
  }
}

// What the models of a recipe are, once the data is known.

extension Configuration.Student {
  /// - Throws: `RunError`, `ModelError` when the student is not said or does not fit the data.
  func specification(inputShape: [Int], classCount: Int) throws -> ModelSpecification {
    let own = try weights.map { try ModelSource($0).start(inputShape: inputShape, classCount: classCount) } ?? nil
    guard let specification = model?.specification(inputShape: inputShape, classCount: classCount) ?? own else {
      throw RunError("student.model has to say what the student is")
    }
    let resolved = try ModelZoo.resolve(specification)
    guard resolved.classCount == classCount, resolved.inputShape == inputShape else {
      throw RunError(
        "the student takes \(resolved.inputShape) and knows \(resolved.classCount) classes, but the data has "
          + "\(inputShape) and \(classCount)")
    }
    return resolved
  }
}

extension Configuration.Teacher {
  /// Whether a run trains the teacher first: the recipe says how, and the weights are not there.
  var isToBeTrained: Bool {
    guard training != nil, members.count == 1 else { return false }
    return !(members[0].weights.map { FileManager.default.fileExists(atPath: $0) } ?? false)
  }

  /// What is to be trained.
  ///
  /// - Throws: `RunError`, `ModelError` when that is not said or does not fit the data.
  func specificationToTrain(inputShape: [Int], classCount: Int) throws -> ModelSpecification {
    guard let model = members.first?.model else { throw RunError("teacher.model has to say what is to be trained") }
    return try ModelZoo.resolve(model.specification(inputShape: inputShape, classCount: classCount))
  }
}
