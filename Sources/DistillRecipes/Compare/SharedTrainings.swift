import DistillData
import DistillRuntime
import Distillation
import Foundation
import Torch

/// What the runs of a comparison have in common, in one process or several: who is at which training, and trainings that
/// are the same in two of them, such as the student alone, which are done once.
///
/// A claim is a lock on a small file in the comparison's folder. The system lets go of it when its process ends, however
/// it ends, and another one then goes on from the last checkpoint.
struct SharedTrainings: Sendable {
  /// Where the claims are.
  let folder: String
  /// The runs in which a training may be done already.
  let runs: [RunFolder]

  init(folder: String, runs: [RunFolder]) throws {
    self.folder = folder
    self.runs = runs
    try Folder.make(folder)
  }

  /// The claim of a training; nil where another process, or another thread of this one, has it.
  func claim(_ job: TrainingJob) throws -> FileLock? { try take(job.identity) }

  /// The claim of a training, once nobody else has it.
  func claimInTurn(_ job: TrainingJob, _ observer: RunObserver) throws -> FileLock {
    try waitFor(observer) { try claim(job) }
  }

  /// A lock for what one process does at a time.
  func turn(_ what: String, _ observer: RunObserver) throws -> FileLock {
    try waitFor(observer) { try take(SHA256.hex(of: what)) }
  }

  private func take(_ name: String) throws -> FileLock? {
    try FileLock.take(FilePath.joined(folder, ".\(name.prefix(24)).lock"), waits: false)
  }

  private func waitFor(_ observer: RunObserver, _ attempt: () throws -> FileLock?) throws -> FileLock {
    if let lock = try attempt() { return lock }
    observer(.stage("Waiting for another process"))
    while true {
      try Self.pause()
      if let lock = try attempt() { return lock }
    }
  }

  /// Lets another process work for a moment.
  ///
  /// - Throws: `RunError.interrupted` when somebody asked to stop.
  static func pause() throws {
    if Interruption.isRequested { throw RunError("interrupted", kind: .interrupted) }
    Thread.sleep(forTimeInterval: 0.1)
  }

  /// Copies a training that is not begun in a run, and done in another one.
  ///
  /// - Parameter own: the run that it is for
  func bring(_ job: TrainingJob, to place: JobFolder, notIn own: RunFolder) throws {
    guard !FileManager.default.fileExists(atPath: place.result),
      !FileManager.default.fileExists(atPath: place.checkpoint)
    else { return }
    for run in runs where run.path != own.path {
      let source = run.job(job.folderName)
      guard FileManager.default.fileExists(atPath: source.result), case .whole = Remains(of: job, in: source) else {
        continue
      }
      try place.copy(from: source)
      return
    }
  }
}

extension JobFolder {
  /// Takes over what another run's training left. The file that says that it is done comes last.
  fileprivate func copy(from source: JobFolder) throws {
    try Folder.make(model)
    let files =
      ModelFolder.files.map { "model/\($0)" } + TensorBoardLog.names(in: source.path)
      + ["events.jsonl", "test.safetensors", "result.json"]
    for name in files {
      guard let data = FileManager.default.contents(atPath: "\(source.path)/\(name)") else { continue }
      try AtomicFile.write(data, to: "\(path)/\(name)")
    }
  }
}
