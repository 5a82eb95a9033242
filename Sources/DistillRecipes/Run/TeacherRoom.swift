import DistillData
import DistillModels
import Distillation
import Foundation
import Synchronization
import Torch
import TorchNN

/// The teacher of a recipe: loaded, or trained first, and shared by all trainings of the run.
final class TeacherRoom: Sendable {
  /// A model that teaches, with how much it counts.
  struct Member: Sendable {
    var specification: ModelSpecification
    /// The file that its weights come from.
    var weights: String
    var weight: Double
  }

  let members: [Member]
  private let average: EnsembleAverage
  private let precision: Precision
  private let channelsLast: Bool
  let device: Device
  /// The threads of the trainings together, which the teacher has to itself while it labels; nil: the program's choice.
  private let labellingThreads: Int?
  /// The outputs that were computed, by what they were computed on.
  private let shared = Mutex<[String: SharedTeacher]>([:])

  /// - Throws: `RunError`, `ModelError`: what is missing, or does not fit the data.
  init(
    _ teacher: Configuration.Teacher, folder: RunFolder, inputShape: [Int], classCount: Int, device: Device,
    precision: Precision, channelsLast: Bool, labellingThreads: Int? = nil
  ) throws {
    members = try teacher.members.map { member in
      try Self.resolve(member, trainedIn: ModelFolder(folder.teacher), inputShape: inputShape, classCount: classCount)
    }
    average = EnsembleAverage(rawValue: teacher.average.rawValue) ?? .arithmetic
    self.device = device
    self.precision = precision
    self.channelsLast = channelsLast
    self.labellingThreads = labellingThreads
  }

  private static func resolve(
    _ member: Configuration.Member, trainedIn trained: ModelFolder, inputShape: [Int], classCount: Int
  ) throws -> Member {
    let source = try ModelSource(member.weights, orTrainedIn: trained)
    guard
      var specification = member.model?.specification(inputShape: inputShape, classCount: classCount)
        ?? source.specification
    else { throw RunError("the teacher's weights \(source.weights) come without a config.json: give teacher.model") }
    if let own = source.specification, member.model != nil { specification.classCount = own.classCount }
    guard specification.inputShape == inputShape else {
      throw RunError("the teacher takes inputs of shape \(specification.inputShape), but the data has \(inputShape)")
    }
    guard specification.classCount == classCount else {
      throw RunError(
        "the teacher knows \(specification.classCount) classes, but the data has \(classCount): "
          + "teacher and student must tell the same classes apart")
    }
    return Member(specification: specification, weights: source.weights, weight: member.weight)
  }

  /// A teacher of one's own, for the thread that asks.
  func makeTeacher() throws -> any Teacher {
    let teachers = try members.map { FrozenTeacher(try makeModel($0), precision: precision) }
    guard teachers.count > 1 else { return teachers[0] }
    return try EnsembleTeacher(teachers, weights: members.map(\.weight), average: average)
  }

  /// A member with its weights, on the device.
  func makeModel(_ member: Member) throws -> any Layer {
    let model = try ModelZoo.make(member.specification)
    try model.load(try Checkpoint.read(member.weights))
    try model.move(to: device)
    if channelsLast { try model.useChannelsLast() }
    return model
  }

  /// The teacher's outputs for all examples and views of a loader: computed the first time, shared afterwards.
  func precomputed(over loader: DataLoader, observer: RunObserver) throws -> any Teacher {
    let views = loader.options.views ?? 1
    let key = "\(try loader.inputIdentity); \(views) views; \(loader.examples.count) examples"
    return try shared.withLock { known in
      if let found = known[key] { return found.teacher }
      let threads = try TorchRuntime.threadCount
      if let labellingThreads { try TorchRuntime.setThreadCount(labellingThreads) }
      defer { try? TorchRuntime.setThreadCount(threads) }
      observer(.stage("Labelling \(loader.examples.count * views) inputs with the teacher"))
      let teacher = try PrecomputedTeacher(computing: makeTeacher(), over: loader, views: views) { done in
        observer(.fraction(done))
        return Interruption.isRequested ? .stop : .continue
      }
      known[key] = SharedTeacher(teacher: teacher)
      return teacher
    }
  }

  /// A hash over the files of all members.
  func hashes() throws -> [String] { try members.map { try SHA256.hex(ofFile: $0.weights) } }
}

/// Outputs that were computed are only read afterwards, which any number of threads may do.
private struct SharedTeacher: @unchecked Sendable {
  let teacher: PrecomputedTeacher
}

/// Where a model's weights are, and what it is where a `config.json` says so.
struct ModelSource {
  var weights: String
  var specification: ModelSpecification?

  /// - Parameters:
  ///   - path: a safetensors file or a model folder, as a recipe names it
  ///   - trained: the folder of a model that the run trained itself, used where `path` names nothing
  init(_ path: String?, orTrainedIn trained: ModelFolder? = nil) throws {
    let files = FileManager.default
    var isFolder: ObjCBool = false
    if let path, files.fileExists(atPath: path, isDirectory: &isFolder) {
      let folder = ModelFolder(isFolder.boolValue ? path : (path as NSString).deletingLastPathComponent)
      weights = isFolder.boolValue ? folder.weights : path
      if isFolder.boolValue || ((path as NSString).lastPathComponent == "model.safetensors" && folder.exists) {
        specification = try folder.description().model
      }
    } else if let trained, trained.exists {
      weights = trained.weights
      specification = try trained.description().model
    } else {
      let name = path.map { "\($0) does not exist" } ?? "no weights are given"
      throw RunError("\(name): name a safetensors file or a model folder, or say how to train it")
    }
  }
}
