import DistillModels
import DistillRuntime
import Distillation
import Torch
import TorchNN

// The models of stages before any of them is trained, to find out whether they fit.

extension Configuration {
  /// Where something is, for messages: `in the setting 'few labels', stage 'hints': `; empty where a recipe has neither.
  func place(ofStage index: Int, setting: String = "") -> String {
    let stage = sequence[index].name
    let parts = [
      setting.isEmpty ? nil : "setting '\(setting)'", stage.isEmpty ? nil : "stage '\(stage)'",
    ].compactMap(\.self)
    return parts.isEmpty ? "" : "in the \(parts.joined(separator: ", ")): "
  }

  /// The student that a stage trains, with its weights where it begins with those of a file.
  ///
  /// - Parameter setting: the setting's name, for messages
  /// - Throws: an error that says in which stage it is
  func studentModel(
    ofStage index: Int, setting: String = "", inputShape: [Int], classCount: Int
  ) throws -> any Layer {
    let recipe = sequence[index].configuration
    // What is wrong with a student is wrong in all of its stages: the first of them is named, or none for the recipe's.
    let first = sequence.firstIndex { $0.configuration.student == recipe.student } ?? index
    let owner = recipe.student == student ? "" : place(ofStage: first, setting: setting)
    let model = try located(owner) {
      let model = try ModelZoo.make(try recipe.studentSpecification(inputShape: inputShape, classCount: classCount))
      if let weights = recipe.student.weights {
        try model.loadWeights(try ModelSource(weights).weights, asStart: true)
      }
      if recipe.student.keyThatNeedsTeacher != nil {
        // Whether it fits can be seen from any weights.
        let teacher = try recipe.teacherToStartFrom(inputShape: inputShape, classCount: classCount)
        try recipe.student.start(model, from: try ModelZoo.make(teacher), teacher, isAlone: false)
      }
      try recipe.checkClassifier(
        of: model, try recipe.studentSpecification(inputShape: inputShape, classCount: classCount))
      return model
    }
    do { try recipe.training.parts.check(model) } catch let error as DistillationError {
      throw RunError("\(place(ofStage: index, setting: setting))\(recipe.training.parts.key): \(error)")
    }
    return model
  }

  /// The models that teach in a stage. Those that are still to be trained have random weights.
  ///
  /// - Parameter setting: the setting's name, for messages
  /// - Throws: an error that says in which stage it is
  func teachingModels(
    ofStage index: Int, setting: String = "", materials: Materials
  ) throws -> TeachingModels {
    // The recipe's own teacher is no matter of a stage.
    try located(sequence[index].hasOwnTeacher ? place(ofStage: index, setting: setting) : "") {
      try teachingModels(ofStage: index, materials)
    }
  }

  private func teachingModels(ofStage index: Int, _ materials: Materials) throws -> TeachingModels {
    let recipe = sequence[index].configuration
    let (shape, classes) = (materials.train.exampleShape, materials.train.classCount)
    var found = TeachingModels(members: [], classCount: classes)
    guard let teacher = recipe.teacher else { return found }
    func student(_ recipe: Configuration) throws -> any Layer {
      try ModelZoo.make(try recipe.studentSpecification(inputShape: shape, classCount: classes))
    }
    if teacher.mean != nil {
      found.members = [TeachingModels.Member(name: "mean", model: try student(recipe))]
      return found
    }
    if !teacher.peers.isEmpty {
      found.hasNames = true
      found.members = try teacher.peers.map { peer in
        try located("the peer '\(peer.name)': ") {
          let model = try ModelZoo.make(
            try peer.specification(student: recipe.student, inputShape: shape, classCount: classes))
          if let weights = peer.weights { try model.loadWeights(ModelSource(weights).weights, asStart: true) }
          return TeachingModels.Member(name: peer.name, model: model)
        }
      }
      return found
    }
    // A cache teaches without a model.
    guard !teacher.members.isEmpty else { return found }
    if teacher.isToBeTrained {
      let model = try ModelZoo.make(try teacher.specificationToTrain(inputShape: shape, classCount: classes))
      found.members = [TeachingModels.Member(name: teacher.names[0], model: model)]
      return found
    }
    found.hasLearnt = teacher.members.allSatisfy { $0.stage == nil }
    found.average = teacher.average
    found.weighting = teacher.weighting.ofExamples
    let stages = teachingStages(of: index)
    found.members = try zip(teacher.members, teacher.names).map { member, name in
      if let number = member.stage.flatMap({ stages[$0] }) {
        return TeachingModels.Member(
          name: name, model: try student(sequence[number].configuration), weight: member.weight)
      }
      let source = try TeacherMember(member, named: name, orTrainedIn: nil, materials: materials)
      return TeachingModels.Member(
        name: name, model: try source.makeModel(on: .cpu), weight: source.weight, classes: source.classes)
    }
    try Member.requireAll(materials.train.classNames, knownBy: found.members.map(\.classes))
    return found
  }
}

/// A student that a training trains: the recipe's, or one that is trained together with it.
struct Learner {
  /// Nil for the recipe's own.
  var peer: String?
  var student: any Layer
  var terms: [Configuration.Term]
  /// Those that it learns from.
  var teachers: TeachingModels

  func objective() throws -> Objective {
    try Objective(
      terms.map { term in
        try term.entry(student: student) { choice in
          let models = teachers.models(for: choice)
          return models.count == 1 ? models[0].state : nil
        }
      })
  }
}

extension Configuration {
  /// All students that a stage trains, the recipe's first.
  ///
  /// - Parameters:
  ///   - setting: the setting's name, for messages
  ///   - teachers: the models that teach in it, where they have been made already
  func learners(
    ofStage index: Int, setting: String = "", materials: Materials, teachers: TeachingModels? = nil
  ) throws -> [Learner] {
    let recipe = sequence[index].configuration
    try located(place(ofStage: index, setting: setting)) { try materials.checkTokens(of: recipe) }
    let teachers = try teachers ?? teachingModels(ofStage: index, setting: setting, materials: materials)
    let own = Learner(
      student: try studentModel(
        ofStage: index, setting: setting, inputShape: materials.train.exampleShape,
        classCount: materials.train.classCount),
      terms: recipe.terms, teachers: teachers)
    let all = [TeachingModels.Member(name: Peer.student, model: own.student)] + teachers.members
    return [own]
      + zip(recipe.teacher?.peers ?? [], teachers.members).map { peer, member in
        var others = teachers
        others.members = all.filter { $0.name != peer.name }
        return Learner(
          peer: peer.name, student: member.model, terms: peer.terms ?? recipe.terms, teachers: others)
      }
  }
}

extension Configuration.Peer {
  /// - Parameter student: whose model it has where it says none of its own
  func specification(
    student: Configuration.Student, inputShape: [Int], classCount: Int
  ) throws -> ModelSpecification {
    let own = model == nil && weights == nil ? student : Configuration.Student(model: model, weights: weights)
    return try own.specification(inputShape: inputShape, classCount: classCount)
  }
}

extension TrainedParts {
  /// The recipe's key that most likely is wrong where they do not fit a student.
  fileprivate var key: String {
    trained == nil ? "training.freeze" : frozen.isEmpty ? "training.only" : "training.only, training.freeze"
  }
}

/// What `body` gives. What it throws says where.
///
/// - Parameter place: such as `in the stage 'hints': `; empty: nothing is said
func located<Value>(_ place: String, _ body: () throws -> Value) throws -> Value {
  guard !place.isEmpty else { return try body() }
  do { return try body() } catch let error as any ReportedError {
    // These are told apart by their kind.
    if error is FileError || error is Interrupted || (error as? RunError)?.kind == .interrupted { throw error }
    throw RunError("\(place)\(error)", kind: error.isUsersToMend ? .usage : .failure)
  }
}
