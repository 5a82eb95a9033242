import DistillData
import Distillation
import Foundation
import Synchronization
import Torch

/// What the teacher says of inputs that come again: computed once, and looked up by all trainings of the run, also by those
/// that only weigh its members in another way. Little is kept in memory, much in a teacher cache in the run folder, which
/// a run that is gone on with finds again; the numbers are the same bit for bit.
final class TeacherOutputs: Sendable {
  /// So much of what a teacher says of the tokens of a text is kept where nobody says otherwise; beyond, it is asked in
  /// each step.
  static let mostBytes = 1 << 30
  /// So much is kept in memory where nobody says otherwise: a sixteenth of what the machine has, and at most 1 GiB.
  static let fairBytesInMemory = min(1 << 30, Int(ProcessInfo.processInfo.physicalMemory / 16))

  private struct Known {
    /// By who said it, and of what.
    var teachers: [String: Shared] = [:]
    var bytesInMemory = 0
  }

  /// Outputs that were computed are only read afterwards, which any number of threads may do.
  private struct Shared: @unchecked Sendable {
    let teacher: PrecomputedTeacher
  }

  private let known = Mutex(Known())
  /// How much may be kept in memory; what is more goes into files.
  let mostBytesInMemory: Int

  init(mostBytesInMemory: Int = TeacherOutputs.fairBytesInMemory) { self.mostBytesInMemory = mostBytesInMemory }

  /// The teacher's outputs for all examples and views of a loader.
  ///
  /// - Parameter shown: how many inputs a training shows the teacher in all, to say what is spared
  func teacher(
    from maker: TeacherMaker, over loader: DataLoader, in folder: RunFolder, shown: Int, observer: RunObserver
  ) throws -> any Teacher {
    let views = loader.teacherViews ?? 1
    let examples = try loader.examples.withUnsafeBytes { try SHA256.hex(of: $0) }
    let key = "\(try maker.identity()); \(try loader.inputIdentity); \(views) views; examples \(examples)"
    return try known.withLock { known in
      if let found = known.teachers[key] { return try maker.weighing(found.teacher) }
      let inputs = loader.examples.count * views
      let bytes = maker.outputBytes(inputs: inputs)
      let isInMemory = known.bytesInMemory + bytes <= mostBytesInMemory
      observer(.stage("Labelling \(inputs) inputs with the teacher"))
      let start = ContinuousClock.now
      let teacher: PrecomputedTeacher
      let place: String
      if isInMemory {
        teacher = try PrecomputedTeacher(computing: maker.makeTeacher(), over: loader, views: views) { done in
          observer(.fraction(done))
          return Interruption.isRequested ? .stop : .continue
        }
        known.bytesInMemory += bytes
        place = "memory"
      } else {
        // One that weighs its members in another way is another cache.
        place = folder.labels(try SHA256.hex(of: "\(key); \(try maker.weighingIdentity())"))
        teacher = try Self.label(with: maker, over: loader, in: place, bytes: bytes, observer)
      }
      let seconds = (ContinuousClock.now - start) / .seconds(1)
      observer(.stage(Self.words(bytes: bytes, place: place, seconds, inputs: inputs, shown: shown)))
      known.teachers[key] = Shared(teacher: teacher)
      return teacher
    }
  }

  private static func label(
    with maker: TeacherMaker, over loader: DataLoader, in folder: String, bytes: Int, _ observer: RunObserver
  ) throws -> PrecomputedTeacher {
    try Folder.make(folder)
    let there = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    let free = try? FileManager.default.attributesOfFileSystem(forPath: folder)[.systemFreeSize] as? Int
    if let free, free < bytes, !there.contains(where: { $0.hasPrefix("shard-") }) {
      throw RunError(
        "what the teacher says takes \(Quantity.bytes(bytes)), and \(folder) has \(Quantity.bytes(free)) free: make room, "
          + "or have it asked in each step with teacher.precompute: false")
    }
    try TeacherCache.label(
      with: maker.makeTeacher(), over: loader, as: maker.cacheKey(), in: folder, options: .init(logits: .all(.float32))
    ) { progress in
      observer(.fraction(progress.fraction))
      return Interruption.isRequested ? .stop : .continue
    }
    return try TeacherCache(folder).makeTeacher()
  }

  /// That the teacher is asked once, where what it says is kept, and what that spares.
  static func words(bytes: Int, place: String, _ seconds: Double, inputs: Int, shown: Int) -> String {
    let spared = seconds * Double(shown) / Double(max(1, inputs))
    return
      "The teacher is asked once and not in each step: \(Quantity.bytes(bytes)) in \(place) took "
      + "\(Quantity.seconds(seconds)), and spare each training about \(Quantity.seconds(spared)) "
      + "(teacher.precompute: false asks in each step)"
  }
}

extension TeacherMaker {
  /// The size of what all members say of so many inputs.
  func outputBytes(inputs: Int) -> Int {
    let train = materials.train
    let tokens = train.predictsTokens ? train.elementCount : 1
    let classes = (members + specialistMembers).map { $0.classes?.count ?? train.classCount }.reduce(0, +)
    return inputs * tokens * classes * 4
  }
}
