import DistillData
import DistillModels
import DistillRuntime
import DistillPrograms
import Torch
import TorchNN

/// A model that teaches, found and held against the data, with how much it counts.
struct TeacherMember: Sendable {
  let name: String
  let specification: ModelSpecification
  /// The file that its weights come from, or that it is.
  let weights: String
  /// How the file is used where it is a model as a whole; its specification then only says shapes.
  let program: Configuration.Program?
  let weight: Double
  /// The class of each of its outputs, nil for an output that is none; nil: all classes, in order.
  let classes: [Int?]?

  /// - Parameters:
  ///   - name: by which terms choose it
  ///   - trained: the folder of a teacher that the run trained itself; nil where it trains none
  ///   - stages: the folders of the students of earlier stages, by the names of these
  /// - Throws: `RunError`, `ModelError`: what is missing, or does not fit the data.
  init(
    _ member: Configuration.Member, named name: String, orTrainedIn trained: ModelFolder?,
    stages: [String: ModelFolder] = [:], materials: Materials
  ) throws {
    let (inputShape, dataClasses) = (materials.train.exampleShape, materials.train.classCount)
    let student = member.stage.flatMap { stages[$0] }
    let source = try ModelSource(student?.path ?? member.weights, orTrainedIn: student == nil ? trained : nil)
    let classes =
      try member.classNumbers(materials.train.classNames, member: name)
      ?? member.ownNames.map { try OwnClassNames(of: source).numbers(materials.train.classNames, known: $0) }
    let classCount = classes?.count ?? dataClasses
    self.name = name
    self.classes = classes
    weights = source.weights
    weight = member.weight
    program = source.program == nil ? nil : member.program
    if let format = source.program {
      specification = ModelSpecification(format.rawValue, [:], inputShape: inputShape, classCount: classCount)
      try member.requireProgram(format)
      try requireLogits(materials)
      return
    }
    try member.requireNoProgram(source)
    guard
      var specification = member.model?.specification(inputShape: inputShape, classCount: classCount)
        ?? source.specification?.fitted(to: inputShape)
    else { throw RunError("the teacher's weights \(source.weights) come without a config.json: give teacher.model") }
    if let own = source.specification, member.model != nil { specification.classCount = own.classCount }
    guard specification.inputShape == inputShape else {
      throw RunError(
        "the teacher in \(source.weights) takes inputs of shape \(specification.inputShape), but the data has "
          + "\(inputShape)")
    }
    guard specification.classCount == classCount else {
      throw RunError(
        classes == nil
          ? "the teacher in \(source.weights) knows \(specification.classCount) classes, but the data has \(dataClasses): "
            + "teacher and student must tell the same classes apart. Of one that knows others too, those of the data are "
            + "found by name, classes: by_name, or by the class of each of its outputs, classes: [...]"
          : "the member '\(name)' of the teacher has \(specification.classCount) outputs, but classes are given for "
            + "\(classCount)")
    }
    try materials.checkTokens(of: specification, "the teacher")
    self.specification = specification
  }

  /// It with its weights, on the device.
  func makeModel(on device: Device) throws -> any Layer {
    if let program { return try program.open(weights, on: device) }
    let model = try ModelZoo.make(specification)
    try model.loadWeights(weights)
    try model.move(to: device)
    return model
  }

  /// A hash of its weights; of a model as a whole also of what is taken from it.
  func hash() throws -> String {
    let hash = try SHA256.hex(ofWeights: weights)
    guard let said = program?.meaning else { return hash }
    return try SHA256.hex(of: "\(hash) \(said)")
  }

  /// Multiply-adds for one input; 0 where they cannot be counted.
  func multiplyAdds() throws -> Int {
    guard program == nil else { return 0 }
    return try ModelZoo.make(specification).summary(inputShape: specification.inputShape).multiplyAdds
  }
}
