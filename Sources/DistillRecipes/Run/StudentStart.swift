import DistillModels
import DistillPrograms
import Distillation
import Torch
import TorchNN

// What a student is and starts with, where that depends on its teacher.

extension Configuration {
  /// What the student is.
  ///
  /// - Parameter isAlone: whether it has no teacher, and so a classifier of its own
  /// - Throws: `RunError`, `ModelError` when it is not said, or does not fit the data or the teacher.
  func studentSpecification(
    inputShape: [Int], classCount: Int, isAlone: Bool = false
  ) throws -> ModelSpecification {
    let own = try student.specification(inputShape: inputShape, classCount: classCount)
    guard student.classifier == .teacher, !isAlone else { return own }
    return try ReusedClassifier.specification(
      student: own, teacher: try teacherToStartFrom(inputShape: inputShape, classCount: classCount),
      reduction: student.reduction)
  }

  /// What the teacher is whose weights the student starts with.
  func teacherToStartFrom(inputShape: [Int], classCount: Int) throws -> ModelSpecification {
    guard let teacher, teacher.members.count == 1, let member = teacher.members.first, member.stage == nil else {
      throw RunError("student.\(student.keyThatNeedsTeacher ?? "copy") needs a teacher that is one model")
    }
    if let model = member.model {
      return try ModelZoo.resolve(model.specification(inputShape: inputShape, classCount: classCount))
    }
    let source = try ModelSource(member.weights)
    if let program = source.program {
      throw RunError(
        "student.\(student.keyThatNeedsTeacher ?? "copy") takes from the layers of the teacher, and \(source.weights) is "
          + "\(program.name): its inside cannot be looked at")
    }
    guard let own = source.specification else {
      throw RunError("the teacher's weights \(member.weights ?? "") come without a config.json: give teacher.model")
    }
    return try ModelZoo.resolve(own.fitted(to: inputShape))
  }
}

extension Configuration.Student {
  /// Gives a student what it has of its teacher when it starts.
  ///
  /// - Parameters:
  ///   - model: the student
  ///   - teacher: what it starts from
  ///   - isAlone: whether the classifier is its own
  /// - Throws: `RunError` when the student cannot take it over.
  func start(_ model: any Layer, from teacher: any Layer, _ specification: ModelSpecification, isAlone: Bool) throws {
    do {
      if let prune { try Pruning.start(student: model, fromTeacher: teacher, by: prune) }
      let state = teacher.state
      let copies = try copy.flatMap { copy in
        switch copy {
        case .layer(let layer): [layer]
        case .map(let map, let student, let teacher):
          try LayerCopy.layers(map, student: student, teacher: teacher, in: model, from: state)
        }
      }
      if !copies.isEmpty { try model.copyLayers(copies, from: teacher) }
      if classifier == .teacher, !isAlone {
        try (model as? ReusedClassifier)?.takeClassifier(from: state, of: specification)
      }
    } catch let error where error is DistillationError || error is ModelError || error is ChannelError {
      throw RunError("student.\(keyThatNeedsTeacher ?? "copy"): \(error)")
    }
  }
}
