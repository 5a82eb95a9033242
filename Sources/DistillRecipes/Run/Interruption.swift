import Foundation
import Synchronization

/// Whether somebody asked this process to stop (Ctrl-C, or a polite kill). Trainings look at it at every step.
public enum Interruption {
  private static let requested = Atomic(false)

  public static var isRequested: Bool { requested.load(ordering: .relaxed) }

  /// From now on the first SIGINT or SIGTERM asks for a clean end; a second one ends the process at once.
  public static func listen() {
    // A program that starts this one may have blocked them, and that is inherited.
    var numbers = sigset_t()
    sigemptyset(&numbers)
    sigaddset(&numbers, SIGINT)
    sigaddset(&numbers, SIGTERM)
    pthread_sigmask(SIG_UNBLOCK, &numbers, nil)
    for number in [SIGINT, SIGTERM] {
      signal(number) { number in
        if Interruption.requested.exchange(true, ordering: .relaxed) {
          signal(number, SIG_DFL)
          raise(number)
        }
      }
    }
  }

  /// For tests and embedding programs.
  public static func request() { requested.store(true, ordering: .relaxed) }
  public static func reset() { requested.store(false, ordering: .relaxed) }
}
