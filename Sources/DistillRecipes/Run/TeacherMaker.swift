import DistillData
import DistillModels
import DistillRuntime
import Distillation
import Torch
import TorchNN

/// Makes the teacher of a recipe, of models whose weights are there, for whoever needs one.
struct TeacherMaker: Sendable {
  let members: [TeacherMember]
  let device: Device
  private let average: EnsembleAverage
  private let weighting: Configuration.Weighting
  let precision: Precision
  private let channelsLast: Bool
  let materials: Materials
  private let scores: TeacherScores
  private let candidates: Int
  /// What the recipe says, or what was chosen for each member by the hash of its weights.
  private let givenPrecision: TeacherPrecision?
  private let chosenPrecisions: [String: TeacherPrecision]
  private let specialists: [(record: SpecialistRecord, member: TeacherMember)]

  /// - Parameters:
  ///   - stages: the folders of the students of earlier stages, by the names of these
  ///   - scores: what members scored, shared by all makers of a run
  ///   - requiresSpecialists: whether those that the recipe asks for must be there; otherwise they teach as far as they are
  /// - Throws: `RunError`, `ModelError`: what is missing, or does not fit the data.
  init(
    _ teacher: Configuration.Teacher, folder: RunFolder, materials: Materials, device: Device,
    precision: Precision = .float32, channelsLast: Bool = false, stages: [String: ModelFolder] = [:],
    scores: TeacherScores = TeacherScores(), requiresSpecialists: Bool = false
  ) throws {
    let trained = teacher.training == nil ? nil : ModelFolder(folder.teacher)
    members = try zip(teacher.members, teacher.names).map {
      try TeacherMember($0, named: $1, orTrainedIn: trained, stages: stages, materials: materials)
    }
    self.device = device
    average = teacher.average
    weighting = teacher.weighting
    self.precision = precision
    self.channelsLast = channelsLast
    self.materials = materials
    self.scores = scores
    givenPrecision = teacher.precision
    chosenPrecisions = teacher.chosenPrecisions
    candidates = teacher.specialists?.candidates ?? 1
    let records = teacher.specialists == nil ? [] : try SpecialistRecord.all(in: folder)
    guard records != nil || !requiresSpecialists else {
      throw RunError("\(folder.specialists) is missing: the run makes the specialists when it is gone on with")
    }
    specialists = try (records ?? []).enumerated().map { index, record in
      var member = Configuration.Member(
        model: nil, weights: "\(folder.path)/\(record.folder)", stage: nil, weight: 1)
      member.classes = record.names.map { $0 } + [nil]
      return (
        record,
        try TeacherMember(member, named: "specialist \(index + 1)", orTrainedIn: nil, materials: materials)
      )
    }
  }

  /// What a member is computed in.
  func precision(of member: TeacherMember) throws -> TeacherPrecision {
    if let givenPrecision { return givenPrecision }
    guard !chosenPrecisions.isEmpty else { return TeacherPrecision(precision) }
    return try chosenPrecisions[SHA256.hex(ofWeights: member.weights)] ?? TeacherPrecision(precision)
  }

  /// What all are computed in: one word where it is the same.
  func precisionWords() throws -> String {
    let all = try (members + specialistMembers).map { try precision(of: $0).rawValue }
    return Set(all).count == 1 ? all[0] : all.joined(separator: ", ")
  }

  /// A member as it teaches, in its precision.
  private func frozen(_ model: any Layer, of member: TeacherMember) throws -> FrozenTeacher {
    let own = try precision(of: member)
    if let plain = Precision(rawValue: own.rawValue) { return FrozenTeacher(model, precision: plain) }
    let each = try model.summary(inputShape: member.specification.inputShape).multiplyAdds
    return try TeacherPrecisionChoice.teacher(
      model, in: own, examples: try materials.teacherSample(device: device, multiplyAdds: each))
  }

  /// A teacher of one's own, for the thread that asks.
  func makeTeacher() throws -> any Teacher {
    var models = TeachingModels(
      members: try members.map {
        let model = try makeModel($0)
        return TeachingModels.Member(
          name: $0.name, model: model, frozen: try frozen(model, of: $0), weight: $0.weight, classes: $0.classes)
      },
      average: average, weighting: weighting.ofExamples, classCount: materials.train.classCount)
    for (index, weight) in try weights().enumerated() { models.members[index].weight = weight }
    guard let teacher = try models.makeTeacher(precision: precision) else {
      throw RunError("the teacher has no members")
    }
    guard !specialists.isEmpty else { return teacher }
    let classCount = materials.train.classCount
    return try SpecialistTeacher(
      generalist: teacher,
      specialists: specialists.map { record, member in
        SpecialistTeacher.Specialist(
          try frozen(try makeModel(member), of: member),
          classes: try SpecialistClasses(record.classes, of: classCount), dustbinCorrection: record.dustbinCorrection)
      }, candidates: candidates)
  }

  /// How much each member counts: its weight, by score times that.
  private func weights() throws -> [Double] {
    let own = members.map(\.weight)
    guard case .score(let power) = weighting, members.count > 1 else { return own }
    let accuracies = try members.map { member in
      try scores.accuracy(
        of: member, hash: SHA256.hex(ofWeights: member.weights), materials: materials, device: device,
        precision: precision
      ) { try makeModel(member) }
    }
    return try zip(own, EnsembleTeacher.weights(byScore: accuracies, power: power)).map { $0 * $1 }
  }

  /// What was computed with the same members, however these were weighed, as this teacher has it.
  func weighing(_ outputs: PrecomputedTeacher) throws -> PrecomputedTeacher {
    guard members.count > 1 else { return outputs }
    return try outputs.weighing(try weights(), average: average, weighting: weighting.ofExamples)
  }

  /// A text that is the same for teachers that weigh their members alike.
  func weighingIdentity() throws -> String { "\(try weights()) \(average) \(weighting)" }

  /// What else changes what it says.
  var cacheSettings: [String: String] {
    var settings: [String: String] = [:]
    if channelsLast { settings["order of images"] = "channels last" }
    if !specialists.isEmpty { settings["specialists"] = "\(specialists.map(\.record.dustbinCorrection)) \(candidates)" }
    return settings
  }

  var specialistMembers: [TeacherMember] { specialists.map(\.member) }

  /// The names of the classes of each specialist.
  var specialistClasses: [[String]] { specialists.map(\.record.names) }

  /// A member with its weights, on the device.
  func makeModel(_ member: TeacherMember) throws -> any Layer {
    let model = try ModelZoo.make(member.specification)
    try model.loadWeights(member.weights)
    try model.move(to: device)
    if channelsLast { try model.useChannelsLast() }
    return model
  }

  /// For messages: the files of its weights.
  var name: String { members.map(\.weights).joined(separator: ", ") }

  /// A text that is the same for teachers whose members say the same. With specialists, what they say together counts.
  func identity() throws -> String {
    let together = specialists.isEmpty ? "" : "\(average) \(specialists.map(\.record.dustbinCorrection)) \(candidates) "
    return "\(together)\(try hashes()) \(members.map(\.name)) \(members.map(\.classes)) \(precision) "
      + "\(try precisionWords()) \(channelsLast)"
  }

  /// A hash over the file of each member.
  func hashes() throws -> [String] {
    try (members + specialists.map(\.member)).map { try SHA256.hex(ofWeights: $0.weights) }
  }
}
