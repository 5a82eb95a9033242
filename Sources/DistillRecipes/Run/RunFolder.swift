import Foundation
import Torch

/// The folder of a run, and what lies where in it.
public struct RunFolder: Sendable {
  public let path: String

  public init(_ path: String) { self.path = path }

  /// The recipe with all defaults spelled out.
  public var recipe: String { "\(path)/recipe.yaml" }
  public var manifest: String { "\(path)/manifest.json" }
  public var metrics: String { "\(path)/metrics.json" }
  public var report: String { "\(path)/report.html" }
  /// The teacher's model folder, where the run made the teacher.
  public var teacher: String { "\(path)/teacher" }
  /// The model folder of the distilled student of the first setting and seed.
  public var student: String { "\(path)/student" }

  /// The folder of one training.
  public func job(_ name: String) -> JobFolder { JobFolder(path: "\(path)/jobs/\(name)") }

  public var exists: Bool { FileManager.default.fileExists(atPath: recipe) }

  /// Deletes what a run left here, unless another process works on it. Files that are no run's stay.
  public func clear() throws {
    guard FileManager.default.fileExists(atPath: path) else { return }
    let lock = try lock()
    defer { withExtendedLifetime(lock) {} }
    for item in [recipe, manifest, metrics, report, teacher, student, "\(path)/jobs"]
    where FileManager.default.fileExists(atPath: item) {
      do {
        try FileManager.default.removeItem(atPath: item)
      } catch {
        throw RunError("\(item) cannot be deleted: \(reason(error))")
      }
    }
  }

  /// Makes the folder, if it is not there, and keeps other processes out of it until the lock is let go.
  ///
  /// - Throws: `RunError` when another process works in it or it cannot be written.
  public func lock() throws -> RunLock {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw RunError("the run folder \(path) cannot be made: \(reason(error)). Name another one with output=...")
    }
    return try RunLock(folder: path)
  }
}

/// The folder of one training: its events, its state and, in the end, its student and what that scored.
public struct JobFolder: Sendable {
  public let path: String

  public var events: String { "\(path)/events.jsonl" }
  public var checkpoint: String { "\(path)/checkpoint/state.safetensors" }
  public var model: String { "\(path)/model" }
  /// The logits of the kept student for the test split.
  public var testLogits: String { "\(path)/test.safetensors" }
  /// What the student scored. It is written last: where it is, the training is done.
  public var result: String { "\(path)/result.json" }

  func make() throws {
    do {
      try FileManager.default.createDirectory(atPath: "\(path)/checkpoint", withIntermediateDirectories: true)
    } catch {
      throw RunError("\(path) cannot be made: \(reason(error))", kind: .failure)
    }
  }
}

/// Holds a run folder for this process. The operating system lets go of it when the process ends, however it ends.
public final class RunLock: Sendable {
  private let descriptor: Int32

  fileprivate init(folder: String) throws {
    let path = "\(folder)/.lock"
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw RunError(
        "the run folder \(folder) cannot be written: \(String(cString: strerror(errno))). Name another with output=...")
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      close(descriptor)
      throw RunError("another process is working in the run folder \(folder). Wait for it, or name another folder")
    }
  }

  deinit { close(descriptor) }
}

/// The system's words for why a file operation failed.
func reason(_ error: any Error) -> String {
  let error = error as NSError
  if let underlying = error.userInfo[NSUnderlyingErrorKey] as? NSError, underlying.domain == NSPOSIXErrorDomain {
    return String(cString: strerror(Int32(underlying.code)))
  }
  return error.localizedDescription
}
