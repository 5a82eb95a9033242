import DistillData
import DistillModels
import DistillRuntime
import Distillation
import Foundation
import Torch
import TorchNN

/// What a model, a recipe, a file of weights or a run folder is made of.
public struct Inspection: Encodable, Sendable {
  public struct Model: Encodable, Sendable {
    /// Such as student or teacher.
    public var role: String
    /// The folder, where it has one.
    public var path: String?
    public var specification: ModelSpecification
    public var labels: [String]
    public var summary: ModelSummary
    /// Whose folder it is, where another library wrote it, and what that calls the model.
    public var origin: String?
    /// What is done to inputs before it sees them, where the folder says so.
    public var normalization: Normalization?
    /// How pictures are brought to its size, where the folder says so.
    public var pictureFit: PictureFit?
    public var notices: [String] = []
  }

  public struct TensorRow: Encodable, Sendable {
    public var name: String
    public var dtype: String
    public var shape: [Int]
    public var bytes: Int
  }

  public struct File: Encodable, Sendable {
    public var path: String
    /// `safetensors`, `torch` for a file of `torch.save`, or `index` for a list of several files.
    public var format: String
    public var tensors: [TensorRow]
    /// Numbers in all tensors.
    public var elements: Int
    public var bytes: Int
    /// Texts that stand beside the tensors, as `key: value`.
    public var metadata: [String]
  }

  public struct Training: Encodable, Sendable {
    public enum State: String, Encodable, Sendable {
      case done
      case interrupted
      case notBegun = "not begun"
    }

    public var name: String
    public var state: State
    /// Rounds that are over.
    public var rounds: Int
    /// On the test split, when it is done.
    public var accuracy: Double?
    /// Of the last round.
    public var validationAccuracy: Double?
    public var seconds: Double?
  }

  public struct Run: Encodable, Sendable {
    public var path: String
    public var name: String
    public var isComplete: Bool
    public var isInUse: Bool
    public var trainings: [Training]
    /// Where a whole run left them.
    public var report: String?
    public var metrics: String?
  }

  public var models: [Model] = []
  public var file: File?
  public var run: Run?

  /// - Parameters:
  ///   - path: a model folder, a run folder, a recipe, or a file of weights
  ///   - part: of a file of `torch.save` with several dictionaries of tensors, the key of the one that is meant
  /// - Throws: `RunError` and others that say why it is none of these.
  public init(_ path: String, part: String? = nil) throws {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw RunError("\(path) does not exist: name a model folder, a run folder, a recipe or a file of weights")
    }
    let kind = FilePath.kind(of: path).lowercased()
    if isFolder.boolValue {
      if ModelFolder(path).exists {
        models = [try Self.model(path, role: "model")]
      } else if RunFolder(path).exists {
        run = try Self.run(RunFolder(path))
        for (role, folder) in [("teacher", RunFolder(path).teacher), ("student", RunFolder(path).student)]
        where ModelFolder(folder).exists {
          models.append(try Self.model(folder, role: role))
        }
      } else if Checkpoint.format(of: path) != nil {
        file = try Self.file(path, part: part)
      } else {
        throw RunError("\(path) is no model folder (config.json is missing) and no run folder (run.json is missing)")
      }
    } else if kind == "yaml" || kind == "yml" || (kind != "safetensors" && kind != "json" && Self.isText(path)) {
      models = try Self.models(of: try Configuration.load(path: path))
    } else {
      file = try Self.file(path, part: part)
    }
    if let part, file == nil { throw RunError("--part \(part) is for files of torch.save, and \(path) is none") }
  }

  /// Whether a file begins as recipes do, and no file of weights does: with a line of letters.
  private static func isText(_ path: String) -> Bool {
    guard !RegularFile.isOtherThanFile(path), let file = FileHandle(forReadingAtPath: path) else { return false }
    defer { try? file.close() }
    guard let head = try? file.read(upToCount: 64), head.count >= 8 else { return false }
    return head.allSatisfy { $0 >= 32 || (9...13).contains($0) }
  }

  private static func model(_ path: String, role: String) throws -> Model {
    let named = try NamedModel(path)
    let specification = try ModelZoo.resolve(named.description.model)
    var model = Model(
      role: role, path: path, specification: specification, labels: named.description.labels,
      summary: try named.model.summary(inputShape: specification.inputShape))
    model.normalization = named.description.normalization
    model.pictureFit = named.description.pictureFit
    model.notices = named.description.notices
    if named.folder.isForeign {
      let foreign = try ForeignModel(folder: named.folder.path)
      model.origin = "\(foreign.name) of \(foreign.library.rawValue)"
    }
    return model
  }

  private static func models(of configuration: Configuration) throws -> [Model] {
    let materials = try Materials(configuration.data, seed: configuration.dataSeed)
    let (shape, classes) = (materials.train.exampleShape, materials.train.classCount)
    func model(_ role: String, _ specification: ModelSpecification) throws -> Model {
      let resolved = try ModelZoo.resolve(specification)
      return Model(
        role: role, path: nil, specification: resolved, labels: materials.train.classNames,
        summary: try ModelZoo.make(resolved).summary(inputShape: shape))
    }
    var models: [Model] = []
    let members = configuration.teacher?.members ?? []
    for (index, member) in members.enumerated() {
      let source = member.stage == nil ? try? ModelSource(member.weights) : nil
      if source?.program != nil {
        let found = try TeacherMember(member, named: "\(index)", orTrainedIn: nil, materials: materials)
        models.append(
          Model(
            role: members.count == 1 ? "teacher" : "teacher \(index + 1)", path: found.weights,
            specification: found.specification, labels: materials.train.classNames,
            summary: try found.makeModel(on: .cpu).summary(inputShape: shape)))
        continue
      }
      let given = member.model?.specification(inputShape: shape, classCount: member.classes?.count ?? classes)
      guard let specification = try given ?? ModelSource(member.weights).specification else { continue }
      let role = members.count == 1 ? "teacher" : member.name.map { "teacher '\($0)'" } ?? "teacher \(index + 1)"
      models.append(try model(role, specification))
    }
    var seen: [ModelSpecification] = []
    var peers: Set<String> = []
    var hasStudent = false
    func add(_ role: String, _ specification: ModelSpecification) throws -> Bool {
      guard !seen.contains(specification) else { return false }
      models.append(try model(role, specification))
      seen.append(specification)
      return true
    }
    for (name, setting) in try configuration.resolvedSettings() {
      for stage in setting.sequence {
        let (recipe, place) = (stage.configuration, [name, stage.name].compactMap(\.self).joined(separator: ", "))
        for member in stage.hasOwnTeacher ? recipe.teacher?.members ?? [] : [] where member.stage == nil {
          let given = member.model?.specification(inputShape: shape, classCount: member.classes?.count ?? classes)
          guard let specification = try given ?? ModelSource(member.weights).specification else { continue }
          _ = try add("teacher in '\(place)'", specification)
        }
        // A twin of the student is told too.
        for peer in recipe.teacher?.peers ?? [] {
          let specification = try peer.specification(student: recipe.student, inputShape: shape, classCount: classes)
          guard peers.insert("\(peer.name) \(specification)").inserted else { continue }
          models.append(try model("peer '\(peer.name)'", specification))
        }
        // Assistants are told with the stage that begins them.
        guard recipe.student != setting.student else { continue }
        _ = try add(
          "student in '\(place)'", try recipe.studentSpecification(inputShape: shape, classCount: classes))
      }
      let specification = try setting.studentSpecification(inputShape: shape, classCount: classes)
      if try add(hasStudent ? "student, \(name ?? "")" : "student", specification) { hasStudent = true }
    }
    return models
  }

  private static func file(_ path: String, part: String?) throws -> File {
    let checkpoint = try Checkpoint.read(path, part: part)
    let rows = checkpoint.tensors.map {
      TensorRow(
        name: $0.name, dtype: "\($0.tensor.dtype)", shape: $0.tensor.shape,
        bytes: $0.tensor.count * $0.tensor.dtype.byteCount)
    }
    return File(
      path: checkpoint.path ?? path, format: Checkpoint.format(of: path)?.rawValue ?? "", tensors: rows,
      elements: checkpoint.tensors.reduce(0) { $0 + $1.tensor.count },
      bytes: rows.reduce(0) { $0 + $1.bytes },
      metadata: checkpoint.metadata.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" })
  }

  // MARK: Runs

  private static func run(_ folder: RunFolder) throws -> Run {
    let configuration = try Configuration.load(path: folder.recipe).applying(try ChosenPrecisions.read(folder))
    let files = FileManager.default
    let isComplete = files.fileExists(atPath: folder.metrics)
    return Run(
      path: folder.path, name: configuration.name, isComplete: isComplete, isInUse: isInUse(folder),
      trainings: trainings(configuration, folder),
      report: files.fileExists(atPath: folder.report) ? folder.report : nil,
      metrics: isComplete ? folder.metrics : nil)
  }

  private static func isInUse(_ folder: RunFolder) -> Bool {
    let descriptor = open("\(folder.path)/.lock", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return false }
    defer { FileLock.letGo(descriptor) }
    return flock(descriptor, LOCK_SH | LOCK_NB) != 0
  }

  /// Those of the plan, where data and teacher are there to make one; otherwise those that have a folder.
  private static func trainings(_ configuration: Configuration, _ folder: RunFolder) -> [Training] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(folder.path)/jobs"))?.sorted() ?? []
    let planned = (try? plan(configuration, folder))?.jobs ?? []
    var trainings = names.filter { name in !planned.contains { $0.folderName == name } && name.hasPrefix("teacher-") }
      .map { training("teacher", folder.job($0)) }
    trainings +=
      planned.isEmpty
      ? names.filter { !$0.hasPrefix("teacher-") }.map { training($0, folder.job($0)) }
      : planned.map { training($0.name, folder.job($0.folderName)) }
    return trainings
  }

  private static func plan(_ configuration: Configuration, _ folder: RunFolder) throws -> RunPlan {
    let materials = try Materials(configuration)
    let teacher = try configuration.teacher.map {
      try TeacherMaker($0, folder: folder, materials: materials, device: .cpu)
    }
    return try RunPlan(configuration, materials: materials, teacherHashes: teacher?.hashes() ?? [])
  }

  private static func training(_ name: String, _ place: JobFolder) -> Training {
    let rounds = EventLog(path: place.events).rounds()
    let done = FileManager.default.contents(atPath: place.result)
      .flatMap { try? ResultJSON.decode($0) as TrainingResult }
    let hasBegun = FileManager.default.fileExists(atPath: place.path)
    return Training(
      name: name, state: done != nil ? .done : hasBegun ? .interrupted : .notBegun, rounds: rounds.count,
      accuracy: done?.test?.accuracy, validationAccuracy: rounds.last?.validation?.accuracy, seconds: done?.seconds)
  }
}
