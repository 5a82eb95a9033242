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

  /// What is left of the memory for outputs: first come, first kept.
  struct Room {
    /// Together.
    let mostBytes: Int
    private(set) var bytes = 0

    init(mostBytes: Int) { self.mostBytes = mostBytes }

    /// - Returns: whether so much more is kept in memory; what is not goes into files
    mutating func take(_ more: Int) -> Bool {
      guard bytes + more <= mostBytes else { return false }
      bytes += more
      return true
    }
  }

  private struct Known {
    /// By who said it, and of what.
    var teachers: [String: Shared] = [:]
    var room: Room
  }

  /// Outputs that were computed are only read afterwards, which any number of threads may do.
  private struct Shared: @unchecked Sendable {
    let teacher: PrecomputedTeacher
  }

  private let known: Mutex<Known>

  /// - Parameter mostBytesInMemory: so much is kept in memory; what is more goes into files
  init(mostBytesInMemory: Int = TeacherOutputs.fairBytesInMemory) {
    known = Mutex(Known(room: Room(mostBytes: mostBytesInMemory)))
  }

  /// The teacher's outputs for all examples and views of a loader.
  ///
  /// - Parameters:
  ///   - bytes: what all of them take; see `TrainingRunner.outputBytes`
  ///   - shown: how many inputs a training shows the teacher in all, to say what is spared
  func teacher(
    from maker: TeacherMaker, over loader: DataLoader, bytes: Int, in folder: RunFolder, shown: Int,
    observer: RunObserver
  ) throws -> any Teacher {
    let views = loader.teacherViews ?? 1
    let examples = try loader.examples.withUnsafeBytes { try SHA256.hex(of: $0) }
    let key = "\(try maker.identity()); \(try loader.inputIdentity); \(views) views; examples \(examples)"
    return try known.withLock { known in
      if let found = known.teachers[key] { return try maker.weighing(found.teacher) }
      let inputs = loader.examples.count * views
      observer(.stage("Labelling \(inputs) inputs with the teacher"))
      var pace = Pace()
      let teacher: PrecomputedTeacher
      let place: String
      if known.room.take(bytes) {
        do {
          teacher = try PrecomputedTeacher(computing: maker.makeTeacher(), over: loader, views: views) { done in
            pace.reached(done)
            observer(.fraction(done))
            return Interruption.isRequested ? .stop : .continue
          }
        } catch is Interrupted {
          throw RunError(Self.lostWords, kind: .interrupted)
        }
        place = "memory"
      } else {
        // One that weighs its members in another way is another cache.
        place = folder.labels(try SHA256.hex(of: "\(key); \(try maker.weighingIdentity())"))
        teacher = try Self.label(with: maker, over: loader, in: place, bytes: bytes) { done in
          pace.reached(done)
          observer(.fraction(done))
        }
      }
      let spared = pace.secondsForAll.map { $0 * Double(shown) / Double(max(1, inputs)) }
      observer(.outcome(Self.words(bytes: bytes, place: place, pace.seconds, spared: spared)))
      known.teachers[key] = Shared(teacher: teacher)
      return teacher
    }
  }

  static let lostWords = "interrupted; what the teacher said so far was in memory, and it is asked again"

  private static func label(
    with maker: TeacherMaker, over loader: DataLoader, in folder: String, bytes: Int, progress: (Double) -> Void
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
    ) { state in
      progress(state.fraction)
      return Interruption.isRequested ? .stop : .continue
    }
    return try TeacherCache(folder).makeTeacher()
  }

  /// That the teacher is asked once, where what it says is kept, and what that spares a training, in seconds.
  static func words(bytes: Int, place: String, _ seconds: Double, spared: Double?) -> String {
    let gain = spared.map { " and spares each training about \(Quantity.seconds($0))" } ?? ""
    return
      "The teacher was asked once and not in each step: \(Quantity.bytes(bytes)) in \(place), which took "
      + "\(Quantity.seconds(seconds))\(gain) (teacher.precompute: false asks in each step)"
  }

  /// How long it takes to ask about all inputs. The first batch does not count, in which much is prepared, nor what a run
  /// before this one had done.
  struct Pace {
    private let start = ContinuousClock.now
    private var first: (fraction: Double, at: ContinuousClock.Instant)?
    private var last: (fraction: Double, at: ContinuousClock.Instant)?

    mutating func reached(_ fraction: Double, at instant: ContinuousClock.Instant = .now) {
      if first == nil { first = (fraction, instant) }
      last = (fraction, instant)
    }

    /// So long it has taken.
    var seconds: Double { (.now - start) / .seconds(1) }

    /// So long all would take at the pace after the first batch; nil where there was no other.
    var secondsForAll: Double? {
      guard let first, let last, last.fraction > first.fraction else { return nil }
      return (last.at - first.at) / .seconds(1) / (last.fraction - first.fraction)
    }
  }
}

extension Configuration.Teacher {
  /// How many numbers are kept of each input, or token: each member's logits, so that members can be weighed anew.
  func outputCount(classCount: Int) -> Int {
    // A generalist and its specialists answer as one.
    guard specialists == nil else { return classCount }
    return members.map { $0.classes?.count ?? classCount }.reduce(0, +)
  }
}

extension TrainingRunner {
  /// The size of what is kept where the teacher is asked once.
  func outputBytes(_ job: TrainingJob) throws -> Int {
    let train = materials.train
    let inputs = try labelledExamples(job).count * (loaderOptions(job).teacherViews ?? 1)
    let numbers = job.configuration.teacher?.outputCount(classCount: train.classCount) ?? 0
    return inputs * (train.predictsTokens ? train.elementCount : 1) * numbers * MemoryLayout<Float>.size
  }

  /// The same for trainings that ask the same models about the same inputs, however these are weighed: what is kept of
  /// them is shared. It can be said before the teacher is there.
  func outputKey(_ job: TrainingJob) throws -> String {
    let options = loaderOptions(job)
    let parts = try materials.shownParts(job.configuration.data, seed: job.seed).map(\.range)
    return "\(options.augmentation.identity), \(options.teacherView), \(options.teacherViews ?? 1) views, \(parts), "
      + job.teacherKey
  }
}

extension TrainingJob {
  /// The same for trainings that ask the same models, however these are weighed.
  var teacherKey: String {
    let stages = (stage?.teachers ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.identity)" }
    let teacher = configuration.teacher
    let members = (teacher?.members ?? []).map { member in
      "\(member.weights ?? member.stage ?? "") \(member.name ?? "") \(member.classes ?? [])"
    }
    return "\(members) \(teacher?.specialists == nil ? "" : "specialists") \(stages)"
  }
}
