import Foundation

/// Hands out trainings to threads, those that others build on first, and gathers what comes out of them.
final class TrainingQueue: @unchecked Sendable {
  private let jobs: [TrainingJob]
  /// Guards everything below.
  private let condition = NSCondition()
  private var waiting: [Int]
  private var done: [String: TrainingResult] = [:]
  private var failure: (any Error)?

  /// - Parameter jobs: in the order in which they are wanted
  init(_ jobs: [TrainingJob]) {
    self.jobs = jobs
    waiting = Array(jobs.indices)
  }

  /// The next training with its number; waits for those that it needs. Nil when there is none left, or one failed.
  func next() -> (index: Int, job: TrainingJob)? {
    condition.lock()
    defer { condition.unlock() }
    while failure == nil, !waiting.isEmpty {
      let ready = waiting.firstIndex { index in (jobs[index].stage?.needs ?? []).allSatisfy { done[$0] != nil } }
      if let ready {
        let index = waiting.remove(at: ready)
        return (index, jobs[index])
      }
      condition.wait()
    }
    return nil
  }

  /// Puts a training back, behind all that wait: somebody else is at it.
  func postpone(_ index: Int) {
    condition.lock()
    defer { condition.unlock() }
    waiting.append(index)
    condition.broadcast()
  }

  func finish(_ job: TrainingJob, _ result: Result<TrainingResult, any Error>) {
    condition.lock()
    defer { condition.unlock() }
    switch result {
    case .success(let result): done[job.identity] = result
    case .failure(let error): failure = failure ?? error
    }
    condition.broadcast()
  }

  /// By the identities of the trainings.
  ///
  /// - Throws: the first failure
  func results() throws -> [String: TrainingResult] {
    condition.lock()
    defer { condition.unlock() }
    if let failure { throw failure }
    return done
  }
}
