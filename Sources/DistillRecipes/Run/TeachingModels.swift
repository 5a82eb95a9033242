import DistillData
import Distillation
import TorchNN

/// The models that teach in a training, and what makes one teacher of them.
struct TeachingModels {
  struct Member {
    var name: String
    var model: any Layer
    /// The model as it teaches; nil: frozen when it is asked to.
    var frozen: FrozenTeacher?
    var weight = 1.0
    /// The class of each of its outputs, nil for an output that is none; nil: all classes, in order.
    var classes: [Int?]?
  }

  var members: [Member]
  var average = EnsembleAverage.arithmetic
  var weighting = MemberWeighting.fixed
  var classCount: Int
  /// Whether terms can choose one of them even where there is only one, as with peers.
  var hasNames = false
  /// Whether their weights are those that will teach.
  var hasLearnt = false

  var models: [any Layer] { members.map(\.model) }

  /// The models whose layers a term sees: of an ensemble only those of the member that it chose.
  func models(for choice: TeacherChoice) -> [any Layer] { members(for: choice).map(\.model) }

  func members(for choice: TeacherChoice) -> [Member] {
    switch choice {
    case .all: members
    case .member(let index): members.indices.contains(index) ? [members[index]] : []
    case .named(let name): members.filter { $0.name == name }
    }
  }

  /// All of them as one teacher; nil where there are none.
  func makeTeacher(precision: Precision = .float32) throws -> (any Teacher)? {
    let teachers = try members.map { member -> any Teacher in
      // Peers are trained at the same time: they change with every step.
      let frozen = member.frozen ?? FrozenTeacher(member.model, precision: precision, folds: !hasNames)
      return try member.classes.map { try ClassSubsetTeacher(frozen, outputs: $0, of: classCount) } ?? frozen
    }
    guard teachers.count > 1 || (hasNames && !teachers.isEmpty) else { return teachers.first }
    return try EnsembleTeacher(
      teachers, weights: members.map(\.weight), average: average, weighting: weighting, names: members.map(\.name))
  }
}

extension Configuration.Weighting {
  /// As the ensemble knows it; scores go into the members' fixed weights.
  var ofExamples: MemberWeighting {
    switch self {
    case .fixed, .score: .fixed
    case .confidence(let sharpness): .confidence(sharpness: sharpness)
    }
  }
}

extension Configuration.Member {
  /// The class of each output by its number.
  ///
  /// - Throws: `RunError` that lists the classes when there is none of a name.
  func classNumbers(_ classNames: [String], member: String) throws -> [Int?]? {
    try classes?.map { name in
      guard let name else { return nil }
      if let index = classNames.firstIndex(of: name) { return index }
      let near = closest(to: name, in: classNames, limit: 1).first.map { "; did you mean '\($0)'?" } ?? "."
      throw RunError(
        "the member '\(member)' of the teacher knows a class '\(name)', which the data has not\(near) The data's "
          + "classes are \(Self.list(classNames)); null stands for an output that is none of them")
    }
  }

  private static func list(_ names: [String]) -> String {
    names.prefix(20).joined(separator: ", ") + (names.count > 20 ? ", …" : "")
  }

  /// - Parameter classes: of each member; see `TeacherMember.classes`
  /// - Throws: `RunError` when there are classes that no member knows.
  static func requireAll(_ classNames: [String], knownBy classes: [[Int?]?]) throws {
    guard !classes.contains(where: { $0 == nil }) else { return }
    let known = Set(classes.flatMap { $0 ?? [] })
    let unknown = classNames.indices.filter { !known.contains($0) }.map { classNames[$0] }
    guard unknown.isEmpty else {
      throw RunError(
        "no member of the teacher knows \(unknown.count == 1 ? "the class" : "the classes") \(list(unknown)): add one "
          + "that does")
    }
  }
}
