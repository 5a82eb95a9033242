import CTorch
import Synchronization

extension TorchRuntime {
  /// Calls `body` with parts of `0..<count` on the threads that libtorch computes with, and returns when all are done.
  ///
  /// - Parameter grain: how many things a part has at least; fewer than that are done by the calling thread alone
  /// - Throws: what the first of the parts that failed threw; `TorchError` without libtorch.
  package static func share(_ count: Int, grain: Int, _ body: @Sendable (Range<Int>) throws -> Void) throws {
    guard count > max(1, grain) else { return try body(0..<count) }
    try withoutActuallyEscaping(body) { body in
      let work = SharedWork(body)
      try Bridge.call("share") {
        $0.share(
          Int64(count), Int64(grain),
          { first, last, context in
            guard let context else { return }
            Unmanaged<SharedWork>.fromOpaque(context).takeUnretainedValue().run(Int(first)..<Int(last))
          }, Unmanaged.passUnretained(work).toOpaque(), $1)
      }
      try work.finish()
    }
  }
}

/// What threads do together, and what went wrong.
private final class SharedWork: Sendable {
  private let body: @Sendable (Range<Int>) throws -> Void
  private let failure = Mutex<(first: Int, error: any Error)?>(nil)

  init(_ body: @escaping @Sendable (Range<Int>) throws -> Void) { self.body = body }

  func run(_ part: Range<Int>) {
    do {
      try body(part)
    } catch {
      failure.withLock { failure in
        if failure.map({ part.lowerBound < $0.first }) ?? true { failure = (part.lowerBound, error) }
      }
    }
  }

  func finish() throws { if let failure = failure.withLock({ $0 }) { throw failure.error } }
}
