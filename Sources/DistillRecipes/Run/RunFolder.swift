import Foundation
import Torch

/// The folder of a run, and what lies where in it.
public struct RunFolder: Sendable {
  public let path: String

  public init(_ path: String) { self.path = path }

  /// What only Distill writes: a folder without it is somebody else's.
  public var marker: String { "\(path)/run.json" }
  /// The recipe with all defaults spelled out.
  public var recipe: String { "\(path)/recipe.yaml" }
  public var manifest: String { "\(path)/manifest.json" }
  /// What precision was chosen where the recipe leaves it open.
  public var precision: String { "\(path)/precision.json" }
  public var metrics: String { "\(path)/metrics.json" }
  public var report: String { "\(path)/report.html" }
  /// The teacher's model folder, where the run made the teacher.
  public var teacher: String { "\(path)/teacher" }
  /// What the specialists know, and where their models are; see `SpecialistRecord`.
  public var specialists: String { "\(path)/specialists.json" }
  /// The model folder of the distilled student of the first setting and seed.
  public var student: String { "\(path)/student" }

  /// The file of a text that a teacher wrote for the run, by the hash of all that it depends on.
  func text(_ identity: String) -> String { "\(path)/texts/\(identity.prefix(16)).safetensors" }

  /// Where a run keeps what its teachers said, until it is done.
  var labels: String { "\(path)/labels" }
  /// The teacher cache of one of them, by the hash of all that it depends on.
  func labels(_ identity: String) -> String { "\(labels)/\(identity.prefix(16))" }

  /// The folder of one training.
  public func job(_ name: String) -> JobFolder { JobFolder(path: "\(path)/jobs/\(name)") }

  /// Whether it holds a run of Distill.
  public var exists: Bool { RunMarker(of: self) != nil && FileManager.default.fileExists(atPath: recipe) }

  /// Whether it holds a run that is done.
  public var isComplete: Bool { exists && FileManager.default.fileExists(atPath: metrics) }

  /// What is in it that a run did not put there; none where a run may begin.
  func foreignItems() -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    let isOurs = RunMarker(of: self) != nil
    return names.sorted().filter { name in
      if [".lock", ".DS_Store", Self.asideName].contains(name) || (name.hasPrefix(".") && name.hasSuffix(".tmp")) {
        return false
      }
      return !(isOurs && ["run.json", "recipe.yaml"].contains(name))
    }
  }

  /// - Throws: `RunError` when a run cannot be in this folder: it has no name, cannot be made, or holds something else.
  public func checkPlace() throws {
    guard path.contains(where: { !$0.isWhitespace }) else {
      throw RunError("the run folder has an empty name: give one with output=... or --output")
    }
    do { try Folder.tryMaking(path) } catch let error as FileError {
      throw RunError(
        "the run folder \(path) cannot be \(FileManager.default.fileExists(atPath: path) ? "written" : "made")",
        because: error, advice: error.isDiskFull ? "" : ". Name another one with output=... or --output")
    }
    guard !exists else { return }
    let foreign = foreignItems()
    guard foreign.isEmpty else {
      let shown = foreign.prefix(3).joined(separator: ", ") + (foreign.count > 3 ? ", ..." : "")
      throw RunError(
        "the folder \(path) is not empty (\(shown)) and holds no run of Distill (run.json is missing): nothing in it is "
          + "touched. Name another one with output=... or --output")
    }
  }

  /// Makes the folder, if it is not there, and keeps other processes out of it until the lock is let go.
  ///
  /// - Parameter isShared: whether others that share it too may hold it as well, such as the processes of a comparison
  /// - Throws: `RunError` when another process works in it or it cannot be written.
  public func lock(isShared: Bool = false) throws -> RunLock {
    do { try Folder.make(path) } catch let error as FileError {
      throw RunError(
        "the run folder \(path) cannot be made", because: error,
        advice: error.isDiskFull ? "" : ". Name another one with output=... or --output")
    }
    return try RunLock(folder: path, isShared: isShared)
  }

  // MARK: A run in the place of another

  private static let asideName = ".replaced"
  /// Where the files of an old run wait until the new one is done.
  var aside: String { "\(path)/\(Self.asideName)" }

  /// The files that runs write, as far as they are there, relative to the folder.
  private func ownFiles() -> [String] {
    let model = ["model.safetensors", "config.json", "README.md", "manifest.json"]
    let job = ["events.jsonl", "checkpoint/state.safetensors", "test.safetensors", "result.json"]
    var files = ["run.json", "recipe.yaml", "precision.json", "manifest.json", "metrics.json", "report.html"]
    files.append("specialists.json")
    files += ["teacher", "student"].flatMap { folder in model.map { "\(folder)/\($0)" } }
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "\(path)/texts"))?.sorted() ?? []
    where name.hasSuffix(".safetensors") {
      files.append("texts/\(name)")
    }
    for cache in (try? FileManager.default.contentsOfDirectory(atPath: labels))?.sorted() ?? [] {
      for name in (try? FileManager.default.contentsOfDirectory(atPath: "\(labels)/\(cache)"))?.sorted() ?? []
      where name == "cache.json" || name.drop(while: { $0 == "." }).hasPrefix("shard-") {
        files.append("labels/\(cache)/\(name)")
      }
    }
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "\(path)/jobs"))?.sorted() ?? [] {
      let events = TensorBoardLog.names(in: "\(path)/jobs/\(name)")
      files += (job + model.map { "model/\($0)" } + events).map { "jobs/\(name)/\($0)" }
    }
    return files.filter { FileManager.default.fileExists(atPath: "\(path)/\($0)") }
  }

  /// Sets a run's files aside. An older run that waits there already stays, as the last one that was done; the files of
  /// what came after it are deleted.
  func setAside() throws {
    let files = ownFiles()
    if FileManager.default.fileExists(atPath: aside) {
      for file in files { unlink("\(path)/\(file)") }
    } else {
      try move(files, from: path, to: aside)
    }
    removeEmptyFolders()
  }

  /// Deletes what the new run has written and puts the old one back.
  func putBack() throws {
    guard FileManager.default.fileExists(atPath: aside) else { return }
    for file in ownFiles() { unlink("\(path)/\(file)") }
    removeEmptyFolders()
    let old = RunFolder(aside)
    try move(old.ownFiles(), from: aside, to: path)
    old.removeEmptyFolders()
    rmdir(aside)
  }

  /// The new run is done: the old one is no longer needed.
  func forgetAside() { try? FileManager.default.removeItem(atPath: aside) }

  private func move(_ files: [String], from source: String, to target: String) throws {
    for file in files {
      let place = "\(target)/\(file)"
      try Folder.make(FilePath.folder(of: place))
      guard rename("\(source)/\(file)", place) == 0 else { throw FileError(path: place, code: errno) }
    }
  }

  /// Folders that hold something that no run wrote stay.
  private func removeEmptyFolders() {
    let jobs = (try? FileManager.default.contentsOfDirectory(atPath: "\(path)/jobs")) ?? []
    for job in jobs {
      for folder in ["checkpoint", "model", ""] { rmdir("\(path)/jobs/\(job)/\(folder)") }
    }
    for cache in (try? FileManager.default.contentsOfDirectory(atPath: labels)) ?? [] { rmdir("\(labels)/\(cache)") }
    for folder in ["jobs", "labels", "teacher", "student"] { rmdir("\(path)/\(folder)") }
  }

  /// Whether something, as a recipe names it, lies in this folder.
  func contains(_ item: String) -> Bool {
    func real(_ path: String) -> String {
      URL(fileURLWithPath: path).standardizedFileURL.resolvingSymlinksInPath().path
    }
    let (folder, item) = (real(path), real(item))
    return item == folder || item.hasPrefix(folder == "/" ? "/" : folder + "/")
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

  func make() throws { try Folder.make("\(path)/checkpoint") }
}

/// Holds a run folder for this process, or for all that share it. The operating system lets go of it when the process ends,
/// however it ends.
public final class RunLock: Sendable {
  private let descriptor: Int32

  fileprivate init(folder: String, isShared: Bool) throws {
    let path = "\(folder)/.lock"
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      let error = FileError(path: path, code: errno)
      throw RunError(
        "the run folder \(folder) cannot be written", because: error,
        advice: error.isDiskFull ? "" : ". Name another one with output=... or --output")
    }
    guard flock(descriptor, (isShared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0 else {
      close(descriptor)
      throw RunError("another process is working in the run folder \(folder). Wait for it, or name another folder")
    }
  }

  deinit { FileLock.letGo(descriptor) }
}
